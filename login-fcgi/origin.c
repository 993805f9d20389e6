/*
 * Requests of other sites' pages: a form there could log its victim in as someone else, and a
 * script ask with the victim's cookie.
 */
#include "login-fcgi/origin.h"

#include <string.h>
#include <strings.h>

/* "https://example.org:8443" against "example.org:8443": both leave out a scheme's own port. */
static bool is_host(const char *origin, const char *host)
{
    const char *rest = strstr(origin, "://");

    return rest && *host && strcasecmp(rest + 3, host) == 0;
}

const char *origin_allowed(const struct config *config, const struct request *request)
{
    for (config_texts each = config->login_origins; *each; each++)
        if (strcmp(*each, request->origin) == 0)
            return *each;
    return NULL;
}

bool origin_is_foreign(const struct config *config, const struct request *request)
{
    const char *site = request->fetch_site;

    if (origin_allowed(config, request))
        return false;
    if (*site)
        return strcmp(site, "same-origin") != 0 && strcmp(site, "none") != 0;
    return *request->origin && !is_host(request->origin, request->host);
}
