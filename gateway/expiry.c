/* The end of tokens.  How a fresh one comes in time is twostep.c's business. */
#include "gateway/expiry.h"

#include "common/clock.h"
#include "gateway/socket.h"
#include "gateway/worker.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const struct config *config_of(const struct socket *socket)
{
    return socket->session->worker->snapshot->config;
}

static int64_t end_s(const struct socket *socket)
{
    return socket->identity->expires_s + (int64_t)(config_of(socket)->gateway_expiry_grace / 1000);
}

/* INT64_MAX: it is told already, or nobody is. */
static int64_t notice_s(const struct socket *socket)
{
    int64_t before_s = (int64_t)(config_of(socket)->gateway_expiry_notice / 1000);

    return before_s > 0 && !socket->is_warned ? socket->identity->expires_s - before_s : INT64_MAX;
}

static void link_at(struct expiry_wheel *wheel, struct expiry *entry, int64_t at_s)
{
    struct expiry *head;

    if (at_s <= wheel->looked_s) /* that second will not be looked at again */
        at_s = wheel->looked_s + 1;
    head = &wheel->second[(uint64_t)at_s % EXPIRY_SECONDS];
    entry->next = head;
    entry->previous = head->previous;
    entry->previous->next = entry;
    head->previous = entry;
}

static void watch(struct socket *socket)
{
    int64_t end = end_s(socket), notice = notice_s(socket);

    link_at(&socket->session->worker->expiry, &socket->expiry, notice < end ? notice : end);
}

static void tell(struct socket *socket, int64_t now_s)
{
    char text[64];
    int length = snprintf(text, sizeof text, "[\"token expiring\",%" PRId64 "]",
                          socket->identity->expires_s - now_s);
    struct span piece = {text, (uint32_t)length};

    socket->is_warned = true;
    socket_tell(socket, NULL, &(struct relay_message){&piece, 1, NULL, 0});
}

static void look_at(struct socket *socket, int64_t now_s)
{
    expiry_forget(socket);
    if (end_s(socket) <= now_s) {
        session_close(socket->session, CLOSE_EXPIRED);
        return;
    }
    if (notice_s(socket) <= now_s && now_s < socket->identity->expires_s)
        tell(socket, now_s);
    watch(socket); /* for its end, or for a later round of the wheel */
}

/* The list is taken away first: what is looked at goes back into the wheel, or takes others with
 * it. */
static void look_at_second(struct expiry_wheel *wheel, int64_t second, int64_t now_s)
{
    struct expiry *head = &wheel->second[(uint64_t)second % EXPIRY_SECONDS];
    struct expiry due = *head;

    if (head->next == head)
        return;
    due.previous->next = due.next->previous = &due;
    head->previous = head->next = head;
    while (due.next != &due)
        look_at(TABLE_ENTRY(due.next, struct socket, expiry), now_s);
}

void expiry_init(struct expiry_wheel *wheel, int64_t now_s)
{
    for (int i = 0; i < EXPIRY_SECONDS; i++)
        wheel->second[i].previous = wheel->second[i].next = &wheel->second[i];
    wheel->looked_s = now_s;
}

void expiry_watch(struct socket *socket)
{
    expiry_forget(socket);
    socket->is_warned = false;
    if (socket->identity && !socket->has_left)
        watch(socket);
}

void expiry_forget(struct socket *socket)
{
    struct expiry *entry = &socket->expiry;

    if (!entry->next)
        return;
    entry->previous->next = entry->next;
    entry->next->previous = entry->previous;
    entry->previous = entry->next = NULL;
}

void expiry_run(struct worker *worker)
{
    struct expiry_wheel *wheel = &worker->expiry;
    int64_t now_s = clock_wall_s(), from_s = wheel->looked_s;

    if (now_s == from_s)
        return;
    wheel->looked_s = now_s;
    if (now_s < from_s)
        return;
    if (now_s - from_s > EXPIRY_SECONDS)
        from_s = now_s - EXPIRY_SECONDS;
    for (int64_t second = from_s + 1; second <= now_s; second++)
        look_at_second(wheel, second, now_s);
}
