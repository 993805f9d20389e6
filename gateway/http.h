#ifndef GATEWAY_HTTP_H
#define GATEWAY_HTTP_H

#include "gateway/timers.h"

#include <stdbool.h>
#include <stdint.h>

/*
 * The HTTP side of one worker, by libmicrohttpd driven from the worker's own epoll: routes, checks,
 * and the upgrade, after which the connection is a session's and libmicrohttpd has forgotten it.
 */
struct worker;
struct http;

/* `listen_fd` is duplicated.  NULL: it could not be started, and the log says so. */
struct http *http_start(struct worker *worker, int listen_fd, unsigned max_connections);

/* Accept nothing more. */
void http_quiesce(struct http *http);
void http_stop(struct http **http);

/* Work that is due without any descriptor being ready; to be called when a turn ends. */
void http_run_pending(struct http *http);

/* Milliseconds until http_run_pending has something to do; UINT64_MAX: nothing is known of. */
uint64_t http_timeout_ms(const struct http *http);

/* For the worker's timer list: a request has taken too long. */
void http_request_overdue(struct timer *deadline);

#endif
