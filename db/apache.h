#ifndef DB_APACHE_H
#define DB_APACHE_H

#include <stdbool.h>
#include <stddef.h>

/*
 * What htpasswd writes and libcrypt does not know: "$apr1$SALT$" with 22 characters, "{SHA}" with
 * 28.  `out` becomes the digest's characters for the salt in `setting`, which is such a hash or its
 * beginning.  False: this machine does without MD5.
 */
#define APACHE_DIGEST_SIZE    32
#define APACHE_APR1           "$apr1$"
#define APACHE_SHA            "{SHA}"
#define APACHE_PASSWORD_BYTES 1024 /* no longer */

bool apache_apr1(const char *password, size_t bytes, const char *setting,
                 char out[APACHE_DIGEST_SIZE]);
bool apache_sha(const char *password, size_t bytes, const char *setting,
                char out[APACHE_DIGEST_SIZE]);

#endif
