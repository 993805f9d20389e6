/*
 * The scanner and the packet codec as a filter, for tests that compare them with their peers in
 * JavaScript.  A case is a line `<what> <number> <length>` and then that many bytes; its answer is
 * one line of JSON.  Spans are answered as [offset, length], decoded bytes in hexadecimal.
 *
 *     v  one value                       e  an event with <number> attachments
 *     a  the array of an ack             m  a member: its name's <number> bytes, then the object
 *     p  a packet, at most <number> attachments
 */
#include <err.h>
#include <stdio.h>
#include <stdlib.h>

#include "gateway/packet_text.h"

static struct event event;

static void print_hex(const char *name, const char *bytes, size_t length)
{
    printf(",\"%s\":\"", name);
    for (size_t i = 0; i < length; i++)
        printf("%02x", (unsigned char)bytes[i]);
    printf("\"");
}

static void print_span(const char *name, struct span span, const char *text)
{
    if (span.length == 0)
        printf(",\"%s\":[0,0]", name);
    else
        printf(",\"%s\":[%td,%u]", name, span.at - text, span.length);
}

static void print_value(bool is_ok, const struct json_value *value, const char *text)
{
    printf("{\"ok\":%s", is_ok ? "true" : "false");
    if (is_ok) {
        printf(",\"type\":%d", value->type);
        print_span("text", value->text, text);
    }
    if (is_ok && value->type == VALUE_STRING) {
        char *decoded = malloc(value->text.length);
        ptrdiff_t length;

        if (decoded == NULL)
            err(2, "decoding a string");
        length = scan_decode_string(value->text, decoded, value->text.length);
        if (length >= 0)
            print_hex("decoded", decoded, (size_t)length);
        free(decoded);
    }
    printf("}\n");
}

/* All that is known of an event or an ack, as members that follow others. */
static void print_event(const char *text)
{
    uint32_t named = event.n_arguments < SCANNER_ARGUMENTS ? event.n_arguments : SCANNER_ARGUMENTS;

    print_span("text", event.text, text);
    print_hex("name", event.decoded_name.at, event.decoded_name.length);
    print_span("arguments", event.arguments, text);
    printf(",\"count\":%u,\"argument\":[", event.n_arguments);
    for (uint32_t i = 0; i < named; i++) {
        const struct json_value *value = &event.argument[i];

        printf("%s{\"type\":%d,\"first\":%u,\"placeholders\":%u", i ? "," : "", value->type,
               value->first_placeholder, value->placeholders);
        print_span("text", value->text, text);
        printf("}");
    }
    printf("],\"placeholder\":[");
    for (uint32_t i = 0; i < event.n_placeholders; i++)
        printf("%s%u", i ? "," : "", event.placeholder[i].number);
    printf("]");
}

static void print_scan(enum scan_result result, const char *text)
{
    printf("{\"result\":%d", result);
    if (result == SCAN_OK)
        print_event(text);
    printf("}\n");
}

static void print_packet(const char *text, size_t length, uint32_t limit)
{
    struct packet_text packet;
    enum scan_result result = packet_text_parse(text, length, limit, &packet, &event);
    char header[PACKET_HEADER_SIZE];

    printf("{\"result\":%d", result);
    if (result == SCAN_OK) {
        printf(",\"type\":%d,\"attachments\":%u", packet.type, packet.attachments);
        print_hex("namespace", packet.namespace.at, packet.namespace.length);
        print_hex("query", packet.query.at, packet.query.length);
        if (packet.has_id)
            printf(",\"id\":%ju", (uintmax_t)packet.id);
        print_span("json", packet.json, text);
        print_hex("header", header, packet_text_write_header(&packet, header));
    }
    printf("}\n");
}

static void answer(char what, uint32_t number, const char *text, size_t length)
{
    struct json_value value;
    struct span name = {text, number}, object = {text + number, (uint32_t)length - number};

    switch (what) {
    case 'v':
        print_value(scan_value(text, length, &value), &value, text);
        break;
    case 'm':
        print_value(scan_member(object, &name, 1, &value), &value, text);
        break;
    case 'e':
        print_scan(scan_event(text, length, number, &event), text);
        break;
    case 'a':
        print_scan(scan_array(text, length, number, &event), text);
        break;
    case 'p':
        print_packet(text, length, number);
        break;
    default:
        errx(2, "there is no kind of case '%c'", what);
    }
}

int main(void)
{
    char what;
    uint32_t number;
    size_t length;

    while (scanf("%c %u %zu", &what, &number, &length) == 3 && getchar() == '\n') {
        char *text = malloc(length + 1); /* the case ends where the memory ends */

        if (text == NULL || fread(text + 1, 1, length, stdin) != length)
            errx(2, "a case is cut short");
        answer(what, number, text + 1, length);
        free(text);
    }
    if (!feof(stdin))
        errx(2, "a case must begin with a line `<what> <number> <length>`");
    return 0;
}
