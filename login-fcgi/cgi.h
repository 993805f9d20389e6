#ifndef LOGIN_CGI_H
#define LOGIN_CGI_H

#include <stdbool.h>

/* Were we started by a web server for one request (RFC 3875)? */
bool cgi_is_started(void);

/*
 * Can our arguments be words of the query (RFC 3875 §4.4)?  Apache starts us with "-c" "FILE" for
 * /login?-c+FILE: whoever reads such arguments reads what a stranger wrote.
 */
bool cgi_arguments_are_foreign(void);

/*
 * Answer the one request, with the config at `path`; NULL: refuse it, its query is not one of ours.
 * The exit status: 0 where an answer was sent.
 */
int cgi_run(const char *path);

#endif
