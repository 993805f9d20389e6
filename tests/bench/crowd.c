/*
 * The crowd: connects, speaks, listens, and checks what it hears.  What is measured meanwhile is
 * load.c's business.
 */
#include "tests/bench/crowd.h"

#include "tests/bench/process.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_BYTES    262144
#define REST_BYTES    1024 /* the longest frame, or HTTP head, that may arrive in pieces */
#define OUT_BYTES     65536
#define OPENING_MAX   32 /* handshakes under way, per thread */
#define SOURCES       100
#define TURN_MS       5 /* a new phase is seen no later */
#define EVENTS        512
#define NUMBERS_BYTES (4 + 8 + 16) /* of a message: sender, number, time, in hexadecimal */

static const char message_head[] = "42[\"msg\",\"";
#define HEAD_BYTES (sizeof message_head - 1)
#define TEXT_BYTES (HEAD_BYTES + MESSAGE_BYTES + 2) /* with `"]` */

/* RFC 6455 §1.3: the example's key, and what a server makes of it. */
static const char websocket_key[] = "dGhlIHNhbXBsZSBub25jZQ==";
static const char websocket_accept[] = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

enum step { ABSENT, UPGRADING, OPENING, CONNECTING, CONNECTED };

/* What a client has heard of one sender. */
struct hearing {
    uint32_t last, skipped;
};

struct client {
    int fd;
    enum step step;
    uint32_t index;
    uint32_t said, pinged, acked;
    uint64_t due_ns;
    struct hearing *heard; /* by sender */
    uint32_t rest_bytes;
    char rest[REST_BYTES];
};

struct thread {
    struct crowd *crowd;
    pthread_t id;
    unsigned number;
    int epoll;
    unsigned opened,
        opening; /* clients of this thread that have begun; and not ended a handshake */
    enum crowd_phase phase;
    struct crowd_count count; /* the thread's own; published when its turn ends */
    struct crowd_latency latency;
    pthread_mutex_t lock;
    struct crowd_count published;
    unsigned ready, orders; /* clients connected; orders seen */
    unsigned connected;
    char *in;
    size_t out_bytes;
    unsigned char out[OUT_BYTES];
};

struct crowd {
    struct crowd_job job;
    struct client *clients;
    struct thread *threads;
    _Atomic unsigned target; /* clients to be connected */
    _Atomic enum crowd_phase phase;
    _Atomic unsigned orders; /* how often phase has been set */
};

_Noreturn static void fail(const struct client *client, const char *what, const char *text,
                           size_t bytes)
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

static unsigned slot_of(uint64_t us)
{
    unsigned shift = 0;

    while (us >> shift >= 64)
        shift++;
    return shift == 0 ? (unsigned)us : 32 * shift + (unsigned)(us >> shift);
}

static double slot_us(unsigned slot)
{
    unsigned shift = slot < 64 ? 0 : slot / 32 - 1;

    return (double)((uint64_t)(slot - 32 * shift) << shift);
}

/* ---- saying ---- */

static void flush(struct thread *thread, struct client *client)
{
    ssize_t n;

    if (thread->out_bytes == 0)
        return;
    n = send(client->fd, thread->out, thread->out_bytes, MSG_NOSIGNAL);
    if (n != (ssize_t)thread->out_bytes)
        fail(client, "the server does not take what is sent", n < 0 ? strerror(errno) : NULL, 99);
    thread->out_bytes = 0;
}

/* A masked text frame (RFC 6455 §5.2), sent when what was read has been handled. */
static void say(struct thread *thread, struct client *client, const char *text, size_t bytes)
{
    static const unsigned char mask[4] = {0x37, 0xfa, 0x21, 0x3d};
    unsigned char *to;

    if (thread->out_bytes + bytes + 8 > OUT_BYTES)
        flush(thread, client);
    to = thread->out + thread->out_bytes;
    *to++ = 0x81;
    if (bytes < 126) {
        *to++ = (unsigned char)(0x80 | bytes);
    } else {
        *to++ = 0x80 | 126;
        *to++ = (unsigned char)(bytes >> 8);
        *to++ = (unsigned char)bytes;
    }
    memcpy(to, mask, sizeof mask);
    to += sizeof mask;
    for (size_t i = 0; i < bytes; i++)
        *to++ = (unsigned char)text[i] ^ mask[i % 4];
    thread->out_bytes = (size_t)(to - thread->out);
}

static void say_message(struct thread *thread, struct client *client)
{
    char text[TEXT_BYTES];

    memcpy(text, message_head, HEAD_BYTES);
    memset(text + HEAD_BYTES, '.', MESSAGE_BYTES);
    write_hex(text + HEAD_BYTES, client->index, 4);
    write_hex(text + HEAD_BYTES + 4, ++client->said, 8);
    write_hex(text + HEAD_BYTES + 12, now_ns(), 16);
    memcpy(text + TEXT_BYTES - 2, "\"]", 2);
    say(thread, client, text, sizeof text);
    thread->count.sent++;
}

static void say_ping(struct thread *thread, struct client *client)
{
    char text[64];
    uint32_t number = client->pinged++;

    say(thread, client, text,
        (size_t)snprintf(text, sizeof text, "42%u[\"ping\",%u]", number, number));
    thread->count.pinged++;
}

static void say_connect(struct thread *thread, struct client *client)
{
    char text[TOKEN_BYTES + 32] = "40{\"token\":\"";
    size_t at = strlen(text);

    at += signer_token(thread->crowd->job.signer, client->index, text + at);
    memcpy(text + at, "\"}", 2);
    say(thread, client, text, at + 2);
}

/* ---- hearing ---- */

static void hear_message(struct thread *thread, struct client *client, const char *text,
                         size_t bytes)
{
    const struct crowd_job *job = &thread->crowd->job;
    uint64_t sender, sent_ns, now;
    struct hearing *heard;
    uint32_t number;

    if (bytes != TEXT_BYTES)
        fail(client, "not what was sent", text, bytes);
    sender = read_hex(text + HEAD_BYTES, 4);
    number = (uint32_t)read_hex(text + HEAD_BYTES + 4, 8);
    sent_ns = read_hex(text + HEAD_BYTES + 12, 16);
    if (sender >= job->senders)
        fail(client, "from nobody", text, bytes);
    heard = &client->heard[sender];
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
    thread->count.heard++;
    if (thread->phase == CROWD_FLOODS) {
        if (sender == client->index)
            say_message(thread, client);
        return;
    }
    now = now_ns();
    thread->latency.slots[slot_of((now - sent_ns) / 1000)]++;
    thread->latency.count++;
}

static void hear_ack(struct thread *thread, struct client *client, const char *text, size_t bytes)
{
    char wanted[64];
    int length = snprintf(wanted, sizeof wanted, "43%u[%u]", (unsigned)client->acked,
                          (unsigned)client->acked);

    if (bytes != (size_t)length || memcmp(text, wanted, bytes) != 0)
        fail(client, "not the acknowledgement it waits for", text, bytes);
    client->acked++;
    thread->count.acked++;
    if (thread->phase == CROWD_PINGS)
        say_ping(thread, client);
}

static void hear(struct thread *thread, struct client *client, const char *text, size_t bytes)
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
        client->step = CONNECTED;
        thread->opening--;
        thread->connected++;
    } else {
        fail(client, "did not expect", text, bytes);
    }
}

/* One whole frame of a server, if it is there: its bytes; else 0. */
static size_t take_frame(struct thread *thread, struct client *client, const char *at, size_t bytes)
{
    const unsigned char *head = (const unsigned char *)at;
    size_t length, start = 2;

    if (bytes < 2)
        return 0;
    length = head[1];
    if (length == 126) {
        if (bytes < 4)
            return 0;
        length = (size_t)head[2] << 8 | head[3];
        start = 4;
    }
    if (length > REST_BYTES - 4)
        fail(client, "a frame of a length nobody sent", NULL, 0);
    if (bytes < start + length)
        return 0;
    if (head[0] == 0x88)
        fail(client, "closed by the server", length > 2 ? at + start + 2 : NULL, length - 2);
    if (head[0] != 0x81)
        fail(client, "neither a text frame nor a close", NULL, 0);
    hear(thread, client, at + start, length);
    return start + length;
}

static size_t take_head(struct client *client, const char *at, size_t bytes)
{
    const char *end = memmem(at, bytes, "\r\n\r\n", 4);

    if (!end)
        return 0;
    bytes = (size_t)(end - at) + 4;
    if (!starts(at, bytes, "HTTP/1.1 101 ") || !memmem(at, bytes, websocket_accept, 28))
        fail(client, "was not upgraded", at, bytes);
    client->step = OPENING;
    return bytes;
}

static void read_client(struct thread *thread, struct client *client)
{
    char *at = thread->in;
    size_t left, taken;
    ssize_t n;

    memcpy(at, client->rest, client->rest_bytes);
    n = recv(client->fd, at + client->rest_bytes, READ_BYTES, 0);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0)
        fail(client, "the connection has ended", n < 0 ? strerror(errno) : NULL, 99);
    for (left = client->rest_bytes + (size_t)n; left > 0; at += taken, left -= taken) {
        taken = client->step == UPGRADING ? take_head(client, at, left)
                                          : take_frame(thread, client, at, left);
        if (taken == 0)
            break;
    }
    if (left > REST_BYTES)
        fail(client, "a head without end", NULL, 0);
    memcpy(client->rest, at, left);
    client->rest_bytes = (uint32_t)left;
    flush(thread, client);
}

/* ---- a thread ---- */

static void open_client(struct thread *thread, struct client *client)
{
    const struct crowd_job *job = &thread->crowd->job;
    struct sockaddr_in from = {.sin_family = AF_INET}, to = {.sin_family = AF_INET};
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = client};
    int on = 1;

    from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + client->index % SOURCES);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    to.sin_port = htons(job->port);
    client->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (client->fd < 0)
        fail(client, "no socket (see ulimit -n)", strerror(errno), 99);
    setsockopt(client->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (bind(client->fd, (struct sockaddr *)&from, sizeof from) != 0 ||
        connect(client->fd, (struct sockaddr *)&to, sizeof to) != 0 ||
        fcntl(client->fd, F_SETFL, O_NONBLOCK) != 0 ||
        epoll_ctl(thread->epoll, EPOLL_CTL_ADD, client->fd, &event) != 0)
        fail(client, "cannot connect", strerror(errno), 99);
    thread->out_bytes = (size_t)snprintf(
        (char *)thread->out, OUT_BYTES,
        "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: 127.0.0.1:%u\r\n"
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: %s\r\n"
        "Sec-WebSocket-Version: 13\r\n\r\n",
        job->port, websocket_key);
    client->step = UPGRADING;
    flush(thread, client);
}

/* Client i belongs to thread i modulo threads. */
static struct client *own(struct thread *thread, unsigned nth)
{
    return &thread->crowd->clients[thread->number + nth * thread->crowd->job.threads];
}

static void open_some(struct thread *thread)
{
    unsigned target = atomic_load(&thread->crowd->target);

    while (thread->opening < OPENING_MAX &&
           thread->number + thread->opened * thread->crowd->job.threads < target) {
        thread->opening++;
        open_client(thread, own(thread, thread->opened++));
    }
}

static bool is_sender(const struct thread *thread, const struct client *client)
{
    return client->index < thread->crowd->job.senders;
}

static void begin(struct thread *thread, enum crowd_phase phase)
{
    const struct crowd_job *job = &thread->crowd->job;
    uint64_t now = now_ns();

    thread->phase = phase;
    for (unsigned i = 0; i < thread->opened; i++) {
        struct client *client = own(thread, i);

        if (phase == CROWD_PINGS)
            say_ping(thread, client);
        if (phase == CROWD_FLOODS && is_sender(thread, client))
            for (unsigned n = 0; n < job->window; n++)
                say_message(thread, client);
        if (phase == CROWD_PACES)
            client->due_ns = now + 1000000000u / job->per_second * client->index;
        flush(thread, client);
    }
}

/* Say what is due; the nanoseconds until the next is. */
static uint64_t pace(struct thread *thread)
{
    const struct crowd_job *job = &thread->crowd->job;
    uint64_t now = now_ns(), wait = TURN_MS * 1000000u;

    for (unsigned i = 0; i < thread->opened && is_sender(thread, own(thread, i)); i++) {
        struct client *client = own(thread, i);

        if (client->due_ns <= now) {
            say_message(thread, client);
            flush(thread, client);
            client->due_ns += 1000000000u / job->per_second * job->senders;
        }
        if (client->due_ns < now + wait)
            wait = client->due_ns > now ? client->due_ns - now : 0;
    }
    return wait;
}

static void publish(struct thread *thread, unsigned orders)
{
    pthread_mutex_lock(&thread->lock);
    thread->published = thread->count;
    thread->ready = thread->connected;
    thread->orders = orders;
    pthread_mutex_unlock(&thread->lock);
}

static void *run(void *argument)
{
    struct thread *thread = argument;
    struct crowd *crowd = thread->crowd;
    struct epoll_event events[EVENTS];
    unsigned orders = 0;

    for (;;) {
        struct timespec wait = {.tv_nsec = TURN_MS * 1000000};
        unsigned ordered = atomic_load(&crowd->orders);
        int n;

        if (ordered != orders) {
            orders = ordered;
            begin(thread, atomic_load(&crowd->phase));
        }
        open_some(thread);
        if (thread->phase == CROWD_PACES)
            wait.tv_nsec = (long)pace(thread);
        publish(thread, orders);
        n = epoll_pwait2(thread->epoll, events, EVENTS, &wait, NULL);
        for (int i = 0; i < n; i++)
            read_client(thread, events[i].data.ptr);
    }
    return NULL;
}

/* ---- the whole ---- */

static void *zeroed(size_t count, size_t size)
{
    void *memory = calloc(count, size);

    if (!memory) {
        fprintf(stderr, "load: no memory\n");
        exit(1);
    }
    return memory;
}

static void start_thread(struct crowd *crowd, unsigned number)
{
    struct thread *thread = &crowd->threads[number];

    thread->crowd = crowd;
    thread->number = number;
    thread->epoll = epoll_create1(EPOLL_CLOEXEC);
    thread->in = zeroed(1, REST_BYTES + READ_BYTES);
    pthread_mutex_init(&thread->lock, NULL);
    if (thread->epoll < 0 || pthread_create(&thread->id, NULL, run, thread) != 0) {
        fprintf(stderr, "load: cannot start a thread\n");
        exit(1);
    }
}

struct crowd *crowd_new(const struct crowd_job *job)
{
    struct crowd *crowd = zeroed(1, sizeof *crowd);

    crowd->job = *job;
    crowd->clients = zeroed(job->clients, sizeof *crowd->clients);
    crowd->threads = zeroed(job->threads, sizeof *crowd->threads);
    for (unsigned i = 0; i < job->clients; i++) {
        crowd->clients[i].index = i;
        crowd->clients[i].heard = zeroed(job->senders + 1, sizeof(struct hearing));
    }
    for (unsigned i = 0; i < job->threads; i++)
        start_thread(crowd, i);
    return crowd;
}

void crowd_open(struct crowd *crowd, unsigned clients)
{
    unsigned ready;

    atomic_store(&crowd->target, clients);
    do {
        sleep_ms(1);
        ready = 0;
        for (unsigned i = 0; i < crowd->job.threads; i++) {
            pthread_mutex_lock(&crowd->threads[i].lock);
            ready += crowd->threads[i].ready;
            pthread_mutex_unlock(&crowd->threads[i].lock);
        }
    } while (ready < clients);
}

static bool have_seen(struct crowd *crowd, unsigned orders)
{
    bool is_seen = true;

    for (unsigned i = 0; i < crowd->job.threads; i++) {
        pthread_mutex_lock(&crowd->threads[i].lock);
        is_seen &= crowd->threads[i].orders == orders;
        pthread_mutex_unlock(&crowd->threads[i].lock);
    }
    return is_seen;
}

void crowd_play(struct crowd *crowd, enum crowd_phase phase)
{
    unsigned orders = atomic_load(&crowd->orders) + 1;

    atomic_store(&crowd->phase, phase);
    atomic_store(&crowd->orders, orders);
    while (!have_seen(crowd, orders))
        sleep_ms(1);
}

struct crowd_count crowd_count(struct crowd *crowd)
{
    struct crowd_count sum = {0};

    for (unsigned i = 0; i < crowd->job.threads; i++) {
        struct crowd_count *count = &crowd->threads[i].published;

        pthread_mutex_lock(&crowd->threads[i].lock);
        sum.sent += count->sent, sum.heard += count->heard;
        sum.pinged += count->pinged, sum.acked += count->acked;
        sum.late += count->late, sum.doubled += count->doubled;
        sum.skipped += count->skipped;
        pthread_mutex_unlock(&crowd->threads[i].lock);
    }
    return sum;
}

bool crowd_drain(struct crowd *crowd, unsigned patience_ms)
{
    uint64_t came = 0, came_ns = now_ns();

    for (;;) {
        struct crowd_count count = crowd_count(crowd);

        if (count.heard >= count.sent * crowd->job.clients && count.acked == count.pinged)
            return true;
        if (count.heard + count.acked != came) {
            came = count.heard + count.acked;
            came_ns = now_ns();
        } else if (now_ns() - came_ns > (uint64_t)patience_ms * 1000000u) {
            return false;
        }
        sleep_ms(1);
    }
}

uint64_t crowd_lost(struct crowd *crowd)
{
    uint64_t lost = crowd_count(crowd).skipped;

    for (unsigned i = 0; i < crowd->job.clients; i++)
        for (unsigned sender = 0; sender < crowd->job.senders; sender++)
            lost += crowd->clients[sender].said - crowd->clients[i].heard[sender].last;
    return lost;
}

void crowd_take_latency(struct crowd *crowd, struct crowd_latency *latency)
{
    memset(latency, 0, sizeof *latency);
    for (unsigned i = 0; i < crowd->job.threads; i++) {
        struct crowd_latency *own_latency = &crowd->threads[i].latency;

        for (unsigned slot = 0; slot < LATENCY_SLOTS; slot++)
            latency->slots[slot] += own_latency->slots[slot];
        latency->count += own_latency->count;
        memset(own_latency, 0, sizeof *own_latency);
    }
}

double latency_ms(const struct crowd_latency *latency, double quantile)
{
    uint64_t rank = (uint64_t)(quantile * (double)latency->count), seen = 0;

    for (unsigned slot = 0; slot < LATENCY_SLOTS; slot++) {
        seen += latency->slots[slot];
        if (seen > rank)
            return slot_us(slot) / 1000;
    }
    return 0;
}
