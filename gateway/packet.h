#ifndef GATEWAY_PACKET_H
#define GATEWAY_PACKET_H

#include "gateway/deflate.h"
#include "gateway/scanner.h"

#include <stdatomic.h>

/*
 * What is sent: a packet is made once, immutable, and may be on its way to the clients of every
 * worker (one atomic reference a worker).  A parcel is one worker's wrapping of it, with a
 * plain count, queued by reference on each receiver.
 *
 * A packet is born in the form most clients want: whole WebSocket frames (RFC 6455 §5.2) of
 * Engine.IO 4, a text frame and one binary frame for each attachment, in one piece of memory.
 */
struct packet {
    _Atomic uint32_t references;
    uint32_t frames;   /* bytes of frames in all */
    uint16_t messages; /* one, or those that packet_join put together */
    bool is_volatile;
    uint8_t frame[];
};

enum websocket_opcode {
    OPCODE_CONTINUATION = 0x0,
    OPCODE_TEXT = 0x1,
    OPCODE_BINARY = 0x2,
    OPCODE_CLOSE = 0x8,
    OPCODE_PING = 0x9,
    OPCODE_PONG = 0xa
};

struct attachment {
    const uint8_t *bytes;
    uint32_t length;
};

/* One text frame of the header and the pieces in a row, then the attachments.  The caller holds the
 * one reference. */
struct packet *packet_new(struct span header, const struct span *piece, size_t n_pieces,
                          const struct attachment *attachment, size_t n_attachments);

/* One frame of any opcode. */
struct packet *packet_new_frame(enum websocket_opcode opcode, const void *payload, size_t bytes);

/* Frames that are ready as they are. */
struct packet *packet_new_ready(const void *frames, size_t bytes);

/* Packets in a row as one, volatile as the first; of one, itself.  The caller gets a reference. */
struct packet *packet_join(struct packet *const *packet, size_t n);

/* The frames of a packet one after the other, for the transports that have none: start with `at` 0.
 */
struct frame {
    enum websocket_opcode opcode;
    const uint8_t *payload;
    size_t bytes;
};
bool packet_next_frame(const struct packet *packet, size_t *at, struct frame *frame);

struct packet *packet_get(struct packet *packet);
void packet_put(struct packet **packet);

/* How a client wants its packets, where that is not the form they are born in. */
enum wire {
    WIRE_EIO3 = 1,    /* Engine.IO 3: binary begins with the packet type */
    WIRE_BASE64 = 2,  /* binary is sent as text, for a client that cannot take it otherwise */
    WIRE_DEFLATED = 4 /* compressed where that helps; for WebSockets only */
};

struct parcel {
    uint32_t references;
    uint8_t wire;         /* 0: the form it was born in */
    struct parcel *other; /* the next of the forms that were made of it; see parcel_in_form */
    struct packet *packet;
};

/* Takes over the caller's reference on the packet. */
struct parcel *parcel_new(struct packet *packet);
void parcel_put(struct parcel **parcel);

/*
 * The same in the form that `wire` says: made when a worker's first receiver wants it, kept with
 * the parcel for all others, borrowed from it.  Text has the same form for everybody but those who
 * want it deflated, and so has a short packet for them too.
 */
struct parcel *parcel_in_form(struct parcel *parcel, uint8_t wire, struct deflate *deflate);

#endif
