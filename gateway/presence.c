/*
 * Who is online.  A worker posts to a user's home worker that a socket has come or gone; the home
 * counts, waits out the grace, and runs the rules' `when user online` and `when user offline` on a
 * stage that has no socket.
 */
#include "gateway/presence.h"

#include "common/clock.h"
#include "common/memory.h"
#include "gateway/stage.h"
#include "gateway/worker.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* A user of a namespace, at home. */
struct online {
    struct table_link link;
    struct timer grace; /* armed while no socket is there */
    struct worker *worker;
    uint32_t sockets;
    uint16_t key_length, space_length, json_length;
    char text[]; /* the key, "namespace\0user"; then the user as JSON */
};

/* A socket of a user has come or gone. */
struct notice {
    struct mail mail;
    uint64_t hash;
    bool has_come, is_silent;
    uint16_t key_length, space_length, json_length;
    char text[]; /* as above */
};

struct presence_stage {
    struct relay_stage stage; /* first */
    struct worker *worker;
    struct span space;
};

/* The stage. */

static struct presence_stage *stage_of(struct relay_stage *stage)
{
    return (struct presence_stage *)(void *)stage;
}

static uint64_t stage_emit(struct relay_stage *stage, enum relay_target target, struct span room,
                           bool is_volatile, const struct relay_message *message)
{
    const struct presence_stage *s = stage_of(stage);
    struct packet *packet = stage_packet(stage->rules, PACKET_EVENT, NULL, message);
    struct room_key key;

    packet->is_volatile = is_volatile;
    room_key_make(&key, s->space, target == TARGET_ALL ? (struct span){"", 0} : room);
    return rooms_emit(s->worker, &key, packet, NULL);
}

static uint64_t stage_count(struct relay_stage *stage, struct span room)
{
    struct room_key key;

    room_key_make(&key, stage_of(stage)->space, room);
    return rooms_count(stage_of(stage)->worker, &key);
}

static char *stage_members(struct relay_stage *stage, struct span room)
{
    struct room_key key;

    room_key_make(&key, stage_of(stage)->space, room);
    return rooms_members(stage_of(stage)->worker, &key);
}

/* What needs a socket is refused when the rules are read. */
static const struct relay_operations operations = {
    .emit = stage_emit,
    .count = stage_count,
    .members = stage_members,
};

static void run(const struct online *online, enum rules_moment moment)
{
    struct worker *worker = online->worker;
    struct presence_stage s = {.worker = worker, .space = {online->text, online->space_length}};
    const struct rules_namespace *space = rules_namespace_find(worker->snapshot->rules, s.space);
    struct relay_verdict verdict;

    if (!space)
        return;
    s.stage = (struct relay_stage){
        .operations = &operations,
        .rules = space,
        .user = {online->text + online->key_length, online->json_length},
        .now_s = clock_wall_s(),
        .now_ms = worker->now_ms,
    };
    verdict = relay_check_moment(&s.stage, moment);
    if (verdict.result == RELAY_DONE)
        relay_act(&s.stage, &verdict);
}

/* At home. */

static struct online *find(const struct worker *worker, const struct notice *notice)
{
    struct table_link *link = table_first(&worker->online, notice->hash);

    for (; link; link = table_next(link)) {
        struct online *online = TABLE_ENTRY(link, struct online, link);

        if (online->key_length == notice->key_length &&
            memcmp(online->text, notice->text, notice->key_length) == 0)
            return online;
    }
    return NULL;
}

static struct online *add(struct worker *worker, const struct notice *notice)
{
    size_t bytes = (size_t)notice->key_length + notice->json_length;
    struct online *online = memory_zeroed(1, sizeof *online + bytes);

    online->link.hash = notice->hash;
    online->worker = worker;
    online->key_length = notice->key_length;
    online->space_length = notice->space_length;
    online->json_length = notice->json_length;
    memcpy(online->text, notice->text, bytes);
    table_add(&worker->online, &online->link);
    return online;
}

static void drop(struct online *online)
{
    table_remove(&online->worker->online, &online->link);
    free(online);
}

static void come(struct worker *worker, const struct notice *notice)
{
    struct online *online = find(worker, notice);
    bool is_new = !online;

    if (is_new)
        online = add(worker, notice);
    online->sockets++;
    timer_disarm(&online->grace);
    if (is_new && !notice->is_silent)
        run(online, MOMENT_USER_ONLINE);
}

static void go(struct worker *worker, const struct notice *notice)
{
    struct online *online = find(worker, notice);

    assert(online && online->sockets > 0); /* whoever goes has come, from the same worker */
    if (--online->sockets == 0)
        timer_arm(&worker->grace, &online->grace, worker->now_ms);
}

static void deliver(struct mail *mail, void *receiver)
{
    struct notice *notice = (struct notice *)(void *)mail;

    if (notice->has_come)
        come(receiver, notice);
    else
        go(receiver, notice);
    free(notice);
}

/* Elsewhere. */

static struct notice *notice_new(const struct socket *socket)
{
    struct span user = socket->identity->user, name = rules_namespace_name(socket->space);
    size_t space_bytes = name.length + 1u; /* decoded, a name is no longer than its JSON */
    struct notice *notice = memory_new(sizeof *notice + space_bytes + 2 * (size_t)user.length);
    ptrdiff_t length;

    memcpy(notice->text, name.at, name.length);
    notice->text[name.length] = '\0';
    length = scan_decode_string(user, notice->text + space_bytes, user.length);
    assert(length > 0);
    notice->space_length = (uint16_t)name.length;
    notice->key_length = (uint16_t)(space_bytes + (size_t)length);
    notice->json_length = (uint16_t)user.length;
    memcpy(notice->text + notice->key_length, user.at, user.length);
    notice->hash = table_hash(notice->text, notice->key_length);
    notice->mail.deliver = deliver;
    return notice;
}

void presence_update(struct socket *socket, bool is_silent)
{
    struct worker *worker = socket->session->worker;
    bool is_present = socket->is_admitted && !socket->has_left && socket->identity &&
                      socket_asks(socket, rules_has_presence);
    struct notice *notice;

    if (is_present == socket->is_present)
        return;
    socket->is_present = is_present;
    notice = notice_new(socket);
    notice->has_come = is_present;
    notice->is_silent = is_silent;
    /* To this worker too by mail: the rules of this event are done before those of presence. */
    worker_post(worker, (unsigned)((notice->hash >> 32) % worker->gateway->n_workers),
                &notice->mail);
}

void presence_overdue(struct timer *grace)
{
    struct online *online = TABLE_ENTRY(grace, struct online, grace);

    run(online, MOMENT_USER_OFFLINE);
    drop(online);
}

void presence_fini(struct worker *worker)
{
    struct timer *head = &worker->grace.head;

    while (head->next != head) {
        struct online *online = TABLE_ENTRY(head->next, struct online, grace);

        timer_disarm(&online->grace);
        drop(online);
    }
    assert(worker->online.used == 0);
    table_fini(&worker->online);
}
