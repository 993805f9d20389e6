/* What a client says and hears: Socket.IO packets in Engine.IO messages, checked as they come. */
#include "tests/bench/client.h"

#include "tests/bench/process.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#define SOURCES 100

static const char message_head[] = "42[\"msg\",\"";
#define HEAD_BYTES (sizeof message_head - 1)
#define TEXT_BYTES (HEAD_BYTES + MESSAGE_BYTES + 2) /* with `"]` */

/* A message's text: its stream, its number there, when it was sent; in hexadecimal. */
#define STREAM_DIGITS 6
#define NUMBER_DIGITS 8
#define TIME_DIGITS   16

void client_fail(const struct client *client, const char *what, const char *text, size_t bytes)
{
    fprintf(stderr, "load: client %u: %s", client->index, what);
    if (text)
        fprintf(stderr, ": %.*s", (int)(bytes < 300 ? bytes : 300), text);
    fprintf(stderr, "\n");
    exit(1);
}

static bool starts(const char *text, size_t bytes, const char *with)
{
    size_t length = strlen(with);

    return bytes >= length && memcmp(text, with, length) == 0;
}

static void write_hex(char *to, uint64_t value, unsigned digits)
{
    while (digits > 0) {
        to[--digits] = "0123456789abcdef"[value & 15];
        value >>= 4;
    }
}

static uint64_t read_hex(const char *from, unsigned digits)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < digits; i++)
        value = value << 4 | (uint64_t)(from[i] <= '9' ? from[i] - '0' : from[i] - 'a' + 10);
    return value;
}

static unsigned latency_slot(uint64_t us)
{
    unsigned shift = 0;

    while (us >> shift >= 64)
        shift++;
    return shift == 0 ? (unsigned)us : 32 * shift + (unsigned)(us >> shift);
}

/* ---- who is where: member m of room r is client r modulo groups, plus m groups ---- */

static unsigned groups(const struct crowd_job *job)
{
    return job->clients / ROOM_MEMBERS;
}

unsigned client_rooms(const struct crowd_job *job)
{
    return job->rooms / groups(job);
}

unsigned client_slot(const struct crowd_job *job, uint64_t stream)
{
    return (unsigned)(job->rooms ? stream / groups(job) : stream);
}

bool client_speaks(const struct crowd_job *job, const struct client *client)
{
    return client->index < job->senders && (!job->rooms || client->index < groups(job));
}

/* The client's room at its turn. */
static unsigned room_at(const struct crowd_job *job, const struct client *client, unsigned turn)
{
    return client->index % groups(job) + turn % client_rooms(job) * groups(job);
}

/* ---- lines ---- */

void line_send(struct thread *thread, struct line *line)
{
    ssize_t n;

    if (thread->out_bytes == 0)
        return;
    n = send(line->fd, thread->out, thread->out_bytes, MSG_NOSIGNAL);
    if (n != (ssize_t)thread->out_bytes)
        client_fail(line->client, "the server does not take what is sent",
                    n < 0 ? strerror(errno) : NULL, 99);
    thread->out_bytes = 0;
}

void line_open(struct thread *thread, struct client *client, struct line *line)
{
    struct sockaddr_in from = {.sin_family = AF_INET}, to = {.sin_family = AF_INET};
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = line};
    int on = 1;

    line->client = client;
    from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + client->index % SOURCES);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    to.sin_port = htons(thread->job->port);
    line->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (line->fd < 0)
        client_fail(client, "no socket (see ulimit -n)", strerror(errno), 99);
    setsockopt(line->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    setsockopt(line->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (bind(line->fd, (struct sockaddr *)&from, sizeof from) != 0 ||
        connect(line->fd, (struct sockaddr *)&to, sizeof to) != 0 ||
        fcntl(line->fd, F_SETFL, O_NONBLOCK) != 0 ||
        epoll_ctl(thread->epoll, EPOLL_CTL_ADD, line->fd, &event) != 0)
        client_fail(client, "cannot connect", strerror(errno), 99);
}

/* Keep what has come of a frame or an answer that is not whole. */
static void keep_rest(struct line *line, const char *at, size_t bytes)
{
    if (bytes > REST_BYTES)
        client_fail(line->client, "what has come is too long", NULL, 0);
    if (bytes > 0 && !line->rest)
        line->rest = malloc(REST_BYTES);
    if (bytes > 0 && line->rest)
        memcpy(line->rest, at, bytes);
    line->rest_bytes = (uint32_t)bytes;
}

void client_read(struct thread *thread, struct line *line)
{
    struct client *client = line->client;
    size_t left, taken;
    char *at = thread->in;
    ssize_t n;

    if (line->rest_bytes > 0)
        memcpy(at, line->rest, line->rest_bytes);
    n = recv(line->fd, at + line->rest_bytes, READ_BYTES, 0);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n == 0 && thread->job->is_polling && polling_may_end(line))
        return;
    if (n <= 0)
        client_fail(client, "the connection has ended", n < 0 ? strerror(errno) : NULL, 99);
    for (left = line->rest_bytes + (size_t)n; left > 0; at += taken, left -= taken) {
        taken = thread->job->is_polling ? polling_take(thread, line, at, left)
                                        : frames_take(thread, client, at, left);
        if (taken == 0)
            break;
    }
    keep_rest(line, at, left);
    client_flush(thread, client);
}

/* ---- saying ---- */

void client_flush(struct thread *thread, struct client *client)
{
    if (thread->job->is_polling)
        polling_flush(thread, client);
    else
        line_send(thread, &client->line);
}

static void say(struct thread *thread, struct client *client, const char *text, size_t bytes)
{
    if (thread->job->is_polling)
        polling_say(thread, client, text, bytes);
    else
        frames_say(thread, client, text, bytes);
}

void client_say_message(struct thread *thread, struct client *client)
{
    const struct crowd_job *job = thread->job;
    unsigned turn = job->rooms ? client->turn++ % client_rooms(job) : 0;
    unsigned stream = job->rooms ? room_at(job, client, turn) : client->index;
    char text[64 + MESSAGE_BYTES];
    int at;

    at = job->rooms ? sprintf(text, "42[\"say\",\"%u\",\"", stream)
                    : sprintf(text, "%s", message_head);
    memset(text + at, '.', MESSAGE_BYTES);
    write_hex(text + at, stream, STREAM_DIGITS);
    write_hex(text + at + STREAM_DIGITS, ++client->said[turn], NUMBER_DIGITS);
    write_hex(text + at + STREAM_DIGITS + NUMBER_DIGITS, now_ns(), TIME_DIGITS);
    memcpy(text + at + MESSAGE_BYTES, "\"]", 2);
    say(thread, client, text, (size_t)at + MESSAGE_BYTES + 2);
    thread->count.sent++;
}

static void say_move(struct thread *thread, struct client *client, const char *event, unsigned turn)
{
    char text[64];

    client->is_moving = true;
    say(thread, client, text,
        (size_t)sprintf(text, "42%u[\"%s\",\"%u\"]", client->asked++, event,
                        room_at(thread->job, client, turn)));
    thread->count.asked++;
}

/* Whatever this phase has acknowledged. */
void client_ask(struct thread *thread, struct client *client)
{
    char text[64];

    if (thread->phase == CROWD_MOVES) {
        say_move(thread, client, client->turn % 2 ? "join" : "leave", client->turn / 2);
        client->turn++;
        return;
    }
    client->is_moving = false;
    say(thread, client, text,
        (size_t)sprintf(text, "42%u[\"ping\",%u]", client->asked, client->asked));
    client->asked++;
    thread->count.asked++;
}

static void say_connect(struct thread *thread, struct client *client)
{
    char text[TOKEN_BYTES + 32] = "40{\"token\":\"";
    size_t at = strlen(text);

    at += signer_token(thread->job->signer, client->index, text + at);
    memcpy(text + at, "\"}", 2);
    say(thread, client, text, at + 2);
}

/* ---- hearing ---- */

static void check_order(struct thread *thread, struct hearing *heard, uint32_t number)
{
    if (number > heard->last) {
        heard->skipped += number - heard->last - 1;
        thread->count.skipped += number - heard->last - 1;
        heard->last = number;
    } else if (heard->skipped > 0) {
        heard->skipped--;
        thread->count.skipped--;
        thread->count.late++;
    } else {
        thread->count.doubled++;
    }
}

static void hear_message(struct thread *thread, struct client *client, const char *text,
                         size_t bytes)
{
    const struct crowd_job *job = thread->job;
    const char *at = text + HEAD_BYTES;
    uint64_t stream, sent_ns;
    uint32_t number;

    if (bytes != TEXT_BYTES)
        client_fail(client, "not what was sent", text, bytes);
    stream = read_hex(at, STREAM_DIGITS);
    number = (uint32_t)read_hex(at + STREAM_DIGITS, NUMBER_DIGITS);
    sent_ns = read_hex(at + STREAM_DIGITS + NUMBER_DIGITS, TIME_DIGITS);
    if (stream >= (job->rooms ? job->rooms : job->senders) ||
        (job->rooms && stream % groups(job) != client->index % groups(job)))
        client_fail(client, "not for this client", text, bytes);
    check_order(thread, &client->heard[client_slot(job, stream)], number);
    thread->count.heard++;
    if (thread->phase == CROWD_FLOODS) {
        if (client->index == (job->rooms ? stream % groups(job) : stream))
            client_say_message(thread, client);
        return;
    }
    thread->latency.slots[latency_slot((now_ns() - sent_ns) / 1000)]++;
    thread->latency.count++;
}

/* Into its rooms one after the other; in the last one, it is there. */
static void enter(struct thread *thread, struct client *client)
{
    if (thread->job->rooms && client->joined < client_rooms(thread->job)) {
        say_move(thread, client, "join", client->joined++);
        return;
    }
    client->step = CONNECTED;
    thread->opening--;
    thread->connected++;
}

static void hear_ack(struct thread *thread, struct client *client, const char *text, size_t bytes)
{
    char wanted[64];
    int length = client->is_moving ? sprintf(wanted, "43%u[]", client->acked)
                                   : sprintf(wanted, "43%u[%u]", client->acked, client->acked);

    if (bytes != (size_t)length || memcmp(text, wanted, bytes) != 0)
        client_fail(client, "not the acknowledgement it waits for", text, bytes);
    client->acked++;
    thread->count.acked++;
    if (client->step != CONNECTED)
        enter(thread, client);
    else if (thread->phase == CROWD_PINGS || thread->phase == CROWD_MOVES)
        client_ask(thread, client);
}

void client_hear(struct thread *thread, struct client *client, const char *text, size_t bytes)
{
    if (starts(text, bytes, message_head)) {
        hear_message(thread, client, text, bytes);
    } else if (starts(text, bytes, "43")) {
        hear_ack(thread, client, text, bytes);
    } else if (bytes == 1 && text[0] == '2') {
        say(thread, client, "3", 1);
    } else if (client->step == OPENING && starts(text, bytes, "0{")) {
        client->step = CONNECTING;
        say_connect(thread, client);
    } else if (client->step == CONNECTING && starts(text, bytes, "40{")) {
        enter(thread, client);
    } else if (!(bytes == 1 && text[0] == '6')) { /* a poll that was to wait no longer */
        client_fail(client, "did not expect", text, bytes);
    }
}

void client_open(struct thread *thread, struct client *client)
{
    if (thread->job->is_polling)
        polling_open(thread, client);
    else
        frames_open(thread, client);
}
