#ifndef LOGIN_ROUTES_H
#define LOGIN_ROUTES_H

#include "db/database.h"
#include "login-fcgi/answer.h"
#include "login-fcgi/request.h"
#include "login-fcgi/service.h"

/* Answer a request whose body has been read; `answer` is always filled. */
void routes_answer(const struct service *service, struct database *database,
                   struct request *request, struct answer *answer);

#endif
