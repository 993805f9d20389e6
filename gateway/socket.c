/*
 * A socket's life in its namespace: it enters, is told, changes its rules, and leaves.  How a
 * client asks for it is socketio.c's; where a room's members are, rooms.c's.
 */
#include "gateway/socket.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/memory.h"
#include "gateway/presence.h"
#include "gateway/slots.h"
#include "gateway/stage.h"
#include "gateway/twostep.h"
#include "gateway/worker.h"

#include <assert.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

        if (strcmp(name, "sub") == 0 || !scan_member(payload, &path, 1, &value))
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

/* The computed room `user:NAME`, where all sockets of a user are. */
static void user_room(const struct socket *socket, struct room_key *key)
{
    char room[ROOM_NAME_MAX] = "user:";
    ptrdiff_t length = scan_decode_string(socket->identity->user, room + 5, sizeof room - 5);

    assert(length > 0); /* token.c bounds the subject, and jansson took it */
    room_key_make(key, rules_namespace_name(socket->space),
                  (struct span){room, (uint32_t)(5 + length)});
}

static void join_user_room(struct socket *socket)
{
    struct room_key key;

    user_room(socket, &key);
    rooms_join(worker_of(socket), socket, &key);
}

static bool is_to_be_listed(const struct socket *socket)
{
    return socket->is_admitted && socket->identity && socket_asks(socket, rules_asks_members);
}

static void free_variables(struct variable *variable, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free(variable[i].json);
    free(variable);
}

static void find_auth(struct socket *socket)
{
    size_t n;
    const struct rules_path *path = rules_auths(socket->space, &n);

    free(socket->auth_slot);
    socket->auth_slot = socket->auth ? slots_new(TEXT_SPAN(socket->auth), path, n) : NULL;
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
    find_auth(socket);
}

struct socket *socket_new(struct session *session, const struct rules_namespace *space,
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

void socket_free(struct socket *socket)
{
    free_variables(socket->variable, socket->n_variables);
    free(socket->buckets);
    free(socket->auth);
    free(socket->auth_slot);
    free(socket->room);
    identity_put(&socket->identity);
    free(socket);
}

void socket_keep_auth(struct socket *socket, struct span payload)
{
    bool takes_tokens = rules_namespace_authenticate(socket->space) != AUTHENTICATE_NONE;
    uint64_t limit = worker_of(socket)->snapshot->config->limits_kept_bytes;

    if (limit && payload.length > limit)
        return;
    socket->auth = gate_auth(payload, !takes_tokens);
    find_auth(socket);
}

uint64_t socket_send(struct socket *socket, struct packet *packet)
{
    if (socket->has_left) {
        packet_put(&packet);
        return 0;
    }
    batch_catch_up(socket->session);
    session_send_packet(socket->session, packet);
    return 1;
}

void socket_tell(struct socket *socket, const uint64_t *id, const struct relay_message *message)
{
    socket_send(socket, stage_packet(socket->space, PACKET_EVENT, id, message));
}

void socket_answer(struct socket *socket, uint64_t id, const struct relay_message *message)
{
    socket_send(socket, stage_packet(socket->space, PACKET_ACK, &id, message));
}

bool socket_is_one_too_many(const struct socket *socket)
{
    uint64_t limit = worker_of(socket)->snapshot->config->limits_per_user;
    struct room_key key;

    if (!limit || !socket->identity)
        return false;
    user_room(socket, &key);
    return rooms_count(worker_of(socket), &key) >= limit;
}

bool socket_may_enter(struct socket *socket, struct span *reason)
{
    struct relay_verdict verdict;
    struct scene scene;

    if (socket_is_one_too_many(socket)) {
        COUNT(worker_of(socket), refused_per_user);
        *reason = TEXT_SPAN("\"too many connections of this user\"");
        return false;
    }
    if (socket->is_admitted)
        return true;
    stage_set(&scene, socket);
    verdict = relay_check_moment(&scene.stage, MOMENT_CONNECTION);
    *reason = verdict.reason;
    return verdict.result != RELAY_DENIED || verdict.reason.length == 0;
}

void socket_admit(struct socket *socket)
{
    struct worker *worker = worker_of(socket);
    struct room_key everyone;

    socket->is_admitted = true;
    socket->is_listed = is_to_be_listed(socket);
    directory_add_socket(worker->gateway->directory, &socket->entry);
    room_key_make(&everyone, rules_namespace_name(socket->space), (struct span){"", 0});
    rooms_join(worker, socket, &everyone);
    if (socket->identity)
        join_user_room(socket);
    expiry_watch(socket);
    log_presence(socket, "connected");
}

void socket_authenticated(struct socket *socket)
{
    if (!socket->is_admitted) {
        socket_admit(socket);
        stage_run_moment(socket, MOMENT_CONNECTION, "");
    } else {
        join_user_room(socket);
        rooms_list(worker_of(socket), socket, is_to_be_listed(socket));
        expiry_watch(socket);
        log_presence(socket, "authenticated");
    }
    if (!socket->has_left)
        stage_run_moment(socket, MOMENT_AUTHENTICATED, "");
    presence_update(socket, false);
}

void socket_leave(struct socket *socket, const char *reason)
{
    struct worker *worker = worker_of(socket);
    struct socket **at = &socket->session->sockets;

    if (socket->has_left)
        return;
    batch_settle(worker); /* it still gets what its rooms were sent */
    socket->has_left = true;
    twostep_end(socket);
    expiry_forget(socket);
    if (socket->is_admitted) {
        stage_run_moment(socket, MOMENT_DISCONNECTING, reason);
        rooms_leave_all(worker, socket);
        stage_run_moment(socket, MOMENT_DISCONNECT, reason);
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

void socket_disconnect(struct socket *socket)
{
    if (socket->has_left)
        return;
    socket_send(socket,
                stage_packet(socket->space, PACKET_DISCONNECT, NULL, &(struct relay_message){0}));
    socket_leave(socket, "server namespace disconnect");
}

bool socket_asks(const struct socket *socket, bool (*asks)(const struct rules_namespace *space))
{
    const struct snapshot *other = worker_of(socket)->other;
    const struct rules_namespace *space = NULL;

    if (other)
        space = rules_namespace_find(other->rules, rules_namespace_name(socket->space));
    return asks(socket->space) || (space && asks(space));
}

void sockets_reckon(struct session *session)
{
    for (struct socket *socket = session->sockets; socket; socket = socket->next) {
        rooms_list(session->worker, socket, is_to_be_listed(socket));
        presence_update(socket, true);
    }
}

/* Would they let nobody in who is as it?  Who still has to authenticate may do so. */
static bool shut_out(const struct socket *socket, const struct rules *fresh)
{
    const struct rules_namespace *space =
        rules_namespace_find(fresh, rules_namespace_name(socket->space));
    enum rules_authenticate mode = space ? rules_namespace_authenticate(space) : 0;

    return !space || (socket->is_admitted && !socket->identity &&
                      (mode == AUTHENTICATE_REQUIRED || mode == AUTHENTICATE_LATER));
}

void sockets_evict(struct session *session, const struct rules *fresh)
{
    struct socket *socket, *next;

    for (socket = session->sockets; socket; socket = next) {
        next = socket->next;
        if (shut_out(socket, fresh))
            socket_disconnect(socket);
    }
}

void sockets_adopt(struct session *session)
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

void sockets_reap(struct worker *worker)
{
    while (worker->left) {
        struct socket *socket = worker->left;

        worker->left = socket->next;
        socket_free(socket);
    }
}
