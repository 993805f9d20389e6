/*
 * The current service, and the reference each request holds on it.  When to read anew is decided
 * by main.c.
 */
#include "login-fcgi/service.h"

#include "common/memory.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>

#define THREADS_MAX 512

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct service *current;

/* What the table of settings cannot say of a value. */
static bool check(const struct config *config, struct error *error)
{
    if (config->login_threads < 1 || config->login_threads > THREADS_MAX)
        return error_set(error, "login.threads is %" PRIu64 "; it must be from 1 to %d",
                         config->login_threads, THREADS_MAX);
    if (config->login_timeout < 100)
        return error_set(error, "login.timeout is %" PRIu64 " ms; it must be at least 100ms",
                         config->login_timeout);
    if (config->token_lifetime < 1000)
        return error_set(error, "token.lifetime is %" PRIu64 " ms; it must be at least 1s",
                         config->token_lifetime);
    return true;
}

struct service *service_read(const char *path, struct error *error)
{
    struct service *service = memory_zeroed(1, sizeof *service);

    atomic_init(&service->references, 1);
    service->config = config_read(path, error);
    if (service->config)
        service->keys_stamp = keyring_stamp(service->config->keys);
    if (service->config && check(service->config, error))
        service->key = keyring_read_signing(service->config->keys, error);
    if (!service->key)
        service_put(&service);
    return service;
}

void service_install(struct service *fresh)
{
    struct service *old;

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
    config_free(&left->config);
    free(left);
}
