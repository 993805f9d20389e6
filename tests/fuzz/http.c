/*
 * The bytes of one connection, before there is a session or with one: a `$` stands for the id of a
 * session that polls.  The first byte says which worker hears of it, the second how many of the
 * following say how long the pieces are, over and over.  What is answered and what comes of it are
 * the same wherever the bytes are cut; and the first answer is the same when libmicrohttpd has the
 * connection from the beginning, which gives no second one.
 */
#include "gateway/polling.h"
#include "tests/fuzz/gateway.h"

#include <fcntl.h>
#include <sodium.h>
#include <strings.h>

#define ELSEWHERE   1
#define HEARD_MAX   (1 << 20)
#define ANSWERS_MAX 256

struct outcome {
    unsigned status[ANSWERS_MAX], n;
    uint64_t lines, first_lines; /* of all answers, of the first one's head; in any order */
    uint64_t closed[CLOSE_REASONS_N], left[SESSION_STATES], queued;
    bool is_closed;
};

/* Chance, which is the same every time. */
static uint64_t chance;

static const char *name_of_chance(void)
{
    return "the same";
}

static uint32_t next_chance(void)
{
    chance = chance * UINT64_C(6364136223846793005) + 1;
    return (uint32_t)(chance >> 32);
}

static void fill_by_chance(void *to, size_t n)
{
    for (size_t i = 0; i < n; i++)
        ((uint8_t *)to)[i] = (uint8_t)next_chance();
}

static struct randombytes_implementation same_chance = {
    .implementation_name = name_of_chance, .random = next_chance, .buf = fill_by_chance};

static void open_session(char *sid)
{
    struct admission admission = gateway_admit(0, false);
    struct answer answer;

    session_id_text(session_open_polling(gateway.worker, &admission, &answer)->id, sid);
    free(answer.body);
}

static size_t insert_sid(const uint8_t *from, size_t n, char *to)
{
    char sid[SESSION_ID_TEXT + 1];
    size_t length = 0;

    open_session(sid);
    for (size_t i = 0; i < n; i++) {
        if (from[i] == '$')
            memcpy(to + length, sid, SESSION_ID_TEXT);
        else
            to[length] = (char)from[i];
        length += from[i] == '$' ? SESSION_ID_TEXT : 1;
    }
    return length;
}

static uint64_t hash_line(const char *at, size_t n)
{
    uint64_t hash = 1;

    for (size_t i = 0; i < n; i++)
        hash = (hash ^ (uint8_t)at[i]) * UINT64_C(1099511628211);
    return hash;
}

static bool begins(const char *at, const char *end, const char *word)
{
    return (size_t)(end - at) >= strlen(word) && memcmp(at, word, strlen(word)) == 0;
}

static void take_answers(const char *text, size_t n, struct outcome *outcome)
{
    static const char version[] = "HTTP/1.1 ";
    const char *end = text + n, *at, *next;
    bool is_first = true;

    assert(n == 0 || begins(text, end, version));
    for (at = text; (at = memmem(at, (size_t)(end - at), version, sizeof version - 1)) != NULL;
         at++)
        if (outcome->n < ANSWERS_MAX)
            outcome->status[outcome->n++] = (unsigned)atoi(at + sizeof version - 1);
    for (at = text; at < end; at = next) {
        const char *lf = memchr(at, '\n', (size_t)(end - at));

        next = lf ? lf + 1 : end;
        if (begins(at, next, "Date: ") || begins(at, next, "Connection: close"))
            continue;
        outcome->lines += hash_line(at, (size_t)(next - at));
        is_first &= at[0] != '\r';
        if (is_first)
            outcome->first_lines += hash_line(at, (size_t)(next - at));
    }
}

/* A connection that no porter sees. */
static int dial_library(struct worker *worker)
{
    struct timer deadline = {0};
    int pair[2];

    assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
    assert(fcntl(pair[0], F_SETFL, O_NONBLOCK) == 0);
    timer_arm(&worker->request, &deadline, worker->now_ms);
    http_take(worker->http, pair[0], &deadline);
    return pair[1];
}

/* What the gateway is like now, less what it was. */
static void take_state(struct outcome *outcome, uint64_t sign)
{
    for (unsigned i = 0; i < WORKERS; i++) {
        struct worker *worker = &gateway.worker[i];

        for (int reason = 0; reason < CLOSE_REASONS_N; reason++)
            outcome->closed[reason] += sign * atomic_load(&worker->counters.closed[reason]);
        for (int state = 0; state < SESSION_STATES; state++)
            outcome->left[state] += sign * atomic_load(&worker->counters.sessions[state]);
        outcome->queued += sign * atomic_load(&worker->outboxes.bytes);
    }
}

/* libmicrohttpd forgets the answer when more comes behind a request of this kind without a body,
 * whoever had it first. */
static bool expects(const uint8_t *data, size_t size)
{
    static const char word[] = "Expect";

    for (; size >= sizeof word - 1; data++, size--)
        if (strncasecmp((const char *)data, word, sizeof word - 1) == 0)
            return true;
    return false;
}

static void play(unsigned first, bool is_library, const uint8_t *data, size_t size,
                 const uint8_t *cuts, unsigned n_cuts, struct outcome *outcome)
{
    static char heard[HEARD_MAX];
    char *stream = malloc(size * SESSION_ID_TEXT + 1);
    size_t length, n = 0, bytes;
    unsigned i = 0;
    int fd;

    assert(stream);
    chance = 1;
    *outcome = (struct outcome){0};
    take_state(outcome, (uint64_t)-1);
    length = insert_sid(data, size, stream);
    fd = is_library ? dial_library(&gateway.worker[first]) : gateway_dial();
    for (size_t at = 0; at < length && !outcome->is_closed; at += bytes) {
        bytes = n_cuts ? cuts[i++ % n_cuts] + 1u : length;
        if (bytes > length - at)
            bytes = length - at;
        if (send(fd, stream + at, bytes, MSG_DONTWAIT) < 0) {
            /* What comes is taken, except behind a request that waits. */
            assert(errno != EAGAIN || http_waiting(gateway.worker[first].http) > 0);
            break;
        }
        gateway_settle(first);
        outcome->is_closed = gateway_receive(fd, heard, &n, sizeof heard);
    }
    take_answers(heard, n, outcome);
    take_state(outcome, 1);
    close(fd);
    free(stream);
    gateway_demand_nothing_left();
}

/* libmicrohttpd has what comes in drops, too. */
static void demand_same(const struct outcome *whole, const struct outcome *other)
{
    bool is_short = other->n < whole->n || other->is_closed != whole->is_closed;

    assert(!is_short || other->is_closed);
    assert(whole->first_lines == other->first_lines);
    assert(memcmp(whole->status, other->status, other->n * sizeof *other->status) == 0);
    assert(is_short || memcmp(whole, other, sizeof *whole) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct outcome library, whole, cut;
    const uint8_t *stream;
    unsigned n_cuts, first;

    if (size < 3 || data[1] == 0 || size - 2 <= data[1])
        return 0;
    randombytes_set_implementation(&same_chance);
    gateway_open(NULL);
    first = data[0] & ELSEWHERE;
    n_cuts = data[1];
    stream = data + 2 + n_cuts;
    size -= 2 + n_cuts;
    play(first, true, stream, size, NULL, 0, &library);
    play(first, false, stream, size, NULL, 0, &whole);
    play(first, false, stream, size, data + 2, n_cuts, &cut);
    if (expects(stream, size))
        return 0;
    demand_same(&whole, &library);
    demand_same(&whole, &cut);
    return 0;
}
