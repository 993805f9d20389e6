#ifndef LOGIN_GRANT_H
#define LOGIN_GRANT_H

#include "db/users.h"
#include "login-fcgi/answer.h"
#include "login-fcgi/request.h"
#include "login-fcgi/service.h"
#include "login-fcgi/stores.h"

/*
 * A token for `user`, whose password was verified when they were as they are here, and a session
 * with it.  False: meanwhile they were disabled, deleted or given another password, and nothing is
 * answered; else it is, failures of ours too.
 */
bool grant_begin(const struct service *service, struct stores *stores, const struct user *user,
                 const struct request *request, struct answer *answer);

/* POST /token (RFC 6749 §6): the next token, for a refresh token. */
void grant_answer(const struct service *service, struct stores *stores, struct request *request,
                  struct answer *answer);

/* POST /logout: end this session, or all of the user's. */
void grant_logout(const struct service *service, struct stores *stores, struct request *request,
                  struct answer *answer);

/* We failed.  The log has the reason, the client is told to come again. */
void grant_give_up(struct answer *answer, const char *what, const char *why);

#endif
