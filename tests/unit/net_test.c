/* Addresses as people and proxies write them, and listening on TCP and on paths. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "common/net.h"
#include "tests/unit/scratch.h"

static struct net_address parsed(const char *text)
{
    struct net_address address;

    if (!net_address_parse(text, strlen(text), &address))
        fail_msg("%s", text);
    return address;
}

static void addresses_are_read_and_written(void **state)
{
    static const char *const pairs[][2] = {
        {"127.0.0.1", "127.0.0.1"},        {"::1", "::1"}, {"2001:DB8:0:0::5", "2001:db8::5"},
        {"::ffff:192.0.2.1", "192.0.2.1"}, /* mapped: kept as IPv4 */
        {"::ffff:c000:201", "192.0.2.1"},
    };
    char text[NET_ADDRESS_TEXT];

    (void)state;
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        struct net_address address = parsed(pairs[i][0]);

        assert_string_equal(net_address_text(&address, text), pairs[i][1]);
    }
}

static void what_is_no_address_is_refused(void **state)
{
    static const char *const texts[] = {"",
                                        "1.2.3",
                                        "1.2.3.4.5",
                                        "1.2.3.256",
                                        "01.2.3.4",
                                        " 1.2.3.4",
                                        "1.2.3.4 ",
                                        "::g",
                                        ":::",
                                        "fe80::1%lo",
                                        "[::1]",
                                        "localhost",
                                        "1:2:3:4:5:6:7:8:9",
                                        "0000:0000:0000:0000:0000:0000:0000:0000:0000:0000"};
    struct net_address address;

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (net_address_parse(texts[i], strlen(texts[i]), &address))
            fail_msg("%s", texts[i]);
    assert_false(net_address_parse("1.2.3.4\0", 8, &address));
    assert_true(net_address_parse("1.2.3.45", 7, &address)); /* the length counts, not the NUL */
    assert_int_equal(address.bytes[3], 4);
}

static void a_socket_address_becomes_an_address(void **state)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0xc0000201)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    struct sockaddr_un path = {.sun_family = AF_UNIX};
    struct net_address address;
    char text[NET_ADDRESS_TEXT];

    (void)state;
    net_address_of((struct sockaddr *)&v4, &address);
    assert_string_equal(net_address_text(&address, text), "192.0.2.1");
    inet_pton(AF_INET6, "2001:db8::1", &v6.sin6_addr);
    net_address_of((struct sockaddr *)&v6, &address);
    assert_string_equal(net_address_text(&address, text), "2001:db8::1");
    inet_pton(AF_INET6, "::ffff:192.0.2.1", &v6.sin6_addr);
    net_address_of((struct sockaddr *)&v6, &address);
    assert_string_equal(net_address_text(&address, text), "192.0.2.1");
    assert_int_equal(address.length, 4);
    net_address_of((struct sockaddr *)&path, &address);
    assert_int_equal(address.length, 0);
    assert_string_equal(net_address_text(&address, text), "unix");
}

static void limits_count_an_ipv6_network_as_one(void **state)
{
    struct net_address a = parsed("2001:db8:1:2:3:4:5:6"), b = parsed("2001:db8:1:2::"), key;
    struct net_address v4 = parsed("192.0.2.1"), none = {.length = 0};

    (void)state;
    net_address_limit_key(&a, &key);
    assert_memory_equal(&key, &b, sizeof b);
    net_address_limit_key(&v4, &key);
    assert_memory_equal(&key, &v4, sizeof v4);
    net_address_limit_key(&none, &key);
    assert_memory_equal(&key, &none, sizeof none);
}

static void a_network_contains_its_addresses(void **state)
{
    static const struct {
        const char *network, *address;
        bool contained;
    } cases[] = {
        {"192.0.2.1", "192.0.2.1", true},
        {"192.0.2.1", "192.0.2.2", false},
        {"10.0.0.0/8", "10.255.0.1", true},
        {"10.0.0.0/8", "11.0.0.1", false},
        {"192.0.2.128/25", "192.0.2.127", false},
        {"192.0.2.128/25", "192.0.2.255", true},
        {"172.16.0.0/12", "172.31.255.255", true},
        {"172.16.0.0/12", "172.32.0.0", false},
        {"0.0.0.0/0", "203.0.113.9", true},
        {"0.0.0.0/0", "::1", false},
        {"::/0", "2001:db8::1", true},
        {"::/0", "127.0.0.1", false},
        {"2001:db8::/33", "2001:db8:7fff::", true},
        {"2001:db8::/33", "2001:db8:8000::", false},
        {"127.0.0.1/32", "::ffff:127.0.0.1", true},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct net_address address = parsed(cases[i].address);
        struct net_network network;
        struct error error;

        if (!net_network_parse(cases[i].network, &network, &error))
            fail_msg("%s", error.text);
        if (net_network_contains(&network, &address) != cases[i].contained)
            fail_msg("%s, %s", cases[i].network, cases[i].address);
    }
}

static void a_unix_peer_is_in_no_network(void **state)
{
    struct net_address none = {.length = 0};
    struct net_network everything;
    struct error error;

    (void)state;
    assert_true(net_network_parse("0.0.0.0/0", &everything, &error));
    assert_false(net_network_contains(&everything, &none));
}

static void a_bad_network_is_refused_with_what_is_right(void **state)
{
    static const char *const cases[][2] = {
        {"10.0.0.1/8", "did you mean 10.0.0.0/8?"},
        {"2001:db8::1/32", "did you mean 2001:db8::/32?"},
        {"10.0.0.0/33", "a number from 0 to 32"},
        {"::/129", "a number from 0 to 128"},
        {"10.0.0.0/", "a number from 0 to 32"},
        {"10.0.0.0/-1", "a number from 0 to 32"},
        {"10.0.0.0/8x", "a number from 0 to 32"},
        {"10.0.0.0/0008", "a number from 0 to 32"},
        {"proxy.example", "no address or network"},
        {"", "no address or network"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct net_network network;
        struct error error = {""};

        assert_false(net_network_parse(cases[i][0], &network, &error));
        if (!strstr(error.text, cases[i][1]))
            fail_msg("%s: %s", cases[i][0], error.text);
    }
}

static void the_client_is_the_rightmost_hop_that_is_no_proxy(void **state)
{
    /* Trusted: 10.0.0.0/8 and ::1. */
    static const struct {
        const char *peer, *forwarded, *client;
    } cases[] = {
        {"10.0.0.1", "192.0.2.1", "192.0.2.1"},
        {"10.0.0.1", NULL, "10.0.0.1"},
        {"10.0.0.1", "", "10.0.0.1"},
        {"10.0.0.1", " , ,", "10.0.0.1"},
        {"192.0.2.9", "192.0.2.1", "192.0.2.9"}, /* whoever comes directly is not believed */
        {"10.0.0.1", "6.6.6.6, 192.0.2.1", "192.0.2.1"},
        {"10.0.0.1", "6.6.6.6, 192.0.2.1, 10.0.0.2", "192.0.2.1"},
        {"10.0.0.1", "6.6.6.6,192.0.2.1,,10.0.0.2,\t10.0.0.3 ,", "192.0.2.1"},
        {"10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.1"}, /* nobody but proxies */
        {"::1", "2001:db8::7", "2001:db8::7"},
        {"", "192.0.2.1", "192.0.2.1"}, /* a Unix peer is trusted */
        {"", NULL, ""},
        /* as proxies write an address */
        {"::1", "192.0.2.1:4711", "192.0.2.1"},
        {"::1", "[2001:db8::7]", "2001:db8::7"},
        {"::1", "[2001:db8::7]:4711", "2001:db8::7"},
        {"::1", "\"[2001:db8::7]:4711\"", "2001:db8::7"},
        {"::1", " \" 192.0.2.1 \" ", "192.0.2.1"},
        {"::1", "::ffff:192.0.2.1", "192.0.2.1"},
        /* A hop that is no address ends the walk at the hop before it. */
        {"10.0.0.1", "192.0.2.1, unknown", "10.0.0.1"},
        {"10.0.0.1", "192.0.2.1, unknown, 10.0.0.2", "10.0.0.2"},
        {"10.0.0.1", "_hidden", "10.0.0.1"},
        {"10.0.0.1", "[", "10.0.0.1"},
        {"10.0.0.1", "]", "10.0.0.1"},
        {"10.0.0.1", "[]", "10.0.0.1"},
        {"10.0.0.1", ":", "10.0.0.1"},
        {"10.0.0.1", "192.0.2.1:", "10.0.0.1"},
        {"10.0.0.1", "192.0.2.1:x", "10.0.0.1"},
        {"10.0.0.1", "192.0.2.1:65536", "10.0.0.1"},
        {"10.0.0.1", "[2001:db8::7]x", "10.0.0.1"},
        {"10.0.0.1", "[2001:db8::7", "10.0.0.1"},
        {"10.0.0.1", "[192.0.2.1]x]", "10.0.0.1"},
        {"10.0.0.1", "192.0.2.1 192.0.2.2", "10.0.0.1"},
    };
    struct net_network trusted[2];
    struct error error;

    (void)state;
    assert_true(net_network_parse("10.0.0.0/8", &trusted[0], &error));
    assert_true(net_network_parse("::1", &trusted[1], &error));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct net_address peer = {.length = 0}, client;
        char text[NET_ADDRESS_TEXT];

        if (*cases[i].peer)
            peer = parsed(cases[i].peer);
        net_client_address(&peer, cases[i].forwarded, trusted, 2, &client);
        net_address_text(&client, text);
        if (strcmp(text, *cases[i].client ? cases[i].client : "unix") != 0)
            fail_msg("%s, \"%s\": %s", cases[i].peer, cases[i].forwarded, text);
    }
}

#define TEN "0123456789"

static void where_to_listen_is_checked_without_opening(void **state)
{
    static const char *const good[] = {"127.0.0.1:9000", "0.0.0.0:0", "[::1]:9000", "[::]:65535",
                                       "/run/no/where.sock"};
    static const char *const bad[] = {
        "",
        ":",
        ":9000",
        "9000",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:65536",
        "127.0.0.1:-1",
        "127.0.0.1:90x",
        "localhost:9000",
        "*:9000",
        "::1:9000",
        "[::1]",
        "[::1]:",
        "[::1",
        "[127.0.0.1]:9000",
        "[]:9000",
        "]:9000",
        "relative.sock",
        "127.0.0.1:9000/",
        "[0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000]:1",
        "/" TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN};
    struct error error;

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        if (!net_listen_check(good[i], &error))
            fail_msg("%s", error.text);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (net_listen_check(bad[i], &error))
            fail_msg("%s", bad[i]);
}

static int listens(const char *where)
{
    struct error error;
    int fd = net_listen(where, &error);

    if (fd < 0)
        fail_msg("%s", error.text);
    return fd;
}

static void refuses(const char *where, const char *reason)
{
    struct error error = {""};

    assert_int_equal(net_listen(where, &error), -1);
    if (!strstr(error.text, reason))
        fail_msg("%s", error.text);
}

static void assert_is_private(int fd)
{
    assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
}

/* As in a container, say, that has IPv4 alone. */
static bool the_machine_has_no_ipv6(void)
{
    struct sockaddr_in6 loopback = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int fd = socket(AF_INET6, SOCK_STREAM, 0);
    bool has = fd >= 0 && bind(fd, (struct sockaddr *)&loopback, sizeof loopback) == 0;

    if (fd >= 0)
        close(fd);
    return !has;
}

static void a_second_listener_on_an_address_is_an_error(void **state)
{
    static const char *const wheres[] = {"127.0.0.1:0", "[::1]:0"};
    char text[64];

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        if (i == 1 && the_machine_has_no_ipv6()) {
            refuses(wheres[i], "cannot listen on [::1]:0: ");
            break;
        }

        int fd = listens(wheres[i]), again;

        assert_is_private(fd);
        net_listen_text(fd, text, sizeof text);
        assert_memory_equal(text, wheres[i], strlen(wheres[i]) - 1);
        assert_true(atoi(strrchr(text, ':') + 1) > 0);
        refuses(text, "is another instance running?");
        close(fd);
        again = listens(text); /* and at once, when the first is gone */
        net_unlisten(text);    /* nothing to remove */
        close(again);
    }
}

/* Whoever was connected when the server went leaves the port in TIME_WAIT. */
static void a_restart_need_not_wait_for_old_connections(void **state)
{
    struct sockaddr_in address;
    socklen_t length = sizeof address;
    int fd = listens("127.0.0.1:0"), client = socket(AF_INET, SOCK_STREAM, 0), server;
    char text[64];

    (void)state;
    net_listen_text(fd, text, sizeof text);
    getsockname(fd, (struct sockaddr *)&address, &length);
    assert_int_equal(connect(client, (struct sockaddr *)&address, length), 0);
    server = accept(fd, NULL, NULL);
    assert_true(server >= 0);
    close(server);
    close(fd);
    close(client);
    close(listens(text));
}

static void ipv6_leaves_ipv4_alone(void **state)
{
    int v6 = listens("[::]:0"), v4;
    char text[64], where[64];

    (void)state;
    net_listen_text(v6, text, sizeof text);
    snprintf(where, sizeof where, "0.0.0.0:%s", strrchr(text, ':') + 1);
    v4 = listens(where);
    close(v4);
    close(v6);
}

static void a_path_is_a_socket_for_owner_and_group(void **state)
{
    struct scratch scratch;
    const char *path;
    struct stat is;
    mode_t before;
    char text[256];
    int fd;

    (void)state;
    scratch_new(&scratch);
    path = scratch_path(&scratch, "s.sock");
    before = umask(022);
    fd = listens(path);
    assert_int_equal(umask(before), 022); /* ours is as it was */
    assert_is_private(fd);
    assert_int_equal(stat(path, &is), 0);
    assert_true(S_ISSOCK(is.st_mode));
    assert_int_equal(is.st_mode & 07777, 0660);
    net_listen_text(fd, text, sizeof text);
    assert_string_equal(text, path);

    refuses(path, "is another instance running?");
    assert_int_equal(stat(path, &is), 0);
    net_unlisten(path);
    assert_int_equal(stat(path, &is), -1);
    close(fd);
    scratch_free(&scratch);
}

static void only_a_stale_socket_is_replaced(void **state)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct scratch scratch;
    const char *path, *other;
    int fd;

    (void)state;
    scratch_new(&scratch);
    path = scratch_path(&scratch, "s.sock");
    close(listens(path));
    close(listens(path));

    other = scratch_path(&scratch, "file");
    scratch_write(other, "kept");
    refuses(other, "is not a socket");
    net_unlisten(other);
    assert_int_equal(access(other, F_OK), 0);

    other = scratch_path(&scratch, "link"); /* is not followed, neither stale nor gone */
    assert_int_equal(symlink(path, other), 0);
    refuses(other, "is not a socket");

    other = scratch_path(&scratch, "datagrams");
    fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    strcpy(address.sun_path, other);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    refuses(other, "cannot tell whether");
    close(fd);

    refuses(scratch_path(&scratch, "no/folder"), "No such file or directory");
    refuses("/", "is not a socket");
    scratch_free(&scratch);
}

/* A full backlog answers EAGAIN: somebody is there, if slow. */
static void a_socket_with_a_full_backlog_is_not_stale(void **state)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct scratch scratch;
    int server = socket(AF_UNIX, SOCK_STREAM, 0), clients[2];

    (void)state;
    scratch_new(&scratch);
    strcpy(address.sun_path, scratch_path(&scratch, "s.sock"));
    assert_int_equal(bind(server, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(server, 0), 0);
    for (int i = 0; i < 2; i++) {
        clients[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
        connect(clients[i], (struct sockaddr *)&address, sizeof address);
    }
    refuses(address.sun_path, "is another instance running?");
    close(clients[0]);
    close(clients[1]);
    close(server);
    scratch_free(&scratch);
}

/* Wait at `gate` for the start, then listen; hold what was got until the gate's other end closes.
 */
static int race(const char *path, int gate, int result)
{
    struct error error;
    char byte;
    int fd;

    if (read(gate, &byte, 1) != 1)
        return 1;
    fd = net_listen(path, &error);
    byte = fd >= 0 ? '+' : '-';
    return write(result, &byte, 1) != 1 || read(gate, &byte, 1) != 0;
}

static void of_instances_that_start_together_one_listens(void **state)
{
    enum { RACERS = 4 };
    struct scratch scratch;
    const char *path;

    (void)state;
    scratch_new(&scratch);
    path = scratch_path(&scratch, "s.sock");
    for (int round = 0; round < 25; round++) {
        int start[RACERS][2], results[2], winners = 0;
        char got;

        close(listens(path)); /* stale */
        assert_int_equal(pipe(results), 0);
        for (int i = 0; i < RACERS; i++) {
            assert_int_equal(pipe(start[i]), 0);
            if (fork() == 0) {
                for (int j = 0; j <= i; j++)
                    close(start[j][1]);
                _exit(race(path, start[i][0], results[1]));
            }
        }
        for (int i = 0; i < RACERS; i++)
            assert_int_equal(write(start[i][1], "!", 1), 1);
        for (int i = 0; i < RACERS; i++) {
            assert_int_equal(read(results[0], &got, 1), 1);
            winners += got == '+';
        }
        for (int i = 0; i < RACERS; i++) {
            close(start[i][0]);
            close(start[i][1]);
        }
        close(results[0]);
        close(results[1]);
        for (int i = 0, status; i < RACERS; i++) {
            assert_true(wait(&status) > 0);
            assert_int_equal(status, 0);
        }
        assert_int_equal(winners, 1);
    }
    scratch_free(&scratch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_are_read_and_written),
        cmocka_unit_test(what_is_no_address_is_refused),
        cmocka_unit_test(a_socket_address_becomes_an_address),
        cmocka_unit_test(limits_count_an_ipv6_network_as_one),
        cmocka_unit_test(a_network_contains_its_addresses),
        cmocka_unit_test(a_unix_peer_is_in_no_network),
        cmocka_unit_test(a_bad_network_is_refused_with_what_is_right),
        cmocka_unit_test(the_client_is_the_rightmost_hop_that_is_no_proxy),
        cmocka_unit_test(where_to_listen_is_checked_without_opening),
        cmocka_unit_test(a_second_listener_on_an_address_is_an_error),
        cmocka_unit_test(a_restart_need_not_wait_for_old_connections),
        cmocka_unit_test(ipv6_leaves_ipv4_alone),
        cmocka_unit_test(a_path_is_a_socket_for_owner_and_group),
        cmocka_unit_test(only_a_stale_socket_is_replaced),
        cmocka_unit_test(a_socket_with_a_full_backlog_is_not_stale),
        cmocka_unit_test(of_instances_that_start_together_one_listens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
