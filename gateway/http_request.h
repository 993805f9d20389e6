#ifndef GATEWAY_HTTP_REQUEST_H
#define GATEWAY_HTTP_REQUEST_H

#include "gateway/head.h"
#include "gateway/http.h"
#include "gateway/table.h"
#include "gateway/watch.h"

/*
 * A request from the inside, for those two who receive some: http.c through libmicrohttpd, and
 * porter.c, the plain ones.
 */
struct MHD_Connection;
struct porter;

/* A TCP connection, from accept to close or upgrade. */
struct connection {
    struct timer deadline; /* of the request it owes us, or of an answer that is not read */
    struct worker *worker;
    int fd;
};

enum request_state {
    REQUEST_ARRIVING,
    REQUEST_ASKED,
    REQUEST_WAITING,
    REQUEST_ANSWERED,
    REQUEST_LOST
};

#define REQUEST_HEADERS 6 /* added to the answer */

struct request {
    struct watch watch; /* libmicrohttpd's: of the connection, while it waits; first */
    struct table_link link;
    struct request *next_ended;
    struct http *http;
    struct MHD_Connection *connection; /* NULL: it is the porter's, */
    struct head *head;                 /* and this its head, until routes_serve returns */
    const struct net_address *peer;
    const char *method, *path;
    void (*lost)(struct request *request);
    enum request_state state;
    bool has_body, keeps_body, has_gone_out;
    int fd; /* libmicrohttpd's: watched while it waits; of an upgrade, the connection's second */
    char *body;
    size_t body_bytes, body_capacity;
    struct upgrade *upgrade;
    struct answer answer;
    struct {
        const char *name;
        char *value;
    } header[REQUEST_HEADERS];
    unsigned n_headers;
    struct request_notes notes;
};

/* It begins, with its number; all of it is here, and is asked about; its client has gone while it
 * waited; what it held is given back. */
void request_begin(struct request *request, struct http *http);
void request_serve(struct request *request);
void request_lose(struct request *request);
void request_end(struct request *request);

/* RFC 9110 §15. */
const char *http_reason(unsigned status);

#endif
