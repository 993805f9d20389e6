/*
 * The keys: JWK files in, what libjwt takes out (a secret's bytes, or a PEM).
 *
 * A key is admitted only when everything it says of itself agrees: the file's name with `kid`,
 * `alg` with `kty`, the curve, the length, `use`, `key_ops`, and the place it lies in with the half
 * of the pair it holds.  A key which got in here can be used without another question; token.c asks
 * only which one.  Where files lie, who may touch them and how they are written is keyfile.c's
 * part.
 */
#include "common/keyring.h"
#include "common/clock.h"
#include "common/keyfile.h"
#include "common/memory.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <sodium.h>

#define RSA_MIN_BITS         2048
#define RSA_MAX_BITS         8192
#define RSA_NEW_BITS         3072
#define BASE64URL            sodium_base64_VARIANT_URLSAFE_NO_PADDING
#define COORDINATE_MAX_BYTES 66

/* clang-format off */
static const struct {
    const char *name, *type, *curve;
    size_t bytes; /* of the shortest secret and of the MAC; of a coordinate */
} algorithms[KEY_ALGORITHMS] = {
    [KEY_HS256] = {"HS256", "oct", NULL,    32},
    [KEY_HS384] = {"HS384", "oct", NULL,    48},
    [KEY_HS512] = {"HS512", "oct", NULL,    64},
    [KEY_RS256] = {"RS256", "RSA", NULL,    0},
    [KEY_RS384] = {"RS384", "RSA", NULL,    0},
    [KEY_RS512] = {"RS512", "RSA", NULL,    0},
    [KEY_ES256] = {"ES256", "EC",  "P-256", 32},
    [KEY_ES384] = {"ES384", "EC",  "P-384", 48},
    [KEY_ES512] = {"ES512", "EC",  "P-521", 66},
};

/* The numbers of an RSA key (RFC 7518, 6.3): two public, then the private ones. */
static const struct {
    const char *member, *parameter;
} rsa_numbers[] = {
    {"n",  OSSL_PKEY_PARAM_RSA_N},         {"e",  OSSL_PKEY_PARAM_RSA_E},
    {"d",  OSSL_PKEY_PARAM_RSA_D},         {"p",  OSSL_PKEY_PARAM_RSA_FACTOR1},
    {"q",  OSSL_PKEY_PARAM_RSA_FACTOR2},   {"dp", OSSL_PKEY_PARAM_RSA_EXPONENT1},
    {"dq", OSSL_PKEY_PARAM_RSA_EXPONENT2}, {"qi", OSSL_PKEY_PARAM_RSA_COEFFICIENT1},
};
#define RSA_PUBLIC_NUMBERS 2
#define RSA_NUMBERS        (sizeof rsa_numbers / sizeof rsa_numbers[0])
/* clang-format on */

static const char *const private_members[] = {"d", "p", "q", "dp", "dq", "qi", "oth", "k"};
#define PRIVATE_MEMBERS (sizeof private_members / sizeof private_members[0])

struct keyring {
    atomic_size_t references;
    size_t n_keys;
    struct key **keys;
};

/* A JWK on its way in: where it lies, what it is wanted for, what is in it, where to complain. */
struct jwk {
    const char *path;
    bool is_private; /* in private/: the private half of a pair, readable by its owner alone */
    const char *operation; /* "sign" or "verify" */
    struct error *error;
    struct stat status;
    json_t *members;
    enum key_algorithm algorithm;
};

static bool is_secret(enum key_algorithm algorithm)
{
    return strcmp(algorithms[algorithm].type, "oct") == 0;
}

static bool is_rsa(enum key_algorithm algorithm)
{
    return strcmp(algorithms[algorithm].type, "RSA") == 0;
}

/* jansson's lexer frees copies of what it reads: they must not stay readable. */
static void make_jansson_wipe(void)
{
    json_set_alloc_funcs(malloc, memory_free_wiped);
}

static void prepare(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, make_jansson_wipe);
    if (sodium_init() < 0)
        abort();
}

static bool refuse(const struct jwk *jwk, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static bool refuse(const struct jwk *jwk, const char *format, ...)
{
    char what[512];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    return error_set(jwk->error, "%s: %s", jwk->path, what);
}

/* Read and parse the file: `members` is an object then. */
static bool jwk_open(struct jwk *jwk)
{
    char text[KEYFILE_MAX_BYTES];
    size_t bytes;
    json_error_t where;
    bool read = keyfile_read(jwk->path, jwk->is_private, text, &bytes, &jwk->status, jwk->error);

    if (read)
        jwk->members = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, &where);
    sodium_memzero(text, sizeof text);
    if (!read)
        return false;
    if (!jwk->members) /* without where.text, which quotes what stands near the fault */
        return refuse(jwk, "line %d: is not JSON, or repeats a member", where.line);
    return json_is_object(jwk->members) || refuse(jwk, "is not a JSON object");
}

/* The member `name` must be a string equal to `value`. */
static bool check_text(const struct jwk *jwk, const char *name, const char *value)
{
    const char *text = json_string_value(json_object_get(jwk->members, name));

    if (text && strcmp(text, value) == 0)
        return true;
    return refuse(jwk, "\"%s\" must be \"%s\"", name, value);
}

/* `key_ops`, where present: "sign", "verify" or both, and among them what we want the key for. */
static bool check_operations(const struct jwk *jwk)
{
    const json_t *operations = json_object_get(jwk->members, "key_ops");
    size_t n = json_array_size(operations), n_signs = 0, n_verifies = 0;

    if (!operations)
        return true;
    for (size_t i = 0; i < n; i++) {
        const char *operation = json_string_value(json_array_get(operations, i));

        n_signs += operation && strcmp(operation, "sign") == 0;
        n_verifies += operation && strcmp(operation, "verify") == 0;
    }
    if (n_signs <= 1 && n_verifies <= 1 && n_signs + n_verifies == n &&
        (*jwk->operation == 's' ? n_signs : n_verifies))
        return true;
    return refuse(jwk, "\"key_ops\" must be a list of \"sign\" and \"verify\" with \"%s\" in it",
                  jwk->operation);
}

/* What lies in the folder itself is read by the gateway, which must never be able to sign. */
static bool check_place(const struct jwk *jwk)
{
    if (is_secret(jwk->algorithm)) {
        if (jwk->is_private)
            return refuse(jwk, "an \"oct\" key belongs in the folder above private/");
        return keyfile_check_secret(jwk->path, &jwk->status, jwk->error);
    }
    for (size_t i = 0; !jwk->is_private && i < PRIVATE_MEMBERS; i++)
        if (json_object_get(jwk->members, private_members[i]))
            return refuse(jwk,
                          "holds the private member \"%s\": move the file into private/, "
                          "leave only the public half here, and replace this key if others "
                          "could read it",
                          private_members[i]);
    return true;
}

/* Everything a key says of itself in words; the numbers come after. */
static bool check_words(struct jwk *jwk, const char *name)
{
    const char *algorithm = json_string_value(json_object_get(jwk->members, "alg"));

    if (!algorithm)
        return refuse(jwk, "needs an \"alg\", the one algorithm it is used with");
    jwk->algorithm = key_algorithm_find(algorithm, strlen(algorithm));
    if (jwk->algorithm == KEY_ALGORITHMS)
        return refuse(jwk, "\"alg\" must be HS, RS or ES with 256, 384 or 512");
    return check_text(jwk, "kid", name) &&
           check_text(jwk, "kty", algorithms[jwk->algorithm].type) &&
           (!algorithms[jwk->algorithm].curve ||
            check_text(jwk, "crv", algorithms[jwk->algorithm].curve)) &&
           (!json_object_get(jwk->members, "use") || check_text(jwk, "use", "sig")) &&
           check_operations(jwk) && check_place(jwk);
}

/* The bytes of a base64url member, strictly read.  The caller wipes and frees. */
static unsigned char *decode_member(const struct jwk *jwk, const char *name, size_t *bytes)
{
    const json_t *member = json_object_get(jwk->members, name);
    size_t length = json_string_length(member);
    unsigned char *decoded = memory_new(length + 1);

    if (length > 0 && sodium_base642bin(decoded, length, json_string_value(member), length, NULL,
                                        bytes, NULL, BASE64URL) == 0)
        return decoded;
    memory_free_wiped(decoded);
    refuse(jwk, "\"%s\" must be base64url without padding", name);
    return NULL;
}

/* A big-endian number as OSSL_PARAM wants it: in the machine's own order. */
static OSSL_PARAM number_parameter(const char *name, unsigned char *number, size_t bytes)
{
    if (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__)
        for (size_t i = 0; i < bytes / 2; i++) {
            unsigned char swapped = number[i];

            number[i] = number[bytes - 1 - i];
            number[bytes - 1 - i] = swapped;
        }
    return OSSL_PARAM_construct_BN(name, number, bytes);
}

/* 2048 bits at least; an odd exponent of 17 to 64 bits, since 1 would let anybody sign. */
static bool check_rsa(const struct jwk *jwk, const EVP_PKEY *pkey)
{
    BIGNUM *n = NULL, *e = NULL;
    bool fits = false;

    if (EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_RSA_N, &n) != 1 ||
        EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_RSA_E, &e) != 1)
        refuse(jwk, "OpenSSL cannot read the RSA key");
    else if (BN_num_bits(n) < RSA_MIN_BITS || BN_num_bits(n) > RSA_MAX_BITS || !BN_is_odd(n))
        refuse(jwk, "an RSA modulus of %d bits: it must be odd and have %d to %d", BN_num_bits(n),
               RSA_MIN_BITS, RSA_MAX_BITS);
    else if (BN_num_bits(e) < 17 || BN_num_bits(e) > 64 || !BN_is_odd(e))
        refuse(jwk, "the RSA exponent must be odd and have 17 to 64 bits, as 65537 has");
    else
        fits = true;
    BN_free(n);
    BN_free(e);
    return fits;
}

static bool check_ec(const struct jwk *jwk, EVP_PKEY *pkey)
{
    const char *curve = algorithms[jwk->algorithm].curve;
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_pkey(NULL, pkey, NULL);
    char group[64];
    bool sound = false;

    if (EVP_PKEY_get_group_name(pkey, group, sizeof group, NULL) != 1 ||
        OBJ_sn2nid(group) != EC_curve_nist2nid(curve))
        refuse(jwk, "%s needs the curve %s", algorithms[jwk->algorithm].name, curve);
    else if (!context || EVP_PKEY_public_check(context) != 1)
        refuse(jwk, "the point is not on the curve %s", curve);
    else
        sound = true;
    EVP_PKEY_CTX_free(context);
    return sound;
}

static bool check_pkey(const struct jwk *jwk, EVP_PKEY *pkey)
{
    const char *type = algorithms[jwk->algorithm].type;

    if (!EVP_PKEY_is_a(pkey, type))
        return refuse(jwk, "is no %s key, which %s needs", type, algorithms[jwk->algorithm].name);
    return is_rsa(jwk->algorithm) ? check_rsa(jwk, pkey) : check_ec(jwk, pkey);
}

static EVP_PKEY *make_pkey(const struct jwk *jwk, OSSL_PARAM *parameters)
{
    EVP_PKEY *pkey = NULL;
    EVP_PKEY_CTX *context;
    int half = jwk->is_private ? EVP_PKEY_KEYPAIR : EVP_PKEY_PUBLIC_KEY;

    context = EVP_PKEY_CTX_new_from_name(NULL, algorithms[jwk->algorithm].type, NULL);
    if (!context || EVP_PKEY_fromdata_init(context) != 1 ||
        EVP_PKEY_fromdata(context, &pkey, half, parameters) != 1) {
        refuse(jwk, "the numbers make no %s key", algorithms[jwk->algorithm].type);
    } else if (!check_pkey(jwk, pkey)) {
        EVP_PKEY_free(pkey);
        pkey = NULL;
    }
    EVP_PKEY_CTX_free(context);
    return pkey;
}

static EVP_PKEY *rsa_pkey(const struct jwk *jwk)
{
    size_t n = jwk->is_private ? RSA_NUMBERS : RSA_PUBLIC_NUMBERS, bytes[RSA_NUMBERS];
    unsigned char *numbers[RSA_NUMBERS] = {NULL};
    OSSL_PARAM parameters[RSA_NUMBERS + 1];
    EVP_PKEY *pkey = NULL;

    for (size_t i = 0; i < n; i++)
        if (!(numbers[i] = decode_member(jwk, rsa_numbers[i].member, &bytes[i])))
            goto done;
    for (size_t i = 0; i < n; i++)
        parameters[i] = number_parameter(rsa_numbers[i].parameter, numbers[i], bytes[i]);
    parameters[n] = OSSL_PARAM_construct_end();
    pkey = make_pkey(jwk, parameters);
done:
    for (size_t i = 0; i < n; i++)
        memory_free_wiped(numbers[i]);
    return pkey;
}

/* A coordinate or the private number: as many bytes as the curve's field (RFC 7518, 6.2). */
static unsigned char *decode_coordinate(const struct jwk *jwk, const char *name)
{
    size_t bytes, wanted = algorithms[jwk->algorithm].bytes;
    unsigned char *number = decode_member(jwk, name, &bytes);

    if (number && bytes != wanted) {
        refuse(jwk, "\"%s\" has %zu bytes, %zu are needed", name, bytes, wanted);
        memory_free_wiped(number);
        number = NULL;
    }
    return number;
}

static EVP_PKEY *ec_pkey(const struct jwk *jwk)
{
    size_t bytes = algorithms[jwk->algorithm].bytes;
    char curve[] = "P-xxx";
    unsigned char point[1 + 2 * COORDINATE_MAX_BYTES] = {POINT_CONVERSION_UNCOMPRESSED};
    unsigned char *x = NULL, *y = NULL, *d = NULL;
    OSSL_PARAM parameters[4], *next = parameters;
    EVP_PKEY *pkey = NULL;

    if (!(x = decode_coordinate(jwk, "x")) || !(y = decode_coordinate(jwk, "y")) ||
        (jwk->is_private && !(d = decode_coordinate(jwk, "d"))))
        goto done;
    memcpy(curve, algorithms[jwk->algorithm].curve, sizeof curve);
    memcpy(point + 1, x, bytes);
    memcpy(point + 1 + bytes, y, bytes);
    *next++ = OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, curve, 0);
    *next++ = OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, point, 1 + 2 * bytes);
    if (d)
        *next++ = number_parameter(OSSL_PKEY_PARAM_PRIV_KEY, d, bytes);
    *next = OSSL_PARAM_construct_end();
    pkey = make_pkey(jwk, parameters);
done:
    memory_free_wiped(x);
    memory_free_wiped(y);
    memory_free_wiped(d);
    return pkey;
}

/* The PEM text of one half, NUL-ended, as libjwt takes it.  The mem BIO wipes what it frees. */
static unsigned char *make_pem(EVP_PKEY *pkey, bool private_half, size_t *bytes)
{
    unsigned char *pem = NULL;
    BIO *bio = BIO_new(BIO_s_mem());
    char *text;

    if (bio && (private_half ? PEM_write_bio_PrivateKey(bio, pkey, NULL, NULL, 0, NULL, NULL)
                             : PEM_write_bio_PUBKEY(bio, pkey)) == 1) {
        *bytes = (size_t)BIO_get_mem_data(bio, &text);
        pem = memory_copy(text, *bytes);
    }
    BIO_free(bio);
    return pem;
}

static bool read_secret(const struct jwk *jwk, struct key *key)
{
    size_t minimum = algorithms[jwk->algorithm].bytes;

    key->material = decode_member(jwk, "k", &key->material_bytes);
    if (!key->material)
        return false;
    if (key->material_bytes < minimum)
        return refuse(jwk, "\"k\" has %zu bytes, %s needs %zu at least", key->material_bytes,
                      algorithms[jwk->algorithm].name, minimum);
    key->signature_bytes = minimum;
    return true;
}

static bool read_pair(const struct jwk *jwk, struct key *key)
{
    EVP_PKEY *pkey = is_rsa(jwk->algorithm) ? rsa_pkey(jwk) : ec_pkey(jwk);

    if (!pkey)
        return false;
    key->signature_bytes = is_rsa(jwk->algorithm) ? (size_t)EVP_PKEY_get_size(pkey)
                                                  : 2 * algorithms[jwk->algorithm].bytes;
    key->material = make_pem(pkey, jwk->is_private, &key->material_bytes);
    EVP_PKEY_free(pkey);
    return key->material || refuse(jwk, "OpenSSL cannot write the key as PEM");
}

/* Fill `key` from the file of that name in the folder, or in its private/. */
static struct key *read_key(const char *folder, const char *name, bool is_private,
                            const char *operation, struct error *error)
{
    char path[PATH_MAX];
    struct jwk jwk = {
        .path = path, .is_private = is_private, .operation = operation, .error = error};
    struct key *key = memory_zeroed(1, sizeof *key);
    bool sound = false;

    if (keyfile_path(path, error, "%s/%s%s.jwk", folder, is_private ? "private/" : "", name) &&
        jwk_open(&jwk) && check_words(&jwk, name)) {
        key->algorithm = jwk.algorithm;
        key->id = memory_copy(name, strlen(name));
        sound = is_secret(jwk.algorithm) ? read_secret(&jwk, key) : read_pair(&jwk, key);
    }
    json_decref(jwk.members);
    if (!sound)
        key_free(&key);
    return key;
}

static bool read_all(struct keyring *keyring, const char *folder, struct dirent **files, int n,
                     struct error *error)
{
    char name[KEYFILE_NAME_BYTES];

    for (int i = 0; i < n; i++) {
        if (!keyfile_name(files[i]->d_name, name))
            return error_set(error,
                             "%s/%s: a key's name has 1 to %d letters, digits, '.', '_' or '-'",
                             folder, files[i]->d_name, KEYFILE_NAME_BYTES - 1);
        keyring->keys[keyring->n_keys] = read_key(folder, name, false, "verify", error);
        if (!keyring->keys[keyring->n_keys])
            return false;
        keyring->n_keys++;
    }
    return true;
}

/* As the shell's *.jwk: what begins with a dot is an editor's, or not finished. */
static int is_key_file(const struct dirent *file)
{
    size_t length = strlen(file->d_name);

    return file->d_name[0] != '.' && length >= 4 && strcmp(file->d_name + length - 4, ".jwk") == 0;
}

/* Does the one verify what the other signs?  Private numbers that cannot sign are found so, too. */
static bool are_halves(EVP_PKEY *private, EVP_PKEY *public)
{
    static const unsigned char probe[] = "are you two halves of one key?";
    unsigned char signature[RSA_MAX_BITS / 8];
    size_t bytes = sizeof signature;
    EVP_MD_CTX *sign = EVP_MD_CTX_new(), *verify = EVP_MD_CTX_new();
    bool fit = private && public && sign && verify &&
               EVP_DigestSignInit(sign, NULL, EVP_sha256(), NULL, private) == 1 &&
               EVP_DigestSign(sign, signature, &bytes, probe, sizeof probe) == 1 &&
               EVP_DigestVerifyInit(verify, NULL, EVP_sha256(), NULL, public) == 1 &&
               EVP_DigestVerify(verify, signature, bytes, probe, sizeof probe) == 1;

    EVP_MD_CTX_free(sign);
    EVP_MD_CTX_free(verify);
    return fit;
}

/* Else nobody could verify what is signed. */
static bool check_halves(const struct key *signing, const struct key *verifying, const char *folder,
                         struct error *error)
{
    BIO *private_pem = BIO_new_mem_buf(signing->material, (int)signing->material_bytes);
    BIO *public_pem = BIO_new_mem_buf(verifying->material, (int)verifying->material_bytes);
    EVP_PKEY *private = PEM_read_bio_PrivateKey(private_pem, NULL, NULL, NULL);
    EVP_PKEY *public = PEM_read_bio_PUBKEY(public_pem, NULL, NULL, NULL);
    bool fit = signing->algorithm == verifying->algorithm && are_halves(private, public);

    EVP_PKEY_free(private);
    EVP_PKEY_free(public);
    BIO_free(private_pem);
    BIO_free(public_pem);
    return fit || error_set(error, "%s: %s.jwk and private/%s.jwk are not halves of one key",
                            folder, signing->id, signing->id);
}

static struct key *read_signing(const char *folder, const char *name, bool is_private,
                                struct error *error)
{
    struct key *key = read_key(folder, name, is_private, "sign", error), *verifying = NULL;
    bool sound = false;

    if (key && !is_private)
        sound = is_secret(key->algorithm) ||
                error_set(error, "%s/%s.jwk is a public half: it cannot sign", folder, name);
    else if (key && (verifying = read_key(folder, name, false, "verify", error)))
        sound = check_halves(key, verifying, folder, error);
    key_free(&verifying);
    if (!sound)
        key_free(&key);
    return key;
}

/* --- Writing ------------------------------------------------------------------------------- */

static bool write_jwk(const char *folder, const char *name, mode_t mode, const json_t *jwk,
                      struct error *error)
{
    char *text = json_dumps(jwk, JSON_INDENT(4));
    bool written = text ? keyfile_write(folder, name, mode, text, error)
                        : error_set(error, "%s: out of memory", name);

    memory_free_wiped(text);
    return written;
}

static void add_bytes(json_t *jwk, const char *member, const unsigned char *bytes, size_t n)
{
    size_t size = sodium_base64_encoded_len(n, BASE64URL);
    char *text = memory_new(size);

    sodium_bin2base64(text, size, bytes, n, BASE64URL);
    json_object_set_new(jwk, member, json_string(text));
    memory_free_wiped(text);
}

/* Big-endian, in as few bytes as it needs, or in exactly `width`. */
static bool add_number(json_t *jwk, const char *member, const EVP_PKEY *pkey, const char *parameter,
                       size_t width)
{
    BIGNUM *number = NULL;
    unsigned char bytes[RSA_MAX_BITS / 8];
    bool fits = false;

    if (EVP_PKEY_get_bn_param(pkey, parameter, &number) == 1) {
        if (width == 0)
            width = (size_t)BN_num_bytes(number);
        fits = width <= sizeof bytes && BN_bn2binpad(number, bytes, (int)width) >= 0;
        if (fits)
            add_bytes(jwk, member, bytes, width);
        sodium_memzero(bytes, sizeof bytes);
    }
    BN_clear_free(number);
    return fits;
}

static bool add_rsa(json_t *jwk, const EVP_PKEY *pkey, bool private_half)
{
    for (size_t i = 0; i < (private_half ? RSA_NUMBERS : RSA_PUBLIC_NUMBERS); i++)
        if (!add_number(jwk, rsa_numbers[i].member, pkey, rsa_numbers[i].parameter, 0))
            return false;
    return true;
}

static bool add_ec(json_t *jwk, const EVP_PKEY *pkey, enum key_algorithm algorithm,
                   bool private_half)
{
    size_t width = algorithms[algorithm].bytes;

    json_object_set_new(jwk, "crv", json_string(algorithms[algorithm].curve));
    return add_number(jwk, "x", pkey, OSSL_PKEY_PARAM_EC_PUB_X, width) &&
           add_number(jwk, "y", pkey, OSSL_PKEY_PARAM_EC_PUB_Y, width) &&
           (!private_half || add_number(jwk, "d", pkey, OSSL_PKEY_PARAM_PRIV_KEY, width));
}

static json_t *describe(enum key_algorithm algorithm, const char *name)
{
    return json_pack("{s:s, s:s, s:s, s:s}", "kid", name, "kty", algorithms[algorithm].type, "alg",
                     algorithms[algorithm].name, "use", "sig");
}

static bool write_half(const char *folder, const char *name, enum key_algorithm algorithm,
                       const EVP_PKEY *pkey, bool private_half, struct error *error)
{
    json_t *jwk = describe(algorithm, name);
    bool written = false;

    if (is_rsa(algorithm) ? add_rsa(jwk, pkey, private_half)
                          : add_ec(jwk, pkey, algorithm, private_half))
        written = write_jwk(folder, name, private_half ? 0600 : 0640, jwk, error);
    else
        error_set(error, "%s: OpenSSL does not give the numbers of the key", name);
    json_decref(jwk);
    return written;
}

static bool write_secret(const char *folder, const char *name, enum key_algorithm algorithm,
                         struct error *error)
{
    unsigned char secret[64];
    json_t *jwk = describe(algorithm, name);
    bool written;

    randombytes_buf(secret, algorithms[algorithm].bytes);
    add_bytes(jwk, "k", secret, algorithms[algorithm].bytes);
    sodium_memzero(secret, sizeof secret);
    written = write_jwk(folder, name, 0640, jwk, error);
    json_decref(jwk);
    return written;
}

/* The private half first: a public half that stands alone would be believed already. */
static bool write_pair(const char *folder, const char *name, enum key_algorithm algorithm,
                       const EVP_PKEY *pkey, struct error *error)
{
    char private[PATH_MAX], path[PATH_MAX];

    if (!keyfile_make_private(private, folder, error) ||
        !keyfile_path(path, error, "%s/%s.jwk", private, name) ||
        !write_half(private, name, algorithm, pkey, true, error))
        return false;
    if (write_half(folder, name, algorithm, pkey, false, error))
        return true;
    unlink(path);
    return false;
}

static EVP_PKEY *new_pkey(enum key_algorithm algorithm)
{
    return is_rsa(algorithm) ? EVP_RSA_gen(RSA_NEW_BITS)
                             : EVP_PKEY_Q_keygen(NULL, NULL, "EC", algorithms[algorithm].curve);
}

/* The name wanted, or one from the day and random letters: "20260131-kqzmwa". */
static bool choose_name(const char *name, char chosen[KEYFILE_NAME_BYTES], struct error *error)
{
    time_t now = (time_t)clock_wall_s();
    struct tm day;
    size_t length;

    if (name)
        return keyfile_check_name(name, error) && strcpy(chosen, name);
    length = strftime(chosen, KEYFILE_NAME_BYTES - 6, "%Y%m%d-", gmtime_r(&now, &day));
    for (size_t i = 0; i < 6; i++)
        chosen[length++] = (char)('a' + randombytes_uniform(26));
    chosen[length] = '\0';
    return true;
}

/* Asked for the pass phrase of an encrypted PEM: there is none, and no terminal to ask. */
static int no_passphrase(char *text, int size, int writing, void *context)
{
    (void)text, (void)size, (void)writing, (void)context;
    return -1;
}

/* The key in a PEM file; `is_private` says which half it was. */
static EVP_PKEY *read_pem(struct jwk *pem)
{
    char text[KEYFILE_MAX_BYTES];
    size_t bytes;
    BIO *bio = NULL;
    EVP_PKEY *pkey = NULL;

    if (!keyfile_read_foreign(pem->path, text, &bytes, pem->error))
        goto done;
    bio = BIO_new_mem_buf(text, (int)bytes);
    pkey = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
    pem->is_private = pkey;
    if (!pkey && BIO_reset(bio) == 1)
        pkey = PEM_read_bio_PUBKEY(bio, NULL, no_passphrase, NULL);
    if (!pkey)
        refuse(pem, "holds no PEM of a public key nor of an unencrypted private key; "
                    "`openssl pkey -in FILE` writes one");
done:
    BIO_free(bio);
    sodium_memzero(text, sizeof text);
    return pkey;
}

/* --- What others call ------------------------------------------------------------------------ */

const char *key_algorithm_name(enum key_algorithm algorithm)
{
    return algorithms[algorithm].name;
}

enum key_algorithm key_algorithm_find(const char *name, size_t length)
{
    enum key_algorithm algorithm = 0;

    while (algorithm < KEY_ALGORITHMS && (length != strlen(algorithms[algorithm].name) ||
                                          memcmp(name, algorithms[algorithm].name, length) != 0))
        algorithm++;
    return algorithm;
}

void key_free(struct key **key)
{
    if (!*key)
        return;
    memory_free_wiped((*key)->material);
    free((*key)->id);
    free(*key);
    *key = NULL;
}

struct keyring *keyring_read(const char *folder, struct error *error)
{
    struct keyring *keyring = NULL;
    struct dirent **files = NULL;
    int n;

    prepare();
    if (!keyfile_check_folder(folder, false, error))
        return NULL;
    n = scandir(folder, &files, is_key_file, alphasort);
    if (n < 0) {
        error_set(error, "%s: %s", folder, strerror(errno));
        return NULL;
    }
    keyring = memory_zeroed(1, sizeof *keyring);
    atomic_init(&keyring->references, 1);
    keyring->keys = memory_zeroed((size_t)n + 1, sizeof *keyring->keys);
    if (n == 0)
        error_set(error, "%s holds no key: there is no NAME.jwk in it", folder);
    if (n == 0 || !read_all(keyring, folder, files, n, error))
        keyring_put(&keyring);
    while (n > 0)
        free(files[--n]);
    free(files);
    return keyring;
}

struct keyring *keyring_get(struct keyring *keyring)
{
    atomic_fetch_add(&keyring->references, 1);
    return keyring;
}

void keyring_put(struct keyring **keyring)
{
    struct keyring *last = *keyring;

    *keyring = NULL;
    if (!last || atomic_fetch_sub(&last->references, 1) > 1)
        return;
    for (size_t i = 0; i < last->n_keys; i++)
        key_free(&last->keys[i]);
    free(last->keys);
    free(last);
}

const struct key *keyring_find(const struct keyring *keyring, const char *kid)
{
    if (!kid)
        return keyring->n_keys == 1 ? keyring->keys[0] : NULL;
    for (size_t i = 0; i < keyring->n_keys; i++)
        if (strcmp(keyring->keys[i]->id, kid) == 0)
            return keyring->keys[i];
    return NULL;
}

const struct key *keyring_at(const struct keyring *keyring, size_t index)
{
    return index < keyring->n_keys ? keyring->keys[index] : NULL;
}

json_t *keyring_public_jwk(const char *folder, const char *name, struct error *error)
{
    char path[PATH_MAX], text[KEYFILE_MAX_BYTES];
    struct stat status;
    size_t bytes;
    json_t *jwk = NULL;

    prepare();
    if (!keyfile_check_name(name, error) || !keyfile_path(path, error, "%s/%s.jwk", folder, name))
        return NULL;
    if (keyfile_read(path, false, text, &bytes, &status, error)) {
        jwk = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, NULL);
        if (!json_is_object(jwk)) {
            error_set(error, "%s: is no JWK", path);
            json_decref(jwk);
            jwk = NULL;
        }
    }
    sodium_memzero(text, sizeof text);
    for (size_t i = 0; i < PRIVATE_MEMBERS; i++)
        json_object_del(jwk, private_members[i]);
    return jwk;
}

bool keyring_signing_name(const char *folder, char name[64], struct error *error)
{
    bool is_private;

    return keyfile_read_link(folder, name, &is_private, error);
}

struct key *keyring_read_signing(const char *folder, struct error *error)
{
    char name[KEYFILE_NAME_BYTES];
    bool is_private;

    prepare();
    if (!keyfile_check_folder(folder, false, error) ||
        !keyfile_read_link(folder, name, &is_private, error))
        return NULL;
    return read_signing(folder, name, is_private, error);
}

bool keyring_generate(const char *folder, enum key_algorithm algorithm, const char *name,
                      char chosen[64], struct error *error)
{
    EVP_PKEY *pkey;
    bool written;

    prepare();
    if (!keyfile_check_folder(folder, false, error) || !choose_name(name, chosen, error))
        return false;
    if (is_secret(algorithm))
        return write_secret(folder, chosen, algorithm, error);
    pkey = new_pkey(algorithm);
    written =
        pkey ? write_pair(folder, chosen, algorithm, pkey, error)
             : error_set(error, "OpenSSL cannot make a key for %s", algorithms[algorithm].name);
    EVP_PKEY_free(pkey);
    return written;
}

bool keyring_import_pem(const char *folder, const char *path, const char *name,
                        enum key_algorithm algorithm, char chosen[64], struct error *error)
{
    struct jwk pem = {.path = path, .algorithm = algorithm, .error = error};
    EVP_PKEY *pkey;
    bool written = false;

    prepare();
    if (is_secret(algorithm))
        return error_set(error, "%s is for a secret, a PEM holds a pair: name RS or ES",
                         algorithms[algorithm].name);
    if (!keyfile_check_folder(folder, false, error) || !choose_name(name, chosen, error) ||
        !(pkey = read_pem(&pem)))
        return false;
    if (!check_pkey(&pem, pkey))
        written = false;
    else if (!pem.is_private)
        written = write_half(folder, chosen, algorithm, pkey, false, error);
    else
        written = are_halves(pkey, pkey) ? write_pair(folder, chosen, algorithm, pkey, error)
                                         : refuse(&pem, "the private half does not fit the public");
    EVP_PKEY_free(pkey);
    return written;
}

bool keyring_activate(const char *folder, const char *name, struct error *error)
{
    char private[PATH_MAX], path[PATH_MAX];
    struct key *key;
    bool is_private;

    prepare();
    if (!keyfile_check_name(name, error) || !keyfile_check_folder(folder, false, error) ||
        !keyfile_make_private(private, folder, error) ||
        !keyfile_path(path, error, "%s/%s.jwk", private, name))
        return false;
    is_private = access(path, F_OK) == 0;
    key = read_signing(folder, name, is_private, error);
    if (!key)
        return false;
    key_free(&key);
    return keyfile_write_link(folder, name, is_private, error);
}

uint64_t keyring_stamp(const char *folder)
{
    return keyfile_stamp(folder);
}
