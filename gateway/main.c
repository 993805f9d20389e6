/*
 * sallyport-gateway: sockets in, events out.  The main thread reads files and waits for signals;
 * the workers do everything else.
 */
#include "common/clock.h"
#include "common/daemon.h"
#include "common/log.h"
#include "common/net.h"
#include "gateway/explain.h"
#include "gateway/worker.h"

#include <getopt.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define RESERVED_DESCRIPTORS 64   /* files, libraries, the workers' own */
#define REQUESTS_SHARE       8    /* one descriptor in so many is kept for requests */
#define LOOK_MS              40   /* after so long a revocation is noticed */
#define SLOW_LOOK_MS         1000 /* and everything else */
#define BUSY_LOOK_MS         5    /* while another issuer's keys are fetched */
#define FIRST_KEYS_MS        2000 /* a start waits so long for other issuers' keys: see serve() */
#define MAX_DESCRIPTORS      (UINT64_C(1) << 24)

static const char usage[] =
    "usage: sallyport-gateway [-c FILE] [--check]\n"
    "       sallyport-gateway --explain [-c FILE] [OPTION]... EVENT [ARGUMENT]...\n"
    "       sallyport-gateway --explain [-c FILE] [OPTION]... --when MOMENT\n"
    "  -c, --config FILE   the config (default /etc/sallyport/sallyport.conf)\n"
    "      --check         read config, keys and rules, say what is wrong, and stop\n"
    "      --explain       say what the rules would do; arguments are JSON, or else texts:\n"
    "      --user NAME, --claims JSON    who sends it, with the claims of their token\n"
    "      --token         the same from a token on standard input\n"
    "      --namespace NAME              where (default /)\n"
    "      --room NAME     a room it is in; may be repeated\n"
    "      --set NAME=JSON a variable it has; may be repeated\n"
    "      --auth JSON     what CONNECT brought\n"
    "      --when MOMENT   such as connection or \"user online\", instead of an event\n"
    "      --help, --version\n";

struct options {
    const char *config;
    bool check, explains;
    struct explain explain;
};

static int usage_error(void)
{
    fputs(usage, stderr);
    return 2;
}

static int misused(const char *text)
{
    fprintf(stderr, "sallyport-gateway: %s\n", text);
    return usage_error() + 1;
}

/* One that describes the socket of --explain; false: it is none, or too many of its kind. */
static bool take_description(struct explain *explain, int option, const char *text)
{
    switch (option) {
    case 'u':
        explain->user = text;
        return true;
    case 't':
        explain->takes_token = true;
        return true;
    case 'C':
        explain->claims = text;
        return true;
    case 'n':
        explain->space = text;
        return true;
    case 'a':
        explain->auth = text;
        return true;
    case 'w':
        explain->moment = text;
        return true;
    case 'r':
        if (explain->n_rooms < EXPLAIN_ROOMS)
            explain->room[explain->n_rooms] = text;
        return explain->n_rooms++ < EXPLAIN_ROOMS;
    case 's':
        if (explain->n_variables < EXPLAIN_VARIABLES)
            explain->variable[explain->n_variables] = text;
        return explain->n_variables++ < EXPLAIN_VARIABLES;
    default:
        return false;
    }
}

/* Do the options go together?  As parse_options. */
static int check_options(struct options *options, int n, char **rest, bool is_described)
{
    struct explain *explain = &options->explain;

    if (!options->explains && n > 0) {
        fprintf(stderr, "sallyport-gateway: unexpected argument \"%s\"\n", rest[0]);
        return usage_error() + 1;
    }
    if (!options->explains)
        return is_described ? misused("a socket is described only for --explain") : 0;
    explain->event = rest;
    explain->n_event = n;
    if ((n > 0) == (explain->moment != NULL))
        return misused("--explain takes an event, or --when and a moment");
    if (explain->user && explain->takes_token)
        return misused("either --user or --token says who it is");
    if (explain->claims && !explain->user)
        return misused("--claims are those of --user NAME");
    return 0;
}

/* 0: go on; else the exit status plus one. */
static int parse_options(int argc, char **argv, struct options *options)
{
    static const struct option table[] = {
        {"config", required_argument, NULL, 'c'},    {"check", no_argument, NULL, 'k'},
        {"explain", no_argument, NULL, 'e'},         {"user", required_argument, NULL, 'u'},
        {"token", no_argument, NULL, 't'},           {"claims", required_argument, NULL, 'C'},
        {"namespace", required_argument, NULL, 'n'}, {"room", required_argument, NULL, 'r'},
        {"set", required_argument, NULL, 's'},       {"auth", required_argument, NULL, 'a'},
        {"when", required_argument, NULL, 'w'},      {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'v'},         {NULL, 0, NULL, 0}};
    bool is_described = false;
    int option;

    /* "+": what follows the event's name is its arguments, such as -1. */
    while ((option = getopt_long(argc, argv, "+c:", table, NULL)) != -1) {
        switch (option) {
        case 'c':
            options->config = optarg;
            break;
        case 'k':
            options->check = true;
            break;
        case 'e':
            options->explains = true;
            break;
        case 'h':
            fputs(usage, stdout);
            return 1;
        case 'v':
            puts("sallyport-gateway " VERSION);
            return 1;
        default:
            if (!take_description(&options->explain, option, optarg))
                return usage_error() + 1;
            is_described = true;
        }
    }
    return check_options(options, argc - optind, argv + optind, is_described);
}

/* Some descriptors are always left for requests, so that a full house can still say that it is
 * full. */
static void set_connections(struct gateway *gateway, const struct config *config)
{
    uint64_t possible = gateway->max_descriptors - gateway->max_descriptors / REQUESTS_SHARE;
    uint64_t wanted = config->limits_connections;

    if (wanted > possible)
        log_warning("gateway.limits.connections is %llu, but only %llu descriptors can be had for "
                    "them; raise "
                    "LimitNOFILE or `ulimit -n`",
                    (unsigned long long)wanted, (unsigned long long)possible);
    atomic_store(&gateway->max_connections, wanted && wanted < possible ? wanted : possible);
}

static bool set_bounds(struct gateway *gateway, const struct config *config, struct error *error)
{
    uint64_t descriptors = daemon_raise_descriptor_limit();

    gateway->n_workers = (unsigned)config->gateway_workers;
    if (gateway->n_workers == 0)
        gateway->n_workers = (unsigned)sysconf(_SC_NPROCESSORS_ONLN);
    if (gateway->n_workers > 64)
        gateway->n_workers = 64;
    if (descriptors < 2 * RESERVED_DESCRIPTORS)
        return error_set(error,
                         "only %llu descriptors may be opened; at least %d are needed (`ulimit "
                         "-n`, LimitNOFILE)",
                         (unsigned long long)descriptors, 2 * RESERVED_DESCRIPTORS);
    descriptors -= RESERVED_DESCRIPTORS;
    gateway->max_descriptors = descriptors > MAX_DESCRIPTORS ? MAX_DESCRIPTORS : descriptors;
    set_connections(gateway, config);
    return true;
}

/* systemd's socket is its own to remove; one that we made is ours. */
static int listen_or_activated(const struct config *config, bool *is_ours, struct error *error)
{
    int fd;

    error->text[0] = '\0';
    fd = daemon_activated_socket(error);
    *is_ours = fd < 0;
    if (fd >= 0 || error->text[0])
        return fd;
    return net_listen(config->gateway_listen, error);
}

static void set_log_level(const struct config *config)
{
    enum log_level level;

    if (log_level_find(config->log_level, &level))
        log_set_level(level);
}

/* Read everything anew and hand it to the workers; a mistake anywhere changes nothing. */
static void reload(struct gateway *gateway, struct snapshot **running, const char *path)
{
    struct error error;
    struct snapshot *fresh = snapshot_read(path, &error);
    char names[512];

    if (!fresh) {
        log_error("nothing is changed: %s", error.text);
        return;
    }
    if (config_frozen_differences((*running)->config, fresh->config, names, sizeof names) > 0)
        log_warning("only a restart changes %s", names);
    set_log_level(fresh->config);
    set_connections(gateway, fresh->config);
    gateway_adopt(gateway, fresh);
    snapshot_put(running);
    *running = fresh;
    log_info("config, keys and rules are read anew");
}

/* The revocations, and since when they have not been readable. */
struct revocation_watch {
    struct revocations *reader;
    struct revoked *known;
    uint64_t failing_since_ms; /* 0: all is well */
};

/* False: error. */
static bool revocation_watch_open(struct revocation_watch *watch, const struct config *config,
                                  struct error *error)
{
    bool changed;

    *watch = (struct revocation_watch){
        .reader = revocations_open_reader(config->token_revocations, error)};
    return watch->reader && revocations_have_changed(watch->reader, &changed, error) &&
           (watch->known = revoked_read(watch->reader, error)) != NULL;
}

static void revocation_watch_close(struct revocation_watch *watch)
{
    revocations_close(&watch->reader);
    revoked_put(&watch->known);
}

static void make_known(struct revocation_watch *watch, struct gateway *gateway,
                       struct revoked *fresh)
{
    revoked_put(&watch->known);
    watch->known = fresh;
    gateway_revoke(gateway, fresh);
}

/* They cannot be read: what is known does for a while. */
static void be_patient(struct revocation_watch *watch, struct gateway *gateway,
                       const struct config *config, const struct error *error)
{
    uint64_t now_ms = clock_monotonic_ms();

    if (!watch->failing_since_ms) {
        watch->failing_since_ms = now_ms;
        log_error("revocations cannot be read, and what is known of them may be out of date: %s",
                  error->text);
    }
    if (revoked_is_stale(watch->known) ||
        now_ms - watch->failing_since_ms < config->gateway_revocation_patience)
        return;
    log_error(
        "revocations have not been readable for too long: nobody new is let in until they are");
    make_known(watch, gateway, revoked_as_stale(watch->known));
}

static void look_at_revocations(struct revocation_watch *watch, struct gateway *gateway,
                                const struct config *config)
{
    struct revoked *fresh = NULL;
    struct error error;
    bool changed, is_read = revocations_have_changed(watch->reader, &changed, &error);

    if (is_read && !changed && !watch->failing_since_ms)
        return;
    if (is_read)
        fresh = revoked_read(watch->reader, &error);
    if (!fresh) {
        be_patient(watch, gateway, config, &error);
        return;
    }
    if (watch->failing_since_ms)
        log_info("revocations can be read again");
    watch->failing_since_ms = 0;
    make_known(watch, gateway, fresh);
}

/* Config and rules may be half written meanwhile: they are not looked at. */
static void look_at_keys(struct gateway *gateway, struct snapshot **running, uint64_t *stamp)
{
    uint64_t now = keyring_stamp((*running)->config->keys);
    struct error error;
    struct snapshot *fresh;

    if (now == *stamp)
        return;
    *stamp = now; /* what is wrong with them is said once */
    fresh = snapshot_with_new_keys(*running, &error);
    if (!fresh) {
        log_error("the keys stay as they were: %s", error.text);
        return;
    }
    gateway_change_keys(gateway, fresh);
    snapshot_put(running);
    *running = fresh;
    log_info("the keys are read anew");
}

/* The main thread's days: signals, revocations, other issuers' keys, and now and then a look at our
 * own and systemd's watchdog. */
static int watch_over(struct gateway *gateway, struct snapshot **snapshot, const char *path,
                      const sigset_t *signals, struct revocation_watch *revocations,
                      struct issuers_watch *issuers)
{
    static const struct timespec look = {.tv_nsec = LOOK_MS * 1000000},
                                 busy_look = {.tv_nsec = BUSY_LOOK_MS * 1000000};
    uint64_t watchdog_ms = daemon_watchdog_ms(), stamp = (*snapshot)->keys_stamp;
    uint64_t slow_ms = watchdog_ms && watchdog_ms < SLOW_LOOK_MS ? watchdog_ms : SLOW_LOOK_MS;
    uint64_t slow_at_ms = clock_monotonic_ms();

    for (;;) {
        bool is_busy = issuers_watch_is_busy(issuers);
        int signal_number = sigtimedwait(signals, NULL, is_busy ? &busy_look : &look);
        bool is_slow_due = clock_monotonic_ms() >= slow_at_ms;
        const struct snapshot *before = *snapshot;

        if (signal_number == SIGTERM || signal_number == SIGINT)
            return signal_number;
        look_at_revocations(revocations, gateway, (*snapshot)->config);
        if (signal_number == SIGHUP) {
            daemon_reloading();
            reload(gateway, snapshot, path);
            daemon_ready();
        }
        if (is_slow_due)
            look_at_keys(gateway, snapshot, &stamp);
        if (*snapshot != before)
            issuers_watch_adopt(issuers, *snapshot);
        if (issuers_watch_turn(issuers) || *snapshot != before)
            gateway_know(gateway, issuers_watch_known(issuers));
        if (!is_slow_due)
            continue;
        slow_at_ms = clock_monotonic_ms() + slow_ms;
        if (watchdog_ms && gateway_is_turning(gateway))
            daemon_alive();
    }
}

/*
 * Clients of a gateway that starts again are back at once, and one that is refused does not try
 * again by itself: so the keys of other issuers are waited for, while clients wait to be accepted.
 */
static int serve(struct snapshot **snapshot, const char *path)
{
    struct gateway gateway = {.listen_fd = -1};
    struct revocation_watch revocations;
    struct issuers_watch *issuers = issuers_watch_new(*snapshot);
    struct error error;
    char where[256];
    sigset_t signals;
    int signal_number;
    bool is_ours = false;

    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    set_log_level((*snapshot)->config);
    if (set_bounds(&gateway, (*snapshot)->config, &error))
        gateway.listen_fd = listen_or_activated((*snapshot)->config, &is_ours, &error);
    if (gateway.listen_fd >= 0)
        issuers_watch_wait(issuers, FIRST_KEYS_MS);
    if (gateway.listen_fd < 0 ||
        !revocation_watch_open(&revocations, (*snapshot)->config, &error) ||
        !gateway_init(&gateway, *snapshot, revocations.known, issuers_watch_known(issuers),
                      &error) ||
        !gateway_start(&gateway, &error)) {
        log_error("%s", error.text);
        issuers_watch_free(&issuers);
        return 1;
    }
    net_listen_text(gateway.listen_fd, where, sizeof where);
    log_info("listening on %s with %u workers, up to %llu connections", where, gateway.n_workers,
             (unsigned long long)atomic_load(&gateway.max_connections));
    daemon_ready();
    signal_number = watch_over(&gateway, snapshot, path, &signals, &revocations, issuers);
    log_info("stopping: %s", strsignal(signal_number));
    daemon_stopping();
    if (is_ours)
        net_unlisten((*snapshot)->config->gateway_listen);
    close(gateway.listen_fd);
    gateway_stop(&gateway);
    gateway_join(&gateway);
    revocation_watch_close(&revocations);
    issuers_watch_free(&issuers);
    return 0;
}

int main(int argc, char **argv)
{
    struct options options = {.config = "/etc/sallyport/sallyport.conf", .explain.space = "/"};
    struct snapshot *snapshot;
    struct error error;
    int status = parse_options(argc, argv, &options);

    if (status)
        return status - 1;
    log_open("sallyport-gateway");
    daemon_forbid_core_dumps();
    signal(SIGPIPE, SIG_IGN);
    if (sodium_init() < 0) {
        log_error("libsodium cannot be started");
        return 1;
    }
    snapshot = snapshot_read(options.config, &error);
    if (!snapshot) {
        log_error("%s", error.text);
        return 1;
    }
    if (options.check)
        printf("sallyport-gateway: %s: the config, keys and rules are in order\n", options.config);
    else if (options.explains)
        status = explain_run(snapshot, &options.explain, stdout);
    else
        status = serve(&snapshot, options.config);
    snapshot_put(&snapshot);
    return status;
}
