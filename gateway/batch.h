#ifndef GATEWAY_BATCH_H
#define GATEWAY_BATCH_H

#include "gateway/packet.h"

struct room;
struct session;
struct socket;
struct worker;

#define BATCH_MESSAGES 256
#define BATCH_BYTES    65536 /* of frames; a longer message goes by itself, uncopied */
#define BATCH_APART    64

/*
 * Messages to one room that follow one another: its members here are visited once for all of them,
 * with one parcel, when something else comes or the turn ends.  Until then they wait, and whoever
 * is told something by itself meanwhile gets first what waits for it.
 */
struct batch {
    struct room *room; /* NULL: nothing waits */
    uint32_t n, n_apart;
    size_t bytes;
    struct parcel *message[BATCH_MESSAGES];
    struct {
        struct session *session; /* marked by is_apart */
        uint32_t next;           /* it has had those before */
    } apart[BATCH_APART];
};

/* For every member of the room on this worker but `except`, a member too (or NULL).  Takes over the
 * caller's reference. */
void batch_add(struct worker *worker, struct room *room, struct packet *packet,
               const struct socket *except);

/* Before a packet is queued for this session that is not for a whole room. */
void batch_catch_up(struct session *session);

/* Queue what waits for everyone.  Before members come or go, and before clients are written to. */
void batch_settle(struct worker *worker);

#endif
