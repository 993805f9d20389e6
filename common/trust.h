#ifndef COMMON_TRUST_H
#define COMMON_TRUST_H

#include "common/config.h"
#include "common/token.h"

/* Whose tokens are accepted, by the config: what is demanded of ours and of each other issuer's.
 * Both borrow from the config. */
struct token_policy trust_policy(const struct config *config);
struct token_policy trust_policy_of(const struct config_issuer *issuer);

/* Are its keys in a file, or to be fetched? */
bool trust_has_file(const struct config_issuer *issuer);

#endif
