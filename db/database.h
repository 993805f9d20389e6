#ifndef DB_DATABASE_H
#define DB_DATABASE_H

#include "common/error.h"

#include <stdint.h>

/* "Wrong", "unknown" and "we failed" are kept apart: a failing disk is never a wrong password. */
enum db_result { DB_OK, DB_NOT_FOUND, DB_EXISTS, DB_FAILED };

/* One connection with its prepared statements.  One thread at a time; each thread opens its own. */
struct database;

/*
 * Open (or, with `create`, make) the database: WAL, busy timeout 5 s, foreign keys, synchronous
 * FULL; migrations up to today's `user_version` are run, each in one transaction.  A newer schema
 * than this program knows is refused.  NULL: error.
 */
struct database *database_open(const char *path, bool create, struct error *error);
void database_close(struct database **database);

/* The words for the DB_FAILED that a call on this connection returned last; for the log, not for a
 * client. */
const char *database_error(const struct database *database);

#endif
