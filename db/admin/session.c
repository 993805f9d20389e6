/* `sallyport session`: what was given to users, and taking it back. */
#include "db/admin/instance.h"

#include "common/clock.h"
#include "db/users.h"

#include <string.h>

/* A `jti` of ours: 22 characters of base64url, which a user may be called too. */
static bool looks_like_jti(const char *text)
{
    return strlen(text) == 22 && strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                              "0123456789-_") == 22;
}

static enum command_status revoke_token(const struct instance *instance, const char *jti)
{
    struct error error;

    if (revocations_add_token(instance->revocations, jti, clock_wall_s(), &error))
        return COMMAND_DONE;
    return command_refuse(COMMAND_FAILED, "nothing was revoked: %s", error.text);
}

/* A user where there is one of that name, else a token. */
static enum command_status revoke(const struct request *request, const struct instance *instance)
{
    const char *operand = request->operand;
    struct user user = {0};
    enum db_result result = users_find(instance->database, operand, &user);
    enum command_status status;

    user_fini(&user);
    if (result == DB_NOT_FOUND && looks_like_jti(operand))
        status = revoke_token(instance, operand);
    else if (result == DB_OK)
        status = instance_revoke_user(instance, operand, "the user was found");
    else
        return instance_status(instance, result, operand);
    if (status == COMMAND_DONE && request_has(request, OPTION_JSON))
        command_print_json(json_pack("{s:s}", result == DB_OK ? "user" : "jti", operand));
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
    {"session", "revoke", "USER|JTI", TAKES(OPTION_JSON), 0, "end all tokens of a user, or the one with that `jti`", session_revoke},
    {0},
};
/* clang-format on */
