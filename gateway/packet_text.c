/*
 * A Socket.IO packet's text, after the reference decoder but without what that lets through by
 * accident: numbers are decimal digits, an event has a payload, only an event or an ack has an id.
 * What the packet does is for others; so is waiting for its attachments.
 */
#include "gateway/packet_text.h"

#include <assert.h>
#include <string.h>

static bool read_number(const char **at, const char *end, uint64_t *number)
{
    const char *start = *at;

    *number = 0;
    for (; *at < end && **at >= '0' && **at <= '9'; ++*at) {
        uint64_t digit = (uint64_t)(**at - '0');

        if (*number > (PACKET_MAX_ID - digit) / 10)
            return false;
        *number = *number * 10 + digit;
    }
    return *at > start;
}

static enum scan_result read_attachments(const char **at, const char *end, uint32_t max,
                                         struct packet_text *packet)
{
    uint64_t number;

    if (packet->type != PACKET_BINARY_EVENT && packet->type != PACKET_BINARY_ACK)
        return SCAN_OK;
    if (!read_number(at, end, &number) || number == 0 || *at == end || **at != '-')
        return SCAN_MALFORMED;
    if (number > max)
        return SCAN_PLACEHOLDERS;
    ++*at;
    packet->attachments = (uint32_t)number;
    return SCAN_OK;
}

/* The comma may be missing when nothing follows. */
static bool read_namespace(const char **at, const char *end, struct packet_text *packet)
{
    const char *start = *at, *comma, *query;

    if (start == end || *start != '/')
        return true;
    comma = memchr(start, ',', (size_t)(end - start));
    *at = comma != NULL ? comma + 1 : end;
    if (comma == NULL)
        comma = end;
    if (!scan_is_text((struct span){start, (uint32_t)(comma - start)}))
        return false;
    query = memchr(start, '?', (size_t)(comma - start));
    if (query != NULL)
        packet->query = (struct span){query + 1, (uint32_t)(comma - query - 1)};
    else
        query = comma;
    packet->namespace = (struct span){start, (uint32_t)(query - start)};
    return packet->namespace.length <= PACKET_MAX_NAMESPACE;
}

static bool read_id(const char **at, const char *end, struct packet_text *packet)
{
    if (*at == end || **at < '0' || **at > '9')
        return true;
    packet->has_id = true;
    return read_number(at, end, &packet->id);
}

/* Without a payload, or with an object, which may have white space after it. */
static enum scan_result read_connect(struct packet_text *packet)
{
    struct json_value value;

    if (packet->has_id)
        return SCAN_MALFORMED;
    if (packet->json.length == 0)
        return SCAN_OK;
    if (!scan_value(packet->json.at, packet->json.length, &value) || value.type != VALUE_OBJECT)
        return SCAN_MALFORMED;
    packet->json = value.text;
    return SCAN_OK;
}

static enum scan_result read_array(struct packet_text *packet, bool is_event, struct event *event)
{
    struct span json = packet->json;
    enum scan_result result;

    if (is_event)
        result = scan_event(json.at, json.length, packet->attachments, event);
    else if (packet->has_id)
        result = scan_array(json.at, json.length, packet->attachments, event);
    else
        return SCAN_MALFORMED;
    if (result == SCAN_OK)
        packet->json = event->text;
    return result;
}

static enum scan_result read_payload(struct packet_text *packet, struct event *event)
{
    struct span json = packet->json;

    /* The reference decoder takes a space before the JSON for the ack id 0. */
    if (json.length > 0 && json.at[0] != '[' && json.at[0] != '{')
        return SCAN_MALFORMED;
    switch (packet->type) {
    case PACKET_CONNECT:
        return read_connect(packet);
    case PACKET_DISCONNECT:
        return !packet->has_id && json.length == 0 ? SCAN_OK : SCAN_MALFORMED;
    case PACKET_EVENT:
    case PACKET_BINARY_EVENT:
        return read_array(packet, true, event);
    case PACKET_ACK:
    case PACKET_BINARY_ACK:
        return read_array(packet, false, event);
    case PACKET_CONNECT_ERROR: /* only a server says so */
        break;
    }
    return SCAN_MALFORMED;
}

static char *put_number(char *at, uint64_t number)
{
    char digits[20], *first = digits + sizeof digits;
    size_t n;

    do
        *--first = (char)('0' + number % 10);
    while ((number /= 10) > 0);
    n = (size_t)(digits + sizeof digits - first);
    memcpy(at, first, n);
    return at + n;
}

enum scan_result packet_text_parse(const char *text, size_t length, uint32_t max_attachments,
                                   struct packet_text *packet, struct event *event)
{
    const char *at = text, *end = text + length;
    enum scan_result result;

    if (length == 0 || length > UINT32_MAX || *at < '0' || *at > '6')
        return SCAN_MALFORMED;
    *packet = (struct packet_text){
        .type = (enum packet_type)(*at++ - '0'),
        .namespace = {"/", 1},
        .query = {"", 0},
    };
    result = read_attachments(&at, end, max_attachments, packet);
    if (result != SCAN_OK)
        return result;
    if (!read_namespace(&at, end, packet) || !read_id(&at, end, packet))
        return SCAN_MALFORMED;
    packet->json = (struct span){at, (uint32_t)(end - at)};
    return read_payload(packet, event);
}

size_t packet_text_write_header(const struct packet_text *packet, char out[PACKET_HEADER_SIZE])
{
    char *at = out;

    assert(packet->namespace.length <= PACKET_MAX_NAMESPACE);
    *at++ = '4';
    *at++ = (char)('0' + packet->type);
    if (packet->type == PACKET_BINARY_EVENT || packet->type == PACKET_BINARY_ACK) {
        at = put_number(at, packet->attachments);
        *at++ = '-';
    }
    if (packet->namespace.length > 1) {
        memcpy(at, packet->namespace.at, packet->namespace.length);
        at += packet->namespace.length;
        *at++ = ',';
    }
    if (packet->has_id)
        at = put_number(at, packet->id);
    return (size_t)(at - out);
}
