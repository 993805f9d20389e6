#ifndef GATEWAY_OUTBOX_H
#define GATEWAY_OUTBOX_H

#include "gateway/packet.h"

#include <sys/uio.h>

/*
 * What waits to be written to one client: parcels in order, the first perhaps half sent.  Lent
 * while there is something in it; an idle client has none.
 */
struct outbox {
    struct outbox *next_free;
    struct parcel **ring;
    uint32_t head, n, mask;
    uint32_t offset; /* bytes of the first parcel that are sent */
    size_t bytes;    /* that remain */
};

/* From and to a worker's list of free ones. */
struct outbox *outbox_borrow(struct outbox **free_list);
void outbox_return(struct outbox **free_list, struct outbox **outbox); /* drops what is in it */
void outbox_free_list(struct outbox **free_list);

/* Takes a reference of its own. */
void outbox_push(struct outbox *outbox, struct parcel *parcel);

/* Up to `max` pieces of what remains, in order; how many. */
int outbox_gather(const struct outbox *outbox, struct iovec *piece, int max);

/* Packet number `i` from the first, whole; NULL: there are not so many. */
struct packet *outbox_peek(const struct outbox *outbox, uint32_t i);

/* So many bytes are sent. */
void outbox_consume(struct outbox *outbox, size_t bytes);

#endif
