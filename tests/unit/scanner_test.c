/*
 * The scanner by hand: what each part of its answer is.  That it takes what V8 takes is shown by
 * tests/system/scanner_v8.test.mjs, with texts by the thousand.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/scanner.h"

/* Scan a copy that ends where the memory ends, so that one byte too far is seen by ASan. */
static char *exact_copy(const char *text, size_t length)
{
    char *copy = malloc(length + (length == 0));

    assert_non_null(copy);
    memcpy(copy, text, length);
    return copy;
}

static bool is_value(const char *text, size_t length)
{
    char *copy = exact_copy(text, length);
    struct json_value value;
    bool is_one = scan_value(copy, length, &value);

    free(copy);
    return is_one;
}

static enum scan_result event_result(const char *text, uint32_t attachments)
{
    char *copy = exact_copy(text, strlen(text));
    struct event event;
    enum scan_result result = scan_event(copy, strlen(text), attachments, &event);

    free(copy);
    return result;
}

static void assert_span(struct span span, const char *text)
{
    assert_int_equal(span.length, strlen(text));
    assert_memory_equal(span.at, text, span.length);
}

static char *repeated(const char *part, size_t n, const char *between)
{
    char *text = calloc(n, strlen(part) + strlen(between) + 1), *at = text;

    assert_non_null(text);
    for (size_t i = 0; i < n; i++)
        at += sprintf(at, "%s%s", i ? between : "", part);
    return text;
}

static void a_value_has_its_text_and_type(void **state)
{
    static const struct {
        const char *text, *value;
        enum value_type type;
    } cases[] = {
        {" \t\r\n\"a\" ", "\"a\"", VALUE_STRING},
        {"0", "0", VALUE_INTEGER},
        {"-0", "-0", VALUE_INTEGER},
        {"12345678901234567890", "12345678901234567890", VALUE_INTEGER},
        {"1.0", "1.0", VALUE_NUMBER},
        {"1e2", "1e2", VALUE_NUMBER},
        {"-1.5E+400 ", "-1.5E+400", VALUE_NUMBER},
        {"{ \"a\" : [ 1 , 2 ] } ", "{ \"a\" : [ 1 , 2 ] }", VALUE_OBJECT},
        {"[]", "[]", VALUE_ARRAY},
        {"true", "true", VALUE_BOOLEAN},
        {"false", "false", VALUE_BOOLEAN},
        {"null", "null", VALUE_NULL},
        {"\"\\ud800 \\udc00\"", "\"\\ud800 \\udc00\"", VALUE_STRING},
        {"\"\x7f\xc2\x80\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf\"",
         "\"\x7f\xc2\x80\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf\"", VALUE_STRING},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct json_value value;

        assert_true(scan_value(cases[i].text, strlen(cases[i].text), &value));
        assert_span(value.text, cases[i].value);
        assert_int_equal(value.type, cases[i].type);
        assert_int_equal(value.placeholders, 0);
    }
}

static void what_is_not_json_is_refused(void **state)
{
    static const char *const texts[] = {
        "",
        " ",
        "[",
        "]",
        "{",
        "}",
        "[1,]",
        "[,1]",
        "[1 2]",
        "[1,,2]",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{,}",
        "{a:1}",
        "{'a':1}",
        "{1:1}",
        "{\"a\" 1}",
        "[1}",
        "{\"a\":1]",
        "1 1",
        "01",
        "-",
        "-01",
        "+1",
        ".5",
        "1.",
        "1.e1",
        "1e",
        "1e+",
        "0x1",
        "1_0",
        "Infinity",
        "NaN",
        "tru",
        "truee",
        "True",
        "nul",
        "undefined",
        "\"",
        "\"a",
        "\"\\\"",
        "\"\\",
        "\"\\x\"",
        "\"\\u\"",
        "\"\\u12\"",
        "\"\\u123",
        "\"\\u123g\"",
        "\"\\u 123\"",
        "\"\\U0041\"",
        "'a'",
        "\"\t\"",
        "\"\n\"",
        "\"\x01\"",
        "\"\x1f\"",
        "/**/1",
        "1//",
        "\xef\xbb\xbf"
        "1",
        "\xc2\xa0"
        "1",
        "\v1",
        "\f1",
        /* not UTF-8: a lone tail, overlong, a surrogate, above U+10FFFF, cut short */
        "\"\x80\"",
        "\"\xbf\"",
        "\"\xc0\x80\"",
        "\"\xc1\xbf\"",
        "\"\xe0\x9f\xbf\"",
        "\"\xed\xa0\x80\"",
        "\"\xed\xbf\xbf\"",
        "\"\xf0\x8f\xbf\xbf\"",
        "\"\xf4\x90\x80\x80\"",
        "\"\xf5\x80\x80\x80\"",
        "\"\xff\"",
        "\"\xc2\"",
        "\"\xe2\x82\"",
        "\"\xf0\x9f\x98\"",
        "\"\xc2",
        "\"\xe2\x82",
        "\"\xf0\x9f\x98",
        "\"\xe2\x28\xa1\"",
        "\"\xf0\x9f\x98\x28\"",
        "\xc3\xa9",
    };

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (is_value(texts[i], strlen(texts[i])))
            fail_msg("taken: %s", texts[i]);
    assert_false(is_value("\"\0\"", 3));
    assert_false(is_value("1\0", 2));
}

/* A string's bytes are skipped sixteen at a time: whatever stops that must be seen anywhere. */
static void a_bad_byte_is_seen_at_every_place(void **state)
{
    char text[72];

    (void)state;
    for (size_t length = 2; length <= sizeof text; length++) {
        memset(text, 'a', length);
        text[0] = text[length - 1] = '"';
        assert_true(is_value(text, length));
        for (size_t i = 1; i < length - 1; i++) {
            static const char bad[] = {0, 1, 0x1f, '"', '\\', (char)0x80, (char)0xff};

            for (size_t j = 0; j < sizeof bad; j++) {
                text[i] = bad[j];
                assert_false(is_value(text, length));
            }
            text[i] = 'a';
        }
        assert_false(is_value(text, length - 1));
    }
}

static void depth_ends_at_the_limit(void **state)
{
    (void)state;
    for (int is_object = 0; is_object < 2; is_object++) {
        for (size_t depth = 1; depth <= SCANNER_MAX_DEPTH + 1; depth++) {
            char *text = calloc(8, depth), *at = text;

            for (size_t i = 0; i < depth; i++)
                at += sprintf(at, "%s", !is_object ? "[" : i + 1 < depth ? "{\"a\":" : "{");
            for (size_t i = 0; i < depth; i++)
                *at++ = is_object ? '}' : ']';
            assert_int_equal(is_value(text, (size_t)(at - text)), depth <= SCANNER_MAX_DEPTH);
            free(text);
        }
    }
}

static void an_event_has_a_name_and_arguments(void **state)
{
    struct event event;
    const char text[] = " [ \"say\" , {\"a\":[1]} ,2.5, \"x\" ] ";

    (void)state;
    assert_int_equal(scan_event(text, strlen(text), 0, &event), SCAN_OK);
    assert_span(event.text, "[ \"say\" , {\"a\":[1]} ,2.5, \"x\" ]");
    assert_span(event.name.text, "\"say\"");
    assert_span(event.decoded_name, "say");
    assert_span(event.arguments, "{\"a\":[1]} ,2.5, \"x\"");
    assert_int_equal(event.n_arguments, 3);
    assert_span(event.argument[0].text, "{\"a\":[1]}");
    assert_int_equal(event.argument[0].type, VALUE_OBJECT);
    assert_span(event.argument[1].text, "2.5");
    assert_int_equal(event.argument[1].type, VALUE_NUMBER);
    assert_span(event.argument[2].text, "\"x\"");
    assert_int_equal(event.n_placeholders, 0);

    assert_int_equal(scan_event("[\"a\"]", 5, 0, &event), SCAN_OK);
    assert_int_equal(event.n_arguments, 0);
    assert_int_equal(event.arguments.length, 0);
}

static void arguments_beyond_the_ninth_are_counted(void **state)
{
    struct event event;
    const char text[] = "[\"e\",1,2,3,4,5,6,7,8,9,10,11]";

    (void)state;
    assert_int_equal(scan_event(text, strlen(text), 0, &event), SCAN_OK);
    assert_int_equal(event.n_arguments, 11);
    assert_span(event.argument[8].text, "9");
    assert_span(event.arguments, "1,2,3,4,5,6,7,8,9,10,11");
}

static void a_name_is_decoded_when_it_has_escapes(void **state)
{
    struct event event;
    const char text[] = "[\"\\u0073\\n\\ud83d\\ude00\\/\"]";

    (void)state;
    assert_int_equal(scan_event(text, strlen(text), 0, &event), SCAN_OK);
    assert_span(event.decoded_name, "s\n\xf0\x9f\x98\x80/");
    assert_ptr_equal(event.decoded_name.at, event.name_buffer);

    assert_int_equal(scan_event("[42,1]", 6, 0, &event), SCAN_OK);
    assert_span(event.decoded_name, "42");
    assert_int_equal(event.name.type, VALUE_INTEGER);
}

static void a_name_has_at_most_128_bytes(void **state)
{
    (void)state;
    for (size_t n = 127; n <= 130; n++) {
        char text[256];
        char *plain = repeated("x", n, ""), *escaped = repeated("x", n - 1, "");

        snprintf(text, sizeof text, "[\"%s\"]", plain);
        assert_int_equal(event_result(text, 0), n <= 128 ? SCAN_OK : SCAN_MALFORMED);
        snprintf(text, sizeof text, "[\"\\n%s\"]", escaped);
        assert_int_equal(event_result(text, 0), n <= 128 ? SCAN_OK : SCAN_MALFORMED);
        free(plain);
        free(escaped);
    }
}

static void an_event_without_a_proper_name_is_malformed(void **state)
{
    static const char *const texts[] = {
        "",
        "[]",
        "[null]",
        "[true]",
        "[{}]",
        "[[\"a\"]]",
        "{}",
        "\"a\"",
        "[\"a\"]x",
        "[\"a\"",
        "[\"a\"],",
        "[\"\\ud800\"]",
        "[\"\\udc00a\"]",
        "[\"a\",]",
        "[\"\\ud83d\\ud83d\"]",
    };

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        assert_int_equal(event_result(texts[i], 0), SCAN_MALFORMED);
}

static void reserved_names_are_told_apart(void **state)
{
    static const char *const reserved[] = {"connect",       "connect_error", "disconnect",
                                           "disconnecting", "newListener",   "removeListener"};
    char text[64];

    (void)state;
    for (size_t i = 0; i < sizeof reserved / sizeof *reserved; i++) {
        snprintf(text, sizeof text, "[\"%s\",1]", reserved[i]);
        assert_int_equal(event_result(text, 0), SCAN_RESERVED);
    }
    assert_int_equal(event_result("[\"\\u0063onnect\"]", 0), SCAN_RESERVED);
    assert_int_equal(event_result("[\"connecting\"]", 0), SCAN_OK);
    assert_int_equal(event_result("[\"Connect\"]", 0), SCAN_OK);
    assert_int_equal(event_result("[\"a\",\"connect\"]", 0), SCAN_OK);
    assert_int_equal(event_result("[\"connect\"", 0), SCAN_MALFORMED);
}

static void an_array_has_no_name(void **state)
{
    struct event event;

    (void)state;
    assert_int_equal(scan_array("[\"connect\",1]", 13, 0, &event), SCAN_OK);
    assert_int_equal(event.n_arguments, 2);
    assert_span(event.argument[0].text, "\"connect\"");
    assert_int_equal(event.name.type, VALUE_NONE);
    assert_int_equal(scan_array("[]", 2, 0, &event), SCAN_OK);
    assert_int_equal(event.n_arguments, 0);
    assert_int_equal(scan_array("{}", 2, 0, &event), SCAN_MALFORMED);
    assert_int_equal(scan_array("[{\"_placeholder\":true,\"num\":0}]", 31, 1, &event), SCAN_OK);
    assert_int_equal(event.n_placeholders, 1);
}

static void placeholders_are_found_in_their_arguments(void **state)
{
    struct event event;
    const char text[] = "[\"e\",{\"_placeholder\":true,\"num\":1},0,"
                        "[{\"x\":{ \"num\" : 2 , \"\\u005fplaceholder\" : true }},"
                        "{\"_placeholder\":true,\"nu\\u006d\":0}]]";

    (void)state;
    assert_int_equal(scan_event(text, strlen(text), 3, &event), SCAN_OK);
    assert_int_equal(event.n_placeholders, 3);
    assert_int_equal(event.argument[0].first_placeholder, 0);
    assert_int_equal(event.argument[0].placeholders, 1);
    assert_int_equal(event.argument[1].placeholders, 0);
    assert_int_equal(event.argument[2].first_placeholder, 1);
    assert_int_equal(event.argument[2].placeholders, 2);
    assert_int_equal(event.placeholder[0].number, 1);
    assert_int_equal(event.placeholder[1].number, 2);
    assert_span(event.placeholder[1].digits, "2");
    assert_int_equal(event.placeholder[2].number, 0);
}

#define P(n) "{\"_placeholder\":true,\"num\":" n "}"

static void placeholders_must_match_the_attachments(void **state)
{
    static const struct {
        const char *text;
        uint32_t attachments;
        enum scan_result result;
    } cases[] = {
        {"[\"e\"," P("0") "]", 1, SCAN_OK},
        {"[\"e\"," P("1") "," P("0") "]", 2, SCAN_OK},
        {"[\"e\",{\"_placeholder\":true,\"num\":0 ,\"_placeholde\":1}]", 1, SCAN_PLACEHOLDERS},
        {"[\"e\"]", 1, SCAN_PLACEHOLDERS},
        {"[\"e\"," P("0") "]", 2, SCAN_PLACEHOLDERS},
        {"[\"e\"," P("0") "," P("0") "]", 2, SCAN_PLACEHOLDERS},
        {"[\"e\"," P("0") "," P("0") "]", 1, SCAN_PLACEHOLDERS},
        {"[\"e\"," P("1") "]", 1, SCAN_PLACEHOLDERS},
        {"[\"e\"," P("-0") "]", 1, SCAN_PLACEHOLDERS},
        {"[\"e\"," P("-1") "]", 1, SCAN_PLACEHOLDERS},
        {"[\"e\"," P("0.0") "]", 1, SCAN_PLACEHOLDERS},
        {"[\"e\"," P("0e0") "]", 1, SCAN_PLACEHOLDERS},
        {"[\"e\"," P("\"0\"") "]", 1, SCAN_PLACEHOLDERS},
        {"[\"e\"," P("null") "]", 1, SCAN_PLACEHOLDERS},
        {"[\"e\"," P("[0]") "]", 1, SCAN_PLACEHOLDERS},
        {"[\"e\"," P("4294967296") "]", 1, SCAN_PLACEHOLDERS},
        {"[\"e\"," P("18446744073709551616") "]", 1, SCAN_PLACEHOLDERS},
        {"[\"e\"," P("0") ",{\"_placeholder\":true}]", 1, SCAN_PLACEHOLDERS},
        {"[\"e\"," P("0") ",{\"_placeholder\":true,\"n\":1}]", 1, SCAN_PLACEHOLDERS},
        /* repeated names: the last counts for JSON.parse, none for us */
        {"[\"e\",{\"_placeholder\":true,\"num\":1,\"num\":0}]", 1, SCAN_PLACEHOLDERS},
        {"[\"e\",{\"num\":0,\"_placeholder\":true,\"_placeholder\":true}]", 1, SCAN_PLACEHOLDERS},
        {"[\"e\"," P("0") ",{\"_placeholder\":false,\"_placeholder\":true}]", 1, SCAN_PLACEHOLDERS},
        {"[\"e\"," P("0") ",{\"_placeholder\":true,\"x\":" P("0") "}]", 2, SCAN_PLACEHOLDERS},
        /* these are data for the receiver too */
        {"[\"e\"," P("0") ",{\"_placeholder\":false,\"num\":0}]", 1, SCAN_OK},
        {"[\"e\"," P("0") ",{\"_placeholder\":\"true\",\"num\":0}]", 1, SCAN_OK},
        {"[\"e\"," P("0") ",{\"_placeholder\":[true],\"num\":0}]", 1, SCAN_OK},
        {"[\"e\"," P("0") ",[\"_placeholder\",true]]", 1, SCAN_OK},
        {"[\"e\"," P("0") ",{\"placeholder\":true},{\"num\":7}]", 1, SCAN_OK},
        {"[\"e\"," P("0") ",{\"x\":[{\"num\":1},true]}]", 1, SCAN_OK},
        {"[\"e\"," P("0") ",[{\"_placeholder\":false},true]]", 1, SCAN_OK},
        {"[\"e\"," P("0") ",{\"_placeholder\":[true],\"num\":[0]}]", 1, SCAN_OK},
        {"[\"e\"," P("7") ",{\"_placeholder\":true}]", 0, SCAN_OK},
        /* the grammar and the name come first */
        {"[\"e\"," P("5") ",]", 1, SCAN_MALFORMED},
        {"[\"connect\"," P("5") "]", 1, SCAN_RESERVED},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (event_result(cases[i].text, cases[i].attachments) != cases[i].result)
            fail_msg("%u attachments: %s", cases[i].attachments, cases[i].text);
}

static void the_shape_is_listed_when_it_is_data(void **state)
{
    struct event event;
    struct json_value value;
    const char text[] = "[\"e\"," P("12345678901") ",{\"_placeholder\":true}," P("-0") "," P(
        "1.0") "," P("\"0\"") ",1]";

    (void)state;
    assert_int_equal(scan_event(text, strlen(text), 0, &event), SCAN_OK);
    assert_int_equal(event.n_placeholders, 5);
    assert_int_equal(event.placeholder[0].number, UINT32_MAX);
    assert_span(event.placeholder[0].digits, "12345678901");
    for (int i = 1; i < 5; i++)
        assert_int_equal(event.placeholder[i].digits.length, 0);
    assert_int_equal(event.argument[1].placeholders, 1);
    assert_true(scan_value("{\"a\":" P("0") "}", strlen("{\"a\":" P("0") "}"), &value));
    assert_int_equal(value.placeholders, 1);
}

static void no_value_hides_a_placeholder_beyond_the_ceiling(void **state)
{
    struct event event;
    char *many = repeated(P("0"), 300, ","), *text = calloc(1, strlen(many) + 128);

    (void)state;
    sprintf(text, "[\"e\",1,[%s],2," P("0") ",[" P("0") "," P("1") "],3]", many);
    assert_int_equal(scan_event(text, strlen(text), 0, &event), SCAN_OK);
    assert_int_equal(event.n_placeholders, SCANNER_MAX_PLACEHOLDERS);
    assert_int_equal(event.argument[0].placeholders, 0);
    assert_int_equal(event.argument[1].first_placeholder, 0);
    assert_int_equal(event.argument[1].placeholders, SCANNER_MAX_PLACEHOLDERS);
    assert_int_equal(event.argument[2].placeholders, 0);
    for (int i = 3; i < 5; i++) {
        assert_int_equal(event.argument[i].first_placeholder, SCANNER_MAX_PLACEHOLDERS - 1);
        assert_int_equal(event.argument[i].placeholders, 1);
    }
    assert_int_equal(event.argument[5].placeholders, 0);
    free(text);
    free(many);
}

static void as_many_attachments_as_the_ceiling_are_taken(void **state)
{
    (void)state;
    for (int n = SCANNER_MAX_PLACEHOLDERS - 1; n <= SCANNER_MAX_PLACEHOLDERS + 1; n++) {
        char *text = calloc(n + 1, 40), *at = text;

        at += sprintf(at, "[\"e\"");
        for (int i = n - 1; i >= 0; i--)
            at += sprintf(at, ",{\"_placeholder\":true,\"num\":%d}", i);
        sprintf(at, "]");
        assert_int_equal(event_result(text, n),
                         n <= SCANNER_MAX_PLACEHOLDERS ? SCAN_OK : SCAN_PLACEHOLDERS);
        free(text);
    }
}

static struct span span_of(const char *text)
{
    return (struct span){text, (uint32_t)strlen(text)};
}

static void a_member_is_found_by_its_decoded_path(void **state)
{
    struct span object = span_of(" {\"a\": {\"b\":1, \"c\" : [2] }, \"\":0, \"x\\u0079\\n\":\"v\", "
                                 "\"a.b\":true, \"n\":{\"a\":9}} ");
    struct span path[3] = {span_of("a"), span_of("b"), span_of("c")};
    struct json_value value;

    (void)state;
    assert_true(scan_member(object, path, 2, &value));
    assert_span(value.text, "1");
    assert_int_equal(value.type, VALUE_INTEGER);
    assert_true(scan_member(object, path, 1, &value));
    assert_span(value.text, "{\"b\":1, \"c\" : [2] }");
    assert_false(scan_member(object, path, 3, &value));
    path[1] = span_of("c");
    assert_true(scan_member(object, path, 2, &value));
    assert_span(value.text, "[2]");
    path[0] = span_of("xy\n");
    assert_true(scan_member(object, path, 1, &value));
    assert_span(value.text, "\"v\"");
    path[0] = span_of("");
    assert_true(scan_member(object, path, 1, &value));
    assert_span(value.text, "0");
    path[0] = span_of("A");
    assert_false(scan_member(object, path, 1, &value));
}

static void of_repeated_members_the_last_counts(void **state)
{
    struct span path[2] = {span_of("a"), span_of("b")};
    struct json_value value;

    (void)state;
    assert_true(scan_member(span_of("{\"a\":1,\"\\u0061\":{\"b\":2,\"b\":3}}"), path, 2, &value));
    assert_span(value.text, "3");
    assert_false(scan_member(span_of("{\"a\":{\"b\":2},\"a\":1}"), path, 2, &value));
    assert_false(scan_member(span_of("[1]"), path, 1, &value));
    assert_false(scan_member(span_of("{}"), path, 1, &value));
    assert_false(scan_member((struct span){NULL, 0}, path, 1, &value));
    assert_false(scan_member(span_of("{\"\\ud800\":1}"), path, 1, &value));
}

static void an_object_without_a_member_has_none_of_that_name(void **state)
{
    static const char *const cases[][2] = {
        {"{}", "{}"},
        {"{\"token\":1}", "{}"},
        {" { \"a\" : [ 1 ] , \"token\" : \"x\" } ", "{\"a\":[ 1 ]}"},
        {"{\"token\":1,\"a\":2,\"\\u0074oken\":{\"b\":3},\"token\":\"\"}", "{\"a\":2}"},
        {"{\"b\":{\"token\":1},\"tokens\":\"\\ud800\",\"n\":12345678901234567890}",
         "{\"b\":{\"token\":1},\"tokens\":\"\\ud800\",\"n\":12345678901234567890}"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *out = malloc(strlen(cases[i][0]));
        size_t length;

        assert_non_null(out);
        length = scan_without(span_of(cases[i][0]), span_of("token"), out);
        assert_span((struct span){out, (uint32_t)length}, cases[i][1]);
        free(out);
    }
}

static void a_string_is_decoded_to_utf8(void **state)
{
    static const struct {
        const char *string, *decoded;
        ptrdiff_t length;
    } cases[] = {
        {"\"\"", "", 0},
        {"\"abc\"", "abc", 3},
        {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t", 8},
        {"\"\\u0000a\"", "\0a", 2},
        {"\"\\u007f\\u0080\\u07FF\\u0800\\uffff\"", "\x7f\xc2\x80\xdf\xbf\xe0\xa0\x80\xef\xbf\xbf",
         11},
        {"\"\\ud800\\udc00\\uDBFF\\uDFFF\"", "\xf0\x90\x80\x80\xf4\x8f\xbf\xbf", 8},
        {"\"\xe2\x82\xac\"", "\xe2\x82\xac", 3},
        {"\"\\ud800\"", NULL, -1},
        {"\"\\udc00\"", NULL, -1},
        {"\"\\ud800\\n\"", NULL, -1},
        {"\"\\ud800\\ud800\\udc00\"", NULL, -1},
        {"\"\\udc00\\ud800\"", NULL, -1},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char out[64];
        struct span string = span_of(cases[i].string);

        assert_int_equal(scan_decode_string(string, out, sizeof out), cases[i].length);
        if (cases[i].length > 0) {
            assert_memory_equal(out, cases[i].decoded, (size_t)cases[i].length);
            assert_int_equal(scan_decode_string(string, out, (size_t)cases[i].length - 1), -1);
            assert_int_equal(scan_decode_string(string, out, (size_t)cases[i].length),
                             cases[i].length);
        }
    }
}

static void text_outside_of_json_is_utf8_without_controls(void **state)
{
    (void)state;
    assert_true(scan_is_text(span_of("")));
    assert_true(scan_is_text(span_of("/a \"quoted\" \\ name, \xd0\xb6\xf0\x9f\x98\x80")));
    assert_false(scan_is_text(span_of("/admin\n")));
    assert_false(scan_is_text(span_of("/\x1e")));
    assert_false(scan_is_text(span_of("/0123456789abcdef\xd0")));
    assert_false(scan_is_text(span_of("/\xed\xa0\x80")));
    assert_false(scan_is_text((struct span){"/a\0", 3}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_value_has_its_text_and_type),
        cmocka_unit_test(what_is_not_json_is_refused),
        cmocka_unit_test(a_bad_byte_is_seen_at_every_place),
        cmocka_unit_test(depth_ends_at_the_limit),
        cmocka_unit_test(an_event_has_a_name_and_arguments),
        cmocka_unit_test(arguments_beyond_the_ninth_are_counted),
        cmocka_unit_test(a_name_is_decoded_when_it_has_escapes),
        cmocka_unit_test(a_name_has_at_most_128_bytes),
        cmocka_unit_test(an_event_without_a_proper_name_is_malformed),
        cmocka_unit_test(reserved_names_are_told_apart),
        cmocka_unit_test(an_array_has_no_name),
        cmocka_unit_test(placeholders_are_found_in_their_arguments),
        cmocka_unit_test(placeholders_must_match_the_attachments),
        cmocka_unit_test(the_shape_is_listed_when_it_is_data),
        cmocka_unit_test(no_value_hides_a_placeholder_beyond_the_ceiling),
        cmocka_unit_test(as_many_attachments_as_the_ceiling_are_taken),
        cmocka_unit_test(a_member_is_found_by_its_decoded_path),
        cmocka_unit_test(of_repeated_members_the_last_counts),
        cmocka_unit_test(an_object_without_a_member_has_none_of_that_name),
        cmocka_unit_test(a_string_is_decoded_to_utf8),
        cmocka_unit_test(text_outside_of_json_is_utf8_without_controls),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
