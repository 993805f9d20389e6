#ifndef COMMON_ERROR_H
#define COMMON_ERROR_H

#include <stdbool.h>

/*
 * What went wrong, in words for a person: what is wrong, where, and what to do.
 * The caller owns the struct; a function that takes one fills it only when it
 * fails.  The text carries no program name (whoever prints it adds that) and
 * never a secret.
 */
struct error {
    char text[1024];
};

/* Write the text and return false, so that a failing function can `return error_set(...)`. */
bool error_set(struct error *error, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
