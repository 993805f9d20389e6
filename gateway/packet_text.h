#ifndef GATEWAY_PACKET_TEXT_H
#define GATEWAY_PACKET_TEXT_H

#include "gateway/scanner.h"

/*
 * The text of a Socket.IO packet (protocol 5, and 4 which differs only in its namespace's query):
 *
 *     <type>[<attachments>-][<namespace>,][<ack id>]<json>
 *
 * Read from a client without copying, and its header written.
 */
enum packet_type {
    PACKET_CONNECT,
    PACKET_DISCONNECT,
    PACKET_EVENT,
    PACKET_ACK,
    PACKET_CONNECT_ERROR,
    PACKET_BINARY_EVENT,
    PACKET_BINARY_ACK
};

#define PACKET_MAX_NAMESPACE 256                        /* bytes, without a query */
#define PACKET_MAX_ID        UINT64_C(9007199254740991) /* 2^53 - 1: exact in a client's Number */

struct packet_text {
    enum packet_type type;
    uint32_t attachments;  /* from 1 when the type is binary, else 0 */
    struct span namespace; /* "/" when none was written */
    struct span query;     /* what followed a "?" in the namespace: protocol 4's credentials */
    bool has_id;
    uint64_t id;
    struct span json; /* exactly an object (CONNECT), an array (events, acks), or empty */
};

/*
 * Read what a client sent after the Engine.IO packet type.  All spans point into `text`, except a
 * namespace that was not written.  `event` is filled for events and acks, as by scan_event and
 * scan_array.  SCAN_PLACEHOLDERS also says that there are more than `max_attachments` attachments,
 * SCAN_MALFORMED that a client may not send this type, or not with this payload or id.
 */
enum scan_result packet_text_parse(const char *text, size_t length, uint32_t max_attachments,
                                   struct packet_text *packet, struct event *event);

/* The longest header: "4", type, attachments, "-", namespace, ",", id. */
#define PACKET_HEADER_SIZE (1 + 1 + 10 + 1 + PACKET_MAX_NAMESPACE + 1 + 20)

/*
 * Write all that stands before the JSON, the Engine.IO type "4" included: `42/admin,17`.  The query
 * is not written.  The number of bytes; no NUL is added.
 */
size_t packet_text_write_header(const struct packet_text *packet, char out[PACKET_HEADER_SIZE]);

#endif
