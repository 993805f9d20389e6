#ifndef DB_PASSWORD_H
#define DB_PASSWORD_H

#include "common/config.h"
#include "db/kind.h"

#include <stdbool.h>
#include <stddef.h>

/*
 * Password hashes: ours are Argon2id in PHC form, p = 1, by libsodium, as the config says.  Those
 * that came from elsewhere are verified as they came (kind.h) and are to be replaced when they were
 * right.  Passwords are bytes with a length, 1 to PASSWORD_MAX_BYTES, never truncated by us, NUL
 * allowed.  What they came from may: of bcrypt the first 72 bytes decide, libcrypt takes at most
 * 511, and none of its has a NUL.
 */
#define PASSWORD_MAX_BYTES 1024
#define PASSWORD_HASH_SIZE 128

/* How ours are made. */
struct password_setting {
    size_t memory_bytes;
    unsigned passes;
};
struct password_setting password_setting_of(const struct config *config);

/* How many are made at once, by all processes that serve with this config. */
size_t password_places(const struct config *config);

/* The most memory that one who is served takes to hash: in which the dearest of `kinds`, or of
 * `setting`, is made. */
size_t password_memory_bytes(struct password_setting setting, const struct kinds *kinds);

/* False: no memory for the hash.  The length is the caller's to have checked. */
bool password_hash(struct password_setting setting, const char *password, size_t bytes,
                   char hash[PASSWORD_HASH_SIZE]);

/* Is it as password_hash makes it? */
bool password_is_ours(struct password_setting setting, const char *hash);

enum password_result { PASSWORD_RIGHT, PASSWORD_WRONG, PASSWORD_FAILED };

/* Tells one wrong password for a user from another; to guess it from this costs an Argon2id too. */
#define PASSWORD_FINGERPRINT_BYTES 16

/*
 * Always costs exactly one Argon2id of `setting`, and one hash of each of the other `kinds`, which
 * are those that users have; whatever else is passed.  So the answer for one user takes as long as
 * for any other, and for nobody.  `hash` NULL, for a user who does not exist: PASSWORD_WRONG; so is
 * a password too long.  PASSWORD_FAILED: no memory, or a hash in a form we do not know (after the
 * same work).  `fingerprint` is filled unless there was no memory.
 */
enum password_result password_verify(struct password_setting setting, const struct kinds *kinds,
                                     const char *password, size_t bytes, const char *hash,
                                     unsigned char fingerprint[PASSWORD_FINGERPRINT_BYTES]);

#endif
