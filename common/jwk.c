/*
 * One key: a JWK or a PEM in, and out again; OpenSSL's keys stay behind this file.
 *
 * A key is admitted only when everything it says of itself agrees: the name wanted with `kid`,
 * `alg` with `kty`, the curve, the length, `use` and `key_ops`.  A key which got in here can be
 * used without another question.  Where keys lie and who may touch them is keyring.c's and
 * keyfile.c's part, which of them a token needs token.c's.
 */
#include "common/jwk.h"
#include "common/memory.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <sodium.h>

#define RSA_MIN_BITS         2048
#define RSA_MAX_BITS         8192
#define RSA_NEW_BITS         3072
#define BASE64URL            sodium_base64_VARIANT_URLSAFE_NO_PADDING
#define COORDINATE_MAX_BYTES 66
#define ES_DER_MAX_BYTES     (2 * COORDINATE_MAX_BYTES + 16) /* a pair of numbers with their frames */

/* clang-format off */
static const struct {
    const char *name, *type, *curve, *digest; /* the digest of RS and ES alone */
    size_t bytes; /* of the shortest secret and of the MAC; of a coordinate */
} algorithms[KEY_ALGORITHMS] = {
    [KEY_HS256] = {"HS256", "oct", NULL,    NULL,     32},
    [KEY_HS384] = {"HS384", "oct", NULL,    NULL,     48},
    [KEY_HS512] = {"HS512", "oct", NULL,    NULL,     64},
    [KEY_RS256] = {"RS256", "RSA", NULL,    "SHA256", 0},
    [KEY_RS384] = {"RS384", "RSA", NULL,    "SHA384", 0},
    [KEY_RS512] = {"RS512", "RSA", NULL,    "SHA512", 0},
    [KEY_ES256] = {"ES256", "EC",  "P-256", "SHA256", 32},
    [KEY_ES384] = {"ES384", "EC",  "P-384", "SHA384", 48},
    [KEY_ES512] = {"ES512", "EC",  "P-521", "SHA512", 66},
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

static bool is_secret(enum key_algorithm algorithm)
{
    return strcmp(algorithms[algorithm].type, "oct") == 0;
}

static bool is_rsa(enum key_algorithm algorithm)
{
    return strcmp(algorithms[algorithm].type, "RSA") == 0;
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
    return error_set(jwk->error, "%s: %s", jwk->where, what);
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
/* Everything a key says of itself in words; the numbers come after. */
static bool check_words(struct jwk *jwk)
{
    const char *algorithm = json_string_value(json_object_get(jwk->members, "alg"));

    if (!algorithm)
        return refuse(jwk, "needs an \"alg\", the one algorithm it is used with");
    jwk->algorithm = key_algorithm_find(algorithm, strlen(algorithm));
    if (jwk->algorithm == KEY_ALGORITHMS)
        return refuse(jwk, "\"alg\" must be HS, RS or ES with 256, 384 or 512");
    return check_text(jwk, "kid", jwk->kid) &&
           check_text(jwk, "kty", algorithms[jwk->algorithm].type) &&
           (!algorithms[jwk->algorithm].curve ||
            check_text(jwk, "crv", algorithms[jwk->algorithm].curve)) &&
           (!json_object_get(jwk->members, "use") || check_text(jwk, "use", "sig")) &&
           check_operations(jwk);
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

/* The PEM of the private half, NUL-ended, as libjwt takes it.  The mem BIO wipes what it frees. */
static bool make_pem(struct key *key)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *text;

    if (bio && PEM_write_bio_PrivateKey(bio, key->pkey, NULL, NULL, 0, NULL, NULL) == 1) {
        key->material_bytes = (size_t)BIO_get_mem_data(bio, &text);
        key->material = memory_copy(text, key->material_bytes);
    }
    BIO_free(bio);
    return key->material;
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

/*
 * Ready to verify, so that a token costs no more than a copy of it: to look the digest up and set
 * it up anew each time costs OpenSSL 3.0 a tenth more, and a lock that all threads share.
 */
static EVP_MD_CTX *make_verifier(enum key_algorithm algorithm, EVP_PKEY *pkey)
{
    EVP_MD_CTX *verifier = EVP_MD_CTX_new();

    if (verifier && EVP_DigestVerifyInit_ex(verifier, NULL, algorithms[algorithm].digest, NULL,
                                            NULL, pkey, NULL) == 1)
        return verifier;
    EVP_MD_CTX_free(verifier);
    return NULL;
}

/* `key` takes the pair, which may be NULL. */
static bool take_pair(const struct jwk *jwk, EVP_PKEY *pkey, struct key *key)
{
    key->pkey = pkey;
    if (!pkey)
        return false;
    key->signature_bytes = is_rsa(jwk->algorithm) ? (size_t)EVP_PKEY_get_size(pkey)
                                                  : 2 * algorithms[jwk->algorithm].bytes;
    key->verifier = make_verifier(jwk->algorithm, pkey);
    if (!key->verifier || (jwk->is_private && !make_pem(key)))
        return refuse(jwk, "OpenSSL cannot use the key");
    return true;
}

/* The numbers r and s, a half each (RFC 7518, 3.4), as DER; OpenSSL judges what they are worth. */
static int signature_to_der(const struct key *key, const unsigned char *signature,
                            unsigned char **der)
{
    int half = (int)key->signature_bytes / 2, bytes = -1;
    BIGNUM *r = BN_bin2bn(signature, half, NULL), *s = BN_bin2bn(signature + half, half, NULL);
    ECDSA_SIG *pair = ECDSA_SIG_new();

    if (r && s && pair && ECDSA_SIG_set0(pair, r, s) == 1) {
        r = s = NULL;
        bytes = i2d_ECDSA_SIG(pair, der);
    }
    BN_free(r);
    BN_free(s);
    ECDSA_SIG_free(pair);
    return bytes;
}

static struct key *key_new(enum key_algorithm algorithm)
{
    struct key *key = memory_zeroed(1, sizeof *key);

    key->algorithm = algorithm;
    return key;
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

/* Asked for the pass phrase of an encrypted PEM: there is none, and no terminal to ask. */
static int no_passphrase(char *text, int size, int writing, void *context)
{
    (void)text, (void)size, (void)writing, (void)context;
    return -1;
}

/* The private half where the text holds it, which `is_private` says then; else the public one. */
static EVP_PKEY *read_pem(struct jwk *pem, const char *text, size_t bytes)
{
    BIO *bio = BIO_new_mem_buf(text, (int)bytes);
    EVP_PKEY *pkey = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);

    pem->is_private = pkey;
    if (!pkey && BIO_reset(bio) == 1)
        pkey = PEM_read_bio_PUBKEY(bio, NULL, no_passphrase, NULL);
    if (!pkey)
        refuse(pem, "holds no PEM of a public key nor of an unencrypted private key; "
                    "`openssl pkey -in FILE` writes one");
    else if (!check_pkey(pem, pkey) || (pem->is_private && !are_halves(pkey, pkey) &&
                                        !refuse(pem, "the private half does not fit the public"))) {
        EVP_PKEY_free(pkey);
        pkey = NULL;
    }
    BIO_free(bio);
    return pkey;
}

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

bool key_algorithm_fits(enum key_algorithm algorithm, const json_t *members)
{
    const char *type = json_string_value(json_object_get(members, "kty"));
    const char *curve = json_string_value(json_object_get(members, "crv"));

    return type && strcmp(type, algorithms[algorithm].type) == 0 &&
           (!algorithms[algorithm].curve ||
            (curve && strcmp(curve, algorithms[algorithm].curve) == 0));
}

const char *jwk_private_member(const json_t *members)
{
    for (size_t i = 0; i < PRIVATE_MEMBERS; i++)
        if (json_object_get(members, private_members[i]))
            return private_members[i];
    return NULL;
}

struct key *key_from_jwk(struct jwk *jwk)
{
    struct key *key = NULL;

    if (!check_words(jwk))
        return NULL;
    key = key_new(jwk->algorithm);
    key->id = memory_copy(jwk->kid, strlen(jwk->kid));
    if (is_secret(jwk->algorithm)
            ? !read_secret(jwk, key)
            : !take_pair(jwk, is_rsa(jwk->algorithm) ? rsa_pkey(jwk) : ec_pkey(jwk), key))
        key_free(&key);
    return key;
}

struct key *key_from_pem(struct jwk *pem, const char *text, size_t bytes)
{
    struct key *key = key_new(pem->algorithm);

    if (!take_pair(pem, read_pem(pem, text, bytes), key))
        key_free(&key);
    return key;
}

struct key *key_from_base64url(const struct jwk *secret, const char *text, size_t bytes)
{
    struct key *key = key_new(secret->algorithm);
    size_t minimum = algorithms[secret->algorithm].bytes;

    while (bytes > 0 && memchr(" \t\r\n", text[bytes - 1], 4))
        bytes--;
    while (bytes > 0 && text[bytes - 1] == '=')
        bytes--;
    key->signature_bytes = minimum;
    key->material = memory_new(bytes + 1);
    if (sodium_base642bin(key->material, bytes, text, bytes, NULL, &key->material_bytes, NULL,
                          BASE64URL) == 0 &&
        key->material_bytes >= minimum)
        return key;
    refuse(secret,
           "%s needs a secret of %zu bytes or more, written in base64url alone on a line; a "
           "PEM holds a pair, for RS or ES",
           algorithms[secret->algorithm].name, minimum);
    key_free(&key);
    return NULL;
}

bool key_algorithm_is_secret(enum key_algorithm algorithm)
{
    return is_secret(algorithm);
}

struct key *key_generate(enum key_algorithm algorithm, struct error *error)
{
    const struct jwk jwk = {
        .where = "a new key", .is_private = true, .algorithm = algorithm, .error = error};
    struct key *key = key_new(algorithm);

    if (is_secret(algorithm)) {
        key->material_bytes = key->signature_bytes = algorithms[algorithm].bytes;
        key->material = memory_new(key->material_bytes);
        randombytes_buf(key->material, key->material_bytes);
    } else if (!take_pair(&jwk,
                          is_rsa(algorithm)
                              ? EVP_RSA_gen(RSA_NEW_BITS)
                              : EVP_PKEY_Q_keygen(NULL, NULL, "EC", algorithms[algorithm].curve),
                          key)) {
        error_set(error, "OpenSSL cannot make a key for %s", algorithms[algorithm].name);
        key_free(&key);
    }
    return key;
}

json_t *key_to_jwk(const struct key *key, const char *kid, bool private_half)
{
    json_t *jwk =
        json_pack("{s:s, s:s, s:s, s:s}", "kid", kid, "kty", algorithms[key->algorithm].type, "alg",
                  algorithms[key->algorithm].name, "use", "sig");
    bool whole = true;

    if (is_secret(key->algorithm))
        add_bytes(jwk, "k", key->material, key->material_bytes);
    else
        whole = is_rsa(key->algorithm) ? add_rsa(jwk, key->pkey, private_half)
                                       : add_ec(jwk, key->pkey, key->algorithm, private_half);
    if (!whole) {
        json_decref(jwk);
        jwk = NULL;
    }
    return jwk;
}

bool key_verify(const struct key *key, const char *text, size_t bytes,
                const unsigned char *signature)
{
    unsigned char encoded[ES_DER_MAX_BYTES], *der = encoded;
    EVP_MD_CTX *verifier = EVP_MD_CTX_new();
    size_t signature_bytes = key->signature_bytes;
    bool holds = verifier && EVP_MD_CTX_copy_ex(verifier, key->verifier) == 1;

    if (holds && !is_rsa(key->algorithm)) {
        int n = signature_to_der(key, signature, &der);

        holds = n > 0;
        signature = encoded;
        signature_bytes = (size_t)n;
    }
    holds = holds && EVP_DigestVerify(verifier, signature, signature_bytes,
                                      (const unsigned char *)text, bytes) == 1;
    EVP_MD_CTX_free(verifier);
    ERR_clear_error();
    return holds;
}

bool key_signs_for(const struct key *signing, const struct key *verifying)
{
    return signing->algorithm == verifying->algorithm && are_halves(signing->pkey, verifying->pkey);
}

void key_free(struct key **key)
{
    if (!*key)
        return;
    EVP_MD_CTX_free((*key)->verifier);
    EVP_PKEY_free((*key)->pkey);
    memory_free_wiped((*key)->material);
    free((*key)->id);
    free(*key);
    *key = NULL;
}
