#ifndef BENCH_CLIENT_H
#define BENCH_CLIENT_H

#include "tests/bench/crowd.h"

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

/*
 * One client, for crowd.c alone.  client.c speaks Socket.IO; below it is a transport, which turns
 * packets into bytes and back: frames.c (WebSocket) or polling.c.
 */
#define READ_BYTES 262144
#define REST_BYTES 8192 /* the longest frame or HTTP answer that may arrive in pieces */
#define OUT_BYTES  65536

enum client_step { ABSENT, HANDSHAKING, OPENING, CONNECTING, CONNECTED };

/* What has been heard of a stream. */
struct hearing {
    uint32_t last, skipped;
};

/* A connection, with what has arrived of a frame or an answer that is not whole yet. */
struct line {
    int fd; /* -1: none */
    struct client *client;
    uint32_t rest_bytes;
    char *rest;
};

struct client {
    uint32_t index;
    enum client_step step;
    struct line line;
    struct hearing *heard; /* by slot */
    uint32_t *said;        /* numbers, by slot, of a sender */
    uint32_t asked, acked;
    bool is_moving;        /* what it asked for last was "join" or "leave" */
    uint32_t joined, turn; /* rooms joined while connecting; whose turn it is */
    uint64_t due_ns;
    struct poller *poller; /* polling.c's */
};

struct thread {
    struct crowd *crowd;
    const struct crowd_job *job;
    pthread_t id;
    unsigned number;
    int epoll;
    unsigned opened, opening; /* clients that have begun; those not through with it */
    enum crowd_phase phase;
    struct crowd_count count; /* the thread's own, as the next two; published after a turn */
    struct crowd_latency latency;
    unsigned connected;
    pthread_mutex_t lock;
    struct crowd_count published;
    unsigned ready, orders; /* clients connected; orders seen */
    char *in;
    size_t out_bytes;
    char out[OUT_BYTES];
};

/* Rooms each client is in. */
unsigned client_rooms(const struct crowd_job *job);

/* Where a client keeps what it knows of a stream. */
unsigned client_slot(const struct crowd_job *job, uint64_t stream);

bool client_speaks(const struct crowd_job *job, const struct client *client);

void client_open(struct thread *thread, struct client *client);
void client_say_message(struct thread *thread, struct client *client);
void client_ask(struct thread *thread, struct client *client);

/* A packet without its transport's wrapping.  From the transport. */
void client_hear(struct thread *thread, struct client *client, const char *text, size_t bytes);

/* Send what was said, and hear what has come. */
void client_flush(struct thread *thread, struct client *client);
void client_read(struct thread *thread, struct line *line);

/* A connection from the client's own address, watched by the thread. */
void line_open(struct thread *thread, struct client *client, struct line *line);
void line_send(struct thread *thread, struct line *line);

_Noreturn void client_fail(const struct client *client, const char *what, const char *text,
                           size_t bytes);

/* The transports.  `take` takes one frame or answer from what has come: its bytes, or 0. */
void frames_open(struct thread *thread, struct client *client);
void frames_say(struct thread *thread, struct client *client, const char *text, size_t bytes);
size_t frames_take(struct thread *thread, struct client *client, const char *at, size_t bytes);

void polling_open(struct thread *thread, struct client *client);
void polling_say(struct thread *thread, struct client *client, const char *text, size_t bytes);
void polling_flush(struct thread *thread, struct client *client);
bool polling_may_end(struct line *line); /* it is then closed */
size_t polling_take(struct thread *thread, struct line *line, const char *at, size_t bytes);

#endif
