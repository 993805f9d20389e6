/*
 * The workers' loop.  Its order is what makes the order of events: after each read the mailbox is
 * drained before what was read is dispatched, and whatever was posted to others is in their
 * mailboxes before any client is written to.  So what a client has been told happened has happened
 * everywhere.
 */
#include "gateway/worker.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/memory.h"
#include "gateway/http.h"
#include "gateway/polling.h"
#include "gateway/presence.h"
#include "gateway/relay.h"
#include "gateway/socket.h"
#include "gateway/twostep.h"
#include "gateway/websocket.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define EVENTS_A_TURN 256
#define PRESSURE_MARK 4096  /* letters in a peer's mailbox above which clients are not read */
#define MUCH_QUEUED   16384 /* deliveries after which clients are written to before the turn ends */
#define MAX_WAIT_MS   500   /* so that the wall clock is looked at in time */
#define GREETING_MS                                                                                \
    5 /* Engine.IO 3's clients get the open packet in a read of its own, after the 101: there are  \
         some, also in its public test suite, that listen only once they have heard of that */
#define STUCK_MS 10000 /* without a turn for so long, a worker is not alive */

static void watch_mailbox(struct watch *watch, uint32_t events)
{
    struct worker *worker = TABLE_ENTRY(watch, struct worker, mailbox_watch);

    (void)events;
    mailbox_awake(&worker->mailbox);
    worker_drain_mailbox(worker);
}

static void wake_posted(struct worker *worker)
{
    for (; worker->posted_to; worker->posted_to &= worker->posted_to - 1)
        mailbox_wake(&worker->gateway->worker[__builtin_ctzll(worker->posted_to)].mailbox);
}

/* Flushing can end sessions, whose rules may touch others: until none is left. */
static void flush_touched(struct worker *worker)
{
    worker->queued = 0;
    batch_settle(worker);
    while (worker->touched) {
        struct session *session = worker->touched;

        wake_posted(worker);
        worker->touched = session->next_touched;
        if (!worker->touched)
            worker->last_touched = &worker->touched;
        session->is_touched = false;
        session_flush(session);
        if (!worker->touched)
            batch_settle(worker);
    }
    wake_posted(worker);
}

static void end_turn(struct worker *worker)
{
    log_flush(); /* what a client hears of stands in the log */
    flush_touched(worker);
    http_run_pending(worker->http);
    flush_touched(worker); /* what was opened just now */
    http_reap(worker->http);
    session_reap(worker);
    sockets_reap(worker);
    log_flush();
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Those due at `now_ms`, at 0 none; when the next one will be. */
static uint64_t run_timers(struct worker *worker, uint64_t now_ms)
{
    uint64_t next = timer_list_run(&worker->greeting, now_ms);

    next = earlier(next, timer_list_run(&worker->ping, now_ms));
    next = earlier(next, timer_list_run(&worker->pong, now_ms));
    next = earlier(next, timer_list_run(&worker->silence, now_ms));
    next = earlier(next, timer_list_run(&worker->connect, now_ms));
    next = earlier(next, timer_list_run(&worker->upgrade, now_ms));
    next = earlier(next, timer_list_run(&worker->close, now_ms));
    next = earlier(next, timer_list_run(&worker->authenticate, now_ms));
    next = earlier(next, timer_list_run(&worker->grace, now_ms));
    return earlier(next, timer_list_run(&worker->request, now_ms));
}

/* Close as many clients as are due by now, so that they do not all come back at once. */
static void close_some(struct worker *worker)
{
    uint64_t spread_ms = worker->snapshot->config->gateway_shutdown_spread;
    uint64_t elapsed_ms = worker->now_ms - worker->stop_at_ms, open = 0, may_be_open = 0;
    enum session_state state;

    for (state = 0; state < SESSION_CLOSING; state++)
        for (struct session *s = worker->sessions[state].next; s != &worker->sessions[state];
             s = s->next)
            open++;
    if (elapsed_ms < spread_ms)
        may_be_open = worker->stop_sessions - worker->stop_sessions * elapsed_ms / spread_ms;
    for (state = 0; state < SESSION_CLOSING; state++)
        for (; open > may_be_open && worker->sessions[state].next != &worker->sessions[state];
             open--)
            session_close(worker->sessions[state].next, CLOSE_SHUTDOWN);
}

/* A worker that has nothing left waits for the others, whose clients' requests it may still hear
 * of. */
static bool is_finished(struct worker *worker)
{
    if (!worker->is_stopping || worker->n_sessions > 0 || http_waiting(worker->http) > 0)
        return false;
    if (!worker->is_done)
        atomic_fetch_sub(&worker->gateway->busy, 1);
    worker->is_done = true;
    return atomic_load(&worker->gateway->busy) == 0;
}

static int wait_ms(const struct worker *worker, uint64_t next_ms, uint64_t most_ms)
{
    uint64_t now_ms = clock_monotonic_ms(); /* the turn has taken its time */
    uint64_t wait = next_ms > now_ms ? next_ms - now_ms : 0;

    wait = earlier(wait, http_timeout_ms(worker->http));
    wait = earlier(wait, most_ms);
    return (int)(worker->is_stopping ? earlier(wait, 50) : wait);
}

/* Until the others have caught up, only their letters are read. */
static void wait_for_peers(struct worker *worker)
{
    struct pollfd mailbox = {.fd = worker->mailbox.event_fd, .events = POLLIN};

    while (worker_is_pressed(worker)) {
        poll(&mailbox, 1, 1);
        worker->now_ms = clock_monotonic_ms();
        worker_drain_mailbox(worker);
        end_turn(worker);
    }
}

static void *run(void *argument)
{
    struct worker *worker = argument;

    worker->now_ms = clock_monotonic_ms();
    worker->woke_ns = clock_monotonic_ns();
    log_gather();
    while (!is_finished(worker))
        worker_turn(worker, MAX_WAIT_MS);
    end_turn(worker);
    http_stop(&worker->http);
    log_flush();
    return NULL;
}

static void stop_mail(struct mail *mail, void *receiver)
{
    struct worker *worker = receiver;

    free(mail);
    worker->is_stopping = true;
    worker->stop_at_ms = worker->now_ms;
    worker->stop_sessions = worker->n_sessions;
    http_quiesce(worker->http);
}

static void init_lists(struct worker *worker)
{
    for (int i = 0; i < SESSION_STATES; i++)
        worker->sessions[i].next = worker->sessions[i].previous = &worker->sessions[i];
    timer_list_init(&worker->greeting, session_greeting_due);
    timer_list_init(&worker->ping, session_ping_due);
    timer_list_init(&worker->pong, session_pong_missing);
    timer_list_init(&worker->silence, session_pong_missing);
    timer_list_init(&worker->connect, session_connect_missing);
    timer_list_init(&worker->upgrade, polling_upgrade_overdue);
    timer_list_init(&worker->close, session_close_overdue);
    timer_list_init(&worker->request, http_request_overdue);
    timer_list_init(&worker->authenticate, twostep_overdue);
    timer_list_init(&worker->grace, presence_overdue);
}

/* What a snapshot says that the worker keeps elsewhere. */
static void set_snapshot(struct worker *worker, struct snapshot *snapshot)
{
    const struct config *config = snapshot->config;

    worker->snapshot = snapshot;
    worker->greeting.length_ms = GREETING_MS;
    worker->ping.length_ms = config->gateway_ping_interval;
    worker->pong.length_ms = config->gateway_ping_timeout;
    worker->silence.length_ms = config->gateway_ping_interval + config->gateway_ping_timeout;
    worker->connect.length_ms = config->gateway_connect_timeout;
    worker->upgrade.length_ms = config->gateway_upgrade_timeout;
    worker->close.length_ms = config->gateway_close_timeout;
    worker->request.length_ms = config->gateway_request_timeout;
    worker->authenticate.length_ms = config->gateway_authenticate_timeout;
    worker->grace.length_ms = config->gateway_presence_grace;
}

static void for_each_session(struct worker *worker, void (*act)(struct session *session))
{
    for (enum session_state state = 0; state < SESSION_CLOSING; state++)
        for (struct session *s = worker->sessions[state].next; s != &worker->sessions[state];
             s = s->next)
            act(s);
}

static void evict(struct session *session)
{
    sockets_evict(session, session->worker->other->rules);
}

/* Before the first worker acts by new rules, all know of their sockets what those ask. */
static void prepare(struct worker *worker, struct snapshot *fresh)
{
    worker->other = snapshot_get(fresh);
    for_each_session(worker, sockets_reckon);
}

/*
 * Between two events: whoever was served by the old rules is served by the new ones from here on.
 * Those whose namespace is gone say their last words first, while the old rules are in force.
 */
static void adopt(struct worker *worker, struct snapshot *fresh)
{
    struct snapshot *old = worker->snapshot;

    (void)fresh; /* it is the other */
    for_each_session(worker, evict);
    set_snapshot(worker, worker->other);
    worker->other = old;
    for_each_session(worker, sockets_adopt);
}

/* No worker acts by the old rules any more. */
static void settle(struct worker *worker, struct snapshot *fresh)
{
    (void)fresh;
    sockets_reap(worker); /* what has left is of the old rules */
    snapshot_put(&worker->other);
    for_each_session(worker, sockets_reckon);
}

/* A new snapshot, step by step; all workers have done one before any begins the next. */
static void (*const steps[])(struct worker *worker, struct snapshot *fresh) = {prepare, adopt,
                                                                               settle};
#define STEPS (sizeof steps / sizeof *steps)

struct change {
    struct snapshot *snapshot;
    size_t step;
    _Atomic unsigned missing; /* workers that have not done it yet */
};

struct change_mail {
    struct mail mail;
    struct change *change;
};

static void post_to(struct worker *worker, struct mail *mail,
                    void (*deliver)(struct mail *, void *))
{
    mail->deliver = deliver;
    mailbox_post(&worker->mailbox, mail);
    mailbox_wake(&worker->mailbox);
}

static void change_mail(struct mail *mail, void *receiver);

static void post_change(struct gateway *gateway, struct change *change)
{
    atomic_store(&change->missing, gateway->n_workers);
    for (unsigned i = 0; i < gateway->n_workers; i++) {
        struct change_mail *letter = memory_new(sizeof *letter);

        letter->change = change;
        post_to(&gateway->worker[i], &letter->mail, change_mail);
    }
}

static void change_mail(struct mail *mail, void *receiver)
{
    struct change *change = ((struct change_mail *)(void *)mail)->change;
    struct worker *worker = receiver;

    free(mail);
    steps[change->step](worker, change->snapshot);
    if (atomic_fetch_sub(&change->missing, 1) > 1)
        return;
    if (++change->step < STEPS) {
        post_change(worker->gateway, change);
        return;
    }
    snapshot_put(&change->snapshot);
    free(change);
    atomic_store(&worker->gateway->is_changing, false);
}

struct keys_mail {
    struct mail mail;
    struct snapshot *snapshot;
};

static void keys_mail(struct mail *mail, void *receiver)
{
    struct keys_mail *letter = (struct keys_mail *)(void *)mail;
    struct worker *worker = receiver;

    snapshot_put(&worker->snapshot);
    worker->snapshot = letter->snapshot;
    free(letter);
}

struct revoked_mail {
    struct mail mail;
    struct revoked *revoked;
};

static bool has_revoked(const struct session *session, const struct revoked *revoked)
{
    if (session->identity && identity_is_revoked(session->identity, revoked))
        return true;
    for (const struct socket *socket = session->sockets; socket; socket = socket->next)
        if (socket->identity && identity_is_revoked(socket->identity, revoked))
            return true;
    return false;
}

static void revoke_mail(struct mail *mail, void *receiver)
{
    struct revoked_mail *letter = (struct revoked_mail *)(void *)mail;
    struct worker *worker = receiver;

    revoked_put(&worker->revoked);
    worker->revoked = letter->revoked;
    free(letter);
    for (enum session_state state = 0; state < SESSION_CLOSING; state++)
        for (struct session *s = worker->sessions[state].next, *next; s != &worker->sessions[state];
             s = next) {
            next = s->next;
            if (has_revoked(s, worker->revoked))
                session_close(s, CLOSE_REVOKED);
        }
}

struct issuers_mail {
    struct mail mail;
    struct issuers *issuers;
};

static void know_mail(struct mail *mail, void *receiver)
{
    struct issuers_mail *letter = (struct issuers_mail *)(void *)mail;
    struct worker *worker = receiver;

    issuers_put(&worker->issuers);
    worker->issuers = letter->issuers;
    free(letter);
}

static bool init(struct worker *worker, struct gateway *gateway, unsigned index,
                 struct snapshot *snapshot, struct revoked *revoked, struct issuers *issuers)
{
    static const struct span ping = {"2", 1};

    worker->index = index;
    worker->gateway = gateway;
    worker->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    worker->now_ms = clock_monotonic_ms();
    atomic_store(&worker->turned_ms, worker->now_ms);
    mailbox_init(&worker->mailbox);
    worker->mailbox_watch.ready = watch_mailbox;
    rooms_init(&worker->rooms);
    table_init(&worker->polled);
    expiry_init(&worker->expiry, clock_wall_s());
    table_init(&worker->online);
    init_lists(worker);
    set_snapshot(worker, snapshot_get(snapshot));
    worker->revoked = revoked_get(revoked);
    worker->issuers = issuers_get(issuers);
    worker->last_touched = &worker->touched;
    worker->ping_parcel = parcel_new(packet_new(ping, NULL, 0, NULL, 0));
    worker->event = memory_new(sizeof *worker->event);
    worker->deflate = deflate_new();
    if (!worker_watch(worker, worker->mailbox.event_fd, EPOLLIN, &worker->mailbox_watch))
        return false;
    worker->http = http_start(worker, gateway->listen_fd);
    return worker->http != NULL;
}

static void fini(struct worker *worker)
{
    parcel_put(&worker->ping_parcel);
    outbox_pool_fini(&worker->outboxes);
    websocket_free_leases(worker);
    deflate_free(&worker->deflate);
    presence_fini(worker);
    rooms_fini(&worker->rooms);
    table_fini(&worker->polled);
    mailbox_fini(&worker->mailbox);
    close(worker->epoll_fd);
    free(worker->event);
    if (worker->other)
        snapshot_put(&worker->other);
    snapshot_put(&worker->snapshot);
    revoked_put(&worker->revoked);
    issuers_put(&worker->issuers);
}

int worker_turn(struct worker *worker, uint64_t most_ms)
{
    struct epoll_event event[EVENTS_A_TURN];
    uint64_t next_ms;
    int n;

    run_timers(worker, worker->now_ms);
    expiry_run(worker);
    if (worker->is_stopping)
        close_some(worker);
    end_turn(worker);
    wait_for_peers(worker);
    next_ms = run_timers(worker, 0); /* those armed since, when the turn ended, are among them */
    counter_add(&worker->counters.turn_ns, clock_monotonic_ns() - worker->woke_ns);
    COUNT(worker, turns);
    n = epoll_wait(worker->epoll_fd, event, EVENTS_A_TURN, wait_ms(worker, next_ms, most_ms));
    worker->now_ms = clock_monotonic_ms();
    worker->woke_ns = clock_monotonic_ns();
    atomic_store_explicit(&worker->turned_ms, worker->now_ms, memory_order_relaxed);
    if (worker->now_ms >= next_ms) /* what is overdue happened before what arrives only now */
        run_timers(worker, worker->now_ms);
    for (int i = 0; i < n; i++) {
        struct watch *watch = event[i].data.ptr;

        watch->ready(watch, event[i].events);
    }
    return n;
}

bool worker_watch(struct worker *worker, int fd, uint32_t events, struct watch *watch)
{
    struct epoll_event event = {.events = events, .data.ptr = watch};

    if (epoll_ctl(worker->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0)
        return true;
    log_error("cannot watch a descriptor: %s", strerror(errno));
    return false;
}

void worker_unwatch(struct worker *worker, int fd)
{
    assert(epoll_ctl(worker->epoll_fd, EPOLL_CTL_DEL, fd, NULL) == 0);
}

void worker_rewatch(struct worker *worker, int fd, uint32_t events, struct watch *watch)
{
    struct epoll_event event = {.events = events, .data.ptr = watch};

    assert(epoll_ctl(worker->epoll_fd, EPOLL_CTL_MOD, fd, &event) == 0);
}

void worker_post(struct worker *worker, unsigned to, struct mail *mail)
{
    if (mailbox_post(&worker->gateway->worker[to].mailbox, mail))
        worker->posted_to |= UINT64_C(1) << to;
}

void worker_drain_mailbox(struct worker *worker)
{
    if (!mailbox_is_empty(&worker->mailbox))
        mailbox_drain(&worker->mailbox, worker);
}

bool worker_is_pressed(const struct worker *worker)
{
    const struct gateway *gateway = worker->gateway;

    for (unsigned i = 0; i < gateway->n_workers; i++)
        if (i != worker->index && mailbox_depth(&gateway->worker[i].mailbox) > PRESSURE_MARK)
            return true;
    return false;
}

void worker_flush_if_much(struct worker *worker)
{
    if (worker->queued > MUCH_QUEUED)
        flush_touched(worker);
}

bool gateway_init(struct gateway *gateway, struct snapshot *snapshot, struct revoked *revoked,
                  struct issuers *issuers, struct error *error)
{
    gateway->directory = directory_new();
    atomic_store(&gateway->busy, gateway->n_workers);
    gateway->worker = memory_zeroed(gateway->n_workers, sizeof *gateway->worker);
    for (unsigned i = 0; i < gateway->n_workers; i++)
        if (!init(&gateway->worker[i], gateway, i, snapshot, revoked, issuers))
            return error_set(error, "cannot start worker %u", i);
    return true;
}

bool gateway_start(struct gateway *gateway, struct error *error)
{
    for (unsigned i = 0; i < gateway->n_workers; i++) {
        int failed = pthread_create(&gateway->worker[i].thread, NULL, run, &gateway->worker[i]);

        if (failed)
            return error_set(error, "cannot start worker %u: %s", i, strerror(failed));
    }
    return true;
}

void gateway_adopt(struct gateway *gateway, struct snapshot *snapshot)
{
    struct change *change = memory_zeroed(1, sizeof *change);

    change->snapshot = snapshot_get(snapshot);
    atomic_store(&gateway->is_changing, true);
    post_change(gateway, change);
    while (atomic_load(&gateway->is_changing))
        usleep(1000);
}

void gateway_change_keys(struct gateway *gateway, struct snapshot *snapshot)
{
    for (unsigned i = 0; i < gateway->n_workers; i++) {
        struct keys_mail *letter = memory_new(sizeof *letter);

        letter->snapshot = snapshot_get(snapshot);
        post_to(&gateway->worker[i], &letter->mail, keys_mail);
    }
}

void gateway_revoke(struct gateway *gateway, struct revoked *revoked)
{
    for (unsigned i = 0; i < gateway->n_workers; i++) {
        struct revoked_mail *letter = memory_new(sizeof *letter);

        letter->revoked = revoked_get(revoked);
        post_to(&gateway->worker[i], &letter->mail, revoke_mail);
    }
}

void gateway_know(struct gateway *gateway, struct issuers *issuers)
{
    for (unsigned i = 0; i < gateway->n_workers; i++) {
        struct issuers_mail *letter = memory_new(sizeof *letter);

        letter->issuers = issuers_get(issuers);
        post_to(&gateway->worker[i], &letter->mail, know_mail);
    }
}

void gateway_stop(struct gateway *gateway)
{
    for (unsigned i = 0; i < gateway->n_workers; i++)
        post_to(&gateway->worker[i], memory_new(sizeof(struct mail)), stop_mail);
}

/* What was posted to workers that had ended already; it may be answered, to others that have. */
static void deliver_the_last(struct gateway *gateway)
{
    uint32_t n;

    do {
        n = 0;
        for (unsigned i = 0; i < gateway->n_workers; i++)
            n += mailbox_drain(&gateway->worker[i].mailbox, &gateway->worker[i]);
    } while (n > 0);
}

bool gateway_is_turning(struct gateway *gateway)
{
    uint64_t now_ms = clock_monotonic_ms();

    for (unsigned i = 0; i < gateway->n_workers; i++)
        if (atomic_load_explicit(&gateway->worker[i].turned_ms, memory_order_relaxed) + STUCK_MS <
            now_ms)
            return false;
    return true;
}

void gateway_join(struct gateway *gateway)
{
    for (unsigned i = 0; i < gateway->n_workers; i++)
        pthread_join(gateway->worker[i].thread, NULL);
    deliver_the_last(gateway);
    for (unsigned i = 0; i < gateway->n_workers; i++)
        fini(&gateway->worker[i]);
    free(gateway->worker);
    directory_free(&gateway->directory);
}
