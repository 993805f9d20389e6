#ifndef COMMON_NET_H
#define COMMON_NET_H

#include "common/error.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

/* An IP address without a port; an IPv4-mapped one is kept as IPv4.  All zero: none (a Unix peer).
 */
struct net_address {
    uint8_t bytes[16];
    uint8_t length; /* 4, 16, or 0 */
};

#define NET_ADDRESS_TEXT 46

bool net_address_parse(const char *text, size_t length, struct net_address *address);
void net_address_of(const struct sockaddr *socket_address, struct net_address *address);
const char *net_address_text(const struct net_address *address, char text[NET_ADDRESS_TEXT]);

/* What per-address limits count as one: an IPv4 address, an IPv6 /64. */
void net_address_limit_key(const struct net_address *address, struct net_address *key);

/* An address or a network, "192.0.2.1" or "2001:db8::/32". */
struct net_network {
    struct net_address address;
    uint8_t prefix_bits;
};
bool net_network_parse(const char *text, struct net_network *network, struct error *error);
bool net_network_contains(const struct net_network *network, const struct net_address *address);

/*
 * The client's address: the rightmost hop of X-Forwarded-For that is not a
 * trusted proxy, else the peer's.  `forwarded` may be NULL; it is believed only when the peer
 * itself is trusted (a Unix peer is).  A hop that is no address ends the walk at the hop before it.
 */
void net_client_address(const struct net_address *peer, const char *forwarded,
                        const struct net_network *trusted, size_t n_trusted,
                        struct net_address *client);

/*
 * Listen, non-blocking and close-on-exec, on "ADDRESS:PORT", "[IPV6]:PORT" (port 0: any free one),
 * or a path beginning with "/" (mode 0660; a stale socket is replaced, one that answers is an
 * error, and so is an address in use).  -1 on error.
 */
int net_listen(const char *where, struct error *error);

/* Is `where` one of the three forms?  For checking a config without opening anything. */
bool net_listen_check(const char *where, struct error *error);

/* Remove the Unix socket that net_listen made at `where`, if it is a path.  To be called while it
 * still listens: afterwards it may be a successor's. */
void net_unlisten(const char *where);

/* What a listening socket is really bound to, as text ("127.0.0.1:9000" or the path). */
void net_listen_text(int fd, char *text, size_t size);

#endif
