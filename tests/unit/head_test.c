/* Which heads are plain, and what is in them; everything else is left alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/head.h"

#define LINE "GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\n"
#define HOST "Host: x\r\n"

static struct head head;

/* In memory of its own, for the sanitizer to guard. */
static char *text;

static enum head_kind parse(const char *from, size_t bytes)
{
    free(text);
    text = malloc(bytes ? bytes : 1);
    assert_non_null(text);
    memcpy(text, from, bytes);
    return head_parse(text, bytes, &head);
}

static enum head_kind kind_of(const char *from)
{
    return parse(from, strlen(from));
}

static const char *argument(const char *name)
{
    return head_value(head.argument, head.n_arguments, name);
}

static const char *header(const char *name)
{
    return head_value(head.header, head.n_headers, name);
}

static void a_plain_head_is_its_parts(void **state)
{
    (void)state;
    assert_int_equal(kind_of("POST /a/?EIO=4&sid=x=y&empty=&sid=2& HTTP/1.1\r\nhost:x\r\n"
                             "X-A:  b c\r\nX-None:\r\nContent-Length: 012\r\n"
                             "Connection: Close\r\n\r\n4abc"),
                     HEAD_PLAIN);
    head_terminate(&head);
    assert_string_equal(head.method, "POST");
    assert_string_equal(head.path, "/a/");
    assert_string_equal(argument("eio"), "4");
    assert_string_equal(argument("sid"), "x=y");
    assert_string_equal(argument("empty"), "");
    assert_int_equal(head.n_arguments, 4);
    assert_string_equal(header("Host"), "x");
    assert_string_equal(header("x-a"), "b c");
    assert_string_equal(header("x-none"), "");
    assert_null(header("x"));
    assert_int_equal(head.body_bytes, 12);
    assert_memory_equal(text + head.bytes, "4abc", 4);
    assert_true(head.is_last);
}

static void a_head_is_incomplete_until_its_empty_line(void **state)
{
    static const char whole[] = LINE HOST "Connection: keep-alive, Upgrade\r\n\r\n";

    (void)state;
    for (size_t i = 0; i < sizeof whole - 1; i++)
        assert_int_equal(parse(whole, i), HEAD_INCOMPLETE);
    assert_int_equal(parse(whole, sizeof whole - 1), HEAD_PLAIN);
    assert_false(head.is_last);
    assert_int_equal(head.bytes, sizeof whole - 1);
}

static void what_could_be_read_in_two_ways_or_must_be_decoded_is_not_plain(void **state)
{
    static const char *const others[] = {
        "\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.0\r\n" HOST "\r\n",
        "GET  / HTTP/1.1\r\n" HOST "\r\n",
        "GET / HTTP/1.1 \r\n" HOST "\r\n",
        "GET / HTTP/1.1\n" HOST "\r\n\r\n",
        "GET x HTTP/1.1\r\n" HOST "\r\n",
        "GET http://x/ HTTP/1.1\r\n" HOST "\r\n",
        "get / HTTP/1.1\r\n" HOST "\r\n",
        "PUT / HTTP/1.1\r\n" HOST "\r\n",
        "OPTIONS * HTTP/1.1\r\n" HOST "\r\n",
        "GET /%61 HTTP/1.1\r\n" HOST "\r\n",
        "GET /?a=%00 HTTP/1.1\r\n" HOST "\r\n",
        "GET /?a=b+c HTTP/1.1\r\n" HOST "\r\n",
        "GET /?a=1&b&b=2 HTTP/1.1\r\n" HOST "\r\n",
        "GET /?a HTTP/1.1\r\n" HOST "\r\n",
        "GET /?&a=1 HTTP/1.1\r\n" HOST "\r\n",
        "GET /?a=1&&b=2 HTTP/1.1\r\n" HOST "\r\n",
        "GET /+ HTTP/1.1\r\n" HOST "\r\n",
        "GET /?a=b%20c HTTP/1.1\r\n" HOST "\r\n",
        "GET /?a#b HTTP/1.1\r\n" HOST "\r\n",
        "GET /?\xc3\xa4=1 HTTP/1.1\r\n" HOST "\r\n",
        "\n",
        "GET / HTTP/1.1\n",
        "PUT / HTTP/1.1\r\n", /* of what is incomplete, the whole lines are judged */
        LINE HOST "X y: 1\r\nX",
        LINE "Host: x\n\n",
        LINE HOST HOST "\r\n",
        LINE "Host: x, y\r\n\r\n",
        LINE "Host: x/\r\n\r\n",
        LINE "Host: a@x\r\n\r\n",
        LINE HOST "X y: 1\r\n\r\n",
        LINE HOST "X-Y : 1\r\n\r\n",
        LINE HOST ": 1\r\n\r\n",
        LINE HOST "X-Y\r\n\r\n",
        LINE HOST " folded\r\n\r\n",
        LINE " " HOST "\r\n",
        LINE HOST "X: a\rb\r\n\r\n",
        LINE HOST "X: a\nY: b\r\n\r\n",
        LINE HOST "X: a \r\n\r\n",
        LINE HOST "X: a\t\r\n\r\n",
        LINE HOST "X: a\x01\r\n\r\n",
        LINE HOST "X: a\x7f\r\n\r\n",
        LINE HOST "Content-Length: 1\r\n\r\n",
        LINE HOST "Transfer-Encoding: chunked\r\n\r\n",
        LINE HOST "Expect: 100-continue\r\n\r\n",
        LINE HOST "Connection: keep-alive\r\nConnection: close\r\n\r\n",
        LINE HOST "Connection: keep-alive, close\r\n\r\n",
        LINE HOST "Connection: \r\n\r\n",
        "POST / HTTP/1.1\r\n" HOST "Content-Length: \r\n\r\n",
        "POST / HTTP/1.1\r\n" HOST "Content-Length: +1\r\n\r\n",
        "POST / HTTP/1.1\r\n" HOST "Content-Length: 1, 1\r\n\r\n",
        "POST / HTTP/1.1\r\n" HOST "Content-Length: 1234567890\r\n\r\n",
        "POST / HTTP/1.1\r\n" HOST "Content-Length: 1\r\ncontent-length: 1\r\n\r\n",
        "POST / HTTP/1.1\r\n" HOST "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    };
    static const char nul[] = LINE HOST "X: a\0b\r\n\r\n";

    (void)state;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (kind_of(others[i]) != HEAD_OTHER)
            fail_msg("is taken: %s", others[i]);
    assert_int_equal(parse(nul, sizeof nul - 1), HEAD_OTHER);
}

static void too_many_fields_are_not_plain(void **state)
{
    char from[16384], *at;

    (void)state;
    for (int n = HEAD_FIELDS - 1; n <= HEAD_FIELDS; n++) {
        at = from + sprintf(from, LINE HOST);
        for (int i = 0; i < n; i++)
            at += sprintf(at, "X-%d: %d\r\n", i, i);
        strcpy(at, "\r\n");
        assert_int_equal(kind_of(from), n < HEAD_FIELDS ? HEAD_PLAIN : HEAD_OTHER);
        at = from + sprintf(from, "GET /?a=1");
        for (int i = 0; i < n; i++)
            at += sprintf(at, "&a=%d", i);
        strcpy(at, " HTTP/1.1\r\n" HOST "\r\n");
        assert_int_equal(kind_of(from), n < HEAD_FIELDS ? HEAD_PLAIN : HEAD_OTHER);
    }
}

static int forget(void **state)
{
    (void)state;
    free(text);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plain_head_is_its_parts),
        cmocka_unit_test(a_head_is_incomplete_until_its_empty_line),
        cmocka_unit_test(what_could_be_read_in_two_ways_or_must_be_decoded_is_not_plain),
        cmocka_unit_test(too_many_fields_are_not_plain),
    };

    return cmocka_run_group_tests(tests, NULL, forget);
}
