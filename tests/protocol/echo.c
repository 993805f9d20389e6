/*
 * The gateway with an echo in the place of Socket.IO: every Engine.IO message comes back as it was.
 * What the public Engine.IO test suites expect to talk to; linked with all of the gateway but
 * socketio.c, so that there is never a socket.
 */
#include "gateway/socketio.h"
#include "gateway/worker.h"

void socketio_open(struct session *session)
{
    session_connected(session);
}

void socketio_text(struct session *session, const char *text, size_t length)
{
    struct span piece = {text, (uint32_t)length};

    session_send_packet(session, packet_new((struct span){"4", 1}, &piece, 1, NULL, 0));
}

uint64_t socketio_left(const struct session *session)
{
    (void)session;
    return UINT64_MAX;
}

void socketio_binary(struct session *session, const uint8_t *bytes, size_t length)
{
    session_send_packet(session, packet_new_frame(OPCODE_BINARY, bytes, length));
}

void socketio_close(struct session *session, enum close_reason reason)
{
    (void)session, (void)reason;
}
