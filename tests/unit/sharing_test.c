/* One connection for many threads, and one wait for the disk for many writes.  fdatasync is ours.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "db/connection.h"
#include "db/throttle.h"
#include "db/users.h"
#include "tests/unit/scratch.h"

#define THREADS         8
#define WRITES_A_THREAD 20

static atomic_int syncs, slow_ms;
static atomic_bool fails;
static _Atomic off_t synced_bytes;

int fdatasync(int fd)
{
    const struct timespec pause = {0, (long)slow_ms * 1000000};
    struct stat status = {0};

    if (fails) {
        errno = EIO;
        return -1;
    }
    fstat(fd, &status);
    nanosleep(&pause, NULL);
    synced_bytes = status.st_size;
    syncs++;
    return (int)syscall(SYS_fdatasync, fd);
}

struct world {
    struct scratch scratch;
    pthread_barrier_t together; /* so that the threads' writes meet, however busy the machine is */
    struct database *database, *other;
};

static int open_world(void **state)
{
    struct world *world = calloc(1, sizeof *world);
    struct error error;
    const char *path;

    scratch_new(&world->scratch);
    path = scratch_path(&world->scratch, "s.db");
    world->database = database_open(path, true, &error);
    world->other = database_open(path, false, &error);
    *state = world;
    syncs = slow_ms = 0;
    fails = false;
    return world->database && world->other && database_share(world->database, &error) ? 0 : -1;
}

static int close_world(void **state)
{
    struct world *world = *state;

    fails = false;
    database_close(&world->other);
    database_close(&world->database);
    scratch_free(&world->scratch);
    free(world);
    return 0;
}

static enum db_result add(struct database *database, const char *name)
{
    json_t *claims = json_object();
    enum db_result result;

    database_enter(database);
    result = users_add(database, name, "hash", claims, 1);
    database_leave(database);
    json_decref(claims);
    return result;
}

static bool is_there(struct database *database, const char *name)
{
    struct user user;
    enum db_result result = users_find(database, name, &user);

    if (result == DB_OK)
        user_fini(&user);
    assert_int_not_equal(result, DB_FAILED);
    return result == DB_OK;
}

static void a_write_returns_when_all_of_it_is_on_the_disk(void **state)
{
    struct world *world = *state;
    struct stat log;

    assert_int_equal(add(world->database, "ann"), DB_OK);
    assert_int_equal(stat(scratch_path(&world->scratch, "s.db-wal"), &log), 0);
    assert_int_equal(synced_bytes, log.st_size);
    syncs = 0;
    assert_int_equal(add(world->database, "bob"), DB_OK);
    assert_int_equal(syncs, 1);
    assert_int_equal(add(world->database, "bob"), DB_EXISTS);
    assert_int_equal(syncs, 1);
}

static void what_may_be_lost_with_the_power_waits_for_no_disk(void **state)
{
    struct world *world = *state;
    struct throttle_attempt attempt;
    unsigned wait_s;

    assert_int_equal(add(world->database, "ann"), DB_OK);
    for (int i = 0; i < 2; i++) { /* at first a secret is made */
        syncs = 0;
        database_enter(world->database);
        assert_int_equal(
            throttle_reserve(world->database, "ann", 1, "192.0.2.1", 1, &attempt, &wait_s),
            THROTTLE_PASS);
        database_leave(world->database);
    }
    assert_int_equal(syncs, 0);
}

static void *write_some(void *context)
{
    struct world *world = context;
    intptr_t n_done = 0;
    char name[32];

    for (int i = 0; i < WRITES_A_THREAD; i++) {
        pthread_barrier_wait(&world->together);
        snprintf(name, sizeof name, "user-%lx-%d", (unsigned long)pthread_self(), i);
        n_done += add(world->database, name) == DB_OK;
    }
    return (void *)n_done;
}

static intptr_t write_many(struct world *world)
{
    pthread_t threads[THREADS];
    intptr_t n_done = 0;
    void *n;

    pthread_barrier_init(&world->together, NULL, THREADS);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, write_some, world), 0);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], &n);
        n_done += (intptr_t)n;
    }
    pthread_barrier_destroy(&world->together);
    return n_done;
}

static void many_threads_wait_for_the_disk_together(void **state)
{
    struct world *world = *state;
    struct error error;

    slow_ms = 10;
    assert_int_equal(write_many(world), THREADS * WRITES_A_THREAD);
    assert_in_range(syncs, WRITES_A_THREAD, THREADS * WRITES_A_THREAD / 2);
    assert_true(database_check(world->other, &error));
}

static void a_sync_that_fails_fails_all_who_waited_for_it(void **state)
{
    struct world *world = *state;
    struct stat log;

    assert_int_equal(add(world->database, "ann"), DB_OK);
    fails = true;
    assert_int_equal(add(world->database, "bob"), DB_FAILED);
    assert_non_null(strstr(database_error(world->database), "sync"));
    assert_int_equal(write_many(world), 0);
    fails = false;
    assert_int_equal(add(world->database, "carl"), DB_OK);
    assert_int_equal(stat(scratch_path(&world->scratch, "s.db-wal"), &log), 0);
    assert_int_equal(log.st_size, 0); /* nothing counts on what the failed one left there */
    assert_int_equal(add(world->database, "dave"), DB_OK);
    assert_true(is_there(world->other, "carl") && is_there(world->other, "dave"));
}

static void a_look_is_of_one_moment_and_in_no_writers_way(void **state)
{
    struct world *world = *state;

    database_enter(world->database);
    database_look(world->database);
    assert_false(is_there(world->database, "ann"));
    assert_int_equal(add(world->other, "ann"), DB_OK);
    assert_false(is_there(world->database, "ann"));
    assert_int_equal(database_begin(world->database), DB_OK);
    assert_true(is_there(world->database, "ann"));
    assert_int_equal(database_end(world->database, DB_OK), DB_OK);
    database_leave(world->database);
    database_enter(world->database);
    database_look(world->database);
    assert_true(is_there(world->database, "ann"));
    database_leave(world->database);
    assert_int_equal(add(world->database, "bob"), DB_OK);
}

#define IN_WORLD(test) cmocka_unit_test_setup_teardown(test, open_world, close_world)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_WORLD(a_write_returns_when_all_of_it_is_on_the_disk),
        IN_WORLD(what_may_be_lost_with_the_power_waits_for_no_disk),
        IN_WORLD(many_threads_wait_for_the_disk_together),
        IN_WORLD(a_sync_that_fails_fails_all_who_waited_for_it),
        IN_WORLD(a_look_is_of_one_moment_and_in_no_writers_way),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
