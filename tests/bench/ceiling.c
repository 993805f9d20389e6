/*
 * ceiling: the least that a server on epoll can do for the crowd of crowd.h, and so the most that
 * any may hope for.  One thread, one room, a frame made ready once for all receivers; no token is
 * looked at, nobody is pinged, nothing is limited.
 *
 *   ceiling PORT each       one send per message and receiver
 *   ceiling PORT coalesced  all that came in during a turn goes to a receiver in one send
 *   ceiling PORT lose|double|swap
 *                           "each", but wrong once in a thousand deliveries: does the crowd notice?
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_BYTES 65536
#define TURN_BYTES (1 << 20)
#define EVENTS     1024
#define PEERS      65536 /* by descriptor */
#define FAULTY     1000
#define SWAPPED    40 /* deliveries; the next of the same sender is among them */

enum way { EACH, COALESCED, LOSE, DOUBLE, SWAP, WAYS };
static const char *const ways[] = {"each", "coalesced", "lose", "double", "swap"};

struct bytes {
    unsigned char *at;
    size_t length;
};

struct peer {
    struct bytes unread;  /* the begin of a frame */
    struct bytes unsent;  /* what the kernel did not take */
    struct bytes delayed; /* SWAP: to be sent after those that follow */
    int delayed_for;      /* so many more */
    int fd;
    int place; /* in the room; -1: not there */
    bool is_upgraded;
};

static enum way way;
static int epoll;
static struct peer *peers[PEERS];
static struct peer *room[PEERS];
static int members;
static unsigned long deliveries;
static unsigned char turn[TURN_BYTES]; /* COALESCED: frames of this turn */
static size_t turn_bytes;

_Noreturn static void give_up(const char *what)
{
    fprintf(stderr, "ceiling: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void append(struct bytes *bytes, const void *from, size_t length)
{
    bytes->at = realloc(bytes->at, bytes->length + length);
    if (!bytes->at)
        give_up("memory");
    memcpy(bytes->at + bytes->length, from, length);
    bytes->length += length;
}

static void drop(struct bytes *bytes)
{
    free(bytes->at);
    *bytes = (struct bytes){0};
}

static void watch(struct peer *peer, int operation, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = peer};

    if (epoll_ctl(epoll, operation, peer->fd, &event) != 0)
        give_up("epoll_ctl");
}

static void send_bytes(struct peer *peer, const void *from, size_t length)
{
    ssize_t n = peer->unsent.length > 0 ? 0 : send(peer->fd, from, length, MSG_NOSIGNAL);

    if (n < 0)
        n = 0; /* gone: reading will tell */
    if ((size_t)n == length)
        return;
    if (peer->unsent.length == 0)
        watch(peer, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
    append(&peer->unsent, (const char *)from + n, length - (size_t)n);
}

static void send_unsent(struct peer *peer)
{
    ssize_t n = send(peer->fd, peer->unsent.at, peer->unsent.length, MSG_NOSIGNAL);

    if (n <= 0)
        return;
    peer->unsent.length -= (size_t)n;
    memmove(peer->unsent.at, peer->unsent.at + n, peer->unsent.length);
    if (peer->unsent.length > 0)
        return;
    drop(&peer->unsent);
    watch(peer, EPOLL_CTL_MOD, EPOLLIN);
}

/* An unmasked text frame (RFC 6455 §5.2) of up to 65,535 bytes: its length. */
static size_t make_frame(unsigned char *to, const void *text, size_t length)
{
    size_t at = 0;

    to[at++] = 0x81;
    if (length < 126) {
        to[at++] = (unsigned char)length;
    } else {
        to[at++] = 126;
        to[at++] = (unsigned char)(length >> 8);
        to[at++] = (unsigned char)length;
    }
    memcpy(to + at, text, length);
    return at + length;
}

static void send_text(struct peer *peer, const char *text)
{
    unsigned char frame[256];

    send_bytes(peer, frame, make_frame(frame, text, strlen(text)));
}

static void deliver_wrongly(struct peer *peer, const void *frame, size_t length)
{
    bool is_faulty = ++deliveries % FAULTY == 0;

    if (is_faulty && way == LOSE)
        return;
    if (is_faulty && way == SWAP && peer->delayed.length == 0) {
        append(&peer->delayed, frame, length);
        peer->delayed_for = SWAPPED;
        return;
    }
    send_bytes(peer, frame, length);
    if (is_faulty && way == DOUBLE)
        send_bytes(peer, frame, length);
    if (peer->delayed.length > 0 && --peer->delayed_for == 0) {
        send_bytes(peer, peer->delayed.at, peer->delayed.length);
        drop(&peer->delayed);
    }
}

static void end_turn(void)
{
    for (int i = 0; turn_bytes > 0 && i < members; i++)
        send_bytes(room[i], turn, turn_bytes);
    turn_bytes = 0;
}

static void relay(const char *text, size_t length)
{
    unsigned char frame[READ_BYTES + 4];
    size_t bytes = make_frame(frame, text, length);

    if (way == COALESCED) {
        if (turn_bytes + bytes > TURN_BYTES)
            end_turn();
        memcpy(turn + turn_bytes, frame, bytes);
        turn_bytes += bytes;
        return;
    }
    for (int i = 0; i < members; i++) {
        if (way == EACH)
            send_bytes(room[i], frame, bytes);
        else
            deliver_wrongly(room[i], frame, bytes);
    }
}

/* `42ID["ping",N]` is answered `43ID[N]`. */
static void acknowledge(struct peer *peer, const char *text, size_t length)
{
    const char *value = memchr(text, ',', length);
    const char *list = memchr(text, '[', length);
    char answer[128];

    if (!value || !list || length > 100)
        return;
    snprintf(answer, sizeof answer, "43%.*s[%.*s", (int)(list - text - 2), text + 2,
             (int)(text + length - value - 1), value + 1);
    send_text(peer, answer);
}

static void receive(struct peer *peer, const char *text, size_t length)
{
    if (length > 8 && memcmp(text, "42[\"msg\"", 8) == 0) {
        relay(text, length);
    } else if (length > 2 && memcmp(text, "42", 2) == 0) {
        acknowledge(peer, text, length);
    } else if (length > 2 && memcmp(text, "40{", 3) == 0 && peer->place < 0) {
        peer->place = members;
        room[members++] = peer;
        send_text(peer, "40{\"sid\":\"ceiling\"}");
    }
}

/* A whole frame of a client, if it is there: its bytes; else 0. */
static size_t take_frame(struct peer *peer, unsigned char *at, size_t left)
{
    size_t length, start = 2;
    unsigned char *mask;

    if (left < 8)
        return 0;
    length = at[1] & 0x7f;
    if (length == 126) {
        length = (size_t)at[2] << 8 | at[3];
        start = 4;
    }
    mask = at + start;
    start += 4;
    if (left < start + length)
        return 0;
    for (size_t i = 0; i < length; i++)
        at[start + i] ^= mask[i % 4];
    receive(peer, (const char *)at + start, length);
    return start + length;
}

/* The crowd always sends the key of RFC 6455's example, so the answer is always the same. */
static size_t take_head(struct peer *peer, unsigned char *at, size_t left)
{
    static const char head[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                               "Connection: Upgrade\r\n"
                               "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    unsigned char *end = memmem(at, left, "\r\n\r\n", 4);

    if (!end)
        return 0;
    peer->is_upgraded = true;
    send_bytes(peer, head, sizeof head - 1);
    send_text(peer, "0{\"sid\":\"ceiling\",\"upgrades\":[],\"pingInterval\":25000,"
                    "\"pingTimeout\":20000,\"maxPayload\":1000000}");
    return (size_t)(end - at) + 4;
}

static void leave(struct peer *peer)
{
    if (peer->place >= 0) {
        room[peer->place] = room[--members];
        room[peer->place]->place = peer->place;
    }
    peers[peer->fd] = NULL;
    close(peer->fd);
    drop(&peer->unread);
    drop(&peer->unsent);
    drop(&peer->delayed);
    free(peer);
}

static void read_peer(struct peer *peer)
{
    static unsigned char in[2 * READ_BYTES];
    unsigned char *at = in;
    size_t left = peer->unread.length, taken;
    ssize_t n;

    if (left > 0)
        memcpy(in, peer->unread.at, left);
    drop(&peer->unread);
    n = recv(peer->fd, in + left, READ_BYTES, 0);
    if (n <= 0) {
        leave(peer);
        return;
    }
    for (left += (size_t)n; left > 0; at += taken, left -= taken) {
        taken = peer->is_upgraded ? take_frame(peer, at, left) : take_head(peer, at, left);
        if (taken == 0)
            break;
    }
    if (left > 0)
        append(&peer->unread, at, left);
}

static void accept_peer(int listener)
{
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), on = 1;
    struct peer *peer;

    if (fd < 0)
        return;
    peer = calloc(1, sizeof *peer);
    if (!peer || fd >= PEERS)
        give_up("accept");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    peers[fd] = peer;
    peer->fd = fd;
    peer->place = -1;
    watch(peer, EPOLL_CTL_ADD, EPOLLIN);
}

static int listen_on(uint16_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
    struct epoll_event event = {.events = EPOLLIN};

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(fd, 4096) != 0 ||
        epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0)
        give_up("listen");
    return fd;
}

static bool take_arguments(int argc, char **argv)
{
    for (way = 0; argc == 3 && way < WAYS; way++)
        if (strcmp(argv[2], ways[way]) == 0)
            return true;
    return false;
}

int main(int argc, char **argv)
{
    struct epoll_event events[EVENTS];
    int listener, n;

    if (!take_arguments(argc, argv)) {
        fprintf(stderr, "usage: ceiling PORT each|coalesced|lose|double|swap\n");
        return 2;
    }
    epoll = epoll_create1(EPOLL_CLOEXEC);
    listener = listen_on((uint16_t)atoi(argv[1]));
    fprintf(stderr, "ceiling: listening\n");
    while ((n = epoll_wait(epoll, events, EVENTS, -1)) >= 0 || errno == EINTR) {
        for (int i = 0; i < n; i++) {
            struct peer *peer = events[i].data.ptr;

            if (!peer)
                accept_peer(listener);
            else if (events[i].events & EPOLLOUT)
                send_unsent(peer);
            else
                read_peer(peer);
        }
        end_turn();
    }
    give_up("epoll_wait");
}
