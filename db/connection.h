#ifndef DB_CONNECTION_H
#define DB_CONNECTION_H

#include "db/database.h"
#include "db/schema.h"

#include <sqlite3.h>

/*
 * What the files of db/ share of a connection.  A statement is taken, bound, stepped and reset
 * before the call that took it returns.  A write is one statement, which locks as BEGIN IMMEDIATE
 * does, or stands between database_begin and database_end: it waits for other writers and never
 * fails for having read first.
 */
struct database {
    sqlite3 *sqlite;
    const struct schema *schema;
    struct error error;
    struct sharing *sharing; /* NULL: it is one thread's */
    sqlite3_stmt *statements[];
};

/* database_open, for the file of any schema. */
struct database *connection_open(const struct schema *schema, const char *path, bool create,
                                 struct error *error);

/* The same for one who may only read it, of a schema without write-ahead log. */
struct database *connection_open_reader(const struct schema *schema, const char *path,
                                        struct error *error);

/* What this connection writes from now on may be lost with the power (never with a crash of ours),
 * or not: for what is written often and matters for minutes. */
bool database_relax(struct database *database, bool relaxed);

/* BEGIN IMMEDIATE; and COMMIT where `result` is DB_OK, else ROLLBACK.  What then holds. */
enum db_result database_begin(struct database *database);
enum db_result database_end(struct database *database, enum db_result result);

/* DB_FAILED, with SQLite's words kept for database_error. */
enum db_result database_fail(struct database *database);

/* Run a bound statement that writes.  DB_NOT_FOUND: it changed no row; DB_EXISTS: UNIQUE. */
enum db_result database_write(struct database *database, sqlite3_stmt *statement);

/* Leave nothing bound (a hash) and no read transaction open. */
void database_reset(sqlite3_stmt *statement);

/* sharing.c: a commit that was made waits for the disk, unless it is relaxed; a transaction that
 * writes begins, and ends a look; database_relax, where it is shared. */
enum db_result sharing_settle(struct database *database);
void sharing_begin(struct database *database);
bool sharing_relax(struct database *database, bool relaxed);
void sharing_free(struct sharing **sharing);

#endif
