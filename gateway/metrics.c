/* The counters of all workers for whoever collects them; what is counted is in counters.h. */
#include "gateway/metrics.h"

#include "gateway/worker.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

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

char *metrics_text(struct gateway *gateway, size_t *bytes)
{
    char *text = NULL;
    FILE *out = open_memstream(&text, bytes);

    if (!out)
        abort();
    write_sessions(out, gateway);
    write_gauges(out, gateway);
    write_counters(out, gateway);
    write_closed(out, gateway);
    fclose(out);
    return text;
}
