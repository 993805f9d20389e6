/*
 * Addresses and listening sockets.  Who is believed and how many connections one address may have
 * is the callers' business; here is only how addresses are written, compared and bound.
 */
#include "common/net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <fcntl.h>
#include <unistd.h>

#define BACKLOG 4096

/* Where to listen, as bind(2) takes it. */
struct endpoint {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
        struct sockaddr_un path;
        struct sockaddr_storage room;
    };
    socklen_t length;
};

/* A piece of text, borrowed. */
struct span {
    const char *start, *end;
};

static const uint8_t mapped_prefix[12] = {[10] = 0xff, [11] = 0xff};

static void address_from_v6(const uint8_t bytes[16], struct net_address *address)
{
    bool mapped = memcmp(bytes, mapped_prefix, sizeof mapped_prefix) == 0;

    *address = (struct net_address){.length = mapped ? 4 : 16};
    memcpy(address->bytes, mapped ? bytes + 12 : bytes, address->length);
}

bool net_address_parse(const char *text, size_t length, struct net_address *address)
{
    char copy[INET6_ADDRSTRLEN];
    uint8_t bytes[16];

    if (length >= sizeof copy || memchr(text, '\0', length))
        return false;
    memcpy(copy, text, length);
    copy[length] = '\0';
    if (inet_pton(AF_INET, copy, bytes) == 1) {
        *address = (struct net_address){.length = 4};
        memcpy(address->bytes, bytes, 4);
        return true;
    }
    if (inet_pton(AF_INET6, copy, bytes) != 1)
        return false;
    address_from_v6(bytes, address);
    return true;
}

void net_address_of(const struct sockaddr *socket_address, struct net_address *address)
{
    *address = (struct net_address){.length = 0};
    if (socket_address->sa_family == AF_INET) {
        struct sockaddr_in v4;

        memcpy(&v4, socket_address, sizeof v4);
        address->length = 4;
        memcpy(address->bytes, &v4.sin_addr, 4);
    } else if (socket_address->sa_family == AF_INET6) {
        struct sockaddr_in6 v6;

        memcpy(&v6, socket_address, sizeof v6);
        address_from_v6(v6.sin6_addr.s6_addr, address);
    }
}

const char *net_address_text(const struct net_address *address, char text[NET_ADDRESS_TEXT])
{
    if (address->length == 0)
        return strcpy(text, "unix");
    inet_ntop(address->length == 4 ? AF_INET : AF_INET6, address->bytes, text, NET_ADDRESS_TEXT);
    return text;
}

void net_address_limit_key(const struct net_address *address, struct net_address *key)
{
    *key = *address;
    if (key->length == 16)
        memset(key->bytes + 8, 0, 8);
}

/* Clear what lies beyond the prefix. */
static void address_mask(struct net_address *address, unsigned prefix_bits)
{
    for (unsigned i = 0; i < address->length; i++) {
        unsigned kept = prefix_bits > i * 8 ? prefix_bits - i * 8 : 0;

        if (kept < 8)
            address->bytes[i] &= (uint8_t)(0xff00u >> kept);
    }
}

static bool same_address(const struct net_address *a, const struct net_address *b)
{
    return a->length == b->length && memcmp(a->bytes, b->bytes, a->length) == 0;
}

/* 1 to `most_digits` decimal digits up to `most`; -1: anything else. */
static long parse_decimal(const char *start, const char *end, int most_digits, long most)
{
    long value = 0;

    if (start == end || end - start > most_digits)
        return -1;
    for (; start < end; start++) {
        if (*start < '0' || *start > '9')
            return -1;
        value = value * 10 + (*start - '0');
    }
    return value <= most ? value : -1;
}

bool net_network_parse(const char *text, struct net_network *network, struct error *error)
{
    char shown[NET_ADDRESS_TEXT];
    const char *slash = strchrnul(text, '/');
    struct net_address masked;
    long bits;

    if (!net_address_parse(text, (size_t)(slash - text), &network->address))
        return error_set(error,
                         "\"%s\" is no address or network; write one like 192.0.2.1 or "
                         "2001:db8::/32",
                         text);
    bits = network->address.length * 8;
    if (*slash)
        bits = parse_decimal(slash + 1, slash + strlen(slash), 3, bits);
    if (bits < 0)
        return error_set(error, "\"%s\": the prefix must be a number from 0 to %d", text,
                         network->address.length * 8);
    network->prefix_bits = (uint8_t)bits;
    masked = network->address;
    address_mask(&masked, network->prefix_bits);
    if (!same_address(&masked, &network->address))
        return error_set(error, "\"%s\" has bits beyond its prefix; did you mean %s/%ld?", text,
                         net_address_text(&masked, shown), bits);
    return true;
}

bool net_network_contains(const struct net_network *network, const struct net_address *address)
{
    struct net_address masked = *address;

    address_mask(&masked, network->prefix_bits);
    return same_address(&masked, &network->address);
}

static bool is_trusted(const struct net_address *address, const struct net_network *trusted,
                       size_t n_trusted)
{
    for (size_t i = 0; i < n_trusted; i++)
        if (net_network_contains(&trusted[i], address))
            return true;
    return false;
}

static struct span trim(struct span s, const char *dropped)
{
    while (s.start < s.end && strchr(dropped, *s.start))
        s.start++;
    while (s.start < s.end && strchr(dropped, s.end[-1]))
        s.end--;
    return s;
}

/* An address as proxies write it: with or without a port, brackets, quotes. */
static bool parse_hop(struct span hop, struct net_address *address)
{
    struct span host = hop;
    const char *port = NULL;

    if (*hop.start == '[') {
        host.start++;
        host.end = memchr(hop.start, ']', (size_t)(hop.end - hop.start));
        if (!host.end)
            return false;
        port = host.end + 1;
    } else {
        const char *colon = memchr(hop.start, ':', (size_t)(hop.end - hop.start));

        /* More than one colon: an IPv6 address, which takes a port only after its bracket. */
        if (colon && !memchr(colon + 1, ':', (size_t)(hop.end - colon - 1)))
            port = host.end = colon;
    }
    if (port && port < hop.end && (*port != ':' || parse_decimal(port + 1, hop.end, 5, 65535) < 0))
        return false;
    return net_address_parse(host.start, (size_t)(host.end - host.start), address);
}

void net_client_address(const struct net_address *peer, const char *forwarded,
                        const struct net_network *trusted, size_t n_trusted,
                        struct net_address *client)
{
    struct span rest;
    struct net_address last = *peer;

    *client = *peer;
    if (!forwarded || (peer->length != 0 && !is_trusted(peer, trusted, n_trusted)))
        return;
    rest = (struct span){forwarded, forwarded + strlen(forwarded)};
    while (rest.start < rest.end) {
        const char *comma = memrchr(rest.start, ',', (size_t)(rest.end - rest.start));
        struct span hop = trim((struct span){comma ? comma + 1 : rest.start, rest.end}, " \t\"");

        rest.end = comma ? comma : rest.start;
        if (hop.start == hop.end) /* RFC 9110 §5.6.1: an empty element counts for nothing */
            continue;
        struct net_address address;
        bool parsed = parse_hop(hop, &address);
        if (!parsed || !is_trusted(&address, trusted, n_trusted)) {
            *client = parsed ? address : last;
            return;
        }
        last = address;
    }
}

/* ---- listening ------------------------------------------------------------------------------ */

static bool endpoint_of_path(const char *path, struct endpoint *endpoint, struct error *error)
{
    if (strlen(path) >= sizeof endpoint->path.sun_path)
        return error_set(error, "the socket path \"%s\" is longer than %zu bytes", path,
                         sizeof endpoint->path.sun_path - 1);
    endpoint->path.sun_family = AF_UNIX;
    strcpy(endpoint->path.sun_path, path);
    endpoint->length = sizeof endpoint->path;
    return true;
}

static bool endpoint_of(const char *where, struct endpoint *endpoint, struct error *error)
{
    const char *colon = strrchr(where, ':');
    char host[INET6_ADDRSTRLEN + 2];
    int port;

    memset(endpoint, 0, sizeof *endpoint);
    if (where[0] == '/')
        return endpoint_of_path(where, endpoint, error);
    if (!colon || (size_t)(colon - where) >= sizeof host)
        goto unknown;
    port = (int)parse_decimal(colon + 1, colon + strlen(colon), 5, 65535);
    if (port < 0)
        return error_set(error, "\"%s\": the port must be a number from 0 to 65535", where);
    memcpy(host, where, (size_t)(colon - where));
    host[colon - where] = '\0';
    if (inet_pton(AF_INET, host, &endpoint->v4.sin_addr) == 1) {
        endpoint->v4.sin_family = AF_INET;
        endpoint->v4.sin_port = htons((uint16_t)port);
        endpoint->length = sizeof endpoint->v4;
        return true;
    }
    if (host[0] == '[' && colon[-1] == ']') {
        host[colon - where - 1] = '\0';
        if (inet_pton(AF_INET6, host + 1, &endpoint->v6.sin6_addr) == 1) {
            endpoint->v6.sin6_family = AF_INET6;
            endpoint->v6.sin6_port = htons((uint16_t)port);
            endpoint->length = sizeof endpoint->v6;
            return true;
        }
    }
unknown:
    return error_set(error,
                     "cannot listen on \"%s\"; write 127.0.0.1:9000, 0.0.0.0:9000 (every "
                     "IPv4 address), [::1]:9000 or a path beginning with \"/\"",
                     where);
}

/* Is anybody there?  0: somebody answers; else the errno that says why not. */
static int probe(const struct endpoint *endpoint)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int reason = 0;

    if (fd < 0)
        return errno;
    if (connect(fd, &endpoint->any, endpoint->length) && errno != EAGAIN)
        reason = errno;
    close(fd);
    return reason;
}

/* Remove what a listener that died left behind, and nothing else. */
static bool remove_stale(const struct endpoint *endpoint, struct error *error)
{
    const char *path = endpoint->path.sun_path;
    struct stat is;
    int reason;

    if (lstat(path, &is))
        return errno == ENOENT || error_set(error, "cannot look at %s: %s", path, strerror(errno));
    if (!S_ISSOCK(is.st_mode))
        return error_set(error, "%s exists and is not a socket; remove it or listen elsewhere",
                         path);
    reason = probe(endpoint);
    if (reason == 0)
        return error_set(error, "somebody answers at %s already; is another instance running?",
                         path);
    if (reason != ECONNREFUSED)
        return error_set(error, "cannot tell whether the socket %s is in use: %s", path,
                         strerror(reason));
    if (unlink(path) && errno != ENOENT)
        return error_set(error, "cannot replace the stale socket %s: %s", path, strerror(errno));
    return true;
}

/* The folder that holds `path`, locked: two instances that start at the same moment must not both
 * find the other's new socket stale, which it is until listen(2). */
static int lock_folder(const char *path, struct error *error)
{
    char folder[sizeof((struct sockaddr_un *)NULL)->sun_path];
    char *slash;
    int fd;

    strcpy(folder, path);
    slash = strrchr(folder, '/');
    slash[slash == folder] = '\0';
    fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || flock(fd, LOCK_EX)) {
        error_set(error, "cannot listen on %s: the folder %s: %s", path, folder, strerror(errno));
        if (fd >= 0)
            close(fd);
        return -1;
    }
    return fd;
}

static bool bind_and_listen(int fd, const struct endpoint *endpoint, const char *where,
                            struct error *error)
{
    if (bind(fd, &endpoint->any, endpoint->length) == 0 && listen(fd, BACKLOG) == 0)
        return true;
    return error_set(error, "cannot listen on %s: %s%s", where, strerror(errno),
                     errno == EADDRINUSE ? "; is another instance running?" : "");
}

/* The mode comes from the umask (the process's), so that the socket is never open to more. */
static bool listen_on_path(int fd, const struct endpoint *endpoint, const char *where,
                           struct error *error)
{
    int folder = lock_folder(where, error);
    bool listens = false;

    if (folder < 0)
        return false;
    if (remove_stale(endpoint, error)) {
        mode_t before = umask(0117);

        listens = bind_and_listen(fd, endpoint, where, error);
        umask(before);
    }
    close(folder);
    return listens;
}

int net_listen(const char *where, struct error *error)
{
    struct endpoint endpoint;
    const int on = 1;
    bool listens;
    int fd;

    if (!endpoint_of(where, &endpoint, error))
        return -1;
    fd = socket(endpoint.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        error_set(error, "cannot listen on %s: %s", where, strerror(errno));
        return -1;
    }
    if (endpoint.any.sa_family == AF_UNIX) {
        listens = listen_on_path(fd, &endpoint, where, error);
    } else {
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        if (endpoint.any.sa_family == AF_INET6)
            setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
        listens = bind_and_listen(fd, &endpoint, where, error);
    }
    if (listens)
        return fd;
    close(fd);
    return -1;
}

bool net_listen_check(const char *where, struct error *error)
{
    struct endpoint endpoint;

    return endpoint_of(where, &endpoint, error);
}

void net_unlisten(const char *where)
{
    struct stat is;

    if (where[0] == '/' && lstat(where, &is) == 0 && S_ISSOCK(is.st_mode))
        unlink(where);
}

void net_listen_text(int fd, char *text, size_t size)
{
    struct endpoint is = {.length = sizeof is.room};
    char host[INET6_ADDRSTRLEN];

    if (getsockname(fd, &is.any, &is.length))
        snprintf(text, size, "?");
    else if (is.any.sa_family == AF_INET)
        snprintf(text, size, "%s:%u", inet_ntop(AF_INET, &is.v4.sin_addr, host, sizeof host),
                 ntohs(is.v4.sin_port));
    else if (is.any.sa_family == AF_INET6)
        snprintf(text, size, "[%s]:%u", inet_ntop(AF_INET6, &is.v6.sin6_addr, host, sizeof host),
                 ntohs(is.v6.sin6_port));
    else
        snprintf(text, size, "%.*s", (int)sizeof is.path.sun_path, is.path.sun_path);
}
