#ifndef COMMON_KEYRING_H
#define COMMON_KEYRING_H

#include "common/jwk.h"

#include <stdint.h>

/*
 * The keys: one JWK file a key (RFC 7517), NAME.jwk, whose `kid` is NAME.
 */

/* An immutable set of verifying keys, counted atomically so that every worker may hold it. */
struct keyring;

/*
 * Read every *.jwk of `folder`.  One bad file fails the whole (fail closed): the error names the
 * file, what is wrong, and the command that mends it.  An empty folder is an error.  Private
 * members in the public folder, and files others can write (or, for secrets, read), are errors.
 * From the first call on, all that jansson frees in this process is wiped: call it before threads
 * are made.
 */
struct keyring *keyring_read(const char *folder, struct error *error);

/*
 * The keys of a JWK Set (RFC 7517 §5) that sign by one of `algorithms` (a NULL-ended list, of RS
 * and ES); one without `alg` is taken for the first that fits it.  What is meant for something else
 * is passed over; *unfit counts what should not be there: a key that is secret, private, weak,
 * wrong or named like another.  NULL: error, also where no key is left or there are more than
 * KEYRING_SET_MAX.  `where` is named in errors.
 */
#define KEYRING_SET_MAX 32
struct keyring *keyring_from_set(const char *where, const char *text, size_t bytes,
                                 const char *const *algorithms, size_t *unfit, struct error *error);

/* The same from a file that nobody else may change. */
struct keyring *keyring_read_set(const char *path, const char *const *algorithms, size_t *unfit,
                                 struct error *error);

size_t keyring_count(const struct keyring *keyring);

/* A number that changes when the folder's keys, or the link to the signing one, do. */
uint64_t keyring_stamp(const char *folder);

struct keyring *keyring_get(struct keyring *keyring);
void keyring_put(struct keyring **keyring); /* the last one wipes what is secret */

/* The key named `kid`; or, where kid is NULL, the only key there is.  NULL: none.  Borrowed. */
const struct key *keyring_find(const struct keyring *keyring, const char *kid);

/* Its keys in order of their names; NULL: `index` is beyond the last.  Borrowed. */
const struct key *keyring_at(const struct keyring *keyring, size_t index);

/* The JWK of folder/NAME.jwk without what is secret (of an `oct` key: `k`).  The caller's; NULL:
 * error. */
json_t *keyring_public_jwk(const char *folder, const char *name, struct error *error);

/* The name of the key that folder/private/signing points to.  False: error. */
bool keyring_signing_name(const char *folder, char name[64], struct error *error);

/*
 * The key that folder/private/signing points to: NAME.jwk, the private half of a pair whose public
 * half is folder/NAME.jwk, or ../NAME.jwk, a secret.  NULL on error.  The caller's, to be wiped by
 * key_free.
 */
struct key *keyring_read_signing(const char *folder, struct error *error);

/*
 * Make a key NAME.jwk in `folder` (and folder/private/NAME.jwk where it has a private half),
 * written whole or not at all, mode 0640 and 0600.  `name` NULL: a new name from the date and
 * random letters. The name used is written to `chosen`.  An existing name is an error.
 */
bool keyring_generate(const char *folder, enum key_algorithm algorithm, const char *name,
                      char chosen[64], struct error *error);

/*
 * The same from the file `path`: for RS and ES a PEM, both halves where it holds the private one
 * (which must not be encrypted), else the public half alone; for HS a secret in base64url.
 */
bool keyring_import(const char *folder, const char *path, const char *name,
                    enum key_algorithm algorithm, char chosen[64], struct error *error);

/* Point folder/private/signing at the key `name`, atomically. */
bool keyring_activate(const char *folder, const char *name, struct error *error);

/*
 * Wait until the key `name` has lain there for KEYRING_SETTLE_MS: who verifies looks every second,
 * and has to know it before its first token comes.
 */
#define KEYRING_SETTLE_MS 3000
void keyring_settle(const char *folder, const char *name);

/* When folder/private/signing was last changed: all other keys have signed nothing since. */
bool keyring_signing_since(const char *folder, int64_t *since_s, struct error *error);

/* Can it sign here, or is it the public half of a key that signs elsewhere? */
bool keyring_can_sign(const char *folder, const struct key *key);

/* Remove both halves of the key `name`, which must not be the signing one. */
bool keyring_retire(const char *folder, const char *name, struct error *error);

#endif
