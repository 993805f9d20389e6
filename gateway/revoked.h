#ifndef GATEWAY_REVOKED_H
#define GATEWAY_REVOKED_H

#include "common/error.h"
#include "db/revocations.h"

/*
 * What is revoked, as the workers look at it: read from the database by the main thread, immutable,
 * counted atomically, one reference a worker.
 */
struct revoked;

/* NULL: error.  A stale one holds what was known last, and lets nobody new in. */
struct revoked *revoked_read(struct revocations *revocations, struct error *error);
struct revoked *revoked_as_stale(const struct revoked *revoked);
struct revoked *revoked_get(struct revoked *revoked);
void revoked_put(struct revoked **revoked);

bool revoked_is_stale(const struct revoked *revoked);

/* Is the token of this `sub`, `jti` and `iat` revoked?  NUL-ended texts. */
bool revoked_covers(const struct revoked *revoked, const char *user, const char *jti,
                    int64_t issued_s);

#endif
