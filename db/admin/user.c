/* `sallyport user`: who may log in, and what their tokens say of them. */
#include "db/admin/columns.h"
#include "db/admin/instance.h"
#include "db/admin/terminal.h"

#include "common/clock.h"
#include "common/memory.h"
#include "common/token.h"
#include "db/users.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A third more in base64, and the registered claims: a token stays well below its longest. */
#define CLAIMS_MAX_BYTES 4096

/* ---- what is printed ------------------------------------------------------------------------ */

static json_t *user_json(const struct user *user)
{
    return json_pack("{s:I, s:s, s:b, s:I, s:I, s:O}", "id", (json_int_t)user->id, "name",
                     user->name, "disabled", user->disabled, "created", (json_int_t)user->created_s,
                     "changed", (json_int_t)user->changed_s, "claims", user->claims);
}

static void add_claims(struct columns *columns, const struct user *user)
{
    char *text = json_dumps(user->claims, JSON_COMPACT);

    columns_add(columns, text ? text : "");
    free(text);
}

static void add_user(struct columns *columns, const struct user *user)
{
    columns_add_number(columns, user->id);
    columns_add(columns, user->name);
    columns_add(columns, user->disabled ? "disabled" : "enabled");
    columns_add_time(columns, user->created_s);
    columns_add_time(columns, user->changed_s);
    add_claims(columns, user);
}

static void add_heads(struct columns *columns)
{
    static const char *const heads[] = {"ID", "NAME", "STATE", "CREATED", "CHANGED", "CLAIMS"};

    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++)
        columns_add(columns, heads[i]);
    columns->n_columns = sizeof heads / sizeof *heads;
}

static void print_user(const struct request *request, const struct user *user)
{
    struct columns columns = {0};

    if (request_has(request, OPTION_JSON)) {
        command_print_json(user_json(user));
        return;
    }
    add_heads(&columns);
    add_user(&columns, user);
    columns_print(&columns);
}

/* ---- what is read --------------------------------------------------------------------------- */

static enum command_status check_claims(const struct request *request, const json_t *claims)
{
    const char *name;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)claims, name, value)
    {
        if (!*name)
            return command_misused(request, "a claim without a name");
        if (token_claim_is_reserved(name) || strcmp(name, USERS_ID_CLAIM) == 0)
            return command_misused(request, "the claim \"%s\" is set by Sallyport itself", name);
    }
    if (json_dumpb(claims, NULL, 0, JSON_COMPACT) > CLAIMS_MAX_BYTES)
        return command_misused(request, "the claims are longer than %d bytes", CLAIMS_MAX_BYTES);
    return COMMAND_DONE;
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

static enum command_status read_hash(const struct request *request, char hash[PASSWORD_HASH_SIZE])
{
    struct terminal_password password;
    struct error error;
    bool is_done = request_has(request, OPTION_PASSWORD_STDIN)
                       ? terminal_read_stdin(&password, &error)
                       : terminal_ask(request->operand, &password, &error);

    if (is_done && !password_hash(password.bytes, password.length, hash))
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

static enum command_status add(const struct request *request, const struct instance *instance,
                               const json_t *claims)
{
    char hash[PASSWORD_HASH_SIZE];
    struct user user;
    enum db_result result = users_find(instance->database, request->operand, &user);
    enum command_status status;

    if (result == DB_OK) { /* before a password is asked for in vain */
        user_fini(&user);
        return instance_status(instance, DB_EXISTS, request->operand);
    }
    if (result == DB_FAILED)
        return instance_status(instance, result, request->operand);
    status = read_hash(request, hash);
    if (status == COMMAND_DONE)
        status = instance_status(
            instance, users_add(instance->database, request->operand, hash, claims, clock_wall_s()),
            request->operand);
    sodium_memzero(hash, sizeof hash);
    return status == COMMAND_DONE ? find_and_print(request, instance) : status;
}

static enum command_status user_add(const struct request *request)
{
    struct instance instance = {0};
    json_t *claims = NULL;
    enum command_status status;

    if (!user_name_is_valid(request->operand, strlen(request->operand)))
        return command_misused(request,
                               "a name is 1 to %d bytes of UTF-8 without control characters, or "
                               "white space at its ends",
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
    struct columns columns = {0};
    enum db_result result;
    json_t *list;

    if (!request_has(request, OPTION_JSON)) {
        add_heads(&columns);
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
    status = read_hash(request, hash);
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

/* Disabled before, so that it can be done again where it fails halfway.  What is printed is the
 * user as they were. */
static enum command_status user_delete(const struct request *request)
{
    struct instance instance;
    struct user user = {0};
    enum command_status status = instance_open(request, &instance);

    if (status == COMMAND_DONE)
        status = disable(request, &instance, &user);
    if (status == COMMAND_DONE)
        status = instance_status(&instance, users_delete(instance.database, request->operand),
                                 request->operand);
    if (status == COMMAND_DONE)
        print_user(request, &user);
    user_fini(&user);
    instance_close(&instance);
    return status;
}

#define JSON     TAKES(OPTION_JSON)
#define PASSWORD TAKES(OPTION_PASSWORD_STDIN)
#define CLAIMS   (TAKES(OPTION_CLAIM) | TAKES(OPTION_CLAIMS))

/* clang-format off */
const struct command user_commands[] = {
    {"user", "add",     "NAME", JSON | PASSWORD | CLAIMS, 0, "add a user", user_add},
    {"user", "list",    NULL,   JSON,                     0, "show all users", user_list},
    {"user", "show",    "NAME", JSON,                     0, "show one user", user_show},
    {"user", "passwd",  "NAME", JSON | PASSWORD,          0, "change a user's password, and end their tokens", user_passwd},
    {"user", "disable", "NAME", JSON,                     0, "let a user log in no more, and end their tokens", user_disable},
    {"user", "enable",  "NAME", JSON,                     0, "let a user log in again", user_enable},
    {"user", "delete",  "NAME", JSON,                     0, "delete a user", user_delete},
    {0},
};
/* clang-format on */
