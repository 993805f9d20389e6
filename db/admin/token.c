/* `sallyport token`: tokens by hand, for scripts and for looking at what went wrong. */
#include "common/clock.h"
#include "common/memory.h"
#include "common/trust.h"
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
    struct token_policy policy = trust_policy(instance->config);
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

/* What is found out about a token. */
struct verdict {
    enum token_result result;
    bool is_open; /* whether it verifies is not known here */
    char *user;   /* whose it is, where it verifies; the caller's */
    char message[1024];
};

static void print_verdict(const struct request *request, json_t *header, json_t *claims,
                          const struct verdict *verdict)
{
    struct columns columns = COLUMNS_PAIRS;
    bool verifies = verdict->result == TOKEN_OK;
    char words[1100];

    if (request_has(request, OPTION_JSON)) {
        command_print_json(
            json_pack("{s:O?, s:O?, s:o, s:s?, s:s?}", "header", header, "claims", claims,
                      "verifies", verdict->is_open ? json_null() : json_boolean(verifies), "user",
                      verdict->user, "message", verifies ? NULL : verdict->message));
        return;
    }
    add_json(&columns, "header", header);
    add_json(&columns, "claims", claims);
    columns_add(&columns, "verifies");
    snprintf(words, sizeof words, "%s: %s", verdict->is_open ? "not known" : "no",
             verdict->message);
    columns_add(&columns, verifies ? "yes" : words);
    if (verdict->user) {
        columns_add(&columns, "user");
        columns_add(&columns, verdict->user);
    }
    columns_print(&columns);
}

/* The keys of the issuer that a token is from, where we have them: "" where only the gateway has.
 */
static const char *keys_path(const struct request *request, const struct config_issuer *from)
{
    const char *path = request_value(request, OPTION_JWKS);

    return path ? path : trust_has_file(from) ? from->issuer_jwks : "";
}

/* What is wrong, in the words a client hears, and more, for who asks here may know. */
static void explain(const struct config *config, const struct token_policy *policy,
                    const json_t *claims, struct verdict *verdict)
{
    const char *issuer = json_string_value(json_object_get(claims, "iss"));
    size_t size = sizeof verdict->message, length;

    length = strlen(token_message(verdict->result, policy, verdict->message, size / 2));
    if (issuer && !policy->prefix && strcmp(issuer, config->token_issuer) != 0)
        snprintf(verdict->message + length, size - length, "; the config has no such issuer");
}

/* Why it is not known whether a token of an issuer is a good one. */
static void leave_open(const struct config_issuer *from, const char *path, struct verdict *verdict)
{
    verdict->is_open = true;
    if (*path)
        snprintf(verdict->message, sizeof verdict->message,
                 "%s has no key of \"%s\" with its `kid`", path, from->issuer_name);
    else
        snprintf(verdict->message, sizeof verdict->message,
                 "the keys of \"%s\" only the gateway fetches; save %s and say --jwks FILE",
                 from->issuer_name, from->issuer_jwks);
}

/* First by our keys alone, which says whose keys it takes.  False: error. */
static bool judge(const struct request *request, const struct config *config,
                  const struct keyring *keyring, const char *text, size_t bytes,
                  const json_t *claims, struct verdict *verdict, struct error *error)
{
    struct token_policy policy = trust_policy(config);
    struct token_issuer others[CONFIG_MAX_ISSUERS];
    const struct token_issuer *from;
    const char *path = "";
    struct keyring *keys = NULL;
    struct token token;
    int64_t now_s = clock_wall_s();
    size_t n = config->n_issuers, i, unfit;

    for (i = 0; i < n; i++)
        others[i] = (struct token_issuer){.policy = trust_policy_of(&config->issuers[i])};
    verdict->result =
        token_verify_any(keyring, &policy, others, n, text, bytes, now_s, &token, &from);
    i = from ? (size_t)(from - others) : 0;
    if (from)
        path = keys_path(request, &config->issuers[i]);
    if (*path) {
        keys = keyring_read_set(path, config->issuers[i].issuer_algorithms, &unfit, error);
        if (!keys)
            return false;
        others[i].keyring = keys;
        verdict->result =
            token_verify_any(keyring, &policy, others, n, text, bytes, now_s, &token, &from);
    }
    if (verdict->result == TOKEN_OK) {
        verdict->user = memory_copy(token.user, strlen(token.user));
        token_fini(&token);
    } else if (from && verdict->result == TOKEN_UNKNOWN_KEY) {
        leave_open(&config->issuers[i], path, verdict);
    } else {
        explain(config, from ? &from->policy : &policy, claims, verdict);
    }
    keyring_put(&keys);
    return true;
}

static enum command_status inspect(const struct request *request, const struct config *config,
                                   const struct keyring *keyring)
{
    char input[INPUT_MAX_BYTES + 1];
    struct verdict verdict = {.user = NULL};
    struct error error;
    size_t bytes;
    char *text = read_token(input, &bytes);
    json_t *header = segment(text, 0), *claims = segment(text, 1);
    enum command_status status = COMMAND_FAILED;

    if (!judge(request, config, keyring, text, bytes, claims, &verdict, &error)) {
        command_refuse(COMMAND_FAILED, "%s", error.text);
    } else {
        print_verdict(request, header, claims, &verdict);
        status = verdict.result == TOKEN_OK ? COMMAND_DONE : COMMAND_FAILED;
    }
    json_decref(header);
    json_decref(claims);
    free(verdict.user);
    sodium_memzero(input, sizeof input);
    return status;
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
    {"token", "inspect", NULL,   JSON | TAKES(OPTION_JWKS),     0, "say what a token on stdin holds, and whether it verifies", token_inspect},
    {0},
};
/* clang-format on */
