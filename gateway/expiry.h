#ifndef GATEWAY_EXPIRY_H
#define GATEWAY_EXPIRY_H

#include <stdbool.h>
#include <stdint.h>

struct socket;
struct worker;

/*
 * No socket outlives its token: at `exp` plus gateway.expiry_grace its transport is closed, and
 * gateway.expiry_notice before `exp` it is told (`token expiring`, with the seconds that are left).
 *
 * `exp` is a time of day (RFC 7519 §2), so this goes by the wall clock: a wheel of seconds, looked
 * at once a second.  A clock that steps forward catches up with what it has passed; one that steps
 * back waits.
 */
struct expiry {
    struct expiry *previous, *next; /* of a second's list; both NULL: not watched */
};

#define EXPIRY_SECONDS 1024

struct expiry_wheel {
    struct expiry second[EXPIRY_SECONDS];
    int64_t looked_s;
};

void expiry_init(struct expiry_wheel *wheel, int64_t now_s);

/* The socket has an identity, or another one; or it leaves. */
void expiry_watch(struct socket *socket);
void expiry_forget(struct socket *socket);

/* Deal with what is due; to be called every turn. */
void expiry_run(struct worker *worker);

#endif
