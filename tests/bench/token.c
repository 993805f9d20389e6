/*
 * A distinct HS256 token for each socket.  Only signed here; how it is verified is the server's
 * part of the job.
 */
#include "tests/bench/token.h"

#include <jansson.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LIFETIME_S 18000
#define ALPHABET   sodium_base64_VARIANT_URLSAFE_NO_PADDING

static bool take_secret(struct signer *signer, const char *encoded)
{
    size_t length = strlen(encoded);

    signer->secret = malloc(length + 1);
    return signer->secret && sodium_base642bin(signer->secret, length, encoded, length, NULL,
                                               &signer->secret_bytes, NULL, ALPHABET) == 0;
}

static size_t encode(const void *bytes, size_t length, char *text)
{
    sodium_bin2base64(text, sodium_base64_encoded_len(length, ALPHABET), bytes, length, ALPHABET);
    return strlen(text);
}

static void sign(const struct signer *signer, const char *text, size_t length, unsigned char *mac)
{
    crypto_auth_hmacsha256_state state;

    crypto_auth_hmacsha256_init(&state, signer->secret, signer->secret_bytes);
    crypto_auth_hmacsha256_update(&state, (const unsigned char *)text, length);
    crypto_auth_hmacsha256_final(&state, mac);
}

bool signer_read(struct signer *signer, const char *path)
{
    json_error_t error;
    json_t *key = json_load_file(path, 0, &error);
    const char *encoded = NULL, *id = NULL;
    bool is_good;

    memset(signer, 0, sizeof *signer);
    is_good = key && json_unpack(key, "{s:s,s:s}", "k", &encoded, "kid", &id) == 0 &&
              take_secret(signer, encoded) && (signer->id = strdup(id)) != NULL;
    if (!is_good)
        fprintf(stderr, "load: %s is no JWK with a secret (\"k\") and a name (\"kid\")\n", path);
    json_decref(key);
    return is_good;
}

void signer_fini(struct signer *signer)
{
    if (signer->secret)
        sodium_memzero(signer->secret, signer->secret_bytes);
    free(signer->secret);
    free(signer->id);
}

size_t signer_token(const struct signer *signer, unsigned person, char text[TOKEN_BYTES])
{
    char header[160], payload[512];
    unsigned char mac[crypto_auth_hmacsha256_BYTES];
    long long now = (long long)time(NULL);
    size_t at;

    snprintf(header, sizeof header, "{\"alg\":\"HS256\",\"typ\":\"JWT\",\"kid\":\"%s\"}",
             signer->id);
    snprintf(
        payload, sizeof payload,
        "{\"first_name\":\"John\",\"last_name\":\"Doe %u\",\"email\":\"john.doe.%u@example.org\","
        "\"id\":%u,\"iss\":\"sallyport\",\"aud\":\"sallyport\",\"sub\":\"john%u\",\"iat\":%lld,"
        "\"exp\":%lld,\"jti\":\"%08x-%llx\"}",
        person, person, person, person, now, now + LIFETIME_S, person, now);
    at = encode(header, strlen(header), text);
    text[at++] = '.';
    at += encode(payload, strlen(payload), text + at);
    sign(signer, text, at, mac);
    text[at++] = '.';
    return at + encode(mac, sizeof mac, text + at);
}
