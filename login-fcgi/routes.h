#ifndef LOGIN_ROUTES_H
#define LOGIN_ROUTES_H

#include "login-fcgi/answer.h"
#include "login-fcgi/request.h"
#include "login-fcgi/service.h"
#include "login-fcgi/stores.h"

/* Answer a request whose body has been read; `answer` is always filled. */
void routes_answer(const struct service *service, struct stores *stores, struct request *request,
                   struct answer *answer);

#endif
