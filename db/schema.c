/*
 * The schema and how it got there.  A released step is never edited: what is wrong with it is
 * mended by the next one.
 */
#include "db/schema.h"

#include <stdint.h>

#define QUOTE(number) #number
#define TEXT(number)  QUOTE(number)

#define COUNT(list) ((int)(sizeof(list) / sizeof *(list)))

#define MAIN_ID        0x53506f72
#define REVOCATIONS_ID 0x53506f76

/* clang-format off */
static const char *const main_steps[] = {
    /* AUTOINCREMENT: the id of a deleted user is in tokens that still live, so never use it again.
     * That `claims` is JSON is users.c's to see to: with a schema that is not trusted, json_valid
     * may not stand in a CHECK (SQLite 3.40). */
    "PRAGMA application_id = " TEXT(MAIN_ID) ";"
    "CREATE TABLE users ("
    "  id        INTEGER PRIMARY KEY AUTOINCREMENT,"
    "  name      TEXT    NOT NULL UNIQUE CHECK (length(name) > 0),"
    "  hash      TEXT    NOT NULL CHECK (length(hash) > 0),"
    "  claims    TEXT    NOT NULL,"
    "  disabled  INTEGER NOT NULL DEFAULT 0 CHECK (disabled IN (0, 1)),"
    "  created_s INTEGER NOT NULL,"
    "  changed_s INTEGER NOT NULL"
    ") STRICT;",
};

#define USER "SELECT id, name, hash, claims, disabled, created_s, changed_s FROM users "

static const char *const main_statements[STATEMENTS] = {
    [USER_FIND]         = USER "WHERE name = ?1",
    [USER_LIST]         = USER "ORDER BY name",
    [USER_ADD]          = "INSERT INTO users (name, hash, claims, created_s, changed_s) VALUES (?1, ?2, ?3, ?4, ?4)",
    [USER_SET_HASH]     = "UPDATE users SET hash = ?2, changed_s = ?3 WHERE name = ?1",
    [USER_SET_DISABLED] = "UPDATE users SET disabled = ?2, changed_s = ?3 WHERE name = ?1",
    [USER_DELETE]       = "DELETE FROM users WHERE name = ?1",
};

const struct schema schema_main = {
    "login.database", "", MAIN_ID, 0600, true, main_steps, COUNT(main_steps), main_statements, STATEMENTS};

static const char *const revocations_steps[] = {
    /* `kind`: enum revocation_kind.  `longest`: no token has ever been issued to live longer. */
    "PRAGMA application_id = " TEXT(REVOCATIONS_ID) ";"
    "CREATE TABLE revocations ("
    "  kind    INTEGER NOT NULL CHECK (kind IN (0, 1)),"
    "  name    TEXT    NOT NULL CHECK (length(name) > 0),"
    "  until_s INTEGER NOT NULL,"
    "  PRIMARY KEY (kind, name)"
    ") STRICT, WITHOUT ROWID;"
    "CREATE TABLE longest (lifetime_s INTEGER NOT NULL) STRICT;"
    "INSERT INTO longest VALUES (0);",
};

static const char *const revocations_statements[REVOCATIONS_STATEMENTS] = {
    [REVOCATION_FIND]        = "SELECT until_s FROM revocations WHERE kind = ?1 AND name = ?2",
    [REVOCATION_SET]         = "INSERT INTO revocations VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET until_s = max(until_s, excluded.until_s)",
    [REVOCATION_LIST]        = "SELECT kind, name, until_s FROM revocations",
    [REVOCATION_PRUNE]       = "DELETE FROM revocations WHERE until_s + 1 + (SELECT lifetime_s FROM longest) < ?1",
    [REVOCATION_LONGEST]     = "SELECT lifetime_s FROM longest",
    [REVOCATION_SET_LONGEST] = "UPDATE longest SET lifetime_s = max(lifetime_s, ?1)",
    [REVOCATION_VERSION]     = "PRAGMA data_version",
};

const struct schema schema_revocations = {
    "token.revocations", "; without it every token that was revoked is good again", REVOCATIONS_ID, 0640, false,
    revocations_steps, COUNT(revocations_steps), revocations_statements, REVOCATIONS_STATEMENTS};
/* clang-format on */

static bool refuse(sqlite3 *sqlite, struct error *error)
{
    return error_set(error, "%s", sqlite3_errmsg(sqlite));
}

/* The one integer that `sql` asks for. */
static bool ask(sqlite3 *sqlite, const char *sql, int64_t *answer, struct error *error)
{
    sqlite3_stmt *statement = NULL;
    bool ok = sqlite3_prepare_v2(sqlite, sql, -1, &statement, NULL) == SQLITE_OK &&
              sqlite3_step(statement) == SQLITE_ROW;

    if (ok)
        *answer = sqlite3_column_int64(statement, 0);
    else
        refuse(sqlite, error);
    sqlite3_finalize(statement);
    return ok;
}

static bool run(sqlite3 *sqlite, const char *sql, struct error *error)
{
    return sqlite3_exec(sqlite, sql, NULL, NULL, NULL) == SQLITE_OK || refuse(sqlite, error);
}

/* Another process may have done the step while we waited for the lock: then there is none to do. */
static bool take_step(sqlite3 *sqlite, const char *const *steps, int version, struct error *error)
{
    char set_version[64];
    int64_t now;

    if (!run(sqlite, "BEGIN IMMEDIATE", error))
        return false;
    sqlite3_snprintf(sizeof set_version, set_version, "PRAGMA user_version = %d", version + 1);
    if (ask(sqlite, "PRAGMA user_version", &now, error) &&
        (now != version ||
         (run(sqlite, steps[version], error) && run(sqlite, set_version, error))) &&
        run(sqlite, "COMMIT", error))
        return true;
    sqlite3_exec(sqlite, "ROLLBACK", NULL, NULL, NULL);
    return false;
}

/* Of one moment: another process may be taking the first step just now. */
static bool look(sqlite3 *sqlite, int64_t *application, int64_t *version, int64_t *things,
                 struct error *error)
{
    bool ok = run(sqlite, "BEGIN", error) &&
              ask(sqlite, "PRAGMA application_id", application, error) &&
              ask(sqlite, "PRAGMA user_version", version, error) &&
              ask(sqlite, "SELECT count(*) FROM sqlite_schema", things, error);

    sqlite3_exec(sqlite, "ROLLBACK", NULL, NULL, NULL);
    return ok;
}

bool schema_check(sqlite3 *sqlite, const struct schema *schema, struct error *error)
{
    int64_t application, version, things;

    if (!look(sqlite, &application, &version, &things, error))
        return false;
    if (application != schema->application_id && (application || version || things))
        return error_set(error,
                         "it is the database of another program, or another of Sallyport's; "
                         "%s has to name the right one",
                         schema->setting);
    if (version > schema->n_steps)
        return error_set(error,
                         "its schema is %lld and this program knows none above %d: a newer "
                         "Sallyport made it; update this program",
                         (long long)version, schema->n_steps);
    return true;
}

bool schema_migrate(sqlite3 *sqlite, const char *const *steps, int n_steps, struct error *error)
{
    int64_t version;

    if (!ask(sqlite, "PRAGMA user_version", &version, error))
        return false;
    for (int step = (int)version; step < n_steps; step++)
        if (!take_step(sqlite, steps, step, error))
            return false;
    return true;
}
