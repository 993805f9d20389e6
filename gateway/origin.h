#ifndef GATEWAY_ORIGIN_H
#define GATEWAY_ORIGIN_H

#include <stdbool.h>

/*
 * Which pages may ask: those of the host that was asked, and those that gateway.origins names.  A
 * client that sends no Origin is no page of another host, or no page at all.
 */
struct request;

/* May this page ask?  Then the answer gets the headers that let it read (Fetch standard, "CORS
 * protocol"). */
bool origin_allow(struct request *request);

/* Does what a browser adds by itself, a cookie, count as said by this page?  Only where it is one
 * that may ask by its name, not by "*" nor as "null", which is every sandboxed frame. */
bool origin_vouches(const struct request *request);

#endif
