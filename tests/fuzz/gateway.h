#ifndef TESTS_FUZZ_GATEWAY_H
#define TESTS_FUZZ_GATEWAY_H

/*
 * A whole gateway of two workers inside a target: config, key and database in a folder, a socket
 * there to connect to, and no threads.  The target takes the workers' turns, so that the same input
 * does the same every time.  When an input is through, nothing of its clients may be left.
 */
#include "common/log.h"
#include "db/admin/command.h"
#include "gateway/http.h"
#include "gateway/websocket.h"
#include "gateway/worker.h"
#include "tests/fuzz/folder.h"

#include <err.h>
#include <errno.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>

#define WORKERS     2
#define MAX_PAYLOAD 100000

static struct gateway gateway = {
    .n_workers = WORKERS, .max_connections = 64, .max_descriptors = 64};
static char listen_path[64];

/* Its threads are started only to end. */
static void gateway_close(void)
{
    struct error error;

    gateway_stop(&gateway);
    assert(gateway_start(&gateway, &error));
    gateway_join(&gateway);
    close(gateway.listen_fd);
}

static void gateway_write_instance(const char *dir, const char *rules)
{
    /* Nothing may depend on how fast this machine is. */
    /* clang-format off */
    const char *arguments[] = {"sallyport", "init", "--json", "--dir", dir, "--listen", listen_path,
        "--set", "gateway.deflate=true", "--set", "gateway.limits.max_payload=100000",
        "--set", "gateway.limits.per_address=0", "--set", "gateway.limits.events_per_second=0",
        "--set", "gateway.connect_timeout=1d", "--set", "gateway.ping_interval=1d",
        "--set", "gateway.authenticate_timeout=1d", "--set", "gateway.upgrade_timeout=1d",
        "--set", "gateway.close_timeout=1d", NULL};
    /* clang-format on */
    char path[128];

    assert(command_line(sizeof arguments / sizeof *arguments - 1, (char **)(uintptr_t)arguments) ==
           COMMAND_DONE);
    snprintf(path, sizeof path, "%s/relay.rules", dir);
    if (rules)
        folder_write(path, rules, strlen(rules), 0600);
}

/* Once; `rules` NULL: some that nobody asks for. */
static void gateway_open(const char *rules)
{
    struct revocations *reader;
    struct snapshot *snapshot;
    struct revoked *revoked;
    struct issuers_watch *issuers;
    struct error error;
    char path[128], dir[96];

    if (gateway.worker)
        return;
    signal(SIGPIPE, SIG_IGN);
    log_set_level(LOG_LEVEL_ERROR);
    folder_make();
    snprintf(dir, sizeof dir, "%s/gateway", folder.folder);
    snprintf(listen_path, sizeof listen_path, "%.40s/socket", folder.folder);
    gateway_write_instance(dir, rules);
    snprintf(path, sizeof path, "%s/sallyport.conf", dir);
    if (!(snapshot = snapshot_read(path, &error)) ||
        !(reader = revocations_open_reader(snapshot->config->token_revocations, &error)) ||
        !(revoked = revoked_read(reader, &error)) || !(issuers = issuers_watch_new(snapshot)) ||
        (gateway.listen_fd = net_listen(listen_path, &error)) < 0 ||
        !gateway_init(&gateway, snapshot, revoked, issuers_watch_known(issuers), &error))
        errx(1, "%s", error.text);
    revocations_close(&reader);
    revoked_put(&revoked);
    issuers_watch_free(&issuers);
    snapshot_put(&snapshot);
    for (unsigned i = 0; i < WORKERS; i++) /* Engine.IO 3's greeting waits for the client's word */
        gateway.worker[i].greeting.length_ms = 24 * 3600 * 1000;
    atexit(gateway_close);
}

/* Turns, until nobody has anything left to do; worker `first` takes the first one. */
static void gateway_settle(unsigned first)
{
    for (unsigned idle = 0; idle < 2 * WORKERS;) {
        struct worker *worker = &gateway.worker[first++ % WORKERS];

        idle = worker_turn(worker, 0) > 0 || http_timeout_ms(worker->http) == 0 ? 0 : idle + 1;
    }
}

static void demand_no_session(struct worker *worker)
{
    assert(worker->n_sessions == 0 && worker->polled.used == 0 && !worker->left);
    assert(atomic_load(&worker->outboxes.bytes) == 0 && http_waiting(worker->http) == 0);
    for (int state = 0; state < SESSION_STATES; state++)
        assert(atomic_load(&worker->counters.sessions[state]) == 0);
}

/* The input is through, and its clients have closed their ends. */
static void gateway_demand_nothing_left(void)
{
    gateway_settle(0);
    for (unsigned i = 0; i < WORKERS; i++)
        for (int state = 0; state < SESSION_STATES; state++) {
            struct session *head = &gateway.worker[i].sessions[state];

            while (head->next != head)
                session_end(head->next, CLOSE_LOST);
        }
    gateway_settle(0);
    for (unsigned i = 0; i < WORKERS; i++)
        demand_no_session(&gateway.worker[i]);
    assert(atomic_load(&gateway.connections) == 0 && atomic_load(&gateway.descriptors) == 0);
    assert(atomic_load(&gateway.body_bytes) == 0);
}

/* Who comes through the HTTP handshake, without it. */
static inline struct admission gateway_admit(uint8_t wire, bool deflates)
{
    atomic_fetch_add(&gateway.connections, 1);
    return (struct admission){.result = GATE_NO_TOKEN,
                              .address_place = directory_enter(gateway.directory, "a", 1, 0),
                              .wire = wire,
                              .deflates = deflates};
}

/* One frame as a client takes it (RFC 6455 §5.2), not masked, not in fragments. */
struct heard {
    enum websocket_opcode opcode;
    const uint8_t *payload;
    size_t bytes;
    uint8_t *expanded; /* to be freed */
};

/* False: there is none.  Where there is half of one, or one that this client would not take, the
 * target has found something. */
static inline bool heard_next(const char **at, const char *end, bool deflates, struct heard *frame)
{
    const uint8_t *head = (const uint8_t *)(const void *)*at;
    size_t left = (size_t)(end - *at), length_bytes, bytes;

    *frame = (struct heard){0};
    if (left == 0)
        return false;
    assert(left >= 2 && head[0] & 0x80 && !(head[0] & 0x30));
    length_bytes = head[1] < 126 ? 0 : head[1] == 126 ? 2 : 8;
    bytes = length_bytes ? 0 : head[1];
    assert(left >= 2 + length_bytes);
    for (size_t i = 0; i < length_bytes; i++)
        bytes = bytes << 8 | head[2 + i];
    assert(left - 2 - length_bytes >= bytes);
    frame->opcode = (enum websocket_opcode)(head[0] & 0x0f);
    frame->payload = head + 2 + length_bytes;
    frame->bytes = bytes;
    *at += 2 + length_bytes + bytes;
    if (head[0] & 0x40) {
        assert(deflates && (frame->opcode == OPCODE_TEXT || frame->opcode == OPCODE_BINARY));
        assert(deflate_expand(gateway.worker->deflate, frame->payload, bytes, 2 * MAX_PAYLOAD,
                              &frame->expanded, &frame->bytes) == DEFLATE_OK);
        frame->payload = frame->expanded;
    }
    return true;
}

/* What has come by now is appended to the `n` bytes of `text`; true: and that is the end. */
static inline bool gateway_receive(int fd, char *text, size_t *n, size_t room)
{
    ssize_t more;

    do {
        assert(*n < room);
        more = recv(fd, text + *n, room - *n, MSG_DONTWAIT);
        *n += more > 0 ? (size_t)more : 0;
    } while (more > 0);
    return more == 0 || errno != EAGAIN;
}

static inline int gateway_dial(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    memcpy(address.sun_path, listen_path, strlen(listen_path));
    assert(fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0);
    return fd;
}

/* An HTTP answer (RFC 9112), whole, inside `text`. */
struct heard_answer {
    unsigned status;
    char *head, *body; /* `head` is ended by a NUL */
    size_t bytes;
};

/* The first answer of `text`.  False: there is none; half of one is a finding. */
static inline bool heard_answer(char *text, size_t n, struct heard_answer *answer)
{
    static const char word[] = "\r\nContent-Length: ";
    char *end = memmem(text, n, "\r\n\r\n", 4), *length;

    *answer = (struct heard_answer){.head = text};
    if (n == 0)
        return false;
    assert(end && n > 12 && memcmp(text, "HTTP/1.1 ", 9) == 0);
    *end = '\0';
    answer->status = (unsigned)atoi(text + 9);
    answer->body = end + 4;
    length = strstr(text, word);
    if (length)
        answer->bytes = (size_t)atol(length + sizeof word - 1);
    assert(length || answer->status == 101 || answer->status == 204);
    assert(answer->bytes <= n - (size_t)(answer->body - text));
    return true;
}

/* A request on a connection of its own, which worker `first` is the first to hear of.  False: there
 * is no answer. */
static inline bool gateway_ask(unsigned first, const char *head, size_t head_bytes,
                               const char *body, size_t bytes, struct heard_answer *answer)
{
    static char text[4 << 20];
    size_t n = 0;
    int fd = gateway_dial();

    assert(send(fd, head, head_bytes, 0) == (ssize_t)head_bytes);
    gateway_settle(first);
    (void)!send(fd, body, bytes, 0); /* it may be refused already */
    for (size_t before = 1; n != before;) {
        before = n;
        gateway_settle(first);
        gateway_receive(fd, text, &n, sizeof text);
    }
    close(fd);
    gateway_settle(first);
    return heard_answer(text, n, answer);
}

#endif
