/* `sallyport user`: who may log in, and what their tokens say of them. */
#include "db/admin/claims.h"
#include "db/admin/columns.h"
#include "db/admin/instance.h"
#include "db/admin/terminal.h"

#include "common/clock.h"
#include "common/memory.h"
#include "db/connection.h"
#include "db/users.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- what is printed ------------------------------------------------------------------------ */

/* How the hash was made, as "$2b$12$": without the salt's dots. */
static const char *hash_kind(const struct user *user, struct kind *kind)
{
    struct error error;

    if (!kind_read(user->hash, kind, &error))
        return "unknown";
    kind->text[strcspn(kind->text, ".")] = '\0';
    return kind->text;
}

static json_t *user_json(const struct user *user)
{
    struct kind kind;

    return json_pack("{s:I, s:s, s:b, s:I, s:I, s:s, s:O}", "id", (json_int_t)user->id, "name",
                     user->name, "disabled", user->disabled, "created", (json_int_t)user->created_s,
                     "changed", (json_int_t)user->changed_s, "hash_kind", hash_kind(user, &kind),
                     "claims", user->claims);
}

/* A list with commas; "" where there is none. */
static void add_roles(struct columns *columns, const json_t *roles)
{
    char text[CLAIMS_MAX_BYTES] = "";
    size_t used = 0, i;
    const json_t *role;

    json_array_foreach(roles, i, role) if (used < sizeof text) used +=
        (size_t)snprintf(text + used, sizeof text - used, "%s%s", i ? ", " : "",
                         json_is_string(role) ? json_string_value(role) : "?");
    columns_add(columns, text);
}

/* Without the roles, which stand by themselves. */
static void add_claims(struct columns *columns, const struct user *user)
{
    json_t *others = json_copy(user->claims);
    char *text;

    if (json_is_array(json_object_get(others, CLAIMS_ROLES)))
        json_object_del(others, CLAIMS_ROLES);
    text = json_dumps(others, JSON_COMPACT);
    columns_add(columns, text && json_object_size(others) ? text : "");
    free(text);
    json_decref(others);
}

static void add_user(struct columns *columns, const struct user *user)
{
    columns_add_number(columns, user->id);
    columns_add(columns, user->name);
    columns_add(columns, user->disabled ? "disabled" : "enabled");
    columns_add_time(columns, user->created_s);
    add_roles(columns, json_object_get(user->claims, CLAIMS_ROLES));
    add_claims(columns, user);
}

static void print_pairs(const struct user *user)
{
    struct columns columns = COLUMNS_PAIRS;
    struct kind kind;

    columns_add(&columns, "name");
    columns_add(&columns, user->name);
    columns_add(&columns, "id");
    columns_add_number(&columns, user->id);
    columns_add(&columns, "state");
    columns_add(&columns, user->disabled ? "disabled" : "enabled");
    columns_add(&columns, "created");
    columns_add_time(&columns, user->created_s);
    columns_add(&columns, "changed");
    columns_add_time(&columns, user->changed_s);
    columns_add(&columns, "hash");
    columns_add(&columns, hash_kind(user, &kind));
    columns_add(&columns, "roles");
    add_roles(&columns, json_object_get(user->claims, CLAIMS_ROLES));
    columns_add(&columns, "claims");
    add_claims(&columns, user);
    columns_print(&columns);
}

static void print_user(const struct request *request, const struct user *user)
{
    if (request_has(request, OPTION_JSON))
        command_print_json(user_json(user));
    else
        print_pairs(user);
}

/* ---- what is read --------------------------------------------------------------------------- */

static enum command_status check_claims(const struct request *request, const json_t *claims)
{
    struct error error;

    return claims_check(claims, &error) ? COMMAND_DONE : command_misused(request, "%s", error.text);
}

static enum command_status add_claim(const struct request *request, json_t *claims,
                                     const char *assignment)
{
    const char *equals = strchr(assignment, '=');
    char *name;
    enum command_status status = COMMAND_DONE;

    if (!equals)
        return command_misused(request, "--claim \"%s\": NAME=VALUE is needed", assignment);
    name = memory_copy(assignment, (size_t)(equals - assignment));
    if (json_object_get(claims, name))
        status = command_misused(request, "the claim \"%s\" is given twice", name);
    else if (json_object_set_new(claims, name, json_string(equals + 1)) < 0)
        status = command_misused(request, "the claim \"%s\" is not UTF-8", name);
    free(name);
    return status;
}

/* An object of --claims with each --claim in it; the caller's. */
static enum command_status read_claims(const struct request *request, json_t **claims)
{
    const struct request_values *single = &request->options[OPTION_CLAIM];
    const char *text = request_value(request, OPTION_CLAIMS);
    enum command_status status = COMMAND_DONE;
    json_error_t where;

    *claims = json_loads(text ? text : "{}", JSON_REJECT_DUPLICATES, &where);
    if (!*claims)
        return command_misused(request, "--claims: character %d: %s", where.position, where.text);
    if (!json_is_object(*claims))
        return command_misused(request, "--claims takes a JSON object, such as {\"a\": 1}");
    for (size_t i = 0; i < single->n && status == COMMAND_DONE; i++)
        status = add_claim(request, *claims, single->values[i]);
    return status == COMMAND_DONE ? check_claims(request, *claims) : status;
}

static enum command_status read_hash(const struct request *request, const struct instance *instance,
                                     char hash[PASSWORD_HASH_SIZE])
{
    struct terminal_password password;
    struct error error;
    bool is_done = request_has(request, OPTION_PASSWORD_STDIN)
                       ? terminal_read_stdin(&password, &error)
                       : terminal_ask(request->operand, &password, &error);

    if (is_done && !password_hash(password_setting_of(instance->config), password.bytes,
                                  password.length, hash))
        is_done = error_set(&error, "there is no memory to hash the password");
    terminal_wipe(&password);
    return is_done ? COMMAND_DONE : command_refuse(COMMAND_FAILED, "%s", error.text);
}

/* ---- the verbs ------------------------------------------------------------------------------ */

static enum command_status find(const struct request *request, const struct instance *instance,
                                struct user *user)
{
    return instance_status(instance, users_find(instance->database, request->operand, user),
                           request->operand);
}

/* After a change: the user as they are now. */
static enum command_status find_and_print(const struct request *request,
                                          const struct instance *instance)
{
    struct user user;
    enum command_status status = find(request, instance, &user);

    if (status == COMMAND_DONE) {
        print_user(request, &user);
        user_fini(&user);
    }
    return status;
}

/* One that exists is found before a password is asked for in vain. */
static enum command_status add(const struct request *request, const struct instance *instance,
                               const json_t *claims)
{
    bool may_exist = request_has(request, OPTION_IF_NOT_EXISTS);
    char hash[PASSWORD_HASH_SIZE];
    struct user user;
    enum db_result result = users_find(instance->database, request->operand, &user);
    enum command_status status = COMMAND_DONE;

    if (result == DB_OK)
        user_fini(&user);
    else if (result == DB_NOT_FOUND)
        status = read_hash(request, instance, hash);
    if (result == DB_NOT_FOUND && status == COMMAND_DONE)
        result = users_add(instance->database, request->operand, hash, claims, clock_wall_s());
    else if (result == DB_OK)
        result = DB_EXISTS;
    sodium_memzero(hash, sizeof hash);
    if (status == COMMAND_DONE && !(result == DB_EXISTS && may_exist))
        status = instance_status(instance, result, request->operand);
    return status == COMMAND_DONE ? find_and_print(request, instance) : status;
}

static enum command_status user_add(const struct request *request)
{
    struct instance instance = {0};
    json_t *claims = NULL;
    enum command_status status;

    if (!user_name_is_valid(request->operand, strlen(request->operand)))
        return command_misused(request,
                               "a name is 1 to %d bytes of UTF-8 without control characters, "
                               "colons, or white space at its ends",
                               USER_NAME_MAX_BYTES);
    status = read_claims(request, &claims);
    if (status == COMMAND_DONE)
        status = instance_open(request, &instance);
    if (status == COMMAND_DONE)
        status = add(request, &instance, claims);
    instance_close(&instance);
    json_decref(claims);
    return status;
}

static bool list_json(const struct user *user, void *context)
{
    json_array_append_new(context, user_json(user));
    return true;
}

static bool list_columns(const struct user *user, void *context)
{
    add_user(context, user);
    return true;
}

static enum db_result print_list(const struct request *request, struct database *database)
{
    struct columns columns = COLUMNS("ID", "NAME", "STATE", "CREATED", "ROLES", "CLAIMS");
    enum db_result result;
    json_t *list;

    if (!request_has(request, OPTION_JSON)) {
        result = users_list(database, list_columns, &columns);
        columns_print(&columns);
        return result;
    }
    list = json_array();
    result = users_list(database, list_json, list);
    if (result == DB_OK)
        command_print_json(list);
    else
        json_decref(list);
    return result;
}

static enum command_status user_list(const struct request *request)
{
    struct instance instance;
    enum command_status status = instance_open(request, &instance);

    if (status == COMMAND_DONE)
        status = instance_status(&instance, print_list(request, instance.database), "");
    instance_close(&instance);
    return status;
}

static enum command_status user_show(const struct request *request)
{
    struct instance instance;
    enum command_status status = instance_open(request, &instance);

    if (status == COMMAND_DONE)
        status = find_and_print(request, &instance);
    instance_close(&instance);
    return status;
}

static enum command_status set_password(const struct request *request,
                                        const struct instance *instance)
{
    char hash[PASSWORD_HASH_SIZE];
    struct user user;
    enum command_status status = find(request, instance, &user);

    if (status != COMMAND_DONE)
        return status;
    status = read_hash(request, instance, hash);
    if (status == COMMAND_DONE)
        status = instance_status(
            instance, users_set_hash(instance->database, request->operand, hash, clock_wall_s()),
            request->operand);
    sodium_memzero(hash, sizeof hash);
    if (status == COMMAND_DONE)
        status = instance_revoke_user(instance, &user, "the password is changed");
    user_fini(&user);
    return status == COMMAND_DONE ? find_and_print(request, instance) : status;
}

static enum command_status user_passwd(const struct request *request)
{
    struct instance instance;
    enum command_status status = instance_open(request, &instance);

    if (status == COMMAND_DONE)
        status = set_password(request, &instance);
    instance_close(&instance);
    return status;
}

static enum command_status set_disabled(const struct request *request,
                                        const struct instance *instance, bool disabled)
{
    enum db_result result =
        users_set_disabled(instance->database, request->operand, disabled, clock_wall_s());

    return instance_status(instance, result, request->operand);
}

/* First the user, then the tokens: none is issued in between.  `user` is who they were before. */
static enum command_status disable(const struct request *request, const struct instance *instance,
                                   struct user *user)
{
    enum command_status status = find(request, instance, user);

    if (status == COMMAND_DONE)
        status = set_disabled(request, instance, true);
    return status == COMMAND_DONE ? instance_revoke_user(instance, user, "the user is disabled")
                                  : status;
}

static enum command_status user_disable(const struct request *request)
{
    struct instance instance;
    struct user user = {0};
    enum command_status status = instance_open(request, &instance);

    if (status == COMMAND_DONE)
        status = disable(request, &instance, &user);
    if (status == COMMAND_DONE)
        status = find_and_print(request, &instance);
    user_fini(&user);
    instance_close(&instance);
    return status;
}

static enum command_status user_enable(const struct request *request)
{
    struct instance instance;
    enum command_status status = instance_open(request, &instance);

    if (status == COMMAND_DONE)
        status = set_disabled(request, &instance, false);
    if (status == COMMAND_DONE)
        status = find_and_print(request, &instance);
    instance_close(&instance);
    return status;
}

/* What is printed is the user as they were. */
static enum command_status delete (const struct request *request, const struct instance *instance,
                                   struct user *user) {
    bool only_says = request_has(request, OPTION_DRY_RUN);
    enum command_status status = find(request, instance, user);

    if (status == COMMAND_DONE && !command_is_confirmed(request, "Delete the user %s for good",
                                                        user->name)) return COMMAND_FAILED;
    if (status != COMMAND_DONE || only_says) return status;
    user_fini(user);
    status = disable(request, instance, user);
    return status == COMMAND_DONE
               ? instance_status(instance, users_delete(instance->database, request->operand),
                                 request->operand)
               : status;
}

/* Disabled before, so that it can be done again where it fails halfway. */
static enum command_status user_delete(const struct request *request)
{
    struct instance instance;
    struct user user = {0};
    enum command_status status = instance_open(request, &instance);

    if (status == COMMAND_DONE)
        status = delete (request, &instance, &user);
    if (status == COMMAND_DONE)
        print_user(request, &user);
    user_fini(&user);
    instance_close(&instance);
    return status;
}

/* ---- claims and roles ----------------------------------------------------------------------- */

/* NAME=TEXT, NAME:=JSON, or -NAME to remove it. */
static enum command_status set_claim(const struct request *request, json_t *claims,
                                     const char *word)
{
    const char *equals = strchr(word, '=');
    bool removes = *word == '-', as_json = equals && equals > word && equals[-1] == ':';
    enum command_status status = COMMAND_DONE;
    json_t *value = NULL;
    char *name;

    if (!removes && !equals)
        return command_misused(request, "\"%s\": CLAIM=TEXT, CLAIM:=JSON or -CLAIM is needed",
                               word);
    name = removes ? memory_copy(word + 1, strlen(word + 1))
                   : memory_copy(word, (size_t)(equals - word) - as_json);
    if (strcmp(name, CLAIMS_ROLES) == 0)
        status = command_misused(request, "the roles are set by `sallyport user roles`");
    else if (removes)
        json_object_del(claims, name);
    else if (!(value = as_json
                           ? json_loads(equals + 1, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL)
                           : json_string(equals + 1)))
        status = command_misused(request, "the value of \"%s\" is not %s", name,
                                 as_json ? "JSON" : "UTF-8");
    else if (json_object_set_new(claims, name, value) < 0)
        status = command_misused(request, "the claim \"%s\" is not UTF-8", name);
    free(name);
    return status;
}

/* Where among the roles, or behind them. */
static size_t find_role(const json_t *roles, const char *name)
{
    size_t i = 0;

    while (i < json_array_size(roles)) {
        const char *role = json_string_value(json_array_get(roles, i));

        if (role && strcmp(role, name) == 0)
            break;
        i++;
    }
    return i;
}

/* +ROLE or -ROLE; a role is there once. */
static enum command_status set_role(const struct request *request, json_t *claims, const char *word)
{
    json_t *roles = json_object_get(claims, CLAIMS_ROLES);
    size_t at;

    if ((*word != '+' && *word != '-') || !claims_role_is_valid(word + 1))
        return command_misused(request,
                               "\"%s\": +ROLE or -ROLE is needed, of 1 to %d letters, digits and "
                               "_.:/@-",
                               word, CLAIMS_ROLE_MAX_BYTES);
    if (!json_is_array(roles)) {
        roles = json_array();
        json_object_set_new(claims, CLAIMS_ROLES, roles);
    }
    at = find_role(roles, word + 1);
    if (*word == '-')
        json_array_remove(roles, at);
    else if (at == json_array_size(roles))
        json_array_append_new(roles, json_string(word + 1));
    if (json_array_size(roles) == 0)
        json_object_del(claims, CLAIMS_ROLES);
    return COMMAND_DONE;
}

/* In one transaction: two who change claims at once both do. */
static enum command_status change_claims(
    const struct request *request, const struct instance *instance,
    enum command_status (*set)(const struct request *request, json_t *claims, const char *word),
    struct user *user)
{
    enum command_status status = find(request, instance, user);
    enum db_result result = DB_OK;

    for (size_t i = 0; i < request->n_words && status == COMMAND_DONE; i++)
        status = set(request, user->claims, request->words[i]);
    if (status == COMMAND_DONE)
        status = check_claims(request, user->claims);
    if (status == COMMAND_DONE && !request_has(request, OPTION_DRY_RUN) && request->n_words)
        result = users_set_claims(instance->database, user->name, user->claims, clock_wall_s());
    return status == COMMAND_DONE ? instance_status(instance, result, request->operand) : status;
}

static enum command_status edit_claims(const struct request *request,
                                       enum command_status (*set)(const struct request *request,
                                                                  json_t *claims, const char *word))
{
    struct instance instance;
    struct user user = {0};
    enum command_status status = instance_open(request, &instance);

    if (status == COMMAND_DONE)
        status = instance_status(&instance, database_begin(instance.database), "");
    if (status == COMMAND_DONE) {
        status = change_claims(request, &instance, set, &user);
        if (database_end(instance.database, status == COMMAND_DONE ? DB_OK : DB_NOT_FOUND) ==
            DB_FAILED)
            status = instance_status(&instance, DB_FAILED, "");
    }
    if (status == COMMAND_DONE)
        print_user(request, &user);
    user_fini(&user);
    instance_close(&instance);
    return status;
}

static enum command_status user_set(const struct request *request)
{
    if (request->n_words == 0)
        return command_misused(request, "CLAIM=TEXT is missing");
    return edit_claims(request, set_claim);
}

static enum command_status user_roles(const struct request *request)
{
    return edit_claims(request, set_role);
}

#define JSON     TAKES(OPTION_JSON)
#define PASSWORD TAKES(OPTION_PASSWORD_STDIN)
#define CLAIMS   (TAKES(OPTION_CLAIM) | TAKES(OPTION_CLAIMS))
#define DRY_RUN  TAKES(OPTION_DRY_RUN)

/* clang-format off */
const struct command user_commands[] = {
    {"user", "add",     "NAME", JSON | ACTS | PASSWORD | CLAIMS | TAKES(OPTION_IF_NOT_EXISTS), 0, "add a user", user_add},
    {"user", "list",    NULL,   JSON,                   0, "show all users", user_list},
    {"user", "show",    "NAME", JSON,                   0, "show one user", user_show},
    {"user", "set",     "NAME CLAIM=TEXT...", JSON | ACTS | DRY_RUN, 0, "change what tokens say of a user; CLAIM:=JSON, -CLAIM removes", user_set},
    {"user", "roles",   "NAME [+ROLE|-ROLE...]", JSON | ACTS | DRY_RUN, 0, "give a user roles, or take them", user_roles},
    {"user", "passwd",  "NAME", JSON | ACTS | PASSWORD, 0, "change a user's password, and end their tokens", user_passwd},
    {"user", "disable", "NAME", JSON | ACTS,            0, "let a user log in no more, and end their tokens", user_disable},
    {"user", "enable",  "NAME", JSON | ACTS,            0, "let a user log in again", user_enable},
    {"user", "delete",  "NAME", JSON | ACTS | DRY_RUN | TAKES(OPTION_YES), 0, "delete a user", user_delete},
    {0},
};
/* clang-format on */
