#ifndef DB_ADMIN_TERMINAL_H
#define DB_ADMIN_TERMINAL_H

#include "common/error.h"
#include "db/password.h"

#include <stddef.h>

/* A password as typed, to be wiped by terminal_wipe wherever it came from. */
struct terminal_password {
    char bytes[PASSWORD_MAX_BYTES];
    size_t length;
};

/*
 * Ask for the new password of `name` twice on the controlling terminal, without echo.  A signal
 * that ends or stops the program finds the terminal as it was; after a stop it is asked again.
 */
bool terminal_ask(const char *name, struct terminal_password *password, struct error *error);

/* The first line of stdin, to its newline, which is not part of it, or to the end. */
bool terminal_read_stdin(struct terminal_password *password, struct error *error);

void terminal_wipe(struct terminal_password *password);

#endif
