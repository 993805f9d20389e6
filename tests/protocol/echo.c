/*
 * The gateway with an echo in the place of Socket.IO: every Engine.IO message comes back as it was.
 * What the public Engine.IO test suites expect to talk to; linked with all of the gateway but
 * socketio.c and what stands on it.
 */
#include <stdlib.h>

#include "gateway/presence.h"
#include "gateway/socketio.h"
#include "gateway/twostep.h"
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

void socketio_binary(struct session *session, const uint8_t *bytes, size_t length)
{
    session_send_packet(session, packet_new_frame(OPCODE_BINARY, bytes, length));
}

void socketio_deliver(struct socket *socket, struct parcel *parcel)
{
    (void)socket, (void)parcel;
}

void socketio_close(struct session *session, enum close_reason reason)
{
    (void)session, (void)reason;
}

void socketio_evict(struct session *session, const struct rules *fresh)
{
    (void)session, (void)fresh;
}

void socketio_adopt(struct session *session)
{
    (void)session;
}

void socketio_reap(struct worker *worker)
{
    (void)worker;
}

/* There are no sockets here, so nothing of presence and two-step authentication comes this far. */

struct packet *socketio_event(const struct rules_namespace *space,
                              const struct relay_message *message)
{
    (void)space, (void)message;
    abort();
}

void socketio_tell(struct socket *socket, const uint64_t *id, const struct relay_message *message)
{
    (void)socket, (void)id, (void)message;
    abort();
}

void socketio_answer(struct socket *socket, uint64_t id, const struct relay_message *message)
{
    (void)socket, (void)id, (void)message;
    abort();
}

void socketio_disconnect(struct socket *socket)
{
    (void)socket;
    abort();
}

bool socketio_may_enter(struct socket *socket, struct span *reason)
{
    (void)socket, (void)reason;
    abort();
}

void socketio_authenticated(struct socket *socket)
{
    (void)socket;
    abort();
}

void presence_overdue(struct timer *grace)
{
    (void)grace;
}

void presence_fini(struct worker *worker)
{
    table_fini(&worker->online);
}

void twostep_overdue(struct timer *deadline)
{
    (void)deadline;
}

void socketio_reckon(struct session *session)
{
    (void)session;
}
