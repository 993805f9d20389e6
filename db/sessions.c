/*
 * The sessions' tables, and the one order in which a session ends: first nothing can be got from it
 * any more, then what was got is revoked, then it is forgotten.  Whoever is stopped in between can
 * begin again.
 */
#include "db/sessions.h"

#include "common/memory.h"
#include "db/connection.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define BASE64URL    sodium_base64_VARIANT_URLSAFE_NO_PADDING
#define HANDLE_BYTES 16
#define SECRET_BYTES 32
#define HASH_BYTES   32

/* A refresh token taken apart; the secret stays only as its hash. */
struct refresh {
    unsigned char handle[HANDLE_BYTES], hash[HASH_BYTES];
};

static void hash_secret(const unsigned char *secret, unsigned char hash[HASH_BYTES])
{
    crypto_generichash(hash, HASH_BYTES, secret, SECRET_BYTES, NULL, 0);
}

static bool parse(const char *text, struct refresh *refresh)
{
    unsigned char bytes[HANDLE_BYTES + SECRET_BYTES];
    size_t length;
    bool is_one = sodium_base642bin(bytes, sizeof bytes, text, strlen(text), NULL, &length, NULL,
                                    BASE64URL) == 0 &&
                  length == sizeof bytes;

    if (is_one) {
        memcpy(refresh->handle, bytes, HANDLE_BYTES);
        hash_secret(bytes + HANDLE_BYTES, refresh->hash);
    }
    sodium_memzero(bytes, sizeof bytes);
    return is_one;
}

/* A new secret behind the handle, as text. */
static void draw(struct refresh *refresh, char text[SESSION_REFRESH_SIZE])
{
    unsigned char bytes[HANDLE_BYTES + SECRET_BYTES];

    memcpy(bytes, refresh->handle, HANDLE_BYTES);
    randombytes_buf(bytes + HANDLE_BYTES, SECRET_BYTES);
    hash_secret(bytes + HANDLE_BYTES, refresh->hash);
    sodium_bin2base64(text, SESSION_REFRESH_SIZE, bytes, sizeof bytes, BASE64URL);
    sodium_memzero(bytes, sizeof bytes);
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t most(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* A write that may find nothing to do. */
static enum db_result write_any(struct database *database, sqlite3_stmt *statement)
{
    enum db_result result = database_write(database, statement);

    return result == DB_NOT_FOUND ? DB_OK : result;
}

/* A write whose first three parameters, or as many as it has, are these. */
static enum db_result write_numbers(struct database *database, enum statement which, int64_t a,
                                    int64_t b, int64_t c)
{
    sqlite3_stmt *statement = database->statements[which];
    int n = sqlite3_bind_parameter_count(statement);
    const int64_t numbers[] = {a, b, c};

    for (int i = 0; i < n && i < 3; i++)
        sqlite3_bind_int64(statement, i + 1, numbers[i]);
    return write_any(database, statement);
}

static enum db_result add_access(struct database *database, int64_t id,
                                 const struct session_token *token)
{
    sqlite3_stmt *add = database->statements[ACCESS_ADD];

    sqlite3_bind_text(add, 1, token->jti, -1, SQLITE_STATIC);
    sqlite3_bind_int64(add, 2, id);
    sqlite3_bind_int64(add, 3, token->issued_s);
    sqlite3_bind_int64(add, 4, token->expires_s);
    return database_write(database, add);
}

static enum db_result add_refresh(struct database *database, int64_t id,
                                  const struct refresh *refresh)
{
    sqlite3_stmt *add = database->statements[REFRESH_ADD];

    sqlite3_bind_int64(add, 1, id);
    sqlite3_bind_blob(add, 2, refresh->hash, HASH_BYTES, SQLITE_STATIC);
    return database_write(database, add);
}

/* DB_NOT_FOUND: the user is not as they were. */
static enum db_result add_session(struct database *database, const struct user *user,
                                  const char *address, const struct refresh *refresh, int64_t now_s,
                                  int64_t ends_s, int64_t kept_s)
{
    sqlite3_stmt *add = database->statements[SESSION_ADD];

    if (refresh)
        sqlite3_bind_blob(add, 1, refresh->handle, HANDLE_BYTES, SQLITE_STATIC);
    sqlite3_bind_int64(add, 2, user->id);
    sqlite3_bind_text(add, 3, user->hash, -1, SQLITE_STATIC);
    sqlite3_bind_text(add, 4, address, -1, SQLITE_STATIC);
    sqlite3_bind_int64(add, 5, now_s);
    sqlite3_bind_int64(add, 6, ends_s);
    sqlite3_bind_int64(add, 7, kept_s);
    return database_write(database, add);
}

/* ---- finding -------------------------------------------------------------------------------- */

struct found {
    int64_t id, created_s, ends_s;
    bool is_disabled;
    char *user; /* to be freed, where asked for */
};

static enum db_result find(struct database *database, const struct refresh *refresh,
                           struct found *found)
{
    sqlite3_stmt *find = database->statements[SESSION_FIND];
    enum db_result result = DB_NOT_FOUND;
    int code;

    sqlite3_bind_blob(find, 1, refresh->handle, HANDLE_BYTES, SQLITE_STATIC);
    code = sqlite3_step(find);
    if (code == SQLITE_ROW) {
        const char *user = (const char *)sqlite3_column_text(find, 1);

        *found = (struct found){.id = sqlite3_column_int64(find, 0),
                                .user = memory_copy(user, strlen(user)),
                                .is_disabled = sqlite3_column_int(find, 2) != 0,
                                .created_s = sqlite3_column_int64(find, 3),
                                .ends_s = sqlite3_column_int64(find, 4)};
        result = DB_OK;
    } else if (code != SQLITE_DONE) {
        result = database_fail(database);
    }
    database_reset(find);
    return result;
}

/* Has this one been used?  A clock that was set far back in between makes it look reused. */
static enum session_result judge(struct database *database, int64_t id,
                                 const struct refresh *refresh, int64_t now_s, bool *is_current)
{
    sqlite3_stmt *find = database->statements[REFRESH_FIND];
    enum session_result result = SESSION_REUSED;
    int code;

    sqlite3_bind_int64(find, 1, id);
    sqlite3_bind_blob(find, 2, refresh->hash, HASH_BYTES, SQLITE_STATIC);
    code = sqlite3_step(find);
    *is_current = code == SQLITE_ROW && sqlite3_column_type(find, 0) == SQLITE_NULL;
    if (code == SQLITE_ROW) {
        int64_t ago_s = now_s - sqlite3_column_int64(find, 0);

        if (*is_current || (ago_s >= -SESSION_GRACE_S && ago_s <= SESSION_GRACE_S))
            result = SESSION_OK;
    } else if (code != SQLITE_DONE) {
        database_fail(database);
        result = SESSION_FAILED;
    }
    database_reset(find);
    return result;
}

/* The session, where the token may be used now. */
static enum session_result look(struct database *database, const struct refresh *refresh,
                                int64_t now_s, struct found *found, bool *is_current)
{
    enum db_result result = find(database, refresh, found);

    if (result != DB_OK)
        return result == DB_NOT_FOUND ? SESSION_REFUSED : SESSION_FAILED;
    free(found->user);
    found->user = NULL;
    if (found->is_disabled || found->ends_s <= now_s)
        return SESSION_REFUSED;
    return judge(database, found->id, refresh, now_s, is_current);
}

static enum session_result count_tokens(struct database *database, int64_t id)
{
    sqlite3_stmt *count = database->statements[ACCESS_COUNT];
    enum session_result result = SESSION_FAILED;

    sqlite3_bind_int64(count, 1, id);
    if (sqlite3_step(count) == SQLITE_ROW)
        result = sqlite3_column_int64(count, 0) < SESSION_MAX_TOKENS ? SESSION_OK : SESSION_BUSY;
    else
        database_fail(database);
    database_reset(count);
    return result;
}

/* ---- beginning and going on ----------------------------------------------------------------- */

static enum db_result begin(struct database *database, const struct user *user, const char *address,
                            const struct session_terms *terms, const struct session_token *token,
                            int64_t now_s, const struct refresh *refresh)
{
    int64_t ends_s = now_s + (refresh ? least(terms->lifetime_s, terms->idle_s) : 0), id;
    enum db_result result = write_numbers(database, SESSION_PRUNE, now_s, 0, 0);

    if (result == DB_OK)
        result = add_session(database, user, address, refresh, now_s, ends_s,
                             most(ends_s, token->expires_s));
    id = sqlite3_last_insert_rowid(database->sqlite);
    if (result == DB_OK)
        result = add_access(database, id, token);
    if (result == DB_OK && refresh)
        result = add_refresh(database, id, refresh);
    if (result == DB_OK)
        result =
            write_numbers(database, SESSION_TRIM, user->id, SESSION_MAX_PER_USER, token->expires_s);
    return result;
}

/* All of it in one transaction, which the caller holds. */
static enum session_result rotate(struct database *database, struct refresh *refresh,
                                  const struct session_terms *terms,
                                  const struct session_token *token, int64_t now_s,
                                  char next[SESSION_REFRESH_SIZE])
{
    struct found found;
    bool is_current;
    enum session_result result = look(database, refresh, now_s, &found, &is_current);
    int64_t ends_s;

    if (result != SESSION_OK)
        return result;
    if (write_numbers(database, ACCESS_PRUNE, found.id, now_s, 0) != DB_OK)
        return SESSION_FAILED;
    result = count_tokens(database, found.id);
    if (result != SESSION_OK)
        return result;
    ends_s = least(found.created_s + terms->lifetime_s, now_s + terms->idle_s);
    if (is_current && write_numbers(database, REFRESH_REPLACE, found.id, now_s, 0) != DB_OK)
        return SESSION_FAILED;
    draw(refresh, next);
    if (write_numbers(database, REFRESH_PRUNE, found.id, now_s, SESSION_GRACE_S) != DB_OK ||
        add_refresh(database, found.id, refresh) != DB_OK ||
        add_access(database, found.id, token) != DB_OK)
        return SESSION_FAILED;
    sqlite3_bind_int64(database->statements[SESSION_USED], 4, most(ends_s, token->expires_s));
    return write_numbers(database, SESSION_USED, found.id, now_s, ends_s) == DB_OK ? SESSION_OK
                                                                                   : SESSION_FAILED;
}

/* ---- ending --------------------------------------------------------------------------------- */

struct jtis {
    char **list;
    size_t n;
    int64_t ends_s; /* the last of them */
};

static void jtis_free(struct jtis *jtis)
{
    for (size_t i = 0; i < jtis->n; i++)
        free(jtis->list[i]);
    free(jtis->list);
}

static enum db_result read_jtis(struct database *database, enum statement which, int64_t id,
                                int64_t now_s, struct jtis *jtis)
{
    sqlite3_stmt *list = database->statements[which];
    enum db_result result = DB_OK;
    int code;

    sqlite3_bind_int64(list, 1, id);
    sqlite3_bind_int64(list, 2, now_s);
    while ((code = sqlite3_step(list)) == SQLITE_ROW) {
        const char *jti = (const char *)sqlite3_column_text(list, 0);

        jtis->list = memory_resize(jtis->list, jtis->n + 1, sizeof *jtis->list);
        jtis->list[jtis->n++] = memory_copy(jti, strlen(jti));
        jtis->ends_s = most(jtis->ends_s, sqlite3_column_int64(list, 1));
    }
    if (code != SQLITE_DONE)
        result = database_fail(database);
    database_reset(list);
    return result;
}

/* The other file's disk is nobody else's to wait for. */
static bool revoke(struct database *database, struct revocations *revocations, const char *user,
                   const struct jtis *jtis, int64_t now_s, struct error *error)
{
    bool is_done;

    database_leave(database);
    is_done = revocations_add(revocations, user, (const char *const *)jtis->list, jtis->n,
                              jtis->ends_s, now_s, error);
    database_enter(database);
    return is_done;
}

static bool say(struct database *database, struct error *error)
{
    return error_set(error, "%s", database_error(database));
}

/* ---- what others call ----------------------------------------------------------------------- */

enum session_result sessions_begin(struct database *database, const struct user *user,
                                   const char *address, const struct session_terms *terms,
                                   const struct session_token *token, int64_t now_s,
                                   char text[SESSION_REFRESH_SIZE])
{
    struct refresh refresh;
    enum db_result result;

    if (text) {
        randombytes_buf(refresh.handle, HANDLE_BYTES);
        draw(&refresh, text);
    }
    result = database_begin(database);
    if (result == DB_OK)
        result = begin(database, user, address, terms, token, now_s, text ? &refresh : NULL);
    result = database_end(database, result);
    return result == DB_OK ? SESSION_OK : result == DB_NOT_FOUND ? SESSION_REFUSED : SESSION_FAILED;
}

enum session_result sessions_find(struct database *database, const char *text, int64_t now_s,
                                  struct session *session)
{
    struct refresh refresh;
    struct found found;
    enum db_result result;

    *session = (struct session){0};
    if (!parse(text, &refresh))
        return SESSION_REFUSED;
    result = find(database, &refresh, &found);
    if (result != DB_OK)
        return result == DB_NOT_FOUND ? SESSION_REFUSED : SESSION_FAILED;
    *session = (struct session){found.id, found.user, found.ends_s <= now_s, found.is_disabled};
    return SESSION_OK;
}

void session_fini(struct session *session)
{
    free(session->user);
    *session = (struct session){0};
}

enum session_result sessions_check(struct database *database, const char *text, int64_t now_s)
{
    struct refresh refresh;
    struct found found;
    bool is_current;

    return parse(text, &refresh) ? look(database, &refresh, now_s, &found, &is_current)
                                 : SESSION_REFUSED;
}

enum session_result sessions_refresh(struct database *database, const char *text,
                                     const struct session_terms *terms,
                                     const struct session_token *token, int64_t now_s,
                                     char next[SESSION_REFRESH_SIZE])
{
    struct refresh refresh;
    enum session_result result;

    if (!parse(text, &refresh))
        return SESSION_REFUSED;
    if (database_begin(database) != DB_OK)
        return SESSION_FAILED;
    result = rotate(database, &refresh, terms, token, now_s, next);
    if (database_end(database, result == SESSION_OK ? DB_OK : DB_NOT_FOUND) == DB_FAILED)
        result = SESSION_FAILED;
    return result;
}

bool sessions_end(struct database *database, struct revocations *revocations, int64_t id,
                  int64_t now_s, struct error *error)
{
    struct jtis jtis = {0};
    bool is_done = false;

    if (write_numbers(database, SESSION_END, id, 0, 0) != DB_OK ||
        read_jtis(database, ACCESS_LIST, id, now_s, &jtis) != DB_OK)
        say(database, error);
    else if (revoke(database, revocations, NULL, &jtis, now_s, error))
        is_done =
            write_numbers(database, SESSION_FORGET, id, 0, 0) == DB_OK || say(database, error);
    jtis_free(&jtis);
    return is_done;
}

/* By `jti` too, for when the clock turns out to have been wrong (revocations_date). */
bool sessions_end_user(struct database *database, struct revocations *revocations,
                       const struct user *user, int64_t now_s, struct error *error)
{
    struct jtis jtis = {0};
    bool is_done = false;

    if (write_numbers(database, SESSION_END_USER, user->id, 0, 0) != DB_OK ||
        read_jtis(database, ACCESS_LIST_USER, user->id, now_s, &jtis) != DB_OK)
        say(database, error);
    else if (revoke(database, revocations, user->name, &jtis, now_s, error))
        is_done = write_numbers(database, SESSION_FORGET_USER, user->id, 0, 0) == DB_OK ||
                  say(database, error);
    jtis_free(&jtis);
    return is_done;
}

enum db_result sessions_find_jti(struct database *database, const char *jti, int64_t *id)
{
    sqlite3_stmt *find = database->statements[ACCESS_SESSION];
    enum db_result result;
    int code;

    sqlite3_bind_text(find, 1, jti, -1, SQLITE_STATIC);
    code = sqlite3_step(find);
    *id = code == SQLITE_ROW ? sqlite3_column_int64(find, 0) : 0;
    result = code == SQLITE_ROW    ? DB_OK
             : code == SQLITE_DONE ? DB_NOT_FOUND
                                   : database_fail(database);
    database_reset(find);
    return result;
}

enum db_result sessions_list(struct database *database, const char *user, int64_t now_s,
                             void (*each)(const struct session_row *row, void *context),
                             void *context)
{
    sqlite3_stmt *list = database->statements[SESSION_LIST];
    enum db_result result = DB_OK;
    int code;

    sqlite3_bind_int64(list, 1, now_s);
    sqlite3_bind_text(list, 2, user, -1, SQLITE_STATIC);
    while ((code = sqlite3_step(list)) == SQLITE_ROW)
        each(&(struct session_row){.id = sqlite3_column_int64(list, 0),
                                   .user = (const char *)sqlite3_column_text(list, 1),
                                   .address = (const char *)sqlite3_column_text(list, 2),
                                   .created_s = sqlite3_column_int64(list, 3),
                                   .used_s = sqlite3_column_int64(list, 4),
                                   .ends_s = sqlite3_column_int64(list, 5),
                                   .has_refresh = sqlite3_column_int(list, 6) != 0},
             context);
    if (code != SQLITE_DONE)
        result = database_fail(database);
    database_reset(list);
    return result;
}
