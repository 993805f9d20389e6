/*
 * The answers' form.  When which is given is decided by routes.c and login.c.
 */
#include "login-fcgi/answer.h"

#include <assert.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* How long the keys may be kept: a new one is added that long before it signs. */
#define ANSWER_MAX_AGE_S 300

/* When to come again who was sent away for a reason that is ours. */
#define ANSWER_RETRY_AFTER_S 1

/* Where RFC 6749 has a word for an error, it is that. */
static const struct status {
    int status;
    const char *phrase, *error;
} statuses[] = {
    /* clang-format off */
    {200, "OK",                     NULL},
    {204, "No Content",             NULL},
    {304, "Not Modified",           NULL},
    {400, "Bad Request",            "invalid_request"},
    {401, "Unauthorized",           "invalid_grant"},
    {403, "Forbidden",              "access_denied"},
    {404, "Not Found",              "not_found"},
    {405, "Method Not Allowed",     "method_not_allowed"},
    {411, "Length Required",        "length_required"},
    {413, "Content Too Large",      "content_too_large"},
    {415, "Unsupported Media Type", "unsupported_media_type"},
    {429, "Too Many Requests",      "slow_down"},
    {500, "Internal Server Error",  "server_error"},
    {503, "Service Unavailable",    "temporarily_unavailable"},
    /* clang-format on */
};

static const struct status *status_find(int status)
{
    size_t i = 0;

    while (statuses[i].status != status) {
        i++;
        assert(i < sizeof statuses / sizeof *statuses);
    }
    return &statuses[i];
}

static void __attribute__((format(printf, 3, 4)))
answer_write(struct answer *answer, int status, const char *format, ...)
{
    va_list values;
    int length;

    answer->status = status;
    answer->allow = answer->etag = answer->origin = NULL;
    answer->with_cookies = false;
    answer->retry_after_s = 0;
    answer->cookie[0] = '\0';
    va_start(values, format);
    length = vsnprintf(answer->body, sizeof answer->body, format, values);
    va_end(values);
    assert(length > 0 && (size_t)length < sizeof answer->body);
    answer->body_bytes = (size_t)length;
}

void answer_error_as(struct answer *answer, int status, const char *word, const char *description)
{
    answer_write(answer, status, "{\"error\":\"%s\",\"error_description\":\"%s\"}\n", word,
                 description);
}

void answer_error(struct answer *answer, int status, const char *description)
{
    answer_error_as(answer, status, status_find(status)->error, description);
}

void answer_unavailable(struct answer *answer)
{
    answer_error(answer, 503, "the login service cannot answer at the moment");
    answer->retry_after_s = ANSWER_RETRY_AFTER_S;
}

void answer_ok(struct answer *answer)
{
    answer_write(answer, 200, "{\"status\":\"ok\"}\n");
}

void answer_token(struct answer *answer, const char *token, const char *refresh, int64_t lifetime_s)
{
    answer_write(answer, 200,
                 "{\"token\":\"%s\",\"access_token\":\"%s\",\"token_type\":\"Bearer\","
                 "\"expires_in\":%" PRId64 "%s%s%s}\n",
                 token, token, lifetime_s, refresh ? ",\"refresh_token\":\"" : "",
                 refresh ? refresh : "", refresh ? "\"" : "");
}

void answer_kept(struct answer *answer, const char *body, const char *etag)
{
    answer_write(answer, body ? 200 : 304, "%s\n", body ? body : "");
    if (!body)
        answer->body_bytes = 0;
    answer->etag = etag;
}

void answer_preflight(struct answer *answer)
{
    answer_write(answer, 204, "\n");
    answer->body_bytes = 0;
}

void answer_set_cookie(struct answer *answer, const char *refresh, int64_t lifetime_s)
{
    snprintf(answer->cookie, sizeof answer->cookie,
             ANSWER_COOKIE "=%s; Max-Age=%" PRId64 "; Path=/; Secure; HttpOnly; SameSite=Strict",
             refresh ? refresh : "", refresh ? lifetime_s : 0);
}

void answer_wipe(struct answer *answer)
{
    sodium_memzero(answer, sizeof *answer);
}

/* A 204 or 304 has no body, and says nothing of one. */
static int head_of_body(const struct answer *answer, char *head, size_t size)
{
    if (answer->status == 304 || answer->status == 204)
        return 0;
    return snprintf(head, size, "Content-Type: application/json\r\nContent-Length: %zu\r\n",
                    answer->body_bytes);
}

static int head_of_keeping(const struct answer *answer, char *head, size_t size)
{
    if (!answer->etag)
        return snprintf(head, size, "Cache-Control: no-store\r\n");
    return snprintf(head, size, "Cache-Control: public, max-age=%d\r\nETag: %s\r\n",
                    ANSWER_MAX_AGE_S, answer->etag);
}

static int head_of_some(const struct answer *answer, char *head, size_t size)
{
    int length = 0;

    if (answer->allow)
        length += snprintf(head + length, size - (size_t)length, "Allow: %s\r\n", answer->allow);
    if (answer->retry_after_s)
        length += snprintf(head + length, size - (size_t)length, "Retry-After: %u\r\n",
                           answer->retry_after_s);
    if (answer->cookie[0])
        length +=
            snprintf(head + length, size - (size_t)length, "Set-Cookie: %s\r\n", answer->cookie);
    return length;
}

static int head_of_origin(const struct answer *answer, char *head, size_t size)
{
    if (!answer->origin)
        return 0;
    return snprintf(head, size,
                    "Access-Control-Allow-Origin: %s\r\nVary: Origin\r\n"
                    "Access-Control-Expose-Headers: Retry-After\r\n%s%s",
                    answer->origin,
                    answer->with_cookies ? "Access-Control-Allow-Credentials: true\r\n" : "",
                    answer->status == 204 ? "Access-Control-Allow-Methods: POST\r\n"
                                            "Access-Control-Allow-Headers: Content-Type\r\n"
                                            "Access-Control-Max-Age: 600\r\n"
                                          : "");
}

size_t answer_head(const struct answer *answer, char head[ANSWER_HEAD_SIZE])
{
    static int (*const parts[])(const struct answer *, char *, size_t) = {
        head_of_body, head_of_keeping, head_of_some, head_of_origin};
    size_t used = (size_t)snprintf(head, ANSWER_HEAD_SIZE,
                                   "Status: %d %s\r\n"
                                   "X-Content-Type-Options: nosniff\r\n"
                                   "Content-Security-Policy: default-src 'none'; "
                                   "frame-ancestors 'none'\r\n"
                                   "Referrer-Policy: no-referrer\r\n",
                                   answer->status, status_find(answer->status)->phrase);

    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        used += (size_t)parts[i](answer, head + used, ANSWER_HEAD_SIZE - used);
        assert(used < ANSWER_HEAD_SIZE - 2);
    }
    memcpy(head + used, "\r\n", 3);
    return used + 2;
}
