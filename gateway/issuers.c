/*
 * Other issuers: their keys are fetched when they are due, when a token names one that is not known
 * (at most every `refetch`), and again after a failure.  When they cannot be, the last good ones do
 * for `patience` beyond their time; then the issuer's tokens are refused.  How a document is
 * fetched is fetch.c's business, what a key may be keyring.c's, what a token token.c's.
 */
#include "gateway/issuers.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/memory.h"
#include "common/trust.h"
#include "gateway/fetch.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define FRESH_S     UINT64_C(600) /* where the answer does not say */
#define FRESH_MAX_S UINT64_C(86400)

/* One issuer, as the main thread knows it. */
struct issuer {
    const struct config_issuer *config;
    struct keyring *keyring;
    struct fetch *fetch; /* NULL: none is under way */
    struct issuer_state state;
    uint64_t due_ms;   /* to be fetched again */
    uint64_t stale_ms; /* the keys do no longer */
    size_t unfit;      /* keys that should not be there, of the last answer */
    bool is_failing;
};

struct issuers_watch {
    struct snapshot *snapshot;
    size_t n;
    struct issuer issuer[CONFIG_MAX_ISSUERS];
    struct issuers *known;
};

/* What the workers know now. */
static void publish(struct issuers_watch *watch)
{
    struct issuers *issuers = memory_zeroed(1, sizeof *issuers);

    atomic_init(&issuers->references, 1);
    issuers->snapshot = snapshot_get(watch->snapshot);
    issuers->n = watch->n;
    for (size_t i = 0; i < watch->n; i++) {
        const struct issuer *issuer = &watch->issuer[i];

        issuers->issuer[i] =
            (struct token_issuer){.policy = trust_policy_of(issuer->config),
                                  .keyring = issuer->keyring ? keyring_get(issuer->keyring) : NULL};
        issuers->state[i] = issuer->state;
    }
    issuers_put(&watch->known);
    watch->known = issuers;
}

static void succeed(struct issuer *issuer, struct keyring *fresh, size_t unfit, uint64_t now_ms)
{
    uint64_t least_ms = issuer->config->issuer_refetch;
    uint64_t fresh_s = fetch_fresh_s(issuer->fetch, FRESH_S);

    if (fresh_s > FRESH_MAX_S)
        fresh_s = FRESH_MAX_S;
    issuer->due_ms = now_ms + (fresh_s * 1000 > least_ms ? fresh_s * 1000 : least_ms);
    issuer->stale_ms = issuer->due_ms + issuer->config->issuer_patience;
    issuer->state.fetched_ms = now_ms;
    if (!issuer->keyring || issuer->is_failing)
        log_info("issuer %s: %zu keys are fetched", issuer->config->issuer_name,
                 keyring_count(fresh));
    else
        log_debug("issuer %s: %zu keys are fetched again", issuer->config->issuer_name,
                  keyring_count(fresh));
    if (unfit != issuer->unfit) /* said once, as long as it is so */
        log_warning("issuer %s: %zu of its keys are not used: secret, private, weak, or wrong",
                    issuer->config->issuer_name, unfit);
    issuer->unfit = unfit;
    issuer->is_failing = false;
    if (issuer->keyring)
        keyring_put(&issuer->keyring);
    issuer->keyring = fresh;
}

/* Said once, not at every attempt. */
static void fail(struct issuer *issuer, const struct error *error, uint64_t now_ms)
{
    issuer->state.failures++;
    issuer->due_ms = now_ms + issuer->config->issuer_refetch;
    if (!issuer->is_failing)
        log_warning("issuer %s: no keys from %s, %s: %s", issuer->config->issuer_name,
                    issuer->config->issuer_jwks,
                    issuer->keyring ? "those known will do for a while"
                                    : "and its tokens are refused until there are",
                    error->text);
    issuer->is_failing = true;
}

static void begin(struct issuer *issuer, uint64_t now_ms)
{
    struct error error;

    issuer->state.fetches++;
    issuer->state.again_ms = now_ms + issuer->config->issuer_refetch;
    issuer->fetch = fetch_start(issuer->config->issuer_jwks, issuer->config->issuer_ca, &error);
    if (!issuer->fetch)
        fail(issuer, &error, now_ms);
}

/* True: it is over, well or not. */
static bool go_on(struct issuer *issuer, uint64_t now_ms)
{
    struct error error;
    enum fetch_state state = fetch_turn(issuer->fetch, &error);
    struct keyring *fresh = NULL;
    size_t bytes, unfit = 0;
    const char *text;

    if (state == FETCH_RUNNING)
        return false;
    if (state == FETCH_DONE) {
        text = fetch_text(issuer->fetch, &bytes);
        fresh = keyring_from_set("the answer", text, bytes, issuer->config->issuer_algorithms,
                                 &unfit, &error);
    }
    if (fresh)
        succeed(issuer, fresh, unfit, now_ms);
    else
        fail(issuer, &error, now_ms);
    fetch_free(&issuer->fetch);
    return true;
}

/* True: the workers are to know.  Of a fetch they hear when it has ended: until then the client of
 * an unknown key is told to come again. */
static bool turn(struct issuer *issuer, bool is_wanted, uint64_t now_ms)
{
    bool changed = false;

    if (trust_has_file(issuer->config))
        return false;
    if (issuer->fetch)
        changed = go_on(issuer, now_ms);
    else if (now_ms >= issuer->due_ms || (is_wanted && now_ms >= issuer->state.again_ms)) {
        begin(issuer, now_ms);
        changed = !issuer->fetch;
    }
    if (issuer->keyring && now_ms >= issuer->stale_ms) {
        log_error(
            "issuer %s: its keys have not been to be had for too long: its tokens are refused "
            "until they are",
            issuer->config->issuer_name);
        keyring_put(&issuer->keyring);
        changed = true;
    }
    return changed;
}

static void forget(struct issuer *issuer)
{
    fetch_free(&issuer->fetch);
    if (issuer->keyring)
        keyring_put(&issuer->keyring);
}

/* Do the keys of the one come as those of the other do? */
static bool is_same_source(const struct config_issuer *a, const struct config_issuer *b)
{
    size_t i = 0;

    if (strcmp(a->issuer_name, b->issuer_name) != 0 ||
        strcmp(a->issuer_jwks, b->issuer_jwks) != 0 || strcmp(a->issuer_ca, b->issuer_ca) != 0 ||
        trust_has_file(a))
        return false;
    while (a->issuer_algorithms[i] && b->issuer_algorithms[i] &&
           strcmp(a->issuer_algorithms[i], b->issuer_algorithms[i]) == 0)
        i++;
    return !a->issuer_algorithms[i] && !b->issuer_algorithms[i];
}

/* As it was under the old config, or afresh. */
static void take_up(struct issuer *issuer, const struct config_issuer *config,
                    struct keyring *of_file, struct issuers_watch *old)
{
    for (size_t i = 0; i < old->n; i++)
        if (is_same_source(old->issuer[i].config, config)) {
            *issuer = old->issuer[i];
            old->issuer[i].fetch = NULL;
            old->issuer[i].keyring = NULL;
            issuer->config = config;
            return;
        }
    *issuer = (struct issuer){.config = config,
                              .state.again_ms = trust_has_file(config) ? UINT64_MAX : 0};
    if (of_file)
        issuer->keyring = keyring_get(of_file);
}

static void adopt(struct issuers_watch *watch, struct snapshot *snapshot)
{
    struct issuers_watch old = *watch;

    watch->snapshot = snapshot_get(snapshot);
    watch->n = snapshot->config->n_issuers;
    for (size_t i = 0; i < watch->n; i++)
        take_up(&watch->issuer[i], &snapshot->config->issuers[i], snapshot->issuer_keys[i], &old);
    for (size_t i = 0; i < old.n; i++)
        forget(&old.issuer[i]);
    if (old.snapshot)
        snapshot_put(&old.snapshot);
    publish(watch);
}

struct issuers *issuers_get(struct issuers *issuers)
{
    atomic_fetch_add_explicit(&issuers->references, 1, memory_order_relaxed);
    return issuers;
}

void issuers_put(struct issuers **issuers)
{
    struct issuers *i = *issuers;

    *issuers = NULL;
    if (!i || atomic_fetch_sub_explicit(&i->references, 1, memory_order_acq_rel) > 1)
        return;
    for (size_t k = 0; k < i->n; k++)
        if (i->issuer[k].keyring)
            keyring_put(&i->issuer[k].keyring);
    snapshot_put(&i->snapshot);
    free(i);
}

bool issuers_want(const struct issuers *issuers, const struct token_issuer *issuer)
{
    size_t i = (size_t)(issuer - issuers->issuer);
    /* Of all that is here the one thing that the workers write. */
    _Atomic bool *wanted = (_Atomic bool *)(uintptr_t)&issuers->wanted[i];
    bool may_be_new = clock_monotonic_ms() >= issuers->state[i].again_ms;

    if (may_be_new)
        atomic_store_explicit(wanted, true, memory_order_relaxed);
    return may_be_new || !issuer->keyring;
}

struct issuers_watch *issuers_watch_new(struct snapshot *snapshot)
{
    struct issuers_watch *watch = memory_zeroed(1, sizeof *watch);

    adopt(watch, snapshot);
    return watch;
}

void issuers_watch_free(struct issuers_watch **watch)
{
    for (size_t i = 0; i < (*watch)->n; i++)
        forget(&(*watch)->issuer[i]);
    issuers_put(&(*watch)->known);
    snapshot_put(&(*watch)->snapshot);
    free(*watch);
    *watch = NULL;
}

struct issuers *issuers_watch_known(const struct issuers_watch *watch)
{
    return watch->known;
}

void issuers_watch_adopt(struct issuers_watch *watch, struct snapshot *snapshot)
{
    adopt(watch, snapshot);
}

bool issuers_watch_turn(struct issuers_watch *watch)
{
    uint64_t now_ms = clock_monotonic_ms();
    bool changed = false;

    for (size_t i = 0; i < watch->n; i++)
        changed |=
            turn(&watch->issuer[i],
                 atomic_load_explicit(&watch->known->wanted[i], memory_order_relaxed), now_ms);
    if (changed)
        publish(watch);
    return changed;
}

bool issuers_watch_is_busy(const struct issuers_watch *watch)
{
    for (size_t i = 0; i < watch->n; i++)
        if (watch->issuer[i].fetch)
            return true;
    return false;
}

void issuers_watch_wait(struct issuers_watch *watch, uint64_t most_ms)
{
    static const struct timespec pause = {.tv_nsec = 5000000};
    uint64_t end_ms = clock_monotonic_ms() + most_ms;

    issuers_watch_turn(watch);
    while (issuers_watch_is_busy(watch) && clock_monotonic_ms() < end_ms) {
        nanosleep(&pause, NULL);
        issuers_watch_turn(watch);
    }
}
