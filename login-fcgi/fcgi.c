/*
 * FastCGI by libfcgi, with its accept replaced by ours: the only file that knows it.
 *
 * libfcgi reads with blocking reads, and what it reads may stall anywhere.  So every connection
 * waits in an epoll set until something arrives, which is when its request's time begins; then one
 * thread claims it, has libfcgi read, answers, and gives it back or closes it.  While a thread
 * waits for the peer the connection has a deadline, over the whole of what it waits for; whoever is
 * past it is shut down by fcgi_look_after, and the thread's read or write fails at once.
 *
 *     listener --accept--> waiting (epoll) --> ready --claimed--> read, answer, write --> closed
 *                             ^                                          |
 *                             +-------- kept by the web server ----------+
 *
 * Of the threads without a request one watches the epoll set, and the others wait for their turn to
 * do so or to take what is ready.
 *
 * libfcgi works on a duplicate of the descriptor: it may close that on errors, and the number of
 * ours still means this connection to whoever shuts it down.
 */
#include "login-fcgi/fcgi.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/memory.h"
#include "login-fcgi/answer.h"
#include "login-fcgi/request.h"
#include "login-fcgi/routes.h"
#include "login-fcgi/service.h"
#include "login-fcgi/stores.h"

#include <errno.h>
#include <fcgiapp.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#define NEVER UINT64_MAX

/* So long a connection has to have been silent before it has to make room for others. */
#define IDLE_MS 1000

/* When stopping: how long peers still have, and how long we look for a request that has just been
 * sent. */
#define STOP_GRACE_MS 1000
#define STOP_LOOK_MS  50

/* After so long without a request memory is given back: not so soon that who asks now and then
 * finds us slower, and by how much for whom. */
#define REST_MS 60000

#define EVENTS_AT_ONCE 64
#define SAY_EVERY_MS   60000

TAILQ_HEAD(connections, connection);

struct connection {
    int fd;
    _Atomic uint64_t deadline_ms; /* monotonic; by when the peer has to move */
    uint64_t since_ms;            /* when it came onto its list */
    uint64_t waited_ms;           /* the claimed, until it was */
    struct connections *list;     /* its state: waiting, ready or claimed */
    TAILQ_ENTRY(connection) link;
};

struct worker {
    struct fcgi *fcgi;
    struct stores stores;
    pthread_t thread;
    bool runs;
    FCGX_Request stream;
};

struct fcgi {
    int listener, events, stop; /* an epoll set; an eventfd, readable when stopping */
    pthread_mutex_t lock;       /* of what follows, up to the workers */
    pthread_cond_t turn;        /* something is ready, or nobody watches the set */
    struct connections waiting, ready, claimed; /* who came there first stands first */
    size_t n_connections, most_connections;
    bool accepts; /* the listener is heard; else there are so many, or no descriptors */
    bool is_watched, is_stopping, is_over;
    bool rests;        /* nothing was asked since memory was given back */
    uint64_t busy_ms;  /* when something was asked last */
    size_t late, idle; /* connections dropped, since that was said */
    uint64_t said_ms;
    struct recorder *recorder;
    struct stores stores; /* all workers' */
    size_t n_workers;
    struct worker workers[];
};

/* ---- the connections; all of this under the lock ---- */

static void connection_move(struct connection *connection, struct connections *list)
{
    if (connection->list)
        TAILQ_REMOVE(connection->list, connection, link);
    connection->list = list;
    connection->since_ms = clock_monotonic_ms();
    TAILQ_INSERT_TAIL(list, connection, link);
}

/* Whoever reads or writes there fails at once, and who waits there is claimed; then it is closed.
 */
static void connection_shut_down(struct connection *connection)
{
    atomic_store(&connection->deadline_ms, NEVER);
    shutdown(connection->fd, SHUT_RDWR);
}

/* The listener is heard once each time. */
static void hear_listener(struct fcgi *fcgi)
{
    struct epoll_event event = {EPOLLIN | EPOLLONESHOT, {.ptr = NULL}};

    fcgi->accepts = !fcgi->is_stopping && fcgi->n_connections < fcgi->most_connections &&
                    epoll_ctl(fcgi->events, EPOLL_CTL_MOD, fcgi->listener, &event) == 0;
}

static void connection_close(struct fcgi *fcgi, struct connection *connection)
{
    TAILQ_REMOVE(connection->list, connection, link);
    fcgi->n_connections--;
    close(connection->fd);
    free(connection);
    if (!fcgi->accepts)
        hear_listener(fcgi);
}

static void connection_wait(struct fcgi *fcgi, struct connection *connection, int operation)
{
    struct epoll_event event = {EPOLLIN | EPOLLONESHOT, {.ptr = connection}};

    connection_move(connection, &fcgi->waiting);
    if (epoll_ctl(fcgi->events, operation, connection->fd, &event))
        connection_close(fcgi, connection);
}

static void connection_new(struct fcgi *fcgi, int fd)
{
    struct connection *connection = memory_zeroed(1, sizeof *connection);
    struct service *service = service_get();
    const int on = 1;

    /* A long answer is more than one write.  A Unix socket has no such option and needs none. */
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    connection->fd = fd;
    atomic_init(&connection->deadline_ms, clock_monotonic_ms() + service->config->login_timeout);
    service_put(&service);
    fcgi->n_connections++;
    connection_wait(fcgi, connection, EPOLL_CTL_ADD);
}

/* Who finds no room waits in the listening socket.  A lack of descriptors or memory does not pass
 * by asking again: when a connection is closed, or the next time that somebody looks who is late.
 */
static void accept_all(struct fcgi *fcgi)
{
    fcgi->accepts = false;
    while (fcgi->n_connections < fcgi->most_connections) {
        int fd = accept4(fcgi->listener, NULL, NULL, SOCK_CLOEXEC);

        if (fd >= 0) {
            connection_new(fcgi, fd);
        } else if (errno == EAGAIN) {
            hear_listener(fcgi);
            return;
        } else if (errno != EINTR && errno != ECONNABORTED) {
            log_error("cannot accept a connection: %s", strerror(errno));
            return;
        }
    }
}

/* Take what has happened, or wait for it without the lock; one thread at a time. */
static int look(struct fcgi *fcgi, int wait_ms)
{
    struct epoll_event events[EVENTS_AT_ONCE];
    int n;

    fcgi->is_watched = true;
    pthread_mutex_unlock(&fcgi->lock);
    n = epoll_wait(fcgi->events, events, EVENTS_AT_ONCE, wait_ms);
    pthread_mutex_lock(&fcgi->lock);
    fcgi->is_watched = false;
    for (int i = 0; i < n; i++) {
        if (events[i].data.ptr == NULL)
            accept_all(fcgi);
        else if (events[i].data.ptr != fcgi) /* which is how `stop` is known */
            connection_move(events[i].data.ptr, &fcgi->ready);
    }
    return n;
}

/* ---- one request ---- */

/* What libfcgi hands out is wiped in its own buffer, which it would free as it is. */
static ssize_t stream_read(void *source, char *buffer, size_t size)
{
    FCGX_Stream *in = source;
    size_t there = (size_t)(in->stop - in->rdNext);
    int n = there == 0 ? 1 : (int)(size < there ? size : there);

    n = FCGX_GetStr(buffer, n, in);
    if (n > 0)
        sodium_memzero(in->rdNext - n, (size_t)n);
    return n > 0 ? n : FCGX_GetError(in) ? -1 : 0;
}

/*
 * One write for all of it: lighttpd closes as soon as it has what Content-Length says.  The stream
 * that is closed last says that the request has ended, and its buffer, which held the token, is
 * free from wrNext on.
 */
static void send_answer(FCGX_Request *stream, const struct answer *answer, bool with_body)
{
    const unsigned char *end = stream->out->stop;
    char head[ANSWER_HEAD_SIZE];

    FCGX_PutStr(head, (int)answer_head(answer, head), stream->out);
    if (with_body)
        FCGX_PutStr(answer->body, (int)answer->body_bytes, stream->out);
    FCGX_FClose(stream->err);
    FCGX_FClose(stream->out);
    sodium_memzero(stream->out->wrNext, (size_t)(end - stream->out->wrNext));
}

/* False: the peer failed. */
static bool serve_request(struct worker *worker, struct connection *connection,
                          const struct service *service)
{
    FCGX_Request *stream = &worker->stream;
    struct request request;
    struct answer answer;
    bool whole;

    request_init(&request, stream->envp);
    whole = request_read_body(&request, service->config->login_max_body, stream_read, stream->in);
    if (whole) {
        atomic_store(&connection->deadline_ms, NEVER); /* what takes time now is our own work */
        request.arrived_ms = clock_monotonic_ms() - connection->waited_ms;
        routes_answer(service, &worker->stores, &request, &answer);
        atomic_store(&connection->deadline_ms,
                     clock_monotonic_ms() + service->config->login_timeout);
        send_answer(stream, &answer, strcmp(request.method, "HEAD") != 0);
        answer_wipe(&answer);
    }
    request_fini(&request);
    return whole && FCGX_HasSeenEOF(stream->in);
}

/*
 * Read one request and answer it.  True: the web server keeps the connection for another.
 * keepConnection and FCGX_Detach say to libfcgi that closing is ours: it would hold the thread for
 * two seconds and more to see the peer close first.
 */
static bool serve(struct worker *worker, struct connection *connection)
{
    FCGX_Request *stream = &worker->stream;
    struct service *service = service_get();
    bool keep = false;

    atomic_store(&connection->deadline_ms, clock_monotonic_ms() + service->config->login_timeout);
    stream->ipcFd = fcntl(connection->fd, F_DUPFD_CLOEXEC, 3);
    stream->keepConnection = 1;
    FCGX_Detach(stream);
    if (FCGX_Accept_r(stream) == 0) {
        keep = stream->keepConnection;
        stream->keepConnection = 1;
        keep = serve_request(worker, connection, service) && keep;
        FCGX_Finish_r(stream);
        keep = keep && stream->ipcFd >= 0;
    }
    if (stream->ipcFd >= 0)
        close(stream->ipcFd);
    stream->ipcFd = -1;
    atomic_store(&connection->deadline_ms, NEVER);
    service_put(&service);
    return keep;
}

/* ---- the threads ---- */

/* The next connection with something to read, claimed; NULL: we stop, and there is none.  Nobody
 * may have looked while all were at work: hence once in passing, for the sake of since_ms. */
static struct connection *next(struct fcgi *fcgi)
{
    struct connection *connection;

    if (!fcgi->is_watched)
        look(fcgi, 0);
    while (!(connection = TAILQ_FIRST(&fcgi->ready)) && !fcgi->is_over) {
        if (fcgi->is_watched)
            pthread_cond_wait(&fcgi->turn, &fcgi->lock);
        else if (look(fcgi, fcgi->is_stopping ? STOP_LOOK_MS : -1) == 0 && fcgi->is_stopping)
            fcgi->is_over = TAILQ_EMPTY(&fcgi->ready);
    }
    if (connection) {
        fcgi->busy_ms = clock_monotonic_ms();
        fcgi->rests = false;
        connection->waited_ms = fcgi->busy_ms - connection->since_ms;
        connection_move(connection, &fcgi->claimed);
    }
    if (!fcgi->is_watched)
        pthread_cond_signal(&fcgi->turn);
    return connection;
}

static void *worker_run(void *context)
{
    struct worker *worker = context;
    struct fcgi *fcgi = worker->fcgi;
    struct connection *connection;

    pthread_mutex_lock(&fcgi->lock);
    while ((connection = next(fcgi))) {
        bool keep;

        pthread_mutex_unlock(&fcgi->lock);
        keep = serve(worker, connection);
        pthread_mutex_lock(&fcgi->lock);
        if (keep && !fcgi->is_stopping)
            connection_wait(fcgi, connection, EPOLL_CTL_MOD);
        else
            connection_close(fcgi, connection);
    }
    pthread_mutex_unlock(&fcgi->lock);
    return NULL;
}

static bool worker_start(struct worker *worker, const struct config *config, struct error *error)
{
    int failed;

    FCGX_InitRequest(&worker->stream, -1, FCGI_FAIL_ACCEPT_ON_INTR);
    if (!stores_borrow(&worker->stores, &worker->fcgi->stores, config, error))
        return false;
    failed = pthread_create(&worker->thread, NULL, worker_run, worker);
    if (failed)
        return error_set(error, "cannot start a thread: %s", strerror(failed));
    worker->runs = true;
    return true;
}

/* Drop who is late, and let no other's deadline be later than latest_ms. */
static size_t check_deadlines(struct connections *connections, uint64_t now_ms, uint64_t latest_ms)
{
    struct connection *each;
    size_t n_late = 0;

    TAILQ_FOREACH(each, connections, link)
    {
        uint64_t deadline_ms = atomic_load(&each->deadline_ms);

        if (deadline_ms <= now_ms) {
            connection_shut_down(each);
            n_late++;
        } else if (deadline_ms != NEVER && deadline_ms > latest_ms) {
            atomic_store(&each->deadline_ms, latest_ms);
        }
    }
    return n_late;
}

/* Where others find no room who is silent has to go. */
static size_t make_room(struct fcgi *fcgi, uint64_t now_ms)
{
    struct connection *each;
    size_t n = 0;

    if (fcgi->accepts || fcgi->is_stopping)
        return 0;
    TAILQ_FOREACH(each, &fcgi->waiting, link)
    {
        if (each->since_ms + IDLE_MS > now_ms)
            break;
        connection_shut_down(each);
        n++;
    }
    if (!n)
        hear_listener(fcgi);
    return n;
}

static void say_dropped(struct fcgi *fcgi, uint64_t now_ms)
{
    if (fcgi->late + fcgi->idle == 0 || (fcgi->said_ms && now_ms - fcgi->said_ms < SAY_EVERY_MS))
        return;
    log_warning("connections dropped: %zu past login.timeout, %zu silent ones to make room "
                "(login.connections)",
                fcgi->late, fcgi->idle);
    fcgi->late = fcgi->idle = 0;
    fcgi->said_ms = now_ms;
}

/* `latest_ms` is for whom a thread waits.  Who waits for a thread may have sent all long ago, and
 * we may not have looked. */
static void drop_late(struct fcgi *fcgi, uint64_t now_ms, uint64_t latest_ms)
{
    pthread_mutex_lock(&fcgi->lock);
    if (!fcgi->is_watched) {
        look(fcgi, 0);
        pthread_cond_signal(&fcgi->turn);
    }
    fcgi->late += check_deadlines(&fcgi->waiting, now_ms, NEVER);
    fcgi->late += check_deadlines(&fcgi->claimed, now_ms, latest_ms);
    fcgi->idle += make_room(fcgi, now_ms);
    say_dropped(fcgi, now_ms);
    pthread_mutex_unlock(&fcgi->lock);
}

static void rest(struct fcgi *fcgi, uint64_t now_ms)
{
    bool begins;

    pthread_mutex_lock(&fcgi->lock);
    begins = !fcgi->rests && TAILQ_EMPTY(&fcgi->claimed) && fcgi->busy_ms + REST_MS <= now_ms;
    fcgi->rests |= begins;
    pthread_mutex_unlock(&fcgi->lock);
    if (!begins)
        return;
    database_enter(fcgi->stores.database);
    database_give_back(fcgi->stores.database);
    database_leave(fcgi->stores.database);
    memory_give_back();
}

static bool start(struct fcgi *fcgi, const struct config *config, struct error *error)
{
    struct epoll_event listener = {EPOLLIN | EPOLLONESHOT, {.ptr = NULL}};
    struct epoll_event stop = {EPOLLIN | EPOLLONESHOT, {.ptr = fcgi}};

    /* It may already be set up by whoever made it; FCGX_Init leaves a SIGPIPE handler behind. */
    if (FCGX_Init() != 0 || signal(SIGPIPE, SIG_IGN) == SIG_ERR)
        return error_set(error, "cannot initialise libfcgi");
    if (fcgi->events < 0 || fcgi->stop < 0 ||
        epoll_ctl(fcgi->events, EPOLL_CTL_ADD, fcgi->stop, &stop) ||
        epoll_ctl(fcgi->events, EPOLL_CTL_ADD, fcgi->listener, &listener))
        return error_set(error, "cannot wait for connections: %s", strerror(errno));
    fcgi->accepts = true;
    fcgi->recorder = recorder_open(config, true, error);
    if (!fcgi->recorder || !stores_open(&fcgi->stores, config, fcgi->recorder, error) ||
        !stores_share(&fcgi->stores, error))
        return false;
    fcgi->rests = true;
    memory_give_back(); /* what only a start needs */
    for (size_t i = 0; i < fcgi->n_workers; i++)
        if (!worker_start(&fcgi->workers[i], config, error))
            return false;
    return true;
}

static void join(struct fcgi *fcgi, struct worker *worker)
{
    const struct timespec pause = {0, 10000000};

    while (worker->runs && pthread_tryjoin_np(worker->thread, NULL) == EBUSY) {
        uint64_t now_ms = clock_monotonic_ms();

        drop_late(fcgi, now_ms, now_ms + STOP_GRACE_MS);
        nanosleep(&pause, NULL);
    }
    stores_return(&worker->stores);
}

struct fcgi *fcgi_start(int listener, const struct config *config, struct error *error)
{
    size_t threads = config->login_threads;
    struct fcgi *fcgi = memory_zeroed(1, sizeof *fcgi + threads * sizeof *fcgi->workers);

    fcgi->listener = listener;
    fcgi->events = epoll_create1(EPOLL_CLOEXEC);
    fcgi->stop = eventfd(0, EFD_CLOEXEC);
    pthread_mutex_init(&fcgi->lock, NULL);
    pthread_cond_init(&fcgi->turn, NULL);
    TAILQ_INIT(&fcgi->waiting);
    TAILQ_INIT(&fcgi->ready);
    TAILQ_INIT(&fcgi->claimed);
    fcgi->most_connections = config->login_connections ? config->login_connections : SIZE_MAX;
    fcgi->n_workers = threads;
    for (size_t i = 0; i < threads; i++)
        fcgi->workers[i].fcgi = fcgi;
    if (!start(fcgi, config, error))
        fcgi_stop(&fcgi, false);
    return fcgi;
}

void fcgi_look_after(struct fcgi *fcgi)
{
    drop_late(fcgi, clock_monotonic_ms(), NEVER);
    rest(fcgi, clock_monotonic_ms());
}

void fcgi_stop(struct fcgi **stopped, bool accept_rest)
{
    struct fcgi *fcgi = *stopped;
    struct connection *connection;

    pthread_mutex_lock(&fcgi->lock);
    fcgi->is_stopping = true;
    epoll_ctl(fcgi->events, EPOLL_CTL_DEL, fcgi->listener, NULL);
    if (accept_rest)
        accept_all(fcgi);
    pthread_cond_broadcast(&fcgi->turn);
    pthread_mutex_unlock(&fcgi->lock);
    eventfd_write(fcgi->stop, 1);
    for (size_t i = 0; i < fcgi->n_workers; i++)
        join(fcgi, &fcgi->workers[i]);
    stores_close(&fcgi->stores);
    recorder_close(&fcgi->recorder);
    while ((connection = TAILQ_FIRST(&fcgi->waiting)))
        connection_close(fcgi, connection);
    pthread_mutex_destroy(&fcgi->lock);
    pthread_cond_destroy(&fcgi->turn);
    close(fcgi->events);
    close(fcgi->stop);
    free(fcgi);
    *stopped = NULL;
}
