/*
 * Revocations, written by the login service and the administrator's command, read by the gateway.
 * Whom they concern is known to those who write them; which connections end is the gateway's
 * business.
 */
#include "db/revocations.h"

#include "common/clock.h"
#include "common/memory.h"
#include "db/connection.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

struct revocations {
    struct database *database;
    char *path;
    struct stat opened; /* which file it is */
    int64_t version;    /* PRAGMA data_version when it was last looked at; -1: never */
};

static bool say(const struct revocations *revocations, struct error *error)
{
    return error_set(error, "%s: %s", revocations->path, database_error(revocations->database));
}

/* The one number that a bound statement asks for; DB_NOT_FOUND: there is no row. */
static enum db_result ask(struct database *database, sqlite3_stmt *statement, int64_t *answer)
{
    int code = sqlite3_step(statement);
    enum db_result result = code == SQLITE_ROW    ? DB_OK
                            : code == SQLITE_DONE ? DB_NOT_FOUND
                                                  : database_fail(database);

    if (result == DB_OK)
        *answer = sqlite3_column_int64(statement, 0);
    database_reset(statement);
    return result;
}

/* The user's T; -1: there is none. */
static enum db_result find_user(struct database *database, const char *user, int64_t *until_s)
{
    sqlite3_stmt *find = database->statements[REVOCATION_FIND];
    enum db_result result;

    sqlite3_bind_int(find, 1, REVOCATION_USER);
    sqlite3_bind_text(find, 2, user, -1, SQLITE_STATIC);
    result = ask(database, find, until_s);
    if (result == DB_NOT_FOUND)
        *until_s = -1;
    return result == DB_FAILED ? DB_FAILED : DB_OK;
}

static enum db_result set(struct database *database, enum revocation_kind kind, const char *name,
                          int64_t until_s, int64_t ends_s)
{
    sqlite3_stmt *statement = database->statements[REVOCATION_SET];

    sqlite3_bind_int(statement, 1, (int)kind);
    sqlite3_bind_text(statement, 2, name, -1, SQLITE_STATIC);
    sqlite3_bind_int64(statement, 3, until_s);
    sqlite3_bind_int64(statement, 4, ends_s);
    return database_write(database, statement);
}

static enum db_result prune(struct database *database, int64_t now_s)
{
    sqlite3_stmt *pass = database->statements[REVOCATION_PASS];
    sqlite3_stmt *statement = database->statements[REVOCATION_PRUNE];
    enum db_result result;

    sqlite3_bind_int64(pass, 1, clock_uptime_s());
    result = database_write(database, pass);
    if (result != DB_OK)
        return DB_FAILED;
    sqlite3_bind_int64(statement, 1, now_s);
    result = database_write(database, statement);
    return result == DB_FAILED ? DB_FAILED : DB_OK;
}

/* What was dated to T + 1 because of T has to die too. */
static enum db_result set_user(struct database *database, const char *user, int64_t now_s)
{
    int64_t until_s;
    enum db_result result = find_user(database, user, &until_s);

    if (result != DB_OK)
        return result;
    return set(database, REVOCATION_USER, user, until_s >= now_s ? until_s + 1 : now_s, 0);
}

/* T is of a clock that was set back since. */
static bool lower_user(struct revocations *revocations, const char *user, int64_t until_s,
                       struct error *error)
{
    sqlite3_stmt *lower = revocations->database->statements[REVOCATION_LOWER];

    sqlite3_bind_int(lower, 1, REVOCATION_USER);
    sqlite3_bind_text(lower, 2, user, -1, SQLITE_STATIC);
    sqlite3_bind_int64(lower, 3, until_s);
    return database_write(revocations->database, lower) != DB_FAILED || say(revocations, error);
}

static struct revocations *new_of(struct database *database, const char *path)
{
    struct revocations *revocations = memory_zeroed(1, sizeof *revocations);

    revocations->database = database;
    revocations->path = memory_copy(path, strlen(path));
    revocations->version = -1;
    if (stat(path, &revocations->opened) < 0)
        revocations->opened = (struct stat){0}; /* and so it looks replaced */
    return revocations;
}

/*
 * False, and an error: there is no file any more, and nobody could tell us anything; or there is
 * what SQLite would wait for, such as a pipe.
 */
static bool look_whether_replaced(const struct revocations *revocations, bool *replaced,
                                  struct error *error)
{
    struct stat now;

    if (stat(revocations->path, &now) < 0)
        return error_set(error, "%s: %s", revocations->path, strerror(errno));
    if (!S_ISREG(now.st_mode))
        return error_set(error, "%s is not a file", revocations->path);
    *replaced =
        now.st_ino != revocations->opened.st_ino || now.st_dev != revocations->opened.st_dev;
    return true;
}

/* SQLite may hold on to what it took from a file that was no database for a while: the next look
 * opens it anew. */
static bool give_up(struct revocations *revocations, struct error *error)
{
    revocations->opened = (struct stat){0};
    return say(revocations, error);
}

/* The old file stays open where the new one cannot be. */
static bool reopen(struct revocations *revocations, struct error *error)
{
    struct revocations *fresh = revocations_open_reader(revocations->path, error), old;

    if (!fresh)
        return false;
    old = *revocations;
    *revocations = *fresh;
    *fresh = old;
    revocations_close(&fresh);
    return true;
}

struct revocations *revocations_open(const char *path, bool create, int64_t lifetime_s,
                                     struct error *error)
{
    struct database *database = connection_open(&schema_revocations, path, create, error);
    struct revocations *revocations = database ? new_of(database, path) : NULL;

    if (revocations && !revocations_announce(revocations, lifetime_s, error))
        revocations_close(&revocations);
    return revocations;
}

void revocations_close(struct revocations **revocations)
{
    if (!*revocations)
        return;
    database_close(&(*revocations)->database);
    free((*revocations)->path);
    free(*revocations);
    *revocations = NULL;
}

bool revocations_share(struct revocations *revocations, struct error *error)
{
    return database_share(revocations->database, error);
}

bool revocations_add(struct revocations *revocations, const char *user, const char *const *jtis,
                     size_t n, int64_t ends_s, int64_t now_s, struct error *error)
{
    struct database *database = revocations->database;
    enum db_result result;
    bool is_done;

    database_enter(database);
    result = database_begin(database);
    if (result == DB_OK)
        result = prune(database, now_s);
    if (result == DB_OK && user)
        result = set_user(database, user, now_s);
    for (size_t i = 0; i < n && result == DB_OK; i++)
        result = set(database, REVOCATION_TOKEN, jtis[i], now_s, ends_s);
    is_done = database_end(database, result) == DB_OK || say(revocations, error);
    database_leave(database);
    return is_done;
}

bool revocations_add_user(struct revocations *revocations, const char *user, int64_t now_s,
                          struct error *error)
{
    return revocations_add(revocations, user, NULL, 0, 0, now_s, error);
}

bool revocations_add_token(struct revocations *revocations, const char *jti, int64_t now_s,
                           struct error *error)
{
    return revocations_add(revocations, NULL, &jti, 1, 0, now_s, error);
}

bool revocations_longest(struct revocations *revocations, int64_t *lifetime_s, struct error *error)
{
    struct database *database = revocations->database;

    return ask(database, database->statements[REVOCATION_LONGEST], lifetime_s) == DB_OK ||
           say(revocations, error);
}

bool revocations_announce(struct revocations *revocations, int64_t lifetime_s, struct error *error)
{
    struct database *database = revocations->database;
    sqlite3_stmt *statement = database->statements[REVOCATION_SET_LONGEST];
    int64_t longest_s = 0;

    if (!revocations_longest(revocations, &longest_s, error))
        return false;
    if (longest_s >= lifetime_s)
        return true;
    sqlite3_bind_int64(statement, 1, lifetime_s);
    return database_write(database, statement) == DB_OK || say(revocations, error);
}

bool revocations_first_iat(struct revocations *revocations, const char *user, int64_t now_s,
                           int64_t *first_s, struct error *error)
{
    int64_t until_s;
    bool is_read;

    database_enter(revocations->database);
    is_read = find_user(revocations->database, user, &until_s) == DB_OK || say(revocations, error);
    database_leave(revocations->database);
    if (is_read)
        *first_s = until_s >= now_s ? until_s + 1 : now_s;
    return is_read;
}

bool revocations_copy(struct revocations *revocations, const char *path, struct error *error)
{
    return database_copy(revocations->database, path, error);
}

bool revocations_check(struct revocations *revocations, struct error *error)
{
    return database_check(revocations->database, error);
}

bool revocations_date(struct revocations *revocations, const char *user, int64_t *iat_s,
                      struct error *error)
{
    const struct timespec pause = {0, 20000000};

    for (int i = 0; i < 55; i++) {
        int64_t now_s = clock_wall_s();

        if (!revocations_first_iat(revocations, user, now_s, iat_s, error))
            return false;
        if (*iat_s - 1 - now_s <= 0)
            return true;
        if (*iat_s - 1 - now_s > 1 && !lower_user(revocations, user, now_s, error))
            return false;
        nanosleep(&pause, NULL);
    }
    return error_set(error, "the tokens of %s are revoked without end; is the clock being set?",
                     user);
}

struct revocations *revocations_open_reader(const char *path, struct error *error)
{
    struct database *database = connection_open_reader(&schema_revocations, path, error);

    return database ? new_of(database, path) : NULL;
}

bool revocations_have_changed(struct revocations *revocations, bool *changed, struct error *error)
{
    int64_t version;
    bool replaced = false;

    if (!look_whether_replaced(revocations, &replaced, error) ||
        (replaced && !reopen(revocations, error)))
        return false;
    if (ask(revocations->database, revocations->database->statements[REVOCATION_VERSION],
            &version) != DB_OK)
        return give_up(revocations, error);
    *changed = version != revocations->version;
    revocations->version = version;
    return true;
}

bool revocations_list(struct revocations *revocations,
                      void (*each)(enum revocation_kind kind, const char *name, int64_t until_s,
                                   void *context),
                      void *context, struct error *error)
{
    sqlite3_stmt *list = revocations->database->statements[REVOCATION_LIST];
    int code;

    while ((code = sqlite3_step(list)) == SQLITE_ROW)
        each((enum revocation_kind)sqlite3_column_int(list, 0),
             (const char *)sqlite3_column_text(list, 1), sqlite3_column_int64(list, 2), context);
    if (code != SQLITE_DONE)
        database_fail(revocations->database);
    database_reset(list);
    return code == SQLITE_DONE || give_up(revocations, error);
}
