/*
 * The queue between those who answer and the audit, and the thread that empties it.  What is worth
 * an event is decided where it happens.
 */
#include "login-fcgi/recorder.h"

#include "common/clock.h"
#include "common/memory.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define SAY_EVERY_MS 60000

/* Events are gathered for so long, or until they are so many: a commit costs as much as ten. */
#define GATHER_MS   10
#define GATHER_MOST (AUDIT_MOST_AT_ONCE / 4)

/* An event with what it points to. */
struct note {
    struct audit_event event;
    unsigned char subject[THROTTLE_SUBJECT_BYTES];
    char *user, *address;
};

struct batch {
    struct note notes[AUDIT_MOST_AT_ONCE];
    size_t n;
    uint64_t lost; /* what did not fit */
};

struct recorder {
    char path[PATH_MAX];
    struct audit_bounds bounds;
    struct database *database; /* NULL: not open */
    ino_t inode;
    uint64_t lost, unsaid, said_ms; /* not in the audit, not in the log; 0: never said */

    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t wake;
    pthread_t thread;
    bool has_thread, stops;
    struct batch *filling, *writing;
};

/* ---- the log -------------------------------------------------------------------------------- */

/* Ahead of the name, which may hold anything, stands what a filter looks for. */
static void log_event(enum log_level level, const struct audit_event *event)
{
    const char *outcome = event->result ? "refused" : "accepted";
    const struct log_field fields[] = {{"SALLYPORT_EVENT", event->event},
                                       {"SALLYPORT_RESULT", event->result ? event->result : "ok"},
                                       {"SALLYPORT_USER", event->user},
                                       {"SALLYPORT_ADDRESS", event->address}};

    log_with(level, fields, 4, "%s %s: %s%saddress %s%s%s", event->event, outcome,
             event->result ? event->result : "", event->result ? ", " : "", event->address,
             event->user ? ", user " : "", event->user ? event->user : "");
}

static void say_lost(struct recorder *recorder, const char *why)
{
    uint64_t now_ms = clock_monotonic_ms();

    if (recorder->unsaid == 0 || (recorder->said_ms && now_ms - recorder->said_ms < SAY_EVERY_MS))
        return;
    log_error("audit: %llu events are lost: %s", (unsigned long long)recorder->unsaid, why);
    recorder->unsaid = 0;
    recorder->said_ms = now_ms;
}

/* ---- the file ------------------------------------------------------------------------------- */

/* Somebody may have put it aside, or another in its place. */
static bool open_file(struct recorder *recorder, struct error *error)
{
    struct stat status;

    if (recorder->database &&
        (stat(recorder->path, &status) < 0 || status.st_ino != recorder->inode))
        database_close(&recorder->database);
    if (recorder->database)
        return true;
    recorder->database = audit_open(recorder->path, error);
    recorder->inode = recorder->database && stat(recorder->path, &status) == 0 ? status.st_ino : 0;
    return recorder->database;
}

static bool write_events(struct recorder *recorder, const struct audit_event *events, size_t n,
                         struct error *error)
{
    if (!open_file(recorder, error))
        return false;
    if (audit_write(recorder->database, events, n, &recorder->bounds, clock_wall_s()) == DB_OK)
        return true;
    error_set(error, "%s: %s", recorder->path, database_error(recorder->database));
    database_close(&recorder->database);
    return false;
}

static void write_batch(struct recorder *recorder, struct batch *batch)
{
    struct audit_event events[AUDIT_MOST_AT_ONCE + 1];
    struct error error = {"more came at once than can wait"};
    char lost[64];
    size_t n = 0;

    recorder->lost += batch->lost;
    recorder->unsaid += batch->lost;
    snprintf(lost, sizeof lost, "%llu events", (unsigned long long)recorder->lost);
    if (recorder->lost)
        events[n++] = (struct audit_event){
            .at_s = clock_wall_s(), .event = "audit", .result = "lost", .detail = lost};
    for (size_t i = 0; i < batch->n; i++)
        events[n++] = batch->notes[i].event;
    if (write_events(recorder, events, n, &error)) {
        recorder->lost = 0;
    } else {
        recorder->lost += batch->n;
        recorder->unsaid += batch->n;
    }
    say_lost(recorder, error.text);
    for (size_t i = 0; i < batch->n; i++) {
        free(batch->notes[i].user);
        free(batch->notes[i].address);
    }
    batch->n = 0;
    batch->lost = 0;
}

/* Under the lock, which is free while it waits. */
static void gather(struct recorder *recorder)
{
    struct timespec end;
    int code = 0;

    while (!recorder->stops && recorder->filling->n == 0)
        pthread_cond_wait(&recorder->wake, &recorder->lock);
    end = clock_in_ms(GATHER_MS);
    while (!recorder->stops && recorder->filling->n < GATHER_MOST && code == 0)
        code = pthread_cond_clockwait(&recorder->wake, &recorder->lock, CLOCK_MONOTONIC, &end);
}

static void *run(void *context)
{
    struct recorder *recorder = context;
    bool stops = false;

    while (!stops) {
        struct batch *full;

        pthread_mutex_lock(&recorder->lock);
        gather(recorder);
        stops = recorder->stops;
        full = recorder->filling;
        recorder->filling = recorder->writing;
        recorder->writing = full;
        pthread_mutex_unlock(&recorder->lock);
        if (full->n)
            write_batch(recorder, full);
    }
    return NULL;
}

/* ---- what others call ----------------------------------------------------------------------- */

struct recorder *recorder_open(const struct config *config, bool background, struct error *error)
{
    struct recorder *recorder = memory_zeroed(1, sizeof *recorder);
    int failed = 0;

    pthread_mutex_init(&recorder->lock, NULL);
    pthread_cond_init(&recorder->wake, NULL);
    recorder->bounds = audit_bounds_of(config);
    recorder->filling = memory_zeroed(1, sizeof *recorder->filling);
    recorder->writing = memory_zeroed(1, sizeof *recorder->writing);
    if (!audit_path(config, recorder->path, error)) {
        recorder_close(&recorder);
        return NULL;
    }
    if (background && !open_file(recorder, error))
        log_error("audit: %s; it is tried again with every event", error->text);
    if (background)
        failed = pthread_create(&recorder->thread, NULL, run, recorder);
    recorder->has_thread = background && !failed;
    if (failed) {
        error_set(error, "cannot start a thread: %s", strerror(failed));
        recorder_close(&recorder);
    }
    return recorder;
}

void recorder_close(struct recorder **closed)
{
    struct recorder *recorder = *closed;

    if (!recorder)
        return;
    pthread_mutex_lock(&recorder->lock);
    recorder->stops = true;
    pthread_cond_signal(&recorder->wake);
    pthread_mutex_unlock(&recorder->lock);
    if (recorder->has_thread)
        pthread_join(recorder->thread, NULL);
    else if (recorder->filling->n)
        write_batch(recorder, recorder->filling);
    database_close(&recorder->database);
    pthread_mutex_destroy(&recorder->lock);
    pthread_cond_destroy(&recorder->wake);
    free(recorder->filling);
    free(recorder->writing);
    free(recorder);
    *closed = NULL;
}

static char *copy(const char *text)
{
    return text ? memory_copy(text, strlen(text)) : NULL;
}

void recorder_note(struct recorder *recorder, enum log_level level, const struct audit_event *event)
{
    struct batch *batch;
    struct note *note;

    log_event(level, event);
    pthread_mutex_lock(&recorder->lock);
    batch = recorder->filling;
    if (batch->n < AUDIT_MOST_AT_ONCE) {
        note = &batch->notes[batch->n++];
        *note = (struct note){
            .event = *event, .user = copy(event->user), .address = copy(event->address)};
        if (event->subject)
            memcpy(note->subject, event->subject, sizeof note->subject);
        note->event.at_s = clock_wall_s();
        note->event.result = event->result ? event->result : "ok";
        note->event.user = note->user;
        note->event.subject = event->subject ? note->subject : NULL;
        note->event.address = note->address;
    } else {
        batch->lost++;
    }
    if (batch->n == 1 || batch->n == GATHER_MOST)
        pthread_cond_signal(&recorder->wake);
    pthread_mutex_unlock(&recorder->lock);
}
