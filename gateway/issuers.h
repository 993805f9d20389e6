#ifndef GATEWAY_ISSUERS_H
#define GATEWAY_ISSUERS_H

#include "gateway/snapshot.h"

#include <stdatomic.h>

/*
 * Other issuers and their keys, as the workers look at them: made by the main thread, immutable but
 * for `wanted`, counted atomically, one reference a worker.
 */
struct issuers {
    _Atomic uint32_t references;
    struct snapshot *snapshot; /* whose config the policies borrow from */
    size_t n;
    struct token_issuer issuer[CONFIG_MAX_ISSUERS]; /* as in config->issuers */
    struct issuer_state {
        uint64_t fetched_ms; /* when its keys came; 0: never yet, or they are a file's */
        uint64_t again_ms;   /* an unknown key is worth a fetch from then on; UINT64_MAX: never */
        uint64_t fetches, failures;
    } state[CONFIG_MAX_ISSUERS];
    _Atomic bool wanted[CONFIG_MAX_ISSUERS];
};

struct issuers *issuers_get(struct issuers *issuers);
void issuers_put(struct issuers **issuers);

/*
 * A token of this issuer names a key that is not there.  True: it cannot be told now whether it is
 * a good one, and its keys will be fetched if they may.  Any worker.
 */
bool issuers_want(const struct issuers *issuers, const struct token_issuer *issuer);

/*
 * The main thread's part: when to fetch whose keys, and how long they do.
 */
struct issuers_watch;
struct issuers_watch *issuers_watch_new(struct snapshot *snapshot);
void issuers_watch_free(struct issuers_watch **watch);

/* What the workers are to know; borrowed until the next of the two calls below. */
struct issuers *issuers_watch_known(const struct issuers_watch *watch);

/* A new config: keys of those that did not change are kept. */
void issuers_watch_adopt(struct issuers_watch *watch, struct snapshot *snapshot);

/* To be called often.  True: there is something new to be known. */
bool issuers_watch_turn(struct issuers_watch *watch);

/* Is something being fetched? */
bool issuers_watch_is_busy(const struct issuers_watch *watch);

/* Turn it until nothing is, for most_ms at the most.  The only one that waits. */
void issuers_watch_wait(struct issuers_watch *watch, uint64_t most_ms);

#endif
