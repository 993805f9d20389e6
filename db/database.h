#ifndef DB_DATABASE_H
#define DB_DATABASE_H

#include "common/error.h"

#include <stdint.h>

/* "Wrong", "unknown" and "we failed" are kept apart: a failing disk is never a wrong password. */
enum db_result { DB_OK, DB_NOT_FOUND, DB_EXISTS, DB_FAILED };

/* One connection with its prepared statements.  One thread at a time. */
struct database;

/*
 * Open (or, with `create`, make) the database: WAL, busy timeout 5 s, foreign keys, synchronous
 * FULL; migrations up to today's `user_version` are run, each in one transaction, after a copy was
 * made of what was there, PATH.schema-VERSION.  A newer schema than this program knows is refused.
 * NULL: error.
 */
struct database *database_open(const char *path, bool create, struct error *error);
void database_close(struct database **database);

/*
 * For several threads: each enters before it calls anything with it, and leaves after; both do
 * nothing where it is not shared.  A write still is on the disk when it returns, but others may
 * have entered meanwhile.  What is read after database_look and before the next write or the leave
 * is of one moment, and costs less.  False: error.
 */
bool database_share(struct database *database, struct error *error);
void database_enter(struct database *database);
void database_look(struct database *database);
void database_leave(struct database *database);

/* Keep nothing in memory that can be read again. */
void database_give_back(struct database *database);

/*
 * A copy of what it holds now, while others write, as a new file of mode 0600 that is whole or not
 * there.  False: error; `path` exists, or it cannot be written.
 */
bool database_copy(struct database *database, const char *path, struct error *error);

/* Is the file sound?  False: what is wrong with it. */
bool database_check(struct database *database, struct error *error);

/* The version of the schema that it has, which is this program's. */
int database_version(const struct database *database);

/* The words for the DB_FAILED that a call on this connection returned last; for the log, not for a
 * client. */
const char *database_error(const struct database *database);

#endif
