#ifndef GATEWAY_SOCKETIO_H
#define GATEWAY_SOCKETIO_H

#include "gateway/directory.h"
#include "gateway/expiry.h"
#include "gateway/relay.h"
#include "gateway/session.h"

/*
 * Socket.IO 5 over an Engine.IO session: CONNECT and its refusals, events and their answers,
 * DISCONNECT; and the stage on which the rules act.  A socket is a session's presence in one
 * namespace.
 */
struct socket {
    struct socket_entry entry; /* its public id */
    struct expiry expiry;      /* of its token */
    struct session *session;
    struct socket *next; /* of the session; or of what is freed when the turn ends */
    const struct rules_namespace *space;
    struct identity *identity; /* NULL: a guest */
    struct membership *room;
    uint32_t n_rooms, room_capacity;
    bool is_admitted; /* false: it still has to authenticate, and is nowhere */
    bool is_warned;   /* that its token expires */
    bool has_left;    /* gone from every room; only waits to be freed */
    bool is_listed;   /* on the rosters of its rooms: see roster.h */
    bool is_present;  /* counted at its user's home: see presence.h */
    uint16_t n_variables;
    uint32_t auth_length;
    char *auth; /* what CONNECT brought, JSON, without `token`; NULL: nothing */
    struct variable *variable;
    struct relay_bucket *buckets;
    struct twostep *twostep; /* a deadline to authenticate; NULL: there is none */
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

/* While workers change from rules to rules: keep for others what either of them asks about this
 * session's sockets (presence, lists), and afterwards only what the new ones ask. */
void socketio_reckon(struct session *session);

/* Is it asked by the namespace in the rules in force, or in the other ones meanwhile? */
bool socketio_asks(const struct socket *socket, bool (*asks)(const struct rules_namespace *space));

/* New rules: first those of its sockets are disconnected whose namespace is gone, still under the
 * old rules; once the worker has the new ones, the rest keep rooms and variables under them. */
void socketio_evict(struct session *session, const struct rules *fresh);
void socketio_adopt(struct session *session);

/*
 * For presence.c and twostep.c.  An event, `message` its array; the same to one socket, with an
 * id when the client is to acknowledge it; the answer to an event of the client's.
 */
struct packet *socketio_event(const struct rules_namespace *space,
                              const struct relay_message *message);
void socketio_tell(struct socket *socket, const uint64_t *id, const struct relay_message *message);
void socketio_answer(struct socket *socket, uint64_t id, const struct relay_message *message);
void socketio_disconnect(struct socket *socket);

/* Does a limit, or a `deny` at `connection`, forbid what its new identity asks for?  The reason is
 * a JSON string. */
bool socketio_may_enter(struct socket *socket, struct span *reason);

/* It has an identity now, and has been told so: it enters, or is a guest no more. */
void socketio_authenticated(struct socket *socket);

/* Free the sockets that left this turn. */
void socketio_reap(struct worker *worker);

#endif
