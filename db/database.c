/*
 * Opening the SQLite database, so that whatever is wrong with it is said at once and in words.
 * What is in it is schema.c's business, what is asked of it users.c's.
 */
#include "db/database.h"

#include "common/memory.h"
#include "db/connection.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BUSY_TIMEOUT_MS 5000

static void folder_of(const char *path, char folder[PATH_MAX])
{
    const char *slash = strrchr(path, '/');

    if (slash)
        snprintf(folder, PATH_MAX, "%.*s", slash > path ? (int)(slash - path) : 1, path);
    else
        strcpy(folder, ".");
}

static bool explain_owner(const char *path, struct error *error)
{
    struct stat status = {0};

    stat(path, &status);
    return error_set(error,
                     "user id %u cannot read and write %s; run as its owner, user id %u, or make "
                     "it this user's",
                     (unsigned)geteuid(), path, (unsigned)status.st_uid);
}

/* The file, and what SQLite keeps beside it, which is another user's if that user ran first. */
static bool explain_files(const char *path, const char *reason, struct error *error)
{
    static const char *const beside[] = {"", "-wal", "-shm"};
    char file[PATH_MAX];

    for (size_t i = 0; i < sizeof beside / sizeof *beside; i++) {
        snprintf(file, sizeof file, "%s%s", path, beside[i]);
        if (faccessat(AT_FDCWD, file, R_OK | W_OK, AT_EACCESS) < 0 && errno != ENOENT)
            return explain_owner(file, error);
    }
    return error_set(error, "cannot use the database %s: %s", path, reason);
}

/* What the file system says is wrong, where it says anything; else `reason`. */
static bool explain(const char *path, const char *reason, struct error *error)
{
    char folder[PATH_MAX];
    struct stat status;

    folder_of(path, folder);
    if (stat(folder, &status) < 0 || !S_ISDIR(status.st_mode))
        return error_set(error, "no database %s: its folder does not exist", path);
    if (faccessat(AT_FDCWD, folder, W_OK | X_OK, AT_EACCESS) < 0)
        return explain_owner(folder, error);
    if (stat(path, &status) < 0 && errno == ENOENT)
        return error_set(error,
                         "no database %s: name the right one as login.database, or make it "
                         "with `sallyport init`",
                         path);
    if (!S_ISREG(status.st_mode))
        return error_set(error, "the database %s is not a file", path);
    return explain_files(path, reason, error);
}

/*
 * The file, empty, with its mode: SQLite would make it readable to all.  mknod, because closing a
 * descriptor of the file would drop the locks of every connection this process has to it.
 */
static bool make_file(const char *path)
{
    return mknod(path, S_IFREG | 0640, 0) == 0 || errno == EEXIST;
}

static bool say(sqlite3 *sqlite, struct error *reason)
{
    return error_set(reason, "%s", sqlite ? sqlite3_errmsg(sqlite) : "no memory");
}

static bool configure(sqlite3 *sqlite)
{
    static const char settings[] = "PRAGMA foreign_keys = ON; PRAGMA synchronous = FULL;";

    return sqlite3_extended_result_codes(sqlite, 1) == SQLITE_OK &&
           sqlite3_busy_timeout(sqlite, BUSY_TIMEOUT_MS) == SQLITE_OK &&
           sqlite3_db_config(sqlite, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL) == SQLITE_OK &&
           sqlite3_db_config(sqlite, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL) == SQLITE_OK &&
           sqlite3_exec(sqlite, settings, NULL, NULL, NULL) == SQLITE_OK;
}

static int ask_for_wal(sqlite3 *sqlite)
{
    sqlite3_stmt *pragma = NULL;
    int code = sqlite3_prepare_v2(sqlite, "PRAGMA journal_mode = WAL", -1, &pragma, NULL);

    if (code == SQLITE_OK)
        code = sqlite3_step(pragma);
    if (code == SQLITE_ROW)
        code = strcmp((const char *)sqlite3_column_text(pragma, 0), "wal") ? SQLITE_PROTOCOL
                                                                           : SQLITE_OK;
    sqlite3_finalize(pragma);
    return code;
}

/* To change the mode SQLite wants the file for itself, and where two ask at once one is refused
 * without waiting: hence again. */
static int write_ahead(sqlite3 *sqlite)
{
    int code = ask_for_wal(sqlite);

    for (int waited_ms = 0; (code & 0xff) == SQLITE_BUSY && waited_ms < BUSY_TIMEOUT_MS;
         waited_ms += 10) {
        sqlite3_sleep(10);
        code = ask_for_wal(sqlite);
    }
    return code;
}

/* SQLite opens a -wal it cannot write and says so only when it must: better at once.  That another
 * writes just now is no reason to wait. */
static bool can_write(sqlite3 *sqlite)
{
    int code;

    sqlite3_busy_timeout(sqlite, 0);
    code = sqlite3_exec(sqlite, "BEGIN IMMEDIATE; ROLLBACK", NULL, NULL, NULL);
    return sqlite3_busy_timeout(sqlite, BUSY_TIMEOUT_MS) == SQLITE_OK &&
           (code == SQLITE_OK || (code & 0xff) == SQLITE_BUSY);
}

static bool prepare(struct database *database)
{
    for (int i = 0; i < STATEMENTS; i++)
        if (sqlite3_prepare_v3(database->sqlite, schema_statements[i], -1,
                               SQLITE_PREPARE_PERSISTENT, &database->statements[i],
                               NULL) != SQLITE_OK)
            return false;
    return true;
}

enum db_result database_fail(struct database *database)
{
    error_set(&database->error, "%s", sqlite3_errmsg(database->sqlite));
    return DB_FAILED;
}

void database_reset(sqlite3_stmt *statement)
{
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
}

enum db_result database_write(struct database *database, sqlite3_stmt *statement)
{
    enum db_result result = DB_OK;
    int code = sqlite3_step(statement);

    if (code == SQLITE_CONSTRAINT_UNIQUE)
        result = DB_EXISTS;
    else if (code != SQLITE_DONE)
        result = database_fail(database);
    else if (sqlite3_changes(database->sqlite) == 0)
        result = DB_NOT_FOUND;
    database_reset(statement);
    return result;
}

/* A file that can only be read is refused before SQLite makes a -shm that nobody can write. */
static bool set_up(struct database *database, const char *path, struct error *reason)
{
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX;
    int code = sqlite3_open_v2(path, &database->sqlite, flags, NULL);
    sqlite3 *sqlite = database->sqlite;

    if (code != SQLITE_OK)
        return say(sqlite, reason);
    if (sqlite3_db_readonly(sqlite, "main"))
        return error_set(reason, "it can only be read");
    if (!configure(sqlite))
        return say(sqlite, reason);
    if (!schema_check(sqlite, schema_n_steps, reason))
        return false;
    code = write_ahead(sqlite);
    if (code != SQLITE_OK)
        return error_set(reason, "write-ahead logging: %s", sqlite3_errstr(code));
    return schema_migrate(sqlite, schema_steps, schema_n_steps, reason) &&
           ((can_write(sqlite) && prepare(database)) || say(sqlite, reason));
}

struct database *database_open(const char *path, bool create, struct error *error)
{
    struct database *database = memory_zeroed(1, sizeof *database);
    struct error reason;

    if (create && !make_file(path))
        error_set(&reason, "%s", strerror(errno));
    else if (set_up(database, path, &reason))
        return database;
    explain(path, reason.text, error);
    database_close(&database);
    return NULL;
}

void database_close(struct database **database)
{
    if (!*database)
        return;
    for (int i = 0; i < STATEMENTS; i++)
        sqlite3_finalize((*database)->statements[i]);
    sqlite3_close((*database)->sqlite);
    free(*database);
    *database = NULL;
}

const char *database_error(const struct database *database)
{
    return database->error.text;
}
