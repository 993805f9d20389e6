/*
 * The current service, and the reference each request holds on it.  When to read anew is decided
 * by main.c.
 */
#include "login-fcgi/service.h"

#include "common/log.h"
#include "common/memory.h"
#include "login-fcgi/answer.h"

#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct service *current;

/* The public halves, and their hash. */
static json_t *public_set(const char *folder, const struct keyring *keyring, struct error *error)
{
    json_t *keys = json_array(), *jwk;
    const struct key *key;

    for (size_t i = 0; (key = keyring_at(keyring, i)); i++) {
        if (key->algorithm < KEY_RS256)
            continue;
        jwk = keyring_public_jwk(folder, key->id, error);
        if (!jwk) {
            json_decref(keys);
            return NULL;
        }
        json_array_append_new(keys, jwk);
    }
    return json_pack("{s:o}", "keys", keys);
}

static bool read_public_keys(struct service *service, struct error *error)
{
    struct keyring *keyring = keyring_read(service->config->keys, error);
    json_t *set = keyring ? public_set(service->config->keys, keyring, error) : NULL;
    unsigned char hash[16];

    keyring_put(&keyring);
    if (!set)
        return false;
    service->public_keys = json_dumps(set, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(set);
    if (!service->public_keys || strlen(service->public_keys) > ANSWER_MAX_KEPT_BYTES)
        return error_set(error, "the public keys in %s are too many for one answer of %d bytes",
                         service->config->keys, ANSWER_MAX_KEPT_BYTES);
    crypto_generichash(hash, sizeof hash, (unsigned char *)service->public_keys,
                       strlen(service->public_keys), NULL, 0);
    service->keys_etag[0] = '"';
    sodium_bin2hex(service->keys_etag + 1, 33, hash, sizeof hash);
    strcpy(service->keys_etag + 33, "\"");
    return true;
}

static bool read_keys(struct service *service, struct error *error)
{
    service->keys_stamp = keyring_stamp(service->config->keys);
    if (read_public_keys(service, error))
        service->key = keyring_read_signing(service->config->keys, error);
    return service->key != NULL;
}

struct service *service_read(const char *path, struct error *error)
{
    struct service *service = memory_zeroed(1, sizeof *service);

    atomic_init(&service->references, 1);
    service->config = config_read(path, error);
    if (!service->config || !read_keys(service, error))
        service_put(&service);
    return service;
}

struct service *service_with_new_keys(struct service *old, struct error *error)
{
    struct service *service = memory_zeroed(1, sizeof *service);

    atomic_init(&service->references, 1);
    service->base = old->base ? old->base : old;
    atomic_fetch_add(&service->base->references, 1);
    service->config = old->config;
    if (!read_keys(service, error))
        service_put(&service);
    return service;
}

void service_install(struct service *fresh)
{
    struct service *old;
    enum log_level level;

    if (fresh && log_level_find(fresh->config->log_level, &level))
        log_set_level(level);

    pthread_mutex_lock(&lock);
    old = current;
    current = fresh;
    pthread_mutex_unlock(&lock);
    service_put(&old);
}

struct service *service_get(void)
{
    struct service *service;

    pthread_mutex_lock(&lock);
    service = current;
    atomic_fetch_add(&service->references, 1);
    pthread_mutex_unlock(&lock);
    return service;
}

void service_put(struct service **service)
{
    struct service *left = *service;

    *service = NULL;
    if (!left || atomic_fetch_sub(&left->references, 1) > 1)
        return;
    key_free(&left->key);
    free(left->public_keys);
    if (left->base)
        service_put(&left->base);
    else
        config_free(&left->config);
    free(left);
}
