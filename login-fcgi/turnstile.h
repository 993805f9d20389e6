#ifndef LOGIN_TURNSTILE_H
#define LOGIN_TURNSTILE_H

#include "common/error.h"

#include <stddef.h>
#include <stdint.h>

/*
 * So many hashes at once, of all processes that have the same file (threads, FastCGI workers, one
 * process a request with CGI): each holds a lock on a byte of it, which the kernel takes back from
 * whoever dies.  A short queue stands before it; who does not get into that, or waits too long, is
 * to be told to come again.  One thread at a time.
 */
struct turnstile;

/* The file is made where it is missing.  NULL: error. */
struct turnstile *turnstile_open(const char *path, size_t places, struct error *error);
void turnstile_close(struct turnstile **turnstile);

/* Wait for a place, but not past `until_ms` of the monotonic clock, nor where the queue is full:
 * then false.  True: turnstile_leave has to follow. */
bool turnstile_enter(struct turnstile *turnstile, uint64_t until_ms);
void turnstile_leave(struct turnstile *turnstile);

#endif
