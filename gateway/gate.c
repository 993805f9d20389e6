/* From a token to an identity; what a token may be is in common/token.c, what a socket may do in
 * the rules. */
#include "gateway/gate.h"

#include "common/memory.h"
#include "gateway/slots.h"

#include <assert.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CLAIM_SIZE 256 /* token.c lets a user or `jti` be 255 bytes */

/* The user's name as a JSON string: of our own tokens `sub`, where it stands in the payload. */
static struct span write_user(struct identity *identity, const char *user)
{
    static const struct span sub = {"sub", 3};
    struct json_value value;
    char *end = identity->payload + identity->payload_bytes;

    if (!user) {
        assert(scan_member((struct span){identity->payload, identity->payload_bytes}, &sub, 1,
                           &value));
        return value.text;
    }
    memcpy(end, user, strlen(user));
    return (struct span){end, (uint32_t)strlen(user)};
}

static struct identity *identity_new(const struct token *token, const struct token_issuer *from,
                                     const struct snapshot *snapshot)
{
    size_t bytes = token->payload_bytes;
    json_t *name = from ? json_string(token->user) : NULL;
    char *user = name ? json_dumps(name, JSON_ENCODE_ANY) : NULL;
    struct identity *identity = memory_new(sizeof *identity + bytes + (user ? strlen(user) : 0));

    assert(bytes <= TOKEN_MAX_BYTES && !from == !user);
    *identity = (struct identity){.references = 1,
                                  .expires_s = token->expires_s,
                                  .issued_s = token->issued_s,
                                  .payload_bytes = (uint32_t)bytes};
    memcpy(identity->payload, token->payload, bytes);
    identity->user = write_user(identity, user);
    identity_adopt(identity, snapshot);
    json_decref(name);
    free(user);
    return identity;
}

/* The URL standard, "application/x-www-form-urlencoded parsing": the number of bytes. */
static size_t decode_query(const char *at, const char *end, char *out)
{
    char *to = out;

    while (at < end) {
        size_t bytes = 0;

        if (*at == '%' && end - at > 2)
            sodium_hex2bin((unsigned char *)to, 1, at + 1, 2, NULL, &bytes, NULL);
        if (bytes == 0)
            *to = *at == '+' ? ' ' : *at;
        at += bytes ? 3 : 1;
        to++;
    }
    return (size_t)(to - out);
}

gate_result gate_check(const struct snapshot *snapshot, const struct revoked *revoked,
                       const struct issuers *issuers, struct span text, int64_t now_s,
                       struct identity **identity)
{
    const struct token_issuer *from;
    struct token token;
    gate_result result;

    *identity = NULL;
    if (!text.length)
        return GATE_NO_TOKEN;
    result =
        token_verify_any(snapshot->keyring, &snapshot->policy, issuers ? issuers->issuer : NULL,
                         issuers ? issuers->n : 0, text.at, text.length, now_s, &token, &from);
    if (result == TOKEN_UNKNOWN_KEY && from && issuers_want(issuers, from))
        return GATE_UNAVAILABLE;
    if (result != TOKEN_OK)
        return result;
    if (revoked && revoked_is_stale(revoked))
        result = GATE_UNAVAILABLE;
    else if (revoked &&
             revoked_covers(revoked, token.user, token.id ? token.id : "", token.issued_s))
        result = GATE_REVOKED;
    else
        *identity = identity_new(&token, from, snapshot);
    token_fini(&token);
    return result;
}

struct identity *identity_of_claims(const char *payload, const struct snapshot *snapshot)
{
    struct token token = {.payload = (char *)(uintptr_t)payload, .payload_bytes = strlen(payload)};

    return identity_new(&token, NULL, snapshot);
}

/* What token.c bounds and knows to be a string. */
static void decode_name(struct span json, char text[CLAIM_SIZE])
{
    ptrdiff_t length = scan_decode_string(json, text, CLAIM_SIZE - 1);

    assert(length >= 0);
    text[length] = '\0';
}

bool identity_is_revoked(const struct identity *identity, const struct revoked *revoked)
{
    static const struct span path = {"jti", 3};
    char user[CLAIM_SIZE], jti[CLAIM_SIZE] = "";
    struct json_value value;

    decode_name(identity->user, user);
    if (scan_member((struct span){identity->payload, identity->payload_bytes}, &path, 1, &value))
        decode_name(value.text, jti);
    return revoked_covers(revoked, user, jti, identity->issued_s);
}

char *gate_auth(struct span payload, bool whole)
{
    static const struct span token = {"token", 5};
    char *auth;
    size_t length;

    if (payload.length == 0)
        return NULL;
    auth = memory_copy(payload.at, payload.length);
    length = whole ? payload.length : scan_without(payload, token, auth);
    if (length > sizeof "{}" - 1) {
        auth[length] = '\0';
        return auth;
    }
    free(auth);
    return NULL;
}

char *gate_query_object(struct span query)
{
    const char *at = query.at, *end = query.at + query.length;
    json_t *object = json_object();
    char *decoded = memory_new(query.length + 1), *json = NULL;

    while (at < end) {
        const char *next = memchr(at, '&', (size_t)(end - at));
        const char *to = next ? next : end, *equals = memchr(at, '=', (size_t)(to - at));
        const char *name_end = equals ? equals : to;
        size_t name_bytes = decode_query(at, name_end, decoded);
        size_t bytes = equals ? decode_query(equals + 1, to, decoded + name_bytes) : 0;

        if (to > at && json_object_setn_new(object, decoded, name_bytes,
                                            json_stringn(decoded + name_bytes, bytes)) != 0)
            goto done;
        at = to + 1;
    }
    json = json_dumps(object, JSON_COMPACT);
    assert(json);
done:
    sodium_memzero(decoded, query.length + 1); /* it may hold a token */
    free(decoded);
    json_decref(object);
    return json;
}

struct span gate_token(struct span object, char *buffer, size_t size)
{
    static const struct span name = {"token", 5};
    struct json_value value;
    ptrdiff_t length;

    if (!object.length || !scan_member(object, &name, 1, &value) || value.type == VALUE_NULL)
        return (struct span){"", 0};
    length = value.type == VALUE_STRING ? scan_decode_string(value.text, buffer, size) : -1;
    return length < 0 ? (struct span){"?", 1} : (struct span){buffer, (uint32_t)length};
}

static bool is_same_claim(const struct identity *a, const struct identity *b, struct span name)
{
    struct json_value left, right;

    return scan_member((struct span){a->payload, a->payload_bytes}, &name, 1, &left) &&
           scan_member((struct span){b->payload, b->payload_bytes}, &name, 1, &right) &&
           left.text.length == right.text.length &&
           memcmp(left.text.at, right.text.at, left.text.length) == 0;
}

bool identity_is_same_user(const struct identity *a, const struct identity *b)
{
    return is_same_claim(a, b, (struct span){"iss", 3}) && a->user.length == b->user.length &&
           memcmp(a->user.at, b->user.at, a->user.length) == 0;
}

bool identity_is_same_token(const struct identity *a, const struct identity *b)
{
    return a->payload_bytes == b->payload_bytes &&
           memcmp(a->payload, b->payload, a->payload_bytes) == 0;
}

struct identity *identity_get(struct identity *identity)
{
    identity->references++;
    return identity;
}

void identity_put(struct identity **identity)
{
    struct identity *i = *identity;

    *identity = NULL;
    if (!i || --i->references > 0)
        return;
    free(i->slot);
    free(i);
}

static struct span payload_of(const struct identity *identity)
{
    return (struct span){identity->payload, identity->payload_bytes};
}

void identity_adopt(struct identity *identity, const struct snapshot *snapshot)
{
    size_t n;
    const struct rules_path *claim = rules_claims(snapshot->rules, &n);

    if (identity->snapshot == snapshot->serial)
        return;
    identity->snapshot = snapshot->serial;
    identity->n_claims = (uint16_t)n;
    free(identity->slot);
    identity->slot = slots_new(payload_of(identity), claim, n);
}

void identity_claims(const struct identity *identity, struct json_value *value)
{
    slots_read(identity->payload, identity->slot, identity->n_claims, value);
}

void gate_refusal(const struct snapshot *snapshot, gate_result result, char *message, char *data)
{
    char words[GATE_TEXT_MAX / 4];
    const char *code = "invalid_token", *text = "jwt revoked";
    json_t *object;
    char *json;

    switch (result) {
    case GATE_NO_TOKEN:
        code = "credentials_required", text = "no token provided";
        break;
    case GATE_NO_HEADER:
        code = "missing_authorization_header", text = "Server requires Authorization Header";
        break;
    case GATE_BAD_FORMAT:
        code = "credentials_bad_format", text = "Format is Authorization: Bearer [token]";
        break;
    case GATE_REVOKED:
        break;
    case GATE_UNAVAILABLE:
        code = "unavailable", text = "tokens cannot be checked now";
        break;
    default:
        text = token_message((enum token_result)result, &snapshot->policy, words, sizeof words);
    }
    object =
        json_pack("{s:s, s:s, s:s}", "message", text, "code", code, "type", "UnauthorizedError");
    json = object ? json_dumps(object, JSON_COMPACT) : NULL;
    assert(json);
    snprintf(data, GATE_TEXT_MAX, "%s", json);
    free(json);
    json = json_dumps(json_object_get(object, "message"), JSON_COMPACT | JSON_ENCODE_ANY);
    assert(json);
    snprintf(message, GATE_TEXT_MAX, "%s", json);
    free(json);
    json_decref(object);
}
