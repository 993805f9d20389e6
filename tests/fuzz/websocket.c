/*
 * What a WebSocket client sends after its 101, cut at arbitrary places.  The first byte says what
 * was agreed on, the second how many of the following say how long the pieces are, over and over;
 * the rest is the stream.  What comes back, and why the session ends, is the same as if the stream
 * had come in large pieces.
 */
#include "gateway/polling.h"
#include "gateway/socketio.h"
#include "tests/fuzz/gateway.h"

#define EIO3      1
#define BASE64    2
#define DEFLATES  4
#define UPGRADES  8    /* the session polls until its `5` */
#define CARRIES   16   /* the first piece comes with the request */
#define PIECE     1536 /* as many bytes as the pings that are answered of one read */
#define HEARD_MAX (1 << 20)

struct outcome {
    char heard[HEARD_MAX]; /* of the WebSocket, */
    size_t n;
    uint64_t closed[CLOSE_REASONS_N];
    uint64_t left[SESSION_STATES]; /* sessions, before the client closes; not those that wait for
                                      an answer to our close frame: one in pieces is not seen */
    size_t queued;                 /* for its polling */
};

/* In Socket.IO's place an echo: what is dispatched is heard. */

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

static void begin(uint8_t agreed, int fd, const void *first, size_t bytes)
{
    struct worker *worker = gateway.worker;
    uint8_t wire = (agreed & EIO3 ? WIRE_EIO3 : 0) | (agreed & BASE64 ? WIRE_BASE64 : 0);
    struct admission admission = gateway_admit(wire, agreed & DEFLATES);
    struct session *session;
    struct answer answer;

    if (!(agreed & UPGRADES)) {
        session_open(worker, fd, &admission, first, bytes);
        return;
    }
    session = session_open_polling(worker, &admission, &answer);
    free(answer.body);
    assert(session_begin_upgrade(session));
    session_attach(session, fd, agreed & DEFLATES, first, bytes);
}

/* Ids are random. */
static void forget_id(struct outcome *outcome)
{
    static const char name[] = "{\"sid\":\"";
    char *id = memmem(outcome->heard, outcome->n, name, sizeof name - 1);

    if (id)
        memset(id + sizeof name - 1, 'x', SESSION_ID_TEXT);
}

/* `cut` gives the length of a piece by its number. */
static void play(uint8_t agreed, const uint8_t *stream, size_t size, const uint8_t *cuts,
                 unsigned n_cuts, struct outcome *outcome)
{
    struct worker *worker = gateway.worker;
    bool is_over = false;
    unsigned i = 0;
    int pair[2];

    outcome->n = outcome->queued = 0;
    assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
    for (int reason = 0; reason < CLOSE_REASONS_N; reason++)
        outcome->closed[reason] = -atomic_load(&worker->counters.closed[reason]);
    do {
        size_t bytes = n_cuts ? cuts[i % n_cuts] + 1u : PIECE;
        char *piece;

        if (bytes > size)
            bytes = size;
        piece = target_copy(stream, bytes);
        if (i > 0)
            is_over = send(pair[1], piece, bytes, 0) < 0;
        else if (agreed & CARRIES)
            begin(agreed, pair[0], piece, bytes);
        else
            begin(agreed, pair[0], NULL, 0), bytes = 0;
        free(piece);
        worker_turn(worker, 0);
        worker_turn(worker, 0);
        is_over |= gateway_receive(pair[1], outcome->heard, &outcome->n, HEARD_MAX);
        stream += bytes;
        size -= bytes;
        i++;
    } while (size > 0 && !is_over);
    gateway_settle(0);
    gateway_receive(pair[1], outcome->heard, &outcome->n, HEARD_MAX);
    forget_id(outcome);
    for (int state = 0; state < SESSION_CLOSING; state++) {
        const struct session *head = &worker->sessions[state];

        outcome->left[state] = atomic_load(&worker->counters.sessions[state]);
        if (head->next != head && head->next->polling && head->next->outbox)
            outcome->queued = head->next->outbox->bytes;
    }
    close(pair[1]);
    for (int reason = 0; reason < CLOSE_REASONS_N; reason++)
        outcome->closed[reason] += atomic_load(&worker->counters.closed[reason]);
    gateway_demand_nothing_left();
}

/* Whole frames that this client takes, and none behind a close. */
static void demand_frames(uint8_t agreed, const struct outcome *outcome)
{
    const char *at = outcome->heard, *end = at + outcome->n;
    struct heard frame = {.opcode = OPCODE_TEXT};

    while (frame.opcode != OPCODE_CLOSE && heard_next(&at, end, agreed & DEFLATES, &frame)) {
        if (frame.opcode == OPCODE_TEXT)
            assert(scan_is_utf8((struct span){(const char *)frame.payload, (uint32_t)frame.bytes}));
        else if (frame.opcode != OPCODE_BINARY)
            assert(frame.opcode == OPCODE_PONG || frame.opcode == OPCODE_CLOSE);
        assert(frame.bytes <= 125 || frame.opcode <= OPCODE_BINARY);
        free(frame.expanded);
    }
    assert(at == end);
}

enum legality { LEGAL, FORBIDDEN, UNDECIDED };

/* RFC 6455 §5.2 to §5.5 and §7.4, of one frame whose head is whole. */
static enum legality judge(uint8_t agreed, const uint8_t *head, uint64_t bytes, bool *in_message)
{
    unsigned opcode = head[0] & 0x0f, rsv = head[0] >> 4 & 7, is_control = opcode & 8;
    bool is_final = head[0] & 0x80, is_first = opcode == OPCODE_TEXT || opcode == OPCODE_BINARY;

    if (!(head[1] & 0x80) || (rsv && !(rsv == 4 && agreed & DEFLATES && is_first)))
        return FORBIDDEN;
    if ((opcode > OPCODE_BINARY && opcode < OPCODE_CLOSE) || opcode > OPCODE_PONG)
        return FORBIDDEN;
    if (is_control)
        return is_final && bytes <= 125 ? LEGAL : FORBIDDEN;
    if (is_first == *in_message)
        return FORBIDDEN;
    *in_message = !is_final;
    return LEGAL;
}

/* Is there a frame in the stream that may not be there?  Where it ends inside a head, or right
 * behind it, or with a close frame, that is not asked. */
static enum legality judge_stream(uint8_t agreed, const uint8_t *at, size_t size)
{
    bool in_message = false;

    while (size > 0) {
        size_t length_bytes = size < 2 ? 0 : (at[1] & 127) < 126 ? 0 : (at[1] & 127) == 126 ? 2 : 8;
        uint64_t bytes = length_bytes || size < 2 ? 0 : at[1] & 127;

        if (size < 2 + length_bytes + 4 + (bytes || length_bytes))
            return UNDECIDED;
        for (size_t i = 0; i < length_bytes; i++)
            bytes = bytes << 8 | at[2 + i];
        if (bytes >> 63 || (length_bytes && bytes < (length_bytes == 2 ? 126 : 65536)) ||
            judge(agreed, at, bytes, &in_message) == FORBIDDEN)
            return FORBIDDEN;
        if ((at[0] & 0x0f) == OPCODE_CLOSE || bytes > size - 2 - length_bytes - 4)
            return UNDECIDED;
        at += 2 + length_bytes + 4 + bytes;
        size -= 2 + length_bytes + 4 + bytes;
    }
    return LEGAL;
}

/* Who sends what is forbidden is closed, for this or for what came before it; nobody else is
 * closed for that. */
static void demand_verdict(uint8_t agreed, const uint8_t *stream, size_t size,
                           const struct outcome *outcome)
{
    enum legality verdict = judge_stream(agreed, stream, size);

    if (agreed & UPGRADES)
        return;
    if (verdict == FORBIDDEN)
        assert(outcome->left[SESSION_WEBSOCKET] == 0);
    if (verdict == LEGAL)
        assert(outcome->closed[CLOSE_BAD_FRAME] == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct outcome whole, cut;
    unsigned n_cuts;

    if (size < 3 || size - 2 <= data[1] || data[1] == 0)
        return 0;
    gateway_open(NULL);
    n_cuts = data[1];
    play(data[0], data + 2 + n_cuts, size - 2 - n_cuts, NULL, 0, &whole);
    play(data[0], data + 2 + n_cuts, size - 2 - n_cuts, data + 2, n_cuts, &cut);
    demand_frames(data[0], &whole);
    demand_verdict(data[0], data + 2 + n_cuts, size - 2 - n_cuts, &whole);
    assert(whole.n == cut.n && memcmp(whole.heard, cut.heard, cut.n) == 0);
    assert(memcmp(whole.closed, cut.closed, sizeof whole.closed) == 0);
    assert(memcmp(whole.left, cut.left, sizeof whole.left) == 0 && whole.queued == cut.queued);
    return 0;
}
