/*
 * The crowd's threads: they connect clients, set them to what is to be played, and add up what
 * they count.  What is measured meanwhile is load.c's business.
 */
#include "tests/bench/client.h"

#include "tests/bench/process.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#define OPENING_MAX 32 /* handshakes under way, per thread */
#define TURN_MS     5  /* a new phase is seen no later */
#define EVENTS      512

struct crowd {
    struct crowd_job job;
    struct client *clients;
    struct thread *threads;
    _Atomic unsigned target; /* clients to be connected */
    _Atomic enum crowd_phase phase;
    _Atomic unsigned orders; /* how often phase has been set */
};

/* ---- a thread ---- */

/* Client i belongs to thread i modulo threads. */
static struct client *own(struct thread *thread, unsigned nth)
{
    return &thread->crowd->clients[thread->number + nth * thread->job->threads];
}

static void open_some(struct thread *thread)
{
    unsigned target = atomic_load(&thread->crowd->target);

    while (thread->opening < OPENING_MAX &&
           thread->number + thread->opened * thread->job->threads < target) {
        thread->opening++;
        client_open(thread, own(thread, thread->opened++));
    }
}

static void begin(struct thread *thread, enum crowd_phase phase)
{
    const struct crowd_job *job = thread->job;
    uint64_t now = now_ns();

    thread->phase = phase;
    for (unsigned i = 0; i < thread->opened; i++) {
        struct client *client = own(thread, i);

        client->turn = 0;
        client->due_ns = now + 1000000000u / job->per_second * client->index;
        if (phase == CROWD_PINGS || phase == CROWD_MOVES)
            client_ask(thread, client);
        if (phase == CROWD_FLOODS && client_speaks(job, client))
            for (unsigned n = 0; n < job->window; n++)
                client_say_message(thread, client);
        client_flush(thread, client);
    }
}

/* Say what is due; the nanoseconds until the next is. */
static uint64_t pace(struct thread *thread)
{
    const struct crowd_job *job = thread->job;
    uint64_t now = now_ns(), wait = TURN_MS * 1000000u;

    for (unsigned i = 0; i < thread->opened && client_speaks(job, own(thread, i)); i++) {
        struct client *client = own(thread, i);

        if (client->due_ns <= now) {
            client_say_message(thread, client);
            client_flush(thread, client);
            client->due_ns += 1000000000u / job->per_second * job->senders;
        }
        if (client->due_ns < now + wait)
            wait = client->due_ns > now ? client->due_ns - now : 0;
    }
    return wait;
}

static void publish(struct thread *thread, unsigned orders)
{
    pthread_mutex_lock(&thread->lock);
    thread->published = thread->count;
    thread->ready = thread->connected;
    thread->orders = orders;
    pthread_mutex_unlock(&thread->lock);
}

static void *run(void *argument)
{
    struct thread *thread = argument;
    struct crowd *crowd = thread->crowd;
    struct epoll_event events[EVENTS];
    unsigned orders = 0;

    for (;;) {
        struct timespec wait = {.tv_nsec = TURN_MS * 1000000};
        unsigned ordered = atomic_load(&crowd->orders);
        int n;

        if (ordered != orders) {
            orders = ordered;
            begin(thread, atomic_load(&crowd->phase));
        }
        open_some(thread);
        if (thread->phase == CROWD_PACES)
            wait.tv_nsec = (long)pace(thread);
        publish(thread, orders);
        n = epoll_pwait2(thread->epoll, events, EVENTS, &wait, NULL);
        for (int i = 0; i < n; i++)
            client_read(thread, events[i].data.ptr);
    }
    return NULL;
}

/* ---- the whole ---- */

static void *zeroed(size_t count, size_t size)
{
    void *memory = calloc(count, size);

    if (!memory) {
        fprintf(stderr, "load: no memory\n");
        exit(1);
    }
    return memory;
}

static void start_thread(struct crowd *crowd, unsigned number)
{
    struct thread *thread = &crowd->threads[number];

    thread->crowd = crowd;
    thread->job = &crowd->job;
    thread->number = number;
    thread->epoll = epoll_create1(EPOLL_CLOEXEC);
    thread->in = zeroed(1, REST_BYTES + READ_BYTES);
    pthread_mutex_init(&thread->lock, NULL);
    if (thread->epoll < 0 || pthread_create(&thread->id, NULL, run, thread) != 0) {
        fprintf(stderr, "load: cannot start a thread\n");
        exit(1);
    }
}

struct crowd *crowd_new(const struct crowd_job *job)
{
    struct crowd *crowd = zeroed(1, sizeof *crowd);
    unsigned slots = job->rooms ? client_rooms(job) : job->senders;

    crowd->job = *job;
    crowd->clients = zeroed(job->clients, sizeof *crowd->clients);
    crowd->threads = zeroed(job->threads, sizeof *crowd->threads);
    for (unsigned i = 0; i < job->clients; i++) {
        struct client *client = &crowd->clients[i];

        client->index = i;
        client->heard = zeroed(slots + 1, sizeof *client->heard);
        client->said = zeroed(client_speaks(job, client) ? slots + 1 : 1, sizeof *client->said);
    }
    for (unsigned i = 0; i < job->threads; i++)
        start_thread(crowd, i);
    return crowd;
}

void crowd_open(struct crowd *crowd, unsigned clients)
{
    unsigned ready;

    atomic_store(&crowd->target, clients);
    do {
        sleep_ms(1);
        ready = 0;
        for (unsigned i = 0; i < crowd->job.threads; i++) {
            pthread_mutex_lock(&crowd->threads[i].lock);
            ready += crowd->threads[i].ready;
            pthread_mutex_unlock(&crowd->threads[i].lock);
        }
    } while (ready < clients);
}

static bool have_seen(struct crowd *crowd, unsigned orders)
{
    bool is_seen = true;

    for (unsigned i = 0; i < crowd->job.threads; i++) {
        pthread_mutex_lock(&crowd->threads[i].lock);
        is_seen &= crowd->threads[i].orders == orders;
        pthread_mutex_unlock(&crowd->threads[i].lock);
    }
    return is_seen;
}

void crowd_play(struct crowd *crowd, enum crowd_phase phase)
{
    unsigned orders = atomic_load(&crowd->orders) + 1;

    atomic_store(&crowd->phase, phase);
    atomic_store(&crowd->orders, orders);
    while (!have_seen(crowd, orders))
        sleep_ms(1);
}

struct crowd_count crowd_count(struct crowd *crowd)
{
    struct crowd_count sum = {0};

    for (unsigned i = 0; i < crowd->job.threads; i++) {
        struct crowd_count *count = &crowd->threads[i].published;

        pthread_mutex_lock(&crowd->threads[i].lock);
        sum.sent += count->sent, sum.heard += count->heard;
        sum.asked += count->asked, sum.acked += count->acked;
        sum.late += count->late, sum.doubled += count->doubled;
        sum.skipped += count->skipped, sum.requests += count->requests;
        pthread_mutex_unlock(&crowd->threads[i].lock);
    }
    return sum;
}

bool crowd_drain(struct crowd *crowd, unsigned patience_ms)
{
    unsigned receivers = crowd->job.rooms ? ROOM_MEMBERS : crowd->job.clients;
    uint64_t came = 0, came_ns = now_ns();

    for (;;) {
        struct crowd_count count = crowd_count(crowd);

        if (count.heard - count.doubled >= count.sent * receivers && count.acked == count.asked)
            return true;
        if (count.heard + count.acked != came) {
            came = count.heard + count.acked;
            came_ns = now_ns();
        } else if (now_ns() - came_ns > (uint64_t)patience_ms * 1000000u) {
            return false;
        }
        sleep_ms(1);
    }
}

/* What of a sender's messages this client has not heard, at the end of each stream. */
static uint64_t missed(const struct crowd_job *job, const struct client *sender,
                       const struct client *client)
{
    uint64_t lost = 0;

    if (!job->rooms)
        return sender->said[0] - client->heard[sender->index].last;
    for (unsigned slot = 0; slot < client_rooms(job); slot++)
        lost += sender->said[slot] - client->heard[slot].last;
    return lost;
}

uint64_t crowd_lost(struct crowd *crowd)
{
    const struct crowd_job *job = &crowd->job;
    unsigned step = job->rooms ? job->clients / ROOM_MEMBERS : 1;
    uint64_t lost = crowd_count(crowd).skipped;

    for (unsigned i = 0; i < job->clients && client_speaks(job, &crowd->clients[i]); i++)
        for (unsigned j = i % step; j < job->clients; j += step)
            lost += missed(job, &crowd->clients[i], &crowd->clients[j]);
    return lost;
}

void crowd_take_latency(struct crowd *crowd, struct crowd_latency *latency)
{
    memset(latency, 0, sizeof *latency);
    for (unsigned i = 0; i < crowd->job.threads; i++) {
        struct crowd_latency *heard = &crowd->threads[i].latency;

        for (unsigned slot = 0; slot < LATENCY_SLOTS; slot++)
            latency->slots[slot] += heard->slots[slot];
        latency->count += heard->count;
        memset(heard, 0, sizeof *heard);
    }
}

static double slot_us(unsigned slot)
{
    unsigned shift = slot < 64 ? 0 : slot / 32 - 1;

    return (double)((uint64_t)(slot - 32 * shift) << shift);
}

double latency_ms(const struct crowd_latency *latency, double quantile)
{
    uint64_t rank = (uint64_t)(quantile * (double)latency->count), seen = 0;

    for (unsigned slot = 0; slot < LATENCY_SLOTS; slot++) {
        seen += latency->slots[slot];
        if (seen > rank)
            return slot_us(slot) / 1000;
    }
    return 0;
}
