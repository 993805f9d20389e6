#ifndef GATEWAY_TWOSTEP_H
#define GATEWAY_TWOSTEP_H

#include "gateway/socket.h"

/*
 * Authentication by an event, as socketio-jwt has it: a socket that has connected emits
 * `authenticate` with {"token":T} and is told `authenticated`, or `unauthorized` with the reason,
 * after which it is disconnected.  A socket of an `authenticate later` namespace does nothing else
 * before; a guest keeps its rooms and variables; who has authenticated already shows a fresh token
 * of the same user.
 */

/* The socket has connected without a token to a namespace that demands one later. */
void twostep_begin(struct socket *socket);

/* Is this event dealt with here?  `id`: the answer's, NULL when none is wanted. */
bool twostep_event(struct socket *socket, const struct event *event, const uint64_t *id);

/* The client has acknowledged this event of ours. */
void twostep_acknowledged(struct socket *socket, uint64_t id);

/* The socket leaves. */
void twostep_end(struct socket *socket);

/* For the worker's timer list. */
void twostep_overdue(struct timer *deadline);

#endif
