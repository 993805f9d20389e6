/*
 * HTTP for routes.c, which knows what is served: by libmicrohttpd, where porter.c does not see to
 * it.
 *
 * A connection of libmicrohttpd's serves one request.  Where that ends, others may see elsewhere:
 * 0.9 takes a bare LF for the end of a chunk's line, and a line that begins with a colon for the
 * end of the head.  What follows is never taken for a request, so nothing can be smuggled past a
 * web server in front.
 *
 * After an upgrade the descriptor is duplicated and libmicrohttpd's own closed at once: it then
 * frees all it held, and the connection lives on as ours (a test pins this).  It forgets that such
 * work, or a resumed request, is pending, so it is run again when the turn ends.  That a client
 * with a waiting request has gone it does not see either: the descriptor is watched here meanwhile.
 */
#include "gateway/http.h"

#include "common/log.h"
#include "common/memory.h"
#include "gateway/http_request.h"
#include "gateway/porter.h"
#include "gateway/routes.h"
#include "gateway/worker.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define POOL_BYTES                                                                                 \
    (48 * 1024) /* for one request's head; above 32 KiB it is mapped, and unmapped after use */
#define DRAINED_MAX                                                                                \
    (16 << 20) /* of a body that is too long: who still sends when we close loses the answer */
#define ONE_THREAD                                                                                 \
    (1u << 19) /* MHD_USE_NO_THREAD_SAFETY, without which 1.0 takes connections only later; 0.9.75 \
                  has no name for it, takes them at once, and may be followed by 1.0 unasked */
#define FORWARDED_MAX 2048
#define STALLED_S                                                                                  \
    60 /* how long an answer may make no progress; requests have a deadline of their own */

struct http {
    struct watch watch; /* of libmicrohttpd's epoll descriptor */
    struct worker *worker;
    struct MHD_Daemon *daemon;
    struct table waiting;   /* requests by number */
    struct request *ended;  /* freed when the turn ends: an event of their watch may be at hand */
    struct request *asking; /* the one that routes.c is being asked about */
    uint64_t last_number;
    struct porter *porter;
    struct timer *deadline; /* of the connection that is being handed to libmicrohttpd */
    bool has_pending;       /* see above */
};

/* What can be wrong with a head that libmicrohttpd lets pass. */
struct doubts {
    unsigned hosts, lengths, codings;
    bool is_bad, has_body;
};

/* Also of a line that is folded, which 0.9 adds to the name of its header, at another place. */
static bool is_sound_name(const char *name, size_t length, const char *value)
{
    return head_is_token(name, length) && (uintptr_t)value > (uintptr_t)name;
}

static enum MHD_Result look_at_header(void *user, enum MHD_ValueKind kind, const char *name,
                                      size_t name_length, const char *value, size_t length)
{
    struct doubts *doubts = user;

    (void)kind;
    doubts->is_bad |= !is_sound_name(name, name_length, value);
    for (size_t i = 0; i < length; i++)
        if (((unsigned char)value[i] < 0x20 && value[i] != '\t') || value[i] == 0x7f)
            doubts->is_bad = true;
    if (strcasecmp(name, "Host") == 0) {
        doubts->hosts++;
        doubts->is_bad |= !head_is_host(value, length);
    }
    if (strcasecmp(name, "Content-Length") == 0) {
        doubts->lengths++;
        doubts->has_body |= length > 0 && strspn(value, "0") != length;
    }
    if (strcasecmp(name, "Transfer-Encoding") == 0) {
        doubts->codings++;
        doubts->has_body = true;
        doubts->is_bad |= strcasecmp(value, "chunked") != 0;
    }
    return MHD_YES;
}

/* Everyone after us takes an argument as a string: a NUL (%00) would hide what follows it. */
static enum MHD_Result look_at_argument(void *user, enum MHD_ValueKind kind, const char *name,
                                        size_t name_length, const char *value, size_t length)
{
    struct doubts *doubts = user;

    (void)kind;
    doubts->is_bad |= strlen(name) != name_length || (value && strlen(value) != length);
    return MHD_YES;
}

/* RFC 9112 §3.2.2: the target may be a whole URI.  False: of another host than Host says. */
static bool take_path(struct request *request)
{
    const char *authority = strstr(request->path, "://"), *host = request_header(request, "Host");
    size_t length;

    if (request->path[0] == '/' || !authority)
        return true;
    authority += 3;
    length = strcspn(authority, "/");
    request->path = authority + length;
    return host && strlen(host) == length && strncasecmp(host, authority, length) == 0;
}

/* RFC 9112 §3.2, §5 and §6.1: one Host, one way to say how long the body is. */
static bool head_is_sound(struct request *request)
{
    struct doubts doubts = {0};

    MHD_get_connection_values_n(request->connection, MHD_HEADER_KIND, look_at_header, &doubts);
    MHD_get_connection_values_n(request->connection, MHD_GET_ARGUMENT_KIND, look_at_argument,
                                &doubts);
    request->has_body = doubts.has_body;
    return doubts.hosts == 1 && doubts.lengths + doubts.codings <= 1 && !doubts.is_bad &&
           take_path(request);
}

/* All X-Forwarded-For headers as one; of too many the nearest hops. */
static enum MHD_Result collect_forwarded(void *user, enum MHD_ValueKind kind, const char *name,
                                         const char *value)
{
    char *forwarded = user;
    size_t length = strlen(forwarded), more = value ? strlen(value) : 0;

    (void)kind;
    if (strcasecmp(name, "X-Forwarded-For") != 0 || !value)
        return MHD_YES;
    if (more + 2 > FORWARDED_MAX) {
        value += more + 2 - FORWARDED_MAX;
        more = FORWARDED_MAX - 2;
    }
    if (length + more + 2 > FORWARDED_MAX)
        length = 0;
    snprintf(forwarded + length, FORWARDED_MAX - length, "%s%s", length ? "," : "", value);
    return MHD_YES;
}

static struct connection *connection_of(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

    return info ? info->socket_context : NULL;
}

static int connect_fd(struct MHD_Connection *connection)
{
    return MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
}

/* The connection is open and no longer HTTP. */
static void upgraded(void *user, struct MHD_Connection *connection, void *context,
                     const char *first, size_t bytes, MHD_socket fd,
                     struct MHD_UpgradeResponseHandle *handle)
{
    struct request *request = context;
    struct upgrade *upgrade = request->upgrade;
    struct http *http = user;
    int one = 1;

    (void)connection, (void)fd;
    request->upgrade = NULL;
    setsockopt(request->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    atomic_fetch_sub(&http->worker->gateway->descriptors, 1);
    upgrade->opened(upgrade, request->fd, first, bytes);
    MHD_upgrade_action(handle, MHD_UPGRADE_ACTION_CLOSE);
    http->has_pending = true;
}

/* Hand the answer to libmicrohttpd. */
static enum MHD_Result respond(struct request *request)
{
    struct answer *answer = &request->answer;
    struct MHD_Response *response;
    enum MHD_Result result;

    if (request->upgrade)
        response = MHD_create_response_for_upgrade(upgraded, request->http);
    else
        response = MHD_create_response_from_buffer(
            answer->bytes, answer->body ? answer->body : (void *)(uintptr_t) "",
            answer->body ? MHD_RESPMEM_MUST_FREE : MHD_RESPMEM_PERSISTENT);
    if (!response)
        return MHD_NO;
    answer->body = NULL;
    if (answer->type)
        MHD_add_response_header(response, "Content-Type", answer->type);
    if (!request->upgrade) {
        MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
        MHD_add_response_header(response, "Connection", "close");
    }
    for (unsigned i = 0; i < request->n_headers; i++)
        MHD_add_response_header(response, request->header[i].name, request->header[i].value);
    result = MHD_queue_response(request->connection, answer->status, response);
    MHD_destroy_response(response);
    return result;
}

static void stop_waiting(struct request *request)
{
    if (request->state != REQUEST_WAITING)
        return;
    request->state = REQUEST_ASKED;
    table_remove(&request->http->waiting, &request->link);
    if (!request->connection)
        return;
    if (request->lost)
        worker_unwatch(request->http->worker, request->fd);
    MHD_resume_connection(request->connection);
    request->http->has_pending = true;
}

void request_lose(struct request *request)
{
    stop_waiting(request);
    request->state = REQUEST_LOST;
    request->lost(request);
}

/* The client has closed, or sent more although it waits: either way nothing can be told it any
 * more. */
static void connection_gone(struct watch *watch, uint32_t events)
{
    struct request *request = (struct request *)(void *)watch;

    (void)events;
    if (request->state == REQUEST_WAITING) /* else it was answered earlier in this turn */
        request_lose(request);
}

static void refuse(struct request *request, unsigned status)
{
    COUNT(request->http->worker, refused_requests);
    request_answer(request, &(struct answer){.status = status});
}

/* Bodies of which the end is still to come are bounded together: anyone may begin one. */
static bool make_room(struct request *request, size_t bytes)
{
    struct worker *worker = request->http->worker;
    uint64_t limit = worker->snapshot->config->limits_body_bytes;
    size_t capacity = 2 * bytes, more = capacity - request->body_capacity;

    if (bytes <= request->body_capacity)
        return true;
    if (atomic_fetch_add(&worker->gateway->body_bytes, more) + more > limit && limit) {
        atomic_fetch_sub(&worker->gateway->body_bytes, more);
        COUNT(worker, refused_bodies);
        return false;
    }
    request->body_capacity = capacity;
    request->body = memory_resize(request->body, capacity, 1);
    return true;
}

/* False: it is far too long, or its sender does not stop. */
static bool take_body(struct request *request, const char *bytes, size_t n)
{
    uint64_t limit = request->http->worker->snapshot->config->limits_max_payload;
    size_t total = request->body_bytes + n;

    if (request->state != REQUEST_ANSWERED && total > limit)
        refuse(request, MHD_HTTP_CONTENT_TOO_LARGE);
    else if (request->state != REQUEST_ANSWERED && request->keeps_body &&
             !make_room(request, total))
        refuse(request, MHD_HTTP_SERVICE_UNAVAILABLE);
    if (request->state == REQUEST_ANSWERED) {
        request->body_bytes = total;
        return total <= DRAINED_MAX;
    }
    if (request->keeps_body)
        memcpy(request->body + request->body_bytes, bytes, n);
    request->body_bytes = total;
    return true;
}

/* The head is here: what cannot become a request of ours is refused before its body is read, or
 * when it was thrown away. */
static enum MHD_Result begin(struct request *request)
{
    const char *text = request_header(request, "Content-Length");
    unsigned long long length = text ? strtoull(text, NULL, 10) : 0;

    if (!head_is_sound(request))
        refuse(request, MHD_HTTP_BAD_REQUEST);
    else if (length > request->http->worker->snapshot->config->limits_max_payload)
        refuse(request, MHD_HTTP_CONTENT_TOO_LARGE);
    else
        routes_begin(request);
    if (request->state != REQUEST_ANSWERED ||
        (request->answer.status == MHD_HTTP_CONTENT_TOO_LARGE && length <= DRAINED_MAX))
        return MHD_YES;
    return respond(request);
}

void request_begin(struct request *request, struct http *http)
{
    request->http = http;
    request->link.hash = ++http->last_number;
}

void request_serve(struct request *request)
{
    request->state = REQUEST_ASKED;
    request->http->asking = request;
    routes_serve(request);
    request->http->asking = NULL;
}

/* Of libmicrohttpd's connections an upgrade keeps a second descriptor. */
static bool keep_descriptor(struct request *request)
{
    struct gateway *gateway = request->http->worker->gateway;

    if (!request->connection)
        return true;
    request->fd = -1;
    if (atomic_fetch_add(&gateway->descriptors, 1) < gateway->max_descriptors)
        request->fd = fcntl(connect_fd(request->connection), F_DUPFD_CLOEXEC, 0);
    if (request->fd < 0)
        atomic_fetch_sub(&gateway->descriptors, 1);
    return request->fd >= 0;
}

static void give_up_descriptor(struct request *request)
{
    if (!request->connection)
        return;
    close(request->fd);
    atomic_fetch_sub(&request->http->worker->gateway->descriptors, 1);
}

void request_end(struct request *request)
{
    assert(request->state != REQUEST_WAITING);
    routes_end(request, request->answer.is_awaited, request->has_gone_out);
    if (request->upgrade) {
        give_up_descriptor(request);
        request->upgrade->undo(request->upgrade);
    }
    for (unsigned i = 0; i < request->n_headers; i++)
        free(request->header[i].value);
    free(request->answer.body);
    request->state = REQUEST_LOST;
}

/* All of it is here. */
static enum MHD_Result finish(struct request *request)
{
    struct connection *tcp = connection_of(request->connection);

    if (tcp)
        timer_disarm(&tcp->deadline);
    if (request->state == REQUEST_ARRIVING)
        request_serve(request);
    if (request->state == REQUEST_ANSWERED)
        return respond(request);
    return request->state == REQUEST_WAITING ? MHD_YES : MHD_NO;
}

/* libmicrohttpd calls once with the head, again with each part of the body, and again at its end,
 * or when resumed. */
static enum MHD_Result handle(void *user, struct MHD_Connection *connection, const char *path,
                              const char *method, const char *version, const char *body,
                              size_t *body_bytes, void **context)
{
    struct request *request = *context;
    struct http *http = user;

    (void)version;
    if (!request) {
        *context = request = memory_zeroed(1, sizeof *request);
        request_begin(request, http);
        request->connection = connection;
        request->path = path;
        request->method = method;
        return begin(request);
    }
    if (*body_bytes == 0)
        return finish(request);
    if (!take_body(request, body, *body_bytes))
        return MHD_NO;
    *body_bytes = 0;
    return MHD_YES;
}

static void request_completed(void *user, struct MHD_Connection *connection, void **context,
                              enum MHD_RequestTerminationCode how)
{
    struct request *request = *context;
    struct http *http = user;

    (void)connection;
    *context = NULL;
    if (!request)
        return;
    request->has_gone_out = how == MHD_REQUEST_TERMINATED_COMPLETED_OK;
    request_end(request);
    free(request->body);
    atomic_fetch_sub(&http->worker->gateway->body_bytes, request->body_capacity);
    request->next_ended = http->ended;
    http->ended = request;
}

static void connection_changed(void *user, struct MHD_Connection *connection, void **context,
                               enum MHD_ConnectionNotificationCode what)
{
    struct http *http = user;
    struct connection *tcp = *context;

    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        *context = tcp = memory_zeroed(1, sizeof *tcp);
        tcp->worker = http->worker;
        tcp->fd = connect_fd(connection);
        assert(http->deadline);
        timer_move(http->deadline, &tcp->deadline);
        atomic_fetch_add(&http->worker->gateway->descriptors, 1);
    } else if (tcp) {
        timer_disarm(&tcp->deadline);
        free(tcp);
        *context = NULL;
        atomic_fetch_sub(&http->worker->gateway->descriptors, 1);
    }
}

static void log_library(void *user, const char *format, va_list arguments)
    __attribute__((format(printf, 2, 0)));

static void log_library(void *user, const char *format, va_list arguments)
{
    char text[512];

    (void)user;
    vsnprintf(text, sizeof text, format, arguments);
    log_debug("libmicrohttpd: %s", text);
}

static void ready(struct watch *watch, uint32_t events)
{
    struct http *http = (struct http *)(void *)watch;

    (void)events;
    MHD_run(http->daemon);
}

struct http *http_start(struct worker *worker, int listen_fd)
{
    struct http *http = memory_zeroed(1, sizeof *http);
    const union MHD_DaemonInfo *info;

    http->worker = worker;
    http->watch.ready = ready;
    table_init(&http->waiting);
    http->daemon = MHD_start_daemon(
        MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_ALLOW_UPGRADE | MHD_ALLOW_SUSPEND_RESUME |
            MHD_USE_ERROR_LOG | ONE_THREAD,
        0, NULL, NULL, handle, http, MHD_OPTION_EXTERNAL_LOGGER, log_library, http,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)worker->gateway->max_descriptors,
        MHD_OPTION_CONNECTION_TIMEOUT, STALLED_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)POOL_BYTES, MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_NOTIFY_COMPLETED,
        request_completed, http, MHD_OPTION_NOTIFY_CONNECTION, connection_changed, http,
        MHD_OPTION_END);
    info = http->daemon ? MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_EPOLL_FD) : NULL;
    if (!info || !worker_watch(worker, info->epoll_fd, EPOLLIN, &http->watch)) {
        log_error("cannot start libmicrohttpd");
        return NULL;
    }
    http->porter = porter_start(worker, http, fcntl(listen_fd, F_DUPFD_CLOEXEC, 0));
    return http->porter ? http : NULL;
}

void http_take(struct http *http, int fd, struct timer *deadline)
{
    struct sockaddr_storage peer = {.ss_family = AF_UNSPEC};
    socklen_t length = sizeof peer;

    http->deadline = deadline;
    (void)getpeername(fd, (struct sockaddr *)&peer, &length);
    (void)MHD_add_connection(http->daemon, fd, (struct sockaddr *)&peer, length);
    http->deadline = NULL;
}

void http_quiesce(struct http *http)
{
    porter_quiesce(http->porter);
}

static void reap(struct http *http)
{
    while (http->ended) {
        struct request *request = http->ended;

        http->ended = request->next_ended;
        free(request);
    }
}

void http_reap(struct http *http)
{
    reap(http);
    porter_reap(http->porter);
}

void http_stop(struct http **http)
{
    assert((*http)->waiting.used == 0);
    porter_stop(&(*http)->porter);
    MHD_stop_daemon((*http)->daemon);
    reap(*http);
    table_fini(&(*http)->waiting);
    free(*http);
    *http = NULL;
}

static uint64_t library_timeout_ms(const struct http *http)
{
    MHD_UNSIGNED_LONG_LONG timeout;

    if (http->has_pending)
        return 0;
    return MHD_get_timeout(http->daemon, &timeout) == MHD_YES ? timeout : UINT64_MAX;
}

void http_run_pending(struct http *http)
{
    porter_run(http->porter);
    while (http->has_pending) {
        http->has_pending = false;
        MHD_run(http->daemon);
        MHD_run(http->daemon);
    }
    if (library_timeout_ms(http) == 0)
        MHD_run(http->daemon);
}

uint64_t http_timeout_ms(const struct http *http)
{
    uint64_t library = library_timeout_ms(http), porter = porter_timeout_ms(http->porter);

    return library < porter ? library : porter;
}

size_t http_waiting(const struct http *http)
{
    return http->waiting.used;
}

void http_request_overdue(struct timer *deadline)
{
    struct connection *tcp = TABLE_ENTRY(deadline, struct connection, deadline);

    COUNT(tcp->worker, requests_timed_out);
    shutdown(tcp->fd, SHUT_RDWR);
}

struct worker *request_worker(const struct request *request)
{
    return request->http->worker;
}

const char *request_method(const struct request *request)
{
    return request->method;
}

const char *request_path(const struct request *request)
{
    return request->path;
}

const char *request_query(const struct request *request, const char *name)
{
    if (request->head)
        return head_value(request->head->argument, request->head->n_arguments, name);
    return MHD_lookup_connection_value(request->connection, MHD_GET_ARGUMENT_KIND, name);
}

const char *request_header(const struct request *request, const char *name)
{
    if (request->head)
        return head_value(request->head->header, request->head->n_headers, name);
    return MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, name);
}

/* MHD_lookup_connection_value would take another case for the same name. */
struct cookie_search {
    const char *name, *value;
};

static enum MHD_Result look_at_cookie(void *context, enum MHD_ValueKind kind, const char *name,
                                      const char *value)
{
    struct cookie_search *search = context;

    (void)kind;
    if (strcmp(name, search->name) != 0)
        return MHD_YES;
    search->value = value;
    return MHD_NO;
}

const char *request_cookie_value(const struct request *request, const char *name)
{
    struct cookie_search search = {name, NULL};

    if (request->head) /* the porter leaves those with cookies to libmicrohttpd when any is asked
                          for */
        return NULL;
    MHD_get_connection_values(request->connection, MHD_COOKIE_KIND, look_at_cookie, &search);
    return search.value;
}

bool request_header_has(const struct request *request, const char *name, const char *word)
{
    const char *at = request_header(request, name);
    size_t length = strlen(word);

    while (at && *at) {
        at += strspn(at, " \t,");
        if (strncasecmp(at, word, length) == 0 && strchr(" \t,", at[length]))
            return true;
        at += strcspn(at, ",");
    }
    return false;
}

bool request_has_body(const struct request *request)
{
    return request->has_body;
}

void request_keep_body(struct request *request)
{
    request->keeps_body = true;
}

const char *request_body(const struct request *request, size_t *bytes)
{
    *bytes = request->keeps_body ? request->body_bytes : 0;
    return request->body;
}

static void library_address(const struct request *request, struct net_address *peer)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);

    if (info && info->client_addr)
        net_address_of(info->client_addr, peer);
}

void request_address(const struct request *request, struct net_address *address)
{
    const struct snapshot *snapshot = request->http->worker->snapshot;
    char forwarded[FORWARDED_MAX] = "";
    struct net_address peer = {.length = 0};

    if (request->head) {
        peer = *request->peer;
        for (unsigned i = 0; i < request->head->n_headers; i++)
            collect_forwarded(forwarded, MHD_HEADER_KIND, request->head->header[i].name,
                              request->head->header[i].value);
    } else {
        library_address(request, &peer);
        MHD_get_connection_values(request->connection, MHD_HEADER_KIND, collect_forwarded,
                                  forwarded);
    }
    net_client_address(&peer, forwarded[0] ? forwarded : NULL, snapshot->trusted,
                       snapshot->n_trusted, address);
}

uint64_t request_number(const struct request *request)
{
    return request->link.hash;
}

struct request_notes *request_notes(struct request *request)
{
    return &request->notes;
}

void request_add_header(struct request *request, const char *name, const char *value)
{
    assert(request->n_headers < REQUEST_HEADERS);
    request->header[request->n_headers].name = name;
    request->header[request->n_headers++].value = memory_copy(value, strlen(value));
}

void request_answer(struct request *request, const struct answer *answer)
{
    stop_waiting(request);
    request->answer = *answer;
    request->state = REQUEST_ANSWERED;
    if (!request->connection)
        porter_answered(request);
}

bool request_is_answered(const struct request *request)
{
    return request->state == REQUEST_ANSWERED;
}

void http_answer(struct http *http, uint64_t number, const struct answer *answer)
{
    struct table_link *link = table_first(&http->waiting, number);
    struct request *request = link ? TABLE_ENTRY(link, struct request, link) : http->asking;

    if (!request || request->link.hash != number)
        free(answer->body);
    else if (answer->status == MHD_HTTP_SWITCHING_PROTOCOLS)
        routes_upgrade(request);
    else
        request_answer(request, answer);
}

/* The descriptor that lives on is had before the 101: after that nobody could be told that there is
 * none. */
void request_upgrade(struct request *request, const char *accept, struct upgrade *upgrade)
{
    stop_waiting(request);
    if (!keep_descriptor(request)) {
        COUNT(request->http->worker, refused_descriptors);
        upgrade->undo(upgrade);
        request_answer(request, &(struct answer){.status = MHD_HTTP_SERVICE_UNAVAILABLE});
        return;
    }
    request->upgrade = upgrade;
    request_add_header(request, "Upgrade", "websocket");
    request_add_header(request, "Sec-WebSocket-Accept", accept);
    request_answer(request, &(struct answer){.status = MHD_HTTP_SWITCHING_PROTOCOLS});
}

void request_wait(struct request *request, void (*lost)(struct request *request))
{
    struct worker *worker = request->http->worker;

    request->lost = lost;
    if (request->connection && lost) {
        request->fd = connect_fd(request->connection);
        request->watch.ready = connection_gone;
        if (!worker_watch(worker, request->fd, EPOLLRDHUP | EPOLLONESHOT, &request->watch)) {
            request_answer(request, &(struct answer){.status = MHD_HTTP_SERVICE_UNAVAILABLE});
            return;
        }
    }
    if (request->connection)
        MHD_suspend_connection(request->connection);
    table_add(&request->http->waiting, &request->link);
    request->state = REQUEST_WAITING;
}

const char *http_reason(unsigned status)
{
    return MHD_get_reason_phrase_for(status);
}
