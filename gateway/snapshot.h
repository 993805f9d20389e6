#ifndef GATEWAY_SNAPSHOT_H
#define GATEWAY_SNAPSHOT_H

#include "common/config.h"
#include "common/net.h"
#include "common/token.h"
#include "gateway/rules.h"

#include <stdatomic.h>

/*
 * Everything that is read from files, read whole and checked whole: the main thread makes one, the
 * workers hold it.  Immutable, counted atomically.
 */
struct snapshot {
    _Atomic uint32_t references;
    uint32_t serial;       /* of its rules: no two readings of a process have the same */
    struct snapshot *base; /* whose everything this borrows but for the keys; NULL: nobody's */
    struct config *config;
    struct keyring *keyring;
    struct keyring *issuer_keys[CONFIG_MAX_ISSUERS]; /* of config->issuers; NULL: by URL */
    uint64_t keys_stamp; /* keyring_stamp, from just before they were read */
    struct rules *rules;
    struct token_policy policy; /* borrows from config */
    unsigned sources;           /* of tokens, bits of enum gate_source */
    bool refuses_requests;      /* HTTP requests with a bad token, by gateway.reject, */
    bool demands_tokens;        /* and those with none: every namespace demands one at CONNECT */
    struct net_network *trusted;
    size_t n_trusted;
    char *client; /* the bundle served as socket.io.js, NULL: none */
    size_t client_bytes;
};

/* NULL: error.  Warnings go to the log. */
struct snapshot *snapshot_read(const char *config_path, struct error *error);

/* `old` with the keys as they are now, whatever has become of the other files.  NULL: error. */
struct snapshot *snapshot_with_new_keys(struct snapshot *old, struct error *error);
struct snapshot *snapshot_get(struct snapshot *snapshot);
void snapshot_put(struct snapshot **snapshot);

#endif
