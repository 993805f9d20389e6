#ifndef GATEWAY_POLLING_H
#define GATEWAY_POLLING_H

#include "gateway/http.h"
#include "gateway/session.h"
#include "gateway/table.h"

/*
 * The HTTP long-polling transport (Engine.IO 4 and 3): what a session has while it polls, and the
 * upgrade from it to a WebSocket.
 *
 * Requests of one session may arrive at any worker.  The first byte of a session's id is the number
 * of the worker that owns it; what a request wants is told to that worker as an inquiry, and the
 * answer comes back by the request's number.
 */
struct polling {
    struct table_link link; /* worker->polled */
    struct session *session;
    struct timer upgrade; /* while a WebSocket is on its way */
    uint64_t get;         /* number of the GET that waits for something to be sent, */
    unsigned get_worker;  /* and where */
    bool is_waiting;      /* there is one */
    size_t answering;     /* bytes of a long answer that its client has not taken yet */
    bool is_probed;       /* the WebSocket has answered: long-polling only has to end */
    uint32_t posts;       /* under way */
};

enum inquiry {
    INQUIRY_GET,          /* answered when there is something to send */
    INQUIRY_GET_LOST,     /* its client has gone */
    INQUIRY_ANSWER_TAKEN, /* a long answer to a GET has gone out, */
    INQUIRY_ANSWER_LOST,  /* or its client has gone instead; neither is answered */
    INQUIRY_POST_BEGUN,   /* not answered */
    INQUIRY_POST_LOST,    /* not answered */
    INQUIRY_POST,         /* with the body, which is taken over */
    INQUIRY_POST_OCTETS,  /* the same of application/octet-stream */
    INQUIRY_UPGRADE       /* reserve the session for a WebSocket; answered by status 101 */
};

/* Ask the session's owner on behalf of request `number` of this worker; http_answer brings the
 * answer. */
void polling_inquire(struct worker *worker, enum inquiry what, const uint8_t sid[SESSION_ID_BYTES],
                     uint64_t number, char *body, size_t bytes);

/* The WebSocket that was reserved is open: it goes to the session's owner with its first bytes. */
void polling_hand_over(struct worker *worker, const uint8_t sid[SESSION_ID_BYTES], int fd,
                       bool deflates, const void *first, size_t bytes);

/* The first answer of a new session: its open packet, as a payload. */
void polling_open(struct session *session, struct answer *answer);

/* Answer the waiting GET, if there is one, with what is queued, if there is anything. */
void polling_flush(struct session *session);

/* A message of the WebSocket while the session is upgrading. */
void polling_probe(struct session *session, enum websocket_opcode opcode, const uint8_t *bytes,
                   size_t length);

/* Its WebSocket has gone, or goes for this reason: the session polls on. */
void polling_abandon_upgrade(struct session *session, enum close_reason reason);

/* Is anything written now read soon? */
bool polling_is_writable(const struct session *session);

/*
 * The session polls no more: a waiting GET is answered with this packet; NULL: with ENGINE_STOPPING
 * and 503.  A close packet would tell python-engineio that it is not wanted, and it would not come
 * back to the next gateway.
 */
#define ENGINE_STOPPING "{\"error\":\"stopping\"}"
void polling_end(struct session *session, const char *packet);

void polling_upgrade_overdue(struct timer *upgrade);

/* Refusals, Engine.IO's "Error codes". */
enum engine_error {
    ENGINE_TRANSPORT_UNKNOWN = 0,
    ENGINE_SESSION_UNKNOWN = 1,
    ENGINE_BAD_METHOD = 2,
    ENGINE_BAD_REQUEST = 3,
    ENGINE_FORBIDDEN = 4,
    ENGINE_UNSUPPORTED_VERSION = 5
};
void engine_refusal(enum engine_error error, struct answer *answer);

#endif
