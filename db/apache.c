/*
 * Apache's own hashes.  apr1 is FreeBSD's MD5-crypt with another magic word (APR,
 * crypto/apr_md5.c): a thousand rounds, where each takes what it mixes by its number.
 */
#include "db/apache.h"

#include "common/digest.h"

#include <assert.h>
#include <sodium.h>
#include <string.h>

#define SALT_MAX 8
#define ROUNDS   1000

/* What one MD5 is made of; the longest has the password twice. */
struct mix {
    unsigned char bytes[2 * APACHE_PASSWORD_BYTES + 64];
    size_t n;
};

static void add(struct mix *mix, const void *bytes, size_t n)
{
    assert(n <= sizeof mix->bytes - mix->n);
    memcpy(mix->bytes + mix->n, bytes, n);
    mix->n += n;
}

static bool finish(struct mix *mix, unsigned char digest[DIGEST_MD5_BYTES])
{
    bool is_made = digest_md5(mix->bytes, mix->n, digest);

    mix->n = 0;
    return is_made;
}

static bool begin(struct mix *mix, const char *password, size_t bytes, const char *salt,
                  size_t salt_bytes, unsigned char digest[DIGEST_MD5_BYTES])
{
    add(mix, password, bytes);
    add(mix, salt, salt_bytes);
    add(mix, password, bytes);
    if (!finish(mix, digest))
        return false;
    add(mix, password, bytes);
    add(mix, APACHE_APR1, strlen(APACHE_APR1));
    add(mix, salt, salt_bytes);
    for (size_t left = bytes; left > 0; left -= left < DIGEST_MD5_BYTES ? left : DIGEST_MD5_BYTES)
        add(mix, digest, left < DIGEST_MD5_BYTES ? left : DIGEST_MD5_BYTES);
    for (size_t i = bytes; i > 0; i >>= 1)
        add(mix, i & 1 ? "" : password, 1);
    return finish(mix, digest);
}

static bool stir(struct mix *mix, const char *password, size_t bytes, const char *salt,
                 size_t salt_bytes, unsigned char digest[DIGEST_MD5_BYTES])
{
    bool is_made = true;

    for (int i = 0; i < ROUNDS && is_made; i++) {
        const void *first = i & 1 ? (const void *)password : digest;
        const void *last = i & 1 ? digest : (const void *)password;

        add(mix, first, i & 1 ? bytes : DIGEST_MD5_BYTES);
        if (i % 3)
            add(mix, salt, salt_bytes);
        if (i % 7)
            add(mix, password, bytes);
        add(mix, last, i & 1 ? DIGEST_MD5_BYTES : bytes);
        is_made = finish(mix, digest);
    }
    return is_made;
}

/* crypt's own base64: 24 bits at a time, the low ones first, and the bytes in this order. */
static void spell(const unsigned char digest[DIGEST_MD5_BYTES], char out[APACHE_DIGEST_SIZE])
{
    static const char alphabet[] =
        "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    static const unsigned char order[][3] = {
        {0, 6, 12}, {1, 7, 13}, {2, 8, 14}, {3, 9, 15}, {4, 10, 5}};
    size_t used = 0;

    for (size_t i = 0; i < 5; i++) {
        unsigned bits = (unsigned)digest[order[i][0]] << 16 | (unsigned)digest[order[i][1]] << 8 |
                        digest[order[i][2]];

        for (int k = 0; k < 4; k++, bits >>= 6)
            out[used++] = alphabet[bits & 63];
    }
    out[used++] = alphabet[digest[11] & 63];
    out[used++] = alphabet[digest[11] >> 6];
    out[used] = '\0';
}

bool apache_apr1(const char *password, size_t bytes, const char *setting,
                 char out[APACHE_DIGEST_SIZE])
{
    const char *salt = setting + strlen(APACHE_APR1);
    size_t salt_bytes = strcspn(salt, "$");
    unsigned char digest[DIGEST_MD5_BYTES];
    struct mix mix = {.n = 0};
    bool is_made;

    assert(bytes <= APACHE_PASSWORD_BYTES && salt_bytes <= SALT_MAX);
    is_made = begin(&mix, password, bytes, salt, salt_bytes, digest) &&
              stir(&mix, password, bytes, salt, salt_bytes, digest);
    if (is_made)
        spell(digest, out);
    sodium_memzero(&mix, sizeof mix);
    sodium_memzero(digest, sizeof digest);
    return is_made;
}

bool apache_sha(const char *password, size_t bytes, const char *setting,
                char out[APACHE_DIGEST_SIZE])
{
    unsigned char digest[DIGEST_SHA1_BYTES];

    (void)setting;
    digest_sha1(password, bytes, digest);
    sodium_bin2base64(out, APACHE_DIGEST_SIZE, digest, sizeof digest,
                      sodium_base64_VARIANT_ORIGINAL);
    sodium_memzero(digest, sizeof digest);
    return true;
}
