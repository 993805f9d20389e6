#ifndef GATEWAY_PORTER_H
#define GATEWAY_PORTER_H

#include "gateway/http.h"

/*
 * The porter accepts connections and serves the requests that a Socket.IO client sends all the time
 * (head.h says which are plain; they are for the gateway's path, and come whole in one look).  What
 * else comes is left in the socket, unread, and the connection is libmicrohttpd's to its end.
 */
struct porter;

/* `listen_fd` is taken over.  NULL: it could not be watched, and the log says so. */
struct porter *porter_start(struct worker *worker, struct http *http, int listen_fd);
void porter_quiesce(struct porter *porter); /* accept nothing more */
void porter_stop(struct porter **porter);

/* Write the answers that are ready, and go on with those who have had theirs. */
void porter_run(struct porter *porter);

/* Free what ended this turn. */
void porter_reap(struct porter *porter);

/* Milliseconds until porter_run has something to do; UINT64_MAX: nothing is known of. */
uint64_t porter_timeout_ms(const struct porter *porter);

/* A request of the porter's has its answer. */
void porter_answered(struct request *request);

#endif
