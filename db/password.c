/*
 * Password hashes.  The only file that knows libsodium's password hashing, and libcrypt's.
 *
 * Whoever measures a refusal must not learn whether the user exists, nor where their password came
 * from: every way through password_verify makes one hash of each kind there is, the ways that
 * cannot succeed included.  The user's own is compared, the others are of nobody's salt.
 */
#include "db/password.h"

#include "common/memory.h"
#include "db/apache.h"

#include <assert.h>
#include <crypt.h>
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define DIGEST_BYTES 32
#define LARGE_BYTES  ((size_t)4 << 20) /* an aligned huge page is in it, wherever it begins */

static_assert(crypto_pwhash_STRBYTES <= PASSWORD_HASH_SIZE, "a hash fits");
static_assert(PASSWORD_MAX_BYTES <= APACHE_PASSWORD_BYTES, "Apache's take any password");

struct secret {
    char bytes[PASSWORD_MAX_BYTES + 1]; /* NUL-ended */
    size_t n;
};

/* ---- the memory that is hashed in ---------------------------------------------------------- */

#if __SIZEOF_POINTER__ == 8 /* where mmap64 is another name of libc's own */
/*
 * The libraries map each hash's memory anew, which in small pages is a quarter of a hash, under a
 * lock that those who hash beside it wait for; and they take no allocator.  So the programs have an
 * mmap of their own, which shared libraries find before libc's, and it asks for huge pages.  (Not
 * looked at by ThreadSanitizer, which itself maps memory before it has begun.)
 */
__attribute__((no_sanitize("thread"))) void *mmap(void *address, size_t bytes, int protection,
                                                  int flags, int fd, off_t offset)
{
    bool is_large = (flags & MAP_ANONYMOUS) && bytes >= LARGE_BYTES;
    void *memory =
        mmap64(address, bytes, protection, is_large ? flags & ~MAP_POPULATE : flags, fd, offset);

    if (is_large && memory != MAP_FAILED)
        madvise(memory, bytes, MADV_HUGEPAGE);
    return memory;
}
#endif

/* ---- Argon2id ------------------------------------------------------------------------------- */

/* What a hash in PHC form says: how it was made, and what came out. */
struct phc {
    struct password_setting setting;
    unsigned char salt[crypto_pwhash_SALTBYTES], digest[DIGEST_BYTES];
};

static bool decode(const char *base64, unsigned char *bytes, size_t size)
{
    size_t length;

    return sodium_base642bin(bytes, size, base64, strlen(base64), NULL, &length, NULL,
                             sodium_base64_VARIANT_ORIGINAL_NO_PADDING) == 0 &&
           length == size;
}

/* Of a hash, or of the text of its kind, which is nobody's: no one has seen a password whose digest
 * is zeros. */
static bool parse(const char *hash, struct phc *phc)
{
    char salt[23], digest[44];
    unsigned memory_kib, passes;
    int end = 0, n;

    n = sscanf(hash, "$argon2id$v=19$m=%7u,t=%7u,p=1$%22[A-Za-z0-9+/]$%43[A-Za-z0-9+/]%n",
               &memory_kib, &passes, salt, digest, &end);
    *phc = (struct phc){0};
    if (n < 2 || memory_kib < crypto_pwhash_MEMLIMIT_MIN >> 10 ||
        passes < crypto_pwhash_OPSLIMIT_MIN)
        return false;
    phc->setting = (struct password_setting){(size_t)memory_kib << 10, passes};
    return n == 2 ||
           (n == 4 && end > 0 && hash[end] == '\0' && decode(salt, phc->salt, sizeof phc->salt) &&
            decode(digest, phc->digest, sizeof phc->digest));
}

/* Not crypto_pwhash_str_verify: that calls a password wrong when there was no memory to look. */
static enum password_result by_argon2id(const struct secret *secret, const struct phc *phc,
                                        unsigned char digest[DIGEST_BYTES])
{
    if (crypto_pwhash(digest, DIGEST_BYTES, secret->bytes, secret->n, phc->salt,
                      phc->setting.passes, phc->setting.memory_bytes,
                      crypto_pwhash_ALG_ARGON2ID13) != 0)
        return PASSWORD_FAILED;
    return sodium_memcmp(digest, phc->digest, DIGEST_BYTES) ? PASSWORD_WRONG : PASSWORD_RIGHT;
}

/* Of today's setting, which is run for everybody: it tells one wrong password from another also
 * for those whose hash is of another kind. */
static enum password_result by_todays(const struct secret *secret, const char *hash,
                                      struct phc *phc,
                                      unsigned char fingerprint[PASSWORD_FINGERPRINT_BYTES])
{
    unsigned char digest[DIGEST_BYTES] = {0};
    enum password_result result;

    if (hash && sodium_is_zero(phc->digest, sizeof phc->digest))
        crypto_generichash(phc->salt, sizeof phc->salt, (const unsigned char *)hash, strlen(hash),
                           NULL, 0);
    result = by_argon2id(secret, phc, digest);
    crypto_generichash(fingerprint, PASSWORD_FINGERPRINT_BYTES, digest, sizeof digest, NULL, 0);
    sodium_memzero(digest, sizeof digest);
    return result;
}

/* ---- what came from elsewhere --------------------------------------------------------------- */

/* `digest` NULL: nobody's. */
static enum password_result compare(const char *made, const char *digest)
{
    size_t length = strlen(made);

    return digest && strlen(digest) == length && sodium_memcmp(made, digest, length) == 0
               ? PASSWORD_RIGHT
               : PASSWORD_WRONG;
}

/* A password libcrypt does not take is not the right one. */
static enum password_result by_crypt(const struct secret *secret, const char *setting,
                                     const char *digest)
{
    struct crypt_data *data = memory_zeroed(1, sizeof *data);
    const char *made = crypt_rn(secret->bytes, setting, data, sizeof *data);
    enum password_result result = errno == ERANGE ? PASSWORD_WRONG : PASSWORD_FAILED;
    struct error error;
    struct kind kind;

    if (made)
        result = kind_read(made, &kind, &error) ? compare(made + kind.digest_at, digest)
                                                : PASSWORD_FAILED;
    memory_free_wiped(data);
    return result == PASSWORD_RIGHT && strlen(secret->bytes) != secret->n ? PASSWORD_WRONG : result;
}

static enum password_result by_apache(const struct secret *secret, enum kind_scheme scheme,
                                      const char *setting, const char *digest)
{
    char made[APACHE_DIGEST_SIZE];
    bool is_made =
        (scheme == KIND_APR1 ? apache_apr1 : apache_sha)(secret->bytes, secret->n, setting, made);
    enum password_result result = is_made ? compare(made, digest) : PASSWORD_FAILED;

    sodium_memzero(made, sizeof made);
    return result;
}

/* `setting` is the hash whose digest that is, or with none the text of a kind. */
static enum password_result check(const struct secret *secret, const char *setting,
                                  const char *digest)
{
    enum kind_scheme scheme = kind_scheme_of(setting);
    unsigned char out[DIGEST_BYTES];
    enum password_result result = PASSWORD_FAILED;
    struct phc phc;

    if (scheme == KIND_ARGON2ID) {
        if (parse(setting, &phc))
            result = by_argon2id(secret, &phc, out);
        sodium_memzero(out, sizeof out);
        return result;
    }
    if (scheme == KIND_APR1 || scheme == KIND_SHA)
        return by_apache(secret, scheme, setting, digest);
    return by_crypt(secret, setting, digest);
}

/* ---- all of them ---------------------------------------------------------------------------- */

static void write_kind(struct password_setting setting, char text[KIND_SIZE])
{
    snprintf(text, KIND_SIZE, "$argon2id$v=19$m=%zu,t=%u,p=1", setting.memory_bytes >> 10,
             setting.passes);
}

/* A kind that came into being since `kinds` were read is there too. */
static enum password_result check_kinds(const struct secret *secret, const struct kinds *kinds,
                                        const char *todays, const char *hash,
                                        const struct kind *own, enum password_result result)
{
    bool is_checked = !own || strcmp(own->text, todays) == 0, has_failed = false;

    for (size_t i = 0; i < kinds->n; i++) {
        if (strcmp(kinds->texts[i], todays) == 0)
            continue;
        if (own && strcmp(kinds->texts[i], own->text) == 0) {
            result = check(secret, hash, hash + own->digest_at);
            is_checked = true;
        } else if (check(secret, kinds->texts[i], NULL) == PASSWORD_FAILED) {
            has_failed = true;
        }
    }
    if (!is_checked)
        result = check(secret, hash, hash + own->digest_at);
    return has_failed ? PASSWORD_FAILED : result;
}

struct password_setting password_setting_of(const struct config *config)
{
    return (struct password_setting){(size_t)config->login_hash_memory,
                                     (unsigned)config->login_hash_passes};
}

size_t password_places(const struct config *config)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);

    return config->login_hashes ? config->login_hashes : cores > 0 ? (size_t)cores : 1;
}

size_t password_memory_bytes(struct password_setting setting, const struct kinds *kinds)
{
    size_t dearest = setting.memory_bytes;

    for (size_t i = 0; i < kinds->n; i++)
        if (kind_memory_bytes(kinds->texts[i]) > dearest)
            dearest = kind_memory_bytes(kinds->texts[i]);
    return dearest;
}

bool password_hash(struct password_setting setting, const char *password, size_t bytes,
                   char hash[PASSWORD_HASH_SIZE])
{
    assert(bytes >= 1 && bytes <= PASSWORD_MAX_BYTES);
    return sodium_init() >= 0 &&
           crypto_pwhash_str_alg(hash, password, bytes, setting.passes, setting.memory_bytes,
                                 crypto_pwhash_ALG_ARGON2ID13) == 0;
}

bool password_is_ours(struct password_setting setting, const char *hash)
{
    char todays[KIND_SIZE];
    struct error error;
    struct kind kind;

    write_kind(setting, todays);
    return kind_read(hash, &kind, &error) && strcmp(kind.text, todays) == 0;
}

enum password_result password_verify(struct password_setting setting, const struct kinds *kinds,
                                     const char *password, size_t bytes, const char *hash,
                                     unsigned char fingerprint[PASSWORD_FINGERPRINT_BYTES])
{
    bool too_long = bytes > PASSWORD_MAX_BYTES, is_readable;
    struct secret secret = {.n = too_long ? 0 : bytes};
    char todays[KIND_SIZE];
    enum password_result result, first;
    struct error error;
    struct kind own;
    struct phc phc;

    if (sodium_init() < 0)
        return PASSWORD_FAILED;
    memcpy(secret.bytes, password, secret.n);
    write_kind(setting, todays);
    is_readable =
        hash && kind_read(hash, &own, &error) && (own.scheme != KIND_ARGON2ID || parse(hash, &phc));
    if (!is_readable || strcmp(own.text, todays) != 0)
        phc = (struct phc){.setting = setting};
    first = by_todays(&secret, hash, &phc, fingerprint);
    result = check_kinds(&secret, kinds, todays, hash, is_readable ? &own : NULL, first);
    sodium_memzero(&secret, sizeof secret);
    if (first == PASSWORD_FAILED || (hash && !is_readable))
        return PASSWORD_FAILED;
    return hash && !too_long ? result : result == PASSWORD_FAILED ? result : PASSWORD_WRONG;
}
