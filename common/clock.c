/*
 * The two clocks, and the hand that tests turn them with.  Who waits for what is not known here.
 */
#include "common/clock.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <time.h>

static atomic_bool frozen;
static atomic_uint_least64_t frozen_monotonic_ms;
static atomic_int_least64_t frozen_wall_s;

static struct timespec read_clock(clockid_t clock)
{
    struct timespec now;
    int failed = clock_gettime(clock, &now);

    assert(!failed);
    return now;
}

uint64_t clock_monotonic_ms(void)
{
    if (atomic_load(&frozen))
        return atomic_load(&frozen_monotonic_ms);
    struct timespec now = read_clock(CLOCK_MONOTONIC);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

uint64_t clock_monotonic_ns(void)
{
    struct timespec now = read_clock(CLOCK_MONOTONIC);

    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

struct timespec clock_in_ms(unsigned ms)
{
    uint64_t then_ns = clock_monotonic_ns() + (uint64_t)ms * 1000000;

    return (struct timespec){(time_t)(then_ns / 1000000000), (long)(then_ns % 1000000000)};
}

int64_t clock_wall_s(void)
{
    if (atomic_load(&frozen))
        return atomic_load(&frozen_wall_s);
    return read_clock(CLOCK_REALTIME).tv_sec;
}

int64_t clock_uptime_s(void)
{
    if (atomic_load(&frozen))
        return (int64_t)(atomic_load(&frozen_monotonic_ms) / 1000);
    return read_clock(CLOCK_BOOTTIME).tv_sec;
}

void clock_freeze(uint64_t monotonic_ms, int64_t wall_s)
{
    atomic_store(&frozen_monotonic_ms, monotonic_ms);
    atomic_store(&frozen_wall_s, wall_s);
    atomic_store(&frozen, true);
}

void clock_thaw(void)
{
    atomic_store(&frozen, false);
}
