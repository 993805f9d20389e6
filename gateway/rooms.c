/* Rooms on one worker, and sending to a room wherever its members are. */
#include "gateway/rooms.h"

#include "common/memory.h"
#include "gateway/session.h"
#include "gateway/socket.h"
#include "gateway/worker.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* A packet on its way to the members of a room, or to one socket, of another worker. */
struct delivery {
    struct mail mail;
    struct packet *packet;
    uint64_t hash;
    uint32_t space;
    uint16_t length;
    char key[]; /* of the room */
};

static struct room *find(const struct rooms *rooms, const char *key, size_t length, uint64_t hash)
{
    struct table_link *link = table_first(&rooms->table, hash);

    for (; link; link = table_next(link)) {
        struct room *room = TABLE_ENTRY(link, struct room, link);

        if (room->place->length == length && memcmp(room->place->key, key, length) == 0)
            return room;
    }
    return NULL;
}

static struct room *find_or_make(struct worker *worker, const struct room_key *key)
{
    struct room *room = find(&worker->rooms, key->text, key->length, key->hash);

    if (room)
        return room;
    room = memory_zeroed(1, sizeof *room);
    room->link.hash = key->hash;
    room->place = directory_hold(worker->gateway->directory, key->text, key->length, key->hash,
                                 worker->index);
    room->member = &room->only;
    room->capacity = 1;
    table_add(&worker->rooms.table, &room->link);
    return room;
}

static void drop_room(struct worker *worker, struct room *room)
{
    table_remove(&worker->rooms.table, &room->link);
    directory_release(worker->gateway->directory, room->place, worker->index);
    if (room->member != &room->only)
        free(room->member);
    free(room);
}

/* The room of everybody in a namespace, whose name is empty: no list is made of it. */
static bool is_everybody(const struct place *place)
{
    return memchr(place->key, '\0', place->length) == place->key + place->length - 1;
}

static void list(struct worker *worker, const struct socket *socket, const struct room *room)
{
    if (socket->is_listed && !is_everybody(room->place))
        directory_list(worker->gateway->directory, room->place, socket->identity->user);
}

static void unlist(struct worker *worker, const struct socket *socket, const struct room *room)
{
    if (socket->is_listed && !is_everybody(room->place))
        directory_unlist(worker->gateway->directory, room->place, socket->identity->user);
}

static void add_member(struct worker *worker, struct room *room, struct socket *socket)
{
    if (worker->batch.room == room)
        batch_settle(worker);
    if (room->n == room->capacity) {
        struct socket **old = room->member == &room->only ? NULL : room->member;

        room->capacity *= 2;
        room->member = memory_resize(old, room->capacity, sizeof *room->member);
        if (!old)
            room->member[0] = room->only;
    }
    room->member[room->n++] = socket;
    atomic_fetch_add_explicit(&room->place->count, 1, memory_order_relaxed);
    list(worker, socket, room);
}

static struct membership *membership_in(const struct socket *socket, const struct room *room)
{
    for (unsigned i = 0; i < socket->n_rooms; i++)
        if (socket->room[i].room == room)
            return &socket->room[i];
    return NULL;
}

/* The last member takes the place of the one that goes. */
static void remove_member(struct worker *worker, struct membership *membership)
{
    struct room *room = membership->room;
    uint32_t last;

    if (worker->batch.room == room)
        batch_settle(worker);
    last = --room->n;
    unlist(worker, room->member[membership->index], room);

    if (membership->index != last) {
        struct socket *moved = room->member[last];

        room->member[membership->index] = moved;
        membership_in(moved, room)->index = membership->index;
    }
    atomic_fetch_sub_explicit(&room->place->count, 1, memory_order_relaxed);
    if (room->n == 0)
        drop_room(worker, room);
}

static void deliver_room_mail(struct mail *mail, void *receiver)
{
    struct delivery *delivery = (struct delivery *)(void *)mail;
    struct worker *worker = receiver;
    struct room *room = find(&worker->rooms, delivery->key, delivery->length, delivery->hash);

    if (room)
        batch_add(worker, room, delivery->packet, NULL);
    else
        packet_put(&delivery->packet);
    free(delivery);
    worker_flush_if_much(worker);
}

/* Also for a socket that has gone meanwhile. */
static void deliver_to_one(struct worker *worker, const uint8_t *id, uint32_t space,
                           struct packet *packet)
{
    struct socket_entry *entry;

    directory_find_socket(worker->gateway->directory, id, space, worker->index, &entry);
    if (entry) {
        socket_send(TABLE_ENTRY(entry, struct socket, entry), packet);
    } else {
        packet_put(&packet);
    }
}

static void deliver_socket_mail(struct mail *mail, void *receiver)
{
    struct delivery *delivery = (struct delivery *)(void *)mail;

    deliver_to_one(receiver, (const uint8_t *)delivery->key, delivery->space, delivery->packet);
    free(delivery);
}

/* Takes a reference of its own on the packet. */
static void post(struct worker *worker, unsigned to, struct packet *packet, const void *key,
                 size_t length, uint64_t hash, uint32_t space)
{
    struct delivery *delivery = memory_new(sizeof *delivery + length);

    delivery->mail.deliver = hash ? deliver_room_mail : deliver_socket_mail;
    delivery->packet = packet_get(packet);
    delivery->hash = hash;
    delivery->space = space;
    delivery->length = (uint16_t)length;
    memcpy(delivery->key, key, length);
    COUNT(worker, posted);
    worker_post(worker, to, &delivery->mail);
}

void room_key_make(struct room_key *key, struct span space, struct span room)
{
    assert(space.length + 1 + room.length <= sizeof key->text);
    memcpy(key->text, space.at, space.length);
    key->text[space.length] = '\0';
    if (room.length)
        memcpy(key->text + space.length + 1, room.at, room.length);
    key->length = (uint16_t)(space.length + 1 + room.length);
    key->hash = table_hash(key->text, key->length) | 1; /* never 0: see post */
}

void rooms_init(struct rooms *rooms)
{
    table_init(&rooms->table);
}

void rooms_fini(struct rooms *rooms)
{
    assert(rooms->table.used == 0);
    table_fini(&rooms->table);
}

bool room_has(const struct room *room, const struct socket *socket)
{
    return membership_in(socket, room) != NULL;
}

bool rooms_is_in(const struct socket *socket, const struct room_key *key)
{
    const struct room *room =
        find(&socket->session->worker->rooms, key->text, key->length, key->hash);

    return room && membership_in(socket, room);
}

bool rooms_join(struct worker *worker, struct socket *socket, const struct room_key *key)
{
    struct room *room = find_or_make(worker, key);

    if (membership_in(socket, room))
        return false;
    if (socket->n_rooms == socket->room_capacity) {
        socket->room_capacity = socket->room_capacity ? 2 * socket->room_capacity : 2;
        socket->room = memory_resize(socket->room, socket->room_capacity, sizeof *socket->room);
    }
    socket->room[socket->n_rooms++] = (struct membership){.room = room, .index = room->n};
    add_member(worker, room, socket);
    return true;
}

void rooms_leave(struct worker *worker, struct socket *socket, const struct room_key *key)
{
    struct room *room = find(&worker->rooms, key->text, key->length, key->hash);
    struct membership *membership = room ? membership_in(socket, room) : NULL;

    if (!membership)
        return;
    remove_member(worker, membership);
    *membership = socket->room[--socket->n_rooms];
}

void rooms_leave_all(struct worker *worker, struct socket *socket)
{
    while (socket->n_rooms > 0) {
        remove_member(worker, &socket->room[socket->n_rooms - 1]);
        socket->n_rooms--;
    }
    free(socket->room);
    socket->room = NULL;
    socket->room_capacity = 0;
}

uint32_t rooms_count(struct worker *worker, const struct room_key *key)
{
    const struct room *room = find(&worker->rooms, key->text, key->length, key->hash);
    uint32_t count;
    uint64_t workers;

    if (room)
        return atomic_load_explicit(&room->place->count, memory_order_relaxed);
    directory_look(worker->gateway->directory, key->text, key->length, key->hash, &count, &workers);
    return count;
}

char *rooms_members(struct worker *worker, const struct room_key *key)
{
    return directory_members(worker->gateway->directory, key->text, key->length, key->hash,
                             worker->snapshot->config->limits_members);
}

void rooms_list(struct worker *worker, struct socket *socket, bool is_listed)
{
    if (socket->is_listed == is_listed)
        return;
    for (unsigned i = 0; !is_listed && i < socket->n_rooms; i++)
        unlist(worker, socket, socket->room[i].room);
    socket->is_listed = is_listed;
    for (unsigned i = 0; is_listed && i < socket->n_rooms; i++)
        list(worker, socket, socket->room[i].room);
}

uint32_t rooms_emit(struct worker *worker, const struct room_key *key, struct packet *packet,
                    const struct socket *except)
{
    struct room *room = find(&worker->rooms, key->text, key->length, key->hash);
    uint32_t count;
    uint64_t workers;

    if (room) {
        count = atomic_load_explicit(&room->place->count, memory_order_relaxed);
        workers = atomic_load_explicit(&room->place->workers, memory_order_acquire);
        if (except && !membership_in(except, room))
            except = NULL;
        if (except)
            count--;
    } else {
        directory_look(worker->gateway->directory, key->text, key->length, key->hash, &count,
                       &workers);
    }
    workers &= ~(UINT64_C(1) << worker->index);
    for (; workers; workers &= workers - 1)
        post(worker, (unsigned)__builtin_ctzll(workers), packet, key->text, key->length, key->hash,
             0);
    if (room)
        batch_add(worker, room, packet, except);
    else
        packet_put(&packet);
    return count;
}

uint32_t rooms_emit_to_socket(struct worker *worker, const uint8_t id[SOCKET_ID_BYTES],
                              uint32_t space, struct packet *packet, const struct socket *except)
{
    struct socket_entry *entry;
    int where = directory_find_socket(worker->gateway->directory, id, space, worker->index, &entry);

    if (where < 0 || (entry && TABLE_ENTRY(entry, struct socket, entry) == except)) {
        packet_put(&packet);
        return 0;
    }
    if (entry) {
        deliver_to_one(worker, id, space, packet);
    } else {
        post(worker, (unsigned)where, packet, id, SOCKET_ID_BYTES, 0, space);
        packet_put(&packet);
    }
    return 1;
}
