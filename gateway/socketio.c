/*
 * Socket.IO 5: a session's namespaces, and what passes between a client's packets and the rules.
 * What a rule means is relay.c's; who may connect is gate.c's; where a room's members are,
 * rooms.c's.
 */
#include "gateway/socketio.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/memory.h"
#include "gateway/packet_text.h"
#include "gateway/presence.h"
#include "gateway/twostep.h"
#include "gateway/worker.h"

#include <assert.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A binary packet whose attachments are still arriving. */
struct assembly {
    uint32_t expected, arrived;
    size_t bytes; /* of all that has arrived */
    char *text;
    size_t text_length;
    struct attachment attachment[];
};

/* The stage of one event or moment of one socket. */
struct scene {
    struct relay_stage stage; /* first */
    struct socket *socket;
    uint64_t ack_id;
    char id[SESSION_ID_TEXT + 1];
};

#define TEXT_SPAN(text) ((struct span){(text), (uint32_t)strlen(text)})

static struct worker *worker_of(const struct socket *socket)
{
    return socket->session->worker;
}

/* The same on all workers, also while they change to new rules one after the other. */
static uint32_t space_number(const struct rules_namespace *space)
{
    struct span name = rules_namespace_name(space);

    return (uint32_t)table_hash(name.at, name.length);
}

/* A packet of one socket's namespace: header, JSON, attachments. */
static struct packet *make_packet(const struct rules_namespace *space, enum packet_type type,
                                  const uint64_t *id, const struct relay_message *message)
{
    struct packet_text text = {.type = type, .namespace = rules_namespace_name(space)};
    char header[PACKET_HEADER_SIZE];

    text.attachments = (uint32_t)message->n_attachments;
    if (message->n_attachments > 0)
        text.type = type == PACKET_EVENT ? PACKET_BINARY_EVENT : PACKET_BINARY_ACK;
    if (id) {
        text.has_id = true;
        text.id = *id;
    }
    return packet_new((struct span){header, (uint32_t)packet_text_write_header(&text, header)},
                      message->piece, message->n_pieces, message->attachment,
                      message->n_attachments);
}

/* A packet the gateway itself says, to a namespace that may be unknown. */
static void send_own(struct session *session, enum packet_type type, struct span space,
                     const char *json)
{
    struct packet_text text = {.type = type, .namespace = space};
    struct span piece = TEXT_SPAN(json);
    char header[PACKET_HEADER_SIZE];

    session_send_packet(
        session,
        packet_new((struct span){header, (uint32_t)packet_text_write_header(&text, header)}, &piece,
                   1, NULL, 0));
}

/* The stage. */

static struct socket *subject(const struct relay_stage *stage)
{
    return ((const struct scene *)(const void *)stage)->socket;
}

static void key_of(const struct socket *socket, struct span room, struct room_key *key)
{
    room_key_make(key, rules_namespace_name(socket->space), room);
}

static bool stage_is_in(struct relay_stage *stage, struct span room)
{
    struct room_key key;

    key_of(subject(stage), room, &key);
    return rooms_is_in(subject(stage), &key);
}

static bool stage_join(struct relay_stage *stage, struct span room)
{
    struct socket *socket = subject(stage);
    struct worker *worker = worker_of(socket);
    uint64_t limit = worker->snapshot->config->limits_rooms;
    unsigned own = socket->identity ? 2 : 1; /* the namespace and the user are not counted */
    struct room_key key;

    if (socket->has_left)
        return true;
    key_of(socket, room, &key);
    if (limit && socket->n_rooms >= limit + own && !rooms_is_in(socket, &key)) {
        COUNT(worker, joins_refused);
        return false;
    }
    rooms_join(worker, socket, &key);
    return true;
}

static void stage_leave(struct relay_stage *stage, struct span room)
{
    struct room_key key;

    if (subject(stage)->has_left)
        return;
    key_of(subject(stage), room, &key);
    rooms_leave(worker_of(subject(stage)), subject(stage), &key);
}

static uint64_t stage_count(struct relay_stage *stage, struct span room)
{
    struct room_key key;

    key_of(subject(stage), room, &key);
    return rooms_count(worker_of(subject(stage)), &key);
}

static char *stage_members(struct relay_stage *stage, struct span room)
{
    struct room_key key;

    key_of(subject(stage), room, &key);
    return rooms_members(worker_of(subject(stage)), &key);
}

static uint64_t emit_to_self(struct socket *socket, struct packet *packet)
{
    if (socket->has_left) {
        packet_put(&packet);
        return 0;
    }
    session_send_packet(socket->session, packet);
    return 1;
}

/* The computed room `id:SOCKET`, which nobody joins. */
static bool is_socket_room(struct span room, uint8_t id[SOCKET_ID_BYTES])
{
    return room.length == 3 + SESSION_ID_TEXT && memcmp(room.at, "id:", 3) == 0 &&
           session_id_parse(room.at + 3, id);
}

static uint64_t stage_emit(struct relay_stage *stage, enum relay_target target, struct span room,
                           bool is_volatile, const struct relay_message *message)
{
    struct socket *socket = subject(stage);
    struct worker *worker = worker_of(socket);
    struct packet *packet = make_packet(socket->space, PACKET_EVENT, NULL, message);
    const struct socket *except = target == TARGET_OTHERS || target == TARGET_TO ? socket : NULL;
    uint8_t id[SOCKET_ID_BYTES];
    struct room_key key;

    packet->is_volatile = is_volatile;
    if (target == TARGET_SELF)
        return emit_to_self(socket, packet);
    if (target == TARGET_OTHERS || target == TARGET_ALL)
        room = (struct span){"", 0};
    else if (is_socket_room(room, id))
        return rooms_emit_to_socket(worker, id, socket->entry.space, packet, except);
    key_of(socket, room, &key);
    return rooms_emit(worker, &key, packet, except);
}

static void stage_ack(struct relay_stage *stage, const struct relay_message *message)
{
    const struct scene *scene = (const struct scene *)(const void *)stage;

    emit_to_self(scene->socket,
                 make_packet(scene->socket->space, PACKET_ACK, &scene->ack_id, message));
}

static void leave(struct socket *socket, const char *reason);

static void disconnect(struct socket *socket)
{
    if (socket->has_left)
        return;
    send_own(socket->session, PACKET_DISCONNECT, rules_namespace_name(socket->space), "");
    leave(socket, "server namespace disconnect");
}

static void stage_disconnect(struct relay_stage *stage)
{
    disconnect(subject(stage));
}

static const struct relay_operations operations = {
    .is_in = stage_is_in,
    .join = stage_join,
    .leave = stage_leave,
    .emit = stage_emit,
    .ack = stage_ack,
    .count = stage_count,
    .members = stage_members,
    .disconnect = stage_disconnect,
};

static void set_scene(struct scene *scene, struct socket *socket)
{
    struct worker *worker = worker_of(socket);

    memset(scene, 0, sizeof *scene);
    scene->socket = socket;
    session_id_text(socket->entry.id, scene->id);
    scene->stage = (struct relay_stage){
        .operations = &operations,
        .subject = socket,
        .rules = socket->space,
        .variable = socket->variable,
        .id = {scene->id, SESSION_ID_TEXT},
        .auth = socket->auth ? (struct span){socket->auth, socket->auth_length} : TEXT_SPAN("{}"),
        .claim = worker->claim,
        .buckets = &socket->buckets,
        .now_s = clock_wall_s(),
        .now_ms = worker->now_ms,
        .max_kept_bytes = worker->snapshot->config->limits_kept_bytes,
    };
    if (socket->identity) {
        scene->stage.user = socket->identity->user;
        identity_claims(socket->identity, worker->claim);
    } else {
        scene->stage.claim = NULL;
    }
}

/* A moment at which nobody is answered. */
static void run_moment(struct socket *socket, enum rules_moment moment, const char *reason)
{
    struct scene scene;
    struct relay_verdict verdict;

    set_scene(&scene, socket);
    scene.stage.reason = TEXT_SPAN(reason);
    verdict = relay_check_moment(&scene.stage, moment);
    if (verdict.result == RELAY_DONE)
        relay_act(&scene.stage, &verdict);
}

/* Joining and leaving a namespace. */

static void log_presence(const struct socket *socket, const char *what)
{
    const char *name = socket->session->worker->snapshot->config->gateway_log_claim;
    struct span path = TEXT_SPAN(name), space = rules_namespace_name(socket->space);
    char address[NET_ADDRESS_TEXT], id[SESSION_ID_TEXT + 1], who[256] = "a guest";
    struct log_field fields[] = {
        {"SALLYPORT_USER", NULL}, {"SALLYPORT_SOCKET", NULL}, {"SALLYPORT_REASON", NULL}};
    struct json_value value;
    ptrdiff_t length = 0;

    if (socket->identity) {
        const struct identity *identity = socket->identity;
        struct span payload = {identity->payload, identity->payload_bytes};

        if (!scan_member(payload, &path, 1, &value))
            value = (struct json_value){.text = identity->user, .type = VALUE_STRING};
        if (value.type == VALUE_STRING)
            length = scan_decode_string(value.text, who, sizeof who - 1);
        if (value.type != VALUE_STRING || length < 0)
            length = snprintf(who, sizeof who, "%.*s", (int)value.text.length, value.text.at);
        who[length < (ptrdiff_t)sizeof who ? length : (ptrdiff_t)sizeof who - 1] = '\0';
    }
    session_id_text(socket->entry.id, id);
    fields[0].value = who;
    fields[1].value = id;
    fields[2].value = socket->has_left ? what : NULL;
    log_with(LOG_LEVEL_INFO, fields, 3, "%s: %s (socket %s, namespace %.*s, address %s)", what, who,
             id, (int)space.length, space.at, net_address_text(&socket->session->address, address));
}

static void join_user_room(struct socket *socket)
{
    char room[ROOM_NAME_MAX] = "user:";
    ptrdiff_t length = scan_decode_string(socket->identity->user, room + 5, sizeof room - 5);
    struct room_key key;

    assert(length > 0); /* token.c bounds the subject, and jansson took it */
    key_of(socket, (struct span){room, (uint32_t)(5 + length)}, &key);
    rooms_join(worker_of(socket), socket, &key);
}

/* Gone from its session and every room; what rules still say of it is said here. */
static void leave(struct socket *socket, const char *reason)
{
    struct worker *worker = worker_of(socket);
    struct socket **at = &socket->session->sockets;

    if (socket->has_left)
        return;
    socket->has_left = true;
    twostep_end(socket);
    expiry_forget(socket);
    if (socket->is_admitted) {
        run_moment(socket, MOMENT_DISCONNECTING, reason);
        rooms_leave_all(worker, socket);
        run_moment(socket, MOMENT_DISCONNECT, reason);
        directory_remove_socket(worker->gateway->directory, &socket->entry);
        presence_update(socket, false);
    }
    log_presence(socket, reason);
    while (*at != socket)
        at = &(*at)->next;
    *at = socket->next;
    socket->next = worker->left;
    worker->left = socket;
}

static void free_variables(struct variable *variable, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free(variable[i].json);
    free(variable);
}

/* Variables go by their names: new rules may have others, in other slots. */
static void set_space(struct socket *socket, const struct rules_namespace *space)
{
    size_t n = rules_variables(space);
    struct variable *variable = n ? memory_zeroed(n, sizeof *variable) : NULL;

    for (size_t i = 0; i < socket->n_variables; i++) {
        size_t slot = rules_variable_find(space, rules_variable_name(socket->space, i));

        if (slot == n)
            continue;
        variable[slot] = socket->variable[i];
        socket->variable[i].json = NULL;
    }
    free_variables(socket->variable, socket->n_variables);
    socket->variable = variable;
    socket->n_variables = (uint16_t)n;
    socket->space = space;
}

static void free_socket(struct socket *socket)
{
    free_variables(socket->variable, socket->n_variables);
    free(socket->buckets);
    free(socket->auth);
    free(socket->room);
    identity_put(&socket->identity);
    free(socket);
}

/* CONNECT. */

static void keep_auth(struct socket *socket, struct span payload)
{
    bool takes_tokens = rules_namespace_authenticate(socket->space) != AUTHENTICATE_NONE;
    uint64_t limit = worker_of(socket)->snapshot->config->limits_kept_bytes;

    if (limit && payload.length > limit)
        return;
    socket->auth = gate_auth(payload, !takes_tokens);
    socket->auth_length = socket->auth ? (uint32_t)strlen(socket->auth) : 0;
}

static gate_result check_token(struct session *session, const struct rules_namespace *space,
                               struct span payload, struct identity **identity)
{
    enum rules_authenticate authenticate = rules_namespace_authenticate(space);
    char buffer[TOKEN_MAX_BYTES + 1];
    struct span token = gate_token(payload, buffer, sizeof buffer);
    gate_result result = session->admission;

    *identity = NULL;
    if (authenticate == AUTHENTICATE_NONE)
        return TOKEN_OK;
    if (token.length)
        result = gate_check(session->worker->snapshot, session->worker->revoked, token,
                            clock_wall_s(), identity);
    else if (session->identity && session->identity->expires_s <= clock_wall_s())
        result = TOKEN_EXPIRED;
    else if (session->identity)
        *identity = identity_get(session->identity);
    if (result == GATE_NO_TOKEN && authenticate != AUTHENTICATE_REQUIRED) /* none yet, or ever */
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

static struct socket *socket_new(struct session *session, const struct rules_namespace *space,
                                 struct identity *identity)
{
    struct worker *worker = session->worker;
    struct socket *socket = memory_zeroed(1, sizeof *socket);

    socket->session = session;
    socket->space = space;
    socket->identity = identity;
    socket->entry.worker = (uint8_t)worker->index;
    socket->entry.space = space_number(space);
    set_space(socket, space);
    randombytes_buf(socket->entry.id, sizeof socket->entry.id);
    return socket;
}

/* The user's sockets in this namespace are as many as may be. */
static bool is_one_too_many(const struct socket *socket)
{
    uint64_t limit = worker_of(socket)->snapshot->config->limits_per_user;
    char room[ROOM_NAME_MAX] = "user:";
    ptrdiff_t length;
    struct room_key key;

    if (!limit || !socket->identity)
        return false;
    length = scan_decode_string(socket->identity->user, room + 5, sizeof room - 5);
    key_of(socket, (struct span){room, (uint32_t)(5 + length)}, &key);
    return rooms_count(worker_of(socket), &key) >= limit;
}

static bool is_to_be_listed(const struct socket *socket)
{
    return socket->is_admitted && socket->identity && socketio_asks(socket, rules_asks_members);
}

/* In its namespace: everything can reach it, and it counts. */
static void admit(struct socket *socket)
{
    struct worker *worker = worker_of(socket);
    struct room_key everyone;

    socket->is_admitted = true;
    socket->is_listed = is_to_be_listed(socket);
    directory_add_socket(worker->gateway->directory, &socket->entry);
    key_of(socket, (struct span){"", 0}, &everyone);
    rooms_join(worker, socket, &everyone);
    if (socket->identity)
        join_user_room(socket);
    presence_update(socket, false);
    expiry_watch(socket);
    log_presence(socket, "connected");
}

/* The answer to CONNECT. */
static void send_connect(struct socket *socket)
{
    struct session *session = socket->session;
    char id[SESSION_ID_TEXT + 1], json[64];

    COUNT(session->worker, connects);
    session_connected(session);
    socket->next = session->sockets;
    session->sockets = socket;
    session_id_text(socket->entry.id, id);
    snprintf(json, sizeof json, "{\"sid\":\"%s\"}", id);
    send_own(session, PACKET_CONNECT, rules_namespace_name(socket->space),
             session_is_eio3(session) ? "" : json);
}

/* Refused after its token was good: by a limit, or by the rules' `deny`.  The reason is a JSON
 * string. */
static void refuse_socket(struct socket *socket, struct span reason)
{
    send_refusal(socket->session, rules_namespace_name(socket->space), reason, TEXT_SPAN(""));
    free_socket(socket);
}

static void enter(struct socket *socket)
{
    struct session *session = socket->session;
    struct scene scene;
    struct relay_verdict verdict;

    if (is_one_too_many(socket)) {
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
    set_scene(&scene, socket);
    verdict = relay_check_moment(&scene.stage, MOMENT_CONNECTION);
    if (verdict.result == RELAY_DENIED && verdict.reason.length) {
        refuse_socket(socket, verdict.reason);
        return;
    }
    send_connect(socket); /* first the answer, then what the rules do */
    admit(socket);
    if (verdict.result == RELAY_DONE)
        relay_act(&scene.stage, &verdict);
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
    keep_auth(socket, payload);
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
    struct worker *worker = worker_of(socket);
    struct relay_verdict verdict = {.result = RELAY_LIMITED};
    struct scene scene;
    bool is_in_time;

    COUNT(worker, events);
    is_in_time = !is_too_fast(socket->session);
    if (is_in_time && twostep_event(socket, event, packet->has_id ? &packet->id : NULL))
        return;
    set_scene(&scene, socket);
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
        leave(socket, "client namespace disconnect");
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
    else if (packet.attachments > 0)
        assembly_begin(session, text, length, packet.attachments);
    else
        dispatch(session, &packet, session->worker->event, NULL);
}

void socketio_binary(struct session *session, const uint8_t *bytes, size_t length)
{
    struct assembly *assembly = session->assembly;
    struct packet_text packet;

    if (!assembly) {
        session_close(session, CLOSE_BAD_PACKET);
        return;
    }
    assembly->bytes += length;
    if (assembly->bytes > session->worker->snapshot->config->limits_packet_bytes) {
        session_close(session, CLOSE_TOO_BIG);
        return;
    }
    assembly->attachment[assembly->arrived++] =
        (struct attachment){memory_copy(bytes, length), (uint32_t)length};
    if (assembly->arrived < assembly->expected)
        return;
    session->assembly = NULL;
    if (parse(session, assembly->text, assembly->text_length, &packet))
        dispatch(session, &packet, session->worker->event, assembly->attachment);
    assembly_free(&assembly);
}

void socketio_deliver(struct socket *socket, struct parcel *parcel)
{
    if (!socket->has_left)
        session_send(socket->session, parcel);
}

void socketio_close(struct session *session, enum close_reason reason)
{
    while (session->sockets)
        leave(session->sockets, close_reason_socketio(reason));
    assembly_free(&session->assembly);
}

bool socketio_asks(const struct socket *socket, bool (*asks)(const struct rules_namespace *space))
{
    const struct snapshot *other = worker_of(socket)->other;
    const struct rules_namespace *space = NULL;

    if (other)
        space = rules_namespace_find(other->rules, rules_namespace_name(socket->space));
    return asks(socket->space) || (space && asks(space));
}

void socketio_reckon(struct session *session)
{
    for (struct socket *socket = session->sockets; socket; socket = socket->next) {
        rooms_list(session->worker, socket, is_to_be_listed(socket));
        presence_update(socket, true);
    }
}

void socketio_evict(struct session *session, const struct rules *fresh)
{
    struct socket *socket, *next;

    for (socket = session->sockets; socket; socket = next) {
        next = socket->next;
        if (!rules_namespace_find(fresh, rules_namespace_name(socket->space)))
            disconnect(socket);
    }
}

void socketio_adopt(struct session *session)
{
    const struct snapshot *snapshot = session->worker->snapshot;
    struct socket *socket;

    if (session->identity)
        identity_adopt(session->identity, snapshot);
    for (socket = session->sockets; socket; socket = socket->next) {
        struct span name = rules_namespace_name(socket->space);

        free(socket->buckets);
        socket->buckets = NULL;
        if (socket->identity)
            identity_adopt(socket->identity, snapshot);
        set_space(socket, rules_namespace_find(snapshot->rules, name));
    }
}

struct packet *socketio_event(const struct rules_namespace *space,
                              const struct relay_message *message)
{
    return make_packet(space, PACKET_EVENT, NULL, message);
}

void socketio_tell(struct socket *socket, const uint64_t *id, const struct relay_message *message)
{
    emit_to_self(socket, make_packet(socket->space, PACKET_EVENT, id, message));
}

void socketio_answer(struct socket *socket, uint64_t id, const struct relay_message *message)
{
    emit_to_self(socket, make_packet(socket->space, PACKET_ACK, &id, message));
}

void socketio_disconnect(struct socket *socket)
{
    disconnect(socket);
}

bool socketio_may_enter(struct socket *socket, struct span *reason)
{
    struct relay_verdict verdict;
    struct scene scene;

    if (is_one_too_many(socket)) {
        COUNT(worker_of(socket), refused_per_user);
        *reason = TEXT_SPAN("\"too many connections of this user\"");
        return false;
    }
    if (socket->is_admitted)
        return true;
    set_scene(&scene, socket);
    verdict = relay_check_moment(&scene.stage, MOMENT_CONNECTION);
    *reason = verdict.reason;
    return verdict.result != RELAY_DENIED || verdict.reason.length == 0;
}

void socketio_authenticated(struct socket *socket)
{
    if (!socket->is_admitted) {
        admit(socket);
        run_moment(socket, MOMENT_CONNECTION, "");
    } else {
        join_user_room(socket);
        rooms_list(worker_of(socket), socket, is_to_be_listed(socket));
        presence_update(socket, false);
        expiry_watch(socket);
        log_presence(socket, "authenticated");
    }
    if (!socket->has_left)
        run_moment(socket, MOMENT_AUTHENTICATED, "");
}

void socketio_reap(struct worker *worker)
{
    while (worker->left) {
        struct socket *socket = worker->left;

        worker->left = socket->next;
        free_socket(socket);
    }
}
