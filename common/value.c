/*
 * What a setting may be: its row, its words, the one check they pass, and how they are shown. Where
 * the words come from, a file, the table's default or a shell, is for config.c.  Whether a path or
 * an address exists is for those who open it.
 */
#include "common/value.h"

#include "common/jwk.h"
#include "common/log.h"
#include "common/memory.h"
#include "common/net.h"
#include "common/spelling.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KIB   ((uint64_t)1 << 10)
#define MIB   ((uint64_t)1 << 20)
#define GIB   ((uint64_t)1 << 30)
#define HOURS ((uint64_t)3600 * 1000)
#define DAYS  (24 * HOURS)

#define WHEN_RELOAD                                  true
#define WHEN_RESTART                                 false
#define ROW(field, name, type, standard, when, help) {name, #type, standard, help, WHEN_##when},
const struct setting setting_rows[] = {SETTINGS(ROW) ISSUER_SETTINGS(ROW)};

#define ROW_TYPE(field, name, type, standard, when, help) TYPE_##type,
const enum setting_type setting_types[] = {SETTINGS(ROW_TYPE) ISSUER_SETTINGS(ROW_TYPE)};

struct unit {
    const char *name;
    uint64_t factor;
};
static const struct unit byte_units[] = {{"GiB", GIB}, {"MiB", MIB}, {"KiB", KIB},
                                         {"", 1},      {"B", 1},     {NULL, 0}};
static const struct unit duration_units[] = {{"d", DAYS}, {"h", HOURS}, {"m", 60 * 1000},
                                             {"s", 1000}, {"ms", 1},    {NULL, 0}};

static const struct {
    const char *wanted;
    const struct unit *units;
    uint64_t least, most;
} types[] = {
    [TYPE_TEXT] = {"a text in quotes", NULL, 0, 0},
    [TYPE_FILE] = {"a path in quotes", NULL, 0, 0},
    [TYPE_TEXTS] = {"a list of texts such as [\"a\", \"b\"]", NULL, 0, 0},
    [TYPE_FLAG] = {"true or false", NULL, 0, 1},
    [TYPE_COUNT] = {"a whole number", NULL, 0, INT32_MAX},
    [TYPE_BYTES] = {"a number of bytes such as 65536 or \"64KiB\" (units: B, KiB, MiB, GiB)",
                    byte_units, 0, GIB},
    [TYPE_DURATION] = {"a duration such as \"25s\" (units: ms, s, m, h, d)", duration_units, 1,
                       3650 * DAYS},
};

/* Where a setting's range is narrower than its type's, or begins at 0. */
static const struct {
    size_t setting;
    uint64_t least, most;
} ranges[] = {
    {SETTING_token_lifetime, 1000, 3650 * DAYS}, /* `exp` counts seconds */
    {SETTING_login_threads, 1, 256},
    {SETTING_login_timeout, 100, 3650 * DAYS}, /* late peers are looked for four times in it */
    {SETTING_login_hashes, 0, 256},
    {SETTING_login_hash_memory, 7 * MIB, 256 * MIB},
    {SETTING_login_hash_passes, 1, 64},
    {SETTING_login_max_body, KIB, MIB},
    {SETTING_login_refresh_lifetime, 0, 3650 * DAYS},
    {SETTING_login_refresh_idle, 1000, 3650 * DAYS},
    {SETTING_login_audit_age, 0, 3650 * DAYS},
    {SETTING_gateway_workers, 0, 64},
    /* The two together are a browser's timer, which counts 31 bits of milliseconds. */
    {SETTING_gateway_ping_interval, 1, 10 * DAYS},
    {SETTING_gateway_ping_timeout, 1, 10 * DAYS},
    {SETTING_gateway_shutdown_spread, 0, HOURS},
    {SETTING_gateway_expiry_grace, 0, HOURS},
    {SETTING_gateway_expiry_notice, 0, HOURS},
    {SETTING_limits_max_payload, KIB, 64 * MIB},
    {SETTING_limits_packet_bytes, KIB, GIB},
    {SETTING_limits_attachments, 0, 256},
    {SETTING_issuer_lifetime, 1000, 3650 * DAYS},
    {SETTING_issuer_refetch, 1000, HOURS},
    {SETTING_issuer_patience, 1000, 30 * DAYS},
};

static const char *last_part(const char *name)
{
    const char *dot = strrchr(name, '.');

    return dot ? dot + 1 : name;
}

/* The last part decides, and the whole name between equals: so a name in the wrong group is found
 * too.  UINT_MAX: they have nothing in common. */
static unsigned unlikeness(const char *name, const char *candidate)
{
    unsigned last = spelling_distance(last_part(name), last_part(candidate));
    unsigned whole = spelling_distance(name, candidate);

    if (whole == UINT_MAX || !spelling_is_near(last_part(name), last_part(candidate)))
        return UINT_MAX;
    return last * SETTING_NAME_BYTES + whole;
}

/* Fill `nearest` with the setting, or the group, that was probably meant, or with "". */
static void find_nearest(const char *name, bool group, char nearest[SETTING_NAME_BYTES])
{
    unsigned best = UINT_MAX;

    nearest[0] = '\0';
    for (size_t i = 0; i < SETTING_END; i++) {
        const char *end = setting_rows[i].name;
        char candidate[SETTING_NAME_BYTES];

        do {
            end = strchrnul(end + 1, '.');
            snprintf(candidate, sizeof candidate, "%.*s", (int)(end - setting_rows[i].name),
                     setting_rows[i].name);
            if ((*end == '.') == group && unlikeness(name, candidate) < best) {
                best = unlikeness(name, candidate);
                strcpy(nearest, candidate);
            }
        } while (*end);
    }
}

static bool unknown_name(const char *name, bool group, struct error *error)
{
    char nearest[SETTING_NAME_BYTES];

    find_nearest(name, group, nearest);
    return error_set(error, "%s is not a %s%s%s%s", name, group ? "group of settings" : "setting",
                     *nearest ? "; did you mean " : "", nearest, *nearest ? "?" : "");
}

static void show_text(FILE *out, const char *text)
{
    fputc('"', out);
    for (; *text; text++)
        fprintf(out, *text == '"' || *text == '\\' ? "\\%c" : "%c", *text);
    fputc('"', out);
}

/* In the largest unit that leaves no rest. */
static void show_number(FILE *out, enum setting_type type, uint64_t number)
{
    const struct unit *unit = types[type].units;

    if (type == TYPE_FLAG) {
        fputs(number ? "true" : "false", out);
        return;
    }
    if (type == TYPE_DURATION && number == 0) {
        fputs("\"0s\"", out);
        return;
    }
    while (unit && (number % unit->factor || number == 0) && unit->factor > 1)
        unit++;
    if (!unit || !*unit->name)
        fprintf(out, "%" PRIu64, number);
    else
        fprintf(out, "\"%" PRIu64 "%s\"", number / unit->factor, unit->name);
}

/* Digits, then one of the units (none where there are none).  False: not such a number; one too
 * large for 64 bits becomes UINT64_MAX, which is in no range. */
static bool parse_number(const char *text, const struct unit *units, uint64_t *number)
{
    static const struct unit none[] = {{"", 1}, {NULL, 0}};
    size_t digits = strspn(text, "0123456789");
    const struct unit *unit = units ? units : none;

    while (unit->name && strcmp(unit->name, text + digits) != 0)
        unit++;
    if (digits == 0 || !unit->name)
        return false;
    errno = 0;
    *number = strtoull(text, NULL, 10);
    if (errno || __builtin_mul_overflow(*number, unit->factor, number))
        *number = UINT64_MAX;
    return true;
}

/* "must be WANTED, not WORD", the word as it stands in the file. */
static bool must_be(size_t setting, const char *wanted, const char *word, struct error *error)
{
    bool bare =
        *word && setting_types[setting] != TYPE_DURATION && !word[strspn(word, "0123456789")];

    return error_set(error, bare ? "%s must be %s, not %s" : "%s must be %s, not \"%s\"",
                     setting_rows[setting].name, wanted, word);
}

static bool check_range(size_t setting, const struct value *value, struct error *error)
{
    enum setting_type type = setting_types[setting];
    uint64_t least = types[type].least, most = types[type].most;
    char wanted[64], *from, *to;

    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        if (ranges[i].setting == setting) {
            least = ranges[i].least;
            most = ranges[i].most;
        }
    if (value->number >= least && value->number <= most)
        return true;
    from = value_show(type, &(struct value){.number = least});
    to = value_show(type, &(struct value){.number = most});
    snprintf(wanted, sizeof wanted, "from %s to %s", from, to);
    free(from);
    free(to);
    return must_be(setting, wanted, value->words[0], error);
}

static bool check_number(size_t setting, struct value *value, struct error *error)
{
    enum setting_type type = setting_types[setting];
    const char *word = value->words[0];

    if (type == TYPE_FLAG) {
        value->number = strcmp(word, "true") == 0;
        return value->number || strcmp(word, "false") == 0 ||
               must_be(setting, types[type].wanted, word, error);
    }
    if (*word == '-' && strspn(word + 1, "0123456789"))
        return error_set(error, "%s cannot be negative (%s)", setting_rows[setting].name, word);
    if (!parse_number(word, types[type].units, &value->number))
        return must_be(setting, types[type].wanted, word, error);
    return check_range(setting, value, error);
}

/* Where Engine.IO is served: a plain path that a web server in front passes on unchanged. */
static bool check_path(const char *name, const char *path, struct error *error)
{
    size_t length = strlen(path);

    if (path[0] != '/' || path[length - 1] != '/')
        return error_set(error, "%s must begin and end with \"/\", as \"/socket.io/\" does: \"%s\"",
                         name, path);
    if (strspn(path, "/ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~") !=
            length ||
        strstr(path, "//") || strstr(path, "/./") || strstr(path, "/../"))
        return error_set(error, "%s takes letters, digits and -._~ between single \"/\": \"%s\"",
                         name, path);
    return true;
}

/* RFC 6454 §6.2, as browsers send it: no path.  Of login.origins none is "*": what is answered
 * there is tokens. */
static bool check_origin(size_t setting, const char *origin, struct error *error)
{
    const char *host = strstr(origin, "://");
    bool takes_all = setting == SETTING_gateway_origins;

    if ((takes_all && strcmp(origin, "*") == 0) || strcmp(origin, "null") == 0 ||
        (host && host > origin && host[3] && !origin[strcspn(origin, " ?#@*")] &&
         !strchr(host + 3, '/')))
        return true;
    return error_set(
        error, "%s: \"%s\" is no origin; write one like \"https://example.org\", without a path%s",
        setting_rows[setting].name, origin, takes_all ? ", or \"*\"" : "");
}

/* A word of few. */
static bool check_choice(size_t setting, const char *word, const char *const *choices,
                         const char *wanted, struct error *error)
{
    while (*choices && strcmp(*choices, word) != 0)
        choices++;
    return *choices || must_be(setting, wanted, word, error);
}

/* RFC 6265 §4.1.1. */
static bool check_cookie(size_t setting, const char *name, struct error *error)
{
    return !name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                              "0123456789!#$%&'*+-.^_`|~")] ||
           must_be(setting, "a cookie's name", name, error);
}

/* Another's secret would let us sign as them, and them as anybody. */
static bool check_algorithm(size_t setting, const char *word, struct error *error)
{
    enum key_algorithm algorithm = key_algorithm_find(word, strlen(word));

    return (algorithm >= KEY_RS256 && algorithm < KEY_ALGORITHMS) ||
           must_be(setting, "RS256, RS384, RS512, ES256, ES384 or ES512", word, error);
}

static bool check_jwks(size_t setting, const char *word, struct error *error)
{
    const char *scheme = strstr(word, "://");

    if (!scheme || (strncmp(word, "https://", 8) == 0 && word[8] && word[8] != '/' &&
                    !word[strcspn(word, " @#\"<>\\^`{|}")]))
        return true;
    return must_be(setting, "an https:// URL without a user or a fragment, or a path", word, error);
}

/* The colon keeps them apart from our own users (user_name_is_valid). */
static bool check_prefix(size_t setting, const char *word, struct error *error)
{
    size_t length =
        strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");

    return (length >= 1 && length <= 32 && strcmp(word + length, ":") == 0) ||
           must_be(setting, "1 to 32 letters, digits, '.', '_' or '-' and a colon, as \"example:\"",
                   word, error);
}

/* What a type cannot say. */
static bool check_meaning(size_t setting, char **words, struct error *error)
{
    static const char *const sources[] = {"auth", "header", "query", NULL};
    static const char *const ways[] = {"connect_error", "upgrade", NULL};
    struct error reason;
    struct net_network network;
    enum log_level level;

    switch (setting) {
    case SETTING_log_level:
        return log_level_find(words[0], &level) ||
               must_be(setting, "error, warning, info or debug", words[0], error);
    case SETTING_issuer_algorithms:
        for (char **word = words; *word; word++)
            if (!check_algorithm(setting, *word, error))
                return false;
        __attribute__((fallthrough));
    case SETTING_token_audience:
        return words[0] ||
               error_set(error, "%s must name at least one", setting_rows[setting].name);
    case SETTING_gateway_path:
        return check_path(setting_rows[setting].name, words[0], error);
    case SETTING_login_listen:
    case SETTING_gateway_listen:
        return net_listen_check(words[0], &reason) ||
               error_set(error, "%s: %.900s", setting_rows[setting].name, reason.text);
    case SETTING_login_origins:
    case SETTING_gateway_origins:
        for (; *words; words++)
            if (!check_origin(setting, *words, error))
                return false;
        return true;
    case SETTING_gateway_token_sources:
        for (; *words; words++)
            if (!check_choice(setting, *words, sources, "auth, header or query", error))
                return false;
        return true;
    case SETTING_gateway_token_cookie:
        return check_cookie(setting, words[0], error);
    case SETTING_gateway_reject:
        return check_choice(setting, words[0], ways, "connect_error or upgrade", error);
    case SETTING_gateway_trusted_proxies:
        for (; *words; words++)
            if (!net_network_parse(*words, &network, &reason))
                return error_set(error, "%s: %.900s", setting_rows[setting].name, reason.text);
        return true;
    case SETTING_issuer_jwks:
        return check_jwks(setting, words[0], error);
    case SETTING_issuer_prefix:
        return !words[0][0] || check_prefix(setting, words[0], error);
    default:
        return true;
    }
}

static bool check_word(size_t setting, const char *word, struct error *error)
{
    enum setting_type type = setting_types[setting];

    if (!*word && types[type].most == 0 && (type == TYPE_TEXTS || *setting_rows[setting].standard))
        return error_set(error, "%s must not %s", setting_rows[setting].name,
                         type == TYPE_TEXTS ? "hold an empty text" : "be empty");
    for (size_t n; *word; word += n) {
        n = log_printable_length(word);
        if (n == 0)
            return error_set(error, "%s holds a control character or is not UTF-8",
                             setting_rows[setting].name);
    }
    return true;
}

size_t setting_find(const char *name)
{
    size_t i = 0;

    while (i < SETTING_END && strcmp(setting_rows[i].name, name) != 0)
        i++;
    return i;
}

bool setting_is_group(const char *name)
{
    size_t length = strlen(name);

    for (size_t i = 0; i < SETTING_END; i++)
        if (strncmp(setting_rows[i].name, name, length) == 0 && setting_rows[i].name[length] == '.')
            return true;
    return false;
}

bool setting_not_found(const char *name, bool group, struct error *error)
{
    size_t i = 0, length = strlen(name);

    if (group || !setting_is_group(name))
        return unknown_name(name, group, error);
    while (strncmp(setting_rows[i].name, name, length) != 0 || setting_rows[i].name[length] != '.')
        i++;
    return error_set(error, "%s is a group; name a setting of it, such as %s", name,
                     setting_rows[i].name);
}

const char *setting_wanted(size_t setting)
{
    return types[setting_types[setting]].wanted;
}

void value_free_words(char ***words)
{
    for (size_t i = 0; *words && (*words)[i]; i++)
        free((*words)[i]);
    free(*words);
    *words = NULL;
}

void value_fini(struct value *value)
{
    value_free_words(&value->words);
    free(value->shown);
    free(value->source);
    *value = (struct value){0};
}

char **value_split(enum setting_type type, const char *text)
{
    char **words = memory_zeroed(strlen(text) + 2, sizeof *words);
    size_t n = 0;

    if (type != TYPE_TEXTS) {
        words[0] = memory_copy(text, strlen(text));
        return words;
    }
    for (size_t length; *(text += strspn(text, ", ")); text += length) {
        length = strcspn(text, ", ");
        words[n++] = memory_copy(text, length);
    }
    return words;
}

char *value_show(enum setting_type type, const struct value *value)
{
    char *shown = NULL;
    size_t length;
    FILE *out = open_memstream(&shown, &length);

    assert(out);
    if (type == TYPE_TEXT || type == TYPE_FILE) {
        show_text(out, value->words[0]);
    } else if (type == TYPE_TEXTS) {
        fputc('[', out);
        for (char **word = value->words; *word; word++) {
            fputs(word == value->words ? "" : ", ", out);
            show_text(out, *word);
        }
        fputc(']', out);
    } else {
        show_number(out, type, value->number);
    }
    int failed = fclose(out);
    assert(!failed);
    return shown;
}

bool value_check(size_t setting, struct value *value, struct error *error)
{
    for (char **word = value->words; *word; word++)
        if (!check_word(setting, *word, error))
            return false;
    if (types[setting_types[setting]].most && !check_number(setting, value, error))
        return false;
    return check_meaning(setting, value->words, error);
}
