/* An Engine.IO session's life: open, heartbeat, what is queued, one door out. */
#include "gateway/session.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/memory.h"
#include "gateway/polling.h"
#include "gateway/socketio.h"
#include "gateway/websocket.h"
#include "gateway/worker.h"

#include <assert.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

static const struct {
    const char *word, *socketio;
    uint16_t code;
    bool lingers;
} reasons[] = {
#define REASON(reason, word, socketio, code, lingers) {word, socketio, code, lingers},
    CLOSE_REASONS(REASON)
#undef REASON
};

static void list_add(struct session *head, struct session *session)
{
    counter_add(&session->worker->counters.sessions[session->state], 1);
    session->previous = head->previous;
    session->next = head;
    session->previous->next = session;
    head->previous = session;
}

static void list_remove(struct session *session)
{
    counter_add(&session->worker->counters.sessions[session->state], UINT64_MAX); /* one less */
    session->previous->next = session->next;
    session->next->previous = session->previous;
}

/* The one function that changes a session's state. */
static void move(struct session *session, enum session_state state)
{
    list_remove(session);
    session->state = (uint8_t)state;
    list_add(&session->worker->sessions[state], session);
}

static void touch(struct session *session)
{
    if (session->is_touched)
        return;
    session->is_touched = true;
    session->next_touched = NULL;
    *session->worker->last_touched = session;
    session->worker->last_touched = &session->next_touched;
}

static bool is_blocked(const struct session *session)
{
    return session->polling ? !polling_is_writable(session) : session->is_blocked;
}

/* The form it wants its packets in; what it polls for is never deflated. */
static uint8_t form_of(const struct session *session)
{
    return session->wire | (session->deflates && !session->polling ? WIRE_DEFLATED : 0);
}

static void queue(struct session *session, struct parcel *parcel)
{
    if (!session->outbox)
        session->outbox = outbox_borrow(&session->worker->outboxes);
    outbox_push(session->outbox, parcel);
    session->worker->queued++;
    touch(session);
}

static void queue_packet(struct session *session, struct packet *packet)
{
    struct parcel *parcel = parcel_new(packet);

    queue(session, parcel);
    parcel_put(&parcel);
}

/* Engine.IO, "Handshake": the open packet. */
static void send_open(struct session *session)
{
    const struct config *config = session->worker->snapshot->config;
    char sid[SESSION_ID_TEXT + 1], text[256];
    int length;
    struct span piece;

    session_id_text(session->id, sid);
    length =
        snprintf(text, sizeof text,
                 "0{\"sid\":\"%s\",\"upgrades\":[%s],\"pingInterval\":%llu,\"pingTimeout\":%llu,"
                 "\"maxPayload\":%llu}",
                 sid, session->state == SESSION_POLLING ? "\"websocket\"" : "",
                 (unsigned long long)config->gateway_ping_interval,
                 (unsigned long long)config->gateway_ping_timeout,
                 (unsigned long long)config->limits_max_payload);
    piece = (struct span){text, (uint32_t)length};
    session_send_packet(session, packet_new(piece, NULL, 0, NULL, 0));
}

/* We ping Engine.IO 4's clients; those of 3 ping us, and in time. */
static void start_heartbeat(struct session *session)
{
    struct worker *worker = session->worker;

    timer_arm(session_is_eio3(session) ? &worker->silence : &worker->ping, &session->heartbeat,
              worker->now_ms);
}

/* What a client hears first. */
static void greet(struct session *session)
{
    if (session->is_greeted)
        return;
    session->is_greeted = true;
    start_heartbeat(session);
    send_open(session);
    if (session->state == SESSION_WEBSOCKET)
        socketio_open(session);
}

/* A client's heartbeat, a ping (Engine.IO 3) or a pong (4), never the other. */
static void heartbeat(struct session *session, bool is_ping)
{
    static const struct span pong = {"3", 1};

    if (is_ping != session_is_eio3(session)) {
        session_close(session, CLOSE_BAD_PACKET);
        return;
    }
    start_heartbeat(session);
    if (is_ping)
        session_send_packet(session, packet_new(pong, NULL, 0, NULL, 0));
}

/* Binary as it is, after Engine.IO 3's packet type. */
static void binary_message(struct session *session, const uint8_t *bytes, size_t length)
{
    size_t type = session_is_eio3(session) ? 1 : 0;

    if (length < type || (type && bytes[0] != 4))
        session_close(session, CLOSE_BAD_PACKET);
    else
        socketio_binary(session, bytes + type, length - type);
}

/* `b`, in Engine.IO 3 a packet type, and base64. */
static void base64_message(struct session *session, const char *text, size_t length)
{
    size_t type = session_is_eio3(session) ? 2 : 1, size = length / 4 * 3 + 3, bytes;
    uint64_t left = socketio_left(session);
    uint8_t *binary;

    if (left < size && size - left > 6) { /* 3, and 3 for what is no base64 in it */
        session_close(session, CLOSE_TOO_BIG);
        return;
    }
    binary = memory_new(size);
    if (length < type || (type == 2 && text[1] != '4') ||
        sodium_base642bin(binary, size, text + type, length - type, NULL, &bytes, NULL,
                          sodium_base64_VARIANT_ORIGINAL) != 0)
        session_close(session, CLOSE_BAD_PACKET);
    else
        socketio_binary(session, binary, bytes);
    free(binary);
}

/* Engine.IO, "Packet types", as far as a client may send them. */
static void text_message(struct session *session, const char *text, size_t length)
{
    switch (length ? text[0] : '\0') {
    case '1': /* close */
        session_close(session, CLOSE_CLIENT);
        break;
    case '2': /* ping */
    case '3': /* pong */
        heartbeat(session, text[0] == '2');
        break;
    case '4': /* message */
        socketio_text(session, text + 1, length - 1);
        break;
    case '6': /* noop */
        break;
    case 'b':
        base64_message(session, text, length);
        break;
    default:
        session_close(session, CLOSE_BAD_PACKET);
    }
}

static void set_descriptor(struct session *session, int fd)
{
    session->fd = fd;
    atomic_fetch_add(&session->worker->gateway->descriptors, 1);
}

static void close_descriptor(struct session *session)
{
    if (session->fd < 0)
        return;
    /* Closing is not enough: libmicrohttpd may still hold the descriptor that this is a copy of. */
    (void)epoll_ctl(session->worker->epoll_fd, EPOLL_CTL_DEL, session->fd, NULL);
    close(session->fd);
    session->fd = -1;
    atomic_fetch_sub(&session->worker->gateway->descriptors, 1);
}

static struct session *create(struct worker *worker, const struct admission *admission,
                              enum session_state state)
{
    struct session *session = memory_zeroed(1, sizeof *session);

    session->worker = worker;
    session->fd = -1;
    session->identity = admission->identity;
    if (session->identity) /* there may be new rules since the handshake */
        identity_adopt(session->identity, worker->snapshot);
    session->admission = (uint8_t)admission->result;
    session->address = admission->address;
    session->address_place = admission->address_place;
    session->wire = admission->wire;
    session->deflates = admission->deflates;
    session->state = (uint8_t)state;
    list_add(&worker->sessions[state], session);
    worker->n_sessions++;
    randombytes_buf(session->id, sizeof session->id);
    session->id[0] = (uint8_t)worker->index; /* so that any worker knows whom to ask */
    COUNT(worker, handshakes);
    timer_arm(&worker->connect, &session->deadline, worker->now_ms);
    return session;
}

/* What ends long-polling; NULL: see polling_end. */
static const char *last_packet(const struct session *session)
{
    if (session->reason == CLOSE_SHUTDOWN)
        return NULL;
    return session->reason == CLOSE_CLIENT ? "6" : "1";
}

/*
 * A waiting GET fetches what is queued.  A client that is told why it is closed gets that alone and
 * the close packet by its next GET: of both in one payload it would see the close first.  Where no
 * GET waits, the next one is on its way, and would hear of an unknown session; so is, on another
 * connection, to another worker, the GET of one that closes by a POST.
 */
static void close_polling(struct session *session)
{
    bool is_between = !session->polling->is_waiting;
    bool lingers = session->reason == CLOSE_CLIENT
                       ? is_between
                       : reasons[session->reason].lingers && (is_between || session->outbox);

    polling_flush(session);
    if (!lingers)
        session_end(session, session->reason);
}

/* The last words of a closing session, by the transport it has. */
static void part(struct session *session)
{
    if (session->polling) {
        close_polling(session);
        return;
    }
    if (reasons[session->reason].code)
        queue_packet(session, websocket_close_frame(reasons[session->reason].code));
    touch(session);
}

static void free_session(struct session *session)
{
    struct worker *worker = session->worker;

    websocket_release(session);
    outbox_return(&session->outbox);
    identity_put(&session->identity);
    directory_leave(worker->gateway->directory, session->address_place);
    atomic_fetch_sub(&worker->gateway->connections, 1);
    worker->n_sessions--;
    free(session);
}

const char *close_reason_word(enum close_reason reason)
{
    return reasons[reason].word;
}

const char *close_reason_socketio(enum close_reason reason)
{
    return reasons[reason].socketio;
}

void session_id_text(const uint8_t id[SESSION_ID_BYTES], char text[SESSION_ID_TEXT + 1])
{
    sodium_bin2base64(text, SESSION_ID_TEXT + 1, id, SESSION_ID_BYTES,
                      sodium_base64_VARIANT_URLSAFE_NO_PADDING);
}

bool session_id_parse(const char text[SESSION_ID_TEXT], uint8_t id[SESSION_ID_BYTES])
{
    size_t bytes;

    return sodium_base642bin(id, SESSION_ID_BYTES, text, SESSION_ID_TEXT, NULL, &bytes, NULL,
                             sodium_base64_VARIANT_URLSAFE_NO_PADDING) == 0 &&
           bytes == SESSION_ID_BYTES;
}

void session_open(struct worker *worker, int fd, const struct admission *admission,
                  const void *first, size_t bytes)
{
    struct session *session = create(worker, admission, SESSION_WEBSOCKET);

    set_descriptor(session, fd);
    if (admission->answer)
        queue_packet(session, admission->answer);
    if (session_is_eio3(session))
        timer_arm(&worker->greeting, &session->heartbeat, worker->now_ms);
    else
        greet(session);
    websocket_open(session, first, bytes);
    if (worker->is_stopping)
        session_close(session, CLOSE_SHUTDOWN);
}

struct session *session_open_polling(struct worker *worker, const struct admission *admission,
                                     struct answer *answer)
{
    struct session *session = create(worker, admission, SESSION_POLLING);

    greet(session);
    polling_open(session, answer);
    socketio_open(session);
    return session;
}

bool session_begin_upgrade(struct session *session)
{
    if (session->state != SESSION_POLLING)
        return false;
    move(session, SESSION_UPGRADING);
    return true;
}

void session_attach(struct session *session, int fd, bool deflates, const void *first, size_t bytes)
{
    set_descriptor(session, fd);
    session->deflates = deflates;
    websocket_open(session, first, bytes);
}

void session_detach(struct session *session, enum close_reason reason)
{
    if (session->fd >= 0 && reasons[reason].code)
        websocket_send_close(session->fd, reasons[reason].code);
    close_descriptor(session);
    websocket_release(session);
    session->is_blocked = session->deflates = false;
    if (session->state == SESSION_CLOSING)
        part(session);
    else
        move(session, SESSION_POLLING);
}

void session_upgraded(struct session *session)
{
    if (session->state == SESSION_CLOSING) {
        part(session);
        return;
    }
    move(session, SESSION_WEBSOCKET);
    touch(session);
}

void session_transport_gone(struct session *session, enum close_reason reason)
{
    if (session->polling)
        polling_abandon_upgrade(session, reason);
    else
        session_end(session, reason);
}

void session_send(struct session *session, struct parcel *parcel)
{
    if (session->state == SESSION_CLOSING)
        return;
    if (parcel->packet->is_volatile && is_blocked(session)) {
        counter_add(&session->worker->counters.dropped_volatile, parcel->packet->messages);
        return;
    }
    queue(session, parcel_in_form(parcel, form_of(session), session->worker->deflate));
    counter_add(&session->worker->counters.deliveries, parcel->packet->messages);
}

void session_send_packet(struct session *session, struct packet *packet)
{
    struct parcel *parcel = parcel_new(packet);

    session_send(session, parcel);
    parcel_put(&parcel);
}

void session_message(struct session *session, enum websocket_opcode opcode, const uint8_t *bytes,
                     size_t length)
{
    if (session->state != SESSION_CLOSING)
        greet(session);
    if (session->state == SESSION_CLOSING)
        return;
    if (opcode == OPCODE_TEXT)
        text_message(session, (const char *)bytes, length);
    else
        binary_message(session, bytes, length);
}

void session_flush(struct session *session)
{
    uint64_t limit = session->worker->snapshot->config->limits_queued_bytes;

    if (session->has_ended)
        return;
    if (session->polling)
        polling_flush(session);
    else
        websocket_flush(session);
    if (limit && session->outbox && is_blocked(session) && session->outbox->bytes > limit) {
        log_info("closing a client that reads too slowly: %zu bytes wait", session->outbox->bytes);
        session_end(session, CLOSE_SLOW_CONSUMER);
    }
}

/*
 * Between the probe's pong and the `5` a client neither polls on nor listens to its WebSocket: were
 * the one ended or the other closed, it would hear nothing.  It is told when the upgrade is
 * decided.
 */
void session_close(struct session *session, enum close_reason reason)
{
    struct worker *worker = session->worker;
    bool is_deaf = session->state == SESSION_UPGRADING && session->polling->is_probed &&
                   reasons[reason].code != 0;

    if (session->state == SESSION_CLOSING)
        return;
    if (session->state == SESSION_UPGRADING && !is_deaf)
        polling_abandon_upgrade(session, reason);
    session->reason = (uint8_t)reason;
    counter_add(&worker->counters.closed[reason], 1);
    socketio_close(session, reason);
    move(session, SESSION_CLOSING);
    timer_disarm(&session->heartbeat);
    timer_arm(&worker->close, &session->deadline, worker->now_ms);
    if (!is_deaf)
        part(session);
}

void session_end(struct session *session, enum close_reason reason)
{
    struct worker *worker = session->worker;

    session_close(session, reason);
    if (session->has_ended)
        return;
    session->has_ended = true;
    if (session->polling)
        polling_end(session, last_packet(session));
    close_descriptor(session);
    timer_disarm(&session->deadline);
    list_remove(session);
    session->next = worker->ended;
    worker->ended = session;
}

void session_reap(struct worker *worker)
{
    while (worker->ended) {
        struct session *session = worker->ended;

        worker->ended = session->next;
        free_session(session);
    }
}

void session_connected(struct session *session)
{
    timer_disarm(&session->deadline);
}

void session_greeting_due(struct timer *heartbeat)
{
    greet(TABLE_ENTRY(heartbeat, struct session, heartbeat));
}

void session_ping_due(struct timer *heartbeat)
{
    struct session *session = TABLE_ENTRY(heartbeat, struct session, heartbeat);
    struct worker *worker = session->worker;

    session_send(session, worker->ping_parcel);
    timer_arm(&worker->pong, heartbeat, worker->now_ms);
}

void session_pong_missing(struct timer *heartbeat)
{
    session_close(TABLE_ENTRY(heartbeat, struct session, heartbeat), CLOSE_PING_TIMEOUT);
}

void session_connect_missing(struct timer *deadline)
{
    session_close(TABLE_ENTRY(deadline, struct session, deadline), CLOSE_CONNECT_TIMEOUT);
}

void session_close_overdue(struct timer *deadline)
{
    struct session *session = TABLE_ENTRY(deadline, struct session, deadline);

    session_end(session, session->reason);
}
