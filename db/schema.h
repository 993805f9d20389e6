#ifndef DB_SCHEMA_H
#define DB_SCHEMA_H

#include "common/error.h"

#include <sqlite3.h>
#include <stddef.h>

/*
 * All SQL there is: the steps from one schema to the next, and the statements that every connection
 * prepares once.
 */
enum statement {
    USER_FIND,
    USER_LIST,
    USER_ADD,
    USER_SET_HASH,
    USER_SET_DISABLED,
    USER_DELETE,
    STATEMENTS
};
extern const char *const schema_statements[STATEMENTS];

/* Step N leads from `user_version` N to N + 1. */
extern const char *const schema_steps[];
extern const int schema_n_steps;

/* `application_id` of our databases: never migrate, and so never touch, one of someone else's. */
#define SCHEMA_APPLICATION_ID 0x53506f72

/*
 * Is it ours (or still empty), and not newer than we know?  Then run what steps it lacks, each in
 * one transaction: a step that fails leaves the schema as it was.  Several processes may do so at
 * once.
 */
bool schema_check(sqlite3 *sqlite, int n_steps, struct error *error);
bool schema_migrate(sqlite3 *sqlite, const char *const *steps, int n_steps, struct error *error);

#endif
