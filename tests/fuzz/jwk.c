/*
 * A key's file: the first line says where it lies, NAME or private/NAME, the rest is what stands in
 * it; or "@set", and what an issuer answers.  A key that is taken is one that may be used.
 */
#include "common/keyfile.h"
#include "common/keyring.h"
#include "tests/fuzz/folder.h"

#include <stdio.h>

#define MIN_RSA_BYTES (2048 / 8)

static void demand_key(const struct key *key)
{
    static const size_t ec_bytes[] = {64, 96, 132};
    static const size_t hash_bytes[] = {32, 48, 64};

    assert(key->material || key->pkey);
    if (key->algorithm <= KEY_HS512) {
        assert(key->signature_bytes == hash_bytes[key->algorithm - KEY_HS256]);
        assert(key->material_bytes >= key->signature_bytes);
    } else if (key->algorithm <= KEY_RS512) {
        assert(key->signature_bytes >= MIN_RSA_BYTES);
    } else {
        assert(key->signature_bytes == ec_bytes[key->algorithm - KEY_ES256]);
    }
}

static void read_ring(const char *name)
{
    struct error error = {.text = ""};
    struct keyring *ring = keyring_read(folder.folder, &error);
    json_t *public;

    if (!ring) {
        assert(strstr(error.text, folder.folder));
        return;
    }
    assert(keyring_at(ring, 0) && !keyring_at(ring, 1));
    assert(keyring_find(ring, name) == keyring_at(ring, 0));
    demand_key(keyring_at(ring, 0));
    public = keyring_public_jwk(folder.folder, name, &error);
    assert(public && !json_object_get(public, "k") && !json_object_get(public, "d"));
    json_decref(public);
    keyring_put(&ring);
}

static void read_private(const char *name)
{
    struct error error = {.text = ""};
    struct key *key = NULL;

    if (keyfile_write_link(folder.folder, name, true, &error))
        key = keyring_read_signing(folder.folder, &error);
    if (key)
        demand_key(key);
    else
        assert(error.text[0]);
    key_free(&key);
}

static void read_set(const char *text, size_t bytes)
{
    static const char *const algorithms[] = {"RS256", "ES256", "ES512", NULL};
    struct error error = {.text = ""};
    size_t unfit;
    struct keyring *ring = keyring_from_set("set", text, bytes, algorithms, &unfit, &error);

    assert(ring || error.text[0]);
    for (size_t i = 0; ring && keyring_at(ring, i); i++) {
        demand_key(keyring_at(ring, i));
        assert(keyring_at(ring, i)->pkey);
    }
    keyring_put(&ring);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *end = size ? memchr(data, '\n', size) : NULL;
    char line[80], path[256];
    struct error error;
    const char *name;
    bool is_private;

    if (!end || (size_t)(end - data) >= sizeof line)
        return 0;
    snprintf(line, sizeof line, "%.*s", (int)(end - data), (const char *)data);
    if (strcmp(line, "@set") == 0) {
        read_set((const char *)end + 1, size - (size_t)(end + 1 - data));
        return 0;
    }
    is_private = strncmp(line, "private/", 8) == 0;
    name = is_private ? line + 8 : line;
    if (!keyfile_check_name(name, &error))
        return 0;
    folder_make();
    snprintf(path, sizeof path, "%s/private", folder.folder);
    mkdir(path, 0700);
    snprintf(path, sizeof path, "%s/%s.jwk", folder.folder, line);
    folder_write(path, end + 1, size - (size_t)(end + 1 - data), is_private ? 0600 : 0640);
    if (is_private)
        read_private(name);
    else
        read_ring(name);
    assert(unlink(path) == 0);
    return 0;
}
