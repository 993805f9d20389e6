/*
 * `sallyport init --dir`: a whole instance in one folder, which any user can run.  The config is
 * written from the table of settings and read back before anything else is made.  Without --dir:
 * where a package has put config and folders, the first key and the database.
 */
#include "db/admin/instance.h"

#include "common/keyring.h"
#include "common/memory.h"
#include "db/revocations.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define VALUE_BYTES 4096

static const char rules[] =
    "# What clients may send, and where each event goes.\n"
    "# `sallyport-gateway --check` reads this page without serving it.\n"
    "\n"
    "namespace \"/\" {\n"
    "    authenticate required\n"
    "\n"
    "    on \"add user\" {\n"
    "        require unset username\n"
    "        set username $1\n"
    "        join \"named\"\n"
    "        emit self   \"login\"       {\"numUsers\": $count(\"named\")}\n"
    "        emit others \"user joined\" {\"username\": $username, \"numUsers\": "
    "$count(\"named\")}\n"
    "    }\n"
    "\n"
    "    on \"new message\" {\n"
    "        require set username\n"
    "        emit others {\"username\": $username, \"message\": $1}\n"
    "    }\n"
    "\n"
    "    when disconnect {\n"
    "        require set username\n"
    "        emit others \"user left\" {\"username\": $username, \"numUsers\": $count(\"named\")}\n"
    "    }\n"
    "}\n";

/* What stands in the folder. */
enum { CONFIG, RULES, KEYS, DATABASE, REVOCATIONS, LOGIN_SOCKET, NAMES };
static const char *const names[NAMES] = {"sallyport.conf", "relay.rules",    "keys",
                                         "sallyport.db",   "revocations.db", "login.sock"};

struct draft {
    const struct request *request;
    char paths[NAMES][PATH_MAX];
    char **values; /* a value as typed for each setting; NULL: its default */
    const struct setting *settings;
    size_t n_settings;
};

/* ---- the settings --------------------------------------------------------------------------- */

static size_t find_setting(const struct draft *draft, const char *name, size_t length)
{
    size_t i = 0;

    while (i < draft->n_settings &&
           (strncmp(draft->settings[i].name, name, length) || draft->settings[i].name[length]))
        i++;
    return i;
}

/* A list is given word by word: what comes is added.  False: there is a value. */
static bool set_value(struct draft *draft, size_t setting, const char *value)
{
    char **at = &draft->values[setting], *longer;

    if (*at && strcmp(draft->settings[setting].type, "TEXTS"))
        return false;
    if (asprintf(&longer, "%s%s%s", *at ? *at : "", *at ? "," : "", value) < 0)
        abort();
    free(*at);
    *at = longer;
    return true;
}

static void set_default(struct draft *draft, const char *name, const char *value)
{
    size_t setting = find_setting(draft, name, strlen(name));

    if (!draft->values[setting])
        set_value(draft, setting, value);
}

static enum command_status assign(struct draft *draft, const char *assignment)
{
    const char *equals = strchr(assignment, '=');
    size_t length = strcspn(assignment, "="), setting = find_setting(draft, assignment, length);
    char value[VALUE_BYTES], *name;
    struct error error;
    enum command_status status = COMMAND_DONE;

    if (!equals)
        return command_misused(draft->request, "--set \"%s\": NAME=VALUE is needed", assignment);
    name = memory_copy(assignment, length);
    if (!config_render_assignment(name, equals + 1, value, sizeof value, &error))
        status = command_misused(draft->request, "--set: %s", error.text);
    else if (strncmp(name, "issuers.", 8) == 0)
        status = command_misused(draft->request,
                                 "--set: issuers are a list; write it into the config afterwards");
    else if (strcmp(name, "keys") == 0 || strcmp(name, "login.database") == 0 ||
             strcmp(name, "token.revocations") == 0)
        status = command_misused(draft->request,
                                 "--set: init makes the %s itself; change the config afterwards",
                                 *name == 'k' ? "keys" : "databases");
    else if (!set_value(draft, setting, equals + 1))
        status = command_misused(draft->request, "%s is given twice", name);
    free(name);
    return status;
}

static enum command_status read_settings(struct draft *draft)
{
    const struct request_values *sets = &draft->request->options[OPTION_SET];
    const char *listen = request_value(draft->request, OPTION_LISTEN);
    enum command_status status = COMMAND_DONE;
    char *assignment;

    if (listen) {
        if (asprintf(&assignment, "gateway.listen=%s", listen) < 0)
            abort();
        status = assign(draft, assignment);
        free(assignment);
    }
    for (size_t i = 0; i < sets->n && status == COMMAND_DONE; i++)
        status = assign(draft, sets->values[i]);
    return status;
}

/* ---- the config ----------------------------------------------------------------------------- */

static size_t common_length(const char *a, const char *b)
{
    size_t length = 0;

    for (size_t i = 0; a[i] && a[i] == b[i]; i++)
        if (a[i] == '.')
            length = i + 1;
    return length;
}

static int depth_of(const char *name)
{
    int depth = 0;

    for (; *name; name++)
        depth += *name == '.';
    return depth;
}

/* Close the groups of `from` that `to` is not in, and open those of `to`. */
static void change_group(FILE *out, const char *from, const char *to)
{
    size_t common = common_length(from, to);
    int depth = depth_of(from), kept = depth - depth_of(from + common);

    for (; depth > kept; depth--)
        fprintf(out, "%*s};\n", 4 * (depth - 1), "");
    for (to += common; strchr(to, '.'); to = strchr(to, '.') + 1)
        fprintf(out, "\n%*s%.*s: {\n", 4 * depth++, "", (int)strcspn(to, "."), to);
}

/* A setting on one line, its help beside it; one that has its default is a comment. */
static bool write_setting(FILE *out, const struct draft *draft, size_t i, struct error *error)
{
    const struct setting *setting = &draft->settings[i];
    const char *dot = strrchr(setting->name, '.'), *value = draft->values[i];
    char rendered[VALUE_BYTES], *line;
    int written;

    if (!config_render_assignment(setting->name, value ? value : setting->standard, rendered,
                                  sizeof rendered, error))
        return false;
    if (asprintf(&line, "%*s%s%s = %s;", 4 * depth_of(setting->name), "", value ? "" : "# ",
                 dot ? dot + 1 : setting->name, rendered) < 0)
        abort();
    written = fprintf(out, "%-47s # %s\n", line, setting->help);
    free(line);
    return written > 0 ||
           error_set(error, "cannot write %s: %s", draft->paths[CONFIG], strerror(errno));
}

static bool write_settings(FILE *out, const struct draft *draft, struct error *error)
{
    const char *last = "";

    fputs("# Sallyport's config, read by sallyport-login, sallyport-gateway and sallyport.\n"
          "# What is a comment has its default.  Relative paths start at this file's folder.\n\n",
          out);
    for (size_t i = 0; i < draft->n_settings; i++) {
        change_group(out, last, draft->settings[i].name);
        if (!write_setting(out, draft, i, error))
            return false;
        last = draft->settings[i].name;
    }
    change_group(out, last, "");
    return true;
}

/* ---- the folder ----------------------------------------------------------------------------- */

/* A new file of this text, on the disk when this returns. */
static FILE *make_file(const char *path, struct error *error)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    FILE *out = fd < 0 ? NULL : fdopen(fd, "w");

    if (!out)
        error_set(error, "cannot make %s: %s", path, strerror(errno));
    return out;
}

static bool finish_file(FILE *out, const char *path, struct error *error)
{
    bool is_whole = fflush(out) == 0 && fsync(fileno(out)) == 0;

    if (fclose(out) == EOF || !is_whole)
        return error_set(error, "cannot write %s: %s", path, strerror(errno));
    return true;
}

/* What config_read thinks of it decides. */
static bool make_config(const struct draft *draft, struct error *error)
{
    const char *path = draft->paths[CONFIG];
    FILE *out = make_file(path, error);
    struct config *config = NULL;

    if (!out)
        return false;
    if (!write_settings(out, draft, error))
        fclose(out);
    else if (finish_file(out, path, error))
        config = config_read(path, error);
    if (!config) {
        unlink(path);
        return false;
    }
    config_free(&config);
    return true;
}

static bool make_rules(const char *path, struct error *error)
{
    FILE *out = make_file(path, error);

    if (!out)
        return false;
    fputs(rules, out);
    return finish_file(out, path, error);
}

static bool make_keys(const char *path, struct error *error)
{
    char name[64];

    if (mkdir(path, 0750) < 0)
        return error_set(error, "cannot make %s: %s", path, strerror(errno));
    return keyring_generate(path, KEY_HS256, NULL, name, error) &&
           keyring_activate(path, name, error);
}

static bool make_database(const char *path, struct error *error)
{
    struct database *database = database_open(path, true, error);
    bool is_made = database;

    database_close(&database);
    return is_made;
}

/* How long tokens live is announced by those who issue them. */
static bool make_revocations(const char *path, struct error *error)
{
    struct revocations *revocations = revocations_open(path, true, 0, error);
    bool is_made = revocations;

    revocations_close(&revocations);
    return is_made;
}

/* Make the folder, if need be, as the owner of what it lies in. */
static bool make_folder(const char *folder, struct error *error)
{
    char *copy = memory_copy(folder, strlen(folder));
    const char *owned = access(folder, F_OK) == 0 ? folder : dirname(copy);
    bool is_made = instance_become_owner(owned, error) &&
                   (mkdir(folder, 0750) == 0 || errno == EEXIST ||
                    error_set(error, "cannot make %s: %s", folder, strerror(errno)));

    free(copy);
    return is_made;
}

static bool name_paths(struct draft *draft, const char *folder, struct error *error)
{
    char *real = realpath(folder, NULL);

    if (!real)
        return error_set(error, "cannot reach %s: %s", folder, strerror(errno));
    for (int i = 0; i < NAMES; i++)
        if (snprintf(draft->paths[i], PATH_MAX, "%s/%s", strcmp(real, "/") ? real : "", names[i]) >=
            PATH_MAX) {
            free(real);
            return error_set(error, "the path of %s is too long", folder);
        }
    free(real);
    return true;
}

static void set_defaults(struct draft *draft)
{
    set_default(draft, "keys", names[KEYS]);
    set_default(draft, "login.database", names[DATABASE]);
    set_default(draft, "token.revocations", names[REVOCATIONS]);
    set_default(draft, "login.listen", draft->paths[LOGIN_SOCKET]);
    set_default(draft, "gateway.rules", names[RULES]);
}

static void print_made(const struct draft *draft)
{
    const char *config = draft->paths[CONFIG];

    if (request_has(draft->request, OPTION_JSON)) {
        command_print_json(json_pack("{s:s, s:s, s:s, s:s}", "config", config, "rules",
                                     draft->paths[RULES], "keys", draft->paths[KEYS], "database",
                                     draft->paths[DATABASE]));
        return;
    }
    printf("made %s, and beside it %s, %s and %s\n\n", config, names[RULES], names[KEYS],
           names[DATABASE]);
    printf("  sallyport -c %s user add NAME\n"
           "  sallyport-login -c %s\n"
           "  sallyport-gateway -c %s\n",
           config, config, config);
}

static enum command_status make(struct draft *draft)
{
    const char *folder = request_value(draft->request, OPTION_DIR);
    struct error error;
    struct stat status;

    if (!make_folder(folder, &error) || !name_paths(draft, folder, &error))
        return command_refuse(COMMAND_FAILED, "%s", error.text);
    for (int i = 0; i < LOGIN_SOCKET; i++)
        if (lstat(draft->paths[i], &status) == 0)
            return command_refuse(COMMAND_EXISTS,
                                  "there is %s already; nothing was changed; choose another folder",
                                  draft->paths[i]);
    set_defaults(draft);
    if (!make_config(draft, &error))
        return command_refuse(COMMAND_FAILED, "%s", error.text);
    if (!make_rules(draft->paths[RULES], &error) || !make_keys(draft->paths[KEYS], &error) ||
        !make_database(draft->paths[DATABASE], &error) ||
        !make_revocations(draft->paths[REVOCATIONS], &error))
        return command_refuse(COMMAND_FAILED, "%s; %s holds half an instance: remove it",
                              error.text, folder);
    print_made(draft);
    return COMMAND_DONE;
}

/* ---- what a config lacks -------------------------------------------------------------------- */

static int is_key(const struct dirent *entry)
{
    return fnmatch("*.jwk", entry->d_name, FNM_PERIOD) == 0;
}

/* Into a folder without any key, one that signs; its name in `made`, or "". */
static bool make_first_key(const char *folder, char made[64], struct error *error)
{
    struct dirent **keys;
    int n = scandir(folder, &keys, is_key, NULL);

    made[0] = '\0';
    if (n < 0)
        return error_set(error, "cannot read the folder of the keys, %s: %s", folder,
                         strerror(errno));
    for (int i = 0; i < n; i++)
        free(keys[i]);
    free(keys);
    return n > 0 || (keyring_generate(folder, KEY_HS256, NULL, made, error) &&
                     keyring_activate(folder, made, error));
}

/* A file of the instance: what it is called, where it has to be, and how it is made. */
struct first {
    const char *name, *path;
    bool (*make)(const char *path, struct error *error);
    bool is_made;
};

static bool make_first(struct first *first, struct error *error)
{
    char *copy = memory_copy(first->path, strlen(first->path));
    bool is_owner = instance_become_owner(dirname(copy), error);

    free(copy);
    first->is_made = access(first->path, F_OK) < 0;
    return is_owner && (!first->is_made || first->make(first->path, error));
}

static void print_completed_json(const char *key, const struct first *files, size_t n)
{
    json_t *made = json_pack("{s:s?}", "key", *key ? key : NULL);

    for (size_t i = 0; i < n; i++)
        json_object_set_new(made, files[i].name,
                            files[i].is_made ? json_string(files[i].path) : json_null());
    command_print_json(made);
}

static void print_completed(const struct config *config, const char *key, const struct first *files,
                            size_t n)
{
    bool changed = *key;

    if (*key)
        printf("made the key %s in %s\n", key, config->keys);
    for (size_t i = 0; i < n; i++) {
        if (files[i].is_made)
            printf("made the %s %s\n", files[i].name, files[i].path);
        changed = changed || files[i].is_made;
    }
    if (!changed)
        printf("there are keys in %s, and the database %s; nothing was changed\n", config->keys,
               files[0].path);
}

/* The keys come first: whoever owns the databases could not write them. */
static enum command_status complete_files(const struct request *request,
                                          const struct config *config)
{
    struct first files[] = {{"database", config->login_database, make_database, false},
                            {"revocations", config->token_revocations, make_revocations, false}};
    size_t n = sizeof files / sizeof *files;
    struct error error;
    bool is_done;
    char key[64];

    is_done =
        instance_become_owner(config->keys, &error) && make_first_key(config->keys, key, &error);
    for (size_t i = 0; i < n && is_done; i++)
        is_done = make_first(&files[i], &error);
    if (!is_done)
        return command_refuse(COMMAND_FAILED, "%s", error.text);
    if (request_has(request, OPTION_JSON))
        print_completed_json(key, files, n);
    else
        print_completed(config, key, files, n);
    return COMMAND_DONE;
}

static enum command_status complete(const struct request *request)
{
    enum command_status status;
    struct config *config;
    struct error error;

    if (request_has(request, OPTION_LISTEN) || request_has(request, OPTION_SET))
        return command_misused(request,
                               "--listen and --set are for a new config: --dir is missing");
    config = config_read(request->config, &error);
    if (!config)
        return command_refuse(COMMAND_FAILED, "%s", error.text);
    status = complete_files(request, config);
    config_free(&config);
    return status;
}

static enum command_status init(const struct request *request)
{
    struct draft draft = {.request = request};
    enum command_status status;

    if (!request_has(request, OPTION_DIR))
        return complete(request);
    draft.n_settings = config_settings(&draft.settings);
    draft.values = memory_zeroed(draft.n_settings, sizeof *draft.values);
    status = read_settings(&draft);
    if (status == COMMAND_DONE)
        status = make(&draft);
    for (size_t i = 0; i < draft.n_settings; i++)
        free(draft.values[i]);
    free(draft.values);
    return status;
}

/* clang-format off */
const struct command init_commands[] = {
    {"init", NULL, NULL, TAKES(OPTION_DIR) | TAKES(OPTION_LISTEN) | TAKES(OPTION_SET) | TAKES(OPTION_JSON), 0, "make a whole instance in a folder; without --dir, the key and the databases that the config lacks", init},
    {0},
};
/* clang-format on */
