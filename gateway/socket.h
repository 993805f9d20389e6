#ifndef GATEWAY_SOCKET_H
#define GATEWAY_SOCKET_H

#include "gateway/directory.h"
#include "gateway/expiry.h"
#include "gateway/relay.h"
#include "gateway/session.h"

/*
 * A socket is a session's presence in one namespace.  It is made at CONNECT; once it is admitted
 * rules run for it, rooms have it and everything reaches it; it leaves once, and is freed when the
 * turn ends.
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
    char *auth;             /* what CONNECT brought, JSON, without `token`; NULL: nothing */
    struct slot *auth_slot; /* what the rules name of it */
    struct variable *variable;
    struct relay_bucket *buckets;
    struct twostep *twostep; /* a deadline to authenticate; NULL: there is none */
};

/* Nowhere yet.  Takes `identity`, NULL for a guest.  socket_free only for one that never was
 * admitted. */
struct socket *socket_new(struct session *session, const struct rules_namespace *space,
                          struct identity *identity);
void socket_free(struct socket *socket);

/* What CONNECT brought, an object or empty, as far as it may be kept. */
void socket_keep_auth(struct socket *socket, struct span payload);

/* The user's sockets in this namespace are as many as may be. */
bool socket_is_one_too_many(const struct socket *socket);

/* Does a limit, or a `deny` at `connection`, forbid what its new identity asks for?  The reason is
 * a JSON string. */
bool socket_may_enter(struct socket *socket, struct span *reason);

/* In its namespace: everything can reach it, and it counts.  Its user is online (presence_update)
 * when the rules of `connection` are done. */
void socket_admit(struct socket *socket);

/* It has an identity now, and has been told so: it enters, or is a guest no more. */
void socket_authenticated(struct socket *socket);

/* Gone from its session and every room; what rules still say of it is said here. */
void socket_leave(struct socket *socket, const char *reason);

/* The same, and the client is told. */
void socket_disconnect(struct socket *socket);

/* To it alone, after what its rooms were sent before, unless it has left; takes the packet, returns
 * how many were addressed. */
uint64_t socket_send(struct socket *socket, struct packet *packet);

/* An event, `message` its array, with an id when the client is to acknowledge it; the answer to an
 * event of the client's. */
void socket_tell(struct socket *socket, const uint64_t *id, const struct relay_message *message);
void socket_answer(struct socket *socket, uint64_t id, const struct relay_message *message);

/* Is it asked by the namespace in the rules in force, or in the other ones meanwhile? */
bool socket_asks(const struct socket *socket, bool (*asks)(const struct rules_namespace *space));

/* While workers change from rules to rules: keep for others what either of them asks about this
 * session's sockets (presence, lists), and afterwards only what the new ones ask. */
void sockets_reckon(struct session *session);

/* New rules: first those of its sockets are disconnected whose namespace is gone or wants a token
 * that they have not shown, still under the old rules; once the worker has the new ones, the rest
 * keep rooms and variables under them. */
void sockets_evict(struct session *session, const struct rules *fresh);
void sockets_adopt(struct session *session);

/* Free the sockets that left this turn. */
void sockets_reap(struct worker *worker);

#endif
