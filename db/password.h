#ifndef DB_PASSWORD_H
#define DB_PASSWORD_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Password hashes: Argon2id in PHC form, 7 MiB, t = 5, p = 1 (of the OWASP-equal settings the
 * fastest here), by libsodium. Passwords are bytes with a length, 1 to PASSWORD_MAX_BYTES, never
 * truncated, NUL allowed.
 */
#define PASSWORD_MAX_BYTES 1024
#define PASSWORD_HASH_SIZE 128

/* False: no memory for the hash.  The length is the caller's to have checked. */
bool password_hash(const char *password, size_t bytes, char hash[PASSWORD_HASH_SIZE]);

enum password_result { PASSWORD_RIGHT, PASSWORD_WRONG, PASSWORD_FAILED };

/* Tells one wrong password for a user from another; to guess it from this costs an Argon2id too. */
#define PASSWORD_FINGERPRINT_BYTES 16

/*
 * Always costs exactly one Argon2id, whatever is passed.  `hash` NULL, for a user who does not
 * exist: the work of today's setting against a hash nobody's password has, then PASSWORD_WRONG; so
 * does a password too long.  PASSWORD_FAILED: no memory, or a hash in a form we do not know (after
 * the same work).  `fingerprint` is filled unless there was no memory.
 */
enum password_result password_verify(const char *password, size_t bytes, const char *hash,
                                     unsigned char fingerprint[PASSWORD_FINGERPRINT_BYTES]);

#endif
