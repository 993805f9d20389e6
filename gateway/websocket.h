#ifndef GATEWAY_WEBSOCKET_H
#define GATEWAY_WEBSOCKET_H

#include "gateway/session.h"

/*
 * The WebSocket transport (RFC 6455): bytes in, messages out.  wslay parses what clients send; a
 * context is lent to a session only while a frame or a fragmented message is incomplete.
 */

/* Begin to watch the session's descriptor, and read what came with the request. */
void websocket_open(struct session *session, const void *first, size_t bytes);

/* Write what waits in the outbox, as far as the client takes it. */
void websocket_flush(struct session *session);

/* A close frame with this code; after it the client only has to close. */
struct packet *websocket_close_frame(uint16_t code);

/* The same, sent at once, on a connection that is or will be no session's transport. */
void websocket_send_close(int fd, uint16_t code);

/*
 * Read what has arrived by now of a WebSocket that is on its way to become the transport, and
 * nothing that stands behind the `5`: no mailbox has been drained for that.
 */
void websocket_read_upgrade(struct session *session);

/* Send one short message past the outbox; a connection that does not take it at once is given up.
 */
void websocket_send_now(struct session *session, enum websocket_opcode opcode, const void *payload,
                        size_t bytes);

/* Give back what was lent, before the session is freed. */
void websocket_release(struct session *session);

void websocket_free_leases(struct worker *worker);

/* The answer to Sec-WebSocket-Key (RFC 6455 §4.2.2); false: `key` is not 16 bytes in base64. */
#define WEBSOCKET_ACCEPT_SIZE 29
bool websocket_accept(const char *key, char accept[WEBSOCKET_ACCEPT_SIZE]);

#endif
