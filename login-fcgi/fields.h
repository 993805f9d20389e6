#ifndef LOGIN_FIELDS_H
#define LOGIN_FIELDS_H

#include "login-fcgi/answer.h"
#include "login-fcgi/request.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/*
 * What a body says, by name: texts given at most once, not empty, UTF-8, without NUL.  Other fields
 * are passed over.
 */
struct field {
    const char *name;
    bool may_lack;    /* then `text` is NULL */
    bool is_flag;     /* JSON's true and false do too; `text` is "true" or "false" */
    const char *text; /* NUL-ended, borrowed from the body or from `json` */
    size_t bytes;
};

struct fields {
    struct field *list; /* the caller's */
    size_t n;
    json_t *json;
    char wrong[128];
};

/*
 * NULL: the fields are filled, to be freed with fields_fini before the body goes.  Else what is
 * wrong, for the client, in `wrong` or constant, and there is nothing to free.  `body` is
 * NUL-ended; a form is decoded in place (application/x-www-form-urlencoded, WHATWG URL §5, but a
 * stray % is an error).
 */
const char *fields_parse_form(struct fields *fields, char *body, size_t bytes);
const char *fields_parse_json(struct fields *fields, const char *body, size_t bytes);

/* As the request's Content-Type says.  False: it is refused, and that is answered. */
bool fields_read(struct fields *fields, struct request *request, struct answer *answer);

void fields_fini(struct fields *fields);

#endif
