/*
 * Which path and method is served by whom.  A path is compared whole: what a web server's pattern
 * lets through beside it (/loginx, /login%2f, //login) is not found.
 */
#include "login-fcgi/routes.h"

#include "common/log.h"
#include "db/users.h"
#include "login-fcgi/grant.h"
#include "login-fcgi/login.h"
#include "login-fcgi/origin.h"

#include <string.h>

static void health_answer(const struct service *service, struct stores *stores,
                          struct request *request, struct answer *answer)
{
    enum db_result result;
    struct user user;

    (void)service;
    (void)request;
    database_enter(stores->database);
    result = users_find(stores->database, "health", &user); /* any name: the answer counts */
    if (result == DB_FAILED)
        log_error("healthz: %s", database_error(stores->database));
    database_leave(stores->database);
    if (result == DB_OK)
        user_fini(&user);
    if (result == DB_FAILED)
        answer_unavailable(answer);
    else
        answer_ok(answer);
}

/* The keys with which others verify our tokens (RFC 7517 §5); a secret is none of them. */
static void keys_answer(const struct service *service, struct stores *stores,
                        struct request *request, struct answer *answer)
{
    bool is_known = request_names_etag(request, service->keys_etag);

    (void)stores;
    answer_kept(answer, is_known ? NULL : service->public_keys, service->keys_etag);
}

static const struct route {
    const char *path, *allow;
    const char *methods[3];
    void (*answer)(const struct service *, struct stores *, struct request *, struct answer *);
} routes[] = {
    /* clang-format off */
    {"/login",                 "POST",      {"POST"},        login_answer},
    {"/token",                 "POST",      {"POST"},        grant_answer},
    {"/logout",                "POST",      {"POST"},        grant_logout},
    {"/password",              "POST",      {"POST"},        login_change},
    {"/.well-known/jwks.json", "GET, HEAD", {"GET", "HEAD"}, keys_answer},
    {"/healthz",               "GET, HEAD", {"GET", "HEAD"}, health_answer},
    /* clang-format on */
};

static const struct route *route_find(const char *path)
{
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++)
        if (strcmp(routes[i].path, path) == 0)
            return &routes[i];
    return NULL;
}

static bool route_takes(const struct route *route, const char *method)
{
    for (const char *const *each = route->methods; *each; each++)
        if (strcmp(*each, method) == 0)
            return true;
    return false;
}

/* Only a POST's body matters. */
static bool body_is_refused(const struct request *request, struct answer *answer)
{
    if (strcmp(request->method, "POST") != 0 || request->state == REQUEST_BODY_WHOLE)
        return false;
    if (request->state == REQUEST_BODY_TOO_LONG)
        answer_error(answer, 413, "the body is longer than login.max_body");
    else if (request->state == REQUEST_BODY_NO_LENGTH)
        answer_error(answer, 411, "the web server passed on no Content-Length");
    else
        answer_error(answer, 400, "the body is not as long as its Content-Length");
    return true;
}

static bool is_preflight(const struct route *route, const struct request *request)
{
    return strcmp(request->method, "OPTIONS") == 0 && *request->origin &&
           route_takes(route, "POST");
}

static void answer_route(const struct service *service, const struct route *route,
                         struct stores *stores, struct request *request, struct answer *answer)
{
    bool is_asking = is_preflight(route, request);

    if (!is_asking && !route_takes(route, request->method)) {
        answer_error(answer, 405, "this path does not take this method");
        answer->allow = route->allow;
    } else if ((is_asking || strcmp(request->method, "POST") == 0) &&
               origin_is_foreign(service->config, request)) {
        log_info("request refused: a page of another site, address %s", request->client);
        answer_error(answer, 403, "pages of this origin may not do this; see login.origins");
    } else if (is_asking) {
        answer_preflight(answer);
    } else if (!body_is_refused(request, answer)) {
        route->answer(service, stores, request, answer);
    }
}

void routes_answer(const struct service *service, struct stores *stores, struct request *request,
                   struct answer *answer)
{
    const struct route *route = route_find(request->path);
    const char *origin = origin_allowed(service->config, request);

    if (route)
        answer_route(service, route, stores, request, answer);
    else
        answer_error(answer, 404, "there is nothing at this path");
    answer->with_cookies = origin && service->config->login_refresh_cookie;
    answer->origin = origin ? origin : route && route->answer == keys_answer ? "*" : NULL;
}
