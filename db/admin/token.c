/* `sallyport token`: tokens by hand, for scripts and for looking at what went wrong. */
#include "common/token.h"

#include "common/clock.h"
#include "db/admin/columns.h"
#include "db/admin/instance.h"
#include "db/sessions.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A longer one is malformed whatever stands in it. */
#define INPUT_MAX_BYTES (TOKEN_MAX_BYTES + 2)

static struct token_policy policy_of(const struct config *config)
{
    return (struct token_policy){.issuer = config->token_issuer,
                                 .audiences = config->token_audience};
}

/* ---- issue ---------------------------------------------------------------------------------- */

static enum command_status read_lifetime(const struct request *request, const struct config *config,
                                         int64_t *lifetime_s)
{
    const char *text = request_value(request, OPTION_LIFETIME);

    *lifetime_s = (int64_t)(config->token_lifetime / 1000);
    if (!text || command_read_duration(text, lifetime_s))
        return COMMAND_DONE;
    return command_misused(request, "--lifetime \"%s\" is no duration such as 30s, 15m, 5h or 7d",
                           text);
}

/* What was issued, as a session without refresh tokens: so it is listed, and ends with the rest. */
static bool record(const struct instance *instance, const struct user *user,
                   const struct session_token *token, struct error *error)
{
    static const struct session_terms none = {0, 0};

    switch (sessions_begin(instance->database, user, "sallyport token issue", &none, token,
                           clock_wall_s(), NULL)) {
    case SESSION_OK:
        return true;
    case SESSION_FAILED:
        return error_set(error, "the database: %s", database_error(instance->database));
    default:
        return error_set(error, "the user \"%s\" was changed just now", user->name);
    }
}

static enum command_status issue(const struct request *request, const struct instance *instance,
                                 const struct user *user, int64_t lifetime_s)
{
    struct token_policy policy = policy_of(instance->config);
    json_t *claims = users_token_claims(user);
    char *text = NULL, id[TOKEN_ID_SIZE];
    struct error error;
    int64_t iat_s;
    bool is_recorded = false;
    struct key *key = keyring_read_signing(instance->config->keys, &error);

    token_new_id(id);
    if (key && revocations_announce(instance->revocations, lifetime_s, &error) &&
        revocations_date(instance->revocations, user->name, &iat_s, &error))
        text = token_issue_as(key, &policy, user->name, id, claims, iat_s, lifetime_s, &error);
    if (text)
        is_recorded =
            record(instance, user, &(struct session_token){id, iat_s, iat_s + lifetime_s}, &error);
    if (is_recorded && request_has(request, OPTION_JSON))
        command_print_json(
            json_pack("{s:s, s:I}", "token", text, "expires_in", (json_int_t)lifetime_s));
    else if (is_recorded)
        puts(text);
    key_free(&key);
    json_decref(claims);
    token_free_text(&text);
    return is_recorded ? COMMAND_DONE : command_refuse(COMMAND_FAILED, "%s", error.text);
}

static enum command_status token_issue_command(const struct request *request)
{
    struct instance instance;
    struct user user = {0};
    int64_t lifetime_s = 0;
    enum command_status status = instance_open(request, &instance);

    if (status == COMMAND_DONE)
        status = read_lifetime(request, instance.config, &lifetime_s);
    if (status == COMMAND_DONE)
        status = instance_status(&instance, users_find(instance.database, request->operand, &user),
                                 request->operand);
    if (status == COMMAND_DONE && user.disabled)
        status = command_refuse(COMMAND_FAILED,
                                "the user \"%s\" is disabled; `sallyport user enable` ends that",
                                user.name);
    if (status == COMMAND_DONE)
        status = issue(request, &instance, &user, lifetime_s);
    user_fini(&user);
    instance_close(&instance);
    return status;
}

/* ---- inspect -------------------------------------------------------------------------------- */

/* All of stdin without the white space around it; what is too long is cut, and so malformed. */
static char *read_token(char input[INPUT_MAX_BYTES + 1], size_t *bytes)
{
    size_t length = 0;
    ssize_t n;

    while (length < INPUT_MAX_BYTES &&
           ((n = read(STDIN_FILENO, input + length, INPUT_MAX_BYTES - length)) > 0 ||
            (n < 0 && errno == EINTR)))
        length += n > 0 ? (size_t)n : 0;
    while (length && memchr(" \t\r\n", input[length - 1], 4))
        length--;
    input[length] = '\0';
    *bytes = length - strspn(input, " \t\r\n");
    return input + strspn(input, " \t\r\n");
}

/* Segment `index` of what may be a token, as JSON; NULL: there is none that could be read. */
static json_t *segment(const char *text, int index)
{
    unsigned char bytes[TOKEN_MAX_BYTES];
    size_t length;
    json_t *value = NULL;

    for (; index; index--) {
        text = strchr(text, '.');
        if (!text)
            return NULL;
        text++;
    }
    if (sodium_base642bin(bytes, sizeof bytes, text, strcspn(text, "."), NULL, &length, NULL,
                          sodium_base64_VARIANT_URLSAFE_NO_PADDING) == 0)
        value = json_loadb((char *)bytes, length, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    sodium_memzero(bytes, sizeof bytes);
    return value;
}

static void add_json(struct columns *columns, const char *head, const json_t *value)
{
    char *text = value ? json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;

    columns_add(columns, head);
    columns_add(columns, text ? text : "cannot be read");
    free(text);
}

static void print_verdict(const struct request *request, json_t *header, json_t *claims,
                          enum token_result result, const char *message)
{
    struct columns columns = COLUMNS_PAIRS;
    char verdict[1100];

    if (request_has(request, OPTION_JSON)) {
        command_print_json(json_pack("{s:O?, s:O?, s:b, s:s?}", "header", header, "claims", claims,
                                     "verifies", result == TOKEN_OK, "message",
                                     result == TOKEN_OK ? NULL : message));
        return;
    }
    add_json(&columns, "header", header);
    add_json(&columns, "claims", claims);
    columns_add(&columns, "verifies");
    snprintf(verdict, sizeof verdict, "no: %s", message);
    columns_add(&columns, result == TOKEN_OK ? "yes" : verdict);
    columns_print(&columns);
}

static enum command_status inspect(const struct request *request, const struct config *config,
                                   const struct keyring *keyring)
{
    struct token_policy policy = policy_of(config);
    char input[INPUT_MAX_BYTES + 1], message[1024] = "";
    struct token token;
    size_t bytes;
    char *text = read_token(input, &bytes);
    json_t *header = segment(text, 0), *claims = segment(text, 1);
    enum token_result result = token_verify(keyring, &policy, text, bytes, clock_wall_s(), &token);

    if (result == TOKEN_OK)
        token_fini(&token);
    else
        token_message(result, &policy, message, sizeof message);
    print_verdict(request, header, claims, result, message);
    json_decref(header);
    json_decref(claims);
    sodium_memzero(input, sizeof input);
    return result == TOKEN_OK ? COMMAND_DONE : COMMAND_FAILED;
}

static enum command_status token_inspect(const struct request *request)
{
    struct instance instance;
    struct keyring *keyring = NULL;
    struct error error;
    enum command_status status = instance_read(request, &instance);

    if (status == COMMAND_DONE) {
        keyring = keyring_read(instance.config->keys, &error);
        status = keyring ? inspect(request, instance.config, keyring)
                         : command_refuse(COMMAND_FAILED, "%s", error.text);
    }
    keyring_put(&keyring);
    instance_close(&instance);
    return status;
}

#define JSON TAKES(OPTION_JSON)

/* clang-format off */
const struct command token_commands[] = {
    {"token", "issue",   "USER", ACTS | JSON | TAKES(OPTION_LIFETIME), 0, "print a token for a user", token_issue_command},
    {"token", "inspect", NULL,   JSON,                          0, "say what a token on stdin holds, and whether it verifies", token_inspect},
    {0},
};
/* clang-format on */
