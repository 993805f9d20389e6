/* Where the page comes from that a request is made by.  What becomes of a foreign one is routes.c's
 * business. */
#include "gateway/origin.h"

#include "gateway/http.h"
#include "gateway/worker.h"

#include <string.h>
#include <strings.h>

enum standing {
    STANDING_NO_PAGE, /* there is no Origin */
    STANDING_SAME,
    STANDING_SAME_HOST, /* but not by the same scheme */
    STANDING_NAMED,
    STANDING_ANY, /* by "*" */
    STANDING_FOREIGN
};

/* What RFC 6454 §6.2 calls an opaque origin. */
static bool is_null(const char *origin)
{
    return strcasecmp(origin, "null") == 0;
}

/* RFC 6454 §5: the host and port are those that were asked for. */
static bool is_own_host(const struct request *request, const char *origin)
{
    const char *host = request_header(request, "Host"), *authority = strstr(origin, "://");

    return host && *host && authority && strcasecmp(authority + 3, host) == 0;
}

/*
 * The scheme, of which we know only what a proxy that ends TLS says: the first word, by the proxy
 * next to the client.  Whoever forges it is only trusted less.  A page by https is the host's own
 * also where the last of several proxies is asked by http; a page by http may have been made by
 * anybody on the way.
 */
static bool is_same_scheme(const struct request *request, const char *origin)
{
    const char *scheme = request_header(request, "X-Forwarded-Proto");
    bool is_by_https = scheme && strncasecmp(scheme, "https", 5) == 0 && strchr(" \t,", scheme[5]);

    return !is_by_https || strncasecmp(origin, "https://", 8) == 0;
}

static bool is_listed(const struct config *config, const char *origin)
{
    for (config_texts each = config->gateway_origins; *each; each++)
        if (strcasecmp(*each, origin) == 0)
            return true;
    return false;
}

static enum standing standing_of(const struct request *request, const char *origin)
{
    const struct config *config = request_worker(request)->snapshot->config;

    if (!origin)
        return STANDING_NO_PAGE;
    if (is_own_host(request, origin) && is_same_scheme(request, origin))
        return STANDING_SAME;
    if (strcmp(origin, "*") != 0 && is_listed(config, origin))
        return STANDING_NAMED;
    if (is_listed(config, "*") && !is_null(origin))
        return STANDING_ANY;
    return is_own_host(request, origin) ? STANDING_SAME_HOST : STANDING_FOREIGN;
}

/*
 * A page of the same host by another scheme gets nothing that it could not have without a browser:
 * no header lets it read, and no cookie counts.  It is not refused, for Python's websocket-client
 * before 1.3 says http:// however it asks.
 */
bool origin_allow(struct request *request)
{
    const char *origin = request_header(request, "Origin");
    enum standing standing = standing_of(request, origin);

    if (standing == STANDING_FOREIGN)
        return false;
    if (standing != STANDING_NAMED && standing != STANDING_ANY)
        return true;
    request_add_header(request, "Access-Control-Allow-Origin",
                       standing == STANDING_NAMED ? origin : "*");
    request_add_header(request, "Vary", "Origin");
    if (standing == STANDING_NAMED && !is_null(origin)) /* clients 1.x and 2.x ask with it */
        request_add_header(request, "Access-Control-Allow-Credentials", "true");
    return true;
}

/* A page's GET of its own host has no Origin, and the proxy may not say by which scheme it was
 * asked: a browser says by Sec-Fetch-Site whose page it is. */
bool origin_vouches(const struct request *request)
{
    const char *origin = request_header(request, "Origin");
    const char *site = request_header(request, "Sec-Fetch-Site");

    switch (standing_of(request, origin)) {
    case STANDING_NO_PAGE:
    case STANDING_SAME:
        return !site || strcmp(site, "same-origin") == 0;
    case STANDING_NAMED:
        return !is_null(origin);
    default:
        return false;
    }
}
