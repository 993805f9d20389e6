/* The clocks, and turning them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <time.h>

#include "common/clock.h"

static void the_clocks_are_the_systems(void **state)
{
    uint64_t before = clock_monotonic_ms();

    (void)state;
    assert_in_range(clock_wall_s() - time(NULL), 0, 1);
    assert_true(before > 0);
    assert_true(clock_monotonic_ms() >= before);
    assert_true(clock_monotonic_ms() - before < 10000);
}

static void *freeze(void *unused)
{
    clock_freeze(8000, -5);
    return unused;
}

static void a_frozen_clock_says_what_any_thread_set(void **state)
{
    pthread_t thread;

    (void)state;
    clock_freeze(0, 0);
    assert_int_equal(clock_monotonic_ms(), 0);
    assert_int_equal(clock_wall_s(), 0);
    assert_int_equal(pthread_create(&thread, NULL, freeze, NULL), 0);
    pthread_join(thread, NULL);
    assert_int_equal(clock_monotonic_ms(), 8000);
    assert_int_equal(clock_wall_s(), -5);
    clock_thaw();
}

static void a_thawed_clock_runs_again(void **state)
{
    (void)state;
    clock_freeze(1, 1);
    clock_thaw();
    assert_true(clock_monotonic_ms() > 1);
    assert_true(clock_wall_s() > 1700000000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_clocks_are_the_systems),
        cmocka_unit_test(a_frozen_clock_says_what_any_thread_set),
        cmocka_unit_test(a_thawed_clock_runs_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
