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

/* Where RFC 6749 has a word for an error, it is that. */
static const struct status {
    int status;
    const char *phrase, *error;
} statuses[] = {
    /* clang-format off */
    {200, "OK",                     NULL},
    {400, "Bad Request",            "invalid_request"},
    {401, "Unauthorized",           "invalid_grant"},
    {404, "Not Found",              "not_found"},
    {405, "Method Not Allowed",     "method_not_allowed"},
    {411, "Length Required",        "length_required"},
    {413, "Content Too Large",      "content_too_large"},
    {415, "Unsupported Media Type", "unsupported_media_type"},
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
    answer->allow = NULL;
    va_start(values, format);
    length = vsnprintf(answer->body, sizeof answer->body, format, values);
    va_end(values);
    assert(length > 0 && (size_t)length < sizeof answer->body);
    answer->body_bytes = (size_t)length;
}

void answer_error(struct answer *answer, int status, const char *description)
{
    answer_write(answer, status, "{\"error\":\"%s\",\"error_description\":\"%s\"}\n",
                 status_find(status)->error, description);
}

void answer_ok(struct answer *answer)
{
    answer_write(answer, 200, "{\"status\":\"ok\"}\n");
}

void answer_token(struct answer *answer, const char *token, int64_t lifetime_s)
{
    answer_write(answer, 200,
                 "{\"token\":\"%s\",\"access_token\":\"%s\",\"token_type\":\"Bearer\","
                 "\"expires_in\":%" PRId64 "}\n",
                 token, token, lifetime_s);
}

void answer_wipe(struct answer *answer)
{
    sodium_memzero(answer, sizeof *answer);
}

size_t answer_head(const struct answer *answer, char head[ANSWER_HEAD_SIZE])
{
    int length = snprintf(head, ANSWER_HEAD_SIZE,
                          "Status: %d %s\r\n"
                          "Content-Type: application/json\r\n"
                          "Content-Length: %zu\r\n"
                          "Cache-Control: no-store\r\n"
                          "X-Content-Type-Options: nosniff\r\n"
                          "%s%s%s\r\n",
                          answer->status, status_find(answer->status)->phrase, answer->body_bytes,
                          answer->allow ? "Allow: " : "", answer->allow ? answer->allow : "",
                          answer->allow ? "\r\n" : "");

    assert(length > 0 && length < ANSWER_HEAD_SIZE);
    return (size_t)length;
}
