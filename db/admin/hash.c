/*
 * `sallyport hash bench`: of the settings for Argon2id that OWASP's Password Storage Cheat Sheet
 * has for equal, the fastest on this machine: one is as hard for whoever guesses as the other.
 * `sallyport hash memory`: what the login service needs to hash, for whoever limits it.
 */
#include "db/admin/columns.h"
#include "db/admin/command.h"

#include "common/memory.h"
#include "db/admin/instance.h"
#include "db/password.h"
#include "db/users.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define ONE_S 0.2 /* how long each is measured, by one thread */
#define ALL_S 0.5 /* and by one a core */

/* What sallyport-login takes beside its hashes: libraries, databases, the audit, login.connections
 * and what the kernel keeps for it; and what one of its threads does. */
#define BASE_BYTES   ((size_t)48 << 20)
#define THREAD_BYTES ((size_t)1 << 20)

/* "{}," as jansson keeps it is so much longer. */
#define JSON_GROWTH 80

static const struct candidate {
    unsigned memory_mib, passes;
} candidates[] = {{46, 1}, {19, 2}, {12, 3}, {9, 4}, {7, 5}};
#define CANDIDATES (sizeof candidates / sizeof *candidates)

struct measure {
    double ms, per_second;
};

struct thread {
    pthread_t id;
    struct password_setting setting;
    double seconds, took_s;
    size_t hashes;
    bool has_failed;
};

static double now_s(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void *run(void *context)
{
    struct thread *thread = context;
    double start_s = now_s();
    char hash[PASSWORD_HASH_SIZE];

    do {
        thread->has_failed =
            thread->has_failed || !password_hash(thread->setting, "correct horse", 13, hash);
        thread->hashes++;
        thread->took_s = now_s() - start_s;
    } while (thread->took_s < thread->seconds);
    return NULL;
}

/* Hashes a second; 0: there is no memory, or no thread. */
static double rate(struct password_setting setting, size_t n, double seconds)
{
    struct thread *threads = memory_zeroed(n, sizeof *threads);
    size_t n_started = 0;
    double sum = 0;

    for (; n_started < n; n_started++) {
        threads[n_started] = (struct thread){.setting = setting, .seconds = seconds};
        if (pthread_create(&threads[n_started].id, NULL, run, &threads[n_started]) != 0)
            break;
    }
    for (size_t i = 0; i < n_started; i++) {
        pthread_join(threads[i].id, NULL);
        sum += (double)threads[i].hashes / threads[i].took_s;
    }
    for (size_t i = 0; i < n_started; i++)
        if (threads[i].has_failed)
            sum = 0;
    free(threads);
    return n_started == n ? sum : 0;
}

static bool measure(size_t cores, struct measure measures[CANDIDATES], size_t *fastest)
{
    bool is_terminal = isatty(STDERR_FILENO);

    *fastest = 0;
    for (size_t i = 0; i < CANDIDATES; i++) {
        struct password_setting setting = {(size_t)candidates[i].memory_mib << 20,
                                           candidates[i].passes};
        double alone;

        if (is_terminal)
            fprintf(stderr, "\r\033[K%u MiB, %zu of %zu", candidates[i].memory_mib, i + 1,
                    CANDIDATES);
        alone = rate(setting, 1, ONE_S);
        measures[i] = (struct measure){alone > 0 ? 1000 / alone : 0, rate(setting, cores, ALL_S)};
        if (measures[i].per_second > measures[*fastest].per_second)
            *fastest = i;
    }
    if (is_terminal)
        fputs("\r\033[K", stderr);
    return measures[*fastest].per_second > 0;
}

static void print_json(size_t cores, const struct measure measures[], size_t fastest)
{
    json_t *list = json_array();

    for (size_t i = 0; i < CANDIDATES; i++)
        json_array_append_new(
            list, json_pack("{s:i, s:i, s:i, s:i}", "memory_mib", (int)candidates[i].memory_mib,
                            "passes", (int)candidates[i].passes, "us", (int)(1000 * measures[i].ms),
                            "per_second", (int)measures[i].per_second));
    command_print_json(json_pack("{s:I, s:o, s:{s:i, s:i}}", "cores", (json_int_t)cores, "measured",
                                 list, "fastest", "memory_mib", (int)candidates[fastest].memory_mib,
                                 "passes", (int)candidates[fastest].passes));
}

static void print_table(size_t cores, const struct measure measures[], size_t fastest)
{
    struct columns columns = COLUMNS("MEMORY", "PASSES", "MS", "HASHES/S", "");
    char text[32];

    for (size_t i = 0; i < CANDIDATES; i++) {
        snprintf(text, sizeof text, "%u MiB", candidates[i].memory_mib);
        columns_add(&columns, text);
        columns_add_number(&columns, candidates[i].passes);
        snprintf(text, sizeof text, "%.1f", measures[i].ms);
        columns_add(&columns, text);
        snprintf(text, sizeof text, "%.0f", measures[i].per_second);
        columns_add(&columns, text);
        columns_add(&columns, i == fastest ? "fastest" : "");
    }
    columns_print(&columns);
    printf("\nMS by one thread, HASHES/S by %zu at once.  For the config, in `login: { ... }`:\n\n"
           "    hash_memory = \"%uMiB\";\n    hash_passes = %u;\n",
           cores, candidates[fastest].memory_mib, candidates[fastest].passes);
}

static enum command_status bench(const struct request *request)
{
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    size_t cores = online > 0 ? (size_t)online : 1, fastest;
    struct measure measures[CANDIDATES];

    if (!measure(cores, measures, &fastest))
        return command_refuse(COMMAND_FAILED, "there is no memory to hash in");
    (request_has(request, OPTION_JSON) ? print_json : print_table)(cores, measures, fastest);
    return COMMAND_DONE;
}

/* Each of those who hash at once may be at the dearest. */
static size_t service_bytes(const struct config *config, const struct kinds *kinds)
{
    size_t places = password_places(config);

    if (places > config->login_threads)
        places = config->login_threads;
    return BASE_BYTES +
           config->login_threads * (THREAD_BYTES + JSON_GROWTH * (size_t)config->login_max_body) +
           places * password_memory_bytes(password_setting_of(config), kinds);
}

static enum command_status memory(const struct request *request)
{
    struct instance instance;
    enum command_status status = instance_open(request, &instance);
    struct kinds kinds;
    size_t bytes;

    if (status == COMMAND_DONE)
        status = instance_status(&instance, users_kinds(instance.database, &kinds), "");
    if (status == COMMAND_DONE) {
        bytes = service_bytes(instance.config, &kinds);
        if (request_has(request, OPTION_JSON))
            command_print_json(json_pack("{s:I}", "bytes", (json_int_t)bytes));
        else
            printf("%zu\n", bytes);
    }
    instance_close(&instance);
    return status;
}

/* clang-format off */
const struct command hash_commands[] = {
    {"hash", "bench", NULL, TAKES(OPTION_JSON), 0, "find the setting for password hashes that is fastest here", bench},
    {"hash", "memory", NULL, TAKES(OPTION_JSON), 0, "the most memory that sallyport-login needs with this config and these users, in bytes", memory},
    {0},
};
/* clang-format on */
