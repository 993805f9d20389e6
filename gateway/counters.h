#ifndef GATEWAY_COUNTERS_H
#define GATEWAY_COUNTERS_H

#include "gateway/session.h"

#include <stdatomic.h>

/*
 * What a worker counts: C(name, help).  Written by its worker only, read by anyone.
 */
/* clang-format off */
#define COUNTERS(C) \
 C(handshakes,              "Engine.IO sessions opened") \
 C(refused_connections,     "handshakes refused: gateway.limits.connections") \
 C(refused_descriptors,     "connections closed unread, and upgrades refused: no descriptor may be spent on them") \
 C(refused_per_address,     "handshakes refused: gateway.limits.per_address") \
 C(refused_origins,         "requests refused: their Origin is not allowed") \
 C(refused_per_user,        "CONNECTs refused: gateway.limits.per_user") \
 C(refused_namespaces,      "CONNECTs refused: gateway.limits.namespaces") \
 C(refused_tokens,          "CONNECTs and handshakes refused: no token or a bad one") \
 C(refused_bodies,          "requests refused: gateway.limits.body_bytes") \
 C(refused_requests,        "HTTP requests refused") \
 C(requests_timed_out,      "HTTP requests that took longer than gateway.request_timeout") \
 C(connects,                "sockets connected to a namespace") \
 C(events,                  "events received") \
 C(events_relayed,          "events for which a rule held") \
 C(events_without_rule,     "events for which there is no rule") \
 C(events_denied,           "events denied by a rule") \
 C(events_limited,          "events beyond gateway.limits.events_per_second or a rule's limit") \
 C(events_bad_argument,     "events whose arguments a rule could not use") \
 C(joins_refused,           "joins beyond gateway.limits.rooms") \
 C(deliveries,              "packets queued for clients") \
 C(posted,                  "packets handed to another worker, for a room or a socket there") \
 C(dropped_volatile,        "volatile packets not queued for a client that reads slowly") \
 C(bytes_in,                "bytes received from WebSockets") \
 C(bytes_out,               "bytes sent to WebSockets")
/* clang-format on */

struct counters {
#define COUNTER(name, help) _Atomic uint64_t name;
    COUNTERS(COUNTER)
#undef COUNTER
    _Atomic uint64_t closed[CLOSE_REASONS_N];
    _Atomic uint64_t sessions[SESSION_STATES]; /* open now */
    _Atomic uint64_t turns, turn_ns;           /* awake */
};

/* There is one writer, so no read-modify-write is needed. */
static inline void counter_add(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

#define COUNT(worker, name) counter_add(&(worker)->counters.name, 1)

#endif
