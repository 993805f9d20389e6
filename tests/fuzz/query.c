/*
 * The query of a request, as http.c and routes.c read it.  The first byte says what else the
 * request is; the rest is the query, in which a `$` stands for the id of a session that polls.
 * Where it can be read in one way only, the answer is the one that the table below expects.
 */
#include "gateway/polling.h"
#include "tests/fuzz/gateway.h"

#include <stdio.h>
#include <strings.h>

#define METHOD    3 /* bits: of which method */
#define UPGRADE   4 /* with the headers of a WebSocket */
#define FOREIGN   8 /* of a page from elsewhere */
#define ELSEWHERE 16
#define QUERY_MAX 8192
#define WAITS     0 /* in a status' stead: there is no answer yet */
#define NO_CODE   -1

static const char *const methods[] = {"GET", "POST", "OPTIONS", "PUT"};

struct expected {
    unsigned status;
    int code; /* of Engine.IO's refusals */
};

/* Nothing in it that clients and servers could read differently. */
static bool is_plain(const char *query)
{
    for (; *query; query++) {
        if (*query <= ' ' || *query > '~')
            return false;
        if (*query == '%' && strspn(query + 1, "0123456789abcdefABCDEF") < 2)
            return false;
    }
    return true;
}

static void decode(const char *from, size_t n, char *to)
{
    for (const char *end = from + n; from < end; from++) {
        char hex[3] = {from[0], from[1], '\0'};

        if (*from == '%') {
            memcpy(hex, from + 1, 2);
            *to++ = (char)strtol(hex, NULL, 16);
            from += 2;
        } else {
            *to++ = *from == '+' ? ' ' : *from;
        }
    }
    *to = '\0';
}

/* The first of this name that has a value; NULL: there is none. */
static const char *find(const char *query, const char *name, char value[QUERY_MAX])
{
    for (const char *at = query; *at; at += strspn(at, "&")) {
        size_t length = strcspn(at, "&");
        const char *equals = memchr(at, '=', length);
        char decoded[QUERY_MAX];

        decode(at, equals ? (size_t)(equals - at) : length, decoded);
        if (strcasecmp(decoded, name) == 0) {
            if (!equals)
                return NULL;
            decode(equals + 1, (size_t)(at + length - equals - 1), value);
            return value;
        }
        at += length;
    }
    return NULL;
}

static struct expected refusal(int code)
{
    return (struct expected){code == ENGINE_FORBIDDEN ? 403 : 400, code};
}

/* Engine.IO, "Handshake" and "Error codes". */
static struct expected expect_handshake(uint8_t how, const char *query, bool is_websocket)
{
    char value[QUERY_MAX];
    const char *version = find(query, "EIO", value);

    if ((how & METHOD) != 0)
        return refusal(ENGINE_BAD_METHOD);
    if (!version || (strcmp(version, "4") != 0 && strcmp(version, "3") != 0))
        return refusal(ENGINE_UNSUPPORTED_VERSION);
    if (is_websocket && !(how & UPGRADE))
        return refusal(ENGINE_BAD_REQUEST);
    return (struct expected){is_websocket ? 101 : 200, NO_CODE};
}

static struct expected expect_session(uint8_t how, bool is_websocket)
{
    if (is_websocket && ((how & METHOD) != 0 || !(how & UPGRADE)))
        return refusal(ENGINE_BAD_REQUEST);
    if (is_websocket)
        return (struct expected){101, NO_CODE};
    if (strcmp(methods[how & METHOD], "POST") == 0)
        return (struct expected){200, NO_CODE};
    return (how & METHOD) == 0 ? (struct expected){WAITS, NO_CODE} : refusal(ENGINE_BAD_METHOD);
}

static bool may_have_been(const char *sid)
{
    uint8_t id[SESSION_ID_BYTES];

    return strlen(sid) == SESSION_ID_TEXT && session_id_parse(sid, id) && id[0] < WORKERS;
}

static struct expected expect(uint8_t how, const char *query, const char *sid)
{
    char value[QUERY_MAX];
    const char *transport = find(query, "transport", value);
    bool is_websocket = transport && strcmp(transport, "websocket") == 0;
    bool is_polling = transport && strcmp(transport, "polling") == 0, is_own;
    struct expected expected;

    if (strstr(query, "%00"))
        return (struct expected){400, NO_CODE};
    if (how & FOREIGN)
        return refusal(ENGINE_FORBIDDEN);
    if (strcmp(methods[how & METHOD], "OPTIONS") == 0)
        return (struct expected){204, NO_CODE};
    if ((!is_websocket && !is_polling) || find(query, "j", value))
        return refusal(ENGINE_TRANSPORT_UNKNOWN);
    if (!find(query, "sid", value))
        return expect_handshake(how, query, is_websocket);
    is_own = strcmp(value, sid) == 0;
    if (!is_own && !may_have_been(value))
        return refusal(ENGINE_SESSION_UNKNOWN);
    expected = expect_session(how, is_websocket);
    /* Its owner is asked last; a WebSocket is opened first, and closed by the owner. */
    return is_own || is_websocket || expected.code != NO_CODE ? expected
                                                              : refusal(ENGINE_SESSION_UNKNOWN);
}

static void demand(const struct expected *expected, bool is_answered,
                   const struct heard_answer *answer)
{
    char body[64];

    assert(is_answered == (expected->status != WAITS));
    if (!is_answered)
        return;
    assert(answer->status == expected->status);
    if (expected->code == NO_CODE)
        return;
    snprintf(body, sizeof body, "{\"code\":%d,", expected->code);
    assert(memcmp(answer->body, body, strlen(body)) == 0);
}

static void open_session(char *sid)
{
    struct admission admission = gateway_admit(0, false);
    struct answer answer;

    session_id_text(session_open_polling(gateway.worker, &admission, &answer)->id, sid);
    free(answer.body);
}

/* The query as it is sent; its length. */
static size_t insert_sid(const uint8_t *from, size_t n, const char *sid, char query[QUERY_MAX])
{
    size_t length = 0;

    for (size_t i = 0; i < n && length < QUERY_MAX - SESSION_ID_TEXT - 1; i++) {
        if (from[i] == '$') {
            memcpy(query + length, sid, SESSION_ID_TEXT);
            length += SESSION_ID_TEXT;
        } else {
            query[length++] = (char)from[i];
        }
    }
    query[length] = '\0';
    return length;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char upgrade[] = "Upgrade: websocket\r\nConnection: Upgrade\r\n"
                                  "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
                                  "Sec-WebSocket-Version: 13\r\n";
    char sid[SESSION_ID_TEXT + 1], query[QUERY_MAX], head[QUERY_MAX + 512];
    struct heard_answer answer;
    struct expected expected;
    size_t length, n;
    bool is_answered, is_post;
    uint8_t how;

    if (size == 0)
        return 0;
    gateway_open(NULL);
    how = data[0];
    is_post = strcmp(methods[how & METHOD], "POST") == 0;
    open_session(sid);
    length = insert_sid(data + 1, size - 1, sid, query);
    n = (size_t)sprintf(head, "%s /socket.io/?", methods[how & METHOD]);
    memcpy(head + n, query, length);
    n += length;
    n += (size_t)sprintf(head + n, " HTTP/1.1\r\nHost: x\r\n%s%s%s\r\n",
                         how & UPGRADE ? upgrade : "",
                         how & FOREIGN ? "Origin: https://example.org\r\n" : "",
                         is_post ? "Content-Length: 1\r\n" : "");
    is_answered = gateway_ask(how & ELSEWHERE ? 1 : 0, head, n, "3", is_post ? 1 : 0, &answer);
    if (strlen(query) == length && is_plain(query)) {
        expected = expect(how, query, sid);
        demand(&expected, is_answered, &answer);
    }
    gateway_demand_nothing_left();
    return 0;
}
