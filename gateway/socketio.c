/*
 * Socket.IO 5: what passes between a session's packets and its sockets.  What a rule means is
 * relay.c's; who may connect is gate.c's; a socket's life is socket.c's.
 */
#include "gateway/socketio.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/memory.h"
#include "gateway/packet_text.h"
#include "gateway/presence.h"
#include "gateway/stage.h"
#include "gateway/twostep.h"
#include "gateway/worker.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Enough for a CONNECT: whoever is in no namespace says nothing else. */
#define FIRST_BYTES (64 * 1024)

/* A binary packet whose attachments are still arriving. */
struct assembly {
    uint32_t expected, arrived;
    size_t bytes; /* of all that has arrived */
    char *text;
    size_t text_length;
    struct attachment attachment[];
};

/* CONNECT. */

static gate_result check_token(struct session *session, const struct rules_namespace *space,
                               struct span payload, struct identity **identity)
{
    enum rules_authenticate authenticate = rules_namespace_authenticate(space);
    char buffer[TOKEN_MAX_BYTES + 1];
    struct span token = {"", 0};
    gate_result result = session->admission;

    *identity = NULL;
    if (authenticate == AUTHENTICATE_NONE)
        return TOKEN_OK;
    if (session->worker->snapshot->sources & SOURCE_AUTH)
        token = gate_token(payload, buffer, sizeof buffer);
    if (token.length) {
        result = gate_check(session->worker->snapshot, session->worker->revoked,
                            session->worker->issuers, token, clock_wall_s(), identity);
        sodium_memzero(buffer, token.length);
    } else if (session->identity && session->identity->expires_s <= clock_wall_s()) {
        result = TOKEN_EXPIRED;
    } else if (session->identity &&
               identity_is_revoked(session->identity, session->worker->revoked)) {
        result = GATE_REVOKED; /* while the answer to its upgrade was on its way */
    } else if (session->identity) {
        *identity = identity_get(session->identity);
    }
    if (gate_is_without_token(result) &&
        authenticate != AUTHENTICATE_REQUIRED) /* none yet, or ever */
        return TOKEN_OK;
    return result;
}

/* CONNECT_ERROR.  The message is a JSON string, data any JSON or empty; Engine.IO 3's clients get
 * the one or the other. */
static void send_refusal(struct session *session, struct span space, struct span message,
                         struct span data)
{
    struct packet_text text = {.type = PACKET_CONNECT_ERROR, .namespace = space};
    struct span piece[] = {TEXT_SPAN("{\"message\":"), message,
                           data.length ? TEXT_SPAN(",\"data\":") : TEXT_SPAN(""), data,
                           TEXT_SPAN("}")};
    struct span *bare = data.length ? &data : &message;
    bool is_eio3 = session_is_eio3(session);
    char header[PACKET_HEADER_SIZE];

    session_send_packet(
        session,
        packet_new((struct span){header, (uint32_t)packet_text_write_header(&text, header)},
                   is_eio3 ? bare : piece, is_eio3 ? 1 : sizeof piece / sizeof *piece, NULL, 0));
}

/* Engine.IO 3's clients are left in peace: one that is in no namespace has a deadline anyway, and
 * one whose default namespace refused it may still be welcome in another. */
static void refuse_token(struct session *session, struct span space, gate_result result)
{
    char message[GATE_TEXT_MAX], data[GATE_TEXT_MAX];

    COUNT(session->worker, refused_tokens);
    gate_refusal(session->worker->snapshot, result, message, data);
    send_refusal(session, space, TEXT_SPAN(message), TEXT_SPAN(data));
    log_info("refused: %s", message);
    if (!session_is_eio3(session))
        session_close(session, CLOSE_UNAUTHORIZED);
}

/* The answer to CONNECT. */
static void send_connect(struct socket *socket)
{
    struct session *session = socket->session;
    char id[SESSION_ID_TEXT + 1], json[64];
    struct span piece = {json, 0};

    COUNT(session->worker, connects);
    session_connected(session);
    socket->next = session->sockets;
    session->sockets = socket;
    session_id_text(socket->entry.id, id);
    if (!session_is_eio3(session))
        piece.length = (uint32_t)snprintf(json, sizeof json, "{\"sid\":\"%s\"}", id);
    socket_send(socket, stage_packet(socket->space, PACKET_CONNECT, NULL,
                                     &(struct relay_message){&piece, 1, NULL, 0}));
}

/* Refused after its token was good: by a limit, or by the rules' `deny`.  The reason is a JSON
 * string. */
static void refuse_socket(struct socket *socket, struct span reason)
{
    send_refusal(socket->session, rules_namespace_name(socket->space), reason, TEXT_SPAN(""));
    socket_free(socket);
}

static void enter(struct socket *socket)
{
    struct session *session = socket->session;
    struct scene scene;
    struct relay_verdict verdict;

    if (socket_is_one_too_many(socket)) {
        COUNT(session->worker, refused_per_user);
        refuse_socket(socket, TEXT_SPAN("\"too many connections of this user\""));
        session_close(session, CLOSE_LIMIT);
        return;
    }
    if (!socket->identity && rules_namespace_authenticate(socket->space) == AUTHENTICATE_LATER) {
        send_connect(socket);
        twostep_begin(socket);
        return;
    }
    stage_set(&scene, socket);
    verdict = relay_check_moment(&scene.stage, MOMENT_CONNECTION);
    if (verdict.result == RELAY_DENIED && verdict.reason.length) {
        refuse_socket(socket, verdict.reason);
        return;
    }
    send_connect(socket); /* first the answer, then what the rules do */
    socket_admit(socket);
    if (verdict.result == RELAY_DONE)
        relay_act(&scene.stage, &verdict);
    presence_update(socket, false);
}

static struct socket *find_socket(const struct session *session, struct span space, size_t *n)
{
    struct socket *found = NULL;

    *n = 0;
    for (struct socket *socket = session->sockets; socket; socket = socket->next) {
        struct span name = rules_namespace_name(socket->space);

        ++*n;
        if (name.length == space.length && memcmp(name.at, space.at, name.length) == 0)
            found = socket;
    }
    return found;
}

/* `payload` is an object, or empty. */
static void connect_to(struct session *session, struct span name, struct span payload)
{
    const struct snapshot *snapshot = session->worker->snapshot;
    const struct rules_namespace *space = rules_namespace_find(snapshot->rules, name);
    struct identity *identity;
    struct socket *socket;
    gate_result result;
    size_t n;

    if (find_socket(session, name, &n)) {
        session_close(session, CLOSE_BAD_PACKET);
        return;
    }
    if (!space) {
        send_refusal(session, name, TEXT_SPAN("\"Invalid namespace\""), TEXT_SPAN(""));
        return;
    }
    if (snapshot->config->limits_namespaces && n >= snapshot->config->limits_namespaces) {
        COUNT(session->worker, refused_namespaces);
        send_refusal(session, name, TEXT_SPAN("\"too many namespaces\""), TEXT_SPAN(""));
        return;
    }
    result = check_token(session, space, payload, &identity);
    if (result != TOKEN_OK) {
        refuse_token(session, name, result);
        return;
    }
    socket = socket_new(session, space, identity);
    socket_keep_auth(socket, payload);
    enter(socket);
}

/* Protocol 5 brings credentials as a payload, 4 as the namespace's query. */
static void on_connect(struct session *session, const struct packet_text *packet)
{
    char *object;

    if (!session_is_eio3(session)) {
        connect_to(session, packet->namespace, packet->json);
        return;
    }
    object = gate_query_object(packet->query);
    if (object)
        connect_to(session, packet->namespace, TEXT_SPAN(object));
    else
        session_close(session, CLOSE_BAD_PACKET);
    if (object)
        sodium_memzero(object, strlen(object));
    free(object);
}

/* Events. */

/*
 * The generic cell rate algorithm: N events a second and a burst of as many.  One number says when
 * the next event would be exactly on time; the client may be ahead of it by a second.
 */
static bool is_too_fast(struct session *session)
{
    uint64_t n = session->worker->snapshot->config->limits_events_per_second;
    uint64_t now_us = session->worker->now_ms * 1000;

    if (n == 0)
        return false;
    if (session->next_event_us < now_us)
        session->next_event_us = now_us;
    if (session->next_event_us - now_us > 1000000 - 1000000 / n)
        return true;
    session->next_event_us += 1000000 / n;
    return false;
}

/*
 * Coming and going costs others as much as an event: it counts as one, but for the first CONNECT.
 * There is no answer that says "limited", so whoever overdoes it is closed.
 */
static bool is_restless(struct session *session, const struct packet_text *packet)
{
    bool is_first = !session->has_spoken;

    session->has_spoken = true;
    return !is_first && (packet->type == PACKET_CONNECT || packet->type == PACKET_DISCONNECT) &&
           is_too_fast(session);
}

static void count_verdict(struct worker *worker, enum relay_result result)
{
    switch (result) {
    case RELAY_DONE:
        COUNT(worker, events_relayed);
        break;
    case RELAY_NO_RULE:
        COUNT(worker, events_without_rule);
        break;
    case RELAY_DENIED:
        COUNT(worker, events_denied);
        break;
    case RELAY_LIMITED:
        COUNT(worker, events_limited);
        break;
    case RELAY_BAD_ARGUMENT:
        COUNT(worker, events_bad_argument);
        break;
    }
}

static void on_event(struct socket *socket, const struct packet_text *packet,
                     const struct event *event, const struct attachment *attachment)
{
    struct worker *worker = socket->session->worker;
    struct relay_verdict verdict = {.result = RELAY_LIMITED};
    struct scene scene;
    bool is_in_time;

    COUNT(worker, events);
    is_in_time = !is_too_fast(socket->session);
    if (is_in_time && twostep_event(socket, event, packet->has_id ? &packet->id : NULL))
        return;
    stage_set(&scene, socket);
    scene.ack_id = packet->id;
    scene.stage.event = event;
    scene.stage.attachment = attachment;
    scene.stage.n_attachments = packet->attachments;
    scene.stage.wants_ack = packet->has_id;
    if (is_in_time)
        verdict = relay_check_event(&scene.stage);
    count_verdict(worker, verdict.result);
    if (verdict.result == RELAY_DONE)
        relay_act(&scene.stage, &verdict);
    else
        relay_refuse(&scene.stage, &verdict);
}

static void dispatch(struct session *session, const struct packet_text *packet,
                     const struct event *event, const struct attachment *attachment)
{
    struct socket *socket;
    size_t n;

    if (is_restless(session, packet)) {
        session_close(session, CLOSE_LIMIT);
        return;
    }
    if (packet->type == PACKET_CONNECT) {
        on_connect(session, packet);
        return;
    }
    socket = find_socket(session, packet->namespace, &n);
    if (!socket) {
        session_close(session, CLOSE_BAD_PACKET);
        return;
    }
    switch (packet->type) {
    case PACKET_EVENT:
    case PACKET_BINARY_EVENT:
        on_event(socket, packet, event, attachment);
        break;
    case PACKET_DISCONNECT:
        socket_leave(socket, "client namespace disconnect");
        break;
    default: /* an acknowledgement */
        if (packet->has_id)
            twostep_acknowledged(socket, packet->id);
        break;
    }
}

/* Binary packets in the making. */

static void assembly_free(struct assembly **assembly)
{
    struct assembly *a = *assembly;

    *assembly = NULL;
    if (!a)
        return;
    for (uint32_t i = 0; i < a->arrived; i++)
        free((void *)(uintptr_t)a->attachment[i].bytes);
    free(a->text);
    free(a);
}

static uint64_t packet_bytes(const struct session *session)
{
    return session->worker->snapshot->config->limits_packet_bytes;
}

static void assembly_begin(struct session *session, const char *text, size_t length,
                           uint32_t attachments)
{
    struct assembly *assembly =
        memory_zeroed(1, sizeof *assembly + attachments * sizeof assembly->attachment[0]);

    assembly->expected = attachments;
    assembly->bytes = assembly->text_length = length;
    assembly->text = memory_copy(text, length);
    session->assembly = assembly;
}

static bool parse(struct session *session, const char *text, size_t length,
                  struct packet_text *packet)
{
    struct worker *worker = session->worker;

    if (packet_text_parse(text, length, (uint32_t)worker->snapshot->config->limits_attachments,
                          packet, worker->event) == SCAN_OK &&
        (packet->query.length == 0 || session_is_eio3(session)))
        return true;
    session_close(session, CLOSE_BAD_PACKET);
    return false;
}

/* Where the rules have no default namespace nothing is said: a refusal of "/" would be heard by the
 * client's sockets of every namespace. */
void socketio_open(struct session *session)
{
    struct span name = {"/", 1};

    if (session_is_eio3(session) &&
        rules_namespace_find(session->worker->snapshot->rules, name) != NULL)
        connect_to(session, name, (struct span){"", 0});
}

void socketio_text(struct session *session, const char *text, size_t length)
{
    struct packet_text packet;
    size_t n;

    if (session->assembly) { /* an attachment was due */
        session_close(session, CLOSE_BAD_PACKET);
        return;
    }
    if (!parse(session, text, length, &packet))
        return;
    if (packet.attachments > 0 && !find_socket(session, packet.namespace, &n))
        session_close(session, CLOSE_BAD_PACKET); /* nothing is gathered for whoever is not in */
    else if (packet.attachments > 0 && length > packet_bytes(session))
        session_close(session, CLOSE_TOO_BIG);
    else if (packet.attachments > 0)
        assembly_begin(session, text, length, packet.attachments);
    else
        dispatch(session, &packet, session->worker->event, NULL);
}

uint64_t socketio_left(const struct session *session)
{
    if (session->assembly)
        return packet_bytes(session) - session->assembly->bytes;
    return session->sockets ? UINT64_MAX : FIRST_BYTES;
}

void socketio_binary(struct session *session, const uint8_t *bytes, size_t length)
{
    struct assembly *assembly = session->assembly;
    struct packet_text packet;

    if (!assembly) {
        session_close(session, CLOSE_BAD_PACKET);
        return;
    }
    if (length > socketio_left(session)) {
        session_close(session, CLOSE_TOO_BIG);
        return;
    }
    assembly->bytes += length;
    assembly->attachment[assembly->arrived++] =
        (struct attachment){memory_copy(bytes, length), (uint32_t)length};
    if (assembly->arrived < assembly->expected)
        return;
    session->assembly = NULL;
    if (parse(session, assembly->text, assembly->text_length, &packet))
        dispatch(session, &packet, session->worker->event, assembly->attachment);
    assembly_free(&assembly);
}

void socketio_close(struct session *session, enum close_reason reason)
{
    while (session->sockets)
        socket_leave(session->sockets, close_reason_socketio(reason));
    assembly_free(&session->assembly);
}
