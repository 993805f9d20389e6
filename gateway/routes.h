#ifndef GATEWAY_ROUTES_H
#define GATEWAY_ROUTES_H

#include <stdbool.h>

/*
 * What is served at which path: Engine.IO's handshake and long-polling under gateway.path, the
 * client's bundle beside it, /healthz.
 */
struct request;

/* The head is here and sound.  May answer it already: its body is then read and thrown away. */
void routes_begin(struct request *request);

/* All of it is here: answer it, or wait. */
void routes_serve(struct request *request);

/* The session it asked for is reserved: answer it with an upgrade. */
void routes_upgrade(struct request *request);

/* It is over, answered or not; of an answer that is awaited, whether it has gone out whole. */
void routes_end(struct request *request, bool is_awaited, bool has_gone_out);

#endif
