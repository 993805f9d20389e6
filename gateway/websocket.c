/*
 * The WebSocket transport.  wslay parses and unmasks what clients send and answers their control
 * frames; what we send was framed when the packet was made.  Who the client is and what it says is
 * the session's business.
 */
#include "gateway/websocket.h"

#include "common/memory.h"
#include "common/sha1.h"
#include "gateway/polling.h"
#include "gateway/worker.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <wslay/wslay.h>

#define READ_BYTES   65536
#define FLUSH_PIECES 64 /* parcels of one write */
#define COPY_PIECES                                                                                \
    16 /* so many or more, and small: copied together they cost less than as pieces */
#define COPY_BYTES    16384
#define MAX_FRAGMENTS 1024  /* of one message */
#define MAX_ANSWER    16384 /* pongs and a close that one read may cause */

/*
 * What a session borrows while a frame or a message is incomplete.  At the end of each frame the
 * bytes fed to wslay are compared with the frames' own sum: equal, and no message open, means that
 * nothing of the client's is left inside and the context can go to another session.
 */
struct lease {
    struct lease *next_free;
    struct session *session;
    wslay_event_context_ptr context;
    const uint8_t *in; /* what was read and is not yet fed */
    size_t in_bytes;
    uint64_t fed, framed;
    uint64_t payload; /* of the frame in hand */
    uint32_t fragments;
    uint8_t opcode;
    bool is_last, in_message, has_failed, is_busy;
    uint8_t *answer; /* control frames that wslay wants sent */
    size_t answer_bytes;
};

static ssize_t feed_wslay(wslay_event_context_ptr context, uint8_t *to, size_t size, int flags,
                          void *user)
{
    struct lease *lease = user;
    size_t n = lease->in_bytes < size ? lease->in_bytes : size;

    (void)flags;
    if (n == 0) {
        wslay_event_set_error(context, WSLAY_ERR_WOULDBLOCK);
        return -1;
    }
    memcpy(to, lease->in, n);
    lease->in += n;
    lease->in_bytes -= n;
    lease->fed += n;
    return (ssize_t)n;
}

static ssize_t take_answer(wslay_event_context_ptr context, const uint8_t *bytes, size_t length,
                           int flags, void *user)
{
    struct lease *lease = user;

    (void)context, (void)flags;
    if (lease->answer_bytes + length > MAX_ANSWER) {
        lease->has_failed = true;
        return (ssize_t)length;
    }
    if (!lease->answer)
        lease->answer = memory_new(MAX_ANSWER);
    memcpy(lease->answer + lease->answer_bytes, bytes, length);
    lease->answer_bytes += length;
    return (ssize_t)length;
}

static void frame_started(wslay_event_context_ptr context,
                          const struct wslay_event_on_frame_recv_start_arg *frame, void *user)
{
    struct lease *lease = user;

    (void)context;
    lease->opcode = frame->opcode;
    lease->payload = frame->payload_length;
    lease->is_last = frame->fin;
    if (wslay_is_ctrl_frame(frame->opcode))
        return;
    if (frame->opcode != WSLAY_CONTINUATION_FRAME)
        lease->fragments = 0;
    if (++lease->fragments > MAX_FRAGMENTS)
        lease->has_failed = true;
}

static void frame_ended(wslay_event_context_ptr context, void *user)
{
    struct lease *lease = user;
    size_t length_bytes = lease->payload < 126 ? 0 : lease->payload < 65536 ? 2 : 8;

    (void)context;
    lease->framed += 2 + length_bytes + 4 + lease->payload;
    if (!wslay_is_ctrl_frame(lease->opcode))
        lease->in_message = !lease->is_last;
}

static void message_arrived(wslay_event_context_ptr context,
                            const struct wslay_event_on_msg_recv_arg *message, void *user)
{
    struct lease *lease = user;
    struct session *session = lease->session;
    enum websocket_opcode opcode = (enum websocket_opcode)message->opcode;

    (void)context;
    if (wslay_is_ctrl_frame(message->opcode) || lease->has_failed || session->fd < 0)
        return;
    if (session->state == SESSION_UPGRADING)
        polling_probe(session, opcode, message->msg, message->msg_length);
    else
        session_message(session, opcode, message->msg, message->msg_length);
}

static const struct wslay_event_callbacks callbacks = {
    .recv_callback = feed_wslay,
    .send_callback = take_answer,
    .on_frame_recv_start_callback = frame_started,
    .on_frame_recv_end_callback = frame_ended,
    .on_msg_recv_callback = message_arrived,
};

static struct lease *borrow(struct session *session)
{
    struct worker *worker = session->worker;
    struct lease *lease = worker->free_leases;

    if (session->lease)
        return session->lease;
    if (lease) {
        worker->free_leases = lease->next_free;
    } else {
        lease = memory_zeroed(1, sizeof *lease);
        if (wslay_event_context_server_init(&lease->context, &callbacks, lease) != 0)
            abort();
    }
    wslay_event_config_set_max_recv_msg_length(lease->context,
                                               worker->snapshot->config->limits_max_payload);
    lease->session = session;
    lease->fed = lease->framed = 0;
    lease->in_message = lease->has_failed = false;
    session->lease = lease;
    return lease;
}

static void free_lease(struct lease *lease)
{
    wslay_event_context_free(lease->context);
    free(lease->answer);
    free(lease);
}

/* Only at a boundary; a context with something left inside is freed by websocket_release. */
static void give_back(struct session *session)
{
    struct lease *lease = session->lease;

    session->lease = NULL;
    lease->session = NULL;
    free(lease->answer);
    lease->answer = NULL;
    lease->next_free = session->worker->free_leases;
    session->worker->free_leases = lease;
}

/* What the client's control frames were answered with. */
static void send_answer(struct session *session, struct lease *lease)
{
    if (lease->answer_bytes == 0)
        return;
    session_send_packet(session, packet_new_ready(lease->answer, lease->answer_bytes));
    lease->answer_bytes = 0;
}

static enum close_reason failure(const struct lease *lease)
{
    if (lease->has_failed)
        return CLOSE_LIMIT;
    if (wslay_event_get_close_received(lease->context))
        return CLOSE_CLIENT;
    switch (wslay_event_get_status_code_sent(lease->context)) {
    case WSLAY_CODE_MESSAGE_TOO_BIG:
        return CLOSE_TOO_BIG;
    case WSLAY_CODE_INVALID_FRAME_PAYLOAD_DATA:
        return CLOSE_BAD_TEXT;
    default:
        return CLOSE_BAD_FRAME;
    }
}

/* wslay answers a client's close; to anything that is wrong we say ourselves why we close. */
static void receiving_ended(struct session *session, struct lease *lease)
{
    enum close_reason reason = failure(lease);

    if (session->state == SESSION_UPGRADING) {
        session_transport_gone(session, reason);
        return;
    }
    if (reason == CLOSE_CLIENT)
        send_answer(session, lease);
    session_close(session, reason);
}

static void receive(struct session *session, const uint8_t *bytes, size_t n)
{
    struct lease *lease = borrow(session);
    int failed;

    lease->in = bytes;
    lease->in_bytes = n;
    lease->is_busy = true;
    do
        failed = wslay_event_recv(lease->context);
    while (!failed && lease->in_bytes > 0 && !lease->has_failed && session->fd >= 0 &&
           wslay_event_get_read_enabled(lease->context));
    failed |= wslay_event_send(lease->context);
    lease->is_busy = false;
    if (session->fd < 0) {
        websocket_release(session);
        return;
    }
    if (failed || lease->has_failed || !wslay_event_get_read_enabled(lease->context)) {
        receiving_ended(session, lease);
        return;
    }
    send_answer(session, lease);
    if (lease->fed == lease->framed && !lease->in_message)
        give_back(session);
}

/* A client that is being closed may still talk; nobody listens. */
static void read_ready(struct session *session)
{
    static _Thread_local uint8_t buffer[READ_BYTES];
    ssize_t n;

    if (worker_is_pressed(session->worker))
        return;
    n = recv(session->fd, buffer, sizeof buffer, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        session_transport_gone(session, n == 0 ? CLOSE_CLIENT : CLOSE_LOST);
        return;
    }
    if (session->state == SESSION_CLOSING)
        return;
    counter_add(&session->worker->counters.bytes_in, (uint64_t)n);
    worker_drain_mailbox(session->worker);
    if (session->state != SESSION_CLOSING)
        receive(session, buffer, (size_t)n);
    worker_flush_if_much(session->worker);
}

static void ready(struct watch *watch, uint32_t events)
{
    struct session *session = (struct session *)(void *)watch;

    if (session->fd >= 0 && events & EPOLLOUT)
        session_flush(session);
    if (session->fd >= 0 && events & EPOLLIN)
        read_ready(session);
    else if (session->fd >= 0 && events & (EPOLLERR | EPOLLHUP))
        session_transport_gone(session, CLOSE_LOST);
}

static void block(struct session *session, bool is_blocked)
{
    if (session->is_blocked == is_blocked)
        return;
    session->is_blocked = is_blocked;
    worker_rewatch(session->worker, session->fd, EPOLLIN | (is_blocked ? EPOLLOUT : 0),
                   &session->watch);
}

/* One write of as much as fits; -1 when the connection is gone, 0 when it takes no more now. */
static ssize_t write_some(struct session *session)
{
    static _Thread_local uint8_t copy[COPY_BYTES];
    struct iovec piece[FLUSH_PIECES];
    int n = outbox_gather(session->outbox, piece, FLUSH_PIECES);
    struct msghdr message = {.msg_iov = piece, .msg_iovlen = (size_t)n};
    size_t bytes = 0;
    ssize_t sent;

    if (n >= COPY_PIECES) {
        for (int i = 0; i < n && bytes + piece[i].iov_len <= sizeof copy;
             bytes += piece[i++].iov_len)
            memcpy(copy + bytes, piece[i].iov_base, piece[i].iov_len);
        if (bytes > 0) {
            piece[0] = (struct iovec){copy, bytes};
            message.msg_iovlen = 1;
        }
    }
    sent = sendmsg(session->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -1;
    return sent;
}

/* Everything is written: a closing client gets our end of the stream. */
static void written(struct session *session)
{
    outbox_return(&session->worker->free_outboxes, &session->outbox);
    block(session, false);
    if (session->state == SESSION_CLOSING && !session->has_shut) {
        session->has_shut = true;
        shutdown(session->fd, SHUT_WR);
    }
}

void websocket_open(struct session *session, const void *first, size_t bytes)
{
    session->watch.ready = ready;
    if (!worker_watch(session->worker, session->fd, EPOLLIN, &session->watch)) {
        session_transport_gone(session, CLOSE_LOST);
        return;
    }
    if (bytes > 0)
        receive(session, first, bytes);
}

void websocket_flush(struct session *session)
{
    while (session->outbox && session->outbox->n > 0) {
        ssize_t sent = write_some(session);

        if (sent < 0) {
            session_end(session, CLOSE_LOST);
            return;
        }
        if (sent == 0) {
            block(session, true);
            return;
        }
        counter_add(&session->worker->counters.bytes_out, (uint64_t)sent);
        outbox_consume(session->outbox, (size_t)sent);
    }
    written(session);
}

void websocket_read_now(struct session *session)
{
    if (session->fd >= 0)
        read_ready(session);
}

void websocket_send_now(struct session *session, const char *text)
{
    struct packet *packet = packet_new_frame(OPCODE_TEXT, text, strlen(text));
    ssize_t sent = send(session->fd, packet->frame, packet->frames, MSG_NOSIGNAL | MSG_DONTWAIT);

    if (sent != (ssize_t)packet->frames)
        session_transport_gone(session, CLOSE_LOST);
    packet_put(&packet);
}

struct packet *websocket_close_frame(uint16_t code)
{
    uint8_t payload[2] = {(uint8_t)(code >> 8), (uint8_t)code};

    return packet_new_frame(OPCODE_CLOSE, payload, sizeof payload);
}

void websocket_turn_away(int fd)
{
    struct packet *frame = websocket_close_frame(1002);

    (void)!send(fd, frame->frame, frame->frames, MSG_NOSIGNAL | MSG_DONTWAIT);
    packet_put(&frame);
    close(fd);
}

void websocket_release(struct session *session)
{
    if (!session->lease || session->lease->is_busy) /* receive() will */
        return;
    free_lease(session->lease);
    session->lease = NULL;
}

void websocket_free_leases(struct worker *worker)
{
    while (worker->free_leases) {
        struct lease *next = worker->free_leases->next_free;

        free_lease(worker->free_leases);
        worker->free_leases = next;
    }
}

bool websocket_accept(const char *key, char accept[WEBSOCKET_ACCEPT_SIZE])
{
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    unsigned char nonce[16], digest[SHA1_BYTES];
    size_t nonce_bytes;
    char text[24 + sizeof guid];

    if (strlen(key) != 24 || sodium_base642bin(nonce, sizeof nonce, key, 24, NULL, &nonce_bytes,
                                               NULL, sodium_base64_VARIANT_ORIGINAL) != 0)
        return false;
    if (nonce_bytes != sizeof nonce)
        return false;
    snprintf(text, sizeof text, "%s%s", key, guid);
    sha1(text, strlen(text), digest);
    sodium_bin2base64(accept, WEBSOCKET_ACCEPT_SIZE, digest, sizeof digest,
                      sodium_base64_VARIANT_ORIGINAL);
    return true;
}
