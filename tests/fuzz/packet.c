/* The text of a Socket.IO packet: what was read, written again, is read as the same. */
#include "gateway/packet_text.h"
#include "tests/fuzz/target.h"

#define MAX_ATTACHMENTS 10

static struct event event;

static void demand_same(const struct packet_text *a, const struct packet_text *b)
{
    assert(a->type == b->type && a->attachments == b->attachments);
    assert(a->has_id == b->has_id && (!a->has_id || a->id == b->id));
    assert(a->namespace.length == b->namespace.length);
    assert(memcmp(a->namespace.at, b->namespace.at, a->namespace.length) == 0);
    assert(a->json.length == b->json.length);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct packet_text packet, again;
    char *text = target_copy(data, size), header[PACKET_HEADER_SIZE], *written;
    size_t length;

    if (packet_text_parse(text, size, MAX_ATTACHMENTS, &packet, &event) != SCAN_OK)
        goto done;
    assert(packet.attachments <= MAX_ATTACHMENTS && packet.id <= PACKET_MAX_ID);
    assert(packet.namespace.length <= PACKET_MAX_NAMESPACE && packet.namespace.at[0] == '/');
    length = packet_text_write_header(&packet, header);
    assert(length > 1 && length <= sizeof header && header[0] == '4');

    written = malloc(length - 1 + packet.json.length);
    assert(written);
    memcpy(written, header + 1, length - 1);
    if (packet.json.length)
        memcpy(written + length - 1, packet.json.at, packet.json.length);
    assert(packet_text_parse(written, length - 1 + packet.json.length, MAX_ATTACHMENTS, &again,
                             &event) == SCAN_OK);
    demand_same(&packet, &again);
    free(written);
done:
    free(text);
    return 0;
}
