/* From the config to what token.c demands.  How keys are had is keyring.c's business, and the
 * gateway's. */
#include "common/trust.h"

struct token_policy trust_policy(const struct config *config)
{
    return (struct token_policy){.issuer = config->token_issuer,
                                 .audiences = config->token_audience};
}

struct token_policy trust_policy_of(const struct config_issuer *issuer)
{
    return (struct token_policy){.issuer = issuer->issuer_name,
                                 .audiences = issuer->issuer_audience,
                                 .prefix = issuer->issuer_prefix,
                                 .user = issuer->issuer_user,
                                 .longest_s = (int64_t)(issuer->issuer_lifetime / 1000)};
}

bool trust_has_file(const struct config_issuer *issuer)
{
    return issuer->issuer_jwks[0] == '/';
}
