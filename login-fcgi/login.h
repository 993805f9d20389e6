#ifndef LOGIN_LOGIN_H
#define LOGIN_LOGIN_H

#include "login-fcgi/answer.h"
#include "login-fcgi/request.h"
#include "login-fcgi/service.h"
#include "login-fcgi/stores.h"

/*
 * POST /login: 200 with a token, 400 or 415 for a body that is not a login (nothing is hashed), or
 * 401, the same bytes after the same work whether the user is unknown, disabled or gave a wrong
 * password.  What we failed in is a 500 or 503, never a 401.
 */
void login_answer(const struct service *service, struct stores *stores, struct request *request,
                  struct answer *answer);

/*
 * POST /password: the same with `new_password`, which is theirs from then on; all their tokens and
 * sessions end, and the answer is that of a login.
 */
void login_change(const struct service *service, struct stores *stores, struct request *request,
                  struct answer *answer);

#endif
