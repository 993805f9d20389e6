/*
 * Opening SQLite databases, so that whatever is wrong with one is said at once and in words.
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

#define BUSY_TIMEOUT_MS   5000
#define READER_TIMEOUT_MS 500

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

    if (errno == EROFS)
        return error_set(error, "%s is on a file system that can only be read", path);
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
static bool explain(const struct schema *schema, const char *path, const char *reason,
                    struct error *error)
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
                         "no database %s: name the right one as %s, or make it with `sallyport "
                         "init`%s",
                         path, schema->setting, schema->without);
    if (!S_ISREG(status.st_mode))
        return error_set(error, "the database %s is not a file", path);
    return explain_files(path, reason, error);
}

/*
 * The file, empty, with its mode: SQLite would make it readable to all.  mknod, because closing a
 * descriptor of the file would drop the locks of every connection this process has to it.  What a
 * group may read belongs to that of the folder, and whatever the umask it may.
 */
static bool make_file(const char *path, mode_t mode)
{
    char folder[PATH_MAX];
    struct stat status;

    if (mknod(path, S_IFREG | mode, 0) < 0)
        return errno == EEXIST;
    folder_of(path, folder);
    if (mode & S_IRGRP && stat(folder, &status) == 0 && chown(path, -1, status.st_gid) < 0 &&
        errno != EPERM)
        return false;
    return chmod(path, mode) == 0;
}

/* SQLite's words, and where it says no more than that the disk failed those of the system. */
static bool say(sqlite3 *sqlite, struct error *reason)
{
    int number = sqlite && (sqlite3_errcode(sqlite) & 0xff) == SQLITE_IOERR
                     ? sqlite3_system_errno(sqlite)
                     : 0;

    return error_set(reason, "%s%s%s", sqlite ? sqlite3_errmsg(sqlite) : "no memory",
                     number ? ": " : "", number ? strerror(number) : "");
}

/* EXTRA: without a write-ahead log a commit is the removal of the journal, which has to last. */
static bool configure(sqlite3 *sqlite, const struct schema *schema)
{
    const char *settings = schema->writes_ahead
                               ? "PRAGMA foreign_keys = ON; PRAGMA synchronous = FULL;"
                               : "PRAGMA synchronous = EXTRA;";

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

static bool prepare(struct database *database, int n)
{
    for (int i = 0; i < n; i++)
        if (sqlite3_prepare_v3(database->sqlite, database->schema->statements[i], -1,
                               SQLITE_PREPARE_PERSISTENT, &database->statements[i],
                               NULL) != SQLITE_OK)
            return false;
    return true;
}

static bool sync_file(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool is_synced = fd >= 0 && fsync(fd) == 0;

    if (fd >= 0)
        close(fd);
    return is_synced;
}

enum db_result database_fail(struct database *database)
{
    say(database->sqlite, &database->error);
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
    int code;

    if (!statement) {
        error_set(&database->error, "this connection only reads");
        return DB_FAILED;
    }
    code = sqlite3_step(statement);
    if (code == SQLITE_CONSTRAINT_UNIQUE)
        result = DB_EXISTS;
    else if (code != SQLITE_DONE)
        result = database_fail(database);
    else if (sqlite3_changes(database->sqlite) == 0)
        result = DB_NOT_FOUND;
    database_reset(statement);
    return result == DB_OK && sqlite3_get_autocommit(database->sqlite) ? sharing_settle(database)
                                                                       : result;
}

bool database_relax(struct database *database, bool relaxed)
{
    const char *pragma = relaxed ? "PRAGMA synchronous = NORMAL" : "PRAGMA synchronous = FULL";

    return sharing_relax(database, relaxed) ||
           sqlite3_exec(database->sqlite, pragma, NULL, NULL, NULL) == SQLITE_OK;
}

enum db_result database_begin(struct database *database)
{
    sharing_begin(database);
    return sqlite3_exec(database->sqlite, "BEGIN IMMEDIATE", NULL, NULL, NULL) == SQLITE_OK
               ? DB_OK
               : database_fail(database);
}

enum db_result database_end(struct database *database, enum db_result result)
{
    if (result == DB_OK && sqlite3_exec(database->sqlite, "COMMIT", NULL, NULL, NULL) != SQLITE_OK)
        result = database_fail(database);
    if (!sqlite3_get_autocommit(database->sqlite))
        sqlite3_exec(database->sqlite, "ROLLBACK", NULL, NULL, NULL);
    return result == DB_OK ? sharing_settle(database) : result;
}

/* Into a file that nobody knows yet, which then gets its name unless there is one of that name. */
static bool copy_to(sqlite3 *sqlite, const char *path, struct error *error)
{
    char draft[PATH_MAX], *sql = NULL;
    int fd = -1;
    bool is_made = false;

    if (snprintf(draft, sizeof draft, "%s.XXXXXX", path) < (int)sizeof draft)
        fd = mkostemp(draft, O_CLOEXEC); /* empty and 0600, as SQLite wants it and we do */
    if (fd < 0)
        return error_set(error, "cannot make %s: %s", path, strerror(errno));
    close(fd);
    sql = sqlite3_mprintf("VACUUM INTO %Q", draft);
    if (!sql || sqlite3_exec(sqlite, sql, NULL, NULL, NULL) != SQLITE_OK)
        error_set(error, "cannot copy to %s: %s", path, sqlite3_errmsg(sqlite));
    else if (!sync_file(draft) || link(draft, path) < 0)
        error_set(error, "cannot make %s: %s", path, strerror(errno));
    else
        is_made = true;
    sqlite3_free(sql);
    unlink(draft);
    return is_made;
}

/* Whoever else migrates just now makes the same copy. */
static bool copy_before(sqlite3 *sqlite, const struct schema *schema, const char *path,
                        struct error *reason)
{
    int64_t version = schema_version(sqlite);
    char copy[PATH_MAX];

    if (version <= 0 || version >= schema->n_steps)
        return true;
    if (snprintf(copy, sizeof copy, "%s.schema-%d", path, (int)version) >= (int)sizeof copy)
        return error_set(reason, "its path is too long for a copy before the migration");
    return access(copy, F_OK) == 0 || copy_to(sqlite, copy, reason) || access(copy, F_OK) == 0;
}

/* A file that can only be read is refused before SQLite makes a -shm that nobody can write. */
static bool set_up(struct database *database, const char *path, struct error *reason)
{
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX;
    int code = sqlite3_open_v2(path, &database->sqlite, flags, NULL);
    const struct schema *schema = database->schema;
    sqlite3 *sqlite = database->sqlite;

    if (code != SQLITE_OK)
        return say(sqlite, reason);
    if (sqlite3_db_readonly(sqlite, "main"))
        return error_set(reason, "it can only be read");
    if (!configure(sqlite, schema))
        return say(sqlite, reason);
    if (!schema_check(sqlite, schema, reason))
        return false;
    code = schema->writes_ahead ? write_ahead(sqlite) : SQLITE_OK;
    if (code != SQLITE_OK)
        return say(sqlite, reason);
    return copy_before(sqlite, schema, path, reason) &&
           schema_migrate(sqlite, schema->steps, schema->n_steps, reason) &&
           ((can_write(sqlite) && prepare(database, schema->n_statements)) || say(sqlite, reason));
}

static bool set_up_reader(struct database *database, const char *path, struct error *reason)
{
    int flags = SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX;

    if (sqlite3_open_v2(path, &database->sqlite, flags, NULL) != SQLITE_OK ||
        sqlite3_extended_result_codes(database->sqlite, 1) != SQLITE_OK ||
        sqlite3_busy_timeout(database->sqlite, READER_TIMEOUT_MS) != SQLITE_OK)
        return say(database->sqlite, reason);
    return schema_check(database->sqlite, database->schema, reason) &&
           (prepare(database, database->schema->n_reads) || say(database->sqlite, reason));
}

static struct database *new_connection(const struct schema *schema)
{
    struct database *database =
        memory_zeroed(1, sizeof *database + (size_t)schema->n_statements * sizeof(sqlite3_stmt *));

    database->schema = schema;
    return database;
}

struct database *connection_open(const struct schema *schema, const char *path, bool create,
                                 struct error *error)
{
    struct database *database = new_connection(schema);
    struct error reason;

    if (create && !make_file(path, schema->mode))
        error_set(&reason, "%s", strerror(errno));
    else if (set_up(database, path, &reason))
        return database;
    explain(schema, path, reason.text, error);
    database_close(&database);
    return NULL;
}

struct database *connection_open_reader(const struct schema *schema, const char *path,
                                        struct error *error)
{
    struct database *database = new_connection(schema);
    struct error reason;

    if (set_up_reader(database, path, &reason))
        return database;
    error_set(error, "cannot read the database %s: %s%s", path, reason.text,
              access(path, F_OK) < 0 ? schema->without : "");
    database_close(&database);
    return NULL;
}

struct database *database_open(const char *path, bool create, struct error *error)
{
    return connection_open(&schema_main, path, create, error);
}

void database_close(struct database **database)
{
    if (!*database)
        return;
    for (int i = 0; i < (*database)->schema->n_statements; i++)
        sqlite3_finalize((*database)->statements[i]);
    sharing_free(&(*database)->sharing);
    sqlite3_close((*database)->sqlite);
    free(*database);
    *database = NULL;
}

void database_give_back(struct database *database)
{
    sqlite3_db_release_memory(database->sqlite);
}

bool database_copy(struct database *database, const char *path, struct error *error)
{
    return copy_to(database->sqlite, path, error);
}

bool database_check(struct database *database, struct error *error)
{
    static const char *const checks[] = {"PRAGMA integrity_check(1)", "PRAGMA foreign_key_check"};
    bool is_sound = true;

    for (int i = 0; i < 2 && is_sound; i++) {
        sqlite3_stmt *check = NULL;
        const char *said = NULL;
        int code = sqlite3_prepare_v2(database->sqlite, checks[i], -1, &check, NULL);

        if (code == SQLITE_OK)
            code = sqlite3_step(check);
        if (code == SQLITE_ROW)
            said = (const char *)sqlite3_column_text(check, 0);
        if (said && (i == 1 || strcmp(said, "ok") != 0))
            is_sound = error_set(error, "%s%s", i == 1 ? "rows that belong to none: " : "", said);
        else if (code != SQLITE_ROW && code != SQLITE_DONE)
            is_sound = error_set(error, "%s", sqlite3_errmsg(database->sqlite));
        sqlite3_finalize(check);
    }
    return is_sound;
}

int database_version(const struct database *database)
{
    return (int)schema_version(database->sqlite);
}

const char *database_error(const struct database *database)
{
    return database->error.text;
}
