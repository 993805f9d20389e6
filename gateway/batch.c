/*
 * One batch a worker, so that the order between rooms is kept by settling: a member of two rooms
 * hears of both in the order in which it was said.
 */
#include "gateway/batch.h"

#include "gateway/rooms.h"
#include "gateway/socket.h"
#include "gateway/worker.h"

/* The session's messages one by one, up to the newest. */
static void send_missing(struct batch *batch, uint32_t *next, struct session *session)
{
    for (; *next < batch->n; ++*next)
        session_send(session, batch->message[*next]);
}

static uint32_t *find_apart(struct batch *batch, const struct session *session)
{
    uint32_t i = 0;

    while (batch->apart[i].session != session)
        i++;
    return &batch->apart[i].next;
}

/* Served by itself from now on, as a member of the room. */
static uint32_t *set_apart(struct batch *batch, struct session *session)
{
    if (session->is_apart)
        return find_apart(batch, session);
    session->is_apart = true;
    batch->apart[batch->n_apart].session = session;
    batch->apart[batch->n_apart].next = 0;
    return &batch->apart[batch->n_apart++].next;
}

static bool is_member(const struct session *session, const struct room *room)
{
    for (const struct socket *socket = session->sockets; socket; socket = socket->next)
        if (!socket->has_left && room_has(room, socket))
            return true;
    return false;
}

static struct parcel *join(struct batch *batch)
{
    struct packet *packet[BATCH_MESSAGES];

    for (uint32_t i = 0; i < batch->n; i++)
        packet[i] = batch->message[i]->packet;
    return parcel_new(packet_join(packet, batch->n));
}

static void serve(struct batch *batch, struct parcel *all)
{
    const struct room *room = batch->room;

    for (uint32_t i = 0; i < room->n; i++) {
        struct socket *socket = room->member[i];

        if (socket->has_left)
            continue;
        if (socket->session->is_apart)
            send_missing(batch, find_apart(batch, socket->session), socket->session);
        else
            session_send(socket->session, all);
    }
}

static void clear(struct batch *batch)
{
    for (uint32_t i = 0; i < batch->n; i++)
        parcel_put(&batch->message[i]);
    for (uint32_t i = 0; i < batch->n_apart; i++)
        batch->apart[i].session->is_apart = false;
    batch->room = NULL;
    batch->n = batch->n_apart = 0;
    batch->bytes = 0;
}

static bool takes(const struct batch *batch, const struct room *room, const struct packet *packet)
{
    return batch->room == room && batch->n < BATCH_MESSAGES &&
           batch->bytes + packet->frames <= BATCH_BYTES && batch->n_apart < BATCH_APART &&
           batch->message[0]->packet->is_volatile == packet->is_volatile;
}

void batch_add(struct worker *worker, struct room *room, struct packet *packet,
               const struct socket *except)
{
    struct batch *batch = &worker->batch;

    if (batch->room && !takes(batch, room, packet))
        batch_settle(worker);
    batch->room = room;
    if (except && !except->has_left) { /* else it gets nothing of this batch */
        uint32_t *next = set_apart(batch, except->session);

        send_missing(batch, next, except->session);
        ++*next;
    }
    batch->message[batch->n++] = parcel_new(packet);
    batch->bytes += packet->frames;
}

void batch_catch_up(struct session *session)
{
    struct batch *batch = &session->worker->batch;

    if (!batch->room || !is_member(session, batch->room))
        return;
    if (batch->n_apart == BATCH_APART)
        batch_settle(session->worker);
    else
        send_missing(batch, set_apart(batch, session), session);
}

void batch_settle(struct worker *worker)
{
    struct batch *batch = &worker->batch;
    struct parcel *all;

    if (!batch->room)
        return;
    all = join(batch);
    serve(batch, all);
    parcel_put(&all);
    clear(batch);
}
