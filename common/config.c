/*
 * The config: libconfig reads the grammar, the table in settings.h says what may stand there.  Each
 * value, whether from the file, the table's default or a shell, becomes a list of words first and
 * then passes the same check.  Whether a path or an address named there exists is for those who
 * open it.
 */
#include "common/config.h"

#include "common/log.h"
#include "common/memory.h"
#include "common/net.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
/* libconfig has a config_read of its own, which nobody here calls. */
#define config_read libconfig_config_read
#include <libconfig.h>
#undef config_read
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_FILE_BYTES ((size_t)1 << 20)
#define KIB            ((uint64_t)1 << 10)
#define MIB            ((uint64_t)1 << 20)
#define GIB            ((uint64_t)1 << 30)
#define HOURS          ((uint64_t)3600 * 1000)
#define DAYS           (24 * HOURS)
#define NAME_BYTES     128

/* ---- the table ------------------------------------------------------------------------------ */

#define ROW_ID(field, name, type, standard, when, help) SETTING_##field,
enum { SETTINGS(ROW_ID) SETTING_COUNT };

#define WHEN_RELOAD                                  true
#define WHEN_RESTART                                 false
#define ROW(field, name, type, standard, when, help) {name, #type, standard, help, WHEN_##when},
static const struct setting rows[] = {SETTINGS(ROW)};

enum type { TYPE_TEXT, TYPE_FILE, TYPE_TEXTS, TYPE_FLAG, TYPE_COUNT, TYPE_BYTES, TYPE_DURATION };
#define ROW_TYPE(field, name, type, standard, when, help) TYPE_##type,
static const enum type row_types[] = {SETTINGS(ROW_TYPE)};

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
    {SETTING_login_max_body, KIB, MIB},
    {SETTING_gateway_workers, 0, 64},
    /* The two together are a browser's timer, which counts 31 bits of milliseconds. */
    {SETTING_gateway_ping_interval, 1, 10 * DAYS},
    {SETTING_gateway_ping_timeout, 1, 10 * DAYS},
    {SETTING_gateway_shutdown_spread, 0, HOURS},
    {SETTING_limits_max_payload, KIB, 64 * MIB},
    {SETTING_limits_packet_bytes, KIB, GIB},
    {SETTING_limits_attachments, 0, 256},
};

struct value {
    char **words;    /* ended by NULL: one, or those of TEXTS */
    uint64_t number; /* of FLAG, COUNT, BYTES, DURATION */
    char *shown;     /* as it would stand in the file */
    char *source;    /* NULL: the default */
};

struct whole {
    struct config config; /* the part that everyone sees; first, so that one becomes the other */
    struct value values[SETTING_COUNT];
};

/* ---- names ---------------------------------------------------------------------------------- */

static size_t setting_find(const char *name)
{
    size_t i = 0;

    while (i < SETTING_COUNT && strcmp(rows[i].name, name) != 0)
        i++;
    return i;
}

static bool is_group(const char *name)
{
    size_t length = strlen(name);

    for (size_t i = 0; i < SETTING_COUNT; i++)
        if (strncmp(rows[i].name, name, length) == 0 && rows[i].name[length] == '.')
            return true;
    return false;
}

static const char *last_part(const char *name)
{
    const char *dot = strrchr(name, '.');

    return dot ? dot + 1 : name;
}

/* Levenshtein's: the fewest letters to insert, drop or change. */
static unsigned edit_distance(const char *a, const char *b)
{
    unsigned row[NAME_BYTES];
    unsigned length = (unsigned)strlen(b);

    assert(length < NAME_BYTES);
    for (unsigned j = 0; j <= length; j++)
        row[j] = j;
    for (unsigned i = 1; *a; a++, i++) {
        unsigned diagonal = row[0];

        row[0] = i;
        for (unsigned j = 1; j <= length; j++) {
            unsigned least = diagonal + (*a != b[j - 1]);

            diagonal = row[j];
            if (row[j] + 1 < least)
                least = row[j] + 1;
            if (row[j - 1] + 1 < least)
                least = row[j - 1] + 1;
            row[j] = least;
        }
    }
    return row[length];
}

/* The last part decides, and the whole name between equals: so a name in the wrong group is found
 * too.  UINT_MAX: they have nothing in common. */
static unsigned unlikeness(const char *name, const char *candidate)
{
    unsigned last = edit_distance(last_part(name), last_part(candidate));

    if (last > 1 + strlen(last_part(name)) / 4)
        return UINT_MAX;
    return last * NAME_BYTES + edit_distance(name, candidate);
}

/* Fill `nearest` with the setting, or the group, that was probably meant, or with "". */
static void find_nearest(const char *name, bool group, char nearest[NAME_BYTES])
{
    unsigned best = UINT_MAX;

    nearest[0] = '\0';
    for (size_t i = 0; i < SETTING_COUNT; i++) {
        const char *end = rows[i].name;
        char candidate[NAME_BYTES];

        do {
            end = strchrnul(end + 1, '.');
            snprintf(candidate, sizeof candidate, "%.*s", (int)(end - rows[i].name), rows[i].name);
            if ((*end == '.') == group && unlikeness(name, candidate) < best) {
                best = unlikeness(name, candidate);
                strcpy(nearest, candidate);
            }
        } while (*end);
    }
}

static bool unknown_name(const char *name, bool group, struct error *error)
{
    char nearest[NAME_BYTES];

    find_nearest(name, group, nearest);
    return error_set(error, "%s is not a %s%s%s%s", name, group ? "group of settings" : "setting",
                     *nearest ? "; did you mean " : "", nearest, *nearest ? "?" : "");
}

static bool not_a_setting(const char *name, bool group, struct error *error)
{
    size_t i = 0, length = strlen(name);

    if (group || !is_group(name))
        return unknown_name(name, group, error);
    while (strncmp(rows[i].name, name, length) != 0 || rows[i].name[length] != '.')
        i++;
    return error_set(error, "%s is a group; name a setting of it, such as %s", name, rows[i].name);
}

/* ---- values --------------------------------------------------------------------------------- */

static void words_free(char ***words)
{
    for (size_t i = 0; *words && (*words)[i]; i++)
        free((*words)[i]);
    free(*words);
    *words = NULL;
}

static void value_fini(struct value *value)
{
    words_free(&value->words);
    free(value->shown);
    free(value->source);
    *value = (struct value){0};
}

static void words_add(char ***words, const char *word, size_t length)
{
    size_t n = 0;

    while (*words && (*words)[n])
        n++;
    *words = memory_resize(*words, n + 2, sizeof **words);
    (*words)[n] = memory_copy(word, length);
    (*words)[n + 1] = NULL;
}

/* A default or what a shell brought: the words of TEXTS stand between spaces or commas. */
static char **words_split(enum type type, const char *text)
{
    char **words = memory_zeroed(1, sizeof *words);

    if (type != TYPE_TEXTS) {
        words_add(&words, text, strlen(text));
        return words;
    }
    for (size_t length; *(text += strspn(text, ", ")); text += length) {
        length = strcspn(text, ", ");
        words_add(&words, text, length);
    }
    return words;
}

static void show_text(FILE *out, const char *text)
{
    fputc('"', out);
    for (; *text; text++)
        fprintf(out, *text == '"' || *text == '\\' ? "\\%c" : "%c", *text);
    fputc('"', out);
}

/* In the largest unit that leaves no rest. */
static void show_number(FILE *out, enum type type, uint64_t number)
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

static char *value_show(enum type type, const struct value *value)
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
    bool bare = *word && row_types[setting] != TYPE_DURATION && !word[strspn(word, "0123456789")];

    return error_set(error, bare ? "%s must be %s, not %s" : "%s must be %s, not \"%s\"",
                     rows[setting].name, wanted, word);
}

static bool check_range(size_t setting, const struct value *value, struct error *error)
{
    enum type type = row_types[setting];
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
    enum type type = row_types[setting];
    const char *word = value->words[0];

    if (type == TYPE_FLAG) {
        value->number = strcmp(word, "true") == 0;
        return value->number || strcmp(word, "false") == 0 ||
               must_be(setting, types[type].wanted, word, error);
    }
    if (*word == '-' && strspn(word + 1, "0123456789"))
        return error_set(error, "%s cannot be negative (%s)", rows[setting].name, word);
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

/* What a type cannot say. */
static bool check_meaning(size_t setting, char **words, struct error *error)
{
    struct error reason;
    struct net_network network;

    switch (setting) {
    case SETTING_token_audience:
        return words[0] || error_set(error, "%s must name at least one", rows[setting].name);
    case SETTING_gateway_path:
        return check_path(rows[setting].name, words[0], error);
    case SETTING_login_listen:
    case SETTING_gateway_listen:
        return net_listen_check(words[0], &reason) ||
               error_set(error, "%s: %.900s", rows[setting].name, reason.text);
    case SETTING_gateway_trusted_proxies:
        for (; *words; words++)
            if (!net_network_parse(*words, &network, &reason))
                return error_set(error, "%s: %.900s", rows[setting].name, reason.text);
        return true;
    default:
        return true;
    }
}

static bool check_word(size_t setting, const char *word, struct error *error)
{
    enum type type = row_types[setting];

    if (!*word && types[type].most == 0 && (type == TYPE_TEXTS || *rows[setting].standard))
        return error_set(error, "%s must not %s", rows[setting].name,
                         type == TYPE_TEXTS ? "hold an empty text" : "be empty");
    for (size_t n; *word; word += n) {
        n = log_printable_length(word);
        if (n == 0)
            return error_set(error, "%s holds a control character or is not UTF-8",
                             rows[setting].name);
    }
    return true;
}

/* The one check that every value passes, wherever it comes from. */
static bool check_value(size_t setting, struct value *value, struct error *error)
{
    for (char **word = value->words; *word; word++)
        if (!check_word(setting, *word, error))
            return false;
    if (types[row_types[setting]].most && !check_number(setting, value, error))
        return false;
    return check_meaning(setting, value->words, error);
}

/* ---- the file ------------------------------------------------------------------------------- */

/* Put file and line before what is already in `error`. */
static bool error_at(struct error *error, const char *path, unsigned line)
{
    struct error reason = *error;

    return error_set(error, "%s:%u: %s", path, line, reason.text);
}

/* How a person would name what stands in the file. */
static void describe(const config_setting_t *is, char *text, size_t size)
{
    switch (config_setting_type(is)) {
    case CONFIG_TYPE_GROUP:
        snprintf(text, size, "a group { … }");
        break;
    case CONFIG_TYPE_ARRAY:
    case CONFIG_TYPE_LIST:
        snprintf(text, size, "a list of something else");
        break;
    case CONFIG_TYPE_STRING:
        snprintf(text, size, "the text \"%s\"", config_setting_get_string(is));
        break;
    case CONFIG_TYPE_FLOAT:
        snprintf(text, size, "a number with a fraction");
        break;
    case CONFIG_TYPE_BOOL:
        snprintf(text, size, "%s", config_setting_get_bool(is) ? "true" : "false");
        break;
    default:
        if (config_setting_get_format(is) == CONFIG_FORMAT_HEX)
            snprintf(text, size, "a hexadecimal number");
        else
            snprintf(text, size, "%lld", config_setting_get_int64(is));
    }
}

static bool is_number(const config_setting_t *is)
{
    int type = config_setting_type(is);

    return (type == CONFIG_TYPE_INT || type == CONFIG_TYPE_INT64) &&
           /* libconfig cuts a long hexadecimal number to 32 bits. */
           config_setting_get_format(is) != CONFIG_FORMAT_HEX;
}

/* The words of what stands in the file, NULL where that is not of the row's type. */
static char **words_of(enum type type, const config_setting_t *is)
{
    char **words = memory_zeroed(1, sizeof *words);
    const char *text = config_setting_get_string(is);
    char number[32];

    if (type == TYPE_TEXTS && (config_setting_is_array(is) || config_setting_is_list(is))) {
        for (int i = 0; i < config_setting_length(is); i++) {
            text = config_setting_get_string_elem(is, i);
            if (!text)
                goto wrong;
            words_add(&words, text, strlen(text));
        }
        return words;
    }
    if (type == TYPE_FLAG && config_setting_type(is) == CONFIG_TYPE_BOOL) {
        text = config_setting_get_bool(is) ? "true" : "false";
    } else if ((type == TYPE_COUNT || type == TYPE_BYTES) && is_number(is)) {
        snprintf(number, sizeof number, "%lld", config_setting_get_int64(is));
        text = number;
    } else if (type == TYPE_TEXTS || type == TYPE_FLAG || type == TYPE_COUNT) {
        goto wrong;
    }
    if (text) {
        words_add(&words, text, strlen(text));
        return words;
    }
wrong:
    words_free(&words);
    return NULL;
}

static bool read_setting(struct value values[], size_t setting, const config_setting_t *is,
                         const char *path, struct error *error)
{
    struct value *value = &values[setting];
    char written[80];

    value->words = words_of(row_types[setting], is);
    if (!value->words) {
        describe(is, written, sizeof written);
        return error_set(error, "%s must be %s, not %s", rows[setting].name,
                         types[row_types[setting]].wanted, written);
    }
    if (asprintf(&value->source, "%s:%u", path, config_setting_source_line(is)) < 0)
        abort();
    return check_value(setting, value, error);
}

static bool read_group(struct value values[], const config_setting_t *group, const char *prefix,
                       const char *path, struct error *error)
{
    for (unsigned i = 0; i < (unsigned)config_setting_length(group); i++) {
        const config_setting_t *is = config_setting_get_elem(group, i);
        char name[NAME_BYTES];
        size_t setting;

        snprintf(name, sizeof name, "%s%s%s", prefix, *prefix ? "." : "", config_setting_name(is));
        if (config_setting_is_group(is) && is_group(name)) {
            if (!read_group(values, is, name, path, error))
                return false;
            continue;
        }
        setting = setting_find(name);
        if (!(setting < SETTING_COUNT ? read_setting(values, setting, is, path, error)
                                      : not_a_setting(name, config_setting_is_group(is), error)))
            return error_at(error, path, config_setting_source_line(is));
    }
    return true;
}

/* One line of a text, counted from 1; "" beyond its end. */
static void copy_line(const char *text, unsigned line, char *copy, size_t size)
{
    while (--line && *(text = strchrnul(text, '\n')))
        text++;
    snprintf(copy, size, "%.*s", (int)strcspn(text, "\n"), text);
}

/*
 * The parser stopped at a repeated `name`: the line where it stood first, 0 if nowhere, and its
 * whole name.  The group it stopped in is on the way from the root through each last member.
 */
static unsigned first_line_of(const config_t *file, const char *name, char whole_name[NAME_BYTES])
{
    const config_setting_t *group = config_root_setting(file);
    char prefix[NAME_BYTES] = "";
    size_t used = 0;
    unsigned line = 0;

    while (group && config_setting_is_group(group)) {
        const config_setting_t *first = config_setting_get_member(group, name);
        int members = config_setting_length(group);

        if (first) {
            line = config_setting_source_line(first);
            snprintf(whole_name, NAME_BYTES, "%.*s%.64s", (int)used, prefix, name);
        }
        group = members ? config_setting_get_elem(group, (unsigned)members - 1) : NULL;
        if (group && used < sizeof prefix / 2)
            used += (size_t)snprintf(prefix + used, sizeof prefix - used, "%.48s.",
                                     config_setting_name(group));
    }
    return line;
}

/* libconfig says in which line a name came a second time, not which name nor where the first is. */
static bool repeated_name(const config_t *file, const char *line, struct error *error)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789*_-";
    char name[NAME_BYTES], whole_name[NAME_BYTES];
    unsigned first = 0;

    for (size_t length; *(line += strcspn(line, letters)); line += length) {
        length = strspn(line, letters);
        snprintf(name, sizeof name, "%.*s", (int)length, line);
        if (strchr("=:", line[length + strspn(line + length, " \t")])) {
            unsigned found = first_line_of(file, name, whole_name);

            first = found ? found : first;
        }
    }
    if (!first)
        return error_set(error, "a name that was set before is set again");
    return error_set(error, "%s was set in line %u already; remove one of the two", whole_name,
                     first);
}

/* What libconfig could not read, in more words than its "syntax error". */
static bool parse_error(const config_t *file, const char *text, struct error *error)
{
    const char *what = config_error_text(file);
    char line[256];
    const char *start = line;

    copy_line(text, (unsigned)config_error_line(file), line, sizeof line);
    start += strspn(line, " \t");
    if (strcmp(what, "duplicate setting name") == 0)
        return repeated_name(file, line, error);
    for (size_t i = 0; i < SETTING_COUNT; i++) {
        size_t group = strcspn(rows[i].name, ".");

        if (rows[i].name[group] && strncmp(start, rows[i].name, group + 1) == 0)
            return error_set(error, "a setting stands inside its group, without dots: "
                                    "gateway: { limits: { rooms = 5; }; };");
    }
    return error_set(error, "%s, here or just before", what);
}

/* The length of the text or comment that begins here; 0: neither; SIZE_MAX: it never ends. */
static size_t skipped_length(const char *at)
{
    size_t length = 1;
    const char *end;

    if (*at == '#' || strncmp(at, "//", 2) == 0)
        return strcspn(at, "\n");
    if (strncmp(at, "/*", 2) == 0) {
        end = strstr(at + 2, "*/");
        return end ? (size_t)(end + 2 - at) : SIZE_MAX;
    }
    if (*at != '"')
        return 0;
    while (at[length] && at[length] != '"')
        length += at[length] == '\\' && at[length + 1] ? 2 : 1;
    return at[length] ? length + 1 : SIZE_MAX;
}

/*
 * What libconfig lets pass, or cannot explain: it takes a comment that never ends, cuts a number to
 * 32 bits (1.5), and opens other files.  `line` is where the scan stands.
 */
static bool scan(const char *at, unsigned *line, struct error *error)
{
    unsigned depth = 0, group_line = 0;

    for (size_t n; *at; at += n) {
        size_t digits = strspn(at, "0123456789");

        n = skipped_length(at);
        if (n == SIZE_MAX)
            return error_set(error, "the %s that begins here is never closed",
                             *at == '"' ? "text" : "comment");
        if (digits && strtoull(at, NULL, 10) > INT32_MAX)
            return error_set(error, "%.*s is more than any setting takes", (int)digits, at);
        if (strncmp(at, "@include", 8) == 0)
            return error_set(error, "@include is not supported: the config is one file");
        if (*at == '{' && depth++ == 0)
            group_line = *line;
        depth -= *at == '}' && depth > 0;
        n = n ? n : digits ? digits : 1;
        for (size_t i = 0; i < n; i++)
            *line += at[i] == '\n';
    }
    if (depth)
        *line = group_line;
    return !depth || error_set(error, "the group that begins here is never closed");
}

static bool parse(config_t *file, const char *text, const char *path, struct error *error)
{
    unsigned line = 1;

    if (!scan(text, &line, error))
        return error_at(error, path, line);
    if (config_read_string(file, text))
        return true;
    parse_error(file, text, error);
    return error_at(error, path, (unsigned)config_error_line(file));
}

/* The text, to be freed.  NULL: error. */
static char *read_file(const char *path, struct error *error)
{
    /* Non-blocking: a pipe nobody writes to must not hold us up. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    char *text = memory_new(MAX_FILE_BYTES + 1);
    struct stat is;
    size_t used = 0;
    ssize_t n = -1;
    bool whole = false;

    if (fd >= 0 && fstat(fd, &is) == 0 && !S_ISREG(is.st_mode)) {
        error_set(error, "the config %s is %s, not a file", path,
                  S_ISDIR(is.st_mode) ? "a folder" : "a device or a pipe");
        goto done;
    }
    while (fd >= 0 && (n = read(fd, text + used, MAX_FILE_BYTES + 1 - used)) > 0)
        used += (size_t)n;
    if (n < 0)
        error_set(error, "cannot read the config %s (-c FILE names another): %s", path,
                  strerror(errno));
    else if (used > MAX_FILE_BYTES)
        error_set(error, "the config %s is larger than 1 MiB", path);
    else if (memchr(text, '\0', used))
        error_set(error, "the config %s is no text: it holds a NUL byte", path);
    else
        whole = true;
done:
    if (fd >= 0)
        close(fd);
    if (whole) {
        text[used] = '\0';
        return text;
    }
    free(text);
    return NULL;
}

/* Relative paths start at the folder of the config. */
static bool make_absolute(struct value *value, const char *config_path, struct error *error)
{
    const char *word = value->words[0];
    char *folder, *real, *file = NULL;

    if (*word == '/' || *word == '\0')
        return true;
    while (strncmp(word, "./", 2) == 0)
        word += 2;
    folder = memory_copy(config_path, strlen(config_path));
    real = realpath(dirname(folder), NULL);
    if (real && asprintf(&file, "%s/%s", strcmp(real, "/") ? real : "", word) < 0)
        abort();
    if (file) {
        free(value->words[0]);
        value->words[0] = file;
    }
    free(folder);
    free(real);
    return file || error_set(error, "cannot find the folder of the config %s: %s", config_path,
                             strerror(errno));
}

static bool complete(struct value values[], const char *path, struct error *error)
{
    for (size_t i = 0; i < SETTING_COUNT; i++) {
        struct value *value = &values[i];

        if (!value->words) {
            value->words = words_split(row_types[i], rows[i].standard);
            if (!check_value(i, value, error))
                return false;
        }
        if (row_types[i] == TYPE_FILE && !make_absolute(value, path, error))
            return false;
        value->shown = value_show(row_types[i], value);
    }
    return true;
}

static void fill(struct config *config, const struct value values[])
{
#define FIELD_TEXT(value)     (value).words[0]
#define FIELD_FILE(value)     (value).words[0]
#define FIELD_TEXTS(value)    (config_texts)(value).words
#define FIELD_FLAG(value)     ((value).number != 0)
#define FIELD_COUNT(value)    (value).number
#define FIELD_BYTES(value)    (value).number
#define FIELD_DURATION(value) (value).number
#define FILL(field, name, type, standard, when, help)                                              \
    config->field = FIELD_##type(values[SETTING_##field]);
    SETTINGS(FILL)
}

struct config *config_read(const char *path, struct error *error)
{
    struct whole *whole = memory_zeroed(1, sizeof *whole);
    struct config *config = &whole->config;
    char *text = read_file(path, error);
    config_t file;

    config_init(&file);
    if (text && parse(&file, text, path, error) &&
        read_group(whole->values, config_root_setting(&file), "", path, error) &&
        complete(whole->values, path, error))
        fill(config, whole->values);
    else
        config_free(&config);
    config_destroy(&file);
    free(text);
    return config;
}

void config_free(struct config **config)
{
    struct whole *whole = (struct whole *)*config;

    for (size_t i = 0; whole && i < SETTING_COUNT; i++)
        value_fini(&whole->values[i]);
    free(whole);
    *config = NULL;
}

size_t config_settings(const struct setting **settings)
{
    *settings = rows;
    return SETTING_COUNT;
}

const char *config_show_value(const struct config *config, size_t setting)
{
    return ((const struct whole *)config)->values[setting].shown;
}

const char *config_source(const struct config *config, size_t setting)
{
    const char *source = ((const struct whole *)config)->values[setting].source;

    return source ? source : "default";
}

bool config_render_assignment(const char *name, const char *value, char *out, size_t size,
                              struct error *error)
{
    size_t setting = setting_find(name);
    struct value read = {0};
    bool fits = false;

    if (setting == SETTING_COUNT)
        return not_a_setting(name, false, error);
    read.words = words_split(row_types[setting], value);
    if (check_value(setting, &read, error)) {
        read.shown = value_show(row_types[setting], &read);
        fits = (size_t)snprintf(out, size, "%s", read.shown) < size ||
               error_set(error, "%s: the value is too long", name);
    }
    value_fini(&read);
    return fits;
}

size_t config_frozen_differences(const struct config *running, const struct config *fresh,
                                 char *names, size_t size)
{
    size_t n = 0, used = 0;

    names[0] = '\0';
    for (size_t i = 0; i < SETTING_COUNT; i++) {
        if (rows[i].reloadable ||
            strcmp(config_show_value(running, i), config_show_value(fresh, i)) == 0)
            continue;
        if (used < size)
            used +=
                (size_t)snprintf(names + used, size - used, "%s%s", n ? ", " : "", rows[i].name);
        n++;
    }
    return n;
}
