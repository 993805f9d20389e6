/*
 * load: one measurement of one server that runs already, as one line of JSON on stdout.
 *
 * What costs the server is set against its CPU time, since a wall clock says more about who else
 * is on the machine.  Anything lost, doubled or out of order makes the measurement fail.
 */
#include "tests/bench/crowd.h"
#include "tests/bench/post.h"
#include "tests/bench/process.h"

#include <getopt.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct settings {
    struct crowd_job job;
    struct post_job post;
    pid_t pid;
    const char *key;
    unsigned first; /* clients at the first look */
    double warm_s, for_s;
    FILE *out; /* the line, which is said only when all went well */
};

#define PATIENCE_MS 5000
#define SETTLE_MS   1500

static double seconds(uint64_t ns)
{
    return (double)ns / 1e9;
}

static void rest(double s)
{
    sleep_ms((unsigned)(s * 1000));
}

/* Ends the program if the server did not do what it had to. */
static void judge(struct crowd *crowd, bool is_drained)
{
    struct crowd_count count = crowd_count(crowd);
    uint64_t lost = crowd_lost(crowd);

    if (is_drained && lost == 0 && count.late == 0 && count.doubled == 0)
        return;
    fprintf(stderr,
            "load: of %llu messages heard: lost %llu, doubled %llu, out of order %llu; "
            "acknowledgements missing: %llu\n",
            (unsigned long long)count.heard, (unsigned long long)lost,
            (unsigned long long)count.doubled, (unsigned long long)count.late,
            (unsigned long long)(count.asked - count.acked));
    exit(1);
}

static void play(struct crowd *crowd, enum crowd_phase phase, double for_s)
{
    crowd_play(crowd, phase);
    rest(for_s);
    crowd_play(crowd, CROWD_LISTENS);
    judge(crowd, crowd_drain(crowd, PATIENCE_MS));
}

/* Where everything stands at a moment; and how far it has come since. */
struct look {
    uint64_t ns, cpu_ns;
    struct crowd_count count;
};

static struct look look(const struct settings *settings, struct crowd *crowd)
{
    return (struct look){now_ns(), process_cpu_ns(settings->pid), crowd_count(crowd)};
}

static struct look since(const struct settings *settings, struct crowd *crowd, struct look then)
{
    struct look now = look(settings, crowd);

    now.ns -= then.ns, now.cpu_ns -= then.cpu_ns;
    now.count.sent -= then.count.sent, now.count.heard -= then.count.heard;
    now.count.acked -= then.count.acked, now.count.requests -= then.count.requests;
    return now;
}

/* Play `phase` until the server is warm, and then for what counts. */
static struct look measure_phase(const struct settings *settings, struct crowd *crowd,
                                 enum crowd_phase phase)
{
    struct look start;

    play(crowd, phase, settings->warm_s);
    start = look(settings, crowd);
    play(crowd, phase, settings->for_s);
    return since(settings, crowd, start);
}

static double per_cpu_s(uint64_t count, struct look took)
{
    return (double)count / seconds(took.cpu_ns);
}

static double busy(struct look took)
{
    return (double)took.cpu_ns / (double)took.ns;
}

/* Resident growth and CPU time from the first clients to all; then the cost of doing nothing. */
static void measure_idle(const struct settings *settings, struct crowd *crowd)
{
    unsigned more = settings->job.clients - settings->first;
    uint64_t before, after;
    struct look took;

    crowd_open(crowd, settings->first);
    sleep_ms(SETTLE_MS);
    before = process_resident(settings->pid);
    took = look(settings, crowd);
    crowd_open(crowd, settings->job.clients);
    took = since(settings, crowd, took);
    sleep_ms(SETTLE_MS);
    after = process_resident(settings->pid);
    fprintf(settings->out,
            "\"resident\": %llu, \"bytes_per_client\": %.0f, \"connects_per_cpu_s\": %.0f",
            (unsigned long long)after, (double)((int64_t)after - (int64_t)before) / more,
            per_cpu_s(more, took));
    if (settings->for_s == 0)
        return;
    took = look(settings, crowd);
    rest(settings->for_s);
    fprintf(settings->out, ", \"idle_percent\": %.3f", 100 * busy(since(settings, crowd, took)));
}

/* Everyone in one room, a few senders with always so many messages under way. */
static void measure_flood(const struct settings *settings, struct crowd *crowd)
{
    struct look took;

    crowd_open(crowd, settings->job.clients);
    took = measure_phase(settings, crowd, CROWD_FLOODS);
    fprintf(settings->out,
            "\"sent\": %llu, \"deliveries\": %llu, \"deliveries_per_cpu_s\": %.0f, "
            "\"deliveries_per_s\": %.0f, \"busy\": %.2f",
            (unsigned long long)took.count.sent, (unsigned long long)took.count.heard,
            per_cpu_s(took.count.heard, took), (double)took.count.heard / seconds(took.ns),
            busy(took));
}

/* So many messages a second, however the server fares: what it delivers in time, and how late. */
static void measure_pace(const struct settings *settings, struct crowd *crowd)
{
    struct crowd_latency latency;
    struct look took;

    crowd_open(crowd, settings->job.clients);
    play(crowd, CROWD_PACES, settings->warm_s);
    crowd_take_latency(crowd, &latency);
    took = look(settings, crowd);
    crowd_play(crowd, CROWD_PACES);
    rest(settings->for_s);
    took = since(settings, crowd, took);
    crowd_play(crowd, CROWD_LISTENS);
    judge(crowd, crowd_drain(crowd, PATIENCE_MS));
    crowd_take_latency(crowd, &latency);
    fprintf(settings->out,
            "\"per_second\": %u, \"delivered_per_s\": %.0f, \"median_ms\": %.3f, "
            "\"p99_ms\": %.3f, \"busy\": %.2f",
            settings->job.per_second, (double)took.count.heard / seconds(took.ns),
            latency_ms(&latency, 0.5), latency_ms(&latency, 0.99), busy(took));
}

static void measure_ping(const struct settings *settings, struct crowd *crowd)
{
    struct look took;

    crowd_open(crowd, settings->job.clients);
    took = measure_phase(settings, crowd, CROWD_PINGS);
    fprintf(settings->out, "\"acks_per_cpu_s\": %.0f, \"acks_per_s\": %.0f, \"busy\": %.2f",
            per_cpu_s(took.count.acked, took), (double)took.count.acked / seconds(took.ns),
            busy(took));
    if (settings->job.is_polling)
        fprintf(settings->out, ", \"requests_per_cpu_s\": %.0f",
                per_cpu_s(took.count.requests, took));
}

/* Many small rooms: what a delivery costs; and over WebSocket, what leaving and joining does. */
static void measure_rooms(const struct settings *settings, struct crowd *crowd)
{
    struct look took;

    crowd_open(crowd, settings->job.clients);
    took = measure_phase(settings, crowd, CROWD_FLOODS);
    fprintf(settings->out, "\"rooms\": %u, \"deliveries_per_cpu_s\": %.0f", settings->job.rooms,
            per_cpu_s(took.count.heard, took));
    if (settings->job.is_polling)
        return;
    took = measure_phase(settings, crowd, CROWD_MOVES);
    fprintf(settings->out, ", \"moves_per_cpu_s\": %.0f", per_cpu_s(took.count.acked, took));
}

/* Forms to a login service; then, when it has rested, what it holds. */
static void measure_posts(const struct settings *settings, struct crowd *crowd)
{
    struct poster *poster = post_open(&settings->post);
    uint64_t start_ns, start_cpu_ns, answers;
    struct look took = {0};

    (void)crowd;
    post_play(poster, settings->warm_s);
    start_ns = now_ns(), start_cpu_ns = process_cpu_ns(settings->pid);
    answers = post_play(poster, settings->for_s);
    took.ns = now_ns() - start_ns, took.cpu_ns = process_cpu_ns(settings->pid) - start_cpu_ns;
    sleep_ms(SETTLE_MS);
    fprintf(settings->out,
            "\"answers\": %llu, \"answers_per_cpu_s\": %.0f, \"answers_per_s\": %.0f, "
            "\"busy\": %.2f, \"resident_mb\": %.2f",
            (unsigned long long)answers, per_cpu_s(answers, took),
            (double)answers / seconds(took.ns), busy(took),
            (double)process_resident(settings->pid) / 1e6);
}

/* clang-format off */
static const struct measurement {
    const char *name;
    void (*measure)(const struct settings *settings, struct crowd *crowd);
    const char *help;
} measurements[] = {
    {"idle",  measure_idle,  "resident growth and CPU of connecting, from --first to --clients; then idle for --for"},
    {"flood", measure_flood, "deliveries to one room per CPU-second, with --senders times --window messages under way"},
    {"pace",  measure_pace,  "latency at --rate messages a second from --senders"},
    {"ping",  measure_ping,  "acknowledged round trips per CPU-second"},
    {"rooms", measure_rooms, "deliveries to --rooms rooms of 10, and joining and leaving, per CPU-second"},
    {"posts", measure_posts, "answers of --status to --forms posted to --path, per CPU-second; without --key"},
};

static const struct option options[] = {
    {"port",    required_argument, NULL, 'p'}, {"pid",    required_argument, NULL, 'i'},
    {"key",     required_argument, NULL, 'k'}, {"threads", required_argument, NULL, 't'},
    {"clients", required_argument, NULL, 'c'}, {"senders", required_argument, NULL, 's'},
    {"window",  required_argument, NULL, 'w'}, {"rate",   required_argument, NULL, 'r'},
    {"first",   required_argument, NULL, 'f'}, {"warm",   required_argument, NULL, 'u'},
    {"for",     required_argument, NULL, 'd'}, {"rooms",  required_argument, NULL, 'm'},
    {"path",    required_argument, NULL, 'a'}, {"forms",  required_argument, NULL, 'o'},
    {"status",  required_argument, NULL, 'e'},
    {"polling", no_argument,       NULL, 'l'}, {NULL, 0, NULL, 0},
};
/* clang-format on */

static const struct measurement *find(const char *name)
{
    for (size_t i = 0; i < sizeof measurements / sizeof *measurements; i++)
        if (strcmp(measurements[i].name, name) == 0)
            return &measurements[i];
    return NULL;
}

_Noreturn static void usage(void)
{
    fprintf(stderr,
            "usage: load MEASUREMENT --port PORT --pid PID --key JWK [--threads N] [--clients N]\n"
            "            [--senders N] [--window N] [--rate N] [--first N] [--warm S] [--for S]\n"
            "            [--path PATH --forms FILE --status N]\n\n");
    for (size_t i = 0; i < sizeof measurements / sizeof *measurements; i++)
        fprintf(stderr, "  %-6s %s\n", measurements[i].name, measurements[i].help);
    exit(2);
}

static unsigned number(const char *text)
{
    char *end;
    unsigned long value = strtoul(text, &end, 10);

    if (*text == 0 || *end || value > 1000000)
        usage();
    return (unsigned)value;
}

static void take_options(struct settings *settings, int argc, char **argv)
{
    int letter;

    while ((letter = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (letter) {
        /* clang-format off */
        case 'p': settings->job.port = (uint16_t)number(optarg); break;
        case 'i': settings->pid = (pid_t)strtol(optarg, NULL, 10); break;
        case 'k': settings->key = optarg; break;
        case 't': settings->job.threads = number(optarg); break;
        case 'c': settings->job.clients = number(optarg); break;
        case 's': settings->job.senders = number(optarg); break;
        case 'w': settings->job.window = number(optarg); break;
        case 'r': settings->job.per_second = number(optarg); break;
        case 'm': settings->job.rooms = number(optarg); break;
        case 'l': settings->job.is_polling = true; break;
        case 'a': settings->post.path = optarg; break;
        case 'o': settings->post.forms = optarg; break;
        case 'e': settings->post.status = number(optarg); break;
        case 'f': settings->first = number(optarg); break;
        case 'u': settings->warm_s = strtod(optarg, NULL); break;
        case 'd': settings->for_s = strtod(optarg, NULL); break;
        default: usage();
            /* clang-format on */
        }
    }
}

/* A crowd's job.  Rooms of ten, as many for each client. */
static bool is_whole(const struct settings *settings)
{
    const struct crowd_job *job = &settings->job;

    return settings->key && job->threads > 0 && job->per_second > 0 &&
           job->senders <= job->clients && settings->first < job->clients &&
           (job->rooms == 0 || (job->clients >= ROOM_MEMBERS && job->clients % ROOM_MEMBERS == 0 &&
                                job->rooms % (job->clients / ROOM_MEMBERS) == 0));
}

int main(int argc, char **argv)
{
    struct settings settings = {
        .job = {.threads = 3, .clients = 100, .senders = 10, .window = 4, .per_second = 100},
        .warm_s = 1,
        .for_s = 3,
    };
    const struct measurement *measurement;
    struct signer signer;
    size_t length;
    char *line;
    bool is_posting;

    take_options(&settings, argc, argv);
    measurement = optind + 1 == argc ? find(argv[optind]) : NULL;
    is_posting = measurement && measurement->measure == measure_posts;
    if (!measurement || !settings.job.port || settings.pid <= 0 ||
        (is_posting ? !settings.post.forms || !settings.post.path || settings.job.clients == 0
                    : !is_whole(&settings)))
        usage();
    if (sodium_init() < 0 || (!is_posting && !signer_read(&signer, settings.key)))
        return 1;
    settings.job.signer = &signer;
    settings.post.port = settings.job.port;
    settings.post.clients = settings.job.clients;
    settings.out = open_memstream(&line, &length);
    fprintf(settings.out, "{\"clients\": %u, ", settings.job.clients);
    measurement->measure(&settings, is_posting ? NULL : crowd_new(&settings.job));
    fprintf(settings.out, "}");
    fclose(settings.out);
    puts(line);
    return 0;
}
