#ifndef GATEWAY_FETCH_H
#define GATEWAY_FETCH_H

#include "common/error.h"

#include <stddef.h>
#include <stdint.h>

/*
 * One document by HTTPS, without ever waiting for it.  The only file that knows libcurl.  Nothing
 * is asked for but the URL given: no redirect is followed, no proxy and no netrc of the environment
 * is heeded, the server's certificate and name are verified.  An answer has 200, at most
 * FETCH_MAX_BYTES, and FETCH_TIMEOUT_MS from the look-up of the name to its last byte.
 */
#define FETCH_MAX_BYTES  ((size_t)256 * 1024)
#define FETCH_TIMEOUT_MS 10000

struct fetch;

/* `ca` is a PEM file of authorities; "": the system's.  Both are copied.  NULL: error. */
struct fetch *fetch_start(const char *url, const char *ca, struct error *error);

enum fetch_state { FETCH_RUNNING, FETCH_DONE, FETCH_FAILED };

/* Do what can be done at once.  FETCH_FAILED: the error says why. */
enum fetch_state fetch_turn(struct fetch *fetch, struct error *error);

/* Once it is done: the text, not NUL-ended, borrowed. */
const char *fetch_text(const struct fetch *fetch, size_t *bytes);

/* For how many more seconds it is fresh (RFC 9111 §4.2.1), 0 where it may not be kept; `standard`
 * where the answer does not say. */
uint64_t fetch_fresh_s(const struct fetch *fetch, uint64_t standard);

void fetch_free(struct fetch **fetch); /* gives up what is running */

#endif
