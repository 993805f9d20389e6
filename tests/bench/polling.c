/*
 * Engine.IO's long-polling: a GET waits on one connection, what is said goes out as POSTs on
 * another, as with browsers; until a client is connected one connection does both in turn, so that
 * one who only listens has no second.
 */
#include "tests/bench/client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SEPARATOR 0x1e

struct poller {
    struct line posts;
    char sid[64];
    bool is_getting, is_posting; /* the first line is busy with a GET; a POST is under way */
    bool posts_on_first;         /* on the first line */
    size_t saved_bytes;          /* said, and not yet posted */
    char saved[16384];
};

static void request(struct thread *thread, struct line *line, const char *method, const char *body,
                    size_t bytes)
{
    const struct poller *poller = line->client->poller;

    thread->out_bytes = (size_t)snprintf(
        thread->out, OUT_BYTES,
        "%s /socket.io/?EIO=4&transport=polling%s%s HTTP/1.1\r\nHost: 127.0.0.1:%u\r\n", method,
        *poller->sid ? "&sid=" : "", poller->sid, thread->job->port);
    if (body)
        thread->out_bytes +=
            (size_t)snprintf(thread->out + thread->out_bytes, OUT_BYTES - thread->out_bytes,
                             "Content-Type: text/plain;charset=UTF-8\r\nContent-Length: %zu\r\n"
                             "\r\n%.*s",
                             bytes, (int)bytes, body);
    else
        thread->out_bytes += (size_t)sprintf(thread->out + thread->out_bytes, "\r\n");
    line_send(thread, line);
}

static void get(struct thread *thread, struct client *client)
{
    client->poller->is_getting = true;
    request(thread, &client->line, "GET", NULL, 0);
}

void polling_open(struct thread *thread, struct client *client)
{
    client->poller = calloc(1, sizeof *client->poller);
    if (!client->poller)
        client_fail(client, "no memory", NULL, 0);
    client->poller->posts.fd = -1;
    client->step = HANDSHAKING;
    line_open(thread, client, &client->line);
    get(thread, client);
}

void polling_say(struct thread *thread, struct client *client, const char *text, size_t bytes)
{
    struct poller *poller = client->poller;

    (void)thread;
    if (poller->saved_bytes + bytes + 1 > sizeof poller->saved)
        client_fail(client, "too much to say", NULL, 0);
    if (poller->saved_bytes > 0)
        poller->saved[poller->saved_bytes++] = SEPARATOR;
    memcpy(poller->saved + poller->saved_bytes, text, bytes);
    poller->saved_bytes += bytes;
}

/* Post what was said, unless a POST is under way; and let a GET wait. */
void polling_flush(struct thread *thread, struct client *client)
{
    struct poller *poller = client->poller;
    struct line *line = &client->line;

    if (poller->saved_bytes > 0 && !poller->is_posting) {
        poller->posts_on_first = client->step != CONNECTED && !poller->is_getting;
        if (!poller->posts_on_first)
            line = &poller->posts;
        if (line->fd < 0)
            line_open(thread, client, line);
        poller->is_posting = true;
        request(thread, line, "POST", poller->saved, poller->saved_bytes);
        poller->saved_bytes = 0;
    }
    if (!poller->is_getting && !(poller->is_posting && poller->posts_on_first))
        get(thread, client);
}

static void take_sid(struct client *client, const char *body, size_t bytes)
{
    static const char name[] = "\"sid\":\"";
    const char *from = memmem(body, bytes, name, sizeof name - 1), *to;

    from = from ? from + sizeof name - 1 : NULL;
    to = from ? memchr(from, '"', bytes - (size_t)(from - body)) : NULL;
    if (!to || (size_t)(to - from) >= sizeof client->poller->sid)
        client_fail(client, "no sid in the handshake", body, bytes);
    memcpy(client->poller->sid, from, (size_t)(to - from));
    client->step = OPENING;
}

static void hear_payload(struct thread *thread, struct client *client, const char *body,
                         size_t bytes)
{
    const char *end = body + bytes;

    if (client->step == HANDSHAKING)
        take_sid(client, body, bytes);
    while (body < end) {
        const char *stop = memchr(body, SEPARATOR, (size_t)(end - body));

        if (!stop)
            stop = end;
        client_hear(thread, client, body, (size_t)(stop - body));
        body = stop + 1;
    }
}

static void hang_up(struct line *line)
{
    close(line->fd);
    line->fd = -1;
}

/* A connection for POSTs that has been quiet is the server's to close. */
bool polling_may_end(struct line *line)
{
    if (line == &line->client->line || line->client->poller->is_posting)
        return false;
    hang_up(line);
    return true;
}

static void answered(struct thread *thread, struct line *line, const char *body, size_t bytes)
{
    struct client *client = line->client;
    struct poller *poller = client->poller;
    bool is_post = line != &client->line || poller->posts_on_first;

    thread->count.requests++;
    if (is_post) {
        if (bytes != 2 || memcmp(body, "ok", 2) != 0)
            client_fail(client, "a POST was not answered ok", body, bytes);
        poller->is_posting = poller->posts_on_first = false;
        if (line == &poller->posts && thread->phase == CROWD_LISTENS)
            hang_up(line);
    } else {
        poller->is_getting = false;
        hear_payload(thread, client, body, bytes);
    }
}

/* The length of an answer's body, which all of these servers give. */
static size_t content_length(const struct client *client, const char *head, size_t bytes)
{
    static const char name[] = "content-length: ";

    for (const char *at = head; at + sizeof name < head + bytes; at++)
        if (strncasecmp(at, name, sizeof name - 1) == 0)
            return strtoul(at + sizeof name - 1, NULL, 10);
    client_fail(client, "an answer without a length", head, bytes);
}

size_t polling_take(struct thread *thread, struct line *line, const char *at, size_t bytes)
{
    const char *end = memmem(at, bytes, "\r\n\r\n", 4);
    size_t head, body;

    if (!end)
        return 0;
    head = (size_t)(end - at) + 4;
    if (memcmp(at, "HTTP/1.1 200 ", 13) != 0)
        client_fail(line->client, "was refused", at, bytes);
    body = content_length(line->client, at, head);
    if (bytes < head + body)
        return 0;
    answered(thread, line, at + head, body);
    return head + body;
}
