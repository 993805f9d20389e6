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
    STANDING_NAMED,
    STANDING_ANY, /* by "*" */
    STANDING_FOREIGN
};

/* What RFC 6454 §6.2 calls an opaque origin. */
static bool is_null(const char *origin)
{
    return strcasecmp(origin, "null") == 0;
}

/* RFC 6454 §6.2: the origin's host and port are those that were asked for. */
static bool is_same(const struct request *request, const char *origin)
{
    const char *host = request_header(request, "Host"), *authority = strstr(origin, "://");

    return host && *host && authority && strcasecmp(authority + 3, host) == 0;
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
    if (is_same(request, origin))
        return STANDING_SAME;
    if (strcmp(origin, "*") != 0 && is_listed(config, origin))
        return STANDING_NAMED;
    return is_listed(config, "*") && !is_null(origin) ? STANDING_ANY : STANDING_FOREIGN;
}

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

/* A page's GET of its own host has no Origin, and an origin's scheme cannot be compared here: a
 * browser says by Sec-Fetch-Site whose page it is. */
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
