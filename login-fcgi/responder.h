#ifndef LOGIN_RESPONDER_H
#define LOGIN_RESPONDER_H

#include "common/error.h"

/*
 * Serve FastCGI with the service that is installed until SIGTERM or SIGINT; at SIGHUP read the
 * config at `path` anew.  False: it could not start.
 */
bool responder_run(const char *path, struct error *error);

#endif
