/*
 * The stage: what a rule does to sockets and rooms, and what it sees of the socket it runs for.
 */
#include "gateway/stage.h"

#include "common/clock.h"
#include "gateway/slots.h"
#include "gateway/worker.h"

#include <string.h>

static struct worker *worker_of(const struct socket *socket)
{
    return socket->session->worker;
}

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
    struct packet *packet = stage_packet(socket->space, PACKET_EVENT, NULL, message);
    /* Who is leaving is still in its rooms, and is sent nothing any more. */
    bool is_left_out = target == TARGET_OTHERS || target == TARGET_TO || socket->has_left;
    const struct socket *except = is_left_out ? socket : NULL;
    uint8_t id[SOCKET_ID_BYTES];
    struct room_key key;

    packet->is_volatile = is_volatile;
    if (target == TARGET_SELF)
        return socket_send(socket, packet);
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

    socket_send(scene->socket,
                stage_packet(scene->socket->space, PACKET_ACK, &scene->ack_id, message));
}

static void stage_disconnect(struct relay_stage *stage)
{
    socket_disconnect(subject(stage));
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

/* A packet of one socket's namespace: header, JSON, attachments. */
struct packet *stage_packet(const struct rules_namespace *space, enum packet_type type,
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

static void read_auth(const struct socket *socket, struct json_value *value)
{
    size_t n;
    const struct rules_path *path = rules_auths(socket->space, &n);

    if (n && socket->auth)
        slots_read(socket->auth, socket->auth_slot, n, value);
    for (size_t i = 0; i < n && !socket->auth; i++)
        value[i] = (struct json_value){.text = TEXT_SPAN("{}"),
                                       .type = path[i].n_path ? VALUE_NONE : VALUE_OBJECT};
}

void stage_set(struct scene *scene, struct socket *socket)
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
        .auth = worker->auth,
        .claim = worker->claim,
        .buckets = &socket->buckets,
        .now_s = clock_wall_s(),
        .now_ms = worker->now_ms,
        .max_kept_bytes = worker->snapshot->config->limits_kept_bytes,
    };
    read_auth(socket, worker->auth);
    if (socket->identity) {
        scene->stage.user = socket->identity->user;
        identity_claims(socket->identity, worker->claim);
    } else {
        scene->stage.claim = NULL;
    }
}

/* A moment at which nobody is answered. */
void stage_run_moment(struct socket *socket, enum rules_moment moment, const char *reason)
{
    struct scene scene;
    struct relay_verdict verdict;

    stage_set(&scene, socket);
    scene.stage.reason = TEXT_SPAN(reason);
    verdict = relay_check_moment(&scene.stage, moment);
    if (verdict.result == RELAY_DONE)
        relay_act(&scene.stage, &verdict);
}
