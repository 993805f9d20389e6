#ifndef LOGIN_CREDENTIALS_H
#define LOGIN_CREDENTIALS_H

#include <jansson.h>
#include <stddef.h>

/*
 * Who says to be whom: a user name and a password, each given exactly once, not empty, UTF-8,
 * without NUL.  Other fields are passed over.
 */
struct credential {
    const char *text; /* NUL-ended, borrowed from the body or from `json` */
    size_t bytes;
};

struct credentials {
    struct credential username, password;
    json_t *json;
};

/*
 * NULL: `credentials` is filled, to be freed with credentials_fini before the body goes.  Else what
 * is wrong, for the client, and there is nothing to free.  `body` is NUL-ended; a form is decoded
 * in place (application/x-www-form-urlencoded, WHATWG URL §5, but a stray % is an error).
 */
const char *credentials_parse_form(struct credentials *credentials, char *body, size_t bytes);
const char *credentials_parse_json(struct credentials *credentials, const char *body, size_t bytes);
void credentials_fini(struct credentials *credentials);

#endif
