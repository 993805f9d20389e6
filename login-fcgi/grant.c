/*
 * What is given to a user who is known: access and refresh tokens, in the answer or with the latter
 * as a cookie; and taking it back.  Who is known is decided by login.c and, for refresh tokens, by
 * db/sessions.c.
 */
#include "login-fcgi/grant.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/trust.h"
#include "db/sessions.h"
#include "login-fcgi/fields.h"

#include <sodium.h>
#include <string.h>

struct grant {
    const struct service *service;
    struct stores *stores;
    const struct request *request;
    struct answer *answer;
    char refresh[SESSION_REFRESH_SIZE]; /* what came, or what goes */
};

static const char *client_of(const struct request *request)
{
    return *request->client ? request->client : "nowhere";
}

static void note(const struct grant *grant, enum log_level level, const char *event,
                 const char *result, const char *user)
{
    recorder_note(
        grant->stores->recorder, level,
        &(struct audit_event){
            .event = event, .result = result, .user = user, .address = client_of(grant->request)});
}

static struct session_terms terms_of(const struct config *config)
{
    return (struct session_terms){(int64_t)(config->login_refresh_lifetime / 1000),
                                  (int64_t)(config->login_refresh_idle / 1000)};
}

/* ---- an access token ------------------------------------------------------------------------ */

struct issued {
    char *text, id[TOKEN_ID_SIZE];
    struct session_token token;
};

/* False: it could not be, and that is answered. */
static bool issue(struct grant *grant, const struct user *user, struct issued *issued)
{
    const struct config *config = grant->service->config;
    const struct token_policy policy = trust_policy(config);
    int64_t lifetime_s = (int64_t)(config->token_lifetime / 1000), iat_s;
    struct error error = {"no memory"};
    json_t *claims;

    *issued = (struct issued){.text = NULL};
    if (!revocations_date(grant->stores->revocations, user->name, &iat_s, &error)) {
        grant_give_up(grant->answer, "cannot date a token", error.text);
        return false;
    }
    token_new_id(issued->id);
    issued->token = (struct session_token){issued->id, iat_s, iat_s + lifetime_s};
    claims = users_token_claims(user);
    if (claims)
        issued->text = token_issue_as(grant->service->key, &policy, user->name, issued->id, claims,
                                      iat_s, lifetime_s, &error);
    json_decref(claims);
    if (issued->text)
        return true;
    log_error("login: cannot issue a token for %s: %s", user->name, error.text);
    answer_error(grant->answer, 500, "the token could not be issued");
    return false;
}

static void answer_grant(struct grant *grant, const struct issued *issued, bool has_refresh)
{
    const struct config *config = grant->service->config;
    const struct session_terms terms = terms_of(config);
    bool as_cookie = has_refresh && config->login_refresh_cookie;

    answer_token(grant->answer, issued->text, has_refresh && !as_cookie ? grant->refresh : NULL,
                 issued->token.expires_s - issued->token.issued_s);
    if (as_cookie)
        answer_set_cookie(grant->answer, grant->refresh,
                          terms.lifetime_s < terms.idle_s ? terms.lifetime_s : terms.idle_s);
}

/* ---- the refresh token that came ------------------------------------------------------------ */

static void refuse(struct grant *grant)
{
    answer_error_as(grant->answer, 400, "invalid_grant", "the refresh token is not good any more");
    if (grant->service->config->login_refresh_cookie)
        answer_set_cookie(grant->answer, NULL, 0);
}

/* From the body, else from the cookie.  False: there is none, and that is answered. */
static bool find_refresh(struct grant *grant, const struct field *field)
{
    if (field->text) {
        if (field->bytes == SESSION_REFRESH_SIZE - 1)
            memcpy(grant->refresh, field->text, SESSION_REFRESH_SIZE);
        return true; /* of another length it is as good as an empty one */
    }
    if (grant->service->config->login_refresh_cookie && *grant->request->cookies) {
        if (!request_cookie(grant->request, ANSWER_COOKIE, grant->refresh, sizeof grant->refresh))
            grant->refresh[0] = '\0';
        return true;
    }
    answer_error(grant->answer, 400, "refresh_token is required");
    return false;
}

/* Someone else has it, or had it. */
static void end_reused(struct grant *grant, const struct session *session, int64_t now_s)
{
    struct database *database = grant->stores->database;
    struct error error;
    bool is_done;

    note(grant, LOG_LEVEL_WARNING, "refresh", "reused token", session->user);
    database_enter(database);
    is_done = sessions_end(database, grant->stores->revocations, session->id, now_s, &error);
    database_leave(database);
    if (is_done)
        refuse(grant);
    else
        grant_give_up(grant->answer, "cannot end a session", error.text);
}

/* `why`: of SESSION_FAILED. */
static void answer_result(struct grant *grant, enum session_result result,
                          const struct session *session, int64_t now_s, const char *why)
{
    switch (result) {
    case SESSION_OK:
        break;
    case SESSION_REFUSED:
        note(grant, LOG_LEVEL_INFO, "refresh",
             session->is_disabled ? "disabled"
             : session->is_over   ? "ended session"
                                  : "unknown token",
             session->user);
        refuse(grant);
        break;
    case SESSION_REUSED:
        end_reused(grant, session, now_s);
        break;
    case SESSION_BUSY:
        note(grant, LOG_LEVEL_INFO, "refresh", "too many tokens", session->user);
        answer_error(grant->answer, 429, "too many tokens of this session are alive");
        grant->answer->retry_after_s = 60;
        break;
    case SESSION_FAILED:
        note(grant, LOG_LEVEL_INFO, "refresh", "failed", session->user);
        grant_give_up(grant->answer, "cannot refresh", why);
        break;
    }
}

static void use(struct grant *grant, const struct session *session, const struct user *user,
                int64_t now_s)
{
    const struct session_terms terms = terms_of(grant->service->config);
    struct database *database = grant->stores->database;
    struct issued issued;
    struct error error;
    enum session_result result;
    char next[SESSION_REFRESH_SIZE];

    if (!issue(grant, user, &issued)) {
        note(grant, LOG_LEVEL_INFO, "refresh", "failed", user->name);
        return;
    }
    database_enter(database);
    result = sessions_refresh(database, grant->refresh, &terms, &issued.token, now_s, next);
    error_set(&error, "%s", database_error(database));
    database_leave(database);
    if (result == SESSION_OK) {
        memcpy(grant->refresh, next, sizeof next);
        answer_grant(grant, &issued, true);
        note(grant, LOG_LEVEL_INFO, "refresh", NULL, user->name);
    } else {
        answer_result(grant, result, session, now_s, error.text);
    }
    sodium_memzero(next, sizeof next);
    token_free_text(&issued.text);
}

/* Before a token is issued for it: most that is refused is refused here. */
static enum session_result find(struct grant *grant, int64_t now_s, struct session *session,
                                struct user *user)
{
    struct database *database = grant->stores->database;
    enum session_result result = sessions_find(database, grant->refresh, now_s, session);
    enum db_result found;

    if (result == SESSION_OK)
        result = sessions_check(database, grant->refresh, now_s);
    if (result != SESSION_OK)
        return result;
    found = users_find(database, session->user, user);
    return found == DB_OK ? SESSION_OK : found == DB_NOT_FOUND ? SESSION_REFUSED : SESSION_FAILED;
}

static void refresh(struct grant *grant)
{
    struct database *database = grant->stores->database;
    int64_t now_s = clock_wall_s();
    struct session session;
    struct user user;
    struct error error;
    enum session_result result;

    database_enter(database);
    database_look(database);
    result = find(grant, now_s, &session, &user);
    error_set(&error, "%s", database_error(database));
    database_leave(database);
    if (result == SESSION_OK) {
        use(grant, &session, &user, now_s);
        user_fini(&user);
    } else {
        answer_result(grant, result, &session, now_s, error.text);
    }
    session_fini(&session);
}

/* ---- logout --------------------------------------------------------------------------------- */

static bool end_all(struct grant *grant, const struct session *session, int64_t now_s,
                    struct error *error)
{
    struct database *database = grant->stores->database;
    struct user user;
    enum db_result found = users_find(database, session->user, &user);
    bool is_done = found == DB_NOT_FOUND;

    if (found == DB_FAILED)
        error_set(error, "%s", database_error(database));
    if (found == DB_OK) {
        is_done = sessions_end_user(database, grant->stores->revocations, &user, now_s, error);
        user_fini(&user);
    }
    return is_done;
}

/* What is unknown has ended already (RFC 7009 §2.2); only who may refresh may end all. */
static void logout(struct grant *grant, bool all)
{
    struct database *database = grant->stores->database;
    int64_t now_s = clock_wall_s();
    struct session session;
    struct error error = {""};
    enum session_result result;
    bool is_done;

    database_enter(database);
    result = sessions_find(database, grant->refresh, now_s, &session);
    is_done = result == SESSION_REFUSED;
    if (result == SESSION_OK && all)
        result = sessions_check(database, grant->refresh, now_s);
    if (result == SESSION_FAILED)
        error_set(&error, "%s", database_error(database));
    else if (session.user)
        is_done = all && result == SESSION_OK ? end_all(grant, &session, now_s, &error)
                                              : sessions_end(database, grant->stores->revocations,
                                                             session.id, now_s, &error);
    database_leave(database);
    if (is_done)
        answer_ok(grant->answer);
    else
        grant_give_up(grant->answer, "cannot log out", error.text);
    if (!is_done || session.user)
        note(grant, LOG_LEVEL_INFO, all ? "logout all" : "logout", is_done ? NULL : "failed",
             session.user);
    if (is_done && grant->service->config->login_refresh_cookie)
        answer_set_cookie(grant->answer, NULL, 0);
    session_fini(&session);
}

/* ---- what others call ----------------------------------------------------------------------- */

void grant_give_up(struct answer *answer, const char *what, const char *why)
{
    log_error("login: %s: %s", what, why);
    answer_unavailable(answer);
}

bool grant_begin(const struct service *service, struct stores *stores, const struct user *user,
                 const struct request *request, struct answer *answer)
{
    struct grant grant = {service, stores, request, answer, ""};
    const struct session_terms terms = terms_of(service->config);
    bool has_refresh = terms.lifetime_s > 0 && terms.idle_s > 0;
    enum session_result result;
    struct issued issued;
    struct error error;

    if (!issue(&grant, user, &issued)) {
        note(&grant, LOG_LEVEL_INFO, "login", "failed", user->name);
        return true;
    }
    database_enter(stores->database);
    result = sessions_begin(stores->database, user, client_of(request), &terms, &issued.token,
                            clock_wall_s(), has_refresh ? grant.refresh : NULL);
    error_set(&error, "%s", database_error(stores->database));
    database_leave(stores->database);
    if (result == SESSION_OK) {
        note(&grant, LOG_LEVEL_INFO, "login", NULL, user->name);
        answer_grant(&grant, &issued, has_refresh);
    } else if (result == SESSION_FAILED) {
        note(&grant, LOG_LEVEL_INFO, "login", "failed", user->name);
        grant_give_up(answer, "cannot begin a session", error.text);
    }
    sodium_memzero(grant.refresh, sizeof grant.refresh);
    token_free_text(&issued.text);
    return result != SESSION_REFUSED;
}

void grant_answer(const struct service *service, struct stores *stores, struct request *request,
                  struct answer *answer)
{
    struct grant grant = {service, stores, request, answer, ""};
    struct field list[] = {{.name = "grant_type"}, {.name = "refresh_token", .may_lack = true}};
    struct fields fields = {.list = list, .n = 2};

    if (!fields_read(&fields, request, answer))
        return;
    if (strcmp(list[0].text, "refresh_token") != 0)
        answer_error_as(answer, 400, "unsupported_grant_type", "grant_type must be refresh_token");
    else if (find_refresh(&grant, &list[1]))
        refresh(&grant);
    sodium_memzero(grant.refresh, sizeof grant.refresh);
    fields_fini(&fields);
}

void grant_logout(const struct service *service, struct stores *stores, struct request *request,
                  struct answer *answer)
{
    struct grant grant = {service, stores, request, answer, ""};
    struct field list[] = {{.name = "refresh_token", .may_lack = true},
                           {.name = "all", .may_lack = true, .is_flag = true}};
    struct fields fields = {.list = list, .n = 2};

    if (!fields_read(&fields, request, answer))
        return;
    if (find_refresh(&grant, &list[0]))
        logout(&grant, list[1].text && strcmp(list[1].text, "true") == 0);
    sodium_memzero(grant.refresh, sizeof grant.refresh);
    fields_fini(&fields);
}
