/*
 * What is served.  The first request of a client is checked here, whether it polls or opens a
 * WebSocket: where its page comes from, its address, its token; the session's later requests go to
 * polling.c.
 */
#include "gateway/routes.h"

#include "common/clock.h"
#include "common/memory.h"
#include "common/log.h"
#include "gateway/http.h"
#include "gateway/metrics.h"
#include "gateway/origin.h"
#include "gateway/polling.h"
#include "gateway/sources.h"
#include "gateway/websocket.h"
#include "gateway/worker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

static const struct config *config_of(const struct request *request)
{
    return request_worker(request)->snapshot->config;
}

static bool is_method(const struct request *request, const char *method)
{
    return strcmp(request_method(request), method) == 0;
}

static void answer_json(struct request *request, unsigned status, const char *json)
{
    request_add_header(request, "Cache-Control", "no-store");
    request_answer(request, &(struct answer){.status = status,
                                             .type = "application/json",
                                             .body = memory_copy(json, strlen(json)),
                                             .bytes = strlen(json)});
}

static void refuse(struct request *request, enum engine_error error)
{
    struct answer answer;

    COUNT(request_worker(request), refused_requests);
    engine_refusal(error, &answer);
    request_answer(request, &answer);
}

static bool check_origin(struct request *request)
{
    if (origin_allow(request))
        return true;
    COUNT(request_worker(request), refused_origins);
    refuse(request, ENGINE_FORBIDDEN);
    return false;
}

static void answer_preflight(struct request *request)
{
    request_add_header(request, "Access-Control-Allow-Methods", "GET, POST, OPTIONS");
    request_add_header(request, "Access-Control-Allow-Headers", "Content-Type, Authorization");
    request_add_header(request, "Access-Control-Max-Age", "600");
    request_answer(request, &(struct answer){.status = 204});
}

/* Admission. */

/* One more connection, and one more of this address. */
static bool count_in(struct worker *worker, struct admission *admission)
{
    struct gateway *gateway = worker->gateway;
    struct net_address key;
    char name[1 + sizeof key.bytes] =
        "a"; /* unlike a room's key, which begins with its namespace's "/" */

    if (atomic_fetch_add(&gateway->connections, 1) >= gateway->max_connections) {
        COUNT(worker, refused_connections);
        goto refused;
    }
    net_address_limit_key(&admission->address, &key);
    memcpy(name + 1, key.bytes, key.length);
    admission->address_place = directory_enter(gateway->directory, name, 1 + (size_t)key.length,
                                               worker->snapshot->config->limits_per_address);
    if (admission->address_place)
        return true;
    COUNT(worker, refused_per_address);
refused:
    atomic_fetch_sub(&gateway->connections, 1);
    return false;
}

/* It comes to nothing. */
static void count_out(struct gateway *gateway, struct admission *admission)
{
    identity_put(&admission->identity);
    directory_leave(gateway->directory, admission->address_place);
    atomic_fetch_sub(&gateway->connections, 1);
}

/*
 * RFC 6750 §3, with what Socket.IO would have said as the body.  Whoever shows no token is refused
 * only where no namespace would have them.
 */
static bool refuse_token(struct request *request, gate_result result)
{
    const struct snapshot *snapshot = request_worker(request)->snapshot;
    char message[GATE_TEXT_MAX], data[GATE_TEXT_MAX];
    const char *challenge = "Bearer realm=\"sallyport\", error=\"invalid_token\"";

    if (!snapshot->refuses_requests || result == TOKEN_OK ||
        (gate_is_without_token(result) && !snapshot->demands_tokens))
        return false;
    COUNT(request_worker(request), refused_tokens);
    gate_refusal(snapshot, result, message, data);
    log_info("refused: %s", message);
    if (gate_is_without_token(result))
        challenge = "Bearer realm=\"sallyport\"";
    else if (result == GATE_BAD_FORMAT)
        challenge = "Bearer realm=\"sallyport\", error=\"invalid_request\"";
    if (result != GATE_UNAVAILABLE)
        request_add_header(request, "WWW-Authenticate", challenge);
    answer_json(request, result == GATE_UNAVAILABLE ? 503 : 401, data);
    return true;
}

static bool admit(struct request *request, struct admission *admission)
{
    struct worker *worker = request_worker(request);
    struct span token;

    request_address(request, &admission->address);
    if (!count_in(worker, admission)) {
        refuse(request, ENGINE_FORBIDDEN);
        return false;
    }
    admission->result = sources_token(request, &token);
    if (admission->result == TOKEN_OK)
        admission->result = gate_check(worker->snapshot, worker->revoked, worker->issuers, token,
                                       clock_wall_s(), &admission->identity);
    if (!refuse_token(request, admission->result))
        return true;
    count_out(worker->gateway, admission);
    return false;
}

/* A WebSocket on its way. */
struct opening {
    struct upgrade upgrade; /* first */
    struct worker *worker;
    struct admission admission; /* of a new session, */
    bool is_new;
    uint8_t sid[SESSION_ID_BYTES]; /* or of which one, */
    bool deflates;                 /* and what was agreed on for it */
};

static void opened(struct upgrade *upgrade, int fd, const void *first, size_t bytes)
{
    struct opening *opening = (struct opening *)(void *)upgrade;

    opening->admission.answer = upgrade->answer;
    if (opening->is_new)
        session_open(opening->worker, fd, &opening->admission, first, bytes);
    else
        polling_hand_over(opening->worker, opening->sid, fd, opening->deflates, first, bytes);
    free(opening);
}

static void undo(struct upgrade *upgrade)
{
    struct opening *opening = (struct opening *)(void *)upgrade;

    if (opening->is_new)
        count_out(opening->worker->gateway, &opening->admission);
    free(opening);
}

static struct opening *opening_new(struct worker *worker)
{
    struct opening *opening = memory_zeroed(1, sizeof *opening);

    opening->upgrade = (struct upgrade){.opened = opened, .undo = undo};
    opening->worker = worker;
    return opening;
}

/* permessage-deflate where it is served and offered; offers in a second header are not looked at.
 */
static bool take_extensions(struct request *request)
{
    const char *offers = request_header(request, "Sec-WebSocket-Extensions");

    return !offers || !config_of(request)->gateway_deflate ||
           deflate_accept(offers, &request_notes(request)->extensions);
}

/* RFC 6455 §4.2.1.  False: answered already. */
static bool is_websocket_request(struct request *request)
{
    const char *key = request_header(request, "Sec-WebSocket-Key");
    const char *version = request_header(request, "Sec-WebSocket-Version");

    if (!is_method(request, "GET") || request_has_body(request) ||
        !request_header_has(request, "Upgrade", "websocket") ||
        !request_header_has(request, "Connection", "upgrade") || !key ||
        !websocket_accept(key, request_notes(request)->accept) || !take_extensions(request)) {
        refuse(request, ENGINE_BAD_REQUEST);
        return false;
    }
    if (!version || strcmp(version, "13") != 0) {
        request_add_header(request, "Sec-WebSocket-Version", "13");
        answer_json(request, 426, "{\"code\":3,\"message\":\"Bad request\"}");
        return false;
    }
    return true;
}

static void upgrade(struct request *request, struct opening *opening)
{
    const struct request_notes *notes = request_notes(request);

    if (notes->extensions)
        request_add_header(request, "Sec-WebSocket-Extensions", notes->extensions);
    request_upgrade(request, notes->accept, &opening->upgrade);
}

/* Which Engine.IO is asked for, as bits of enum wire; -1: none that is served. */
static int wire_of(const struct request *request)
{
    const char *version = request_query(request, "EIO"), *base64 = request_query(request, "b64");
    int wire = base64 && *base64 ? WIRE_BASE64 : 0;

    if (version && strcmp(version, "4") == 0)
        return wire;
    if (version && strcmp(version, "3") == 0 && config_of(request)->gateway_eio3)
        return wire | WIRE_EIO3;
    return -1;
}

/* Engine.IO 3 shows the session's id to load balancers. */
static void add_cookie(struct request *request, const struct session *session)
{
    char sid[SESSION_ID_TEXT + 1], cookie[80];

    session_id_text(session->id, sid);
    snprintf(cookie, sizeof cookie, "io=%s; Path=/; HttpOnly; SameSite=Strict", sid);
    request_add_header(request, "Set-Cookie", cookie);
}

static void serve_polling_handshake(struct request *request, const struct admission *admission)
{
    struct answer answer;
    struct session *session = session_open_polling(request_worker(request), admission, &answer);

    if (session_is_eio3(session))
        add_cookie(request, session);
    request_add_header(request, "Cache-Control", "no-store");
    request_answer(request, &answer);
}

/* Engine.IO, "Handshake". */
static void serve_handshake(struct request *request, bool is_websocket)
{
    struct worker *worker = request_worker(request);
    int wire = wire_of(request);
    struct admission admission = {0};
    struct opening *opening;

    if (!is_method(request, "GET")) {
        refuse(request, ENGINE_BAD_METHOD);
        return;
    }
    if (wire < 0) {
        refuse(request, ENGINE_UNSUPPORTED_VERSION);
        return;
    }
    if ((is_websocket && !is_websocket_request(request)) || !admit(request, &admission))
        return;
    admission.wire = (uint8_t)wire;
    if (!is_websocket) {
        serve_polling_handshake(request, &admission);
        return;
    }
    admission.deflates = request_notes(request)->extensions != NULL;
    opening = opening_new(worker);
    opening->admission = admission;
    opening->is_new = true;
    opening->upgrade.takes_answer = true;
    upgrade(request, opening);
}

/* Requests of a session, which may be another worker's. */

static void get_lost(struct request *request)
{
    polling_inquire(request_worker(request), INQUIRY_GET_LOST, request_notes(request)->sid,
                    request_number(request), NULL, 0);
}

static bool parse_sid(const struct request *request, uint8_t sid[SESSION_ID_BYTES])
{
    const char *text = request_query(request, "sid");

    return text && strlen(text) == SESSION_ID_TEXT && session_id_parse(text, sid) &&
           sid[0] < request_worker(request)->gateway->n_workers;
}

static void serve_websocket(struct request *request)
{
    if (is_websocket_request(request))
        polling_inquire(request_worker(request), INQUIRY_UPGRADE, request_notes(request)->sid,
                        request_number(request), NULL, 0);
}

static bool is_octets(const struct request *request)
{
    const char *type = request_header(request, "Content-Type");

    return type && strcasecmp(type, "application/octet-stream") == 0;
}

static void serve_poll(struct request *request)
{
    const struct request_notes *notes = request_notes(request);
    uint64_t number = request_number(request);
    const char *body;
    size_t bytes;

    request_add_header(request, "Cache-Control", "no-store");
    if (is_method(request, "GET")) {
        polling_inquire(request_worker(request), INQUIRY_GET, notes->sid, number, NULL, 0);
    } else if (is_method(request, "POST")) {
        body = request_body(request, &bytes);
        request_notes(request)->is_post_announced = false;
        polling_inquire(request_worker(request),
                        is_octets(request) ? INQUIRY_POST_OCTETS : INQUIRY_POST, notes->sid, number,
                        bytes ? memory_copy(body, bytes) : NULL, bytes);
    } else {
        refuse(request, ENGINE_BAD_METHOD);
    }
}

static bool is_engine_path(const struct request *request)
{
    return strcmp(request_path(request), config_of(request)->gateway_path) == 0;
}

static void serve_engine(struct request *request)
{
    const char *transport = request_query(request, "transport");
    bool is_websocket = transport && strcmp(transport, "websocket") == 0;

    if (!transport || (!is_websocket && strcmp(transport, "polling") != 0) ||
        request_query(request, "j")) /* answers as scripts, for browsers of long ago */
        refuse(request, ENGINE_TRANSPORT_UNKNOWN);
    else if (!request_query(request, "sid"))
        serve_handshake(request, is_websocket);
    else if (!request_notes(request)->has_sid)
        refuse(request, ENGINE_SESSION_UNKNOWN);
    else if (is_websocket)
        serve_websocket(request);
    else
        serve_poll(request);
}

static void serve_client(struct request *request)
{
    const struct snapshot *snapshot = request_worker(request)->snapshot;

    request_add_header(request, "Cache-Control", "public, max-age=0");
    request_answer(request,
                   &(struct answer){.status = 200,
                                    .type = "application/javascript; charset=utf-8",
                                    .body = memory_copy(snapshot->client, snapshot->client_bytes),
                                    .bytes = snapshot->client_bytes});
}

static void serve_health(struct request *request)
{
    answer_json(request, 200, "{\"status\":\"ok\"}");
}

/* Whoever balances loads should send nobody here who would be refused. */
static void serve_readiness(struct request *request)
{
    struct gateway *gateway = request_worker(request)->gateway;
    bool is_full = atomic_load(&gateway->connections) >= atomic_load(&gateway->max_connections);

    answer_json(request, is_full ? 503 : 200,
                is_full ? "{\"status\":\"full\"}" : "{\"status\":\"ready\"}");
}

static void serve_metrics(struct request *request)
{
    struct answer answer = {.status = 200, .type = METRICS_TYPE};

    answer.body = metrics_text(request_worker(request), &answer.bytes);
    request_add_header(request, "Cache-Control", "no-store");
    request_answer(request, &answer);
}

/* What is read at this path; NULL: nothing. */
static void (*find_page(const struct request *request))(struct request *request)
{
    const struct snapshot *snapshot = request_worker(request)->snapshot;
    const char *path = request_path(request), *base = snapshot->config->gateway_path;

    if (strcmp(path, "/healthz") == 0)
        return serve_health;
    if (strcmp(path, "/readyz") == 0)
        return serve_readiness;
    if (snapshot->config->gateway_metrics && strcmp(path, "/metrics") == 0)
        return serve_metrics;
    if (snapshot->client && strncmp(path, base, strlen(base)) == 0 &&
        strcmp(path + strlen(base), "socket.io.js") == 0)
        return serve_client;
    return NULL;
}

static void serve_other(struct request *request)
{
    void (*serve)(struct request *) = find_page(request);

    if (!serve) {
        answer_json(request, 404, "{\"error\":\"not found\"}");
    } else if (!is_method(request, "GET") && !is_method(request, "HEAD")) {
        request_add_header(request, "Allow", "GET, HEAD");
        answer_json(request, 405, "{\"error\":\"method not allowed\"}");
    } else {
        serve(request);
    }
}

void routes_begin(struct request *request)
{
    struct request_notes *notes = request_notes(request);

    if (!is_engine_path(request))
        return;
    notes->has_sid = parse_sid(request, notes->sid);
    if (!notes->has_sid || !is_method(request, "POST"))
        return;
    notes->is_post_announced = true;
    request_keep_body(request);
    polling_inquire(request_worker(request), INQUIRY_POST_BEGUN, notes->sid,
                    request_number(request), NULL, 0);
}

void routes_serve(struct request *request)
{
    bool is_poll;

    if (request_worker(request)->is_stopping) {
        answer_json(request, 503, ENGINE_STOPPING);
        return;
    }
    if (!is_engine_path(request)) {
        serve_other(request);
        return;
    }
    if (!check_origin(request))
        return;
    if (is_method(request, "OPTIONS")) {
        answer_preflight(request);
        return;
    }
    serve_engine(request);
    if (request_is_answered(request))
        return;
    /* Only a poll can wait long: a POST or an upgrade is answered at once, by another worker. */
    is_poll = is_method(request, "GET") && !*request_notes(request)->accept;
    request_wait(request, is_poll ? get_lost : NULL);
}

void routes_upgrade(struct request *request)
{
    struct request_notes *notes = request_notes(request);
    struct opening *opening = opening_new(request_worker(request));

    memcpy(opening->sid, notes->sid, sizeof opening->sid);
    opening->deflates = notes->extensions != NULL;
    upgrade(request, opening);
}

void routes_end(struct request *request, bool is_awaited, bool has_gone_out)
{
    const struct request_notes *notes = request_notes(request);

    if (notes->is_post_announced)
        polling_inquire(request_worker(request), INQUIRY_POST_LOST, notes->sid,
                        request_number(request), NULL, 0);
    if (is_awaited)
        polling_inquire(request_worker(request),
                        has_gone_out ? INQUIRY_ANSWER_TAKEN : INQUIRY_ANSWER_LOST, notes->sid,
                        request_number(request), NULL, 0);
}
