/*
 * One client's Engine.IO packets, into a session with all of Socket.IO and a page of rules behind
 * it.  The first byte says how it and a client beside it are served; then its packets, each ended
 * by 0x1e; one that begins with a NUL is binary.  Whatever goes out to either is what such a client
 * takes: whole packets, right JSON, every attachment after the packet that announces it.
 */
#include "gateway/packet_text.h"
#include "tests/fuzz/gateway.h"

#include <sodium.h>

#define WIRES      7  /* bits of enum wire: the client's, */
#define OTHER      3  /* shifted by so many: those of the one beside it, */
#define ELSEWHERE  64 /* who is on the other worker */
#define PACKET_MAX 65536
#define HEARD_MAX  (4 << 20)

/* clang-format off */
static const char rules[] =
    "namespace \"/\" {\n"
    " authenticate optional\n"
    " when connection { join \"hall\"; emit self \"welcome\" $auth, $id, $count(\"hall\"), $members(\"hall\") }\n"
    " when disconnect { emit all \"left\" $reason, $id }\n"
    " on \"others\" { emit others }\n"
    " on \"all\" { emit volatile all \"all\" $args }\n"
    " on \"in\" { require string $1; join \"r:$1\"; emit in \"r:$1\" \"in\" $2, {\"a\": $3, \"t\": \"$1!\"} }\n"
    " on \"to\" { require in \"r:$1\"; emit to \"r:$1\" \"to\" $2; ack $sent, $2 }\n"
    " on \"one\" { require string $1; emit in \"id:$1\" \"one\" $2 }\n"
    " on \"out\" { leave \"r:$1\"; ack true }\n"
    " on \"set\" { set value $1; ack $value }\n"
    " on \"get\" { require set value; emit all \"got\" $value, $value; ack $args }\n"
    " on \"limit\" { limit 2 per 1d; ack $now }\n"
    " on \"no\" { deny \"because\" }\n"
    " on \"end\" { disconnect }\n"
    " on \"x:*\" { emit self \"x\" $event, $claims.a }\n"
    " on \"*\" { ack \"rest\", $user }\n"
    "}\n"
    "namespace \"/none\" { authenticate none; on \"*\" { emit all; ack $args } }\n"
    "namespace \"/later\" { authenticate later; on \"*\" { emit all } }\n"
    "namespace \"/required\" { authenticate required; on \"*\" { emit all } }\n";
/* clang-format on */

/* One end of a WebSocket, as a client reads it. */
struct reader {
    int fd;
    uint8_t wire;
    uint32_t missing; /* attachments of the packet that came last */
    bool is_closed;
};

/* What the client says. */
static struct {
    const char *at, *end;
    uint8_t wire;
} input;

static const char *packet_end(const char *at)
{
    const char *separator = memchr(at, '\x1e', (size_t)(input.end - at));

    return separator ? separator : input.end;
}

static struct session *open_session(struct reader *reader, uint8_t wire, unsigned worker)
{
    struct admission admission =
        gateway_admit((uint8_t)(wire & ~WIRE_DEFLATED), wire & WIRE_DEFLATED);
    int pair[2];

    assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
    *reader = (struct reader){.fd = pair[1], .wire = wire};
    session_open(&gateway.worker[worker], pair[0], &admission, NULL, 0);
    return gateway.worker[worker].sessions[SESSION_WEBSOCKET].previous;
}

/* CONNECT, DISCONNECT and CONNECT_ERROR, of which packet_text.c reads what clients send. */
static void demand_own(const struct reader *reader, const char *text, size_t length)
{
    const char *at = text + 1, *end = text + length, *comma;
    struct json_value value = {.type = VALUE_NULL};

    if (at < end && *at == '/') {
        comma = memchr(at, ',', (size_t)(end - at));
        assert(comma);
        at = comma + 1;
    }
    assert(at == end || scan_value(at, (size_t)(end - at), &value));
    if (text[0] == '0')
        assert(reader->wire & WIRE_EIO3 ? at == end : value.type == VALUE_OBJECT);
    else
        assert((at == end) == (text[0] == '1'));
}

static void demand_text(struct reader *reader, const char *text, size_t length)
{
    static struct event event;
    struct packet_text packet;
    struct json_value value;

    assert(reader->missing == 0 && length > 0);
    if (text[0] == '0') {
        assert(scan_value(text + 1, length - 1, &value) && value.type == VALUE_OBJECT);
    } else if (text[0] == '3') {
        assert(length == 1 && reader->wire & WIRE_EIO3);
    } else {
        assert(text[0] == '4' && length > 1);
        if (strchr("014", text[1])) {
            demand_own(reader, text + 1, length - 1);
        } else {
            assert(packet_text_parse(text + 1, length - 1, SCANNER_MAX_PLACEHOLDERS, &packet,
                                     &event) == SCAN_OK);
            reader->missing = packet.attachments;
        }
    }
}

/* A packet's binary, of whichever form; its length, or -1: it is text. */
static ptrdiff_t binary_of(const char *packet, size_t length, uint8_t wire, bool is_binary,
                           uint8_t *to)
{
    const char *prefix = is_binary ? wire & WIRE_EIO3 ? "\4" : "" : wire & WIRE_EIO3 ? "b4" : "b";
    size_t skipped = strlen(prefix), bytes;

    if (length < skipped || memcmp(packet, prefix, skipped) != 0)
        return -1;
    packet += skipped;
    length -= skipped;
    if (is_binary) {
        memcpy(to, packet, length);
        return (ptrdiff_t)length;
    }
    return sodium_base642bin(to, PACKET_MAX, packet, length, NULL, &bytes, NULL,
                             sodium_base64_VARIANT_ORIGINAL) == 0
               ? (ptrdiff_t)bytes
               : -1;
}

/* An attachment, in the form of this wire, which the client has said. */
static void demand_attachment(struct reader *reader, const struct heard *frame)
{
    static uint8_t heard[PACKET_MAX], one[PACKET_MAX];
    ptrdiff_t length = binary_of((const char *)frame->payload, frame->bytes, reader->wire,
                                 frame->opcode == OPCODE_BINARY, heard);
    bool is_said = false;

    assert(reader->missing-- > 0 && length >= 0);
    for (const char *at = input.at, *to; at < input.end && !is_said; at = to + 1) {
        bool is_binary = *at == '\0';

        to = packet_end(at);
        at += is_binary;
        is_said = binary_of(at, (size_t)(to - at), input.wire, is_binary, one) == length &&
                  memcmp(one, heard, (size_t)length) == 0;
    }
    assert(is_said);
}

static void listen_to(struct reader *reader)
{
    static char text[HEARD_MAX];
    bool is_base64 = reader->wire & WIRE_BASE64;
    struct heard frame;
    const char *at = text;
    size_t n = 0;

    gateway_receive(reader->fd, text, &n, sizeof text);
    while (heard_next(&at, text + n, reader->wire & WIRE_DEFLATED, &frame)) {
        assert(!reader->is_closed);
        if (frame.opcode == OPCODE_CLOSE)
            reader->is_closed = true;
        else if (frame.opcode == OPCODE_BINARY ||
                 (is_base64 && frame.bytes && frame.payload[0] == 'b'))
            demand_attachment(reader, &frame);
        else
            demand_text(reader, (const char *)frame.payload, frame.bytes);
        assert(frame.opcode != OPCODE_BINARY || !is_base64);
        free(frame.expanded);
    }
    assert(reader->is_closed || reader->missing == 0);
}

static void say(struct session *session, const char *packet, size_t length)
{
    char *copy = target_copy(packet, length);
    bool is_binary = length > 0 && packet[0] == '\0';

    if (is_binary)
        memmove(copy, copy + 1, length - 1);
    session_message(session, is_binary ? OPCODE_BINARY : OPCODE_TEXT, (const uint8_t *)copy,
                    length - is_binary);
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct session *session, *other;
    struct reader reader, beside;

    if (size == 0 || size > PACKET_MAX)
        return 0;
    gateway_open(rules);
    input.at = (const char *)data + 1;
    input.end = (const char *)data + size;
    input.wire = data[0] & WIRES;
    other = open_session(&beside, data[0] >> OTHER & WIRES, data[0] & ELSEWHERE ? 1 : 0);
    say(other, session_is_eio3(other) ? "2" : "40", session_is_eio3(other) ? 1 : 2);
    session = open_session(&reader, data[0] & WIRES, 0);
    for (const char *at = input.at, *to; at < input.end; at = to + 1) {
        to = packet_end(at);
        say(session, at, (size_t)(to - at));
    }
    gateway_settle(0);
    listen_to(&reader);
    listen_to(&beside);
    assert(!beside.is_closed);
    close(reader.fd);
    gateway_settle(0);
    listen_to(&beside); /* that the other has left */
    close(beside.fd);
    gateway_demand_nothing_left();
    return 0;
}
