#ifndef GATEWAY_DEFLATE_H
#define GATEWAY_DEFLATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * permessage-deflate (RFC 7692) without context takeover: every message is compressed by itself, so
 * that one result serves every receiver, and a connection keeps nothing.  A worker has one struct
 * deflate, which takes zlib's memory when it is first used in either direction.
 */
struct deflate;

struct deflate *deflate_new(void);
void deflate_free(struct deflate **state);

/*
 * What to answer to the offers of a Sec-WebSocket-Extensions header (RFC 7692 §5 and §7.1); static.
 * NULL: none of them can be accepted as it stands, the connection goes without.  False: it is no
 * such header, and there is to be no connection (RFC 6455 §9.1).
 */
bool deflate_accept(const char *offers, const char **accepted);

/*
 * Compress a message's payload (§7.2.1) into `room` bytes; how many it takes.  0: it does not fit.
 */
size_t deflate_shrink(struct deflate *state, const uint8_t *from, size_t bytes, uint8_t *to,
                      size_t room);

/*
 * The payload of a compressed message (§7.2.2), which may have `limit` bytes; no more memory than
 * that is taken.  `*to` is freed by the caller, whatever the result.
 */
enum deflate_result { DEFLATE_OK, DEFLATE_BAD, DEFLATE_TOO_BIG };
enum deflate_result deflate_expand(struct deflate *state, const uint8_t *from, size_t bytes,
                                   size_t limit, uint8_t **to, size_t *expanded);

#endif
