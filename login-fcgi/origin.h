#ifndef LOGIN_ORIGIN_H
#define LOGIN_ORIGIN_H

#include "common/config.h"
#include "login-fcgi/request.h"

/*
 * Which page sent this?  A browser says so in Sec-Fetch-Site (Fetch Metadata) or, where it does not
 * know that or speaks plain http, in Origin (RFC 6454 §7).  What is no browser says neither, and
 * carries nobody's cookies.
 */

/* The entry of login.origins that the page's origin equals; NULL: none. */
const char *origin_allowed(const struct config *config, const struct request *request);

/* Is it another site's page, which is not allowed? */
bool origin_is_foreign(const struct config *config, const struct request *request);

#endif
