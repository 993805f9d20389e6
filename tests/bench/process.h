#ifndef BENCH_PROCESS_H
#define BENCH_PROCESS_H

#include <stdint.h>
#include <sys/types.h>

/* What the kernel says of a process.  It may be another user's, and undumpable. */

/* On a CPU so far, of all its threads, in nanoseconds.  Ends the program if there is no such. */
uint64_t process_cpu_ns(pid_t pid);

/* Resident bytes (VmRSS), those shared with the kernel's sockets not among them. */
uint64_t process_resident(pid_t pid);

/* Monotonic. */
uint64_t now_ns(void);
void sleep_ms(unsigned ms);

#endif
