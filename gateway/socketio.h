#ifndef GATEWAY_SOCKETIO_H
#define GATEWAY_SOCKETIO_H

#include "gateway/directory.h"
#include "gateway/relay.h"
#include "gateway/session.h"

/*
 * Socket.IO 5 over an Engine.IO session: CONNECT and its refusals, events and their answers,
 * DISCONNECT; and the stage on which the rules act.  A socket is a session's presence in one
 * namespace.
 */
struct socket {
    struct socket_entry entry; /* its public id */
    struct session *session;
    struct socket *next; /* of the session; or of what is freed when the turn ends */
    const struct rules_namespace *space;
    struct identity *identity; /* NULL: a guest */
    struct membership *room;
    uint16_t n_rooms, room_capacity;
    bool has_left; /* gone from every room; only waits to be freed */
    uint16_t n_variables;
    uint32_t auth_length;
    char *auth; /* what CONNECT brought, JSON, without `token`; NULL: nothing */
    struct variable *variable;
    struct relay_bucket *buckets;
};

/* The session is open: Engine.IO 3's clients are in the default namespace unasked. */
void socketio_open(struct session *session);

/* A message of the session: text, or an attachment of the packet before it. */
void socketio_text(struct session *session, const char *text, size_t length);
void socketio_binary(struct session *session, const uint8_t *bytes, size_t length);

/* A packet for this socket, of a room or to it alone. */
void socketio_deliver(struct socket *socket, struct parcel *parcel);

/* The session ends: its sockets leave their namespaces. */
void socketio_close(struct session *session, enum close_reason reason);

/* New rules: first those of its sockets are disconnected whose namespace is gone, still under the
 * old rules; once the worker has the new ones, the rest keep rooms and variables under them. */
void socketio_evict(struct session *session, const struct rules *fresh);
void socketio_adopt(struct session *session);

/* Free the sockets that left this turn. */
void socketio_reap(struct worker *worker);

#endif
