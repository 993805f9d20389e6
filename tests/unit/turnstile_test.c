/* The turnstile before the hashes: so many at once, whoever they are and however they end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "login-fcgi/turnstile.h"
#include "tests/unit/scratch.h"

#define PLACES 2
#define QUEUE  (PLACES * 8)
#define NEVER  UINT64_MAX

static struct turnstile *opened(const struct scratch *scratch)
{
    struct error error;
    struct turnstile *turnstile = turnstile_open(scratch_path(scratch, "t"), PLACES, &error);

    if (!turnstile)
        fail_msg("%s", error.text);
    return turnstile;
}

static void the_next_waits_until_one_leaves(void **state)
{
    struct scratch scratch;
    struct turnstile *turnstiles[PLACES + 1];
    uint64_t start_ms;

    (void)state;
    scratch_new(&scratch);
    for (int i = 0; i <= PLACES; i++)
        turnstiles[i] = opened(&scratch);
    for (int i = 0; i < PLACES; i++)
        assert_true(turnstile_enter(turnstiles[i], 0));
    start_ms = clock_monotonic_ms();
    assert_false(turnstile_enter(turnstiles[PLACES], start_ms + 50));
    assert_true(clock_monotonic_ms() - start_ms >= 50);
    turnstile_leave(turnstiles[0]);
    assert_true(turnstile_enter(turnstiles[PLACES], 0));
    turnstile_leave(turnstiles[PLACES]);
    for (int i = 0; i <= PLACES; i++)
        turnstile_close(&turnstiles[i]);
    scratch_free(&scratch);
}

/* Each says how many are inside with it: never more than there are places. */
static void of_many_processes_no_more_are_inside(void **state)
{
    enum { PROCESSES = 10, ROUNDS = 30 };
    struct scratch scratch;
    int inside[2], ended;

    (void)state;
    scratch_new(&scratch);
    assert_int_equal(pipe(inside), 0);
    for (int i = 0; i < PROCESSES; i++)
        if (fork() == 0) {
            struct turnstile *turnstile = opened(&scratch);
            const struct timespec pause = {0, 1000000};
            char out;

            /* Whoever enters puts a byte into the pipe, and takes one out when it leaves. */
            for (int k = 0; k < ROUNDS; k++) {
                int n = 0;

                if (!turnstile_enter(turnstile, NEVER))
                    _exit(3);
                if (write(inside[1], "x", 1) != 1 || ioctl(inside[0], FIONREAD, &n) || n > PLACES)
                    _exit(1);
                nanosleep(&pause, NULL);
                if (read(inside[0], &out, 1) != 1)
                    _exit(2);
                turnstile_leave(turnstile);
            }
            _exit(0);
        }
    for (int i = 0; i < PROCESSES; i++) {
        assert_true(wait(&ended) > 0);
        assert_int_equal(ended, 0);
    }
    scratch_free(&scratch);
}

static void who_is_killed_leaves_nothing_locked(void **state)
{
    struct scratch scratch;
    struct turnstile *turnstiles[PLACES];
    int ready[2], ended;
    pid_t child;
    char byte;

    (void)state;
    scratch_new(&scratch);
    assert_int_equal(pipe(ready), 0);
    child = fork();
    if (child == 0) {
        for (int i = 0; i < PLACES; i++)
            if (!turnstile_enter(opened(&scratch), 0))
                _exit(1);
        if (write(ready[1], "x", 1) == 1)
            pause();
        _exit(1);
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, &ended, 0), child);
    for (int i = 0; i < PLACES; i++) {
        turnstiles[i] = opened(&scratch);
        assert_true(turnstile_enter(turnstiles[i], 0));
    }
    for (int i = 0; i < PLACES; i++)
        turnstile_close(&turnstiles[i]);
    scratch_free(&scratch);
}

/* How many others hold a byte of the queue. */
static int queued(int fd)
{
    int n = 0;

    for (int i = 0; i < QUEUE; i++) {
        struct flock range = {
            .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = PLACES + i, .l_len = 1};

        assert_int_equal(fcntl(fd, F_OFD_GETLK, &range), 0);
        n += range.l_type != F_UNLCK;
    }
    return n;
}

/* All that fit in the queue wait; one more is sent away at once. */
static void before_a_full_queue_nobody_waits(void **state)
{
    struct scratch scratch;
    struct turnstile *inside[PLACES], *late;
    const struct timespec pause = {0, 1000000};
    int ended, fd, waited = 0;

    (void)state;
    scratch_new(&scratch);
    for (int i = 0; i < PLACES; i++) {
        inside[i] = opened(&scratch);
        assert_true(turnstile_enter(inside[i], 0));
    }
    for (int i = 0; i < QUEUE; i++)
        if (fork() == 0) {
            struct turnstile *turnstile = opened(&scratch);

            _exit(turnstile_enter(turnstile, NEVER) ? 0 : 1);
        }
    fd = open(scratch_path(&scratch, "t"), O_RDWR | O_CLOEXEC);
    while (queued(fd) < QUEUE)
        nanosleep(&pause, NULL);
    close(fd);
    late = opened(&scratch);
    assert_false(turnstile_enter(late, NEVER)); /* or it would never end */
    for (int i = 0; i < PLACES; i++)
        turnstile_leave(inside[i]);
    for (int i = 0; i < QUEUE; i++) {
        assert_true(wait(&ended) > 0);
        waited += ended == 0;
    }
    assert_int_equal(waited, QUEUE);
    for (int i = 0; i < PLACES; i++)
        turnstile_close(&inside[i]);
    turnstile_close(&late);
    scratch_free(&scratch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_next_waits_until_one_leaves),
        cmocka_unit_test(of_many_processes_no_more_are_inside),
        cmocka_unit_test(who_is_killed_leaves_nothing_locked),
        cmocka_unit_test(before_a_full_queue_nobody_waits),
    };

    return cmocka_run_group_tests_name("turnstile", tests, NULL, NULL);
}
