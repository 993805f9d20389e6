#ifndef GATEWAY_GATE_H
#define GATEWAY_GATE_H

#include "gateway/issuers.h"
#include "gateway/revoked.h"
#include "gateway/snapshot.h"

/* The gate: from a token to who its bearer is. */

struct slot;

/* Who somebody is, of one worker; counted without atomics.  The token's text is not kept. */
struct identity {
    uint32_t references;
    uint32_t snapshot; /* serial of the one whose rules name the slots' claims */
    int64_t expires_s, issued_s;
    struct span user; /* their name, a JSON string in what follows */
    uint32_t payload_bytes;
    uint16_t n_claims;
    struct slot *slot; /* of each claim that the rules name; NULL: they name none */
    char payload[];    /* the claims as they came; of another issuer, then the user */
};

/* What a handshake or a CONNECT brought.  A gate_result below TOKEN_RESULTS is an enum
 * token_result. */
enum {
    GATE_NO_TOKEN = TOKEN_RESULTS,
    GATE_NO_HEADER,  /* the same where Authorization is demanded */
    GATE_BAD_FORMAT, /* Authorization is not two words */
    GATE_REVOKED,
    GATE_UNAVAILABLE
};
typedef unsigned gate_result;

static inline bool gate_is_without_token(gate_result result)
{
    return result == GATE_NO_TOKEN || result == GATE_NO_HEADER;
}

/* Where tokens are looked for, in this order; the first that is there decides. */
enum gate_source {
    SOURCE_AUTH = 1, /* CONNECT's payload, or Engine.IO 3's namespace query */
    SOURCE_HEADER = 2,
    SOURCE_COOKIE = 4,
    SOURCE_QUERY = 8
};

/*
 * `revoked` NULL: none is.  `issuers` NULL: none but we.  TOKEN_OK: *identity is the caller's
 * reference.  Where another issuer's key is not known and may be new, its keys are asked for, and
 * the answer is GATE_UNAVAILABLE: the client may come again.
 */
gate_result gate_check(const struct snapshot *snapshot, const struct revoked *revoked,
                       const struct issuers *issuers, struct span token, int64_t now_s,
                       struct identity **identity);

/* Somebody made up: `payload` has the claims of a token of ours, `sub` and at most TOKEN_MAX_BYTES.
 * The caller's reference. */
struct identity *identity_of_claims(const char *payload, const struct snapshot *snapshot);

/* Has its token been revoked since? */
bool identity_is_revoked(const struct identity *identity, const struct revoked *revoked);

/*
 * What a CONNECT's payload (an object, or empty) brought beside a token, as JSON for `$auth`; NULL
 * when there is nothing.  The caller's, to be freed with free().  With `whole` a `token` is kept
 * too.
 */
char *gate_auth(struct span payload, bool whole);

/*
 * The credentials of Socket.IO's protocol 4, a namespace's query (`token=abc&a=1`), as the object
 * that protocol 5 sends.  NULL: they are not UTF-8.  The caller's, to be freed with free().
 */
char *gate_query_object(struct span query);

/*
 * The token of an object such as CONNECT's payload, decoded into `buffer`; empty when there is
 * none.
 */
struct span gate_token(struct span object, char *buffer, size_t size);

/* Are both of the same `iss` and name? */
bool identity_is_same_user(const struct identity *a, const struct identity *b);

/* Are both from one token? */
bool identity_is_same_token(const struct identity *a, const struct identity *b);

struct identity *identity_get(struct identity *identity);
void identity_put(struct identity **identity);

/* New rules name other claims. */
void identity_adopt(struct identity *identity, const struct snapshot *snapshot);

/* Write the value of each claim that the rules name; `value` has room for rules_claims() of them.
 */
void identity_claims(const struct identity *identity, struct json_value *value);

/*
 * The `data` of socketio-jwt for a refusal, as JSON:
 * {"message":…,"code":…,"type":"UnauthorizedError"}, and its message alone, as a JSON string.  Both
 * NUL-ended and at most GATE_TEXT_MAX long.
 */
#define GATE_TEXT_MAX 1024
void gate_refusal(const struct snapshot *snapshot, gate_result result, char *message, char *data);

#endif
