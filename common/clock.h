#ifndef COMMON_CLOCK_H
#define COMMON_CLOCK_H

#include <stdint.h>
#include <time.h>

/* Milliseconds that never step: for timeouts and intervals. */
uint64_t clock_monotonic_ms(void);

/* The same in nanoseconds, for measuring; never frozen. */
uint64_t clock_monotonic_ns(void);

/* So long from now by CLOCK_MONOTONIC, as pthread_cond_clockwait wants it; never frozen. */
struct timespec clock_in_ms(unsigned ms);

/* Seconds since 1970, which may step: for `exp`, `iat` and what people read. */
int64_t clock_wall_s(void);

/* Seconds since the machine was started, asleep or not; they never step. */
int64_t clock_uptime_s(void);

/* Tests turn the clock themselves: all but the nanoseconds then answer what was set last.
 * Thread-safe. */
void clock_freeze(uint64_t monotonic_ms, int64_t wall_s);
void clock_thaw(void);

#endif
