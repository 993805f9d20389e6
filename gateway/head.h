#ifndef GATEWAY_HEAD_H
#define GATEWAY_HEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * A request's head (RFC 9112) of the plain kind that clients of ours send all the time: a GET or
 * POST of HTTP/1.1, one Host, nothing escaped in its target, a body of a length that is told.  All
 * else, right or wrong, is HEAD_OTHER and for somebody else to judge.
 */
#define HEAD_FIELDS 64 /* of each kind */

struct head_field {
    char *name, *value;
    uint16_t name_bytes, value_bytes;
};

struct head {
    const char *method;
    char *path;
    size_t path_bytes;
    struct head_field header[HEAD_FIELDS], argument[HEAD_FIELDS];
    unsigned n_headers, n_arguments;
    size_t bytes, body_bytes;
    bool is_last; /* Connection: close */
};

/* What `text` begins with.  HEAD_PLAIN: `head` points into it, and ends nowhere with NUL yet. */
enum head_kind { HEAD_PLAIN, HEAD_INCOMPLETE, HEAD_OTHER };
enum head_kind head_parse(char *text, size_t bytes, struct head *head);

/* RFC 9110 §5.6.2; and §7.2, by its characters. */
bool head_is_token(const char *text, size_t bytes);
bool head_is_host(const char *text, size_t bytes);

/* Put a NUL behind each string of it. */
void head_terminate(struct head *head);

/* The first of this name, in any case; NULL: none. */
const char *head_value(const struct head_field *field, unsigned n, const char *name);

#endif
