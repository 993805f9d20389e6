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
#define AUDIT_ID       0x53506f61

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
    /* A session begins with a login and may be refreshed up to `ends_s`; `kept_s` is when the last
     * token of it has ended too.  `handle` finds it, the hash of a secret opens it.  `replaced_s`:
     * when that refresh token was used.  The access tokens that may still live are those to
     * revoke. */
    "CREATE TABLE sessions ("
    "  id        INTEGER PRIMARY KEY AUTOINCREMENT,"
    "  handle    BLOB    UNIQUE,"
    "  user_id   INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,"
    "  address   TEXT    NOT NULL,"
    "  created_s INTEGER NOT NULL,"
    "  used_s    INTEGER NOT NULL,"
    "  ends_s    INTEGER NOT NULL,"
    "  kept_s    INTEGER NOT NULL"
    ") STRICT;"
    "CREATE INDEX sessions_user ON sessions (user_id);"
    "CREATE INDEX sessions_kept ON sessions (kept_s);"
    "CREATE TABLE refresh_tokens ("
    "  session_id INTEGER NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,"
    "  hash       BLOB    NOT NULL,"
    "  replaced_s INTEGER,"
    "  PRIMARY KEY (session_id, hash)"
    ") STRICT, WITHOUT ROWID;"
    "CREATE TABLE access_tokens ("
    "  jti        TEXT    NOT NULL PRIMARY KEY,"
    "  session_id INTEGER NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,"
    "  issued_s   INTEGER NOT NULL,"
    "  expires_s  INTEGER NOT NULL"
    ") STRICT, WITHOUT ROWID;"
    "CREATE INDEX access_tokens_session ON access_tokens (session_id);",
    /* `kind`: enum throttle_kind.  Who was guessed at stands there as a keyed hash, since people type
     * passwords for names; it is empty where it is all who were.  `ticket_s`: from when the one next
     * attempt is free. */
    "CREATE TABLE secrets (name TEXT NOT NULL PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;"
    "CREATE TABLE throttle ("
    "  kind        INTEGER NOT NULL,"
    "  network     TEXT    NOT NULL,"
    "  subject     BLOB    NOT NULL,"
    "  failures    INTEGER NOT NULL,"
    "  until_s     INTEGER NOT NULL,"
    "  last_s      INTEGER NOT NULL,"
    "  ticket_s    INTEGER NOT NULL,"
    "  fingerprint BLOB    NOT NULL,"
    "  PRIMARY KEY (kind, network, subject)"
    ") STRICT, WITHOUT ROWID;"
    "CREATE INDEX throttle_last ON throttle (last_s);"
    "CREATE TABLE known_networks ("
    "  user_id INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,"
    "  network TEXT    NOT NULL,"
    "  last_s  INTEGER NOT NULL,"
    "  PRIMARY KEY (user_id, network)"
    ") STRICT, WITHOUT ROWID;",
    /* How the hash was made, kind.h; until now there was one way.  '': none that is known. */
    "ALTER TABLE users ADD COLUMN kind TEXT NOT NULL DEFAULT '$argon2id$v=19$m=7168,t=5,p=1'; CREATE INDEX users_kind ON users (kind);",
};

#define USER "SELECT id, name, hash, claims, disabled, created_s, changed_s FROM users "

static const char *const main_statements[STATEMENTS] = {
    [USER_FIND]         = USER "WHERE name = ?1",
    [USER_LIST]         = USER "ORDER BY name",
    [USER_KINDS]        = "SELECT kind FROM users WHERE kind > ?1 ORDER BY kind LIMIT 1",
    [USER_ADD]          = "INSERT INTO users (name, hash, kind, claims, disabled, created_s, changed_s) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    [USER_SET_HASH]     = "UPDATE users SET hash = ?2, kind = ?3, changed_s = ?4 WHERE name = ?1",
    [USER_REPLACE_HASH] = "UPDATE users SET hash = ?3, kind = ?4, changed_s = ?5 WHERE id = ?1 AND hash = ?2 AND NOT disabled",
    [USER_SET_CLAIMS]   = "UPDATE users SET claims = ?2, changed_s = ?3 WHERE name = ?1",
    [USER_SET_DISABLED] = "UPDATE users SET disabled = ?2, changed_s = ?3 WHERE name = ?1",
    [USER_DELETE]       = "DELETE FROM users WHERE name = ?1",

    /* Only for the user who was looked up: still the same, enabled, with the same password. */
    [SESSION_ADD]         = "INSERT INTO sessions (handle, user_id, address, created_s, used_s, ends_s, kept_s)"
                            " SELECT ?1, id, ?4, ?5, ?5, ?6, ?7 FROM users WHERE id = ?2 AND hash = ?3 AND NOT disabled",
    [SESSION_FIND]        = "SELECT s.id, u.name, u.disabled, s.created_s, s.ends_s FROM sessions s JOIN users u ON u.id = s.user_id WHERE s.handle = ?1",
    [SESSION_LIST]        = "SELECT s.id, u.name, s.address, s.created_s, s.used_s, s.ends_s, s.handle IS NOT NULL FROM sessions s JOIN users u ON u.id = s.user_id"
                            " WHERE s.kept_s > ?1 AND (?2 IS NULL OR u.name = ?2) ORDER BY u.name, s.id",
    [SESSION_USED]        = "UPDATE sessions SET used_s = ?2, ends_s = ?3, kept_s = max(kept_s, ?4) WHERE id = ?1",
    [SESSION_END]         = "UPDATE sessions SET ends_s = 0 WHERE id = ?1",
    [SESSION_END_USER]    = "UPDATE sessions SET ends_s = 0 WHERE user_id = ?1",
    [SESSION_FORGET]      = "DELETE FROM sessions WHERE id = ?1",
    [SESSION_FORGET_USER] = "DELETE FROM sessions WHERE user_id = ?1 AND ends_s = 0",
    /* The oldest beyond so many of a user's can be refreshed no more. */
    [SESSION_TRIM]        = "UPDATE sessions SET ends_s = 0, kept_s = min(kept_s, ?3)"
                            " WHERE (SELECT count(*) FROM sessions WHERE user_id = ?1) > ?2 AND user_id = ?1 AND ends_s > 0 AND id NOT IN"
                            " (SELECT id FROM sessions WHERE user_id = ?1 ORDER BY used_s DESC, id DESC LIMIT ?2)",
    [SESSION_PRUNE]       = "DELETE FROM sessions WHERE kept_s <= ?1",
    [REFRESH_FIND]        = "SELECT replaced_s FROM refresh_tokens WHERE session_id = ?1 AND hash = ?2",
    [REFRESH_ADD]         = "INSERT INTO refresh_tokens (session_id, hash) VALUES (?1, ?2)",
    [REFRESH_REPLACE]     = "UPDATE refresh_tokens SET replaced_s = ?2 WHERE session_id = ?1 AND replaced_s IS NULL",
    [REFRESH_PRUNE]       = "DELETE FROM refresh_tokens WHERE session_id = ?1 AND abs(replaced_s - ?2) > ?3",
    [ACCESS_ADD]          = "INSERT INTO access_tokens (jti, session_id, issued_s, expires_s) VALUES (?1, ?2, ?3, ?4)",
    [ACCESS_COUNT]        = "SELECT count(*) FROM access_tokens WHERE session_id = ?1",
    [ACCESS_LIST]         = "SELECT jti, expires_s FROM access_tokens WHERE session_id = ?1 AND expires_s > ?2",
    [ACCESS_LIST_USER]    = "SELECT jti, expires_s FROM access_tokens WHERE session_id IN (SELECT id FROM sessions WHERE user_id = ?1) AND max(issued_s, expires_s) > ?2",
    [ACCESS_SESSION]      = "SELECT session_id FROM access_tokens WHERE jti = ?1",
    [ACCESS_PRUNE]        = "DELETE FROM access_tokens WHERE session_id = ?1 AND expires_s <= ?2",

    [SECRET_FIND]     = "SELECT value FROM secrets WHERE name = ?1",
    [SECRET_ADD]      = "INSERT OR IGNORE INTO secrets VALUES (?1, ?2)",
    [THROTTLE_FIND]   = "SELECT failures, until_s, last_s, ticket_s, fingerprint FROM throttle WHERE kind = ?1 AND network = ?2 AND subject = ?3",
    [THROTTLE_SET]    = "INSERT OR REPLACE INTO throttle (kind, network, subject, failures, until_s, last_s, ticket_s, fingerprint)"
                        " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    [THROTTLE_DELETE] = "DELETE FROM throttle WHERE kind = ?1 AND network = ?2 AND subject = ?3",
    [THROTTLE_LIST]   = "SELECT kind, network, subject, failures, until_s, last_s FROM throttle ORDER BY last_s DESC",
    [THROTTLE_CLEAR]  = "DELETE FROM throttle WHERE (?1 IS NULL OR subject = ?1) AND (?2 IS NULL OR network = ?2)",
    [THROTTLE_PRUNE]  = "DELETE FROM throttle WHERE last_s < ?1",
    /* Beyond so many rows a part of them goes, that which says least: no ticket to wait for, few failures, and old ones. */
    [THROTTLE_TRIM]   = "DELETE FROM throttle WHERE (kind, network, subject) IN (SELECT kind, network, subject FROM throttle"
                        " ORDER BY ticket_s > ?3, failures, last_s"
                        " LIMIT (SELECT CASE WHEN count(*) > ?1 THEN count(*) - ?2 ELSE 0 END FROM throttle))",
    [NETWORK_FIND]    = "SELECT last_s FROM known_networks WHERE user_id = ?1 AND network = ?2",
    /* To the hour is near enough. */
    [NETWORK_SET]     = "INSERT INTO known_networks VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET last_s = ?3 WHERE abs(last_s - ?3) >= 3600",
    [NETWORK_TRIM]    = "DELETE FROM known_networks WHERE user_id = ?1 AND network NOT IN"
                        " (SELECT network FROM known_networks WHERE user_id = ?1 ORDER BY last_s DESC LIMIT ?2)",
};

const struct schema schema_main = {
    "login.database", "", MAIN_ID, 0600, true, main_steps, COUNT(main_steps), main_statements, STATEMENTS, 0};

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
    /* Time as it passed for sure, however the clock was set meanwhile: `uptime_s` is the machine's
     * when `elapsed_s` was last counted, and a row has what was counted when it was written. */
    "ALTER TABLE revocations ADD COLUMN elapsed_s INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE longest ADD COLUMN elapsed_s INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE longest ADD COLUMN uptime_s INTEGER;",
};

static const char *const revocations_statements[REVOCATIONS_STATEMENTS] = {
    [REVOCATION_FIND]        = "SELECT until_s FROM revocations WHERE kind = ?1 AND name = ?2",
    [REVOCATION_SET]         = "INSERT INTO revocations VALUES (?1, ?2, max(?3, ?4 - (SELECT lifetime_s FROM longest)), (SELECT elapsed_s FROM longest))"
                               " ON CONFLICT DO UPDATE SET until_s = max(until_s, excluded.until_s), elapsed_s = excluded.elapsed_s",
    [REVOCATION_LOWER]       = "UPDATE revocations SET until_s = ?3 WHERE kind = ?1 AND name = ?2 AND until_s > ?3",
    [REVOCATION_LIST]        = "SELECT kind, name, until_s FROM revocations",
    /* Gone by the clock for a day, should it be set back, and gone by what passed, should it have been set forward. */
    [REVOCATION_PRUNE]       = "DELETE FROM revocations WHERE until_s + 86401 + (SELECT lifetime_s FROM longest) < ?1"
                               " AND (SELECT longest.elapsed_s - lifetime_s FROM longest) > revocations.elapsed_s + 1",
    /* Less than there was the uptime is after another start: then at least that has passed. */
    [REVOCATION_PASS]        = "UPDATE longest SET uptime_s = ?1, elapsed_s = elapsed_s + CASE WHEN uptime_s IS NULL THEN 0"
                               " WHEN uptime_s <= ?1 THEN ?1 - uptime_s ELSE ?1 END",
    [REVOCATION_LONGEST]     = "SELECT lifetime_s FROM longest",
    [REVOCATION_SET_LONGEST] = "UPDATE longest SET lifetime_s = max(lifetime_s, ?1)",
    [REVOCATION_VERSION]     = "PRAGMA data_version",
};

const struct schema schema_revocations = {
    "token.revocations", "; without it every token that was revoked is good again", REVOCATIONS_ID, 0640, false,
    revocations_steps, COUNT(revocations_steps), revocations_statements, REVOCATIONS_STATEMENTS, REVOCATIONS_READS};

static const char *const audit_steps[] = {
    /* `place`: the address as 16 bytes, by which networks are found. */
    "PRAGMA application_id = " TEXT(AUDIT_ID) ";"
    "CREATE TABLE events ("
    "  id      INTEGER PRIMARY KEY AUTOINCREMENT,"
    "  at_s    INTEGER NOT NULL,"
    "  event   TEXT    NOT NULL,"
    "  result  TEXT    NOT NULL,"
    "  user    TEXT,"
    "  subject BLOB,"
    "  address TEXT,"
    "  place   BLOB,"
    "  actor   TEXT,"
    "  detail  TEXT"
    ") STRICT;",
    "CREATE INDEX events_accepted ON events (id) WHERE result = 'ok';"
    "CREATE INDEX events_refused ON events (id) WHERE result <> 'ok';",
    /* How many there are, since counting a million of them takes longer than writing a thousand. */
    "CREATE TABLE kept (refused INTEGER PRIMARY KEY, n INTEGER NOT NULL) STRICT;"
    "INSERT INTO kept SELECT 0, count(*) FROM events WHERE result = 'ok' UNION ALL SELECT 1, count(*) FROM events WHERE result <> 'ok';"
    "CREATE TRIGGER events_added AFTER INSERT ON events BEGIN UPDATE kept SET n = n + 1 WHERE refused = (new.result <> 'ok'); END;"
    "CREATE TRIGGER events_gone AFTER DELETE ON events BEGIN UPDATE kept SET n = n - 1 WHERE refused = (old.result <> 'ok'); END;",
};

static const char *const audit_statements[AUDIT_STATEMENTS] = {
    [AUDIT_ADD]   = "INSERT INTO events (at_s, event, result, user, subject, address, place, actor, detail) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    /* Apart, so that no attack drives out what is no refusal. */
    [AUDIT_TRIM_ACCEPTED] = "DELETE FROM events WHERE id IN (SELECT id FROM events WHERE result = 'ok' ORDER BY id LIMIT"
                            " (SELECT min(?1, max(0, n - ?2)) FROM kept WHERE refused = 0))",
    [AUDIT_TRIM_REFUSED]  = "DELETE FROM events WHERE id IN (SELECT id FROM events WHERE result <> 'ok' ORDER BY id LIMIT"
                            " (SELECT min(?1, max(0, n - ?2)) FROM kept WHERE refused = 1))",
    [AUDIT_TRIM_OLD]      = "DELETE FROM events WHERE id IN (SELECT id FROM (SELECT id, at_s FROM events ORDER BY id LIMIT ?1) WHERE at_s < ?2)",
    [AUDIT_LIST]  = "SELECT * FROM (SELECT id, at_s, event, result, user, subject, address, actor, detail FROM events"
                    " WHERE ((?1 IS NULL AND ?2 IS NULL) OR user = ?1 OR subject = ?2)"
                    " AND (?3 IS NULL OR event = ?3 OR substr(event, 1, length(?3) + 1) = ?3 || ' ')"
                    " AND (?4 IS NULL OR place BETWEEN ?4 AND ?5)"
                    " AND at_s >= ?6 AND at_s < ?7 AND id > ?8 ORDER BY id DESC LIMIT ?9) ORDER BY id",
    [AUDIT_COUNT] = "SELECT count(*) FROM events WHERE at_s < ?1",
    [AUDIT_PRUNE] = "DELETE FROM events WHERE id IN (SELECT id FROM events WHERE at_s < ?1 ORDER BY id LIMIT 10000)",
};

const struct schema schema_audit = {
    "login.audit", "", AUDIT_ID, 0600, true, audit_steps, COUNT(audit_steps), audit_statements, AUDIT_STATEMENTS, 0};
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

int64_t schema_version(sqlite3 *sqlite)
{
    struct error error;
    int64_t version;

    return ask(sqlite, "PRAGMA user_version", &version, &error) ? version : -1;
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
