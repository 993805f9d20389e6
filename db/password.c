/*
 * Password hashes.  The only file that knows libsodium's password hashing.
 *
 * Whoever measures a refusal must not learn whether the user exists: every way through
 * password_verify costs one Argon2id, the ways that cannot succeed included.
 */
#include "db/password.h"

#include <assert.h>
#include <errno.h>
#include <sodium.h>

#define MEMORY_BYTES ((size_t)7 << 20)
#define PASSES       5

/* Of today's setting, and of nobody's password: no one has seen a password whose hash is zeros. */
static const char nobody[crypto_pwhash_STRBYTES] =
    "$argon2id$v=19$m=7168,t=5,p=1$AAAAAAAAAAAAAAAAAAAAAA$"
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

static_assert(crypto_pwhash_STRBYTES <= PASSWORD_HASH_SIZE, "a hash fits");

/* libsodium says of a mismatch EINVAL, of want of memory something else. */
static enum password_result compare(const char *password, size_t bytes, const char *hash)
{
    errno = 0;
    if (crypto_pwhash_str_verify(hash, password, bytes) == 0)
        return PASSWORD_RIGHT;
    return errno == EINVAL ? PASSWORD_WRONG : PASSWORD_FAILED;
}

/* Argon2id in a form libsodium reads, be it of today's setting or of another. */
static bool is_readable(const char *hash)
{
    return crypto_pwhash_str_needs_rehash(hash, PASSES, MEMORY_BYTES) >= 0;
}

bool password_hash(const char *password, size_t bytes, char hash[PASSWORD_HASH_SIZE])
{
    assert(bytes >= 1 && bytes <= PASSWORD_MAX_BYTES);
    return sodium_init() >= 0 && crypto_pwhash_str_alg(hash, password, bytes, PASSES, MEMORY_BYTES,
                                                       crypto_pwhash_ALG_ARGON2ID13) == 0;
}

enum password_result password_verify(const char *password, size_t bytes, const char *hash)
{
    bool too_long = bytes > PASSWORD_MAX_BYTES;
    enum password_result result;

    if (sodium_init() < 0)
        return PASSWORD_FAILED;
    if (hash && is_readable(hash) && !too_long)
        return compare(password, bytes, hash);

    result = compare(password, too_long ? 0 : bytes, nobody);
    if (result == PASSWORD_FAILED)
        return PASSWORD_FAILED;
    return hash && !too_long ? PASSWORD_FAILED : PASSWORD_WRONG;
}
