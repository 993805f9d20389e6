#ifndef DB_ADMIN_CLAIMS_H
#define DB_ADMIN_CLAIMS_H

#include "common/error.h"

#include <jansson.h>
#include <stdbool.h>

/*
 * The claims a user may have: none of those that Sallyport sets, roles as a list of such words, and
 * a third more in base64, with the registered claims, all well below a token's longest.
 */
#define CLAIMS_MAX_BYTES 4096

#define CLAIMS_ROLES          "roles"
#define CLAIMS_ROLE_MAX_BYTES 64

bool claims_role_is_valid(const char *role);
bool claims_check(const json_t *claims, struct error *error);

#endif
