/*
 * Is this the user, and what are they given?  Exactly one Argon2id whatever the name, so that time
 * does not tell who exists.  How a body is read is the business of credentials.c.
 */
#include "login-fcgi/login.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/token.h"
#include "db/password.h"
#include "db/users.h"
#include "login-fcgi/credentials.h"

static void refuse(struct answer *answer)
{
    answer_error(answer, 401, "wrong user name or password");
}

/* We failed.  The log has the reason, the client is told to come again. */
static void give_up(struct answer *answer, const char *what, const char *why)
{
    log_error("login: %s: %s", what, why);
    answer_error(answer, 503, "the login service cannot answer at the moment");
}

static bool read_credentials(struct request *request, struct credentials *credentials,
                             struct answer *answer)
{
    const char *wrong;

    if (request_has_type(request, "application/x-www-form-urlencoded")) {
        wrong = credentials_parse_form(credentials, request->body, request->body_bytes);
    } else if (request_has_type(request, "application/json")) {
        wrong = credentials_parse_json(credentials, request->body, request->body_bytes);
    } else {
        answer_error(answer, 415,
                     "the body must be application/x-www-form-urlencoded or application/json");
        return false;
    }
    if (wrong)
        answer_error(answer, 400, wrong);
    return wrong == NULL;
}

static void give_token(const struct service *service, struct stores *stores,
                       const struct user *user, const char *client, struct answer *answer)
{
    const struct config *config = service->config;
    const struct token_policy policy = {config->token_issuer, config->token_audience};
    int64_t lifetime_s = (int64_t)(config->token_lifetime / 1000), iat_s;
    struct error error = {"no memory"};
    json_t *claims;
    char *token = NULL;

    if (!revocations_date(stores->revocations, user->name, &iat_s, &error)) {
        give_up(answer, "cannot date a token", error.text);
        return;
    }
    claims = users_token_claims(user);
    if (claims)
        token = token_issue(service->key, &policy, user->name, claims, iat_s, lifetime_s, &error);
    json_decref(claims);
    if (!token) {
        log_error("login: cannot issue a token for %s: %s", user->name, error.text);
        answer_error(answer, 500, "the token could not be issued");
        return;
    }
    log_info("login: %s from %s", user->name, client);
    answer_token(answer, token, lifetime_s);
    token_free_text(&token);
}

/*
 * `user` is NULL where there is none of that name; the name is then not logged, for people type
 * passwords there.
 */
static void decide(const struct service *service, struct stores *stores, const struct user *user,
                   const struct credentials *credentials, const char *client, struct answer *answer)
{
    enum password_result result = password_verify(
        credentials->password.text, credentials->password.bytes, user ? user->hash : NULL);

    if (result == PASSWORD_FAILED) {
        give_up(answer, "cannot verify a password", "no memory, or the hash is in no known form");
    } else if (!user) {
        log_info("login: refused, unknown user, from %s", client);
        refuse(answer);
    } else if (result == PASSWORD_WRONG) {
        log_info("login: refused, wrong password for %s from %s", user->name, client);
        refuse(answer);
    } else if (user->disabled) {
        log_info("login: refused, %s is disabled, from %s", user->name, client);
        refuse(answer);
    } else {
        give_token(service, stores, user, client, answer);
    }
}

void login_answer(const struct service *service, struct stores *stores, struct request *request,
                  struct answer *answer)
{
    const char *client = *request->client ? request->client : "nowhere";
    struct credentials credentials;
    enum db_result found = DB_NOT_FOUND;
    struct user user;

    if (!read_credentials(request, &credentials, answer))
        return;
    if (user_name_is_valid(credentials.username.text, credentials.username.bytes))
        found = users_find(stores->database, credentials.username.text, &user);
    if (found == DB_OK || found == DB_NOT_FOUND)
        decide(service, stores, found == DB_OK ? &user : NULL, &credentials, client, answer);
    else
        give_up(answer, "cannot look up a user", database_error(stores->database));
    if (found == DB_OK)
        user_fini(&user);
    credentials_fini(&credentials);
}
