#ifndef BENCH_CROWD_H
#define BENCH_CROWD_H

#include "tests/bench/token.h"

#include <stdbool.h>
#include <stdint.h>

/*
 * A crowd of Socket.IO 5 clients on Engine.IO 4, over WebSocket (RFC 6455) or long-polling, all
 * against one server on 127.0.0.1, spread over a few threads with an epoll each.  Every client
 * holds a token of its own and comes from one of many loopback addresses.  What the server has to
 * do:
 *
 *   CONNECT with {"token": …} in its payload   verify it, put the socket into the hall
 *   "msg" with a text                          relay it to everyone in the hall, its sender too
 *   "join", "leave" with a room's name         do so, and acknowledge it with nothing
 *   "say" with a room's name and a text        relay it as "msg" to everyone in the room
 *   "ping" with a number                       acknowledge it with that number
 *
 * The first `senders` clients are those who speak.  Each message bears the stream it belongs to (a
 * sender's to the hall, or a room's, which has one sender) and its number there; every client
 * checks that it hears each stream once and in order.  A protocol error ends the program.
 */
#define MESSAGE_BYTES 64
#define ROOM_MEMBERS  10

struct crowd_job {
    uint16_t port;
    unsigned threads, clients, senders;
    unsigned rooms;      /* 0: they speak to the hall; else to rooms of ROOM_MEMBERS */
    bool is_polling;     /* else WebSocket */
    unsigned window;     /* messages a sender has under way while it floods */
    unsigned per_second; /* messages a second, of all senders together, at a fixed rate */
    const struct signer *signer;
};

enum crowd_phase {
    CROWD_LISTENS, /* says nothing but pongs */
    CROWD_FLOODS,  /* each sender: the next message as soon as one of its own has come back */
    CROWD_PACES,   /* each sender: a message every so often, whatever comes back */
    CROWD_PINGS,   /* everyone: "ping", again as soon as it is acknowledged */
    CROWD_MOVES,   /* everyone: leaves a room, then joins it again, then the next */
};

struct crowd_count {
    uint64_t sent, heard;   /* messages said by senders; messages that arrived at clients */
    uint64_t asked, acked;  /* events that want an answer; those that have it */
    uint64_t late, doubled; /* heard after one that was said later; heard again */
    uint64_t skipped;       /* numbers passed over, and not heard (yet) */
    uint64_t requests;      /* HTTP requests answered */
};

/* Microseconds, up to an hour, to one part in 32. */
#define LATENCY_SLOTS 1024

struct crowd_latency {
    uint64_t slots[LATENCY_SLOTS];
    uint64_t count;
};

struct crowd;

/* `rooms` must be a multiple of clients / ROOM_MEMBERS, and that be whole. */
struct crowd *crowd_new(const struct crowd_job *job);

/* Connect the clients up to the number `clients`; returns when all are, and in their rooms. */
void crowd_open(struct crowd *crowd, unsigned clients);

/* From now on do this.  Returns when every thread does. */
void crowd_play(struct crowd *crowd, enum crowd_phase phase);

struct crowd_count crowd_count(struct crowd *crowd);

/*
 * After crowd_play(CROWD_LISTENS): wait until all that was said has been heard by all.  False:
 * for patience_ms nothing more has come.
 */
bool crowd_drain(struct crowd *crowd, unsigned patience_ms);

/* When drained: what is lost is what `skipped` counts, and what each client misses at the end. */
uint64_t crowd_lost(struct crowd *crowd);

/* When drained: from a message's send to its arrival, of all since the last call. */
void crowd_take_latency(struct crowd *crowd, struct crowd_latency *latency);
double latency_ms(const struct crowd_latency *latency, double quantile);

#endif
