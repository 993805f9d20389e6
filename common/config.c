/*
 * The config file: libconfig reads the grammar, the table in settings.h says what may stand there,
 * value.c what a value may be.
 */
#include "common/config.h"

#include "common/memory.h"
#include "common/value.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
/* libconfig has a config_read of its own, which nobody here calls. */
#define config_read libconfig_config_read
#include <libconfig.h>
#undef config_read
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_FILE_BYTES ((size_t)1 << 20)
#define MAX_NAMES      1000 /* far above what is known; libconfig's time grows with its square */

struct whole {
    struct config config; /* the part that everyone sees; first, so that one becomes the other */
    struct value values[SETTING_COUNT];
    struct value issuers[CONFIG_MAX_ISSUERS][ISSUER_SETTING_COUNT];
};

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

static char **words_of_list(const config_setting_t *is)
{
    int n = config_setting_length(is);
    char **words = memory_zeroed((size_t)n + 1, sizeof *words);

    for (int i = 0; i < n; i++) {
        const char *text = config_setting_get_string_elem(is, i);

        if (!text) {
            value_free_words(&words);
            return NULL;
        }
        words[i] = memory_copy(text, strlen(text));
    }
    return words;
}

/* The words of what stands in the file, NULL where that is not of the row's type. */
static char **words_of(enum setting_type type, const config_setting_t *is)
{
    const char *text = NULL;
    char number[32];

    if (type == TYPE_TEXTS)
        return config_setting_is_array(is) || config_setting_is_list(is) ? words_of_list(is) : NULL;
    if (type != TYPE_FLAG && type != TYPE_COUNT)
        text = config_setting_get_string(is);
    if (type == TYPE_FLAG && config_setting_type(is) == CONFIG_TYPE_BOOL)
        text = config_setting_get_bool(is) ? "true" : "false";
    if ((type == TYPE_COUNT || type == TYPE_BYTES) && is_number(is)) {
        snprintf(number, sizeof number, "%lld", config_setting_get_int64(is));
        text = number;
    }
    return text ? value_split(type, text) : NULL;
}

static bool read_setting(struct value *value, size_t setting, const config_setting_t *is,
                         const char *path, struct error *error)
{
    char written[80];

    value->words = words_of(setting_types[setting], is);
    if (!value->words) {
        describe(is, written, sizeof written);
        return error_set(error, "%s must be %s, not %s", setting_rows[setting].name,
                         setting_wanted(setting), written);
    }
    if (asprintf(&value->source, "%s:%u", path, config_setting_source_line(is)) < 0)
        abort();
    return value_check(setting, value, error);
}

/* Write the name with its groups, cut where it is longer than any we know; its length. */
static size_t whole_name(const config_setting_t *is, char name[SETTING_NAME_BYTES])
{
    const config_setting_t *group = config_setting_parent(is);
    size_t used = config_setting_is_root(group) ? 0 : whole_name(group, name);

    if (config_setting_name(is)) /* what stands in a list has none */
        snprintf(name + used, SETTING_NAME_BYTES - used, "%s%s", used ? "." : "",
                 config_setting_name(is));
    return strlen(name);
}

static bool read_issuer(struct value values[], const config_setting_t *group, const char *path,
                        struct error *error)
{
    for (unsigned i = 0; i < (unsigned)config_setting_length(group); i++) {
        const config_setting_t *is = config_setting_get_elem(group, i);
        char name[SETTING_NAME_BYTES];
        size_t setting;
        bool taken;

        whole_name(is, name);
        setting = setting_find(name);
        taken = setting < SETTING_END
                    ? read_setting(&values[setting - SETTING_COUNT], setting, is, path, error)
                    : setting_not_found(name, config_setting_is_group(is), error);
        if (!taken)
            return error_at(error, path, config_setting_source_line(is));
    }
    for (size_t i = SETTING_COUNT; i < SETTING_END; i++) {
        char **words = values[i - SETTING_COUNT].words;

        if ((words && words[0] && *words[0]) || *setting_rows[i].standard || i == SETTING_issuer_ca)
            continue;
        error_set(error, "this issuer needs %s", setting_rows[i].name);
        return error_at(error, path, config_setting_source_line(group));
    }
    return true;
}

static bool read_issuers(struct whole *whole, const config_setting_t *list, const char *path,
                         struct error *error)
{
    unsigned n = (unsigned)config_setting_length(list);

    if (n > CONFIG_MAX_ISSUERS) {
        error_set(error, "there are more than %d issuers", CONFIG_MAX_ISSUERS);
        return error_at(error, path, config_setting_source_line(list));
    }
    for (unsigned i = 0; i < n; i++) {
        const config_setting_t *group = config_setting_get_elem(list, i);

        if (!config_setting_is_group(group)) {
            error_set(error, "issuers must be a list of groups: issuers = ( { issuer = … } );");
            return error_at(error, path, config_setting_source_line(group));
        }
        if (!read_issuer(whole->issuers[i], group, path, error))
            return false;
    }
    whole->config.n_issuers = n;
    return true;
}

static bool read_group(struct whole *whole, const config_setting_t *group, const char *path,
                       struct error *error)
{
    for (unsigned i = 0; i < (unsigned)config_setting_length(group); i++) {
        const config_setting_t *is = config_setting_get_elem(group, i);
        char name[SETTING_NAME_BYTES];
        size_t setting;
        bool taken;

        whole_name(is, name);
        if (strcmp(name, "issuers") == 0 && config_setting_is_list(is)) {
            if (!read_issuers(whole, is, path, error))
                return false;
            continue;
        }
        if (config_setting_is_group(is) && setting_is_group(name) && strcmp(name, "issuers") != 0) {
            if (!read_group(whole, is, path, error))
                return false;
            continue;
        }
        setting = setting_find(name);
        taken = strcmp(name, "issuers") == 0
                    ? error_set(error,
                                "issuers must be a list of groups: issuers = ( { issuer = … } );")
                : setting < SETTING_COUNT
                    ? read_setting(&whole->values[setting], setting, is, path, error)
                    : setting_not_found(name, config_setting_is_group(is), error);
        if (!taken)
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
 * The parser stopped at a repeated `name`: the setting that had it first, NULL if none.  The group
 * it stopped in is on the way from the root through each last member.
 */
static const config_setting_t *first_of(const config_t *file, const char *name)
{
    const config_setting_t *group = config_root_setting(file), *first = NULL;

    while (group && (config_setting_is_group(group) || config_setting_is_list(group))) {
        const config_setting_t *found =
            config_setting_is_group(group) ? config_setting_get_member(group, name) : NULL;
        int members = config_setting_length(group);

        first = found ? found : first;
        group = members ? config_setting_get_elem(group, (unsigned)members - 1) : NULL;
    }
    return first;
}

/* libconfig says in which line a name came a second time, not which name nor where the first is. */
static bool repeated_name(const config_t *file, const char *line, struct error *error)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789*_-";
    const config_setting_t *first = NULL;
    char name[SETTING_NAME_BYTES];

    for (size_t length; *(line += strcspn(line, letters)); line += length) {
        length = strspn(line, letters);
        snprintf(name, sizeof name, "%.*s", (int)length, line);
        if (strchr("=:", line[length + strspn(line + length, " \t")])) {
            const config_setting_t *found = first_of(file, name);

            first = found ? found : first;
        }
    }
    if (!first)
        return error_set(error, "a name that was set before is set again");
    whole_name(first, name);
    return error_set(error, "%s was set in line %u already; remove one of the two", name,
                     config_setting_source_line(first));
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
        size_t group = strcspn(setting_rows[i].name, ".");

        if (setting_rows[i].name[group] && strncmp(start, setting_rows[i].name, group + 1) == 0)
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
    unsigned depth = 0, group_line = 0, names = 0;

    for (size_t n; *at; at += n) {
        size_t digits = strspn(at, "0123456789");

        n = skipped_length(at);
        if (n == SIZE_MAX)
            return error_set(error, "the %s that begins here is never closed",
                             *at == '"' ? "text" : "comment");
        if (digits && strtoull(at, NULL, 10) > INT32_MAX)
            return error_set(error, "%.*s is more than any setting takes", (int)digits, at);
        if ((*at == '=' || *at == ':') && ++names > MAX_NAMES)
            return error_set(error, "there are more than %d settings in this file", MAX_NAMES);
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

    if (*word == '/' || *word == '\0' || strncmp(word, "https://", 8) == 0)
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

/* `n` values of the rows from `first` on. */
static bool complete_rows(struct value values[], size_t first, size_t n, const char *path,
                          struct error *error)
{
    for (size_t i = first; i < first + n; i++) {
        struct value *value = &values[i - first];

        if (!value->words) {
            value->words = value_split(setting_types[i], setting_rows[i].standard);
            if (!value_check(i, value, error))
                return false;
        }
        if (setting_types[i] == TYPE_FILE && !make_absolute(value, path, error))
            return false;
        value->shown = value_show(setting_types[i], value);
    }
    return true;
}

static bool complete(struct whole *whole, const char *path, struct error *error)
{
    for (size_t i = 0; i < whole->config.n_issuers; i++)
        if (!complete_rows(whole->issuers[i], SETTING_COUNT, ISSUER_SETTING_COUNT, path, error))
            return false;
    return complete_rows(whole->values, 0, SETTING_COUNT, path, error);
}

/* Whose tokens and users are whose must never be a question. */
static bool check_issuers(const struct config *config, struct error *error)
{
    for (size_t i = 0; i < config->n_issuers; i++) {
        const struct config_issuer *one = &config->issuers[i];

        if (strcmp(one->issuer_name, config->token_issuer) == 0)
            return error_set(error, "issuers.issuer \"%s\" is our own, token.issuer",
                             one->issuer_name);
        for (size_t k = 0; k < i; k++) {
            if (strcmp(one->issuer_name, config->issuers[k].issuer_name) == 0)
                return error_set(error, "two issuers have the same issuers.issuer \"%s\"",
                                 one->issuer_name);
            if (strcmp(one->issuer_prefix, config->issuers[k].issuer_prefix) == 0)
                return error_set(error, "two issuers have the same issuers.prefix \"%s\"",
                                 one->issuer_prefix);
        }
    }
    return true;
}

/* As strong as what OWASP's Password Storage Cheat Sheet has for so many passes. */
static bool check_hash(const struct config *config, struct error *error)
{
    static const uint64_t least_mib[] = {46, 19, 12, 9, 7};
    uint64_t passes = config->login_hash_passes < 5 ? config->login_hash_passes : 5;
    uint64_t least = least_mib[passes - 1];

    return config->login_hash_memory >= least << 20 ||
           error_set(
               error,
               "login.hash_memory must be at least \"%lluMiB\" where login.hash_passes is %llu",
               (unsigned long long)least, (unsigned long long)passes);
}

static void fill(struct whole *whole)
{
    struct config *config = &whole->config;
    const struct value *values = whole->values;

#define FIELD_TEXT(value)     (value).words[0]
#define FIELD_FILE(value)     (value).words[0]
#define FIELD_TEXTS(value)    (config_texts)(value).words
#define FIELD_FLAG(value)     ((value).number != 0)
#define FIELD_COUNT(value)    (value).number
#define FIELD_BYTES(value)    (value).number
#define FIELD_DURATION(value) (value).number
#define FILL(field, name, type, standard, when, help)                                              \
    config->field = FIELD_##type(values[SETTING_##field]);
#define FILL_ISSUER(field, name, type, standard, when, help)                                       \
    config->issuers[i].field = FIELD_##type(whole->issuers[i][SETTING_##field - SETTING_COUNT]);
    SETTINGS(FILL)
    config->issuers = memory_zeroed(config->n_issuers + 1, sizeof *config->issuers);
    for (size_t i = 0; i < config->n_issuers; i++) {
        ISSUER_SETTINGS(FILL_ISSUER)
    }
}

static void refuse_at(struct config **config, config_t *file, const char *name, const char *path,
                      struct error *error)
{
    config_setting_t *setting = config_lookup(file, name);

    error_at(error, path, setting ? config_setting_source_line(setting) : 0);
    config_free(config);
}

struct config *config_read(const char *path, struct error *error)
{
    struct whole *whole = memory_zeroed(1, sizeof *whole);
    struct config *config = &whole->config;
    char *text = read_file(path, error);
    config_t file;

    config_init(&file);
    if (text && parse(&file, text, path, error) &&
        read_group(whole, config_root_setting(&file), path, error) && complete(whole, path, error))
        fill(whole);
    else
        config_free(&config);
    if (config && !check_issuers(config, error))
        refuse_at(&config, &file, "issuers", path, error);
    if (config && !check_hash(config, error))
        refuse_at(&config, &file, "login", path, error);
    config_destroy(&file);
    free(text);
    return config;
}

void config_free(struct config **config)
{
    struct whole *whole = (struct whole *)*config;

    for (size_t i = 0; whole && i < SETTING_COUNT; i++)
        value_fini(&whole->values[i]);
    for (size_t i = 0; whole && i < CONFIG_MAX_ISSUERS * ISSUER_SETTING_COUNT; i++)
        value_fini(&whole->issuers[i / ISSUER_SETTING_COUNT][i % ISSUER_SETTING_COUNT]);
    if (whole)
        free(whole->config.issuers);
    free(whole);
    *config = NULL;
}

uint64_t config_longest_lifetime_ms(const struct config *config)
{
    uint64_t longest_ms = config->token_lifetime;

    for (size_t i = 0; i < config->n_issuers; i++)
        if (config->issuers[i].issuer_lifetime > longest_ms)
            longest_ms = config->issuers[i].issuer_lifetime;
    return longest_ms;
}

const struct config_issuer *config_issuer_of_user(const struct config *config, const char *user)
{
    for (size_t i = 0; i < config->n_issuers; i++) {
        const char *prefix = config->issuers[i].issuer_prefix;

        if (strncmp(user, prefix, strlen(prefix)) == 0)
            return &config->issuers[i];
    }
    return NULL;
}

size_t config_settings(const struct setting **settings)
{
    *settings = setting_rows;
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

size_t config_issuer_settings(const struct setting **settings)
{
    *settings = setting_rows + SETTING_COUNT;
    return ISSUER_SETTING_COUNT;
}

const char *config_show_issuer(const struct config *config, size_t issuer, size_t setting)
{
    return ((const struct whole *)config)->issuers[issuer][setting].shown;
}

const char *config_issuer_source(const struct config *config, size_t issuer, size_t setting)
{
    const char *source = ((const struct whole *)config)->issuers[issuer][setting].source;

    return source ? source : "default";
}

bool config_render_assignment(const char *name, const char *value, char *out, size_t size,
                              struct error *error)
{
    size_t setting = setting_find(name);
    struct value read = {0};
    bool fits = false;

    if (setting == SETTING_END)
        return setting_not_found(name, false, error);
    read.words = value_split(setting_types[setting], value);
    if (value_check(setting, &read, error)) {
        read.shown = value_show(setting_types[setting], &read);
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
        if (setting_rows[i].reloadable ||
            strcmp(config_show_value(running, i), config_show_value(fresh, i)) == 0)
            continue;
        if (used < size)
            used += (size_t)snprintf(names + used, size - used, "%s%s", n ? ", " : "",
                                     setting_rows[i].name);
        n++;
    }
    return n;
}
