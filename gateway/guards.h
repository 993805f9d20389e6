#ifndef GATEWAY_GUARDS_H
#define GATEWAY_GUARDS_H

#include "gateway/render.h"

/* What guards say; ANSWER_BAD: they cannot be asked, or say that the arguments are not those. */
enum answer { ANSWER_HOLDS, ANSWER_FAILS, ANSWER_BAD };

/* All guards of a rule, as far as the first that does not hold. */
enum answer guards_ask(struct run *run, const struct rule *rule);

/* One of them, for people who want to know. */
enum answer guards_ask_one(struct relay_stage *stage, const struct guard *guard);

#endif
