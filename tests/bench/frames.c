/* WebSocket, a client's side of it (RFC 6455), as far as a server of Engine.IO answers it. */
#include "tests/bench/client.h"

#include <stdio.h>
#include <string.h>

/* RFC 6455 §1.3: the example's key, and what a server makes of it. */
static const char key[] = "dGhlIHNhbXBsZSBub25jZQ==";
static const char accepted[] = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

void frames_open(struct thread *thread, struct client *client)
{
    line_open(thread, client, &client->line);
    thread->out_bytes = (size_t)snprintf(
        thread->out, OUT_BYTES,
        "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: 127.0.0.1:%u\r\n"
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: %s\r\n"
        "Sec-WebSocket-Version: 13\r\n\r\n",
        thread->job->port, key);
    client->step = HANDSHAKING;
    line_send(thread, &client->line);
}

/* A masked text frame (§5.2). */
void frames_say(struct thread *thread, struct client *client, const char *text, size_t bytes)
{
    static const char mask[4] = {0x37, 0x7a, 0x21, 0x3d};
    char *to;

    if (thread->out_bytes + bytes + 8 > OUT_BYTES)
        line_send(thread, &client->line);
    to = thread->out + thread->out_bytes;
    *to++ = (char)0x81;
    if (bytes < 126) {
        *to++ = (char)(0x80 | bytes);
    } else {
        *to++ = (char)(0x80 | 126);
        *to++ = (char)(bytes >> 8);
        *to++ = (char)bytes;
    }
    memcpy(to, mask, sizeof mask);
    to += sizeof mask;
    for (size_t i = 0; i < bytes; i++)
        *to++ = text[i] ^ mask[i % 4];
    thread->out_bytes = (size_t)(to - thread->out);
}

static size_t take_head(struct client *client, const char *at, size_t bytes)
{
    const char *end = memmem(at, bytes, "\r\n\r\n", 4);

    if (!end)
        return 0;
    bytes = (size_t)(end - at) + 4;
    if (memcmp(at, "HTTP/1.1 101 ", 13) != 0 || !memmem(at, bytes, accepted, sizeof accepted - 1))
        client_fail(client, "was not upgraded", at, bytes);
    client->step = OPENING;
    return bytes;
}

size_t frames_take(struct thread *thread, struct client *client, const char *at, size_t bytes)
{
    const unsigned char *head = (const unsigned char *)at;
    size_t length, start = 2;

    if (client->step == HANDSHAKING)
        return take_head(client, at, bytes);
    if (bytes < 2)
        return 0;
    length = head[1];
    if (length == 126) {
        if (bytes < 4)
            return 0;
        length = (size_t)head[2] << 8 | head[3];
        start = 4;
    }
    if (length > REST_BYTES - 4)
        client_fail(client, "a frame of a length nobody sent", NULL, 0);
    if (bytes < start + length)
        return 0;
    if (head[0] == 0x88)
        client_fail(client, "closed by the server", length > 2 ? at + start + 2 : NULL, length - 2);
    if (head[0] != 0x81)
        client_fail(client, "neither a text frame nor a close", NULL, 0);
    client_hear(thread, client, at + start, length);
    return start + length;
}
