#ifndef LOGIN_SERVICE_H
#define LOGIN_SERVICE_H

#include "common/config.h"
#include "common/keyring.h"

#include <stdatomic.h>

/*
 * What a request is served with: the config and the key that signs, as they were when they were
 * last read.  Immutable and counted: a reload installs a new one, and what is under way ends with
 * the one it began with.
 */
struct service {
    atomic_uint references;
    struct service *base; /* whose config it borrows; NULL: it is its own */
    struct config *config;
    struct key *key;
    char *public_keys; /* JWK set: what others verify with */
    char keys_etag[35];
    uint64_t keys_stamp; /* keyring_stamp, from just before the key was read */
};

/* Read and check the config at `path` and all it names that we need; NULL: error. */
struct service *service_read(const char *path, struct error *error);

/* `old` with the keys as they are now, whatever has become of the config; NULL: error. */
struct service *service_with_new_keys(struct service *old, struct error *error);

/* Make `fresh` (the caller's reference is given away) the one that service_get gives from now on.
 * NULL: none. */
void service_install(struct service *fresh);
struct service *service_get(void);
void service_put(struct service **service);

#endif
