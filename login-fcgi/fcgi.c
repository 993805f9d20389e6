/*
 * FastCGI by libfcgi, with its accept replaced by ours: the only file that knows it.
 *
 * libfcgi reads with blocking reads, and what it reads may stall anywhere.  So every connection
 * waits in an epoll set until something arrives, then one thread claims it, has libfcgi read,
 * answers, and gives it back or closes it.  While a thread waits for the peer the connection has a
 * deadline, over the whole of what it waits for; whoever is past it is shut down by
 * fcgi_drop_late, and the thread's read or write fails at once.
 *
 *     listener ──accept──► waiting (epoll, one shot) ──claimed──► read ► answer ► write
 *                             ▲                                                    │
 *                             └─────────── kept by the web server ◄───────────────┘► closed
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
#include <poll.h>
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

/* Connections that may wait; one more, and that which has waited longest is dropped. */
#define WAITING_MAX 256

#define NEVER UINT64_MAX

/* When stopping: how long peers still have, and how long we look for a request that has just been
 * sent. */
#define STOP_GRACE_MS 1000
#define STOP_LOOK_MS  50

/* On the list `waiting` when in the epoll set, on `claimed` when a thread has it. */
struct connection {
    int fd;
    _Atomic uint64_t deadline_ms; /* monotonic; by when the peer has to move */
    TAILQ_ENTRY(connection) link;
};

TAILQ_HEAD(connections, connection);

struct worker {
    struct fcgi *fcgi;
    struct stores stores;
    pthread_t thread;
    bool runs;
    FCGX_Request stream;
};

struct fcgi {
    int listener, ready, stop;           /* an epoll set; an eventfd, readable when stopping */
    pthread_mutex_t lock;                /* of the lists */
    struct connections waiting, claimed; /* who has waited longest stands first */
    size_t n_waiting;
    struct recorder *recorder;
    size_t n_workers;
    struct worker workers[];
};

static bool is_stopping(const struct fcgi *fcgi)
{
    struct pollfd stop = {fcgi->stop, POLLIN, 0};

    return poll(&stop, 1, 0) > 0;
}

/* ---- the connections ---- */

/* Whoever reads or writes there fails at once, and who waits there is claimed; then it is closed.
 */
static void connection_shut_down(struct connection *connection)
{
    atomic_store(&connection->deadline_ms, NEVER);
    shutdown(connection->fd, SHUT_RDWR);
}

static void connection_claim(struct fcgi *fcgi, struct connection *connection)
{
    pthread_mutex_lock(&fcgi->lock);
    TAILQ_REMOVE(&fcgi->waiting, connection, link);
    fcgi->n_waiting--;
    TAILQ_INSERT_TAIL(&fcgi->claimed, connection, link);
    pthread_mutex_unlock(&fcgi->lock);
}

static void connection_close(struct fcgi *fcgi, struct connection *connection)
{
    pthread_mutex_lock(&fcgi->lock);
    TAILQ_REMOVE(&fcgi->claimed, connection, link);
    pthread_mutex_unlock(&fcgi->lock);
    close(connection->fd);
    free(connection);
}

static void connection_wait(struct fcgi *fcgi, struct connection *connection, int operation)
{
    struct epoll_event event = {EPOLLIN | EPOLLONESHOT, {.ptr = connection}};
    bool waits;

    pthread_mutex_lock(&fcgi->lock);
    waits = epoll_ctl(fcgi->ready, operation, connection->fd, &event) == 0;
    if (waits) {
        TAILQ_REMOVE(&fcgi->claimed, connection, link);
        TAILQ_INSERT_TAIL(&fcgi->waiting, connection, link);
        fcgi->n_waiting++;
    }
    pthread_mutex_unlock(&fcgi->lock);
    if (!waits)
        connection_close(fcgi, connection);
}

static void drop_longest_waiting(struct fcgi *fcgi)
{
    struct connection *first;

    pthread_mutex_lock(&fcgi->lock);
    if (fcgi->n_waiting > WAITING_MAX) {
        first = TAILQ_FIRST(&fcgi->waiting);
        connection_shut_down(first);
        TAILQ_REMOVE(&fcgi->waiting, first, link);
        TAILQ_INSERT_TAIL(&fcgi->waiting, first, link);
    }
    pthread_mutex_unlock(&fcgi->lock);
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
    pthread_mutex_lock(&fcgi->lock);
    TAILQ_INSERT_TAIL(&fcgi->claimed, connection, link);
    pthread_mutex_unlock(&fcgi->lock);
    connection_wait(fcgi, connection, EPOLL_CTL_ADD);
}

/* False: nobody is there. */
static bool accept_one(struct fcgi *fcgi)
{
    const struct timespec pause = {0, 100000000};
    int fd = accept4(fcgi->listener, NULL, NULL, SOCK_CLOEXEC);

    if (fd >= 0) {
        connection_new(fcgi, fd);
        drop_longest_waiting(fcgi);
        return true;
    }
    if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
        log_error("cannot accept a connection: %s", strerror(errno));
        nanosleep(&pause, NULL); /* a lack of descriptors or memory does not pass by spinning */
    }
    return false;
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
        keep = keep && stream->ipcFd >= 0 && !is_stopping(worker->fcgi);
    }
    if (stream->ipcFd >= 0)
        close(stream->ipcFd);
    stream->ipcFd = -1;
    atomic_store(&connection->deadline_ms, NEVER);
    service_put(&service);
    return keep;
}

/* ---- the threads ---- */

/* The next connection with something to read, claimed; NULL: we stop, and there is none. */
static struct connection *next(struct fcgi *fcgi)
{
    struct pollfd watched[] = {{fcgi->ready, POLLIN, 0}, {fcgi->stop, POLLIN, 0}};
    struct epoll_event event;

    for (;;) {
        int n = poll(watched, 2, -1);
        bool stopping = n > 0 && watched[1].revents != 0;

        n = epoll_wait(fcgi->ready, &event, 1, stopping ? STOP_LOOK_MS : 0);
        if (n == 1 && event.data.ptr) {
            connection_claim(fcgi, event.data.ptr);
            return event.data.ptr;
        }
        if (n == 1)
            accept_one(fcgi);
        else if (stopping)
            return NULL;
    }
}

static void *worker_run(void *context)
{
    struct worker *worker = context;
    struct connection *connection;

    while ((connection = next(worker->fcgi))) {
        if (serve(worker, connection))
            connection_wait(worker->fcgi, connection, EPOLL_CTL_MOD);
        else
            connection_close(worker->fcgi, connection);
    }
    return NULL;
}

static bool worker_start(struct worker *worker, const struct config *config, struct error *error)
{
    int failed;

    FCGX_InitRequest(&worker->stream, -1, FCGI_FAIL_ACCEPT_ON_INTR);
    if (!stores_open(&worker->stores, config, worker->fcgi->recorder, error))
        return false;
    failed = pthread_create(&worker->thread, NULL, worker_run, worker);
    if (failed)
        return error_set(error, "cannot start a thread: %s", strerror(failed));
    worker->runs = true;
    return true;
}

/* Drop who is late, and let no other's deadline be later than latest_ms. */
static void check_deadlines(struct connections *connections, uint64_t now_ms, uint64_t latest_ms)
{
    struct connection *each;

    TAILQ_FOREACH(each, connections, link)
    {
        uint64_t deadline_ms = atomic_load(&each->deadline_ms);

        if (deadline_ms <= now_ms)
            connection_shut_down(each);
        else if (deadline_ms != NEVER && deadline_ms > latest_ms)
            atomic_store(&each->deadline_ms, latest_ms);
    }
}

/* `latest_ms` is for whom a thread waits.  Who waits for a thread may have sent all long ago. */
static void drop_late(struct fcgi *fcgi, uint64_t now_ms, uint64_t latest_ms)
{
    pthread_mutex_lock(&fcgi->lock);
    check_deadlines(&fcgi->waiting, now_ms, NEVER);
    check_deadlines(&fcgi->claimed, now_ms, latest_ms);
    pthread_mutex_unlock(&fcgi->lock);
}

static bool start(struct fcgi *fcgi, const struct config *config, struct error *error)
{
    struct epoll_event event = {EPOLLIN, {.ptr = NULL}};

    /* It may already be set up by whoever made it; FCGX_Init leaves a SIGPIPE handler behind. */
    if (FCGX_Init() != 0 || signal(SIGPIPE, SIG_IGN) == SIG_ERR)
        return error_set(error, "cannot initialise libfcgi");
    if (fcgi->ready < 0 || fcgi->stop < 0 ||
        epoll_ctl(fcgi->ready, EPOLL_CTL_ADD, fcgi->listener, &event))
        return error_set(error, "cannot wait for connections: %s", strerror(errno));
    fcgi->recorder = recorder_open(config, true, error);
    if (!fcgi->recorder)
        return false;
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
    stores_close(&worker->stores);
}

struct fcgi *fcgi_start(int listener, const struct config *config, struct error *error)
{
    size_t threads = config->login_threads;
    struct fcgi *fcgi = memory_zeroed(1, sizeof *fcgi + threads * sizeof *fcgi->workers);

    fcgi->listener = listener;
    fcgi->ready = epoll_create1(EPOLL_CLOEXEC);
    fcgi->stop = eventfd(0, EFD_CLOEXEC);
    pthread_mutex_init(&fcgi->lock, NULL);
    TAILQ_INIT(&fcgi->waiting);
    TAILQ_INIT(&fcgi->claimed);
    fcgi->n_workers = threads;
    for (size_t i = 0; i < threads; i++)
        fcgi->workers[i].fcgi = fcgi;
    if (!start(fcgi, config, error))
        fcgi_stop(&fcgi, false);
    return fcgi;
}

void fcgi_drop_late(struct fcgi *fcgi)
{
    drop_late(fcgi, clock_monotonic_ms(), NEVER);
}

void fcgi_stop(struct fcgi **stopped, bool accept_rest)
{
    struct fcgi *fcgi = *stopped;
    struct connection *connection;

    while (accept_rest && accept_one(fcgi))
        ;
    epoll_ctl(fcgi->ready, EPOLL_CTL_DEL, fcgi->listener, NULL);
    eventfd_write(fcgi->stop, 1);
    for (size_t i = 0; i < fcgi->n_workers; i++)
        join(fcgi, &fcgi->workers[i]);
    recorder_close(&fcgi->recorder);
    while ((connection = TAILQ_FIRST(&fcgi->waiting))) {
        connection_claim(fcgi, connection);
        connection_close(fcgi, connection);
    }
    pthread_mutex_destroy(&fcgi->lock);
    close(fcgi->ready);
    close(fcgi->stop);
    free(fcgi);
    *stopped = NULL;
}
