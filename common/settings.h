#ifndef COMMON_SETTINGS_H
#define COMMON_SETTINGS_H

/*
 * Every setting, one row each.  The checker, `--check`, `config show` and the manual page all read
 * this table; struct config (config.h) has one field for each row.
 *
 *   S(field, name, type, default, when a change takes effect, help)
 *
 * Types and how they are written in the file:
 *   TEXT      "text"
 *   FILE      "/path"; a relative one is relative to the folder of the config file
 *   TEXTS     ["a", "b"]
 *   FLAG      true, false
 *   COUNT     a whole number from 0
 *   BYTES     a whole number, or "64KiB", "1MiB"
 *   DURATION  "500ms", "25s", "10m", "5h", "7d"; kept in milliseconds
 * A default is written as in the file; that of TEXTS as its words with spaces between.
 */
/* clang-format off */
#define SETTINGS(S) \
 S(keys,                     "keys",                            FILE,     "/etc/sallyport/keys",             RELOAD,  "folder of JWK files; its private/ holds what signs") \
 S(log_level,                "log_level",                       TEXT,     "info",                            RELOAD,  "the least that is logged: error, warning, info or debug") \
 S(token_issuer,             "token.issuer",                    TEXT,     "sallyport",                       RELOAD,  "`iss` of our tokens, demanded of every token") \
 S(token_audience,           "token.audience",                  TEXTS,    "sallyport",                       RELOAD,  "`aud` of our tokens; a token must name one of them") \
 S(token_lifetime,           "token.lifetime",                  DURATION, "5h",                              RELOAD,  "from `iat` to `exp` of the tokens we issue") \
 S(token_revocations,        "token.revocations",               FILE,     "/var/lib/sallyport/revocations.db", RESTART, "SQLite database of what was revoked; the gateway reads it") \
 S(login_database,           "login.database",                  FILE,     "/var/lib/sallyport/sallyport.db", RESTART, "SQLite database of the users") \
 S(login_audit,              "login.audit",                     FILE,     "",                                RESTART, "SQLite database of who did what; empty: audit.db beside login.database") \
 S(login_audit_rows,         "login.audit_rows",                COUNT,    "1000000",                         RESTART, "events kept in it, the last ones, half of them refusals; 0: no limit") \
 S(login_audit_age,          "login.audit_age",                 DURATION, "90d",                             RESTART, "how long events are kept in it; 0s: no limit") \
 S(login_listen,             "login.listen",                    TEXT,     "/run/sallyport/login.sock",       RESTART, "FastCGI socket: a path, or ADDRESS:PORT") \
 S(login_threads,            "login.threads",                   COUNT,    "8",                               RESTART, "requests served at once") \
 S(login_connections,        "login.connections",               COUNT,    "1000",                            RESTART, "connections of web servers; more wait in the socket until one ends, and silent ones are closed; 0: no limit") \
 S(login_hashes,             "login.hashes",                    COUNT,    "0",                               RESTART, "passwords hashed at once, by all processes; 0: one per core") \
 S(login_hash_memory,        "login.hash_memory",               BYTES,    "7MiB",                            RELOAD,  "what a password's Argon2id hash works in; `sallyport hash bench` finds what is fastest; at their next login users get such a hash") \
 S(login_hash_passes,        "login.hash_passes",               COUNT,    "5",                               RELOAD,  "how often it goes over it") \
 S(login_max_body,           "login.max_body",                  BYTES,    "16KiB",                           RELOAD,  "longest request body") \
 S(login_origins,            "login.origins",                   TEXTS,    "",                                RELOAD,  "pages of which other origins may log in, as \"https://example.org\"") \
 S(login_timeout,            "login.timeout",                   DURATION, "10s",                             RELOAD,  "longest wait for a web server that stalls inside a request") \
 S(login_refresh_lifetime,   "login.refresh_lifetime",          DURATION, "30d",                             RELOAD,  "longest session: from the login to the last refresh; 0s: no refresh tokens") \
 S(login_refresh_idle,       "login.refresh_idle",              DURATION, "7d",                              RELOAD,  "longest time between two refreshes") \
 S(login_refresh_cookie,     "login.refresh_cookie",            FLAG,     "false",                           RELOAD,  "give the refresh token as a cookie no script can read, instead of in the answer (https only)") \
 S(gateway_listen,           "gateway.listen",                  TEXT,     "127.0.0.1:9000",                  RESTART, "ADDRESS:PORT, [IPV6]:PORT, or a path") \
 S(gateway_path,             "gateway.path",                    TEXT,     "/socket.io/",                     RELOAD,  "where Engine.IO is served") \
 S(gateway_eio3,             "gateway.eio3",                    FLAG,     "true",                            RELOAD,  "serve Engine.IO 3 too: the clients socket.io-client 1.x and 2.x") \
 S(gateway_deflate,          "gateway.deflate",                 FLAG,     "false",                           RELOAD,  "agree with clients that ask for it to compress messages on WebSockets (permessage-deflate)") \
 S(gateway_workers,          "gateway.workers",                 COUNT,    "0",                               RESTART, "event threads; 0: one per core") \
 S(gateway_rules,            "gateway.rules",                   FILE,     "/etc/sallyport/relay.rules",      RELOAD,  "the relay rules") \
 S(gateway_client,           "gateway.client",                  FILE,     "",                                RELOAD,  "JavaScript bundle served as socket.io.js under the path; empty: none") \
 S(gateway_origins,          "gateway.origins",                 TEXTS,    "",                                RELOAD,  "pages of which other origins may connect, as \"https://example.org\"; \"*\": all") \
 S(gateway_token_sources,    "gateway.token_sources",           TEXTS,    "auth header query",               RELOAD,  "where a token is looked for: auth (what CONNECT brings), header (Authorization: Bearer), query (token=); always in this order, a cookie before the query") \
 S(gateway_token_cookie,     "gateway.token_cookie",            TEXT,     "",                                RELOAD,  "cookie that is looked at too, where the page is of this host or named in gateway.origins; empty: none") \
 S(gateway_require_header,   "gateway.require_header",          FLAG,     "false",                           RELOAD,  "take tokens from Authorization: Bearer alone, and refuse who sends none in these words") \
 S(gateway_reject,           "gateway.reject",                  TEXT,     "connect_error",                   RELOAD,  "how a bad token of a handshake is refused: connect_error (by Socket.IO), or upgrade (HTTP 401, before there is a connection)") \
 S(gateway_trusted_proxies,  "gateway.trusted_proxies",         TEXTS,    "127.0.0.1 ::1",                   RELOAD,  "addresses or networks whose X-Forwarded-For is believed") \
 S(gateway_log_claim,        "gateway.log_claim",               TEXT,     "sub",                             RELOAD,  "claim by which the log names who connected") \
 S(gateway_metrics,          "gateway.metrics",                 FLAG,     "false",                           RELOAD,  "serve GET /metrics on gateway.listen, to whoever can reach it") \
 S(gateway_revocation_patience, "gateway.revocation_patience",  DURATION, "5m",                              RELOAD,  "how long what is known of revocations will do when they cannot be read; then nobody new is let in") \
 S(gateway_expiry_grace,     "gateway.expiry_grace",            DURATION, "0s",                              RELOAD,  "from a token's `exp` to the end of its connection") \
 S(gateway_expiry_notice,    "gateway.expiry_notice",           DURATION, "60s",                             RELOAD,  "how long before `exp` the client is told by the event \"token expiring\"; 0s: never") \
 S(gateway_ping_interval,    "gateway.ping_interval",           DURATION, "25s",                             RELOAD,  "from a client's pong to our next ping") \
 S(gateway_ping_timeout,     "gateway.ping_timeout",            DURATION, "20s",                             RELOAD,  "longest wait for a pong") \
 S(gateway_connect_timeout,  "gateway.connect_timeout",         DURATION, "45s",                             RELOAD,  "longest wait for a client's first CONNECT") \
 S(gateway_authenticate_timeout, "gateway.authenticate_timeout", DURATION, "5s",                             RELOAD,  "longest wait for `authenticate` under `authenticate later`, and for a refused client to take notice") \
 S(gateway_presence_grace,   "gateway.presence_grace",          DURATION, "3s",                              RELOAD,  "how long a user without a socket is still online") \
 S(gateway_upgrade_timeout,  "gateway.upgrade_timeout",         DURATION, "10s",                             RELOAD,  "longest way from long-polling to a WebSocket") \
 S(gateway_request_timeout,  "gateway.request_timeout",         DURATION, "10s",                             RELOAD,  "longest wait for a whole HTTP request") \
 S(gateway_close_timeout,    "gateway.close_timeout",           DURATION, "5s",                              RELOAD,  "longest wait for a client to take its last bytes and close") \
 S(gateway_shutdown_spread,  "gateway.shutdown_spread",         DURATION, "0s",                              RELOAD,  "at SIGTERM, the time over which clients are closed") \
 S(limits_connections,       "gateway.limits.connections",      COUNT,    "16000",                           RELOAD,  "connections in all; 0: as many as file descriptors allow") \
 S(limits_per_address,       "gateway.limits.per_address",      COUNT,    "200",                             RELOAD,  "connections from one address (IPv6: one /64); 0: no limit") \
 S(limits_per_user,          "gateway.limits.per_user",         COUNT,    "50",                              RELOAD,  "sockets of one user in a namespace; 0: no limit") \
 S(limits_events_per_second, "gateway.limits.events_per_second", COUNT,   "100",                             RELOAD,  "events a second from one client, with a burst of as many; 0: no limit") \
 S(limits_max_payload,       "gateway.limits.max_payload",      BYTES,    "1000000",                         RELOAD,  "longest message from a client; at most 64 KiB while it is in no namespace") \
 S(limits_body_bytes,        "gateway.limits.body_bytes",       BYTES,    "64MiB",                           RELOAD,  "HTTP bodies that are still arriving, all together; 0: no limit") \
 S(limits_packet_bytes,      "gateway.limits.packet_bytes",     BYTES,    "4MiB",                            RELOAD,  "one event with all its attachments") \
 S(limits_attachments,       "gateway.limits.attachments",      COUNT,    "10",                              RELOAD,  "binary attachments of one packet; 0: none are taken") \
 S(limits_rooms,             "gateway.limits.rooms",            COUNT,    "100",                             RELOAD,  "rooms joined by one socket; 0: no limit") \
 S(limits_members,           "gateway.limits.members",          COUNT,    "1000",                            RELOAD,  "users that a `$members` list may have, which is null for more; 0: no limit") \
 S(limits_namespaces,        "gateway.limits.namespaces",       COUNT,    "16",                              RELOAD,  "namespaces one client is connected to at a time; 0: no limit") \
 S(limits_kept_bytes,        "gateway.limits.kept_bytes",       BYTES,    "64KiB",                           RELOAD,  "what one socket may keep in variables, and as much of CONNECT's payload") \
 S(limits_queued_bytes,      "gateway.limits.queued_bytes",     BYTES,    "4MiB",                            RELOAD,  "bytes a slow client may leave waiting before it is closed; 0: no limit")

/* The same for one issuer in the list `issuers`; those whose default is empty, `ca` apart, must be set. */
#define ISSUER_SETTINGS(S) \
 S(issuer_name,              "issuers.issuer",                  TEXT,     "",                                RELOAD,  "`iss` of its tokens") \
 S(issuer_audience,          "issuers.audience",                TEXTS,    "",                                RELOAD,  "`aud` of its tokens for us; a token must name one of them") \
 S(issuer_algorithms,        "issuers.algorithms",              TEXTS,    "RS256 ES256",                     RELOAD,  "algorithms it may sign with, of RS and ES; a key that names none is taken for the first that fits it") \
 S(issuer_jwks,              "issuers.jwks",                    FILE,     "",                                RELOAD,  "its public keys (RFC 7517, 5): an https:// URL, or the path of a file, which is read again at SIGHUP") \
 S(issuer_ca,                "issuers.ca",                      FILE,     "",                                RELOAD,  "PEM file of the authorities that may vouch for the URL's server; empty: the system's") \
 S(issuer_prefix,            "issuers.prefix",                  TEXT,     "",                                RELOAD,  "what stands before the names of its users: letters, digits, '.', '_' or '-', and a colon, which no name of ours has") \
 S(issuer_user,              "issuers.user",                    TEXT,     "sub",                             RELOAD,  "claim that names the user") \
 S(issuer_lifetime,          "issuers.lifetime",                DURATION, "24h",                             RELOAD,  "a token that is valid for longer, from `iat` to `exp`, is refused") \
 S(issuer_refetch,           "issuers.refetch",                 DURATION, "30s",                             RELOAD,  "shortest time from one fetch to the next, for an unknown key or after a failure") \
 S(issuer_patience,          "issuers.patience",                DURATION, "1h",                              RELOAD,  "how long its keys will do when they are due to be fetched and cannot be; then its tokens are refused")
/* clang-format on */

#endif
