/* `authenticate`: the second step of those who connect first and show their token then. */
#include "gateway/twostep.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/memory.h"
#include "gateway/presence.h"
#include "gateway/program.h"
#include "gateway/worker.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define UNAUTHORIZED_ID 0 /* the only event of ours that asks for an answer, once a socket */

/* Of a socket with a deadline: to authenticate, or to take notice that it is refused. */
struct twostep {
    struct timer deadline;
    struct socket *socket;
    bool is_refused;
};

static void set_deadline(struct socket *socket)
{
    struct worker *worker = socket->session->worker;

    if (!socket->twostep) {
        socket->twostep = memory_zeroed(1, sizeof *socket->twostep);
        socket->twostep->socket = socket;
    }
    timer_arm(&worker->authenticate, &socket->twostep->deadline, worker->now_ms);
}

/* What the client waits for, when it does. */
static void answer(struct socket *socket, const uint64_t *id, const char *json)
{
    struct span piece = TEXT_SPAN(json);

    if (id)
        socket_answer(socket, *id, &(struct relay_message){&piece, 1, NULL, 0});
}

/* `message` and `data` are JSON. */
static void tell_unauthorized(struct socket *socket, const uint64_t *id, struct span message,
                              struct span data)
{
    static const uint64_t unauthorized = UNAUTHORIZED_ID;
    struct span piece[] = {TEXT_SPAN("[\"unauthorized\",{\"message\":"),
                           message,
                           TEXT_SPAN(",\"inner\":{\"message\":"),
                           message,
                           TEXT_SPAN("},\"data\":"),
                           data,
                           TEXT_SPAN("}]")};

    COUNT(socket->session->worker, refused_tokens);
    log_info("refused: %.*s", (int)message.length, message.at);
    answer(socket, id, "[{\"error\":\"unauthorized\"}]");
    socket_tell(socket, &unauthorized,
                &(struct relay_message){piece, sizeof piece / sizeof *piece, NULL, 0});
}

/* Tell it, and let it go when it has taken notice. */
static void refuse(struct socket *socket, const uint64_t *id, struct span message, struct span data)
{
    tell_unauthorized(socket, id, message, data);
    set_deadline(socket);
    socket->twostep->is_refused = true;
}

/* For a reason that is not the token's. */
static void refuse_because(struct socket *socket, const uint64_t *id, struct span message)
{
    char data[GATE_TEXT_MAX];
    int length = snprintf(data, sizeof data,
                          "{\"message\":%.*s,\"code\":\"denied\",\"type\":\"UnauthorizedError\"}",
                          (int)message.length, message.at);

    refuse(socket, id, message, (struct span){data, (uint32_t)length});
}

static void tell_authenticated(struct socket *socket, const uint64_t *id)
{
    struct span piece = TEXT_SPAN("[\"authenticated\"]");

    twostep_end(socket);
    socket_tell(socket, NULL, &(struct relay_message){&piece, 1, NULL, 0});
    answer(socket, id, "[]");
}

static void take(struct socket *socket, struct identity *fresh)
{
    identity_put(&socket->identity);
    socket->identity = identity_get(fresh);
    expiry_watch(socket);
}

/*
 * Who has authenticated goes on with a fresh token, if it is theirs.  It extends the connection:
 * whatever its client does in other namespaces by the same old token goes on by the fresh one too.
 */
static void renew(struct socket *socket, const uint64_t *id, struct identity *fresh)
{
    struct session *session = socket->session;
    struct identity *old = identity_get(socket->identity);

    if (!identity_is_same_user(old, fresh)) {
        refuse_because(socket, id, TEXT_SPAN("\"the token is another user's\""));
        goto done;
    }
    if (session->identity && identity_is_same_user(session->identity, fresh)) {
        identity_put(&session->identity); /* the handshake's is the one for further namespaces */
        session->identity = identity_get(fresh);
    }
    take(socket, fresh);
    for (struct socket *other = session->sockets; other; other = other->next)
        if (other->identity && identity_is_same_token(other->identity, old))
            take(other, fresh);
    tell_authenticated(socket, id);
done:
    identity_put(&old);
    identity_put(&fresh);
}

/* Somebody unknown has become a user. */
static void become(struct socket *socket, const uint64_t *id, struct identity *identity)
{
    struct span reason;

    socket->identity = identity;
    if (!socket_may_enter(socket, &reason)) {
        refuse_because(socket, id, reason);
        identity_put(&socket->identity);
        return;
    }
    tell_authenticated(socket, id);
    socket_authenticated(socket);
}

static void authenticate(struct socket *socket, const struct event *event, const uint64_t *id)
{
    const struct snapshot *snapshot = socket->session->worker->snapshot;
    const struct json_value *value = &event->argument[0];
    bool is_object = event->n_arguments > 0 && value->type == VALUE_OBJECT;
    char buffer[TOKEN_MAX_BYTES + 1], message[GATE_TEXT_MAX], data[GATE_TEXT_MAX];
    struct span token = gate_token(is_object ? value->text : TEXT_SPAN(""), buffer, sizeof buffer);
    struct identity *identity;
    gate_result result =
        gate_check(snapshot, socket->session->worker->revoked, socket->session->worker->issuers,
                   token, clock_wall_s(), &identity);

    sodium_memzero(buffer, sizeof buffer);
    if (result != TOKEN_OK) {
        gate_refusal(snapshot, result, message, data);
        if (result == GATE_UNAVAILABLE &&
            socket->identity) /* its old token does as long as it may */
            tell_unauthorized(socket, id, TEXT_SPAN(message), TEXT_SPAN(data));
        else
            refuse(socket, id, TEXT_SPAN(message), TEXT_SPAN(data));
    } else if (socket->identity) {
        renew(socket, id, identity);
    } else {
        become(socket, id, identity);
    }
}

void twostep_begin(struct socket *socket)
{
    set_deadline(socket);
}

bool twostep_event(struct socket *socket, const struct event *event, const uint64_t *id)
{
    bool takes_tokens = rules_namespace_authenticate(socket->space) != AUTHENTICATE_NONE;

    if (socket->twostep && socket->twostep->is_refused) /* whatever it says, it is on its way out */
        return true;
    if ((takes_tokens || !socket->is_admitted) && span_is(event->decoded_name, "authenticate")) {
        authenticate(socket, event, id);
        return true;
    }
    return !socket->is_admitted;
}

void twostep_acknowledged(struct socket *socket, uint64_t id)
{
    if (socket->twostep && socket->twostep->is_refused && id == UNAUTHORIZED_ID)
        socket_disconnect(socket);
}

void twostep_end(struct socket *socket)
{
    if (!socket->twostep)
        return;
    timer_disarm(&socket->twostep->deadline);
    free(socket->twostep);
    socket->twostep = NULL;
}

void twostep_overdue(struct timer *deadline)
{
    socket_disconnect(TABLE_ENTRY(deadline, struct twostep, deadline)->socket);
}
