#ifndef COMMON_TOKEN_H
#define COMMON_TOKEN_H

#include "common/keyring.h"

#include <jansson.h>
#include <stdint.h>

/*
 * JSON Web Tokens, JWS compact form (RFC 7515, 7519; RFC 8725), signed and verified by libjwt and
 * everything libjwt leaves out, in this order: length and segments, strict
 * base64url, our own parse of header and payload with duplicates refused, `crit` refused, key by
 * `kid` among the configured keys, `alg` equal to the key's, signature, then types and values of
 * the claims.
 */
#define TOKEN_MAX_BYTES 8192

enum token_result {
    TOKEN_OK,
    TOKEN_MALFORMED, /* "jwt malformed" */
    TOKEN_UNSIGNED, /* "jwt signature is required": `alg` none in any case, or an empty signature */
    TOKEN_WRONG_ALGORITHM, /* "invalid algorithm" */
    TOKEN_UNKNOWN_KEY,     /* "invalid signature" */
    TOKEN_BAD_SIGNATURE,   /* "invalid signature" */
    TOKEN_EXPIRED,         /* "jwt expired" */
    TOKEN_NOT_YET, /* "jwt not active": `nbf`, or `iat` by more than a second, in the future; what
                      is issued right after a revocation is dated to the next second */
    TOKEN_WRONG_ISSUER,     /* "jwt issuer invalid. expected: X"; also a token of ours for a user
                               whose name only another issuer may give */
    TOKEN_WRONG_AUDIENCE,   /* "jwt audience invalid. expected: X or Y" */
    TOKEN_FOREIGN_AUDIENCE, /* "jwt audience invalid": another issuer's, whose bearer may be anybody
                               and is told nothing of our config */
    TOKEN_TOO_LONG, /* "jwt lifetime too long": another issuer's, valid for more than we accept */
    TOKEN_RESULTS
};

/* What is demanded of a token.  Borrowed strings. */
struct token_policy {
    const char *issuer;           /* `iss` must equal it */
    const char *const *audiences; /* NULL-ended; `aud` (a string or a list) must name one */
    /* Where another than ourselves issues them; else NULL and 0. */
    const char *prefix; /* of the names of its users */
    const char *user;   /* the claim that names the user */
    int64_t longest_s;  /* from `iat` to `exp` */
};

/* Somebody else whose tokens are accepted. */
struct token_issuer {
    struct token_policy policy;
    struct keyring *keyring; /* borrowed; NULL: its keys are not known now */
};

struct token {
    char *payload; /* as it came, NUL-ended */
    size_t payload_bytes;
    char *user;                  /* `sub`; or the prefix and the claim that names the user */
    char *id;                    /* `jti`; NULL: another issuer gave none */
    int64_t expires_s, issued_s; /* `exp`; `iat` */
};

/*
 * Verify `text` (need not be NUL-ended) at the time now_s.  `sub`, `exp`, `iat` and `jti` are
 * demanded. TOKEN_OK: `token` is filled and is the caller's to fini.  Else nothing is.
 */
enum token_result token_verify(const struct keyring *keyring, const struct token_policy *policy,
                               const char *text, size_t bytes, int64_t now_s, struct token *token);

/*
 * The same where `n` others may have issued it: a token's `iss` decides whose keys are looked at,
 * and no key serves two issuers.  Of others `kid`, the claim that names the user, `exp` and `iat`
 * are demanded.  *from is set also when the token is refused: the issuer in question, NULL:
 * ourselves.
 */
enum token_result token_verify_any(const struct keyring *keyring, const struct token_policy *policy,
                                   const struct token_issuer *others, size_t n, const char *text,
                                   size_t bytes, int64_t now_s, struct token *token,
                                   const struct token_issuer **from);
void token_fini(struct token *token);

/*
 * What socketio-jwt says of a result, written into `text`: what a client is told and what the
 * log says.
 */
const char *token_message(enum token_result result, const struct token_policy *policy, char *text,
                          size_t size);

/*
 * Issue a token for `subject`: registered claims are ours (`iss`, `aud`, `sub`, `iat`, `exp`,
 * `jti`); the members of `claims` (an object, may be NULL) are added, reserved names are refused.
 * The text is the caller's, free it with token_free_text (which wipes).  NULL on error.
 */
char *token_issue(const struct key *key, const struct token_policy *policy, const char *subject,
                  const json_t *claims, int64_t now_s, int64_t lifetime_s, struct error *error);

/* The same with a `jti` of the caller's, from token_new_id: 128 random bits in base64url,
 * which do not begin with a -. */
#define TOKEN_ID_SIZE 23
void token_new_id(char id[TOKEN_ID_SIZE]);
bool token_id_is_ours(const char *text); /* by its looks; a user may be called so too */
char *token_issue_as(const struct key *key, const struct token_policy *policy, const char *subject,
                     const char *id, const json_t *claims, int64_t now_s, int64_t lifetime_s,
                     struct error *error);
void token_free_text(char **text);

/* Is `name` a claim only we may set? */
bool token_claim_is_reserved(const char *name);

#endif
