/*
 * What a hash says of itself.  Strict, and bounded in what it may cost: a hash that comes from
 * elsewhere decides what every login costs from then on.
 */
#include "db/kind.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ARGON2_KIB_MOST    (256 * 1024) /* as login.hash_memory */
#define ARGON2_PASSES_MOST 64
#define BCRYPT_SALT        22
#define BCRYPT_DIGEST      31
#define BCRYPT_MOST        14
#define ROUNDS_LEAST       1000 /* fewer are taken for as many */
#define ROUNDS             5000 /* where none are said */
#define ROUNDS_MOST        1000000
#define SHA_SALT_MOST      16
#define APR1_SALT          8
#define APR1_DIGEST        22
#define SHA_DIGEST         28
#define YES_SALT_MOST      43

#define CRYPT64 "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

static bool malformed(const char *scheme, struct error *error)
{
    return error_set(error, "the %s hash is damaged, or in a form that is not known", scheme);
}

static bool are_crypt64(const char *text, size_t n)
{
    return strspn(text, CRYPT64) == n && text[n] == '\0';
}

/* "SALT$DIGEST" at `at`, with a salt of at most so many; the kind is `begin` and the salt's dots.
 */
static bool read_salted(const char *hash, const char *at, const char *begin, size_t most,
                        size_t digest, struct kind *kind)
{
    size_t salt = strspn(at, CRYPT64), used = strlen(begin);

    if (salt < 1 || salt > most || at[salt] != '$' || !are_crypt64(at + salt + 1, digest))
        return false;
    memcpy(kind->text, begin, used);
    memset(kind->text + used, '.', salt);
    kind->text[used + salt] = '\0';
    kind->digest_at = (size_t)(at + salt + 1 - hash);
    return true;
}

static bool is_base64_of(const char *text, size_t bytes)
{
    unsigned char out[32];
    size_t length;

    return sodium_base642bin(out, sizeof out, text, strlen(text), NULL, &length, NULL,
                             sodium_base64_VARIANT_ORIGINAL_NO_PADDING) == 0 &&
           length == bytes;
}

/* As libsodium writes it. */
static bool read_argon2id(const char *hash, struct kind *kind, struct error *error)
{
    unsigned memory_kib, passes;
    char salt[23], digest[44];
    int end = 0;

    if (sscanf(hash, "$argon2id$v=19$m=%7u,t=%7u,p=1$%22[A-Za-z0-9+/]$%43[A-Za-z0-9+/]%n",
               &memory_kib, &passes, salt, digest, &end) != 4 ||
        hash[end] || !is_base64_of(salt, 16) || !is_base64_of(digest, 32) || memory_kib < 8 ||
        passes < 1)
        return malformed("Argon2id", error);
    if (memory_kib > ARGON2_KIB_MOST || passes > ARGON2_PASSES_MOST)
        return error_set(error,
                         "an Argon2id hash of %u KiB and %u passes would keep every login "
                         "waiting; at most %d KiB and %d are taken",
                         memory_kib, passes, ARGON2_KIB_MOST, ARGON2_PASSES_MOST);
    snprintf(kind->text, sizeof kind->text, "$argon2id$v=19$m=%u,t=%u,p=1", memory_kib, passes);
    kind->digest_at = (size_t)end - strlen(digest);
    return true;
}

/* The three letters are of programs; the work is the same. */
static bool read_bcrypt(const char *hash, struct kind *kind, struct error *error)
{
    bool has_cost = strspn(hash + 4, "0123456789") == 2 && hash[6] == '$';
    unsigned cost = has_cost ? (unsigned)strtoul(hash + 4, NULL, 10) : 0;

    if (cost < 4 || !are_crypt64(hash + 7, BCRYPT_SALT + BCRYPT_DIGEST))
        return malformed("bcrypt", error);
    if (cost > BCRYPT_MOST)
        return error_set(error,
                         "a bcrypt hash of cost %u would keep every login waiting; at most "
                         "%d is taken",
                         cost, BCRYPT_MOST);
    snprintf(kind->text, sizeof kind->text, "$2b$%02u$%.*s", cost, BCRYPT_SALT,
             "......................");
    kind->digest_at = 7 + BCRYPT_SALT;
    return true;
}

static bool read_sha_crypt(const char *hash, struct kind *kind, struct error *error)
{
    static const char said[] = "rounds=";
    const char *at = hash + 3;
    unsigned long rounds = ROUNDS;
    char begin[32], *end;

    if (strncmp(at, said, strlen(said)) == 0) {
        at += strlen(said);
        rounds = strtoul(at, &end, 10);
        if (*at < '1' || *at > '9' || *end != '$' || rounds < ROUNDS_LEAST)
            return malformed("SHA-crypt", error);
        if (rounds > ROUNDS_MOST)
            return error_set(error,
                             "a SHA-crypt hash of %lu rounds would keep every login waiting; "
                             "at most %d are taken",
                             rounds, ROUNDS_MOST);
        at = end + 1;
    }
    snprintf(begin, sizeof begin, "$%c$rounds=%lu$", hash[1], rounds);
    return read_salted(hash, at, begin, SHA_SALT_MOST, hash[1] == '5' ? 43 : 86, kind) ||
           malformed("SHA-crypt", error);
}

/* Six bits a letter, and none left over that are set: another salt libcrypt does not take. */
static bool is_whole_salt(const char *salt)
{
    size_t length = strcspn(salt, "$");
    size_t last = length ? (size_t)(strchr(CRYPT64, salt[length - 1]) - CRYPT64) : 0;

    return length % 4 == 0 || (length % 4 == 2 && last < 4) || (length % 4 == 3 && last < 16);
}

/* "$y$jNR$": flavour j, then the letters of log2 N - 1 and of r - 1: 128 N r bytes of memory. */
static bool read_yescrypt(const char *hash, struct kind *kind, struct error *error)
{
    char begin[8] = "";

    if (strspn(hash + 3, CRYPT64) != 3 || hash[3] != 'j' || hash[6] != '$')
        return error_set(error, "a yescrypt hash with parameters that crypt(5) does not give");
    if (!strchr("789AB", hash[4]) || !strchr("5T", hash[5]))
        return error_set(error,
                         "a yescrypt hash of these parameters (%.3s) would cost every login "
                         "more than 64 MiB, or nothing; crypt(5)'s costs 1 to 7 are taken",
                         hash + 3);
    memcpy(begin, hash, 7);
    return (read_salted(hash, hash + 7, begin, YES_SALT_MOST, 43, kind) &&
            is_whole_salt(hash + 7)) ||
           malformed("yescrypt", error);
}

static bool read_apr1(const char *hash, struct kind *kind, struct error *error)
{
    return read_salted(hash, hash + 6, "$apr1$", APR1_SALT, APR1_DIGEST, kind) ||
           malformed("$apr1$", error);
}

static bool read_sha(const char *hash, struct kind *kind, struct error *error)
{
    const char *digest = hash + 5;

    if (strlen(digest) != SHA_DIGEST || strspn(digest, CRYPT64 "+") != SHA_DIGEST - 1 ||
        strchr(digest, '.') || digest[SHA_DIGEST - 1] != '=')
        return malformed("{SHA}", error);
    strcpy(kind->text, "{SHA}");
    kind->digest_at = 5;
    return true;
}

static const struct {
    const char *begin;
    enum kind_scheme scheme;
    bool (*read)(const char *hash, struct kind *kind, struct error *error);
} schemes[] = {
    {"$argon2id$", KIND_ARGON2ID, read_argon2id},
    {"$2a$", KIND_BCRYPT, read_bcrypt},
    {"$2b$", KIND_BCRYPT, read_bcrypt},
    {"$2y$", KIND_BCRYPT, read_bcrypt},
    {"$5$", KIND_SHA_CRYPT, read_sha_crypt},
    {"$6$", KIND_SHA_CRYPT, read_sha_crypt},
    {"$y$", KIND_YESCRYPT, read_yescrypt},
    {"$apr1$", KIND_APR1, read_apr1},
    {"{SHA}", KIND_SHA, read_sha},
};

bool kind_read(const char *hash, struct kind *kind, struct error *error)
{
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++)
        if (strncmp(hash, schemes[i].begin, strlen(schemes[i].begin)) == 0) {
            *kind = (struct kind){.scheme = schemes[i].scheme};
            return schemes[i].read(hash, kind, error);
        }
    return error_set(error,
                     "the hash is none of those that are taken: Argon2id, bcrypt, SHA-crypt, "
                     "yescrypt, $apr1$, {SHA}");
}

enum kind_scheme kind_scheme_of(const char *text)
{
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++)
        if (strncmp(text, schemes[i].begin, strlen(schemes[i].begin)) == 0)
            return schemes[i].scheme;
    return KIND_ARGON2ID;
}

size_t kind_memory_bytes(const char *text)
{
    enum kind_scheme scheme = kind_scheme_of(text);
    unsigned kib = 0;

    if (scheme == KIND_ARGON2ID)
        sscanf(text, "$argon2id$v=19$m=%7u", &kib);
    else if (scheme == KIND_YESCRYPT)
        return (size_t)128 << (strchr(CRYPT64, text[4]) - CRYPT64 + 1) << (text[5] == 'T' ? 5 : 3);
    return kib ? (size_t)kib << 10 : 64 << 10; /* bcrypt's tables, and what libcrypt works in */
}

bool kinds_have(const struct kinds *kinds, const char *text)
{
    for (size_t i = 0; i < kinds->n; i++)
        if (strcmp(kinds->texts[i], text) == 0)
            return true;
    return false;
}
