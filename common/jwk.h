#ifndef COMMON_JWK_H
#define COMMON_JWK_H

#include "common/error.h"

#include <jansson.h>
#include <stddef.h>

/*
 * One key, and how it is written: JWK (RFC 7517; RFC 7518 §6), or PEM.  A key has exactly one
 * algorithm; none shorter than RFC 7518 §3 allows is ever made.  The only file that knows OpenSSL's
 * keys.
 */
enum key_algorithm {
    KEY_HS256,
    KEY_HS384,
    KEY_HS512,
    KEY_RS256,
    KEY_RS384,
    KEY_RS512,
    KEY_ES256,
    KEY_ES384,
    KEY_ES512,
    KEY_ALGORITHMS
};

/* "HS256" …; the algorithm of a name (exact, case-sensitive), or KEY_ALGORITHMS. */
const char *key_algorithm_name(enum key_algorithm algorithm);
enum key_algorithm key_algorithm_find(const char *name, size_t length);

/* May a JWK without `alg` be for this algorithm, by its `kty` and `crv`? */
bool key_algorithm_fits(enum key_algorithm algorithm, const json_t *members);

struct key {
    enum key_algorithm algorithm;
    char *id;                /* `kid`; NULL: it has no name yet */
    size_t signature_bytes;  /* what every signature of this key has */
    unsigned char *material; /* what libjwt takes: a secret's bytes, or, where there is the private
                                half, its PEM, NUL-ended */
    size_t material_bytes;
    struct evp_pkey_st *pkey;       /* RS, ES: OpenSSL's */
    struct evp_md_ctx_st *verifier; /* RS, ES: ready to verify */
};

/* A key on its way in. */
struct jwk {
    const char *where;            /* named where something is wrong with it */
    const char *kid;              /* what its `kid` must be */
    const char *operation;        /* "sign" or "verify", which its `key_ops` must allow */
    bool is_private;              /* the private half of a pair is wanted */
    json_t *members;              /* an object; borrowed */
    enum key_algorithm algorithm; /* found out from `alg` */
    struct error *error;
};

/* NULL: error.  The caller's, to be wiped by key_free. */
struct key *key_from_jwk(struct jwk *jwk);

/* The first member that holds something private or secret; NULL: there is none. */
const char *jwk_private_member(const json_t *members);

/*
 * Of `pem` only `where`, `algorithm` (RS or ES) and `error` are looked at; `is_private` says
 * afterwards which half it was.  An encrypted one is an error.  As key_from_jwk.
 */
struct key *key_from_pem(struct jwk *pem, const char *text, size_t bytes);

/*
 * The same of a secret, HS: base64url, with or without padding, on one line, as other providers
 * show theirs.
 */
struct key *key_from_base64url(const struct jwk *secret, const char *text, size_t bytes);

/* Is it for a secret that both sides share? */
bool key_algorithm_is_secret(enum key_algorithm algorithm);

/* A new secret, or both halves of a new pair.  As key_from_jwk. */
struct key *key_generate(enum key_algorithm algorithm, struct error *error);

/* The JWK named `kid`: of a secret with `k`, of a pair one half.  The caller's; NULL: OpenSSL
 * fails.
 */
json_t *key_to_jwk(const struct key *key, const char *kid, bool private_half);

/*
 * Did the key (RS or ES) sign `text`?  `signature` has key->signature_bytes.  Any number of threads
 * may ask at once.
 */
bool key_verify(const struct key *key, const char *text, size_t bytes,
                const unsigned char *signature);

/* Does the one verify what the other signs?  Both of pairs. */
bool key_signs_for(const struct key *signing, const struct key *verifying);

void key_free(struct key **key);

#endif
