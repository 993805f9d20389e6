/*
 * Tokens: what libjwt leaves out stands around it, in one fixed order (token.h).
 *
 * libjwt is handed a token only when nothing is left for it to misjudge: the segments are canonical
 * base64url, header and payload are JSON objects without a repeated name, `alg` is the key's own
 * and the signature has the key's length.  It then does the one thing it is for, the signature; the
 * claims are read from our own parse, never from its.
 *
 * Which keys there are is keyring.c's business; whether a good token was revoked, the caller's.
 */
#include "common/token.h"
#include "common/memory.h"
#include "common/scratch.h"

#include <jwt.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define BASE64URL          sodium_base64_VARIANT_URLSAFE_NO_PADDING
#define MAX_DEPTH          32
#define MAX_NAME_BYTES     255           /* of `sub` and `jti` */
#define LAST_SECOND        253402300799L /* the end of the year 9999 */
#define ID_BYTES           16
#define INTEGER_DIGITS     18
#define DECODED_MAX_BYTES  (TOKEN_MAX_BYTES / 4 * 3)
#define ENCODED_BYTES(raw) (((raw)*4 + 2) / 3)

struct segment {
    const char *text;
    size_t bytes;
};

/* A token on its way through the checks. */
struct candidate {
    struct segment header, payload, signature;
    json_t *protected, *claims; /* header and payload, parsed */
    const struct key *key;
};

static const jwt_alg_t jwt_algorithms[KEY_ALGORITHMS] = {
    [KEY_HS256] = JWT_ALG_HS256, [KEY_HS384] = JWT_ALG_HS384, [KEY_HS512] = JWT_ALG_HS512,
    [KEY_RS256] = JWT_ALG_RS256, [KEY_RS384] = JWT_ALG_RS384, [KEY_RS512] = JWT_ALG_RS512,
    [KEY_ES256] = JWT_ALG_ES256, [KEY_ES384] = JWT_ALG_ES384, [KEY_ES512] = JWT_ALG_ES512,
};

/* Everything up to the next dot. */
static bool take_segment(const char **text, size_t *bytes, struct segment *segment)
{
    const char *dot = memchr(*text, '.', *bytes);

    if (!dot)
        return false;
    segment->text = *text;
    segment->bytes = (size_t)(dot - *text);
    *bytes -= segment->bytes + 1;
    *text = dot + 1;
    return segment->bytes > 0;
}

/* Three segments, the first two not empty.  An empty third is answered later, as unsigned. */
static bool split(const char *text, size_t bytes, struct candidate *candidate)
{
    if (bytes > TOKEN_MAX_BYTES || !take_segment(&text, &bytes, &candidate->header) ||
        !take_segment(&text, &bytes, &candidate->payload))
        return false;
    candidate->signature = (struct segment){text, bytes};
    return true;
}

/* RFC 4648 §5; 64: not in it. */
static unsigned value_of(char c)
{
    /* clang-format off */
    static const unsigned char values['z' - '-' + 1] = {
        62, 64, 64, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 64, 64, 64, 64, 64, 64, 64,
         0,  1,  2,  3,  4,  5,  6,  7,  8,  9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25,
        64, 64, 64, 64, 63, 64,
        26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51};
    /* clang-format on */

    return c < '-' || c > 'z' ? 64 : values[c - '-'];
}

/*
 * Canonical only: no padding, no other alphabet, no stray bits in the last character.  Nothing here
 * is a secret to whoever sends it, so it need not take libsodium's constant time.
 */
static bool decode(const struct segment *segment, char *decoded, size_t size, size_t *bytes)
{
    unsigned kept = 0, n = 0;

    *bytes = 0;
    if (segment->bytes % 4 == 1 || segment->bytes * 3 / 4 > size)
        return false;
    for (size_t i = 0; i < segment->bytes; i++) {
        unsigned value = value_of(segment->text[i]);

        if (value == 64)
            return false;
        kept = kept << 6 | value;
        n += 6;
        if (n >= 8) {
            n -= 8;
            decoded[(*bytes)++] = (char)(kept >> n);
        }
    }
    return (kept & ((1u << n) - 1)) == 0;
}

/* jansson recurses up to 2,048 deep, here and again inside libjwt. */
static bool depth_is_bounded(const char *json, size_t bytes)
{
    size_t depth = 0;
    bool in_string = false;

    for (size_t i = 0; i < bytes; i++) {
        if (in_string) {
            if (json[i] == '\\')
                i++;
            else if (json[i] == '"')
                in_string = false;
        } else if (json[i] == '"') {
            in_string = true;
        } else if (json[i] == '{' || json[i] == '[') {
            if (++depth > MAX_DEPTH)
                return false;
        } else if ((json[i] == '}' || json[i] == ']') && depth > 0) {
            depth--;
        }
    }
    return true;
}

/* Printable ASCII without escapes. */
static bool take_plain_string(const char **at, const char *end, struct segment *string)
{
    if (*at == end || **at != '"')
        return false;
    string->text = ++*at;
    while (*at < end && **at >= ' ' && **at < 0x7f && **at != '"' && **at != '\\')
        ++*at;
    string->bytes = (size_t)(*at - string->text);
    return *at < end && *(*at)++ == '"';
}

/* Such a string, or a positive integer that fits in any case. */
static json_t *take_plain_value(const char **at, const char *end)
{
    struct segment string;
    json_int_t number = 0;
    const char *first = *at;

    if (first < end && *first == '"')
        return take_plain_string(at, end, &string) ? json_stringn_nocheck(string.text, string.bytes)
                                                   : NULL;
    for (; *at < end && **at >= '0' && **at <= '9' && *at - first < INTEGER_DIGITS; ++*at)
        number = 10 * number + (**at - '0');
    return *at > first && *first != '0' ? json_integer(number) : NULL;
}

/*
 * What most tokens hold, without jansson's lexer: one flat object of such names and values, written
 * without white space.  NULL: there is something else in it, or a name twice, and jansson is to
 * judge.
 */
static json_t *parse_plain(const char *at, const char *end)
{
    json_t *object = json_object(), *value;
    struct segment name;
    char before = '{';

    while (at < end && *at == before) {
        at++;
        before = ',';
        if (!take_plain_string(&at, end, &name) || at == end || *at++ != ':' ||
            json_object_getn(object, name.text, name.bytes) ||
            !(value = take_plain_value(&at, end)) ||
            json_object_setn_new_nocheck(object, name.text, name.bytes, value) != 0)
            break;
        if (end - at == 1 && *at == '}')
            return object;
    }
    json_decref(object);
    return NULL;
}

/* An object in which no name stands twice, at any depth, and no string holds a NUL; or NULL.  One
 * that follows a number jansson would pass over. */
static json_t *parse_object(const char *json, size_t bytes)
{
    json_t *parsed = parse_plain(json, json + bytes);

    if (!parsed && !memchr(json, '\0', bytes) && depth_is_bounded(json, bytes))
        parsed = json_loadb(json, bytes, JSON_REJECT_DUPLICATES, NULL);
    if (json_is_object(parsed))
        return parsed;
    json_decref(parsed);
    return NULL;
}

static bool decode_all(struct candidate *candidate, struct token *token)
{
    char scratch[DECODED_MAX_BYTES];
    size_t bytes;

    if (!decode(&candidate->signature, scratch, sizeof scratch, &bytes) ||
        !decode(&candidate->header, scratch, sizeof scratch, &bytes))
        return false;
    candidate->protected = parse_object(scratch, bytes);
    if (!candidate->protected ||
        !decode(&candidate->payload, scratch, sizeof scratch, &token->payload_bytes))
        return false;
    token->payload = memory_copy(scratch, token->payload_bytes);
    candidate->claims = parse_object(token->payload, token->payload_bytes);
    return candidate->claims;
}

/*
 * `crit` and `b64` (RFC 7515 §4.1.11, RFC 7797) change what a signature means; nothing here knows
 * how. `typ` may be missing or JWT; of other issuers also RFC 9068's at+jwt.  (Of our own it is
 * refused: libjwt before 1.12 takes no token that bears it, and both must judge alike.)
 */
static bool header_is_plain(const json_t *header, bool is_ours)
{
    const json_t *type = json_object_get(header, "typ"), *kid = json_object_get(header, "kid");
    const char *word = type ? json_string_value(type) : "JWT";

    return !json_object_get(header, "crit") && !json_object_get(header, "b64") && word &&
           (strcasecmp(word, "JWT") == 0 || (!is_ours && strcasecmp(word, "at+jwt") == 0)) &&
           (kid ? json_is_string(kid) : is_ours) && json_is_string(json_object_get(header, "alg"));
}

/* The key is one of ours, and the algorithm is the key's: never the token's choice. */
static enum token_result choose_key(const struct keyring *keyring, struct candidate *candidate)
{
    const json_t *alg = json_object_get(candidate->protected, "alg");
    const char *name = json_string_value(alg);
    enum key_algorithm algorithm = key_algorithm_find(name, json_string_length(alg));

    if (strcasecmp(name, "none") == 0 || candidate->signature.bytes == 0)
        return TOKEN_UNSIGNED;
    if (algorithm == KEY_ALGORITHMS)
        return TOKEN_WRONG_ALGORITHM;
    if (keyring)
        candidate->key =
            keyring_find(keyring, json_string_value(json_object_get(candidate->protected, "kid")));
    if (!candidate->key)
        return TOKEN_UNKNOWN_KEY;
    return algorithm == candidate->key->algorithm ? TOKEN_OK : TOKEN_WRONG_ALGORITHM;
}

/* libjwt's way, for secrets. */
static bool mac_holds(const struct key *key, const char *text, size_t bytes)
{
    char ended[TOKEN_MAX_BYTES + 1];
    jwt_t *jwt = NULL;
    bool holds;

    memcpy(ended, text, bytes);
    ended[bytes] = '\0';
    holds = jwt_decode(&jwt, ended, key->material, (int)key->material_bytes) == 0 &&
            jwt_get_alg(jwt) == jwt_algorithms[key->algorithm];
    jwt_free(jwt);
    return holds;
}

/*
 * RS and ES are verified without libjwt, which reads the key's PEM anew for every token: 25 times
 * the cost of the signature itself.
 */
static bool signature_holds(const struct candidate *candidate, const char *text, size_t bytes)
{
    const struct key *key = candidate->key;
    char signature[DECODED_MAX_BYTES];
    size_t n;

    if (candidate->signature.bytes != ENCODED_BYTES(key->signature_bytes))
        return false;
    if (!key->pkey)
        return mac_holds(key, text, bytes);
    return decode(&candidate->signature, signature, sizeof signature, &n) &&
           key_verify(key, text, (size_t)(candidate->signature.text - 1 - text),
                      (const unsigned char *)signature);
}

/* A whole number of seconds between 1970 and the year 9999. */
static bool read_time(const json_t *claims, const char *name, int64_t *seconds)
{
    const json_t *claim = json_object_get(claims, name);

    *seconds = json_integer_value(claim);
    return json_is_integer(claim) && *seconds >= 0 && *seconds <= LAST_SECOND;
}

/* 1 to 255 bytes without control characters (C0, DEL, C1). */
static bool name_is_sound(const char *name)
{
    size_t length = strnlen(name, MAX_NAME_BYTES + 1);

    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)name[i], next = (unsigned char)name[i + 1];

        if (c < 0x20 || c == 0x7f || (c == 0xc2 && next < 0xa0))
            return false;
    }
    return length > 0 && length <= MAX_NAME_BYTES;
}

static bool read_name(const json_t *claims, const char *name, const char **value)
{
    *value = json_string_value(json_object_get(claims, name));
    return *value && name_is_sound(*value);
}

/* Who the bearer is among all users, whoever issued the token. */
static bool read_user(const struct token_policy *policy, const json_t *claims, struct token *token)
{
    const char *prefix = policy->prefix ? policy->prefix : "", *name;

    if (!read_name(claims, policy->prefix ? policy->user : "sub", &name))
        return false;
    token->user = memory_new(strlen(prefix) + strlen(name) + 1);
    strcpy(stpcpy(token->user, prefix), name);
    return strlen(token->user) <= MAX_NAME_BYTES;
}

/* `jti`, which other issuers may leave out. */
static bool read_id(const struct token_policy *policy, const json_t *claims, struct token *token)
{
    const char *id;

    if (!read_name(claims, "jti", &id))
        return policy->prefix && !json_object_get(claims, "jti");
    token->id = memory_copy(id, strlen(id));
    return true;
}

static bool is_audience(const json_t *value, const struct token_policy *policy)
{
    for (const char *const *audience = policy->audiences; *audience; audience++)
        if (strcmp(json_string_value(value), *audience) == 0)
            return true;
    return false;
}

/* One string, or a list of nothing but strings. */
static enum token_result check_audience(const json_t *claims, const struct token_policy *policy)
{
    const json_t *claim = json_object_get(claims, "aud");
    bool named = false;

    if (json_is_string(claim))
        return is_audience(claim, policy) ? TOKEN_OK : TOKEN_WRONG_AUDIENCE;
    if (claim && !json_is_array(claim))
        return TOKEN_MALFORMED;
    for (size_t i = 0; i < json_array_size(claim); i++) {
        const json_t *value = json_array_get(claim, i);

        if (!json_is_string(value))
            return TOKEN_MALFORMED;
        named = named || is_audience(value, policy);
    }
    return named ? TOKEN_OK : TOKEN_WRONG_AUDIENCE;
}

static enum token_result check_claims(const struct token_policy *policy, const json_t *claims,
                                      int64_t now_s, struct token *token)
{
    const json_t *issuer = json_object_get(claims, "iss");
    int64_t not_before_s = 0;
    enum token_result audience;

    if (!read_time(claims, "exp", &token->expires_s) ||
        !read_time(claims, "iat", &token->issued_s) ||
        (json_object_get(claims, "nbf") && !read_time(claims, "nbf", &not_before_s)) ||
        !read_user(policy, claims, token) || !read_id(policy, claims, token) ||
        (issuer && !json_is_string(issuer)))
        return TOKEN_MALFORMED;
    /* In this order clients of socketio-jwt hear of them. */
    if (not_before_s > now_s || token->issued_s > now_s + 1)
        return TOKEN_NOT_YET;
    if (now_s >= token->expires_s)
        return TOKEN_EXPIRED;
    audience = check_audience(claims, policy);
    if (audience == TOKEN_WRONG_AUDIENCE && policy->prefix)
        return TOKEN_FOREIGN_AUDIENCE;
    if (audience != TOKEN_OK)
        return audience;
    if (!issuer || strcmp(json_string_value(issuer), policy->issuer) != 0)
        return TOKEN_WRONG_ISSUER;
    if (policy->prefix && token->expires_s - token->issued_s > policy->longest_s)
        return TOKEN_TOO_LONG;
    return TOKEN_OK;
}

/* Whose token it says it is.  NULL: ours, or nobody's, which check_claims finds out. */
static const struct token_issuer *find_issuer(const struct token_issuer *others, size_t n,
                                              const json_t *claims)
{
    const char *name = json_string_value(json_object_get(claims, "iss"));

    for (size_t i = 0; name && i < n; i++)
        if (strcmp(others[i].policy.issuer, name) == 0)
            return &others[i];
    return NULL;
}

/* Nobody but the issuer itself gives the names that begin with its prefix. */
static bool is_name_of_other(const struct token_issuer *others, size_t n, const char *user)
{
    for (size_t i = 0; i < n; i++)
        if (strncmp(user, others[i].policy.prefix, strlen(others[i].policy.prefix)) == 0)
            return true;
    return false;
}

static json_t *audience_claim(const struct token_policy *policy)
{
    json_t *list;

    if (!policy->audiences[1])
        return json_string(policy->audiences[0]);
    list = json_array();
    for (const char *const *audience = policy->audiences; *audience; audience++)
        if (json_array_append_new(list, json_string(*audience)) != 0) {
            json_decref(list);
            return NULL;
        }
    return list;
}

/* jansson's readers take no const. */
static json_t *unconst(const json_t *json)
{
    return (json_t *)(uintptr_t)json;
}

/*
 * What the caller adds and what only we may set, as JSON; the text is the caller's.  NULL:
 * something in it is not UTF-8, and a token must not go out without it.
 */
static char *write_claims(const struct token_policy *policy, const char *subject, const char *id,
                          const json_t *claims, int64_t now_s, int64_t lifetime_s)
{
    json_t *all = claims ? json_copy(unconst(claims)) : json_object();
    char *text = NULL;

    if (json_object_set_new(all, "iss", json_string(policy->issuer)) == 0 &&
        json_object_set_new(all, "aud", audience_claim(policy)) == 0 &&
        json_object_set_new(all, "sub", json_string(subject)) == 0 &&
        json_object_set_new(all, "jti", json_string(id)) == 0 &&
        json_object_set_new(all, "iat", json_integer(now_s)) == 0 &&
        json_object_set_new(all, "exp", json_integer(now_s + lifetime_s)) == 0)
        text = json_dumps(all, JSON_COMPACT);
    json_decref(all);
    return text;
}

static bool check_wishes(const char *subject, const json_t *claims, int64_t now_s,
                         int64_t lifetime_s, struct error *error)
{
    if (!name_is_sound(subject))
        return error_set(error, "a token's `sub` has 1 to %d bytes and no control character",
                         MAX_NAME_BYTES);
    if (lifetime_s <= 0 || now_s < 0 || lifetime_s > LAST_SECOND - now_s)
        return error_set(error, "a token must end after it begins and before the year 10000");
    for (void *at = json_object_iter(unconst(claims)); at;
         at = json_object_iter_next(unconst(claims), at))
        if (token_claim_is_reserved(json_object_iter_key(at)))
            return error_set(error, "the claim \"%s\" is set by us alone",
                             json_object_iter_key(at));
    return true;
}

/* libjwt puts copies on the stack: the size is judged before it sees anything. */
static char *sign(const struct key *key, const char *claims, struct error *error)
{
    jwt_t *jwt = NULL;
    char *text = NULL;

    if (strlen(claims) > DECODED_MAX_BYTES || !depth_is_bounded(claims, strlen(claims)))
        error_set(error, "the claims are too long or too deep for a token of %d bytes",
                  TOKEN_MAX_BYTES);
    else if (jwt_new(&jwt) != 0 || jwt_add_header(jwt, "kid", key->id) != 0 ||
             jwt_add_grants_json(jwt, claims) != 0 ||
             jwt_set_alg(jwt, jwt_algorithms[key->algorithm], key->material,
                         (int)key->material_bytes) != 0 ||
             !(text = jwt_encode_str(jwt)))
        error_set(error, "libjwt cannot sign with the key \"%s\"", key->id);
    jwt_free(jwt);
    if (text && strlen(text) > TOKEN_MAX_BYTES) {
        error_set(error, "the token would have %zu bytes, %d are allowed: shorten the claims",
                  strlen(text), TOKEN_MAX_BYTES);
        token_free_text(&text);
    }
    return text;
}

enum token_result token_verify(const struct keyring *keyring, const struct token_policy *policy,
                               const char *text, size_t bytes, int64_t now_s, struct token *token)
{
    const struct token_issuer *from;

    return token_verify_any(keyring, policy, NULL, 0, text, bytes, now_s, token, &from);
}

enum token_result token_verify_any(const struct keyring *keyring, const struct token_policy *policy,
                                   const struct token_issuer *others, size_t n, const char *text,
                                   size_t bytes, int64_t now_s, struct token *token,
                                   const struct token_issuer **from)
{
    struct candidate candidate = {.key = NULL};
    enum token_result result = TOKEN_MALFORMED;

    *from = NULL;
    memset(token, 0, sizeof *token);
    scratch_begin();
    if (split(text, bytes, &candidate) && decode_all(&candidate, token)) {
        *from = find_issuer(others, n, candidate.claims);
        if (header_is_plain(candidate.protected, !*from))
            result = choose_key(*from ? (*from)->keyring : keyring, &candidate);
    }
    if (result == TOKEN_OK && !signature_holds(&candidate, text, bytes))
        result = TOKEN_BAD_SIGNATURE;
    if (result == TOKEN_OK)
        result = check_claims(*from ? &(*from)->policy : policy, candidate.claims, now_s, token);
    if (result == TOKEN_OK && !*from && is_name_of_other(others, n, token->user))
        result = TOKEN_WRONG_ISSUER;
    json_decref(candidate.protected);
    json_decref(candidate.claims);
    scratch_end();
    if (result != TOKEN_OK)
        token_fini(token);
    return result;
}

void token_fini(struct token *token)
{
    free(token->payload);
    free(token->user);
    free(token->id);
    memset(token, 0, sizeof *token);
}

/* What was cut must stay UTF-8: it goes into JSON. */
static void drop_torn_character(char *text)
{
    size_t length = strlen(text), at = length;
    unsigned char first;

    while (at > 0 && ((unsigned char)text[at - 1] & 0xc0) == 0x80)
        at--;
    first = at > 0 ? (unsigned char)text[at - 1] : 0;
    if (first >= 0xc0 && length - at < (first >= 0xf0 ? 3 : first >= 0xe0 ? 2 : 1))
        text[at - 1] = '\0';
}

const char *token_message(enum token_result result, const struct token_policy *policy, char *text,
                          size_t size)
{
    static const char *const messages[TOKEN_RESULTS] = {
        [TOKEN_OK] = "ok",
        [TOKEN_MALFORMED] = "jwt malformed",
        [TOKEN_UNSIGNED] = "jwt signature is required",
        [TOKEN_WRONG_ALGORITHM] = "invalid algorithm",
        [TOKEN_UNKNOWN_KEY] = "invalid signature",
        [TOKEN_BAD_SIGNATURE] = "invalid signature",
        [TOKEN_EXPIRED] = "jwt expired",
        [TOKEN_NOT_YET] = "jwt not active",
        [TOKEN_WRONG_ISSUER] = "jwt issuer invalid. expected: ",
        [TOKEN_WRONG_AUDIENCE] = "jwt audience invalid. expected: ",
        [TOKEN_FOREIGN_AUDIENCE] = "jwt audience invalid",
        [TOKEN_TOO_LONG] = "jwt lifetime too long",
    };
    size_t length = (size_t)snprintf(text, size, "%s%s", messages[result],
                                     result == TOKEN_WRONG_ISSUER ? policy->issuer : "");

    if (result == TOKEN_WRONG_AUDIENCE)
        for (const char *const *audience = policy->audiences; *audience && length < size;
             audience++)
            length += (size_t)snprintf(text + length, size - length, "%s%s",
                                       audience == policy->audiences ? "" : " or ", *audience);
    if (length >= size)
        drop_torn_character(text);
    return text;
}

void token_new_id(char id[TOKEN_ID_SIZE])
{
    unsigned char random[ID_BYTES];

    do {
        randombytes_buf(random, sizeof random);
        sodium_bin2base64(id, TOKEN_ID_SIZE, random, sizeof random, BASE64URL);
    } while (id[0] == '-'); /* which a command would take for an option */
}

bool token_id_is_ours(const char *text)
{
    size_t length = 0;

    while (text[length] && length < TOKEN_ID_SIZE && value_of(text[length]) < 64)
        length++;
    return length == TOKEN_ID_SIZE - 1 && !text[length];
}

char *token_issue(const struct key *key, const struct token_policy *policy, const char *subject,
                  const json_t *claims, int64_t now_s, int64_t lifetime_s, struct error *error)
{
    char id[TOKEN_ID_SIZE];

    token_new_id(id);
    return token_issue_as(key, policy, subject, id, claims, now_s, lifetime_s, error);
}

char *token_issue_as(const struct key *key, const struct token_policy *policy, const char *subject,
                     const char *id, const json_t *claims, int64_t now_s, int64_t lifetime_s,
                     struct error *error)
{
    char *text, *token;

    if (!check_wishes(subject, claims, now_s, lifetime_s, error))
        return NULL;
    text = write_claims(policy, subject, id, claims, now_s, lifetime_s);
    if (!text) {
        error_set(error, "the claims, `sub`, issuer or audience are not UTF-8");
        return NULL;
    }
    token = sign(key, text, error);
    free(text);
    return token;
}

void token_free_text(char **text)
{
    if (*text)
        sodium_memzero(*text, strlen(*text));
    free(*text);
    *text = NULL;
}

bool token_claim_is_reserved(const char *name)
{
    static const char *const reserved[] = {"iss", "aud", "sub", "iat", "exp", "nbf", "jti"};

    for (size_t i = 0; i < sizeof reserved / sizeof *reserved; i++)
        if (strcmp(name, reserved[i]) == 0)
            return true;
    return false;
}
