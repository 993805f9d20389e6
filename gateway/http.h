#ifndef GATEWAY_HTTP_H
#define GATEWAY_HTTP_H

#include "common/net.h"
#include "gateway/timers.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The HTTP side of one worker, by libmicrohttpd driven from the worker's own epoll: whole, sound
 * requests in (to routes.c), answers out, now or later; and the upgrade, after which the connection
 * is no longer libmicrohttpd's.
 */
struct worker;
struct http;
struct packet;
struct request;

/* `listen_fd` is duplicated.  NULL: it could not be started, and the log says so. */
struct http *http_start(struct worker *worker, int listen_fd);

/* Accept nothing more. */
void http_quiesce(struct http *http);
void http_stop(struct http **http);

/* Somebody's connection is libmicrohttpd's from now on, and so is the deadline of the request that
 * it owes. */
void http_take(struct http *http, int fd, struct timer *deadline);

/* Work that is due without any descriptor being ready; to be called when a turn ends. */
void http_run_pending(struct http *http);

/* Free the requests that ended this turn. */
void http_reap(struct http *http);

/* Milliseconds until http_run_pending has something to do; UINT64_MAX: nothing is known of. */
uint64_t http_timeout_ms(const struct http *http);

/* Requests that wait for their answer. */
size_t http_waiting(const struct http *http);

/* For the worker's timer list: a request has taken too long. */
void http_request_overdue(struct timer *deadline);

/* A request, as routes.c sees it.  Strings live until it is answered or has to wait; NULL: there is
 * none. */
struct worker *request_worker(const struct request *request);
const char *request_method(const struct request *request);
const char *request_path(const struct request *request);
const char *request_query(const struct request *request, const char *name);
const char *request_header(const struct request *request, const char *name);
const char *request_cookie_value(const struct request *request, const char *name);
bool request_header_has(const struct request *request, const char *name,
                        const char *word); /* in a list */
bool request_has_body(const struct request *request);
void request_keep_body(
    struct request *request); /* while it arrives; else it is counted and thrown away */
const char *request_body(const struct request *request, size_t *bytes);

/* The client's address, by X-Forwarded-For where the peer is trusted. */
void request_address(const struct request *request, struct net_address *address);

/* A number by which this request can be answered later, on this worker only. */
uint64_t request_number(const struct request *request);

/* An answer.  `body` may be NULL; it is freed with free().  Strings other than `body` must be
 * static. */
struct answer {
    unsigned status;
    const char *type;
    char *body;
    size_t bytes;
    bool is_awaited; /* its session is to be told when it has gone out: see routes_end */
};

/* Headers for the answer; the value is copied.  Before request_answer, at most 6. */
void request_add_header(struct request *request, const char *name, const char *value);
void request_answer(struct request *request, const struct answer *answer);
bool request_is_answered(const struct request *request);

/* Answer the request of this number; nothing happens when its client has gone meanwhile.  Status
   101 is left to routes_upgrade, which knows what the connection becomes. */
void http_answer(struct http *http, uint64_t number, const struct answer *answer);

/*
 * Answer 101; or 503, when there is no descriptor for what comes after it.  When the connection is
 * open, `opened` gets the descriptor, which is its own, and the first bytes that came after the
 * request; `undo` is called instead when it comes to nothing.  One of them, once.
 */
struct upgrade {
    void (*opened)(struct upgrade *upgrade, int fd, const void *first, size_t bytes);
    void (*undo)(struct upgrade *upgrade);
    bool takes_answer;     /* what it becomes is written to at once, the 101 before all else: */
    struct packet *answer; /* here it is then; NULL: it has been written */
};
void request_upgrade(struct request *request, const char *accept, struct upgrade *upgrade);

/* Wait to be told by http_answer.  `lost` is called when the client goes away before that, or only
 * ends its side; NULL: the answer will not be long, and nobody looks. */
void request_wait(struct request *request, void (*lost)(struct request *request));

/* What routes.c keeps with a request. */
struct request_notes {
    uint8_t sid[15];
    bool has_sid, is_post_announced;
    char accept[29];
    const char *extensions; /* agreed on for a WebSocket; NULL: none */
};
struct request_notes *request_notes(struct request *request);

#endif
