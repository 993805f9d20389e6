#ifndef LOGIN_ANSWER_H
#define LOGIN_ANSWER_H

#include "common/token.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What goes back to the client: always one line of JSON, never to be stored (RFC 6749 §5.1). */
struct answer {
    int status;
    const char *allow; /* the methods a 405 names, else NULL */
    size_t body_bytes;
    char body[2 * TOKEN_MAX_BYTES + 256]; /* may hold a token: answer_wipe */
};

/*
 * {"error", "error_description"}; the status decides the error's word.  The description is one of
 * our own, without anything JSON would escape.
 */
void answer_error(struct answer *answer, int status, const char *description);
void answer_ok(struct answer *answer);
void answer_token(struct answer *answer, const char *token, int64_t lifetime_s);
void answer_wipe(struct answer *answer);

/* The header with its empty line, as CGI has it (RFC 3875 §6); its length. */
#define ANSWER_HEAD_SIZE 512
size_t answer_head(const struct answer *answer, char head[ANSWER_HEAD_SIZE]);

#endif
