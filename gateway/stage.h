#ifndef GATEWAY_STAGE_H
#define GATEWAY_STAGE_H

#include "gateway/packet_text.h"
#include "gateway/socket.h"

/*
 * The stage on which the rules act for one socket: relay.h's operations over the worker's rooms.
 */
struct scene {
    struct relay_stage stage; /* first */
    struct socket *socket;
    uint64_t ack_id; /* of the event, where it wants an answer */
    char id[SESSION_ID_TEXT + 1];
};

/* For one event or moment of this socket, which outlives it; the event is filled in by the caller.
 */
void stage_set(struct scene *scene, struct socket *socket);

/* A moment at which nobody is answered: its rule runs.  `reason` as in relay_stage. */
void stage_run_moment(struct socket *socket, enum rules_moment moment, const char *reason);

/* A packet of one socket's namespace: header, JSON, attachments.  `id` NULL: it bears none. */
struct packet *stage_packet(const struct rules_namespace *space, enum packet_type type,
                            const uint64_t *id, const struct relay_message *message);

#endif
