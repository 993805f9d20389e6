#ifndef LOGIN_ANSWER_H
#define LOGIN_ANSWER_H

#include "common/token.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What goes back to the client: one line of JSON, never to be stored unless it says so (RFC 6749
 * §5.1). */
struct answer {
    int status;
    const char *allow;      /* the methods a 405 names, else NULL */
    unsigned retry_after_s; /* 0: it says nothing of that */
    char cookie[192];       /* Set-Cookie, "": none */
    const char *etag;       /* then the answer may be kept for a while; NULL: it must not.  Borrowed
                               from the service */
    const char *origin;     /* whose pages may read it ("*": all), else NULL; borrowed */
    bool with_cookies;      /* and send cookies */
    size_t body_bytes;
    char body[2 * TOKEN_MAX_BYTES + 512]; /* may hold tokens: answer_wipe */
};

/*
 * {"error", "error_description"}; the status decides the error's word, or it is `word`.  The
 * description is one of our own, without anything JSON would escape.
 */
void answer_error(struct answer *answer, int status, const char *description);
void answer_error_as(struct answer *answer, int status, const char *word, const char *description);
/* 503, for a reason that is ours and has been logged: come again. */
void answer_unavailable(struct answer *answer);
void answer_ok(struct answer *answer);

/* `refresh` NULL: there is none, or it goes as a cookie. */
void answer_token(struct answer *answer, const char *token, const char *refresh,
                  int64_t lifetime_s);

#define ANSWER_MAX_KEPT_BYTES (2 * TOKEN_MAX_BYTES)
/* What may be kept, with its ETag; `body` NULL: 304, the client has it. */
void answer_kept(struct answer *answer, const char *body, const char *etag);

/* 204: a script of another origin may send what it asked about (Fetch, CORS preflight). */
void answer_preflight(struct answer *answer);

/* To be called after the answer is made: the refresh token as a cookie; NULL: take it away. */
#define ANSWER_COOKIE "__Host-sallyport"
void answer_set_cookie(struct answer *answer, const char *refresh, int64_t lifetime_s);

void answer_wipe(struct answer *answer);

/* The header with its empty line, as CGI has it (RFC 3875 §6); its length. */
#define ANSWER_HEAD_SIZE 2048
size_t answer_head(const struct answer *answer, char head[ANSWER_HEAD_SIZE]);

#endif
