/* What a web server's parameters say, and how much of a body is read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "login-fcgi/request.h"

/* A peer that gives `text` in pieces of at most `piece` bytes, then its end or its failure. */
struct peer {
    const char *text;
    size_t left, piece;
    bool repeats, fails;
    size_t given;
};

static ssize_t peer_read(void *source, char *buffer, size_t size)
{
    struct peer *peer = source;
    size_t n = size < peer->piece ? size : peer->piece;

    if (peer->repeats) {
        memset(buffer, 'x', n);
    } else {
        n = n < peer->left ? n : peer->left;
        memcpy(buffer, peer->text, n);
        peer->text += n;
        peer->left -= n;
    }
    peer->given += n;
    return n == 0 && peer->fails ? -1 : (ssize_t)n;
}

static struct peer peer_of(const char *text)
{
    return (struct peer){.text = text, .left = strlen(text), .piece = 3};
}

/* The parameters live until the next request. */
static struct request request_of(const char *a, const char *b, const char *c)
{
    static char text[3][300];
    char *const parameters[] = {strcpy(text[0], a), strcpy(text[1], b), strcpy(text[2], c), NULL};
    struct request request;

    request_init(&request, parameters);
    return request;
}

static void parameters_are_found_by_their_whole_name(void **state)
{
    struct request request =
        request_of("XREQUEST_METHOD=PUT", "REQUEST_METHOD_=PUT", "REQUEST_METHOD=POST");

    (void)state;
    assert_string_equal(request.method, "POST");
    assert_string_equal(request.content_type, "");
    assert_string_equal(request.client, "");
}

static void the_path_is_what_the_client_sent(void **state)
{
    static const struct {
        const char *uri, *script, *info, *path;
    } rows[] = {
        {"REQUEST_URI=/login", "SCRIPT_NAME=/x", "PATH_INFO=/y", "/login"},
        {"REQUEST_URI=/login?a=/b?c", "SCRIPT_NAME=/x", "PATH_INFO=", "/login"},
        {"REQUEST_URI=//login", "SCRIPT_NAME=/login", "PATH_INFO=", "//login"},
        {"REQUEST_URI=/login%2f", "SCRIPT_NAME=/login", "PATH_INFO=/", "/login%2f"},
        {"REQUEST_URI=", "SCRIPT_NAME=/login", "PATH_INFO=", "/login"},
        {"X=", "SCRIPT_NAME=/login", "PATH_INFO=/more", "/login/more"},
        {"X=", "SCRIPT_NAME=", "PATH_INFO=/login", "/login"},
        {"X=", "Y=", "Z=", ""},
    };
    char uri[300] = "REQUEST_URI=/login";
    struct request request;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        request = request_of(rows[i].uri, rows[i].script, rows[i].info);
        assert_string_equal(request.path, rows[i].path);
    }
    memset(uri + strlen(uri), 'x', sizeof uri - strlen(uri) - 1);
    uri[sizeof uri - 1] = '\0';
    request = request_of(uri, "", "");
    assert_string_equal(request.path, "");
}

static void a_whole_body_is_read_in_pieces(void **state)
{
    struct request request = request_of("CONTENT_LENGTH=10", "", "");
    struct peer peer = peer_of("0123456789");

    (void)state;
    assert_true(request_read_body(&request, 10, peer_read, &peer));
    assert_int_equal(request.state, REQUEST_BODY_WHOLE);
    assert_int_equal(request.body_bytes, 10);
    assert_string_equal(request.body, "0123456789");
    request_fini(&request);
    assert_null(request.body);
}

static void an_empty_body_is_whole(void **state)
{
    struct request request = request_of("CONTENT_LENGTH=0", "", "");
    struct peer peer = peer_of("");

    (void)state;
    assert_true(request_read_body(&request, 10, peer_read, &peer));
    assert_int_equal(request.state, REQUEST_BODY_WHOLE);
    assert_string_equal(request.body, "");
    request_fini(&request);
}

static void a_body_of_another_length_is_damaged(void **state)
{
    static const char *const lengths[] = {
        "CONTENT_LENGTH=9",     "CONTENT_LENGTH=11",
        "CONTENT_LENGTH=0",     "CONTENT_LENGTH=-10",
        "CONTENT_LENGTH=+10",   "CONTENT_LENGTH= 10",
        "CONTENT_LENGTH=10 ",   "CONTENT_LENGTH=0x0a",
        "CONTENT_LENGTH=10,10", "CONTENT_LENGTH=18446744073709551626"};

    (void)state;
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        struct peer peer = peer_of("0123456789");
        struct request request = request_of(lengths[i], "", "");

        assert_true(request_read_body(&request, 100, peer_read, &peer));
        assert_int_equal(request.state, REQUEST_BODY_DAMAGED);
        assert_int_equal(peer.left, 0);
        request_fini(&request);
    }
}

static void a_long_body_is_read_away_but_not_for_ever(void **state)
{
    struct request request = request_of("CONTENT_LENGTH=10", "", "");
    struct peer peer = peer_of("0123456789");
    struct peer endless = {.repeats = true, .piece = 8192};

    (void)state;
    assert_true(request_read_body(&request, 9, peer_read, &peer));
    assert_int_equal(request.state, REQUEST_BODY_TOO_LONG);
    assert_null(request.body);
    assert_int_equal(peer.left, 0);
    request = request_of("CONTENT_LENGTH=999999999999999999", "", "");
    assert_true(request_read_body(&request, 9, peer_read, &endless));
    assert_int_equal(request.state, REQUEST_BODY_TOO_LONG);
    assert_in_range(endless.given, 1 << 20, 32 << 20);
}

static void without_a_length_nothing_is_kept(void **state)
{
    struct request request = request_of("CONTENT_LENGTH=", "", "");
    struct peer peer = peer_of("0123456789");

    (void)state;
    assert_true(request_read_body(&request, 100, peer_read, &peer));
    assert_int_equal(request.state, REQUEST_BODY_NO_LENGTH);
    assert_null(request.body);
    assert_int_equal(peer.left, 0);
}

static void a_peer_that_fails_is_told_from_one_that_ends(void **state)
{
    struct request request = request_of("CONTENT_LENGTH=12", "", "");
    struct peer peer = peer_of("0123456789");

    (void)state;
    peer.fails = true;
    assert_false(request_read_body(&request, 100, peer_read, &peer));
    request_fini(&request);
}

static void a_type_is_compared_without_its_parameters(void **state)
{
    static const struct {
        const char *text;
        bool is;
    } rows[] = {
        {"CONTENT_TYPE=application/json", true},
        {"CONTENT_TYPE=application/JSON; charset=UTF-8", true},
        {"CONTENT_TYPE=Application/Json\t;charset=utf-8", true},
        {"CONTENT_TYPE=application/jsonp", false},
        {"CONTENT_TYPE=application/json, text/plain", false},
        {"CONTENT_TYPE=application/js", false},
        {"CONTENT_TYPE=", false},
        {"X=application/json", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct request request = request_of(rows[i].text, "", "");

        assert_int_equal(request_has_type(&request, "application/json"), rows[i].is);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parameters_are_found_by_their_whole_name),
        cmocka_unit_test(the_path_is_what_the_client_sent),
        cmocka_unit_test(a_whole_body_is_read_in_pieces),
        cmocka_unit_test(an_empty_body_is_whole),
        cmocka_unit_test(a_body_of_another_length_is_damaged),
        cmocka_unit_test(a_long_body_is_read_away_but_not_for_ever),
        cmocka_unit_test(without_a_length_nothing_is_kept),
        cmocka_unit_test(a_peer_that_fails_is_told_from_one_that_ends),
        cmocka_unit_test(a_type_is_compared_without_its_parameters),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
