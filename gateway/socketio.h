#ifndef GATEWAY_SOCKETIO_H
#define GATEWAY_SOCKETIO_H

#include "gateway/session.h"

/*
 * Socket.IO 5 over an Engine.IO session: CONNECT and its refusals, events and their answers,
 * DISCONNECT.
 */

/* The session is open: Engine.IO 3's clients are in the default namespace unasked. */
void socketio_open(struct session *session);

/* A message of the session: text, or an attachment of the packet before it. */
void socketio_text(struct session *session, const char *text, size_t length);
void socketio_binary(struct session *session, const uint8_t *bytes, size_t length);

/* Bytes that an attachment may have, when one is due, within limits.packet_bytes; that a message
 * may have of whoever is in no namespace; else UINT64_MAX. */
uint64_t socketio_left(const struct session *session);

/* The session ends: its sockets leave their namespaces. */
void socketio_close(struct session *session, enum close_reason reason);

#endif
