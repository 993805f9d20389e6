/*
 * A token.  What begins with 's' is a header, a line feed and a payload, which are encoded and
 * signed here as they are; anything else is a token's text.  A token that is taken bears the right
 * MAC and says what it must.
 */
#include "common/token.h"
#include "tests/fuzz/folder.h"

#include <sodium.h>

#define NOW_S     1800000000
#define BASE64URL sodium_base64_VARIANT_URLSAFE_NO_PADDING
#define MAC_BYTES crypto_auth_hmacsha256_BYTES

static const char *const audiences[] = {"sallyport", "chat", NULL};
static const struct token_policy policy = {.issuer = "https://example.org", .audiences = audiences};
static struct keyring *ring;
static const struct key *secret;

static void make_ring(void)
{
    /* clang-format off */
    static const char hs256[] = "{\"kid\":\"hs256\",\"kty\":\"oct\",\"alg\":\"HS256\",\"use\":\"sig\","
        "\"k\":\"wfOpzpO28WN2fzWK4keWAMgvfReIqSLRLQFLBn-xKLU\"}"; /* as in tests/token-vectors */
    static const char es256[] = "{\"kid\":\"es256\",\"kty\":\"EC\",\"alg\":\"ES256\",\"use\":\"sig\",\"crv\":\"P-256\","
        "\"x\":\"axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpY\","
        "\"y\":\"T-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU\"}"; /* the curve's generator */
    /* clang-format on */
    struct error error;

    if (ring)
        return;
    folder_make();
    folder_write(scratch_path(&folder, "hs256.jwk"), hs256, sizeof hs256 - 1, 0600);
    folder_write(scratch_path(&folder, "es256.jwk"), es256, sizeof es256 - 1, 0600);
    ring = keyring_read(folder.folder, &error);
    assert(ring);
    secret = keyring_find(ring, "hs256");
}

/* The MAC of what is signed, encoded as it stands behind the last dot. */
static size_t mac(const char *text, size_t bytes, char *encoded, size_t size)
{
    crypto_auth_hmacsha256_state state;
    unsigned char code[MAC_BYTES];

    crypto_auth_hmacsha256_init(&state, secret->material, secret->material_bytes);
    crypto_auth_hmacsha256_update(&state, (const unsigned char *)text, bytes);
    crypto_auth_hmacsha256_final(&state, code);
    sodium_bin2base64(encoded, size, code, sizeof code, BASE64URL);
    return strlen(encoded);
}

static void demand_right(const char *text, size_t bytes, const struct token *token)
{
    const char *dot = memrchr(text, '.', bytes);
    json_t *claims = json_loads(token->payload, JSON_REJECT_DUPLICATES, NULL);
    const char *issuer = json_string_value(json_object_get(claims, "iss"));
    const char *user = json_string_value(json_object_get(claims, "sub"));
    const char *id = json_string_value(json_object_get(claims, "jti"));
    char encoded[sodium_base64_ENCODED_LEN(MAC_BYTES, BASE64URL)];
    size_t length = mac(text, (size_t)(dot - text), encoded, sizeof encoded);

    assert((size_t)(text + bytes - (dot + 1)) == length && memcmp(dot + 1, encoded, length) == 0);
    assert(bytes <= TOKEN_MAX_BYTES && strlen(token->payload) == token->payload_bytes);
    assert(token->expires_s > NOW_S && token->issued_s <= NOW_S);
    assert(user[0] && strcmp(user, token->user) == 0 && id[0] && strcmp(id, token->id) == 0);
    assert(token->expires_s == json_integer_value(json_object_get(claims, "exp")));
    assert(strcmp(issuer, policy.issuer) == 0);
    json_decref(claims);
}

static void verify(const char *text, size_t bytes)
{
    char *copy = target_copy(text, bytes), message[256];
    struct token token;
    enum token_result result = token_verify(ring, &policy, copy, bytes, NOW_S, &token);

    assert(token_message(result, &policy, message, sizeof message)[0]);
    if (result == TOKEN_OK) {
        demand_right(copy, bytes, &token);
        token_fini(&token);
    }
    free(copy);
}

static void sign_and_verify(const char *header, size_t size)
{
    const char *payload = size ? memchr(header, '\n', size) : NULL;
    size_t room = 2 * size + 64, length;
    char *text;

    if (!payload)
        return;
    text = malloc(room);
    assert(text);
    sodium_bin2base64(text, room, (const unsigned char *)header, (size_t)(payload - header),
                      BASE64URL);
    length = strlen(text);
    text[length++] = '.';
    payload++;
    sodium_bin2base64(text + length, room - length, (const unsigned char *)payload,
                      size - (size_t)(payload - header), BASE64URL);
    length += strlen(text + length);
    text[length] = '.';
    length += 1 + mac(text, length, text + length + 1, room - length - 1);
    verify(text, length);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    make_ring();
    if (size && data[0] == 's')
        sign_and_verify((const char *)data + 1, size - 1);
    else
        verify((const char *)data, size);
    return 0;
}
