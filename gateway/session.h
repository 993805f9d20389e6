#ifndef GATEWAY_SESSION_H
#define GATEWAY_SESSION_H

#include "common/net.h"
#include "gateway/gate.h"
#include "gateway/outbox.h"
#include "gateway/timers.h"
#include "gateway/watch.h"

struct worker;
struct socket;
struct lease;
struct assembly;
struct polling;
struct answer;

/*
 * An Engine.IO session: one client's transport, its heartbeat, what waits to be sent to it, and its
 * end.  It is always on the list of its state; session_close is the only door out.
 */
enum session_state {
    SESSION_POLLING,
    SESSION_UPGRADING, /* polls, and a WebSocket is on its way */
    SESSION_WEBSOCKET,
    SESSION_CLOSING,
    SESSION_STATES
};

/*
 * Why a session ends:
 *   R(reason, word in the log and label of the counter, what Socket.IO calls it, WebSocket close
 * code) Code 0: no close frame is sent, the connection is gone or the client's own close is
 * answered.
 */
/* clang-format off */
#define CLOSE_REASONS(R) \
 R(CLOSE_CLIENT,          "client_closed",   "transport close",      0, false) \
 R(CLOSE_LOST,            "connection_lost", "transport error",      0, false) \
 R(CLOSE_PING_TIMEOUT,    "ping_timeout",    "ping timeout",         1000, false) \
 R(CLOSE_CONNECT_TIMEOUT, "connect_timeout", "forced close",         1008, false) \
 R(CLOSE_BAD_FRAME,       "bad_frame",       "transport error",      1002, false) \
 R(CLOSE_BAD_TEXT,        "bad_text",        "transport error",      1007, false) \
 R(CLOSE_BAD_DEFLATE,     "bad_deflate",     "transport error",      1007, false) \
 R(CLOSE_BAD_PACKET,      "bad_packet",      "parse error",          1002, false) \
 R(CLOSE_OVERLAP,         "overlap",         "transport error",      1002, false) \
 R(CLOSE_TOO_BIG,         "too_big",         "transport error",      1009, false) \
 R(CLOSE_SLOW_CONSUMER,   "slow_consumer",   "forced close",         1008, false) \
 R(CLOSE_UNAUTHORIZED,    "unauthorized",    "forced close",         1008, true) \
 R(CLOSE_EXPIRED,         "expired",         "forced close",         1008, true) \
 R(CLOSE_REVOKED,         "revoked",         "forced close",         1008, true) \
 R(CLOSE_LIMIT,           "limit",           "forced close",         1008, true) \
 R(CLOSE_SHUTDOWN,        "shutting_down",   "server shutting down", 1001, false)
/* clang-format on */

enum close_reason {
#define CLOSE_REASON(reason, word, socketio, code, lingers) reason,
    CLOSE_REASONS(CLOSE_REASON)
#undef CLOSE_REASON
        CLOSE_REASONS_N
};

const char *close_reason_word(enum close_reason reason);
const char *close_reason_socketio(enum close_reason reason);

#define SESSION_ID_BYTES 15
#define SESSION_ID_TEXT  20 /* base64url, without a NUL */

struct session {
    struct watch watch; /* of fd; first */
    struct worker *worker;
    struct session *previous, *next; /* of its state's list */
    struct session *next_touched;    /* those with something to write when the turn ends */
    struct timer heartbeat;      /* next ping, or deadline of the pong; Engine.IO 3: of a ping */
    struct timer deadline;       /* of the first CONNECT, or of a closing client */
    struct outbox *outbox;       /* lent; NULL: nothing waits */
    struct polling *polling;     /* while it polls; NULL: a WebSocket is all it has */
    struct lease *lease;         /* lent by websocket.c inside a frame or message */
    struct assembly *assembly;   /* a binary packet of which attachments are still missing */
    struct socket *sockets;      /* one for each namespace it is connected to */
    struct identity *identity;   /* from the handshake's token; NULL unless admission is TOKEN_OK */
    struct place *address_place; /* its address among the counted ones */
    int fd;                      /* of the WebSocket; -1: none */
    uint8_t admission;           /* gate_result of the handshake's token */
    uint8_t state;               /* enum session_state */
    uint8_t reason;              /* enum close_reason, once closing */
    uint8_t wire;                /* of enum wire: which Engine.IO it speaks, and how */
    bool deflates;               /* permessage-deflate was agreed on for its WebSocket */
    bool is_apart;               /* see batch.h */
    bool is_touched, is_blocked, has_shut, has_ended, has_spoken, is_greeted;
    struct net_address address;
    uint8_t id[SESSION_ID_BYTES];
    uint64_t next_event_us; /* when one more event would be exactly at the limit: see socketio.c */
};

/* What the HTTP handshake learned, handed over with the connection. */
struct admission {
    struct identity *identity;
    gate_result result;
    struct net_address address;
    struct place *address_place;
    struct packet *answer; /* the 101, as far as it has yet to be written; else NULL */
    uint8_t wire;
    bool deflates; /* see struct session */
};

/*
 * A WebSocket has been opened: takes over the descriptor and the admission, sends the open packet,
 * and reads the bytes that came with the request.
 */
void session_open(struct worker *worker, int fd, const struct admission *admission,
                  const void *first, size_t bytes);

/* The same for a client that polls: the open packet is the answer to its handshake. */
struct session *session_open_polling(struct worker *worker, const struct admission *admission,
                                     struct answer *answer);

/* A polling session is reserved for a WebSocket (false: it is not polling), gets it, loses it, has
 * become it. */
bool session_begin_upgrade(struct session *session);
void session_attach(struct session *session, int fd, bool deflates, const void *first,
                    size_t bytes);
void session_detach(struct session *session, enum close_reason reason);
void session_upgraded(struct session *session);

/* The WebSocket has gone or failed: so has the session, unless it was only upgrading. */
void session_transport_gone(struct session *session, enum close_reason reason);

/* Queue for the client; nothing happens to a closing one.  Takes a reference of its own. */
void session_send(struct session *session, struct parcel *parcel);

/* The same for a packet that goes to this client alone: takes over the caller's reference. */
void session_send_packet(struct session *session, struct packet *packet);

/* A whole message from the transport: one Engine.IO packet. */
void session_message(struct session *session, enum websocket_opcode opcode, const uint8_t *bytes,
                     size_t length);

/* Write what waits; called at the end of the turn. */
void session_flush(struct session *session);

/*
 * The only way a session ends: its sockets leave, what is queued and a close frame still go out (of
 * one that is being upgraded, when that is decided), and it is freed when a later turn ends.  Does
 * nothing when it is closing already.
 */
void session_close(struct session *session, enum close_reason reason);

/* The connection is gone: nothing more can be sent. */
void session_end(struct session *session, enum close_reason reason);

/* Free what ended this turn. */
void session_reap(struct worker *worker);

/* The first CONNECT has succeeded: the session is no longer bound to a deadline. */
void session_connected(struct session *session);

/* For the worker's timer lists. */
void session_greeting_due(struct timer *heartbeat);
void session_ping_due(struct timer *heartbeat);
void session_pong_missing(struct timer *heartbeat);
void session_connect_missing(struct timer *deadline);
void session_close_overdue(struct timer *deadline);

static inline bool session_is_eio3(const struct session *session)
{
    return session->wire & WIRE_EIO3;
}

void session_id_text(const uint8_t id[SESSION_ID_BYTES], char text[SESSION_ID_TEXT + 1]);
bool session_id_parse(const char text[SESSION_ID_TEXT],
                      uint8_t id[SESSION_ID_BYTES]); /* false: it is none */

#endif
