/* What may stand in a user's claims, wherever they come from. */
#include "db/admin/claims.h"

#include "common/token.h"
#include "db/users.h"

#include <string.h>

bool claims_role_is_valid(const char *role)
{
    return *role && strlen(role) <= CLAIMS_ROLE_MAX_BYTES &&
           role[strspn(role, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                             "_.:/@-")] == '\0';
}

static bool roles_are_valid(const json_t *roles)
{
    bool are_valid = json_is_array(roles);
    const json_t *role;
    size_t i;

    json_array_foreach(roles, i, role) are_valid =
        are_valid && json_is_string(role) && claims_role_is_valid(json_string_value(role));
    return are_valid;
}

static bool is_reserved(const char *name)
{
    return token_claim_is_reserved(name) || strcmp(name, USERS_ID_CLAIM) == 0 ||
           strcmp(name, "kid") == 0 || strcmp(name, "token") == 0;
}

bool claims_check(const json_t *claims, struct error *error)
{
    const char *name;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)claims, name, value)
    {
        if (!*name)
            return error_set(error, "a claim without a name");
        if (is_reserved(name))
            return error_set(error, "the claim \"%s\" is set by Sallyport itself", name);
        if (strcmp(name, CLAIMS_ROLES) == 0 && !roles_are_valid(value))
            return error_set(error,
                             "the claim \"roles\" is a list of roles, each 1 to %d letters, "
                             "digits and _.:/@-; see `sallyport user roles --help`",
                             CLAIMS_ROLE_MAX_BYTES);
    }
    if (json_dumpb(claims, NULL, 0, JSON_COMPACT) > CLAIMS_MAX_BYTES)
        return error_set(error, "the claims are longer than %d bytes", CLAIMS_MAX_BYTES);
    return true;
}
