/* Config, keys, rules and the client's bundle, read together: a running gateway never sees half of
 * a change. */
#include "gateway/snapshot.h"

#include "common/log.h"
#include "common/memory.h"
#include "common/trust.h"
#include "gateway/sources.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CLIENT_MAX_BYTES (4 * 1024 * 1024)

static void warn(const char *text, void *context)
{
    (void)context;
    log_warning("%s", text);
}

static bool read_trusted(struct snapshot *snapshot, struct error *error)
{
    config_texts texts = snapshot->config->gateway_trusted_proxies;
    size_t n = 0;

    while (texts[n])
        n++;
    snapshot->trusted = memory_zeroed(n + 1, sizeof *snapshot->trusted);
    for (; snapshot->n_trusted < n; snapshot->n_trusted++)
        if (!net_network_parse(texts[snapshot->n_trusted], &snapshot->trusted[snapshot->n_trusted],
                               error))
            return false;
    return true;
}

/* The files that the issuers name; what they name by URL is fetched later. */
static bool read_issuers(struct snapshot *snapshot, struct error *error)
{
    for (size_t i = 0; i < snapshot->config->n_issuers; i++) {
        const struct config_issuer *issuer = &snapshot->config->issuers[i];
        size_t unfit = 0;

        if (*issuer->issuer_ca && access(issuer->issuer_ca, R_OK) != 0)
            return error_set(error, "issuers.ca: cannot read %s: %s", issuer->issuer_ca,
                             strerror(errno));
        if (!trust_has_file(issuer))
            continue;
        snapshot->issuer_keys[i] =
            keyring_read_set(issuer->issuer_jwks, issuer->issuer_algorithms, &unfit, error);
        if (!snapshot->issuer_keys[i])
            return false;
        if (unfit)
            log_warning("%s: %zu of its keys are not used: secret, private, weak, or wrong",
                        issuer->issuer_jwks, unfit);
    }
    return true;
}

static bool read_client(struct snapshot *snapshot, struct error *error)
{
    const char *path = snapshot->config->gateway_client;
    FILE *file;
    bool is_whole;

    if (!path[0])
        return true;
    file = fopen(path, "re");
    if (!file)
        return error_set(error, "gateway.client: cannot open %s: %s", path, strerror(errno));
    snapshot->client = memory_new(CLIENT_MAX_BYTES);
    snapshot->client_bytes = fread(snapshot->client, 1, CLIENT_MAX_BYTES, file);
    is_whole = !ferror(file) && fgetc(file) == EOF;
    fclose(file);
    if (!is_whole)
        return error_set(error, "gateway.client: cannot read %s, or it is larger than 4 MiB", path);
    snapshot->client = memory_resize(snapshot->client, snapshot->client_bytes + 1, 1);
    return true;
}

static bool demands_tokens(const struct rules *rules)
{
    for (size_t i = 0; i < rules_namespaces(rules); i++)
        if (rules_namespace_authenticate(rules_namespace_at(rules, i)) != AUTHENTICATE_REQUIRED)
            return false;
    return true;
}

/* Where tokens are looked for, and how they are refused. */
static bool read_gate(struct snapshot *snapshot, struct error *error)
{
    snapshot->sources = sources_of(snapshot->config);
    snapshot->demands_tokens = demands_tokens(snapshot->rules);
    snapshot->refuses_requests = strcmp(snapshot->config->gateway_reject, "upgrade") == 0;
    if (!snapshot->sources)
        return error_set(error, "gateway.token_sources names none, nor is there a "
                                "gateway.token_cookie: nobody could show a token");
    if (snapshot->refuses_requests && snapshot->demands_tokens && snapshot->sources == SOURCE_AUTH)
        return error_set(error, "gateway.reject is \"upgrade\", but no HTTP request can bring a "
                                "token: add header or query to gateway.token_sources, or name a "
                                "gateway.token_cookie");
    return true;
}

static bool read_keys(struct snapshot *snapshot, struct error *error)
{
    snapshot->keys_stamp = keyring_stamp(snapshot->config->keys);
    snapshot->keyring = keyring_read(snapshot->config->keys, error);
    return snapshot->keyring != NULL;
}

static void free_files(struct snapshot *snapshot)
{
    free(snapshot->client);
    free(snapshot->trusted);
    if (snapshot->rules)
        rules_put(&snapshot->rules);
    for (size_t i = 0; i < CONFIG_MAX_ISSUERS; i++)
        keyring_put(&snapshot->issuer_keys[i]);
    if (snapshot->config)
        config_free(&snapshot->config);
}

struct snapshot *snapshot_read(const char *config_path, struct error *error)
{
    static _Atomic uint32_t serials;
    struct snapshot *snapshot = memory_zeroed(1, sizeof *snapshot);

    atomic_init(&snapshot->references, 1);
    snapshot->serial = atomic_fetch_add(&serials, 1) + 1;
    snapshot->config = config_read(config_path, error);
    if (!snapshot->config)
        goto failed;
    snapshot->policy = trust_policy(snapshot->config);
    if (!read_keys(snapshot, error))
        goto failed;
    snapshot->rules = rules_read(snapshot->config->gateway_rules, warn, NULL, error);
    if (!snapshot->rules)
        goto failed;
    if (!read_gate(snapshot, error) || !read_trusted(snapshot, error) ||
        !read_issuers(snapshot, error) || !read_client(snapshot, error))
        goto failed;
    return snapshot;

failed:
    snapshot_put(&snapshot);
    return NULL;
}

struct snapshot *snapshot_with_new_keys(struct snapshot *old, struct error *error)
{
    struct snapshot *snapshot = memory_zeroed(1, sizeof *snapshot);

    memcpy(&snapshot->serial, &old->serial, sizeof *old - offsetof(struct snapshot, serial));
    atomic_init(&snapshot->references, 1);
    snapshot->base = snapshot_get(old->base ? old->base : old);
    if (!read_keys(snapshot, error))
        snapshot_put(&snapshot);
    return snapshot;
}

struct snapshot *snapshot_get(struct snapshot *snapshot)
{
    atomic_fetch_add_explicit(&snapshot->references, 1, memory_order_relaxed);
    return snapshot;
}

void snapshot_put(struct snapshot **snapshot)
{
    struct snapshot *s = *snapshot;

    *snapshot = NULL;
    if (!s || atomic_fetch_sub_explicit(&s->references, 1, memory_order_acq_rel) > 1)
        return;
    if (s->keyring)
        keyring_put(&s->keyring);
    if (s->base)
        snapshot_put(&s->base);
    else
        free_files(s);
    free(s);
}
