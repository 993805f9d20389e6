/*
 * Open file description locks (fcntl(2)), one descriptor a thread: those of a process would not
 * keep its threads apart.  Bytes 0 to places - 1 are the places, those after them the queue.  The
 * kernel could wake who waits for one byte, not for any of several: so the threads of a process
 * wake one another, and for other processes' sake look now and then.
 */
#include "login-fcgi/turnstile.h"

#include "common/clock.h"
#include "common/memory.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define QUEUE_PER_PLACE 8
#define LOOK_EVERY_MS   5

static pthread_mutex_t wait_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t one_left = PTHREAD_COND_INITIALIZER;

struct turnstile {
    int fd;
    size_t places;
    off_t held; /* -1: none */
};

static bool lock(const struct turnstile *turnstile, off_t byte, short type)
{
    struct flock range = {.l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};

    return fcntl(turnstile->fd, F_OFD_SETLK, &range) == 0;
}

/* One of n bytes from `first` that is free, looked for from anywhere; -1: none is. */
static off_t take_one(const struct turnstile *turnstile, size_t first, size_t n)
{
    size_t start = randombytes_uniform((uint32_t)n);

    for (size_t i = 0; i < n; i++) {
        off_t byte = (off_t)(first + (start + i) % n);

        if (lock(turnstile, byte, F_WRLCK))
            return byte;
    }
    return -1;
}

static void wait_in_queue(struct turnstile *turnstile, uint64_t until_ms)
{
    struct timespec next;

    pthread_mutex_lock(&wait_lock);
    for (;;) {
        turnstile->held = take_one(turnstile, 0, turnstile->places);
        if (turnstile->held >= 0 || clock_monotonic_ms() >= until_ms)
            break;
        next = clock_in_ms(LOOK_EVERY_MS);
        pthread_cond_clockwait(&one_left, &wait_lock, CLOCK_MONOTONIC, &next);
    }
    pthread_mutex_unlock(&wait_lock);
}

struct turnstile *turnstile_open(const char *path, size_t places, struct error *error)
{
    struct turnstile *turnstile = memory_zeroed(1, sizeof *turnstile);

    turnstile->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    turnstile->places = places;
    turnstile->held = -1;
    if (turnstile->fd < 0) {
        error_set(error, "cannot open %s, which counts hashes: %s", path, strerror(errno));
        turnstile_close(&turnstile);
    }
    return turnstile;
}

void turnstile_close(struct turnstile **turnstile)
{
    if (!*turnstile)
        return;
    if ((*turnstile)->fd >= 0)
        close((*turnstile)->fd);
    free(*turnstile);
    *turnstile = NULL;
}

bool turnstile_enter(struct turnstile *turnstile, uint64_t until_ms)
{
    off_t queued;

    assert(turnstile->held < 0);
    turnstile->held = take_one(turnstile, 0, turnstile->places);
    if (turnstile->held >= 0)
        return true;
    queued = take_one(turnstile, turnstile->places, turnstile->places * QUEUE_PER_PLACE);
    if (queued < 0)
        return false;
    wait_in_queue(turnstile, until_ms);
    lock(turnstile, queued, F_UNLCK);
    return turnstile->held >= 0;
}

void turnstile_leave(struct turnstile *turnstile)
{
    assert(turnstile->held >= 0);
    lock(turnstile, turnstile->held, F_UNLCK);
    turnstile->held = -1;
    pthread_mutex_lock(&wait_lock);
    pthread_cond_signal(&one_left);
    pthread_mutex_unlock(&wait_lock);
}
