#ifndef COMMON_VALUE_H
#define COMMON_VALUE_H

#include "common/config.h"

/* The settings' rows and values, as config.c reads, completes and shows them. */

/* SETTING_gateway_listen and so on: places in the table. */
#define VALUE_ID(field, name, type, standard, when, help) SETTING_##field,
/* After SETTING_COUNT follow those of one issuer. */
enum {
    SETTINGS(VALUE_ID) SETTING_COUNT,
    SETTING_LAST = SETTING_COUNT - 1,
    ISSUER_SETTINGS(VALUE_ID) SETTING_END
};
#define ISSUER_SETTING_COUNT (SETTING_END - SETTING_COUNT)
#undef VALUE_ID

/* Room for the longest name, its NUL included. */
#define SETTING_NAME_BYTES 64

enum setting_type {
    TYPE_TEXT,
    TYPE_FILE,
    TYPE_TEXTS,
    TYPE_FLAG,
    TYPE_COUNT,
    TYPE_BYTES,
    TYPE_DURATION
};

extern const struct setting setting_rows[SETTING_END];
extern const enum setting_type setting_types[SETTING_END];

/* The place of a name; SETTING_END: none. */
size_t setting_find(const char *name);
bool setting_is_group(const char *name);

/* Say that `name` is no setting (or no group), and what was probably meant.  False. */
bool setting_not_found(const char *name, bool group, struct error *error);

/* What must stand in the file, as "a whole number". */
const char *setting_wanted(size_t setting);

/* A value is a list of words, wherever it comes from: one, or those of TEXTS. */
struct value {
    char **words;    /* ended by NULL */
    uint64_t number; /* of FLAG, COUNT, BYTES, DURATION, once checked */
    char *shown;     /* as it would stand in the file */
    char *source;    /* NULL: the default */
};
void value_fini(struct value *value);

void value_free_words(char ***words);

/* The words of a default, or of what a shell brought: of TEXTS those between spaces or commas, else
 * the whole. */
char **value_split(enum setting_type type, const char *text);

/* The one check that every value passes.  Fills `number`. */
bool value_check(size_t setting, struct value *value, struct error *error);

/* As it would stand in the file, to be freed. */
char *value_show(enum setting_type type, const struct value *value);

#endif
