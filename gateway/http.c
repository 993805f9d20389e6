/*
 * HTTP by libmicrohttpd: what is asked for is answered here, or refused, or becomes a session.
 *
 * After an upgrade the descriptor is duplicated and libmicrohttpd's own closed at once: it then
 * frees all it held, and the connection lives on as ours (a test pins this).  It forgets that such
 * work is pending, so it is run again when the turn ends.
 */
#include "gateway/http.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/memory.h"
#include "gateway/websocket.h"
#include "gateway/worker.h"

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
#define FORWARDED_MAX 2048

struct http {
    struct watch watch; /* of libmicrohttpd's epoll descriptor */
    struct worker *worker;
    struct MHD_Daemon *daemon;
    int listen_fd;
    bool has_pending; /* an upgrade has been closed: see above */
};

/* A TCP connection, from accept to close or upgrade. */
struct connection {
    struct timer deadline; /* of the request it owes us */
    struct worker *worker;
    int fd;
};

/* One request on it. */
struct request {
    struct http *http;
    struct admission admission;
    bool is_admitted; /* the admission is still ours to undo */
    bool is_refused;
};

/* Engine.IO, "Error codes". */
enum engine_error {
    ENGINE_TRANSPORT_UNKNOWN = 0,
    ENGINE_SESSION_UNKNOWN = 1,
    ENGINE_BAD_METHOD = 2,
    ENGINE_BAD_REQUEST = 3,
    ENGINE_FORBIDDEN = 4,
    ENGINE_UNSUPPORTED_VERSION = 5
};
static const char *const engine_messages[] = {
    "Transport unknown", "Session ID unknown", "Bad handshake method",
    "Bad request",       "Forbidden",          "Unsupported protocol version"};

static enum MHD_Result respond(struct MHD_Connection *connection, unsigned status, const char *type,
                               struct MHD_Response *response)
{
    enum MHD_Result result;

    if (!response)
        return MHD_NO;
    MHD_add_response_header(response, "Content-Type", type);
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    result = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return result;
}

static struct MHD_Response *text_response(const char *text)
{
    struct MHD_Response *response = MHD_create_response_from_buffer(
        strlen(text), (void *)(uintptr_t)text, MHD_RESPMEM_MUST_COPY);

    if (response)
        MHD_add_response_header(response, "Cache-Control", "no-store");
    return response;
}

static enum MHD_Result answer(struct MHD_Connection *connection, unsigned status, const char *json)
{
    return respond(connection, status, "application/json", text_response(json));
}

/* A refusal that also ends the connection: what follows on it cannot be trusted to be a request. */
static enum MHD_Result refuse(struct request *request, struct MHD_Connection *connection,
                              unsigned status, const char *json)
{
    struct MHD_Response *response = text_response(json);

    request->is_refused = true;
    COUNT(request->http->worker, refused_requests);
    if (response)
        MHD_add_response_header(response, "Connection", "close");
    return respond(connection, status, "application/json", response);
}

static enum MHD_Result refuse_engine(struct request *request, struct MHD_Connection *connection,
                                     enum engine_error error)
{
    char json[96];

    snprintf(json, sizeof json, "{\"code\":%d,\"message\":\"%s\"}", (int)error,
             engine_messages[error]);
    return refuse(request, connection,
                  error == ENGINE_FORBIDDEN ? MHD_HTTP_FORBIDDEN : MHD_HTTP_BAD_REQUEST, json);
}

/* What can be wrong with a head that libmicrohttpd lets pass. */
struct head {
    unsigned hosts, lengths, codings;
    bool has_bad_byte, has_body;
};

static enum MHD_Result look_at_header(void *user, enum MHD_ValueKind kind, const char *name,
                                      size_t name_length, const char *value, size_t value_length)
{
    struct head *head = user;

    (void)kind, (void)name_length;
    for (size_t i = 0; i < value_length; i++)
        if (((unsigned char)value[i] < 0x20 && value[i] != '\t') || value[i] == 0x7f)
            head->has_bad_byte = true;
    if (strcasecmp(name, "Host") == 0)
        head->hosts++;
    if (strcasecmp(name, "Content-Length") == 0) {
        head->lengths++;
        head->has_body |= value_length > 0 && strspn(value, "0") != value_length;
    }
    if (strcasecmp(name, "Transfer-Encoding") == 0) {
        head->codings++;
        head->has_body = true;
        head->has_bad_byte |= strcasecmp(value, "chunked") != 0;
    }
    return MHD_YES;
}

/* RFC 9112 §3.2 and §6.1: one Host, one way to say how long the body is. */
static bool head_is_sound(struct MHD_Connection *connection, struct head *head)
{
    memset(head, 0, sizeof *head);
    MHD_get_connection_values_n(connection, MHD_HEADER_KIND, look_at_header, head);
    return head->hosts == 1 && head->lengths + head->codings <= 1 && !head->has_bad_byte;
}

static const char *header(struct MHD_Connection *connection, const char *name)
{
    return MHD_lookup_connection_value(connection, MHD_HEADER_KIND, name);
}

static const char *query(struct MHD_Connection *connection, const char *name)
{
    return MHD_lookup_connection_value(connection, MHD_GET_ARGUMENT_KIND, name);
}

/* Is `word` among the comma-separated ones of a header? */
static bool header_names(struct MHD_Connection *connection, const char *name, const char *word)
{
    const char *at = header(connection, name);
    size_t length = strlen(word);

    while (at && *at) {
        at += strspn(at, " \t,");
        if (strncasecmp(at, word, length) == 0 && strchr(" \t,", at[length]))
            return true;
        at += strcspn(at, ",");
    }
    return false;
}

/* All X-Forwarded-For headers as one; of too many the nearest hops. */
static enum MHD_Result collect_forwarded(void *user, enum MHD_ValueKind kind, const char *name,
                                         const char *value)
{
    char *forwarded = user;
    size_t length = strlen(forwarded), more = strlen(value);

    (void)kind;
    if (strcasecmp(name, "X-Forwarded-For") != 0 || more + 2 > FORWARDED_MAX)
        return MHD_YES;
    if (length + more + 2 > FORWARDED_MAX)
        length = 0;
    snprintf(forwarded + length, FORWARDED_MAX - length, "%s%s", length ? "," : "", value);
    return MHD_YES;
}

static void find_address(struct request *request, struct MHD_Connection *connection)
{
    const struct snapshot *snapshot = request->http->worker->snapshot;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    char forwarded[FORWARDED_MAX] = "";
    struct net_address peer = {.length = 0};

    if (info && info->client_addr)
        net_address_of(info->client_addr, &peer);
    MHD_get_connection_values(connection, MHD_HEADER_KIND, collect_forwarded, forwarded);
    net_client_address(&peer, forwarded[0] ? forwarded : NULL, snapshot->trusted,
                       snapshot->n_trusted, &request->admission.address);
}

/* One more connection, and one more of this address. */
static bool count_in(struct request *request)
{
    struct worker *worker = request->http->worker;
    struct gateway *gateway = worker->gateway;
    struct net_address key;

    if (atomic_fetch_add(&gateway->connections, 1) >= gateway->max_connections) {
        COUNT(worker, refused_connections);
        goto refused;
    }
    net_address_limit_key(&request->admission.address, &key);
    request->admission.address_place =
        directory_enter(gateway->directory, (const char *)key.bytes, key.length,
                        worker->snapshot->config->limits_per_address);
    if (request->admission.address_place)
        return true;
    COUNT(worker, refused_per_address);
refused:
    atomic_fetch_sub(&gateway->connections, 1);
    return false;
}

static void undo_admission(struct request *request)
{
    struct gateway *gateway = request->http->worker->gateway;

    identity_put(&request->admission.identity);
    directory_leave(gateway->directory, request->admission.address_place);
    atomic_fetch_sub(&gateway->connections, 1);
    request->is_admitted = false;
}

static void upgraded(void *user, struct MHD_Connection *connection, void *context,
                     const char *first, size_t bytes, MHD_socket fd,
                     struct MHD_UpgradeResponseHandle *handle)
{
    struct request *request = context;
    struct http *http = user;
    int one = 1, ours = fcntl(fd, F_DUPFD_CLOEXEC, 0);

    (void)connection;
    if (ours < 0) {
        log_error("cannot keep an upgraded connection: %s", strerror(errno));
    } else {
        setsockopt(ours, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        request->is_admitted = false;
        session_open(http->worker, ours, &request->admission, first, bytes);
    }
    MHD_upgrade_action(handle, MHD_UPGRADE_ACTION_CLOSE);
    http->has_pending = true;
}

static enum MHD_Result upgrade(struct request *request, struct MHD_Connection *connection,
                               const char *accept)
{
    struct MHD_Response *response = MHD_create_response_for_upgrade(upgraded, request->http);
    enum MHD_Result result;

    if (!response)
        return MHD_NO;
    MHD_add_response_header(response, "Upgrade", "websocket");
    MHD_add_response_header(response, "Sec-WebSocket-Accept", accept);
    result = MHD_queue_response(connection, MHD_HTTP_SWITCHING_PROTOCOLS, response);
    MHD_destroy_response(response);
    return result;
}

/* RFC 6455 §4.2.1, after the handshake has been found to be Engine.IO's. */
static enum MHD_Result open_websocket(struct request *request, struct MHD_Connection *connection,
                                      const struct head *head)
{
    const char *key = header(connection, "Sec-WebSocket-Key");
    const char *version = header(connection, "Sec-WebSocket-Version");
    const char *token = query(connection, "token");
    struct span text = {token, token ? (uint32_t)strlen(token) : 0};
    char accept[WEBSOCKET_ACCEPT_SIZE];

    if (head->has_body || !header_names(connection, "Upgrade", "websocket") ||
        !header_names(connection, "Connection", "upgrade") || !key ||
        !websocket_accept(key, accept))
        return refuse_engine(request, connection, ENGINE_BAD_REQUEST);
    if (!version || strcmp(version, "13") != 0) {
        struct MHD_Response *response = text_response("{\"code\":3,\"message\":\"Bad request\"}");

        if (response)
            MHD_add_response_header(response, "Sec-WebSocket-Version", "13");
        return respond(connection, MHD_HTTP_UPGRADE_REQUIRED, "application/json", response);
    }
    find_address(request, connection);
    if (!count_in(request))
        return refuse_engine(request, connection, ENGINE_FORBIDDEN);
    request->admission.result = gate_check(request->http->worker->snapshot, text, clock_wall_s(),
                                           &request->admission.identity);
    request->is_admitted = true;
    return upgrade(request, connection, accept);
}

/* Engine.IO 4, "Handshake": WebSocket is the one transport so far. */
static enum MHD_Result serve_engine(struct request *request, struct MHD_Connection *connection,
                                    const char *method, const struct head *head)
{
    const char *version = query(connection, "EIO"), *transport = query(connection, "transport");

    if (!transport || strcmp(transport, "websocket") != 0)
        return refuse_engine(request, connection, ENGINE_TRANSPORT_UNKNOWN);
    if (query(connection, "sid"))
        return refuse_engine(request, connection, ENGINE_SESSION_UNKNOWN);
    if (strcmp(method, MHD_HTTP_METHOD_GET) != 0)
        return refuse_engine(request, connection, ENGINE_BAD_METHOD);
    if (!version || strcmp(version, "4") != 0)
        return refuse_engine(request, connection, ENGINE_UNSUPPORTED_VERSION);
    return open_websocket(request, connection, head);
}

static enum MHD_Result serve_client(struct request *request, struct MHD_Connection *connection)
{
    const struct snapshot *snapshot = request->http->worker->snapshot;
    struct MHD_Response *response = MHD_create_response_from_buffer(
        snapshot->client_bytes, snapshot->client, MHD_RESPMEM_MUST_COPY);

    if (response)
        MHD_add_response_header(response, "Cache-Control", "public, max-age=0");
    return respond(connection, MHD_HTTP_OK, "application/javascript; charset=utf-8", response);
}

static bool is_read(const char *method)
{
    return strcmp(method, MHD_HTTP_METHOD_GET) == 0 || strcmp(method, MHD_HTTP_METHOD_HEAD) == 0;
}

static enum MHD_Result route(struct request *request, struct MHD_Connection *connection,
                             const char *url, const char *method, const struct head *head)
{
    const struct snapshot *snapshot = request->http->worker->snapshot;
    const char *path = snapshot->config->gateway_path;

    if (strcmp(url, path) == 0)
        return serve_engine(request, connection, method, head);
    if (is_read(method) && strcmp(url, "/healthz") == 0)
        return answer(connection, MHD_HTTP_OK, "{\"status\":\"ok\"}");
    if (is_read(method) && snapshot->client && strncmp(url, path, strlen(path)) == 0 &&
        strcmp(url + strlen(path), "socket.io.js") == 0)
        return serve_client(request, connection);
    return answer(connection, MHD_HTTP_NOT_FOUND, "{\"error\":\"not found\"}");
}

static struct connection *connection_of(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

    return info ? info->socket_context : NULL;
}

/* libmicrohttpd calls once with the head, again with each part of the body, and once more at its
 * end. */
static enum MHD_Result handle(void *user, struct MHD_Connection *connection, const char *url,
                              const char *method, const char *version, const char *body,
                              size_t *body_bytes, void **context)
{
    struct request *request = *context;
    struct connection *tcp = connection_of(connection);
    struct head head;

    (void)body, (void)version;
    if (!request) {
        *context = request = memory_zeroed(1, sizeof *request);
        request->http = user;
        if (!head_is_sound(connection, &head))
            return refuse(request, connection, MHD_HTTP_BAD_REQUEST, "{\"error\":\"bad request\"}");
        return MHD_YES;
    }
    if (*body_bytes > 0) { /* no route takes one yet */
        *body_bytes = 0;
        return MHD_YES;
    }
    if (tcp)
        timer_disarm(&tcp->deadline);
    head_is_sound(connection, &head);
    return route(request, connection, url, method, &head);
}

static void request_completed(void *user, struct MHD_Connection *connection, void **context,
                              enum MHD_RequestTerminationCode how)
{
    struct request *request = *context;
    struct connection *tcp = connection_of(connection);
    struct http *http = user;

    (void)how;
    *context = NULL;
    if (!request)
        return;
    if (request->is_admitted)
        undo_admission(request);
    free(request);
    if (tcp)
        timer_arm(&http->worker->request, &tcp->deadline, http->worker->now_ms);
}

static void connection_changed(void *user, struct MHD_Connection *connection, void **context,
                               enum MHD_ConnectionNotificationCode what)
{
    struct http *http = user;
    struct connection *tcp = *context;

    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        *context = tcp = memory_zeroed(1, sizeof *tcp);
        tcp->worker = http->worker;
        tcp->fd =
            MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
        timer_arm(&http->worker->request, &tcp->deadline, http->worker->now_ms);
    } else if (tcp) {
        timer_disarm(&tcp->deadline);
        free(tcp);
        *context = NULL;
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

struct http *http_start(struct worker *worker, int listen_fd, unsigned max_connections)
{
    struct http *http = memory_zeroed(1, sizeof *http);
    const union MHD_DaemonInfo *info;
    uint64_t timeout_s = (worker->snapshot->config->gateway_request_timeout + 999) / 1000;

    http->worker = worker;
    http->watch.ready = ready;
    http->listen_fd = fcntl(listen_fd, F_DUPFD_CLOEXEC, 0);
    http->daemon = MHD_start_daemon(
        MHD_USE_EPOLL | MHD_ALLOW_UPGRADE | MHD_USE_ERROR_LOG, 0, NULL, NULL, handle, http,
        MHD_OPTION_EXTERNAL_LOGGER, log_library, NULL, MHD_OPTION_LISTEN_SOCKET, http->listen_fd,
        MHD_OPTION_CONNECTION_LIMIT, max_connections, MHD_OPTION_CONNECTION_TIMEOUT,
        (unsigned)timeout_s, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)POOL_BYTES,
        MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_NOTIFY_COMPLETED, request_completed, http,
        MHD_OPTION_NOTIFY_CONNECTION, connection_changed, http, MHD_OPTION_END);
    info = http->daemon ? MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_EPOLL_FD) : NULL;
    if (!info || !worker_watch(worker, info->epoll_fd, EPOLLIN, &http->watch)) {
        log_error("cannot start libmicrohttpd");
        return NULL;
    }
    return http;
}

void http_quiesce(struct http *http)
{
    MHD_quiesce_daemon(http->daemon);
    close(http->listen_fd);
    http->listen_fd = -1;
    http->has_pending = true;
}

void http_stop(struct http **http)
{
    MHD_stop_daemon((*http)->daemon);
    free(*http);
    *http = NULL;
}

void http_run_pending(struct http *http)
{
    while (http->has_pending) {
        http->has_pending = false;
        MHD_run(http->daemon);
        MHD_run(http->daemon);
    }
    if (http_timeout_ms(http) == 0)
        MHD_run(http->daemon);
}

uint64_t http_timeout_ms(const struct http *http)
{
    MHD_UNSIGNED_LONG_LONG timeout;

    if (http->has_pending)
        return 0;
    return MHD_get_timeout(http->daemon, &timeout) == MHD_YES ? timeout : UINT64_MAX;
}

void http_request_overdue(struct timer *deadline)
{
    struct connection *tcp = TABLE_ENTRY(deadline, struct connection, deadline);

    COUNT(tcp->worker, requests_timed_out);
    shutdown(tcp->fd, SHUT_RDWR);
}
