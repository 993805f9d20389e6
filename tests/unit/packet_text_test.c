/* The codec of a Socket.IO packet's text: examples of the specification first, the ugly last. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/packet_text.h"

#define P(n) "{\"_placeholder\":true,\"num\":" n "}"

static struct event event;

static enum scan_result parse(const char *text, struct packet_text *packet)
{
    return packet_text_parse(text, strlen(text), 10, packet, &event);
}

static void assert_span(struct span span, const char *text)
{
    assert_int_equal(span.length, strlen(text));
    assert_memory_equal(span.at, text, span.length);
}

static void a_packet_is_its_parts(void **state)
{
    static const struct {
        const char *text;
        enum packet_type type;
        uint32_t attachments;
        const char *namespace, *query;
        int64_t id; /* -1: none */
        const char *json;
    } cases[] = {
        {"0", PACKET_CONNECT, 0, "/", "", -1, ""},
        {"0{}", PACKET_CONNECT, 0, "/", "", -1, "{}"},
        {"0{\"token\":\"a,b\"}", PACKET_CONNECT, 0, "/", "", -1, "{\"token\":\"a,b\"}"},
        {"0/random", PACKET_CONNECT, 0, "/random", "", -1, ""},
        {"0/admin,", PACKET_CONNECT, 0, "/admin", "", -1, ""},
        {"0/admin,{\"sid\":\"x\"} ", PACKET_CONNECT, 0, "/admin", "", -1, "{\"sid\":\"x\"}"},
        {"0/,", PACKET_CONNECT, 0, "/", "", -1, ""},
        {"0/custom?token=abc,", PACKET_CONNECT, 0, "/custom", "token=abc", -1, ""},
        {"0/custom?token=abc", PACKET_CONNECT, 0, "/custom", "token=abc", -1, ""},
        {"0/?a=?", PACKET_CONNECT, 0, "/", "a=?", -1, ""},
        {"0/a?,", PACKET_CONNECT, 0, "/a", "", -1, ""},
        {"0/\xd0\xb6,", PACKET_CONNECT, 0, "/\xd0\xb6", "", -1, ""},
        {"1", PACKET_DISCONNECT, 0, "/", "", -1, ""},
        {"1/admin,", PACKET_DISCONNECT, 0, "/admin", "", -1, ""},
        {"2[\"foo\"]\r\n", PACKET_EVENT, 0, "/", "", -1, "[\"foo\"]"},
        {"2/admin,[\"bar\"]", PACKET_EVENT, 0, "/admin", "", -1, "[\"bar\"]"},
        {"212[\"foo\"]", PACKET_EVENT, 0, "/", "", 12, "[\"foo\"]"},
        {"2/admin,17[\"a\",1]", PACKET_EVENT, 0, "/admin", "", 17, "[\"a\",1]"},
        {"2007[\"a\"]", PACKET_EVENT, 0, "/", "", 7, "[\"a\"]"},
        {"29007199254740991[\"a\"]", PACKET_EVENT, 0, "/", "", 9007199254740991, "[\"a\"]"},
        {"3/admin,13[\"bar\"]", PACKET_ACK, 0, "/admin", "", 13, "[\"bar\"]"},
        {"30[]", PACKET_ACK, 0, "/", "", 0, "[]"},
        {"51-[\"baz\"," P("0") "]", PACKET_BINARY_EVENT, 1, "/", "", -1, "[\"baz\"," P("0") "]"},
        {"52-/admin,[\"baz\"," P("0") "," P("1") "]", PACKET_BINARY_EVENT, 2, "/admin", "", -1,
         "[\"baz\"," P("0") "," P("1") "]"},
        {"51-15[\"bar\"," P("0") "]", PACKET_BINARY_EVENT, 1, "/", "", 15, "[\"bar\"," P("0") "]"},
        {"61-/admin,15[" P("0") "]", PACKET_BINARY_ACK, 1, "/admin", "", 15, "[" P("0") "]"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct packet_text packet;

        if (parse(cases[i].text, &packet) != SCAN_OK)
            fail_msg("refused: %s", cases[i].text);
        assert_int_equal(packet.type, cases[i].type);
        assert_int_equal(packet.attachments, cases[i].attachments);
        assert_span(packet.namespace, cases[i].namespace);
        assert_span(packet.query, cases[i].query);
        assert_non_null(packet.query.at); /* for whoever reckons with it, also when it is empty */
        assert_int_equal(packet.has_id, cases[i].id >= 0);
        assert_int_equal(packet.id, cases[i].id >= 0 ? cases[i].id : 0);
        assert_span(packet.json, cases[i].json);
    }
}

static void events_and_acks_are_scanned(void **state)
{
    struct packet_text packet;

    (void)state;
    assert_int_equal(parse("2/admin,17[\"say\",{\"a\":1},2]", &packet), SCAN_OK);
    assert_span(event.decoded_name, "say");
    assert_int_equal(event.n_arguments, 2);
    assert_int_equal(parse("317[\"connect\",1]", &packet), SCAN_OK);
    assert_int_equal(event.n_arguments, 2);
    assert_int_equal(parse("2[\"disconnect\"]", &packet), SCAN_RESERVED);
    assert_int_equal(parse("52-[\"a\"," P("0") "]", &packet), SCAN_PLACEHOLDERS);
    assert_int_equal(parse("61-7[]", &packet), SCAN_PLACEHOLDERS);
    assert_int_equal(parse("2[\"a\"," P("5") "]", &packet), SCAN_OK);
}

static void attachments_end_at_the_limit(void **state)
{
    const char one[] = "51-[\"a\"," P("0") "]";
    struct packet_text packet;

    (void)state;
    assert_int_equal(packet_text_parse(one, strlen(one), 1, &packet, &event), SCAN_OK);
    assert_int_equal(packet_text_parse(one, strlen(one), 0, &packet, &event), SCAN_PLACEHOLDERS);
    assert_int_equal(parse("511-[\"a\"]", &packet), SCAN_PLACEHOLDERS);
    assert_int_equal(parse("54294967297-[\"a\"," P("0") "]", &packet), SCAN_PLACEHOLDERS);
    assert_int_equal(parse("518446744073709551617-[\"a\"," P("0") "]", &packet), SCAN_MALFORMED);
}

static void what_no_client_may_send_is_malformed(void **state)
{
    static const char *const texts[] = {
        "",
        "7",
        "a",
        "/",
        "-1",
        "abc",
        " 2[\"a\"]",
        /* CONNECT: an object or nothing */
        "0[]",
        "0\"a\"",
        "0null",
        "0{",
        "0{}x",
        "05{}",
        "0/admin,5",
        "0 ",
        "0{\"a\":\"\xff\"}",
        /* DISCONNECT: nothing */
        "1{}",
        "1[]",
        "15",
        "1/admin,x",
        /* EVENT: a named array */
        "2",
        "2/admin",
        "2/admin,",
        "2/admin[\"a\"]",
        "2{}",
        "2[]",
        "2abc[\"a\"]",
        "2[\"a\"",
        "2[\"a\"]x",
        "2 [\"a\"]",
        "21 [\"a\"]",
        "2-1[\"a\"]",
        "21.5[\"a\"]",
        "21e1[\"a\"]",
        "21/admin,[\"a\"]",
        "2,[\"a\"]",
        "21-[\"a\"," P("0") "]",
        "29007199254740992[\"a\"]",
        "218446744073709551617[\"a\"]",
        /* ACK: an array and an id */
        "3",
        "31",
        "3[]",
        "31{}",
        "3/admin,[]",
        /* CONNECT_ERROR: never from a client */
        "4",
        "4{\"message\":\"no\"}",
        "4\"no\"",
        /* binary */
        "5",
        "5[\"a\"]",
        "50-[\"a\"]",
        "500-[\"a\"]",
        "5-[\"a\"," P("0") "]",
        "51[\"a\"," P("0") "]",
        "51",
        "51-",
        "5-1-[\"a\"]",
        "51.0-[\"a\"," P("0") "]",
        "5 1-[\"a\"," P("0") "]",
        "51-{}",
        "61-[" P("0") "]",
        "6[]",
        /* a namespace is text */
        "0/\n,",
        "0/a\x1ez",
        "0/\xff,",
        "0/a?\x80,",
        "0admin,",
    };

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        size_t length = strlen(texts[i]);
        char *copy = malloc(length + 1); /* one byte more than ends here, so never NULL */
        struct packet_text packet;

        memcpy(copy + 1, texts[i], length);
        if (packet_text_parse(copy + 1, length, 10, &packet, &event) != SCAN_MALFORMED)
            fail_msg("not malformed: %s", texts[i]);
        free(copy);
    }
}

static void a_namespace_is_bounded_without_its_query(void **state)
{
    char text[1000];
    struct packet_text packet;

    (void)state;
    memset(text, 'a', sizeof text);
    memcpy(text, "0/", 2);
    text[1 + PACKET_MAX_NAMESPACE] = '?';
    assert_int_equal(packet_text_parse(text, sizeof text, 0, &packet, &event), SCAN_OK);
    assert_int_equal(packet.namespace.length, PACKET_MAX_NAMESPACE);
    assert_int_equal(packet.query.length, sizeof text - 2 - PACKET_MAX_NAMESPACE);
    text[1 + PACKET_MAX_NAMESPACE] = 'a';
    text[2 + PACKET_MAX_NAMESPACE] = '?';
    assert_int_equal(packet_text_parse(text, sizeof text, 0, &packet, &event), SCAN_MALFORMED);
}

static void every_cut_of_a_packet_is_refused(void **state)
{
    static const char text[] = "52-/admin,17[\"baz\"," P("0") ",[\"\\u00e9\xc3\xa9\"," P("1") "]]";
    size_t length = sizeof text - 1;

    (void)state;
    for (size_t n = 0; n <= length; n++) {
        char *copy = malloc(n + 1);
        struct packet_text packet;

        memcpy(copy + 1, text, n);
        assert_int_equal(packet_text_parse(copy + 1, n, 10, &packet, &event),
                         n == length ? SCAN_OK : SCAN_MALFORMED);
        free(copy);
    }
}

static void a_header_is_written_as_it_is_read(void **state)
{
    static const struct {
        struct packet_text packet;
        const char *header;
    } cases[] = {
        {{.type = PACKET_CONNECT, .namespace = {"/", 1}}, "40"},
        {{.type = PACKET_CONNECT, .namespace = {"/custom", 7}, .query = {"a=b", 3}}, "40/custom,"},
        {{.type = PACKET_DISCONNECT, .namespace = {"/", 1}}, "41"},
        {{.type = PACKET_EVENT, .namespace = {"/admin", 6}, .has_id = true, .id = 17},
         "42/admin,17"},
        {{.type = PACKET_EVENT, .namespace = {"/", 1}, .id = 5}, "42"},
        {{.type = PACKET_ACK, .namespace = {"/", 1}, .has_id = true}, "430"},
        {{.type = PACKET_CONNECT_ERROR, .namespace = {"/random", 7}}, "44/random,"},
        {{.type = PACKET_BINARY_EVENT, .namespace = {"/", 1}, .attachments = 10}, "4510-"},
        {{.type = PACKET_BINARY_ACK,
          .namespace = {"/a", 2},
          .attachments = 1,
          .has_id = true,
          .id = PACKET_MAX_ID},
         "461-/a,9007199254740991"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char out[PACKET_HEADER_SIZE];
        size_t n = packet_text_write_header(&cases[i].packet, out);

        assert_int_equal(n, strlen(cases[i].header));
        assert_memory_equal(out, cases[i].header, n);
    }
}

static void the_longest_header_fits(void **state)
{
    char name[PACKET_MAX_NAMESPACE], *out = malloc(PACKET_HEADER_SIZE);
    struct packet_text packet = {.type = PACKET_BINARY_ACK,
                                 .attachments = UINT32_MAX,
                                 .namespace = {name, sizeof name},
                                 .has_id = true,
                                 .id = UINT64_MAX};

    (void)state;
    memset(name, 'a', sizeof name);
    name[0] = '/';
    assert_int_equal(packet_text_write_header(&packet, out), PACKET_HEADER_SIZE);
    assert_memory_equal(out + PACKET_HEADER_SIZE - 20, "18446744073709551615", 20);
    free(out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_packet_is_its_parts),
        cmocka_unit_test(events_and_acks_are_scanned),
        cmocka_unit_test(attachments_end_at_the_limit),
        cmocka_unit_test(what_no_client_may_send_is_malformed),
        cmocka_unit_test(a_namespace_is_bounded_without_its_query),
        cmocka_unit_test(every_cut_of_a_packet_is_refused),
        cmocka_unit_test(a_header_is_written_as_it_is_read),
        cmocka_unit_test(the_longest_header_fits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
