#ifndef GATEWAY_REACH_H
#define GATEWAY_REACH_H

#include "gateway/compiler.h"

/*
 * What can never come to pass, and is therefore a mistake of whoever wrote the rules: a rule that
 * others leave nothing, a variable that is never set, a room in which nobody can be.
 */

/* Can the rule, which has just been read and begins at `at`, be reached after those before it?
 * Notes what it needs and does for reach_check. */
bool reach_add(struct compiler *compiler, const char *at, const struct rule *before,
               const struct rule *rule);

/* At the end of a namespace. */
bool reach_check(struct compiler *compiler);

/* Do both ask for the same value? */
bool reach_same_value(const struct template *a, const struct template *b);

#endif
