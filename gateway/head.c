/* The heads that are read without libmicrohttpd: strictly, and only the plain ones.  Whose request
 * it is, is porter.c's business. */
#include "gateway/head.h"

#include <string.h>
#include <strings.h>

#define BODY_DIGITS 9

static bool is_token_character(unsigned char c)
{
    return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') ||
           (c && strchr("!#$%&'*+-.^_`|~", c));
}

/* RFC 3986 §3.2.2 and §3.2.3. */
static bool is_host_character(unsigned char c)
{
    return c > 0x20 && c < 0x7f && !strchr("\"#/<>?@\\^`{|}", c);
}

/* Without those that would have to be decoded: `%`, and `+` in a query. */
static bool is_target_character(unsigned char c)
{
    return c > 0x20 && c < 0x7f && c != '%' && c != '+' && c != '#';
}

/* RFC 9110 §5.5. */
static bool is_value_character(unsigned char c)
{
    return (c >= 0x20 && c != 0x7f) || c == '\t';
}

static char *skip(char *at, const char *end, bool (*is_in)(unsigned char))
{
    while (at < end && is_in((unsigned char)*at))
        at++;
    return at;
}

static bool take_text(char **at, const char *end, const char *text)
{
    size_t length = strlen(text);

    if ((size_t)(end - *at) < length || memcmp(*at, text, length) != 0)
        return false;
    *at += length;
    return true;
}

static bool is_named(const struct head_field *field, const char *name)
{
    size_t length = strlen(name);

    return field->name_bytes == length && strncasecmp(field->name, name, length) == 0;
}

/* The names and values of a query, as they stand; each has its `=`. */
static bool take_query(char *at, const char *end, struct head *head)
{
    while (at < end) {
        char *to = memchr(at, '&', (size_t)(end - at)), *equals;
        size_t length = to ? (size_t)(to - at) : (size_t)(end - at);

        equals = memchr(at, '=', length);
        if (!equals || head->n_arguments == HEAD_FIELDS)
            return false;
        head->argument[head->n_arguments++] = (struct head_field){
            at, equals + 1, (uint16_t)(equals - at), (uint16_t)(at + length - equals - 1)};
        at += length + 1;
    }
    return true;
}

/* RFC 9112 §3, of a path and a query. */
static bool take_request_line(char **at, const char *end, struct head *head)
{
    char *query;

    if (take_text(at, end, "GET "))
        head->method = "GET";
    else if (take_text(at, end, "POST "))
        head->method = "POST";
    else
        return false;
    head->path = *at;
    *at = skip(*at, end, is_target_character);
    query = memchr(head->path, '?', (size_t)(*at - head->path));
    head->path_bytes = (size_t)((query ? query : *at) - head->path);
    return head->path_bytes > 0 && head->path[0] == '/' &&
           (!query || take_query(query + 1, *at, head)) && take_text(at, end, " HTTP/1.1\r\n");
}

/* RFC 9112 §5. */
static bool take_header(char **at, const char *end, struct head *head)
{
    struct head_field *field = &head->header[head->n_headers];
    char *to = skip(*at, end, is_token_character);

    if (head->n_headers++ == HEAD_FIELDS || to == *at || *to != ':')
        return false;
    field->name = *at;
    field->name_bytes = (uint16_t)(to - *at);
    for (to++; *to == ' ' || *to == '\t'; to++)
        ;
    field->value = to;
    *at = to = skip(to, end, is_value_character);
    field->value_bytes = (uint16_t)(to - field->value);
    /* Blanks at the end, which libmicrohttpd 0.9 keeps, nobody sends. */
    return (to == field->value || (to[-1] != ' ' && to[-1] != '\t')) && take_text(at, end, "\r\n");
}

static bool take_length(const struct head_field *field, struct head *head)
{
    for (unsigned i = 0; i < field->value_bytes; i++) {
        if (field->value[i] < '0' || field->value[i] > '9')
            return false;
        head->body_bytes = 10 * head->body_bytes + (size_t)(field->value[i] - '0');
    }
    return field->value_bytes > 0 && field->value_bytes <= BODY_DIGITS;
}

/* What browsers, other clients and web servers in front of us send. */
static bool take_connection(const struct head_field *field, struct head *head)
{
    static const char *const known[] = {"close", "keep-alive", "upgrade", "keep-alive, upgrade"};

    head->is_last = field->value_bytes == strlen(known[0]);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (field->value_bytes == strlen(known[i]) &&
            strncasecmp(field->value, known[i], field->value_bytes) == 0)
            return true;
    return false;
}

/* RFC 9112 §3.2 and §6, and what would change how the rest is read. */
static bool is_plain(struct head *head)
{
    unsigned hosts = 0, lengths = 0, connections = 0;

    for (unsigned i = 0; i < head->n_headers; i++) {
        const struct head_field *field = &head->header[i];

        if (is_named(field, "Transfer-Encoding") || is_named(field, "Expect"))
            return false;
        if (is_named(field, "Host") && (hosts++ || !head_is_host(field->value, field->value_bytes)))
            return false;
        if (is_named(field, "Content-Length") && (lengths++ || !take_length(field, head)))
            return false;
        if (is_named(field, "Connection") && (connections++ || !take_connection(field, head)))
            return false;
    }
    return hosts == 1 && (head->body_bytes == 0 || head->method[0] == 'P');
}

static bool is_all(const char *at, size_t bytes, bool (*is_in)(unsigned char))
{
    while (bytes > 0 && is_in((unsigned char)*at))
        at++, bytes--;
    return bytes == 0;
}

bool head_is_token(const char *text, size_t bytes)
{
    return bytes > 0 && is_all(text, bytes, is_token_character);
}

bool head_is_host(const char *text, size_t bytes)
{
    return is_all(text, bytes, is_host_character);
}

/* Of a head that is still arriving the whole lines are judged: who is to be refused may not have to
 * wait. */
enum head_kind head_parse(char *text, size_t bytes, struct head *head)
{
    const char *stop = memmem(text, bytes, "\r\n\r\n", 4);
    const char *last = stop ? stop + 1 : memrchr(text, '\n', bytes);
    char *at = text;

    head->bytes = 0;
    head->n_headers = head->n_arguments = 0;
    head->body_bytes = 0;
    head->is_last = false;
    if (!last)
        return HEAD_INCOMPLETE;
    if (last - text >= UINT16_MAX || !take_request_line(&at, last + 1, head))
        return HEAD_OTHER;
    while (at <= last)
        if (!take_header(&at, last + 1, head))
            return HEAD_OTHER;
    if (!stop)
        return HEAD_INCOMPLETE;
    head->bytes = (size_t)(stop + 4 - text);
    return is_plain(head) ? HEAD_PLAIN : HEAD_OTHER;
}

static void terminate(struct head_field *field, unsigned n)
{
    for (; n > 0; n--, field++)
        field->name[field->name_bytes] = field->value[field->value_bytes] = '\0';
}

void head_terminate(struct head *head)
{
    head->path[head->path_bytes] = '\0';
    terminate(head->header, head->n_headers);
    terminate(head->argument, head->n_arguments);
}

const char *head_value(const struct head_field *field, unsigned n, const char *name)
{
    for (; n > 0; n--, field++)
        if (is_named(field, name))
            return field->value;
    return NULL;
}
