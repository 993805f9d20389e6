#ifndef GATEWAY_WORKER_H
#define GATEWAY_WORKER_H

#include "gateway/batch.h"
#include "gateway/counters.h"
#include "gateway/expiry.h"
#include "gateway/mailbox.h"
#include "gateway/rooms.h"
#include "gateway/session.h"

#include <pthread.h>

/*
 * A worker: one thread with its own epoll, timers, mailbox, HTTP daemon, sessions and part of each
 * room. A turn: wait, read and dispatch, run timers, wake those it posted to, write, free what
 * ended.
 */
struct http;
struct gateway;

struct worker {
    unsigned index;
    pthread_t thread;
    struct gateway *gateway;
    struct snapshot *snapshot;
    struct revoked *revoked;
    struct issuers *issuers;
    struct snapshot *other; /* while the workers change: the one to come, then the one before */
    int epoll_fd;
    uint64_t now_ms;
    uint64_t woke_ns; /* when this turn began, for the counters */
    struct mailbox mailbox;
    struct watch mailbox_watch;
    uint64_t posted_to; /* workers that have to be woken before anything is written */
    struct http *http;
    struct rooms rooms;
    struct batch batch;
    struct session sessions[SESSION_STATES]; /* heads of the lists, one a state */
    size_t n_sessions;
    struct session *touched; /* to be written to when the turn ends, in this order */
    struct session **last_touched;
    struct session *ended; /* to be freed then */
    struct socket *left;   /* sockets to be freed then */
    struct timer_list greeting, ping, pong, silence, connect, upgrade, close, request, authenticate,
        grace;
    struct table online; /* users whose home this is: see presence.c */
    struct expiry_wheel expiry;
    struct table polled; /* sessions that poll, by their id: see polling.c */
    struct parcel *ping_parcel;
    struct outbox_pool outboxes;
    struct lease *free_leases;
    struct deflate *deflate;
    uint64_t queued;     /* deliveries since the last flush */
    struct event *event; /* the one being dispatched; too large for the stack of every call */
    struct json_value claim[RULES_CLAIMS], auth[RULES_AUTHS]; /* of the socket that acts now */
    bool is_stopping, is_done;
    _Atomic uint64_t turned_ms;         /* when it last took a turn, for the main thread to see */
    uint64_t stop_at_ms, stop_sessions; /* when stopping began, and how many there were */
    struct counters counters;
};

struct gateway {
    struct directory *directory;
    struct worker *worker;
    unsigned n_workers;
    int listen_fd;                /* the caller's; each worker duplicates it */
    _Atomic uint64_t connections; /* sessions of all workers */
    _Atomic uint64_t max_connections;
    _Atomic uint64_t descriptors; /* of clients */
    _Atomic uint64_t body_bytes;  /* of requests that are still arriving */
    uint64_t max_descriptors;
    _Atomic bool is_changing; /* to a new snapshot */
    _Atomic unsigned busy;    /* workers that still have something to finish when stopping */
};

/*
 * Make the workers; the caller has set n_workers, listen_fd and the two bounds.  Then start their
 * threads.  False: error, and the process can only end.  After gateway_stop each worker closes its
 * clients; gateway_join waits for that and frees everything.
 */
bool gateway_init(struct gateway *gateway, struct snapshot *snapshot, struct revoked *revoked,
                  struct issuers *issuers, struct error *error);
bool gateway_start(struct gateway *gateway, struct error *error);
/* Takes references of its own; returns when every worker acts by it. */
void gateway_adopt(struct gateway *gateway, struct snapshot *snapshot);
/* The same where it differs by its keys alone; returns at once. */
void gateway_change_keys(struct gateway *gateway, struct snapshot *snapshot);
void gateway_revoke(struct gateway *gateway,
                    struct revoked *revoked); /* the same references; ends whom it covers */
void gateway_know(struct gateway *gateway, struct issuers *issuers); /* the same references */
void gateway_stop(struct gateway *gateway);
bool gateway_is_turning(struct gateway *gateway); /* has each worker taken a turn of late? */
void gateway_join(struct gateway *gateway);

/*
 * One turn, in which nothing is waited for longer than `most_ms`; how many descriptors had
 * something.  Its thread takes one after the other; before it is started, somebody else may.
 */
int worker_turn(struct worker *worker, uint64_t most_ms);

/* Post to another worker; it is woken before this one writes to any client. */
void worker_post(struct worker *worker, unsigned to, struct mail *mail);

/* After a read, before what was read is dispatched: what others were told before must have happened
 * here. */
void worker_drain_mailbox(struct worker *worker);

/* Is some other worker's mailbox so full that no more may be read from clients for a moment? */
bool worker_is_pressed(const struct worker *worker);

/* Write to all clients with something waiting, when much is waiting already; never while a room is
 * walked. */
void worker_flush_if_much(struct worker *worker);

bool worker_watch(struct worker *worker, int fd, uint32_t events, struct watch *watch);
void worker_unwatch(struct worker *worker, int fd);
void worker_rewatch(struct worker *worker, int fd, uint32_t events, struct watch *watch);

#endif
