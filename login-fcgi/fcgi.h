#ifndef LOGIN_FCGI_H
#define LOGIN_FCGI_H

#include "common/config.h"

#include <stddef.h>
#include <stdint.h>

/*
 * FastCGI 1.0, responder: threads that accept connections and answer requests on them, with the
 * service of the moment and one connection to each database for all.  A connection without a
 * request, new or kept open by the web server, holds no thread.
 */
struct fcgi;

/*
 * Serve what arrives at `listener`.  Every signal the process waits for has to be blocked already;
 * SIGPIPE is ignored from here on.  NULL: error, and nothing runs.
 */
struct fcgi *fcgi_start(int listener, const struct config *config, struct error *error);

/*
 * Drop the peers that are late: silent since they connected, in the middle of a request, or not
 * taking our answer, for login.timeout.  To be called every few tenths of that time.  And give back
 * memory when nothing was asked for a minute.
 */
void fcgi_look_after(struct fcgi *fcgi);

/*
 * Finish what is under way, then free everything.  `accept_rest`: the listening socket ends with
 * us, so whoever waits there is served too.
 */
void fcgi_stop(struct fcgi **fcgi, bool accept_rest);

#endif
