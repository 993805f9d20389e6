/*
 * The WebSocket transport.  wslay takes frames apart and unmasks them; how frames become messages,
 * what may not be in them, and what control frames are answered with is decided here.  What we send
 * was framed when the packet was made.  Who the client is and what it says is the session's
 * business.
 */
#include "gateway/websocket.h"

#include "common/memory.h"
#include "common/digest.h"
#include "gateway/polling.h"
#include "gateway/socketio.h"
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
#define COPY_BYTES     16384
#define MAX_FRAGMENTS  1024 /* of one message */
#define MAX_PINGS      256  /* answered of one read */
#define MAX_CONTROL    125  /* bytes of a control frame's payload, see to it wslay does */
#define BASE64_SLACK   8    /* its padding, `b` and `4`; and other packets, which are as short */
#define UPGRADE_BYTES  7    /* of the frame of a `5` */
#define UPGRADE_READS  64   /* of so many bytes at once */
#define FIRST_CAPACITY 4096 /* of a message that does not come in one piece */
#define RSV1           4    /* as wslay has it */

/*
 * What a session borrows while a frame or a message is incomplete.  At the end of each frame the
 * bytes fed to wslay are compared with the frames' own sum: equal, and no message open, means that
 * nothing of the client's is left inside and the context can go to another session.
 */
struct lease {
    struct lease *next_free;
    struct session *session;
    wslay_frame_context_ptr context;
    const uint8_t *in; /* what was read and is not yet fed */
    size_t in_bytes;
    uint64_t fed, framed;
    uint64_t missing; /* bytes of the frame in hand */
    uint8_t *message; /* as far as it has come, when it does not come in one piece */
    size_t bytes, capacity;
    uint32_t fragments, pings;
    uint8_t opcode; /* of the message */
    bool is_deflated;
    uint8_t reason; /* enum close_reason, when reading has failed */
    bool in_frame, in_message, is_busy;
    uint8_t control_bytes, control[MAX_CONTROL];
};

static ssize_t feed_wslay(uint8_t *to, size_t size, int flags, void *user)
{
    struct lease *lease = user;
    size_t n = lease->in_bytes < size ? lease->in_bytes : size;

    (void)flags;
    if (n == 0)
        return -1;
    memcpy(to, lease->in, n);
    lease->in += n;
    lease->in_bytes -= n;
    lease->fed += n;
    return (ssize_t)n;
}

static struct lease *borrow(struct session *session)
{
    static const struct wslay_frame_callbacks callbacks = {.recv_callback = feed_wslay};
    struct worker *worker = session->worker;
    struct lease *lease = worker->free_leases;

    if (session->lease)
        return session->lease;
    if (lease) {
        worker->free_leases = lease->next_free;
    } else {
        lease = memory_zeroed(1, sizeof *lease);
        if (wslay_frame_context_init(&lease->context, &callbacks, lease) != 0)
            abort();
    }
    lease->session = session;
    lease->fed = lease->framed = 0;
    session->lease = lease;
    return lease;
}

static void free_lease(struct lease *lease)
{
    wslay_frame_context_free(lease->context);
    free(lease->message);
    free(lease);
}

/* Only at a boundary; a context with something left inside is freed by websocket_release. */
static void give_back(struct session *session)
{
    struct lease *lease = session->lease;

    session->lease = NULL;
    lease->session = NULL;
    free(lease->message);
    lease->message = NULL;
    lease->capacity = 0;
    lease->next_free = session->worker->free_leases;
    session->worker->free_leases = lease;
}

/* Reading.  False: it is over, and lease->reason says why. */

static bool fail(struct lease *lease, enum close_reason reason)
{
    lease->reason = (uint8_t)reason;
    return false;
}

static bool is_known(uint8_t opcode)
{
    return opcode <= OPCODE_BINARY || (opcode >= OPCODE_CLOSE && opcode <= OPCODE_PONG);
}

/* RFC 7692 §6: on the first frame of a message, when it was agreed on. */
static bool is_deflated(const struct lease *lease, const struct wslay_frame_iocb *frame)
{
    return lease->session->deflates && frame->rsv == RSV1 &&
           (frame->opcode == OPCODE_TEXT || frame->opcode == OPCODE_BINARY);
}

/* How long the message in hand may be once it is expanded: an attachment, in base64 as well, may
 * not overfill its packet. */
static uint64_t longest(const struct lease *lease)
{
    uint64_t limit = lease->session->worker->snapshot->config->limits_max_payload;
    uint64_t left = socketio_left(lease->session);

    if (left < limit)
        left += lease->opcode == OPCODE_TEXT ? left / 3 + BASE64_SLACK : 1;
    return left < limit ? left : limit;
}

/* RFC 6455 §5.1, §5.2 and §5.4, as far as wslay leaves it to us: it has seen to lengths, and to
 * whole and short control frames. */
static bool begin_frame(struct lease *lease, const struct wslay_frame_iocb *frame)
{
    uint64_t limit;

    lease->in_frame = true;
    lease->missing = frame->payload_length;
    lease->control_bytes = 0;
    if (!frame->mask || (frame->rsv && !is_deflated(lease, frame)) || !is_known(frame->opcode))
        return fail(lease, CLOSE_BAD_FRAME);
    if (wslay_is_ctrl_frame(frame->opcode))
        return true;
    if ((frame->opcode == OPCODE_CONTINUATION) != lease->in_message)
        return fail(lease, CLOSE_BAD_FRAME);
    if (!lease->in_message) {
        lease->in_message = true;
        lease->opcode = frame->opcode;
        lease->is_deflated = frame->rsv != 0;
        lease->bytes = 0;
        lease->fragments = 0;
    }
    if (++lease->fragments > MAX_FRAGMENTS)
        return fail(lease, CLOSE_LIMIT);
    limit = longest(lease);
    if (lease->is_deflated) /* what cannot be compressed gets a little longer */
        limit += limit / 256 + 64;
    if (lease->bytes + frame->payload_length > limit)
        return fail(lease, CLOSE_TOO_BIG);
    return true;
}

static void end_frame(struct lease *lease, uint64_t payload)
{
    size_t length_bytes = payload < 126 ? 0 : payload < 65536 ? 2 : 8;

    lease->in_frame = false;
    lease->framed += 2 + length_bytes + 4 + payload;
}

/* Memory grows with what has come, not with what was promised. */
static void keep(struct lease *lease, const struct wslay_frame_iocb *frame)
{
    size_t needed = lease->bytes + frame->data_length;

    if (needed > lease->capacity) {
        lease->capacity = 2 * needed > FIRST_CAPACITY ? 2 * needed : FIRST_CAPACITY;
        lease->message = memory_resize(lease->message, lease->capacity, 1);
    }
    if (frame->data_length)
        memcpy(lease->message + lease->bytes, frame->data, frame->data_length);
    lease->bytes = needed;
}

/* Does anyone care what it still says?  That of a closing session only decides its upgrade. */
static bool is_heard(const struct session *session)
{
    return session->state != SESSION_CLOSING || session->polling;
}

static bool deliver(struct lease *lease, const uint8_t *bytes, size_t n)
{
    struct session *session = lease->session;
    enum websocket_opcode opcode = (enum websocket_opcode)lease->opcode;

    lease->in_message = false;
    if (opcode == OPCODE_TEXT && !scan_is_utf8((struct span){(const char *)bytes, (uint32_t)n}))
        return fail(lease, CLOSE_BAD_TEXT);
    if (session->polling)
        polling_probe(session, opcode, bytes, n);
    else
        session_message(session, opcode, bytes, n);
    return true;
}

/* Expanded, if it is compressed: it may be no longer than if it were not. */
static bool complete(struct lease *lease, const uint8_t *bytes, size_t n)
{
    struct worker *worker = lease->session->worker;
    enum deflate_result result;
    uint8_t *expanded;
    size_t length;
    bool is_good = false;

    if (!lease->is_deflated)
        return deliver(lease, bytes, n);
    result = deflate_expand(worker->deflate, bytes, n, longest(lease), &expanded, &length);
    if (result == DEFLATE_OK)
        is_good = deliver(lease, expanded, length);
    else
        fail(lease, result == DEFLATE_TOO_BIG ? CLOSE_TOO_BIG : CLOSE_BAD_DEFLATE);
    free(expanded);
    return is_good;
}

static bool take_data(struct lease *lease, const struct wslay_frame_iocb *frame)
{
    bool is_end = lease->missing == 0 && frame->fin;

    if (is_end && lease->bytes == 0) /* all of it is in wslay's hands */
        return complete(lease, frame->data, frame->data_length);
    keep(lease, frame);
    return !is_end || complete(lease, lease->message, lease->bytes);
}

static bool answer_ping(struct lease *lease)
{
    struct session *session = lease->session;

    if (++lease->pings > MAX_PINGS)
        return fail(lease, CLOSE_LIMIT);
    if (session->polling)
        websocket_send_now(session, OPCODE_PONG, lease->control, lease->control_bytes);
    else
        session_send_packet(session,
                            packet_new_frame(OPCODE_PONG, lease->control, lease->control_bytes));
    return true;
}

/* RFC 6455 §7.4 and IANA's registry: those that may be on the wire. */
static bool is_close_code(unsigned code)
{
    return (code >= 1000 && code <= 1014 && (code < 1004 || code > 1006)) ||
           (code >= 3000 && code <= 4999);
}

/* RFC 6455 §5.5.1: the client's close is answered with its own code. */
static bool take_close(struct lease *lease)
{
    const uint8_t *at = lease->control;
    size_t n = lease->control_bytes;

    if (n == 1 || (n > 1 && !is_close_code((unsigned)at[0] << 8 | at[1])))
        return fail(lease, CLOSE_BAD_FRAME);
    if (n > 2 && !scan_is_utf8((struct span){(const char *)at + 2, (uint32_t)n - 2}))
        return fail(lease, CLOSE_BAD_TEXT);
    if (lease->session->polling)
        websocket_send_now(lease->session, OPCODE_CLOSE, at, n ? 2 : 0);
    else
        session_send_packet(lease->session, packet_new_frame(OPCODE_CLOSE, at, n ? 2 : 0));
    return fail(lease, CLOSE_CLIENT);
}

static bool take_control(struct lease *lease, const struct wslay_frame_iocb *frame)
{
    memcpy(lease->control + lease->control_bytes, frame->data, frame->data_length);
    lease->control_bytes = (uint8_t)(lease->control_bytes + frame->data_length);
    if (lease->missing > 0)
        return true;
    switch (frame->opcode) {
    case OPCODE_PING:
        return answer_ping(lease);
    case OPCODE_CLOSE:
        return take_close(lease);
    default:
        return true;
    }
}

/* Of a frame, as much as has come. */
static bool take_piece(struct lease *lease, const struct wslay_frame_iocb *frame)
{
    if (!lease->in_frame && !begin_frame(lease, frame))
        return false;
    lease->missing -= frame->data_length;
    if (lease->missing == 0)
        end_frame(lease, frame->payload_length);
    return wslay_is_ctrl_frame(frame->opcode) ? take_control(lease, frame)
                                              : take_data(lease, frame);
}

static bool read_frames(struct lease *lease)
{
    const struct session *session = lease->session;
    struct wslay_frame_iocb frame;

    while (session->fd >= 0 && is_heard(session)) {
        ssize_t n = wslay_frame_recv(lease->context, &frame);

        if (n == WSLAY_ERR_WANT_READ)
            return true;
        if (n < 0)
            return fail(lease, CLOSE_BAD_FRAME);
        if (!take_piece(lease, &frame))
            return false;
    }
    return true;
}

static void receive(struct session *session, const uint8_t *bytes, size_t n)
{
    struct lease *lease = borrow(session);
    bool is_good;

    lease->in = bytes;
    lease->in_bytes = n;
    lease->pings = 0;
    lease->is_busy = true;
    is_good = read_frames(lease);
    lease->is_busy = false;
    if (session->fd < 0)
        websocket_release(session);
    else if (!is_good && session->polling)
        session_transport_gone(session, lease->reason);
    else if (!is_good)
        session_close(session, lease->reason);
    else if (is_heard(session) && lease->fed == lease->framed && !lease->in_message)
        give_back(session);
}

/* -1: nothing has come, or the connection has gone. */
static ssize_t read_some(struct session *session, void *to, size_t size)
{
    ssize_t n = recv(session->fd, to, size, MSG_DONTWAIT);

    if (n > 0)
        counter_add(&session->worker->counters.bytes_in, (uint64_t)n);
    else if (n == 0 || (errno != EAGAIN && errno != EINTR))
        session_transport_gone(session, n == 0 ? CLOSE_CLIENT : CLOSE_LOST);
    return n > 0 ? n : -1;
}

/*
 * RFC 6455 §7.1.1: who has answered our close frame leaves it to us to end the connection, as
 * websocket-client of Python does.  What came before it is not looked at, nor is it put together:
 * whose answer comes in pieces has close_timeout to end the connection itself.
 */
static bool ends_with_close(const uint8_t *bytes, size_t n)
{
    for (size_t length = 0; length <= MAX_CONTROL && length + 6 <= n; length++)
        if (bytes[n - length - 6] == (0x80 | OPCODE_CLOSE) &&
            bytes[n - length - 5] == (0x80 | length))
            return true;
    return false;
}

/* A client that is being closed may still talk; nobody listens. */
static void read_ready(struct session *session)
{
    static _Thread_local uint8_t buffer[READ_BYTES];
    ssize_t n;

    if (worker_is_pressed(session->worker))
        return;
    if (session->polling) {
        websocket_read_upgrade(session);
        return;
    }
    n = read_some(session, buffer, sizeof buffer);
    if (n >= 0 && session->has_shut && ends_with_close(buffer, (size_t)n))
        session_end(session, session->reason);
    if (n < 0 || session->state == SESSION_CLOSING)
        return;
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
    if (message.msg_iovlen == 1)
        sent = send(session->fd, piece[0].iov_base, piece[0].iov_len, MSG_NOSIGNAL | MSG_DONTWAIT);
    else
        sent = sendmsg(session->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -1;
    return sent;
}

/* Everything is written: a closing client gets our end of the stream. */
static void written(struct session *session)
{
    outbox_return(&session->outbox);
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
    if (bytes > 0 && session->state != SESSION_CLOSING)
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

void websocket_read_upgrade(struct session *session)
{
    uint8_t piece[UPGRADE_BYTES];

    for (int i = 0; i < UPGRADE_READS && session->polling && session->fd >= 0; i++) {
        ssize_t n = read_some(session, piece, sizeof piece);

        if (n < 0)
            return;
        receive(session, piece, (size_t)n);
    }
}

void websocket_send_now(struct session *session, enum websocket_opcode opcode, const void *payload,
                        size_t bytes)
{
    struct packet *packet = packet_new_frame(opcode, payload, bytes);
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

void websocket_send_close(int fd, uint16_t code)
{
    struct packet *frame = websocket_close_frame(code);

    (void)!send(fd, frame->frame, frame->frames, MSG_NOSIGNAL | MSG_DONTWAIT);
    packet_put(&frame);
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
    unsigned char nonce[16], digest[DIGEST_SHA1_BYTES];
    size_t nonce_bytes;
    char text[24 + sizeof guid];

    if (strlen(key) != 24 || sodium_base642bin(nonce, sizeof nonce, key, 24, NULL, &nonce_bytes,
                                               NULL, sodium_base64_VARIANT_ORIGINAL) != 0)
        return false;
    if (nonce_bytes != sizeof nonce)
        return false;
    snprintf(text, sizeof text, "%s%s", key, guid);
    digest_sha1(text, strlen(text), digest);
    sodium_bin2base64(accept, WEBSOCKET_ACCEPT_SIZE, digest, sizeof digest,
                      sodium_base64_VARIANT_ORIGINAL);
    return true;
}
