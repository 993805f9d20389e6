/*
 * Polling payloads, as a POST's body.  The first byte says which Engine.IO, in which form and to
 * which worker; the rest is the body.  The packets that were read are then queued for a client of
 * the same kind: what a GET brings it is, POSTed by another one, read as the same packets.
 */
#include "gateway/polling.h"
#include "gateway/socketio.h"
#include "tests/fuzz/gateway.h"

#include <stdio.h>

#define EIO3      1
#define BASE64    2
#define OCTETS    4
#define ELSEWHERE 8 /* the request comes to a worker that does not own the session */
#define READ_MAX  (1 << 20)

/* In Socket.IO's place who writes down what comes. */
static struct packets {
    struct {
        enum websocket_opcode opcode;
        size_t at, bytes;
    } packet[8192];
    unsigned n;
    char text[READ_MAX];
    size_t used;
} read_first, read_again, *writing;

static void write_down(enum websocket_opcode opcode, const void *bytes, size_t n)
{
    assert(writing->n < sizeof writing->packet / sizeof *writing->packet);
    assert(n <= READ_MAX - writing->used);
    writing->packet[writing->n].opcode = opcode;
    writing->packet[writing->n].at = writing->used;
    writing->packet[writing->n++].bytes = n;
    if (n)
        memcpy(writing->text + writing->used, bytes, n);
    writing->used += n;
}

void socketio_open(struct session *session)
{
    session_connected(session);
}

void socketio_text(struct session *session, const char *text, size_t length)
{
    (void)session;
    if (scan_is_utf8((struct span){text, (uint32_t)length})) /* Socket.IO sends nothing else on */
        write_down(OPCODE_TEXT, text, length);
}

uint64_t socketio_left(const struct session *session)
{
    (void)session;
    return UINT64_MAX;
}

void socketio_binary(struct session *session, const uint8_t *bytes, size_t length)
{
    (void)session;
    write_down(OPCODE_BINARY, bytes, length);
}

void socketio_close(struct session *session, enum close_reason reason)
{
    (void)session, (void)reason;
}

static struct session *open_session(uint8_t kind, char *sid)
{
    uint8_t wire = (kind & EIO3 ? WIRE_EIO3 : 0) | (kind & BASE64 ? WIRE_BASE64 : 0);
    struct admission admission = gateway_admit(wire, false);
    struct answer answer;
    struct session *session = session_open_polling(gateway.worker, &admission, &answer);

    free(answer.body);
    session_id_text(session->id, sid);
    return session;
}

/* True: it was taken. */
static bool post(uint8_t kind, const char *sid, const char *body, size_t bytes,
                 struct packets *packets)
{
    struct heard_answer answer;
    char head[256];

    packets->n = 0;
    packets->used = 0;
    writing = packets;
    snprintf(head, sizeof head,
             "POST /socket.io/?EIO=%d&transport=polling&sid=%s HTTP/1.1\r\nHost: x\r\n"
             "Content-Type: %s\r\nContent-Length: %zu\r\n\r\n",
             kind & EIO3 ? 3 : 4, sid,
             kind & OCTETS ? "application/octet-stream" : "text/plain;charset=UTF-8", bytes);
    assert(gateway_ask(kind & ELSEWHERE ? 1 : 0, head, strlen(head), body, bytes, &answer));
    assert(answer.status == 200 || answer.status == 400);
    return answer.status == 200;
}

/* As a client of this kind is told what was read; it says in which form. */
static void get(uint8_t *kind, struct session *session, const char *sid,
                struct heard_answer *answer)
{
    char head[160];

    for (unsigned i = 0; i < read_first.n; i++) {
        struct span piece = {read_first.text + read_first.packet[i].at,
                             (uint32_t)read_first.packet[i].bytes};

        session_send_packet(session, read_first.packet[i].opcode == OPCODE_TEXT
                                         ? packet_new((struct span){"4", 1}, &piece, 1, NULL, 0)
                                         : packet_new_frame(OPCODE_BINARY, piece.at, piece.length));
    }
    snprintf(head, sizeof head,
             "GET /socket.io/?transport=polling&sid=%s HTTP/1.1\r\nHost: x\r\n\r\n", sid);
    assert(gateway_ask(0, head, strlen(head), NULL, 0, answer) && answer->status == 200);
    *kind &= (uint8_t)~OCTETS;
    if (strstr(answer->head, "application/octet-stream"))
        *kind |= OCTETS;
    assert(*kind & EIO3 || !(*kind & OCTETS));
}

/* Nothing was read that is not there: what stands before and between packets counted in. */
static void demand_inside(uint8_t kind, size_t bytes)
{
    size_t least = !(kind & EIO3) ? 2 : kind & OCTETS ? 4 : 3;

    assert(read_first.n == 0 ||
           read_first.used + least * read_first.n <= bytes + (kind & EIO3 ? 0 : 1));
}

static void demand_same(void)
{
    assert(read_first.n == read_again.n && read_first.used == read_again.used);
    assert(memcmp(read_first.text, read_again.text, read_first.used) == 0);
    for (unsigned i = 0; i < read_first.n; i++)
        assert(read_first.packet[i].opcode == read_again.packet[i].opcode &&
               read_first.packet[i].bytes == read_again.packet[i].bytes);
}

/* Engine.IO 3, "Payload": the texts as a client writes them, whose strings are of UTF-16. */
static size_t write_counted(char *to)
{
    char *at = to;

    for (unsigned i = 0; i < read_first.n; i++) {
        const char *text = read_first.text + read_first.packet[i].at;
        size_t bytes = read_first.packet[i].bytes, units = 1;

        for (size_t j = 0; j < bytes; j++) {
            if ((text[j] & 0xc0) != 0x80)
                units++;
            if ((text[j] & 0xf8) == 0xf0) /* beyond 0xffff: a pair of surrogates */
                units++;
        }
        at += sprintf(at, "%zu:4", units);
        if (bytes)
            memcpy(at, text, bytes);
        at += bytes;
    }
    return (size_t)(at - to);
}

static bool is_all_text(void)
{
    for (unsigned i = 0; i < read_first.n; i++)
        if (read_first.packet[i].opcode != OPCODE_TEXT)
            return false;
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char counted[READ_MAX];
    char sid[SESSION_ID_TEXT + 1], other[SESSION_ID_TEXT + 1];
    struct heard_answer answer;
    struct session *session;
    uint8_t kind;

    if (size == 0)
        return 0;
    gateway_open(NULL);
    kind = data[0];
    open_session(kind, sid);
    post(kind, sid, (const char *)data + 1, size - 1, &read_first);
    demand_inside(kind, size - 1);
    if (read_first.n > 0) {
        session = open_session(kind, sid);
        get(&kind, session, sid, &answer);
        open_session(kind, other);
        assert(post(kind, other, answer.body, answer.bytes, &read_again));
        demand_same();
        if (kind & EIO3 && is_all_text()) {
            size_t bytes = write_counted(counted);

            kind &= (uint8_t)~OCTETS;
            open_session(kind, other);
            assert(post(kind, other, counted, bytes, &read_again));
            demand_same();
        }
    }
    gateway_demand_nothing_left();
    return 0;
}
