/* `sallyport session`: what was given to users, and taking it back. */
#include "db/admin/columns.h"
#include "db/admin/instance.h"

#include "common/clock.h"
#include "common/token.h"
#include "db/sessions.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- list ----------------------------------------------------------------------------------- */

static void list_json(const struct session_row *row, void *context)
{
    json_array_append_new(context,
                          json_pack("{s:I, s:s, s:s, s:I, s:I, s:o}", "id", (json_int_t)row->id,
                                    "user", row->user, "address", row->address, "created",
                                    (json_int_t)row->created_s, "used", (json_int_t)row->used_s,
                                    "refresh_ends",
                                    row->has_refresh ? json_integer(row->ends_s) : json_null()));
}

static void list_columns(const struct session_row *row, void *context)
{
    columns_add_number(context, row->id);
    columns_add(context, row->user);
    columns_add(context, row->address);
    columns_add_time(context, row->created_s);
    columns_add_time(context, row->used_s);
    if (!row->has_refresh)
        columns_add(context, "none");
    else if (row->ends_s <= clock_wall_s())
        columns_add(context, "ended");
    else
        columns_add_time(context, row->ends_s);
}

static enum db_result print_list(const struct request *request, struct database *database)
{
    struct columns columns = COLUMNS("ID", "USER", "FROM", "SINCE", "LAST", "REFRESH UNTIL");
    bool as_json = request_has(request, OPTION_JSON);
    json_t *list = json_array();
    enum db_result result;

    result = sessions_list(database, request->operand, clock_wall_s(),
                           as_json ? list_json : list_columns,
                           as_json ? (void *)list : (void *)&columns);
    if (!as_json)
        columns_print(&columns);
    else if (result == DB_OK)
        command_print_json(json_incref(list));
    json_decref(list);
    return result;
}

static enum command_status session_list(const struct request *request)
{
    struct instance instance;
    struct user user = {0};
    enum command_status status = instance_open(request, &instance);

    if (status == COMMAND_DONE && request->operand)
        status = instance_status(&instance, users_find(instance.database, request->operand, &user),
                                 request->operand);
    if (status == COMMAND_DONE)
        status = instance_status(&instance, print_list(request, instance.database), "");
    user_fini(&user);
    instance_close(&instance);
    return status;
}

/* ---- revoke --------------------------------------------------------------------------------- */

/* True: it is a dry run, and that is all of it. */
static bool only_says(const struct request *request, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static bool only_says(const struct request *request, const char *format, ...)
{
    va_list arguments;

    if (!request_has(request, OPTION_DRY_RUN))
        return false;
    va_start(arguments, format);
    if (!request_has(request, OPTION_JSON))
        vprintf(format, arguments);
    va_end(arguments);
    return true;
}

/* With the session it belongs to, where that is known: else it would be refreshed at once. */
static enum command_status revoke_token(const struct request *request,
                                        const struct instance *instance)
{
    int64_t now_s = clock_wall_s(), session;
    const char *jti = request->operand;
    struct error error;
    bool is_done;

    switch (sessions_find_jti(instance->database, jti, &session)) {
    case DB_OK:
        is_done = only_says(request, "the session %lld would end\n", (long long)session) ||
                  sessions_end(instance->database, instance->revocations, session, now_s, &error);
        break;
    case DB_NOT_FOUND:
        is_done = only_says(request, "the token %s would be refused\n", jti) ||
                  revocations_add_token(instance->revocations, jti, now_s, &error);
        break;
    default:
        return instance_status(instance, DB_FAILED, jti);
    }
    return is_done ? COMMAND_DONE : command_refuse(COMMAND_FAILED, "cannot revoke: %s", error.text);
}

static void count(const struct session_row *row, void *context)
{
    size_t *n = context;

    (void)row;
    (*n)++;
}

static enum command_status revoke_user(const struct request *request,
                                       const struct instance *instance, const struct user *user)
{
    size_t n = 0;

    if (!request_has(request, OPTION_DRY_RUN))
        return instance_revoke_user(instance, user, "the user was found");
    if (sessions_list(instance->database, user->name, clock_wall_s(), count, &n) != DB_OK)
        return instance_status(instance, DB_FAILED, user->name);
    only_says(request,
              "of %s %zu sessions would end, and every token issued until now be refused\n",
              user->name, n);
    return COMMAND_DONE;
}

/* Whoever bears a name that another issuer gives: whether there is such a user only it knows. */
static enum command_status revoke_foreign(const struct request *request,
                                          const struct instance *instance)
{
    const char *user = request->operand;
    struct error error;

    return only_says(request, "every token of %s issued until now would be refused\n", user) ||
                   revocations_add_user(instance->revocations, user, clock_wall_s(), &error)
               ? COMMAND_DONE
               : command_refuse(COMMAND_FAILED, "cannot revoke: %s", error.text);
}

/* A user where there is one of that name, or might be at another issuer's; else a token. */
static enum command_status revoke(const struct request *request, const struct instance *instance)
{
    const char *operand = request->operand;
    struct user user = {0};
    enum db_result result = users_find(instance->database, operand, &user);
    enum command_status status;

    if (result == DB_NOT_FOUND && config_issuer_of_user(instance->config, operand))
        status = revoke_foreign(request, instance);
    else if (result == DB_NOT_FOUND && token_id_is_ours(operand))
        status = revoke_token(request, instance);
    else if (result == DB_OK)
        status = revoke_user(request, instance, &user);
    else
        return instance_status(instance, result, operand);
    user_fini(&user);
    if (status == COMMAND_DONE && request_has(request, OPTION_JSON))
        command_print_json(json_pack(
            "{s:s}", token_id_is_ours(operand) && result != DB_OK ? "jti" : "user", operand));
    return status;
}

static enum command_status session_revoke(const struct request *request)
{
    struct instance instance;
    enum command_status status = instance_open(request, &instance);

    if (status == COMMAND_DONE)
        status = revoke(request, &instance);
    instance_close(&instance);
    return status;
}

/* clang-format off */
const struct command session_commands[] = {
    {"session", "list",   "[USER]",   TAKES(OPTION_JSON), 0, "show the sessions, of one user or all", session_list},
    {"session", "revoke", "USER|JTI", ACTS | TAKES(OPTION_DRY_RUN) | TAKES(OPTION_JSON), 0, "end all sessions of a user, or the one with that token", session_revoke},
    {0},
};
/* clang-format on */
