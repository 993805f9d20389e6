/*
 * The porter: accepts, looks at what came, serves what is plain and for the gateway's path.
 *
 * A connection is accepted when its request has come, so most are a WebSocket before they would be
 * watched here.  Who stays is registered in the worker's epoll once, edge-triggered: an edge that
 * comes while a request is under way is remembered.
 * What is peeked at is taken out of the socket only when it is ours.  Answers are written when the
 * turn ends, as everything is.
 */
#include "gateway/porter.h"

#include "common/log.h"
#include "common/memory.h"
#include "gateway/http_request.h"
#include "gateway/packet.h"
#include "gateway/routes.h"
#include "gateway/worker.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define LOOK_BYTES     16384               /* a request that is longer is not plain */
#define HEAD_BYTES     (LOOK_BYTES + 2048) /* of an answer: what it repeats, and what is ours */
#define ACCEPTS_A_TURN 16                  /* so that several workers share a crowd */
#define LOOKS          32 /* so often that is not whole: nor is a request that comes in drops */
#define REST_MS        100
#define SILENT_S       1 /* who says nothing for so long is accepted all the same */
#define EDGES          (EPOLLIN | EPOLLRDHUP | EPOLLET)

struct porter {
    struct watch watch; /* of listen_fd; first */
    struct worker *worker;
    struct http *http;
    struct visitor *all, *due, *gone;
    int listen_fd;
    uint64_t rests_until_ms; /* 0: it accepts */
    time_t date_s;
    char date[32];
    char look[LOOK_BYTES], answer[HEAD_BYTES];
    struct head head; /* of the request that is being asked about */
};

/* A connection in the porter's charge. */
struct visitor {
    struct watch watch; /* first */
    struct connection tcp;
    struct porter *porter;
    struct visitor **link, *next; /* of all, or of those that are gone */
    struct visitor *next_due;
    struct request request;
    struct net_address peer;
    bool is_watched, is_due, has_more, has_shut, is_last;
    uint8_t looks; /* at the request at hand */
    char *unsent;  /* of the answer, when the socket does not take all of it */
    size_t unsent_bytes, sent;
};

static struct visitor *visitor_of(struct request *request)
{
    return TABLE_ENTRY(request, struct visitor, request);
}

static void become_due(struct visitor *visitor)
{
    if (visitor->is_due)
        return;
    visitor->is_due = true;
    visitor->next_due = visitor->porter->due;
    visitor->porter->due = visitor;
}

/* The porter's no more; freed when the turn ends, for an event of it may be at hand. */
static void let_go(struct visitor *visitor)
{
    struct porter *porter = visitor->porter;

    timer_disarm(&visitor->tcp.deadline);
    if (visitor->request.http)
        request_end(&visitor->request);
    free(visitor->unsent);
    visitor->tcp.fd = -1;
    *visitor->link = visitor->next;
    if (visitor->next)
        visitor->next->link = visitor->link;
    visitor->next = porter->gone;
    porter->gone = visitor;
    atomic_fetch_sub(&porter->worker->gateway->descriptors, 1);
}

static void end(struct visitor *visitor)
{
    close(visitor->tcp.fd);
    let_go(visitor);
}

/* Somebody else watches it. */
static int give_away(struct visitor *visitor)
{
    int fd = visitor->tcp.fd;

    if (visitor->is_watched)
        worker_unwatch(visitor->porter->worker, fd);
    let_go(visitor);
    return fd;
}

/* What has come before is told at once. */
static void watch(struct visitor *visitor)
{
    struct worker *worker = visitor->porter->worker;
    uint32_t events = EDGES | (visitor->unsent ? EPOLLOUT : 0);

    if (visitor->is_watched)
        worker_rewatch(worker, visitor->tcp.fd, events, &visitor->watch);
    else if (worker_watch(worker, visitor->tcp.fd, events, &visitor->watch))
        visitor->is_watched = true;
    else
        end(visitor);
}

static void give_to_library(struct visitor *visitor)
{
    struct timer deadline;

    timer_move(&visitor->tcp.deadline, &deadline);
    http_take(visitor->porter->http, give_away(visitor), &deadline);
    timer_disarm(&deadline); /* should it not have been taken */
}

/* Answering. */

static const char *date(struct porter *porter)
{
    time_t now_s = time(NULL);
    struct tm tm;

    if (now_s != porter->date_s)
        strftime(porter->date, sizeof porter->date, "%a, %d %b %Y %H:%M:%S GMT",
                 gmtime_r(&now_s, &tm));
    porter->date_s = now_s;
    return porter->date;
}

static void add(char **at, const char *text)
{
    *at = stpcpy(*at, text);
}

static void add_field(char **at, const char *name, const char *value)
{
    add(at, name);
    add(at, ": ");
    add(at, value);
    add(at, "\r\n");
}

/* RFC 9112 §4 and §5. */
static size_t write_head(struct visitor *visitor, char *head)
{
    const struct request *request = &visitor->request;
    const struct answer *answer = &request->answer;
    char *at =
        head + sprintf(head, "HTTP/1.1 %u %s\r\n", answer->status, http_reason(answer->status));

    add_field(&at, "Date", date(visitor->porter));
    if (request->upgrade)
        add_field(&at, "Connection", "Upgrade");
    else
        at += sprintf(at, "Content-Length: %zu\r\nX-Content-Type-Options: nosniff\r\n",
                      answer->bytes);
    if (answer->type)
        add_field(&at, "Content-Type", answer->type);
    if (visitor->is_last)
        add_field(&at, "Connection", "close");
    for (unsigned i = 0; i < request->n_headers; i++)
        add_field(&at, request->header[i].name, request->header[i].value);
    add(&at, "\r\n");
    return (size_t)(at - head);
}

/* The connection is open and no longer HTTP. */
static void become_upgraded(struct visitor *visitor, const char *head, size_t bytes)
{
    struct upgrade *upgrade = visitor->request.upgrade;

    if (upgrade->takes_answer) {
        upgrade->answer = packet_new_ready(head, bytes);
    } else if (send(visitor->tcp.fd, head, bytes, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)bytes) {
        end(visitor);
        return;
    }
    visitor->request.upgrade = NULL;
    upgrade->opened(upgrade, give_away(visitor), NULL, 0);
}

/* It has had its answer, and may ask again. */
static void answered(struct visitor *visitor)
{
    struct worker *worker = visitor->porter->worker;

    visitor->request.has_gone_out = true;
    if (visitor->is_last) {
        end(visitor);
        return;
    }
    request_end(&visitor->request);
    memset(&visitor->request, 0, sizeof visitor->request);
    timer_arm(&worker->request, &visitor->tcp.deadline, worker->now_ms);
    if (visitor->has_more)
        become_due(visitor);
    if (!visitor->is_watched)
        watch(visitor);
}

/* What the socket did not take.  Each progress gives it another while. */
static void send_unsent(struct visitor *visitor)
{
    struct worker *worker = visitor->porter->worker;
    ssize_t n = send(visitor->tcp.fd, visitor->unsent + visitor->sent,
                     visitor->unsent_bytes - visitor->sent, MSG_NOSIGNAL | MSG_DONTWAIT);

    if (n < 0 && errno == EAGAIN)
        return;
    if (n < 0) {
        end(visitor);
        return;
    }
    visitor->sent += (size_t)n;
    timer_arm(&worker->request, &visitor->tcp.deadline, worker->now_ms);
    if (visitor->sent < visitor->unsent_bytes)
        return;
    free(visitor->unsent);
    visitor->unsent = NULL;
    watch(visitor);
    answered(visitor);
}

static void keep_unsent(struct visitor *visitor, const struct iovec piece[2], size_t sent)
{
    struct worker *worker = visitor->porter->worker;
    struct answer *answer = &visitor->request.answer;
    size_t bytes = piece[0].iov_len + piece[1].iov_len;

    visitor->unsent = memory_new(bytes);
    memcpy(visitor->unsent, piece[0].iov_base, piece[0].iov_len);
    if (piece[1].iov_len)
        memcpy(visitor->unsent + piece[0].iov_len, piece[1].iov_base, piece[1].iov_len);
    free(answer->body);
    answer->body = NULL;
    visitor->unsent_bytes = bytes;
    visitor->sent = sent;
    timer_arm(&worker->request, &visitor->tcp.deadline, worker->now_ms);
    watch(visitor);
}

static void write_answer(struct visitor *visitor)
{
    struct answer *answer = &visitor->request.answer;
    char *head = visitor->porter->answer;
    struct iovec piece[2] = {{head, 0}, {answer->body, answer->bytes}};
    struct msghdr message = {.msg_iov = piece, .msg_iovlen = 2};
    ssize_t sent;

    piece[0].iov_len = write_head(visitor, head);
    if (visitor->request.upgrade) {
        become_upgraded(visitor, head, piece[0].iov_len);
        return;
    }
    sent = sendmsg(visitor->tcp.fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno != EAGAIN && errno != EINTR)
        end(visitor);
    else if (sent == (ssize_t)(piece[0].iov_len + piece[1].iov_len))
        answered(visitor);
    else
        keep_unsent(visitor, piece, sent < 0 ? 0 : (size_t)sent);
}

/* Asking. */

/* A cookie that counts as a token is for one who knows cookies. */
static bool is_ours(const struct visitor *visitor, const struct head *head)
{
    const struct config *config = visitor->porter->worker->snapshot->config;
    const char *path = config->gateway_path;

    return head->path_bytes == strlen(path) && memcmp(head->path, path, head->path_bytes) == 0 &&
           head->body_bytes <= config->limits_max_payload &&
           !(*config->gateway_token_cookie && head_value(head->header, head->n_headers, "Cookie"));
}

/* The head is here; of a POST the session is told now. */
static void begin(struct visitor *visitor)
{
    struct porter *porter = visitor->porter;
    struct request *request = &visitor->request;

    head_terminate(&porter->head);
    request_begin(request, porter->http);
    request->head = &porter->head;
    request->peer = &visitor->peer;
    request->method = porter->head.method;
    request->path = porter->head.path;
    request->has_body = porter->head.body_bytes > 0;
    visitor->is_last = porter->head.is_last;
    routes_begin(request);
}

static bool is_lost(const struct visitor *visitor)
{
    return visitor->has_shut && visitor->request.state == REQUEST_WAITING && visitor->request.lost;
}

static void lose(struct visitor *visitor)
{
    request_lose(&visitor->request);
    end(visitor);
}

/* All of it is here. */
static void ask(struct visitor *visitor)
{
    struct porter *porter = visitor->porter;
    struct request *request = &visitor->request;

    timer_disarm(&visitor->tcp.deadline);
    head_terminate(&porter->head);
    request->body = porter->look + porter->head.bytes;
    request->body_bytes = porter->head.body_bytes;
    worker_drain_mailbox(porter->worker);
    request_serve(request);
    request->head = NULL;
    request->body = NULL;
    if (is_lost(visitor))
        lose(visitor);
}

/* How many bytes the request at hand has in all; 0: it is not for us. */
static size_t measure(struct visitor *visitor, size_t bytes)
{
    struct head *head = &visitor->porter->head;
    enum head_kind kind = head_parse(visitor->porter->look, bytes, head);
    size_t whole = kind == HEAD_PLAIN ? head->bytes + head->body_bytes : bytes + 1;

    if (kind == HEAD_OTHER || (kind == HEAD_PLAIN && !is_ours(visitor, head)))
        return 0;
    return whole > LOOK_BYTES ? 0 : whole;
}

/* Look at what has come, and take it if it is a whole request of ours. */
static void look(struct visitor *visitor)
{
    struct porter *porter = visitor->porter;
    int fd = visitor->tcp.fd;
    ssize_t n = recv(fd, porter->look, LOOK_BYTES, MSG_PEEK | MSG_DONTWAIT);
    size_t whole;

    visitor->has_more = false;
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    whole = n > 0 ? measure(visitor, (size_t)n) : 0;
    if (n <= 0 || (whole > (size_t)n && visitor->has_shut)) {
        end(visitor);
        return;
    }
    if (whole == 0 || (whole > (size_t)n && ++visitor->looks == LOOKS)) {
        give_to_library(visitor);
        return;
    }
    if (!visitor->request.http && visitor->porter->head.bytes)
        begin(visitor);
    if (whole > (size_t)n)
        return;
    visitor->has_more = whole < (size_t)n || visitor->has_shut;
    visitor->looks = 0;
    if (recv(fd, porter->look, whole, MSG_DONTWAIT) == (ssize_t)whole)
        ask(visitor);
    else
        end(visitor);
}

static void ready(struct watch *watch, uint32_t events)
{
    struct visitor *visitor = (struct visitor *)(void *)watch;

    if (visitor->tcp.fd < 0)
        return;
    visitor->has_shut |= (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
    if (visitor->request.state == REQUEST_ARRIVING) {
        look(visitor);
        return;
    }
    visitor->has_more |= (events & ~(uint32_t)EPOLLOUT) != 0;
    if (is_lost(visitor))
        lose(visitor);
    else if (visitor->unsent && events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
        send_unsent(visitor);
}

/* Accepting. */

/*
 * No descriptor is left to accept with (EMFILE, ENFILE): the listener, which would be ready all the
 * while, is left alone for a moment; whoever waits to be accepted waits.
 */
static void rest(struct porter *porter)
{
    log_warning("no descriptor is left to accept connections with");
    porter->rests_until_ms = porter->worker->now_ms + REST_MS;
    worker_unwatch(porter->worker, porter->listen_fd);
}

static void end_rest(struct porter *porter)
{
    if (!porter->rests_until_ms || porter->rests_until_ms > porter->worker->now_ms)
        return;
    porter->rests_until_ms = 0;
    worker_watch(porter->worker, porter->listen_fd, EPOLLIN, &porter->watch);
}

/* Never so many that a descriptor could not be had for what is open already. */
static bool may_enter(struct worker *worker)
{
    if (atomic_load(&worker->gateway->descriptors) < worker->gateway->max_descriptors)
        return true;
    COUNT(worker, refused_descriptors);
    return false;
}

static void welcome(struct porter *porter, int fd, const struct sockaddr_storage *peer)
{
    struct worker *worker = porter->worker;
    struct visitor *visitor;

    if (!may_enter(worker)) {
        close(fd);
        return;
    }
    visitor = memory_zeroed(1, sizeof *visitor);
    visitor->watch.ready = ready;
    visitor->porter = porter;
    visitor->tcp.worker = worker;
    visitor->tcp.fd = fd;
    net_address_of((const struct sockaddr *)peer, &visitor->peer);
    visitor->link = &porter->all;
    visitor->next = porter->all;
    if (visitor->next)
        visitor->next->link = &visitor->next;
    porter->all = visitor;
    timer_arm(&worker->request, &visitor->tcp.deadline, worker->now_ms);
    atomic_fetch_add(&worker->gateway->descriptors, 1);
    look(visitor);
    if (visitor->tcp.fd >= 0 && visitor->request.state != REQUEST_ANSWERED)
        watch(visitor);
}

static void accept_some(struct watch *watch, uint32_t events)
{
    struct porter *porter = (struct porter *)(void *)watch;

    (void)events;
    for (int i = 0; i < ACCEPTS_A_TURN && !porter->rests_until_ms && porter->listen_fd >= 0; i++) {
        struct sockaddr_storage peer = {.ss_family = AF_UNSPEC};
        socklen_t length = sizeof peer;
        int fd = accept4(porter->listen_fd, (struct sockaddr *)&peer, &length,
                         SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd >= 0)
            welcome(porter, fd, &peer);
        else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
            rest(porter);
        else if (errno != ECONNABORTED && errno != EINTR)
            return;
    }
}

struct porter *porter_start(struct worker *worker, struct http *http, int listen_fd)
{
    struct porter *porter = memory_zeroed(1, sizeof *porter);
    int on = 1, silent_s = SILENT_S;

    porter->watch.ready = accept_some;
    porter->worker = worker;
    porter->http = http;
    porter->listen_fd = listen_fd;
    /* Linux: what is accepted inherits the first.  A Unix socket has neither. */
    (void)setsockopt(listen_fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    (void)setsockopt(listen_fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, &silent_s, sizeof silent_s);
    if (worker_watch(worker, listen_fd, EPOLLIN, &porter->watch))
        return porter;
    free(porter);
    return NULL;
}

void porter_quiesce(struct porter *porter)
{
    if (!porter->rests_until_ms)
        worker_unwatch(porter->worker, porter->listen_fd);
    porter->rests_until_ms = 0;
    close(porter->listen_fd);
    porter->listen_fd = -1;
}

static void forget_due(struct porter *porter)
{
    for (; porter->due; porter->due = porter->due->next_due)
        porter->due->is_due = false;
}

void porter_stop(struct porter **porter)
{
    while ((*porter)->all)
        end((*porter)->all);
    forget_due(*porter);
    porter_reap(*porter);
    free(*porter);
    *porter = NULL;
}

void porter_run(struct porter *porter)
{
    struct visitor *due = porter->due;

    end_rest(porter);
    porter->due = NULL;
    while (due) {
        struct visitor *visitor = due;

        due = visitor->next_due;
        visitor->is_due = false;
        if (visitor->tcp.fd < 0)
            continue;
        if (visitor->request.state == REQUEST_ANSWERED)
            write_answer(visitor);
        else if (visitor->request.state == REQUEST_ARRIVING)
            look(visitor);
    }
}

void porter_reap(struct porter *porter)
{
    struct visitor **link = &porter->gone, *visitor;

    while ((visitor = *link) != NULL) {
        if (visitor->is_due) {
            link = &visitor->next;
            continue;
        }
        *link = visitor->next;
        free(visitor);
    }
}

uint64_t porter_timeout_ms(const struct porter *porter)
{
    if (porter->due)
        return 0;
    return porter->rests_until_ms ? REST_MS : UINT64_MAX;
}

void porter_answered(struct request *request)
{
    become_due(visitor_of(request));
}
