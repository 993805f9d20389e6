#ifndef GATEWAY_ROOMS_H
#define GATEWAY_ROOMS_H

#include "gateway/directory.h"
#include "gateway/packet.h"

struct worker;
struct socket;

/*
 * Rooms: name → the sockets here, on this worker; the directory knows about the others.  Every
 * socket is in the room "" of its namespace (all of it), and a user's sockets are in "user:NAME".
 */
struct room {
    struct table_link link;
    struct place *place; /* held; its key is the room's */
    struct socket **member;
    struct socket *only; /* where `member` points while there is room for one */
    uint32_t n, capacity;
};

/* A socket's side of it: which rooms, and where in each. */
struct membership {
    struct room *room;
    uint32_t index;
};

struct rooms {
    struct table table;
};

#define ROOM_NAME_MAX 600 /* "user:" and a long subject; the rules bound what they make to less */

/* A room's whole key, "namespace\0room", with its hash. */
struct room_key {
    uint64_t hash;
    uint16_t length;
    char text[DIRECTORY_KEY_MAX];
};
void room_key_make(struct room_key *key, struct span space, struct span room);

void rooms_init(struct rooms *rooms);
void rooms_fini(struct rooms *rooms);

bool room_has(const struct room *room, const struct socket *socket);
bool rooms_is_in(const struct socket *socket, const struct room_key *key);
bool rooms_join(struct worker *worker, struct socket *socket,
                const struct room_key *key); /* false: was in it */
void rooms_leave(struct worker *worker, struct socket *socket, const struct room_key *key);
void rooms_leave_all(struct worker *worker, struct socket *socket);

/* Sockets in it, on all workers. */
uint32_t rooms_count(struct worker *worker, const struct room_key *key);

/* Its users, as directory_members gives them.  Sockets are listed while they are in a room, or not
 * at all, as the rules of their namespace want it. */
char *rooms_members(struct worker *worker, const struct room_key *key);
void rooms_list(struct worker *worker, struct socket *socket, bool is_listed);

/*
 * Send to everyone in the room but `except` (may be NULL): to each worker that holds it once, to
 * the members here at once.  Takes the caller's reference on the packet.  How many sockets are
 * addressed.
 */
uint32_t rooms_emit(struct worker *worker, const struct room_key *key, struct packet *packet,
                    const struct socket *except);

/* The same for the one socket with this public id in namespace number `space`. */
uint32_t rooms_emit_to_socket(struct worker *worker, const uint8_t id[SOCKET_ID_BYTES],
                              uint32_t space, struct packet *packet, const struct socket *except);

#endif
