#ifndef COMMON_SHA1_H
#define COMMON_SHA1_H

#include <stddef.h>

/* SHA-1, which RFC 6455 §4.2.2 asks for in its handshake; nothing of ours rests on its strength. */
#define SHA1_BYTES 20
void sha1(const void *data, size_t bytes, unsigned char digest[SHA1_BYTES]);

#endif
