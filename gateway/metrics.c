/* The counters of all workers for whoever collects them; what is counted is in counters.h. */
#include "gateway/metrics.h"

#include "common/clock.h"
#include "gateway/worker.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One member of every worker's counters, by its place in the struct. */
static uint64_t sum(const struct gateway *gateway, size_t offset)
{
    uint64_t total = 0;

    for (unsigned i = 0; i < gateway->n_workers; i++) {
        const char *counters = (const char *)&gateway->worker[i].counters;

        total += atomic_load_explicit((const _Atomic uint64_t *)(const void *)(counters + offset),
                                      memory_order_relaxed);
    }
    return total;
}

static void head(FILE *out, const char *name, const char *type, const char *help)
{
    fprintf(out, "# HELP sallyport_%s %s.\n# TYPE sallyport_%s %s\n", name, help, name, type);
}

static void write_counters(FILE *out, const struct gateway *gateway)
{
    static const struct {
        const char *name, *help;
        size_t offset;
    } rows[] = {
#define ROW(name, help) {#name "_total", help, offsetof(struct counters, name)},
        COUNTERS(ROW)
#undef ROW
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        head(out, rows[i].name, "counter", rows[i].help);
        fprintf(out, "sallyport_%s %" PRIu64 "\n", rows[i].name, sum(gateway, rows[i].offset));
    }
}

static void write_closed(FILE *out, const struct gateway *gateway)
{
    head(out, "closed_total", "counter", "sessions that ended, by reason");
    for (enum close_reason reason = 0; reason < CLOSE_REASONS_N; reason++)
        fprintf(out, "sallyport_closed_total{reason=\"%s\"} %" PRIu64 "\n",
                close_reason_word(reason),
                sum(gateway, offsetof(struct counters, closed) + reason * sizeof(uint64_t)));
}

static void write_sessions(FILE *out, const struct gateway *gateway)
{
    static const char *const states[SESSION_STATES] = {"polling", "upgrading", "websocket",
                                                       "closing"};

    head(out, "sessions", "gauge", "sessions that are open, by state");
    for (int state = 0; state < SESSION_STATES; state++)
        fprintf(
            out, "sallyport_sessions{state=\"%s\"} %" PRIu64 "\n", states[state],
            sum(gateway, offsetof(struct counters, sessions) + (size_t)state * sizeof(uint64_t)));
}

static void write_gauges(FILE *out, const struct gateway *gateway)
{
    uint64_t ns = sum(gateway, offsetof(struct counters, turn_ns)), queued = 0;

    for (unsigned i = 0; i < gateway->n_workers; i++)
        queued += atomic_load_explicit(&gateway->worker[i].outboxes.bytes, memory_order_relaxed);
    head(out, "queued_bytes", "gauge", "bytes that wait to be written to clients");
    fprintf(out, "sallyport_queued_bytes %" PRIu64 "\n", queued);
    head(out, "descriptors", "gauge", "connections that hold a descriptor");
    fprintf(out, "sallyport_descriptors %" PRIu64 "\n", atomic_load(&gateway->descriptors));
    head(out, "workers", "gauge", "event threads");
    fprintf(out, "sallyport_workers %u\n", gateway->n_workers);
    head(out, "turn_seconds", "summary", "time the workers spent awake, turn by turn");
    fprintf(out,
            "sallyport_turn_seconds_sum %" PRIu64 ".%09" PRIu64
            "\nsallyport_turn_seconds_count %" PRIu64 "\n",
            ns / 1000000000, ns % 1000000000, sum(gateway, offsetof(struct counters, turns)));
}

/* One metric of each issuer, named by its prefix, which is short and needs no escapes. */
static void write_each(FILE *out, const struct issuers *issuers, const char *name, const char *type,
                       const char *help, uint64_t (*value)(const struct issuers *, size_t))
{
    head(out, name, type, help);
    for (size_t i = 0; i < issuers->n; i++) {
        const char *prefix = issuers->issuer[i].policy.prefix;

        fprintf(out, "sallyport_%s{issuer=\"%.*s\"} %" PRIu64 "\n", name, (int)strcspn(prefix, ":"),
                prefix, value(issuers, i));
    }
}

static uint64_t fetches(const struct issuers *issuers, size_t i)
{
    return issuers->state[i].fetches;
}

static uint64_t failures(const struct issuers *issuers, size_t i)
{
    return issuers->state[i].failures;
}

static uint64_t keys(const struct issuers *issuers, size_t i)
{
    return issuers->issuer[i].keyring ? keyring_count(issuers->issuer[i].keyring) : 0;
}

/* Of a file, and of what never came: 0. */
static uint64_t age_s(const struct issuers *issuers, size_t i)
{
    uint64_t fetched_ms = issuers->state[i].fetched_ms;

    return fetched_ms ? (clock_monotonic_ms() - fetched_ms) / 1000 : 0;
}

static void write_issuers(FILE *out, const struct issuers *issuers)
{
    if (issuers->n == 0)
        return;
    write_each(out, issuers, "issuer_fetches_total", "counter",
               "times another issuer's keys were fetched", fetches);
    write_each(out, issuers, "issuer_failures_total", "counter",
               "times another issuer's keys could not be fetched", failures);
    write_each(out, issuers, "issuer_keys", "gauge", "keys of another issuer that are believed now",
               keys);
    write_each(out, issuers, "issuer_age_seconds", "gauge",
               "time since another issuer's keys were fetched", age_s);
}

char *metrics_text(const struct worker *worker, size_t *bytes)
{
    const struct gateway *gateway = worker->gateway;
    char *text = NULL;
    FILE *out = open_memstream(&text, bytes);

    if (!out)
        abort();
    write_sessions(out, gateway);
    write_gauges(out, gateway);
    write_counters(out, gateway);
    write_closed(out, gateway);
    write_issuers(out, worker->issuers);
    fclose(out);
    return text;
}
