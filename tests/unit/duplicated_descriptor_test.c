/*
 * The gateway rests on what libmicrohttpd does when an upgraded connection's descriptor has been
 * duplicated and its own is closed at once: it forgets the connection, gives its memory back, and
 * does not shut the stream down.  The library's documentation does not promise this, so it is
 * pinned here.
 */
#include <errno.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static int ours = -1;
static char first_bytes[64];
static size_t n_first;

static void upgraded(void *user, struct MHD_Connection *connection, void *context,
                     const char *first, size_t n, MHD_socket fd,
                     struct MHD_UpgradeResponseHandle *handle)
{
    (void)user, (void)connection, (void)context;
    ours = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    assert_true(n < sizeof first_bytes);
    memcpy(first_bytes, first, n);
    n_first = n;
    MHD_upgrade_action(handle, MHD_UPGRADE_ACTION_CLOSE);
}

static enum MHD_Result handle(void *user, struct MHD_Connection *connection, const char *url,
                              const char *method, const char *version, const char *body,
                              size_t *bytes, void **context)
{
    static int seen;
    struct MHD_Response *response;
    enum MHD_Result result;

    (void)user, (void)url, (void)method, (void)version, (void)body, (void)bytes;
    if (!*context) {
        *context = &seen;
        return MHD_YES;
    }
    response = MHD_create_response_for_upgrade(upgraded, NULL);
    MHD_add_response_header(response, "Upgrade", "test");
    result = MHD_queue_response(connection, MHD_HTTP_SWITCHING_PROTOCOLS, response);
    MHD_destroy_response(response);
    return result;
}

static int listen_somewhere(struct sockaddr_in *address)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    socklen_t length = sizeof *address;

    *address =
        (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(bind(fd, (struct sockaddr *)address, sizeof *address), 0);
    assert_int_equal(listen(fd, 16), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)address, &length), 0);
    return fd;
}

static unsigned open_connections(struct MHD_Daemon *daemon)
{
    return MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_CURRENT_CONNECTIONS)->num_connections;
}

static size_t read_all(int fd, char *to, size_t size)
{
    struct timeval second = {.tv_sec = 1};
    ssize_t n;

    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &second, sizeof second);
    n = recv(fd, to, size, 0);
    return n < 0 ? 0 : (size_t)n;
}

static void a_duplicated_descriptor_outlives_its_connection(void **state)
{
    static const char request[] =
        "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: test\r\n\r\nfirst";
    struct sockaddr_in address;
    int listening = listen_somewhere(&address),
        client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct MHD_Daemon *daemon =
        MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_UPGRADE | MHD_USE_ERROR_LOG, 0, NULL, NULL,
                         handle, NULL, MHD_OPTION_LISTEN_SOCKET, listening, MHD_OPTION_END);
    struct epoll_event event = {.events = EPOLLIN};
    int mine = epoll_create1(EPOLL_CLOEXEC);
    char buffer[1024];
    size_t n;

    (void)state;
    assert_non_null(daemon);
    assert_int_equal(connect(client, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(send(client, request, sizeof request - 1, 0), sizeof request - 1);
    for (int i = 0; i < 50 && ours < 0; i++) {
        MHD_run(daemon);
        usleep(1000);
    }
    MHD_run(daemon);
    MHD_run(daemon);

    /* It has let go of the connection, */
    assert_true(ours >= 0);
    assert_int_equal(n_first, 5);
    assert_memory_equal(first_bytes, "first", 5);
    assert_int_equal(open_connections(daemon), 0);

    /* which works on in both directions, and in an epoll of ours, */
    n = read_all(client, buffer, sizeof buffer);
    assert_true(n > 12 && memcmp(buffer, "HTTP/1.1 101", 12) == 0);
    assert_int_equal(epoll_ctl(mine, EPOLL_CTL_ADD, ours, &event), 0);
    assert_int_equal(epoll_wait(mine, &event, 1, 0), 0);
    assert_int_equal(send(client, "ping", 4, 0), 4);
    assert_int_equal(epoll_wait(mine, &event, 1, 1000), 1);
    assert_int_equal(read_all(ours, buffer, sizeof buffer), 4);
    assert_int_equal(send(ours, "pong", 4, 0), 4);
    assert_int_equal(read_all(client, buffer, sizeof buffer), 4);

    /* also after the daemon has stopped. */
    MHD_stop_daemon(daemon);
    assert_int_equal(send(ours, "last", 4, 0), 4);
    assert_int_equal(read_all(client, buffer, sizeof buffer), 4);
    close(ours);
    assert_int_equal(read(client, buffer, sizeof buffer), 0);
    close(client);
    close(mine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_duplicated_descriptor_outlives_its_connection)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
