#ifndef GATEWAY_OUTBOX_H
#define GATEWAY_OUTBOX_H

#include "gateway/packet.h"

#include <sys/uio.h>

/*
 * What waits to be written to one client: parcels in order, the first perhaps half sent.  Lent
 * while there is something in it; an idle client has none.
 */
struct outbox {
    struct outbox_pool *pool;
    struct outbox *next_free;
    struct parcel **ring;
    uint32_t head, n, mask;
    uint32_t offset; /* bytes of the first parcel that are sent */
    size_t bytes;    /* that remain */
};

/* A worker's free ones, and the bytes that wait in all it has lent; written by its worker only, the
 * bytes read by anyone. */
struct outbox_pool {
    struct outbox *free;
    _Atomic uint64_t bytes;
};

struct outbox *outbox_borrow(struct outbox_pool *pool);
void outbox_return(struct outbox **outbox); /* drops what is in it; NULL: nothing was lent */
void outbox_pool_fini(struct outbox_pool *pool);

/* Takes a reference of its own. */
void outbox_push(struct outbox *outbox, struct parcel *parcel);

/* Up to `max` pieces of what remains, in order; how many. */
int outbox_gather(const struct outbox *outbox, struct iovec *piece, int max);

/* Packet number `i` from the first, whole; NULL: there are not so many. */
struct packet *outbox_peek(const struct outbox *outbox, uint32_t i);

/* So many bytes are sent. */
void outbox_consume(struct outbox *outbox, size_t bytes);

#endif
