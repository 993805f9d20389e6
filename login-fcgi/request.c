/*
 * One request: what its parameters say, and its body.  How the bytes come is the business of
 * fcgi.c and cgi.c, what they mean that of routes.c.
 */
#include "login-fcgi/request.h"

#include "common/memory.h"

#include <ctype.h>
#include <sodium.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* What we read and throw away before we let the connection break. */
#define DRAIN_MAX_BYTES ((size_t)16 << 20)

static const char *parameter(char *const *parameters, const char *name)
{
    size_t length = strlen(name);

    for (; *parameters; parameters++)
        if (strncmp(*parameters, name, length) == 0 && (*parameters)[length] == '=')
            return *parameters + length + 1;
    return "";
}

/*
 * REQUEST_URI is what the client wrote; lighttpd, Apache and nginx all send it.  SCRIPT_NAME is
 * what is left when they have decoded and merged it (//login, /x/../login), and Apache sends the
 * name its configuration sets, /login for /login/more too.
 */
static void request_set_path(struct request *request, char *const *parameters)
{
    const char *uri = parameter(parameters, "REQUEST_URI");
    int length;

    if (*uri)
        length = snprintf(request->path, sizeof request->path, "%.*s", (int)strcspn(uri, "?"), uri);
    else
        length = snprintf(request->path, sizeof request->path, "%s%s",
                          parameter(parameters, "SCRIPT_NAME"), parameter(parameters, "PATH_INFO"));
    if (length < 0 || (size_t)length >= sizeof request->path)
        request->path[0] = '\0';
}

static void request_set_length(struct request *request, const char *text)
{
    size_t digits = strspn(text, "0123456789");

    if (*text == '\0')
        request->state = REQUEST_BODY_NO_LENGTH;
    else if (digits != strlen(text) || digits > 18)
        request->state = REQUEST_BODY_DAMAGED;
    else
        request->content_length = strtoull(text, NULL, 10);
}

/* Read to the end or to DRAIN_MAX_BYTES.  How much came; -1: the peer failed. */
static ssize_t drain(ssize_t (*reader)(void *, char *, size_t), void *source)
{
    char waste[8192];
    size_t total = 0;
    ssize_t n;

    do {
        n = reader(source, waste, sizeof waste);
        if (n > 0)
            total += (size_t)n;
    } while (n > 0 && total < DRAIN_MAX_BYTES);
    sodium_memzero(waste, sizeof waste);
    return n < 0 ? -1 : (ssize_t)total;
}

void request_init(struct request *request, char *const *parameters)
{
    memset(request, 0, sizeof *request);
    request->method = parameter(parameters, "REQUEST_METHOD");
    request->content_type = parameter(parameters, "CONTENT_TYPE");
    request->client = parameter(parameters, "REMOTE_ADDR");
    request->if_none_match = parameter(parameters, "HTTP_IF_NONE_MATCH");
    request->host = parameter(parameters, "HTTP_HOST");
    request->origin = parameter(parameters, "HTTP_ORIGIN");
    request->fetch_site = parameter(parameters, "HTTP_SEC_FETCH_SITE");
    request->cookies = parameter(parameters, "HTTP_COOKIE");
    request_set_path(request, parameters);
    request_set_length(request, parameter(parameters, "CONTENT_LENGTH"));
}

void request_fini(struct request *request)
{
    if (request->body)
        sodium_memzero(request->body, request->content_length);
    free(request->body);
    request->body = NULL;
}

bool request_read_body(struct request *request, size_t max_bytes,
                       ssize_t (*reader)(void *source, char *buffer, size_t size), void *source)
{
    ssize_t n = 1;

    if (request->state == REQUEST_BODY_WHOLE && request->content_length > max_bytes)
        request->state = REQUEST_BODY_TOO_LONG;
    if (request->state == REQUEST_BODY_WHOLE) {
        request->body = memory_zeroed(request->content_length + 1, 1);
        while (request->body_bytes < request->content_length && n > 0) {
            n = reader(source, request->body + request->body_bytes,
                       request->content_length - request->body_bytes);
            if (n > 0)
                request->body_bytes += (size_t)n;
        }
    }
    if (n > 0)
        n = drain(reader, source);
    if (request->state == REQUEST_BODY_WHOLE &&
        (n > 0 || request->body_bytes != request->content_length))
        request->state = REQUEST_BODY_DAMAGED;
    return n >= 0;
}

/* RFC 6265 §4.2.1.  One that is there twice may be another site's: neither is believed. */
bool request_cookie(const struct request *request, const char *name, char *value, size_t size)
{
    const char *at = request->cookies;
    size_t length = strlen(name), bytes;
    int n = 0;

    while (*at) {
        bytes = strcspn(at, ";");
        if (bytes > length && strncmp(at, name, length) == 0 && at[length] == '=') {
            n++;
            if (bytes - length - 1 >= size)
                return false;
            snprintf(value, size, "%.*s", (int)(bytes - length - 1), at + length + 1);
        }
        at += bytes;
        at += strspn(at, "; \t");
    }
    return n == 1;
}

/* An ETag of ours holds no comma and is no part of another: hexadecimal, in quotes. */
bool request_names_etag(const struct request *request, const char *etag)
{
    return strcmp(request->if_none_match, "*") == 0 || strstr(request->if_none_match, etag);
}

bool request_has_type(const struct request *request, const char *type)
{
    size_t length = strlen(type);
    const char *rest = request->content_type + length;

    if (strncasecmp(request->content_type, type, length) != 0)
        return false;
    rest += strspn(rest, " \t");
    return *rest == '\0' || *rest == ';';
}
