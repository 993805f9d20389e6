/* Log lines: what reaches stderr, byte for byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/log.h"

/* stderr is a pipe during a test; a read gives what one write brought, as the pipe keeps packets.
 */
static int pipe_ends[2], real_stderr;
static char got[8192];

static int catch_stderr(void **state)
{
    (void)state;
    real_stderr = dup(STDERR_FILENO);
    if (pipe2(pipe_ends, O_DIRECT | O_NONBLOCK) || dup2(pipe_ends[1], STDERR_FILENO) < 0)
        return -1;
    log_open("test");
    log_set_level(LOG_LEVEL_INFO);
    return 0;
}

static int release_stderr(void **state)
{
    (void)state;
    dup2(real_stderr, STDERR_FILENO);
    close(real_stderr);
    close(pipe_ends[0]);
    close(pipe_ends[1]);
    unsetenv("JOURNAL_STREAM");
    return 0;
}

static const char *one_write(void)
{
    ssize_t n = read(pipe_ends[0], got, sizeof got - 1);

    got[n > 0 ? n : 0] = '\0';
    return got;
}

static void a_line_bears_the_programs_name(void **state)
{
    (void)state;
    log_info("listening on %s", "127.0.0.1:9000");
    assert_string_equal(one_write(), "test: listening on 127.0.0.1:9000\n");
    log_error("%s", "");
    assert_string_equal(one_write(), "test: \n");
}

static void the_level_decides_what_is_written(void **state)
{
    (void)state;
    log_debug("unseen");
    assert_string_equal(one_write(), "");
    log_set_level(LOG_LEVEL_DEBUG);
    log_debug("seen");
    assert_string_equal(one_write(), "test: seen\n");
    log_set_level(LOG_LEVEL_ERROR);
    log_warning("unseen");
    assert_string_equal(one_write(), "");
    log_error("seen");
    assert_string_equal(one_write(), "test: seen\n");
}

static void a_peers_bytes_are_escaped(void **state)
{
    static const struct {
        const char *given, *written;
    } cases[] = {
        {"a\nroot: forged", "a\\x0aroot: forged"},
        {"\x1b[2J\r\t\x7f", "\\x1b[2J\\x0d\\x09\\x7f"},
        {"é € 😀 \u00a0", "é € 😀 \u00a0"},
        {"\xc2\x85\xc2\x9b", "\\xc2\\x85\\xc2\\x9b"},          /* C1 controls */
        {"\xff\x80", "\\xff\\x80"},                            /* never begin a character */
        {"\xc0\xaf\xe0\x80\xaf", "\\xc0\\xaf\\xe0\\x80\\xaf"}, /* overlong */
        {"\xed\xa0\x80", "\\xed\\xa0\\x80"},                   /* a surrogate */
        {"\xf4\x90\x80\x80\xf5", "\\xf4\\x90\\x80\\x80\\xf5"}, /* beyond U+10FFFF */
        {"\xe2\x82", "\\xe2\\x82"},                            /* cut off */
        {"\xf0\x9f\x98x", "\\xf0\\x9f\\x98x"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char expected[128];

        snprintf(expected, sizeof expected, "test: %s\n", cases[i].written);
        log_info("%s", cases[i].given);
        assert_string_equal(one_write(), expected);
    }
}

static void *gather(void *argument)
{
    char text[3000];

    (void)argument;
    log_gather();
    log_info("one");
    log_info("two");
    assert_string_equal(one_write(), "");
    log_flush();
    assert_string_equal(one_write(), "test: one\ntest: two\n");
    log_flush();
    assert_string_equal(one_write(), "");
    log_info("before");
    log_warning("at once");
    assert_string_equal(one_write(), "test: before\ntest: at once\n");
    memset(text, 'a', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    log_info("%s", text);
    log_info("%s", text);
    assert_int_equal(strlen(one_write()), sizeof "test: \n" - 1 + strlen(text));
    assert_string_equal(one_write(), "");
    log_flush();
    assert_int_equal(strlen(one_write()), sizeof "test: \n" - 1 + strlen(text));
    return NULL;
}

static void a_thread_that_gathers_writes_whole_lines_together(void **state)
{
    pthread_t thread;

    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, gather, NULL), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    log_info("another thread does not");
    assert_string_equal(one_write(), "test: another thread does not\n");
}

static void a_long_line_is_cut_and_still_one_write(void **state)
{
    char text[10000];
    size_t length;

    (void)state;
    memset(text, 'a', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    log_info("%s", text);
    length = strlen(one_write());
    assert_int_equal(length, 4096);
    assert_string_equal(got + length - 5, "a…\n");
    assert_string_equal(one_write(), "");

    memset(text, '\n', sizeof text - 1);
    log_info("%s", text);
    length = strlen(one_write());
    assert_in_range(length, 4093, 4096);
    assert_string_equal(got + length - 8, "\\x0a…\n");
}

/* Wherever the cut falls, no character is halved. */
static void the_cut_falls_between_characters(void **state)
{
    (void)state;
    for (size_t ahead = 0; ahead < 4; ahead++) {
        char text[8192];
        size_t length;

        memset(text, 'a', ahead);
        for (size_t i = ahead; i + 4 < sizeof text; i += 4)
            strcpy(text + i, "😀");
        log_info("%s", text);
        length = strlen(one_write());
        assert_in_range(length, 4093, 4096);
        assert_string_equal(got + length - 8, "😀…\n");
        assert_null(strstr(got, "\\x"));
    }
}

static void under_the_journal_a_line_begins_with_its_priority(void **state)
{
    static const char *const lines[] = {"<3>e\n", "<4>w\n", "<6>i\n", "<7>d\n"};
    char stream[64];
    struct stat is;

    (void)state;
    fstat(STDERR_FILENO, &is);
    snprintf(stream, sizeof stream, "%ju:%ju", (uintmax_t)is.st_dev, (uintmax_t)is.st_ino);
    setenv("JOURNAL_STREAM", stream, 1);
    log_open("test");
    log_set_level(LOG_LEVEL_DEBUG);
    log_error("e");
    assert_string_equal(one_write(), lines[0]);
    log_warning("w");
    assert_string_equal(one_write(), lines[1]);
    log_info("i");
    assert_string_equal(one_write(), lines[2]);
    log_debug("d");
    assert_string_equal(one_write(), lines[3]);
}

static void a_redirected_stderr_is_not_the_journal(void **state)
{
    static const char *const streams[] = {"1:1", "", "8", "x:y"};

    (void)state;
    for (size_t i = 0; i < sizeof streams / sizeof *streams; i++) {
        setenv("JOURNAL_STREAM", streams[i], 1);
        log_open("test");
        log_info("plain");
        assert_string_equal(one_write(), "test: plain\n");
    }
}

static void errno_outlives_a_line(void **state)
{
    (void)state;
    errno = EADDRINUSE;
    log_info("%s", strerror(errno));
    assert_int_equal(errno, EADDRINUSE);
    close(STDERR_FILENO);
    errno = EADDRINUSE;
    log_info("lost");
    assert_int_equal(errno, EADDRINUSE);
}

static void *write_lines(void *name)
{
    for (int i = 0; i < 8; i++)
        log_info("%s %s %s", (const char *)name, (const char *)name, (const char *)name);
    return NULL;
}

static void lines_of_two_threads_never_mix(void **state)
{
    pthread_t threads[2];
    int lines = 0;

    (void)state;
    pthread_create(&threads[0], NULL, write_lines, (char[]){"first"});
    pthread_create(&threads[1], NULL, write_lines, (char[]){"second"});
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
    for (; *one_write(); lines++)
        assert_true(strcmp(got, "test: first first first\n") == 0 ||
                    strcmp(got, "test: second second second\n") == 0);
    assert_int_equal(lines, 16);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, catch_stderr, release_stderr)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_line_bears_the_programs_name),
        TEST(the_level_decides_what_is_written),
        TEST(a_peers_bytes_are_escaped),
        TEST(a_thread_that_gathers_writes_whole_lines_together),
        TEST(a_long_line_is_cut_and_still_one_write),
        TEST(the_cut_falls_between_characters),
        TEST(under_the_journal_a_line_begins_with_its_priority),
        TEST(a_redirected_stderr_is_not_the_journal),
        TEST(errno_outlives_a_line),
        TEST(lines_of_two_threads_never_mix),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
