#ifndef COMMON_DAEMON_H
#define COMMON_DAEMON_H

#include "common/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a process owes its surroundings: systemd's protocol, core dumps.  The only file that knows
 * libsystemd. */

/* Never leave a core dump that holds a secret: not dumpable, core size 0. */
void daemon_forbid_core_dumps(void);

/* The listening socket that systemd passed, set close-on-exec and non-blocking.  -1: none, and the
 * error's text is empty; or an error, such as more than one.  It is handed out once. */
int daemon_activated_socket(struct error *error);

/* Tell systemd, where it started us: READY=1, RELOADING=1 (with its timestamp), STOPPING=1,
 * WATCHDOG=1. */
void daemon_ready(void);
void daemon_reloading(void);
void daemon_stopping(void);
void daemon_alive(void);

/* One entry of the journal with its fields (log.h).  False: there is no journal, or it would not
 * take it. */
struct log_field;
bool daemon_journal(int priority, const char *text, const struct log_field *fields, size_t n);

/* How often daemon_alive is due, in milliseconds (half of systemd's WatchdogSec); 0: never. */
uint64_t daemon_watchdog_ms(void);

/* The most descriptors this process may open, after raising the soft limit to the hard one. */
uint64_t daemon_raise_descriptor_limit(void);

#endif
