/*
 * Password hashes.  The only file that knows libsodium's password hashing.
 *
 * Whoever measures a refusal must not learn whether the user exists: every way through
 * password_verify costs one Argon2id, the ways that cannot succeed included.
 */
#include "db/password.h"

#include <assert.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#define MEMORY_BYTES ((size_t)7 << 20)
#define PASSES       5

/* What a hash in PHC form says: how it was made, and what came out. */
struct phc {
    size_t memory_bytes;
    unsigned passes;
    unsigned char salt[crypto_pwhash_SALTBYTES], digest[32];
};

/* Of today's setting, and of nobody: no one has seen a password whose digest is zeros. */
static const struct phc nobody = {.memory_bytes = MEMORY_BYTES, .passes = PASSES};

static_assert(crypto_pwhash_STRBYTES <= PASSWORD_HASH_SIZE, "a hash fits");

static bool decode(const char *base64, unsigned char *bytes, size_t size)
{
    size_t length;

    return sodium_base642bin(bytes, size, base64, strlen(base64), NULL, &length, NULL,
                             sodium_base64_VARIANT_ORIGINAL_NO_PADDING) == 0 &&
           length == size;
}

/* The form libsodium writes; nothing else has been in the database yet. */
static bool parse(const char *hash, struct phc *phc)
{
    char salt[23], digest[44];
    unsigned memory_kib;
    int end = 0;

    if (sscanf(hash, "$argon2id$v=19$m=%7u,t=%7u,p=1$%22[A-Za-z0-9+/]$%43[A-Za-z0-9+/]%n",
               &memory_kib, &phc->passes, salt, digest, &end) != 4 ||
        hash[end] != '\0')
        return false;
    phc->memory_bytes = (size_t)memory_kib << 10;
    return phc->memory_bytes >= crypto_pwhash_MEMLIMIT_MIN &&
           phc->passes >= crypto_pwhash_OPSLIMIT_MIN && decode(salt, phc->salt, sizeof phc->salt) &&
           decode(digest, phc->digest, sizeof phc->digest);
}

/* Not crypto_pwhash_str_verify: that calls a password wrong when there was no memory to look. */
static enum password_result compare(const char *password, size_t bytes, const struct phc *phc,
                                    unsigned char fingerprint[PASSWORD_FINGERPRINT_BYTES])
{
    unsigned char digest[sizeof phc->digest] = {0};
    enum password_result result = PASSWORD_FAILED;

    if (crypto_pwhash(digest, sizeof digest, password, bytes, phc->salt, phc->passes,
                      phc->memory_bytes, crypto_pwhash_ALG_ARGON2ID13) == 0)
        result =
            sodium_memcmp(digest, phc->digest, sizeof digest) ? PASSWORD_WRONG : PASSWORD_RIGHT;
    crypto_generichash(fingerprint, PASSWORD_FINGERPRINT_BYTES, digest, sizeof digest, NULL, 0);
    sodium_memzero(digest, sizeof digest);
    return result;
}

bool password_hash(const char *password, size_t bytes, char hash[PASSWORD_HASH_SIZE])
{
    assert(bytes >= 1 && bytes <= PASSWORD_MAX_BYTES);
    return sodium_init() >= 0 && crypto_pwhash_str_alg(hash, password, bytes, PASSES, MEMORY_BYTES,
                                                       crypto_pwhash_ALG_ARGON2ID13) == 0;
}

enum password_result password_verify(const char *password, size_t bytes, const char *hash,
                                     unsigned char fingerprint[PASSWORD_FINGERPRINT_BYTES])
{
    bool too_long = bytes > PASSWORD_MAX_BYTES, is_readable;
    enum password_result result;
    struct phc phc;

    if (sodium_init() < 0)
        return PASSWORD_FAILED;
    is_readable = hash && parse(hash, &phc);
    result = compare(password, too_long ? 0 : bytes, is_readable ? &phc : &nobody, fingerprint);
    if (result == PASSWORD_FAILED || (hash && !is_readable))
        return PASSWORD_FAILED;
    return hash && !too_long ? result : PASSWORD_WRONG;
}
