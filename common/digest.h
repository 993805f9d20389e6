#ifndef COMMON_DIGEST_H
#define COMMON_DIGEST_H

#include <stdbool.h>
#include <stddef.h>

/*
 * The digests others ask for; nothing of ours rests on their strength.  SHA-1 is RFC 6455 §4.2.2's
 * and htpasswd's, MD5 htpasswd's alone.
 */
#define DIGEST_SHA1_BYTES 20
#define DIGEST_MD5_BYTES  16
void digest_sha1(const void *data, size_t bytes, unsigned char digest[DIGEST_SHA1_BYTES]);
/* False: this machine does without (FIPS 140). */
bool digest_md5(const void *data, size_t bytes, unsigned char digest[DIGEST_MD5_BYTES]);

#endif
