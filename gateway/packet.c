/* Packets and parcels: made once, framed once in each form, counted by worker and by receiver. */
#include "gateway/packet.h"

#include "common/memory.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define MAX_FRAME_HEADER 10
#define DEFLATED_BYTES   1024 /* of a payload that may be worth compressing */
#define RSV1             0x40 /* the message is compressed: RFC 7692 §6 */
#define BASE64           sodium_base64_VARIANT_ORIGINAL

static struct packet *allocate(size_t frames)
{
    struct packet *packet = memory_new(sizeof *packet + frames);

    atomic_init(&packet->references, 1);
    packet->frames = (uint32_t)frames;
    packet->messages = 1;
    packet->is_volatile = false;
    return packet;
}

static size_t header_size(size_t payload)
{
    return payload < 126 ? 2 : payload < 65536 ? 4 : MAX_FRAME_HEADER;
}

/* RFC 6455 §5.2: FIN, no mask, the shortest form of the length.  Where the payload goes. */
static uint8_t *put_header(uint8_t *at, enum websocket_opcode opcode, size_t payload)
{
    size_t size = header_size(payload);

    *at++ = (uint8_t)(0x80 | opcode);
    if (size == 2) {
        *at++ = (uint8_t)payload;
        return at;
    }
    *at++ = size == 4 ? 126 : 127;
    for (size_t bytes = size - 2; bytes > 0; bytes--)
        *at++ = (uint8_t)(payload >> (8 * (bytes - 1)));
    return at;
}

static uint8_t *put(uint8_t *at, const void *from, size_t bytes)
{
    if (bytes)
        memcpy(at, from, bytes);
    return at + bytes;
}

static bool has_binary(const struct packet *packet)
{
    struct frame frame;
    size_t at = 0;

    while (packet_next_frame(packet, &at, &frame))
        if (frame.opcode == OPCODE_BINARY)
            return true;
    return false;
}

/* What stands before an attachment in this form. */
static struct span binary_prefix(uint8_t wire)
{
    static const struct span prefix[] = {
        [WIRE_EIO3] = {"\4", 1}, [WIRE_BASE64] = {"b", 1}, [WIRE_EIO3 | WIRE_BASE64] = {"b4", 2}};

    return prefix[wire];
}

static size_t converted_payload(const struct frame *frame, uint8_t wire)
{
    if (frame->opcode != OPCODE_BINARY)
        return frame->bytes;
    return binary_prefix(wire).length + (wire & WIRE_BASE64
                                             ? sodium_base64_encoded_len(frame->bytes, BASE64) - 1
                                             : frame->bytes);
}

static uint8_t *convert_frame(uint8_t *at, const struct frame *frame, uint8_t wire)
{
    struct span prefix = binary_prefix(wire);
    size_t bytes = converted_payload(frame, wire);

    if (frame->opcode != OPCODE_BINARY)
        return put(put_header(at, frame->opcode, bytes), frame->payload, bytes);
    at = put_header(at, wire & WIRE_BASE64 ? OPCODE_TEXT : OPCODE_BINARY, bytes);
    at = put(at, prefix.at, prefix.length);
    bytes -= prefix.length;
    if (!(wire & WIRE_BASE64))
        return put(at, frame->payload, bytes);
    sodium_bin2base64((char *)at, bytes + 1, frame->payload, frame->bytes, BASE64);
    return at + bytes;
}

static struct packet *convert(const struct packet *packet, uint8_t wire)
{
    struct packet *converted;
    struct frame frame;
    size_t frames = 0, at = 0;
    uint8_t *to;

    while (packet_next_frame(packet, &at, &frame)) {
        size_t payload = converted_payload(&frame, wire);

        frames += header_size(payload) + payload;
    }
    converted = allocate(frames + 1); /* libsodium ends what it writes with a NUL */
    converted->frames = (uint32_t)frames;
    to = converted->frame;
    for (at = 0; packet_next_frame(packet, &at, &frame);)
        to = convert_frame(to, &frame, wire);
    return converted;
}

/* Compressed, or as it is when that makes it no smaller. */
static uint8_t *deflate_frame(uint8_t *at, const struct frame *frame, struct deflate *deflate)
{
    uint8_t *body = at + header_size(frame->bytes), *to;
    size_t bytes = 0;

    if (frame->bytes >= DEFLATED_BYTES &&
        (frame->opcode == OPCODE_TEXT || frame->opcode == OPCODE_BINARY))
        bytes = deflate_shrink(deflate, frame->payload, frame->bytes, body, frame->bytes);
    if (bytes == 0)
        return put(put_header(at, frame->opcode, frame->bytes), frame->payload, frame->bytes);
    to = put_header(at, frame->opcode, bytes);
    at[0] |= RSV1;
    memmove(to, body, bytes);
    return to + bytes;
}

/* The packet itself, when nothing in it can be made smaller. */
static struct packet *compress(struct packet *packet, struct deflate *deflate)
{
    struct packet *compressed = allocate(packet->frames);
    uint8_t *to = compressed->frame;
    struct frame frame;

    for (size_t at = 0; packet_next_frame(packet, &at, &frame);)
        to = deflate_frame(to, &frame, deflate);
    if (to == compressed->frame + packet->frames) {
        packet_put(&compressed);
        return packet_get(packet);
    }
    compressed->frames = (uint32_t)(to - compressed->frame);
    return memory_resize(compressed, sizeof *compressed + compressed->frames, 1);
}

struct packet *packet_new(struct span header, const struct span *piece, size_t n_pieces,
                          const struct attachment *attachment, size_t n_attachments)
{
    struct packet *packet;
    size_t text = header.length, frames = 0;
    uint8_t *at;

    for (size_t i = 0; i < n_pieces; i++)
        text += piece[i].length;
    for (size_t i = 0; i < n_attachments; i++)
        frames += header_size(attachment[i].length) + attachment[i].length;
    packet = allocate(frames + header_size(text) + text);
    at = put_header(packet->frame, OPCODE_TEXT, text);
    at = put(at, header.at, header.length);
    for (size_t i = 0; i < n_pieces; i++)
        at = put(at, piece[i].at, piece[i].length);
    for (size_t i = 0; i < n_attachments; i++) {
        at = put_header(at, OPCODE_BINARY, attachment[i].length);
        at = put(at, attachment[i].bytes, attachment[i].length);
    }
    return packet;
}

struct packet *packet_new_frame(enum websocket_opcode opcode, const void *payload, size_t bytes)
{
    struct packet *packet = allocate(header_size(bytes) + bytes);

    put(put_header(packet->frame, opcode, bytes), payload, bytes);
    return packet;
}

struct packet *packet_new_ready(const void *frames, size_t bytes)
{
    struct packet *packet = allocate(bytes);

    put(packet->frame, frames, bytes);
    return packet;
}

struct packet *packet_join(struct packet *const *packet, size_t n)
{
    struct packet *joined;
    size_t frames = 0;
    uint8_t *at;

    if (n == 1)
        return packet_get(packet[0]);
    for (size_t i = 0; i < n; i++)
        frames += packet[i]->frames;
    joined = allocate(frames);
    joined->messages = (uint16_t)n;
    joined->is_volatile = packet[0]->is_volatile;
    at = joined->frame;
    for (size_t i = 0; i < n; i++)
        at = put(at, packet[i]->frame, packet[i]->frames);
    return joined;
}

bool packet_next_frame(const struct packet *packet, size_t *at, struct frame *frame)
{
    const uint8_t *head = packet->frame + *at;
    size_t length_bytes;

    if (*at == packet->frames)
        return false;
    frame->opcode = (enum websocket_opcode)(head[0] & 0x0f);
    frame->bytes = head[1];
    length_bytes = head[1] < 126 ? 0 : head[1] == 126 ? 2 : 8;
    if (length_bytes > 0)
        frame->bytes = 0;
    for (size_t i = 0; i < length_bytes; i++)
        frame->bytes = frame->bytes << 8 | head[2 + i];
    frame->payload = head + 2 + length_bytes;
    *at += 2 + length_bytes + frame->bytes;
    return true;
}

struct packet *packet_get(struct packet *packet)
{
    atomic_fetch_add_explicit(&packet->references, 1, memory_order_relaxed);
    return packet;
}

void packet_put(struct packet **packet)
{
    struct packet *p = *packet;

    *packet = NULL;
    if (p && atomic_fetch_sub_explicit(&p->references, 1, memory_order_acq_rel) == 1)
        free(p);
}

struct parcel *parcel_new(struct packet *packet)
{
    struct parcel *parcel = memory_new(sizeof *parcel);

    *parcel = (struct parcel){.references = 1, .packet = packet};
    return parcel;
}

void parcel_put(struct parcel **parcel)
{
    struct parcel *p = *parcel;

    *parcel = NULL;
    if (--p->references > 0)
        return;
    for (struct parcel *form = p->other, *next; form; form = next) {
        next = form->other;
        form->other = NULL;
        parcel_put(&form);
    }
    packet_put(&p->packet);
    free(p);
}

struct parcel *parcel_in_form(struct parcel *parcel, uint8_t wire, struct deflate *deflate)
{
    struct parcel *form;
    struct packet *packet;

    if (parcel->packet->frames < DEFLATED_BYTES)
        wire &= (uint8_t)~WIRE_DEFLATED;
    if (wire & ~WIRE_DEFLATED && !has_binary(parcel->packet))
        wire &= WIRE_DEFLATED;
    if (wire == 0)
        return parcel;
    for (form = parcel->other; form; form = form->other)
        if (form->wire == wire)
            return form;
    if (wire & WIRE_DEFLATED)
        packet = compress(parcel_in_form(parcel, wire & ~WIRE_DEFLATED, deflate)->packet, deflate);
    else
        packet = convert(parcel->packet, wire);
    form = parcel_new(packet);
    form->wire = wire;
    form->other = parcel->other;
    parcel->other = form;
    return form;
}
