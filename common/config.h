#ifndef COMMON_CONFIG_H
#define COMMON_CONFIG_H

#include "common/error.h"
#include "common/settings.h"

#include <stddef.h>
#include <stdint.h>

/* A list of words, ended by NULL. */
typedef const char *const *config_texts;

#define CONFIG_TYPE_TEXT     const char *
#define CONFIG_TYPE_FILE     const char *
#define CONFIG_TYPE_TEXTS    config_texts
#define CONFIG_TYPE_FLAG     bool
#define CONFIG_TYPE_COUNT    uint64_t
#define CONFIG_TYPE_BYTES    uint64_t
#define CONFIG_TYPE_DURATION uint64_t

#define CONFIG_FIELD(field, name, type, standard, when, help) CONFIG_TYPE_##type field;
/* One field for each row of ISSUER_SETTINGS. */
struct config_issuer {
    ISSUER_SETTINGS(CONFIG_FIELD)
};

/* One field for each row of SETTINGS.  Immutable once read; may be shared between threads. */
struct config {
    SETTINGS(CONFIG_FIELD)
    struct config_issuer *issuers;
    size_t n_issuers;
};
#undef CONFIG_FIELD

#define CONFIG_MAX_ISSUERS 16

/*
 * Read and check the whole file (libconfig; one file, @include is refused).  NULL: error says file,
 * line, what is wrong and what was probably meant; unknown and repeated names are errors.  What the
 * paths name is not looked at.  The result is the caller's.
 */
struct config *config_read(const char *path, struct error *error);
void config_free(struct config **config);

/* How long the longest token lives that may be accepted, ours and those of other issuers. */
uint64_t config_longest_lifetime_ms(const struct config *config);

/* The issuer whose users have names such as this.  NULL: ours have. */
const struct config_issuer *config_issuer_of_user(const struct config *config, const char *user);

/*
 * Rows, for `config show` and the manual page, in the table's order.  `config_show_value` writes
 * the effective value as it would stand in the file; `config_source` says where it comes from, as
 * "/etc/sallyport/sallyport.conf:7" or "default".  Both strings live as long as `config`.
 */
struct setting {
    const char *name, *type, *standard, *help;
    bool reloadable;
};
size_t config_settings(const struct setting **settings);
const char *config_show_value(const struct config *config, size_t setting);
const char *config_source(const struct config *config, size_t setting);

/* The same for what an issuer of the list has. */
size_t config_issuer_settings(const struct setting **settings);
const char *config_show_issuer(const struct config *config, size_t issuer, size_t setting);
const char *config_issuer_source(const struct config *config, size_t issuer, size_t setting);

/*
 * NAME=VALUE as typed at a shell (25s, 64KiB, true, 5, /path, text, or a,b for a list): write
 * VALUE as it stands in a config file ("25s", "64KiB", true, 5, "/path", "text", ["a", "b"]) into
 * `out`.  False: no such setting, or a value that config_read would refuse.
 */
bool config_render_assignment(const char *name, const char *value, char *out, size_t size,
                              struct error *error);

/*
 * Names of non-reloadable settings in which the two differ, joined by ", " into `names`; how many.
 */
size_t config_frozen_differences(const struct config *running, const struct config *fresh,
                                 char *names, size_t size);

#endif
