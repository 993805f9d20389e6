#ifndef LOGIN_REQUEST_H
#define LOGIN_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * One HTTP request as a web server hands it on (RFC 3875), be it by FastCGI or by CGI: its
 * parameters, and its body read within a bound.
 */
enum request_body {
    REQUEST_BODY_WHOLE,
    REQUEST_BODY_NO_LENGTH, /* the web server named no CONTENT_LENGTH; nothing was kept */
    REQUEST_BODY_TOO_LONG,  /* longer than the bound; read and thrown away */
    REQUEST_BODY_DAMAGED    /* its length is not CONTENT_LENGTH, or that is no number */
};

#define REQUEST_PATH_SIZE 128

struct request {
    const char *method, *content_type, *cookies, *if_none_match, *client, *host, *origin,
        *fetch_site;     /* borrowed, "" where there is none; client: REMOTE_ADDR */
    uint64_t arrived_ms; /* monotonic, to be set when it is read: now, or before as long as it
                            waited to be */
    char path[REQUEST_PATH_SIZE]; /* as the client sent it, without the query; "": too long */
    enum request_body state;
    size_t content_length;
    char *body; /* NUL-ended; may hold a password and is the request's to wipe */
    size_t body_bytes;
};

/* `parameters` are "NAME=value", ended by NULL, and outlive the request. */
void request_init(struct request *request, char *const *parameters);
void request_fini(struct request *request);

/*
 * Read the body, at most max_bytes of it, and what follows until `reader` says 0: what we leave
 * unread breaks the web server's connection, and our answer is lost.  That too is bounded.
 * `reader` gives the bytes read, 0 at the end, -1 when the peer failed; then so does this.
 */
bool request_read_body(struct request *request, size_t max_bytes,
                       ssize_t (*reader)(void *source, char *buffer, size_t size), void *source);

/*
 * The value of the cookie called that, where the request brings it once, into `value`.  False: it
 * does not, or it is longer.
 */
bool request_cookie(const struct request *request, const char *name, char *value, size_t size);

/* Does If-None-Match name this ETag, or any (RFC 9110 §13.1.2)? */
bool request_names_etag(const struct request *request, const char *etag);

/* Is the Content-Type `type`, whatever its parameters (RFC 9110 §8.3.1)? */
bool request_has_type(const struct request *request, const char *type);

#endif
