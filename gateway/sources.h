#ifndef GATEWAY_SOURCES_H
#define GATEWAY_SOURCES_H

#include "gateway/gate.h"

/*
 * Where a token may stand in an HTTP request: `Authorization: Bearer`, a named cookie, `token` in
 * the query.  The first that is there decides, whatever the others say.  Before them all comes what
 * CONNECT brings, which is socketio.c's business.
 */
struct request;

/* Which of them gateway.token_sources, token_cookie and require_header ask for, as bits of enum
 * gate_source. */
unsigned sources_of(const struct config *config);

/* TOKEN_OK: `token` lives as long as the request.  Else why there is none. */
gate_result sources_token(const struct request *request, struct span *token);

#endif
