/* Systemd's protocol, spoken to a socket the test itself holds; what changes a process is done in a
 * child. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>

#include "common/daemon.h"
#include "tests/unit/scratch.h"

/* Run `body` in a child; its answer, below 100. */
static int in_child(int (*body)(void))
{
    int status = -1;
    pid_t child = fork();

    if (child == 0)
        _exit(body());
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 100;
}

static int stream_socket(bool listening)
{
    struct sockaddr_in loopback = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000001)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    if (bind(fd, (struct sockaddr *)&loopback, sizeof loopback) || (listening && listen(fd, 1)))
        abort();
    return fd;
}

/* As systemd hands them over: descriptors from 3 on, and two variables. */
static void pass_sockets(const char *n, int fd)
{
    char pid[16];

    snprintf(pid, sizeof pid, "%d", getpid());
    dup2(fd, 3);
    dup2(fd, 4);
    setenv("LISTEN_PID", pid, 1);
    setenv("LISTEN_FDS", n, 1);
}

static int take_one(void)
{
    struct error error;
    int fd;

    pass_sockets("1", stream_socket(true));
    fd = daemon_activated_socket(&error);
    return fd == 3 && (fcntl(fd, F_GETFD) & FD_CLOEXEC) && (fcntl(fd, F_GETFL) & O_NONBLOCK) &&
           !getenv("LISTEN_FDS") && daemon_activated_socket(&error) == -1 && !*error.text;
}

static int take_two(void)
{
    struct error error;

    pass_sockets("2", stream_socket(true));
    return daemon_activated_socket(&error) == -1 && strstr(error.text, "passed 2 sockets");
}

static int take_what_does_not_listen(void)
{
    struct error error;

    pass_sockets("1", stream_socket(false));
    return daemon_activated_socket(&error) == -1 && strstr(error.text, "not a listening");
}

static int take_a_pipe(void)
{
    struct error error;
    int ends[2];

    if (pipe(ends))
        return 0;
    pass_sockets("1", ends[0]);
    return daemon_activated_socket(&error) == -1 && strstr(error.text, "not a listening");
}

static int take_nonsense(void)
{
    struct error error;

    pass_sockets("many", stream_socket(true));
    return daemon_activated_socket(&error) == -1 && strstr(error.text, "cannot take the socket");
}

static void the_passed_socket_is_taken_once(void **state)
{
    (void)state;
    assert_int_equal(in_child(take_one), 1);
}

static void anything_but_one_listening_socket_is_an_error(void **state)
{
    (void)state;
    assert_int_equal(in_child(take_two), 1);
    assert_int_equal(in_child(take_what_does_not_listen), 1);
    assert_int_equal(in_child(take_a_pipe), 1);
    assert_int_equal(in_child(take_nonsense), 1);
}

static void without_systemd_there_is_no_socket_and_no_error(void **state)
{
    struct error error;

    (void)state;
    unsetenv("LISTEN_FDS");
    assert_int_equal(daemon_activated_socket(&error), -1);
    assert_string_equal(error.text, "");
}

static const char *received(int fd)
{
    static char text[256];
    ssize_t n = recv(fd, text, sizeof text - 1, MSG_DONTWAIT);

    text[n > 0 ? n : 0] = '\0';
    return text;
}

static void systemd_hears_each_state(void **state)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    struct scratch scratch;
    uint64_t usec, now_usec;
    struct timespec now;

    (void)state;
    scratch_new(&scratch);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", scratch_path(&scratch, "notify"));
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    setenv("NOTIFY_SOCKET", address.sun_path, 1);

    daemon_ready();
    assert_string_equal(received(fd), "READY=1");
    daemon_alive();
    assert_string_equal(received(fd), "WATCHDOG=1");
    daemon_stopping();
    assert_string_equal(received(fd), "STOPPING=1");
    daemon_reloading();
    assert_int_equal(sscanf(received(fd), "RELOADING=1\nMONOTONIC_USEC=%ju", &usec), 1);
    clock_gettime(CLOCK_MONOTONIC, &now);
    now_usec = (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
    assert_in_range(usec, now_usec - 10000000, now_usec);

    unsetenv("NOTIFY_SOCKET");
    daemon_ready();
    assert_string_equal(received(fd), "");
    close(fd);
    scratch_free(&scratch);
}

static void the_watchdog_is_fed_twice_in_its_time(void **state)
{
    (void)state;
    unsetenv("WATCHDOG_PID");
    unsetenv("WATCHDOG_USEC");
    assert_int_equal(daemon_watchdog_ms(), 0);
    setenv("WATCHDOG_USEC", "30000000", 1);
    assert_int_equal(daemon_watchdog_ms(), 15000);
    setenv("WATCHDOG_USEC", "500", 1);
    assert_int_equal(daemon_watchdog_ms(), 1);
    setenv("WATCHDOG_PID", "1", 1); /* another process's */
    assert_int_equal(daemon_watchdog_ms(), 0);
    unsetenv("WATCHDOG_PID");
    unsetenv("WATCHDOG_USEC");
}

static int forbid_core_dumps(void)
{
    struct rlimit limit;

    daemon_forbid_core_dumps();
    return prctl(PR_GET_DUMPABLE) == 0 && getrlimit(RLIMIT_CORE, &limit) == 0 &&
           limit.rlim_cur == 0 && limit.rlim_max == 0;
}

static void no_core_is_ever_dumped(void **state)
{
    (void)state;
    assert_int_equal(in_child(forbid_core_dumps), 1);
}

static int raise_from_64(void)
{
    struct rlimit limit = {64, 200};

    return setrlimit(RLIMIT_NOFILE, &limit) == 0 && daemon_raise_descriptor_limit() == 200 &&
           getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur == 200;
}

static void the_descriptor_limit_is_raised_to_the_hard_one(void **state)
{
    (void)state;
    assert_int_equal(in_child(raise_from_64), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_passed_socket_is_taken_once),
        cmocka_unit_test(anything_but_one_listening_socket_is_an_error),
        cmocka_unit_test(without_systemd_there_is_no_socket_and_no_error),
        cmocka_unit_test(systemd_hears_each_state),
        cmocka_unit_test(the_watchdog_is_fed_twice_in_its_time),
        cmocka_unit_test(no_core_is_ever_dumped),
        cmocka_unit_test(the_descriptor_limit_is_raised_to_the_hard_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
