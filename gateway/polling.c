/*
 * Long-polling: payloads in and out, the one GET that waits, and the way to a WebSocket.  HTTP
 * itself is http.c's, who may connect routes.c's.
 */
#include "gateway/polling.h"

#include "common/log.h"
#include "common/memory.h"
#include "gateway/websocket.h"
#include "gateway/worker.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SEPARATOR     '\x1e'
#define TEXT_TYPE     "text/plain; charset=UTF-8"
#define OCTETS_TYPE   "application/octet-stream"
#define BASE64        sodium_base64_VARIANT_ORIGINAL
#define ANSWER_BYTES  (1024 * 1024) /* a payload ends after the packet that brings it here */
#define SHORT_BYTES   (16 * 1024)   /* so much is held for a connection anyhow */
#define LENGTH_DIGITS 20

struct inquiry_mail {
    struct mail mail;
    enum inquiry what;
    unsigned from;
    uint64_t number;
    uint8_t sid[SESSION_ID_BYTES];
    char *body;
    size_t bytes;
};

struct answer_mail {
    struct mail mail;
    uint64_t number;
    struct answer answer;
};

struct handover_mail {
    struct mail mail;
    uint8_t sid[SESSION_ID_BYTES];
    int fd;
    bool deflates;
    size_t bytes;
    char first[];
};

/* A payload in the making. */
struct payload {
    char *text;
    size_t bytes, capacity;
    bool is_octets;
};

static char *payload_room(struct payload *payload, size_t more)
{
    if (payload->bytes + more > payload->capacity) {
        payload->capacity = 2 * (payload->bytes + more);
        payload->text = memory_resize(payload->text, payload->capacity, 1);
    }
    return payload->text + payload->bytes;
}

/* Engine.IO 4, "HTTP long-polling": text as it is, binary as `b` and base64, 0x1e between. */
static void add_separated(struct payload *payload, const struct frame *frame)
{
    size_t encoded =
        frame->opcode == OPCODE_BINARY ? sodium_base64_encoded_len(frame->bytes, BASE64) : 0;
    char *at = payload_room(payload, 2 + (encoded ? encoded : frame->bytes));

    if (payload->bytes > 0) {
        *at++ = SEPARATOR;
        payload->bytes++;
    }
    if (frame->opcode == OPCODE_TEXT) {
        memcpy(at, frame->payload, frame->bytes);
        payload->bytes += frame->bytes;
    } else {
        *at = 'b';
        sodium_bin2base64(at + 1, encoded, frame->payload, frame->bytes, BASE64);
        payload->bytes += encoded; /* `b` takes the place of its NUL */
    }
}

/* UTF-16 code units of one byte of UTF-8. */
static unsigned utf16_units(uint8_t byte)
{
    return (byte & 0xc0) == 0x80 ? 0 : byte >= 0xf0 ? 2 : 1;
}

/* Engine.IO 3, "Payload", for text alone: the length in UTF-16 code units before each packet. */
static void add_counted(struct payload *payload, const struct frame *frame)
{
    char *at = payload_room(payload, LENGTH_DIGITS + 2 + frame->bytes);
    size_t units = 0, digits;

    for (size_t i = 0; i < frame->bytes; i++)
        units += utf16_units(frame->payload[i]);
    digits = (size_t)snprintf(at, LENGTH_DIGITS + 2, "%zu:", units);
    memcpy(at + digits, frame->payload, frame->bytes);
    payload->bytes += digits + frame->bytes;
}

/* The same with binary in it: 0 or 1, the length's digits a byte each, 0xff, the packet. */
static void add_octets(struct payload *payload, const struct frame *frame)
{
    char *at = payload_room(payload, LENGTH_DIGITS + 3 + frame->bytes);
    char text[LENGTH_DIGITS + 1];
    size_t digits = (size_t)snprintf(text, sizeof text, "%zu", frame->bytes);

    *at++ = frame->opcode == OPCODE_BINARY;
    for (size_t i = 0; i < digits; i++)
        *at++ = (char)(text[i] - '0');
    *at++ = (char)0xff;
    memcpy(at, frame->payload, frame->bytes);
    payload->bytes += 1 + digits + 1 + frame->bytes;
}

/* Frames that only a WebSocket has are dropped. */
static void add_packet(struct session *session, struct payload *payload,
                       const struct packet *packet)
{
    struct frame frame;
    size_t at = 0;

    while (packet_next_frame(packet, &at, &frame)) {
        if (frame.opcode != OPCODE_TEXT && frame.opcode != OPCODE_BINARY)
            continue;
        if (!session_is_eio3(session))
            add_separated(payload, &frame);
        else if (payload->is_octets)
            add_octets(payload, &frame);
        else
            add_counted(payload, &frame);
    }
}

static bool is_ascii(const struct frame *frame)
{
    for (size_t i = 0; i < frame->bytes; i++)
        if (frame->payload[i] & 0x80)
            return false;
    return true;
}

/*
 * Does something queued only go as octets?  Binary; and text beyond ASCII: of that the counted form
 * means one thing to clients 1.x, which decode UTF-8 twice there, and another to 2.x.
 */
static bool wants_octets(const struct outbox *outbox)
{
    const struct packet *packet;
    struct frame frame;

    for (uint32_t i = 0; (packet = outbox_peek(outbox, i)) != NULL; i++)
        for (size_t at = 0; packet_next_frame(packet, &at, &frame);)
            if (frame.opcode == OPCODE_BINARY || !is_ascii(&frame))
                return true;
    return false;
}

/* What is queued becomes a payload. */
static void take_queued(struct session *session, struct payload *payload)
{
    struct packet *packet;

    payload->is_octets = session->wire == WIRE_EIO3 && wants_octets(session->outbox);
    while (payload->bytes < ANSWER_BYTES && (packet = outbox_peek(session->outbox, 0)) != NULL) {
        add_packet(session, payload, packet);
        outbox_consume(session->outbox, packet->frames);
    }
    if (session->outbox->n == 0)
        outbox_return(&session->outbox);
}

static void payload_answer(struct payload *payload, struct answer *answer)
{
    *answer = (struct answer){.status = 200,
                              .type = payload->is_octets ? OCTETS_TYPE : TEXT_TYPE,
                              .body = payload->text,
                              .bytes = payload->bytes};
}

static void text_answer(const char *text, struct answer *answer)
{
    *answer = (struct answer){.status = 200,
                              .type = TEXT_TYPE,
                              .body = memory_copy(text, strlen(text)),
                              .bytes = strlen(text)};
}

static void deliver_answer(struct mail *mail, void *receiver)
{
    struct answer_mail *letter = (struct answer_mail *)(void *)mail;
    struct worker *worker = receiver;

    if (worker->http)
        http_answer(worker->http, letter->number, &letter->answer);
    else
        free(letter->answer.body);
    free(letter);
}

static void answer_request(struct worker *worker, unsigned to, uint64_t number,
                           const struct answer *answer)
{
    struct answer_mail *letter;

    if (to == worker->index) {
        http_answer(worker->http, number, answer);
        return;
    }
    letter = memory_new(sizeof *letter);
    letter->mail.deliver = deliver_answer;
    letter->number = number;
    letter->answer = *answer;
    worker_post(worker, to, &letter->mail);
}

/* What is still on its way to the client by a long answer counts as queued. */
static void set_answering(struct session *session, size_t bytes)
{
    counter_add(&session->worker->outboxes.bytes, bytes - session->polling->answering);
    session->polling->answering = bytes;
}

static void answer_get(struct session *session, struct answer *answer)
{
    struct polling *polling = session->polling;

    polling->is_waiting = false;
    answer->is_awaited = answer->bytes > SHORT_BYTES;
    if (answer->is_awaited)
        set_answering(session, answer->bytes);
    answer_request(session->worker, polling->get_worker, polling->get, answer);
}

static void stopping_answer(struct answer *answer)
{
    static const char json[] = ENGINE_STOPPING;

    *answer = (struct answer){.status = 503,
                              .type = "application/json",
                              .body = memory_copy(json, sizeof json - 1),
                              .bytes = sizeof json - 1};
}

/* With one packet of one character, or NULL. */
static void answer_get_packet(struct session *session, const char *packet)
{
    struct answer answer;
    char counted[4];

    if (!session->polling->is_waiting)
        return;
    if (packet) {
        snprintf(counted, sizeof counted, "1:%c", packet[0]);
        text_answer(session_is_eio3(session) ? counted : packet, &answer);
    } else {
        stopping_answer(&answer);
    }
    answer_get(session, &answer);
}

static struct session *find(struct worker *worker, const uint8_t *sid)
{
    struct table_link *link = table_first(&worker->polled, table_hash(sid, SESSION_ID_BYTES));

    for (; link; link = table_next(link)) {
        struct session *session = TABLE_ENTRY(link, struct polling, link)->session;

        if (sodium_memcmp(session->id, sid, SESSION_ID_BYTES) == 0)
            return session;
    }
    return NULL;
}

static void refuse(struct worker *worker, const struct inquiry_mail *inquiry,
                   enum engine_error error)
{
    struct answer answer;

    engine_refusal(error, &answer);
    answer_request(worker, inquiry->from, inquiry->number, &answer);
}

static void serve_get(struct session *session)
{
    polling_flush(session);
    if (session->polling->answering > 0)
        return;
    if (session->polling->is_probed)
        answer_get_packet(session, "6");
    if (session->polling->is_waiting && session->state == SESSION_CLOSING)
        session_end(session, session->reason);
}

static void on_get(struct worker *worker, struct session *session,
                   const struct inquiry_mail *inquiry)
{
    struct polling *polling;

    if (session && session->fd >= 0)
        websocket_read_upgrade(
            session); /* it may have been told already that the upgrade is done */
    polling = session ? session->polling : NULL;
    if (!polling) {
        refuse(worker, inquiry, ENGINE_SESSION_UNKNOWN);
        return;
    }
    if (polling->is_waiting) {
        refuse(worker, inquiry, ENGINE_BAD_REQUEST);
        session_close(session, CLOSE_OVERLAP);
        return;
    }
    polling->is_waiting = true;
    polling->get = inquiry->number;
    polling->get_worker = inquiry->from;
    serve_get(session);
}

static void on_answer_taken(struct session *session)
{
    set_answering(session, 0);
    if (session->polling->is_waiting)
        serve_get(session);
}

/* Payloads in.  False: there is something in it that is no packet. */

static bool take_separated(struct session *session, const char *at, const char *end)
{
    while (session->state != SESSION_CLOSING) {
        const char *separator = memchr(at, SEPARATOR, (size_t)(end - at));
        const char *to = separator ? separator : end;

        if (to == at)
            return false;
        session_message(session, OPCODE_TEXT, (const uint8_t *)at, (size_t)(to - at));
        if (!separator)
            return true;
        at = separator + 1;
    }
    return true;
}

/* A decimal number that says how much follows, which is no more than there is. */
static bool take_digit(size_t *length, unsigned digit, size_t most)
{
    *length = 10 * *length + digit;
    return digit <= 9 && *length <= most;
}

static bool take_counted(struct session *session, const char *at, const char *end)
{
    while (at < end && session->state != SESSION_CLOSING) {
        const char *from, *digits = at;
        size_t units = 0;

        for (; at < end && *at != ':'; at++)
            if (!take_digit(&units, (unsigned)(*at - '0'), (size_t)(end - at)))
                return false;
        if (at == end || at == digits)
            return false;
        for (from = ++at; at < end && (units > 0 || utf16_units((uint8_t)*at) == 0); at++) {
            if (units < utf16_units((uint8_t)*at))
                return false;
            units -= utf16_units((uint8_t)*at);
        }
        if (units > 0)
            return false;
        if (at > from) /* an empty payload is "0:" */
            session_message(session, OPCODE_TEXT, (const uint8_t *)from, (size_t)(at - from));
    }
    return true;
}

static bool take_octets(struct session *session, const char *at, const char *end)
{
    while (at < end && session->state != SESSION_CLOSING) {
        bool is_binary = *at == 1;
        const char *digits = at + 1;
        size_t length = 0;

        if (*at != 0 && *at != 1)
            return false;
        for (at++; at < end && (uint8_t)*at != 0xff; at++)
            if (!take_digit(&length, (uint8_t)*at, (size_t)(end - at)))
                return false;
        if (at == end || at == digits || length > (size_t)(end - at - 1))
            return false;
        session_message(session, is_binary ? OPCODE_BINARY : OPCODE_TEXT, (const uint8_t *)++at,
                        length);
        at += length;
    }
    return true;
}

static bool take_payload(struct session *session, const struct inquiry_mail *inquiry)
{
    bool is_octets = inquiry->what == INQUIRY_POST_OCTETS;
    const char *at = inquiry->body, *end;

    if (inquiry->bytes == 0)
        return false;
    end = at + inquiry->bytes;
    if (!session_is_eio3(session))
        return !is_octets && take_separated(session, at, end);
    return is_octets ? take_octets(session, at, end) : take_counted(session, at, end);
}

static void on_post(struct worker *worker, struct session *session,
                    const struct inquiry_mail *inquiry)
{
    struct answer answer;

    if (!session) {
        refuse(worker, inquiry, ENGINE_SESSION_UNKNOWN);
        return;
    }
    if (session->polling->posts > 0)
        session->polling->posts--;
    if (!take_payload(session, inquiry))
        session_close(session, CLOSE_BAD_PACKET);
    if (session->state == SESSION_CLOSING && session->reason == CLOSE_BAD_PACKET) {
        refuse(worker, inquiry, ENGINE_BAD_REQUEST);
        return;
    }
    text_answer("ok", &answer);
    answer_request(worker, inquiry->from, inquiry->number, &answer);
}

static void on_post_begun(struct session *session)
{
    if (session && session->state != SESSION_CLOSING && session->polling->posts++ > 0)
        session_close(session, CLOSE_OVERLAP);
}

/*
 * A session that polls no more may have been upgraded already.  As the reference server does, the
 * WebSocket is opened, then closed (by attach): clients take that better than an HTTP refusal.
 */
static void on_upgrade(struct worker *worker, struct session *session,
                       const struct inquiry_mail *inquiry)
{
    if (session && !session_begin_upgrade(session)) {
        refuse(worker, inquiry, ENGINE_BAD_REQUEST);
        return;
    }
    if (session)
        timer_arm(&worker->upgrade, &session->polling->upgrade, worker->now_ms);
    answer_request(worker, inquiry->from, inquiry->number, &(struct answer){.status = 101});
}

static void handle(struct worker *worker, struct inquiry_mail *inquiry)
{
    struct session *session = find(worker, inquiry->sid);

    switch (inquiry->what) {
    case INQUIRY_GET:
        on_get(worker, session, inquiry);
        break;
    case INQUIRY_GET_LOST:
        if (session && (session->polling->is_waiting || session->polling->answering) &&
            session->polling->get == inquiry->number &&
            session->polling->get_worker == inquiry->from) {
            session->polling->is_waiting = false;
            session_end(session, CLOSE_LOST);
        }
        break;
    case INQUIRY_ANSWER_TAKEN:
        if (session)
            on_answer_taken(session);
        break;
    case INQUIRY_ANSWER_LOST:
        if (session)
            session_end(session, CLOSE_LOST);
        break;
    case INQUIRY_POST_BEGUN:
        on_post_begun(session);
        break;
    case INQUIRY_POST_LOST:
        if (session && session->polling->posts > 0)
            session->polling->posts--;
        break;
    case INQUIRY_POST:
    case INQUIRY_POST_OCTETS:
        on_post(worker, session, inquiry);
        break;
    case INQUIRY_UPGRADE:
        on_upgrade(worker, session, inquiry);
        break;
    }
    free(inquiry->body);
    free(inquiry);
}

static void deliver_inquiry(struct mail *mail, void *receiver)
{
    handle(receiver, (struct inquiry_mail *)(void *)mail);
}

static void attach(struct worker *worker, const uint8_t *sid, int fd, bool deflates,
                   const void *first, size_t bytes)
{
    struct session *session = find(worker, sid);

    if (session && session->state == SESSION_UPGRADING && session->fd < 0) {
        session_attach(session, fd, deflates, first, bytes);
    } else {
        websocket_send_close(fd, 1002);
        close(fd);
    }
}

static void deliver_handover(struct mail *mail, void *receiver)
{
    struct handover_mail *letter = (struct handover_mail *)(void *)mail;

    attach(receiver, letter->sid, letter->fd, letter->deflates, letter->first, letter->bytes);
    free(letter);
}

void polling_inquire(struct worker *worker, enum inquiry what, const uint8_t sid[SESSION_ID_BYTES],
                     uint64_t number, char *body, size_t bytes)
{
    struct inquiry_mail *letter = memory_new(sizeof *letter);

    letter->mail.deliver = deliver_inquiry;
    letter->what = what;
    letter->from = worker->index;
    letter->number = number;
    memcpy(letter->sid, sid, SESSION_ID_BYTES);
    letter->body = body;
    letter->bytes = bytes;
    if (sid[0] == worker->index)
        handle(worker, letter);
    else
        worker_post(worker, sid[0], &letter->mail);
}

void polling_hand_over(struct worker *worker, const uint8_t sid[SESSION_ID_BYTES], int fd,
                       bool deflates, const void *first, size_t bytes)
{
    struct handover_mail *letter;

    if (sid[0] == worker->index) {
        attach(worker, sid, fd, deflates, first, bytes);
        return;
    }
    letter = memory_new(sizeof *letter + bytes);
    letter->mail.deliver = deliver_handover;
    memcpy(letter->sid, sid, SESSION_ID_BYTES);
    letter->fd = fd;
    letter->deflates = deflates;
    letter->bytes = bytes;
    if (bytes)
        memcpy(letter->first, first, bytes);
    worker_post(worker, sid[0], &letter->mail);
}

void polling_open(struct session *session, struct answer *answer)
{
    struct polling *polling = memory_zeroed(1, sizeof *polling);
    struct payload payload = {0};

    polling->session = session;
    polling->link.hash = table_hash(session->id, SESSION_ID_BYTES);
    table_add(&session->worker->polled, &polling->link);
    session->polling = polling;
    take_queued(session, &payload);
    payload_answer(&payload, answer);
}

void polling_flush(struct session *session)
{
    struct payload payload = {0};
    struct answer answer;

    if (!session->polling->is_waiting || session->polling->answering || !session->outbox)
        return;
    take_queued(session, &payload);
    if (payload.bytes == 0) {
        free(payload.text);
        return;
    }
    payload_answer(&payload, &answer);
    answer_get(session, &answer);
}

void polling_probe(struct session *session, enum websocket_opcode opcode, const uint8_t *bytes,
                   size_t length)
{
    struct polling *polling = session->polling;

    if (opcode == OPCODE_TEXT && length == 6 && memcmp(bytes, "2probe", 6) == 0) {
        polling->is_probed = true;
        websocket_send_now(session, OPCODE_TEXT, "3probe", 6);
        polling_flush(session);
        answer_get_packet(session, "6");
    } else if (opcode == OPCODE_TEXT && length == 1 && bytes[0] == '5' && polling->is_probed) {
        polling_end(session, "6");
        session_upgraded(session);
    } else {
        polling_abandon_upgrade(session, CLOSE_BAD_PACKET);
    }
}

void polling_abandon_upgrade(struct session *session, enum close_reason reason)
{
    timer_disarm(&session->polling->upgrade);
    session->polling->is_probed = false;
    session_detach(session, reason);
}

bool polling_is_writable(const struct session *session)
{
    return session->polling->is_waiting && !session->polling->answering;
}

void polling_end(struct session *session, const char *packet)
{
    struct polling *polling = session->polling;

    answer_get_packet(session, packet);
    set_answering(session, 0);
    timer_disarm(&polling->upgrade);
    table_remove(&session->worker->polled, &polling->link);
    session->polling = NULL;
    free(polling);
}

void polling_upgrade_overdue(struct timer *upgrade)
{
    polling_abandon_upgrade(TABLE_ENTRY(upgrade, struct polling, upgrade)->session,
                            CLOSE_CONNECT_TIMEOUT);
}

void engine_refusal(enum engine_error error, struct answer *answer)
{
    static const char *const messages[] = {
        "Transport unknown", "Session ID unknown", "Bad handshake method",
        "Bad request",       "Forbidden",          "Unsupported protocol version"};
    char json[96];
    int length = snprintf(json, sizeof json, "{\"code\":%d,\"message\":\"%s\"}", (int)error,
                          messages[error]);

    *answer = (struct answer){.status = error == ENGINE_FORBIDDEN ? 403 : 400,
                              .type = "application/json",
                              .body = memory_copy(json, (size_t)length),
                              .bytes = (size_t)length};
}
