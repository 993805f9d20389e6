/*
 * The users' table.  A row that does not read as a user (claims that are no JSON object) is our
 * failure, never "unknown".  Who may log in is decided by those who ask.
 */
#include "db/users.h"

#include "common/memory.h"
#include "db/connection.h"

#include <assert.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One code point of well-formed UTF-8 (RFC 3629) and how many bytes it took; 0: malformed. */
static size_t decode(const unsigned char *at, size_t left, uint32_t *point)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t length = *at < 0x80 ? 1 : *at < 0xc0 ? 0 : *at < 0xe0 ? 2 : *at < 0xf0 ? 3 : 4;

    if (length == 0 || length > left || *at > 0xf4)
        return 0;
    *point = length == 1 ? *at : *at & (0x7fU >> length);
    for (size_t i = 1; i < length; i++) {
        if ((at[i] & 0xc0) != 0x80)
            return 0;
        *point = *point << 6 | (at[i] & 0x3fU);
    }
    if (*point < least[length] || *point > 0x10ffff || (*point >= 0xd800 && *point < 0xe000))
        return 0;
    return length;
}

/* Unicode's White_Space, without those that are controls. */
static bool is_space(uint32_t point)
{
    return point == ' ' || point == 0xa0 || point == 0x1680 ||
           (point >= 0x2000 && point <= 0x200a) || point == 0x202f || point == 0x205f ||
           point == 0x3000;
}

/* C0, DEL, C1, and the two that end a line. */
static bool is_control(uint32_t point)
{
    return point < 0x20 || (point >= 0x7f && point < 0xa0) || point == 0x2028 || point == 0x2029;
}

bool user_name_is_valid(const char *name, size_t bytes)
{
    const unsigned char *at = (const unsigned char *)name;
    uint32_t point = ' ';

    if (bytes < 1 || bytes > USER_NAME_MAX_BYTES)
        return false;
    for (size_t i = 0, length; i < bytes; i += length) {
        length = decode(at + i, bytes - i, &point);
        if (length == 0 || is_control(point) || point == ':' || (i == 0 && is_space(point)))
            return false;
    }
    return !is_space(point);
}

static char *column(sqlite3_stmt *row, int index)
{
    const unsigned char *text = sqlite3_column_text(row, index);

    return text ? strdup((const char *)text) : NULL;
}

/* With its kind, as the parameter after it. */
static void bind_hash(sqlite3_stmt *statement, int at, const char *hash)
{
    struct error error;
    struct kind kind;

    sqlite3_bind_text(statement, at, hash, -1, SQLITE_STATIC);
    sqlite3_bind_text(statement, at + 1, kind_read(hash, &kind, &error) ? kind.text : "", -1,
                      SQLITE_TRANSIENT);
}

static enum db_result read_user(struct database *database, sqlite3_stmt *row, struct user *user)
{
    const char *claims = (const char *)sqlite3_column_text(row, 3);

    *user = (struct user){
        .id = sqlite3_column_int64(row, 0),
        .name = column(row, 1),
        .hash = column(row, 2),
        .claims = claims ? json_loads(claims, JSON_REJECT_DUPLICATES, NULL) : NULL,
        .disabled = sqlite3_column_int(row, 4) != 0,
        .created_s = sqlite3_column_int64(row, 5),
        .changed_s = sqlite3_column_int64(row, 6),
    };
    if (user->name && user->hash && json_is_object(user->claims))
        return DB_OK;
    error_set(&database->error, "user id %lld: the row cannot be read", (long long)user->id);
    user_fini(user);
    return DB_FAILED;
}

void user_fini(struct user *user)
{
    if (user->hash)
        sodium_memzero(user->hash, strlen(user->hash));
    free(user->hash);
    free(user->name);
    json_decref(user->claims);
    *user = (struct user){0};
}

enum db_result users_find(struct database *database, const char *name, struct user *user)
{
    sqlite3_stmt *find = database->statements[USER_FIND];
    enum db_result result;
    int code;

    sqlite3_bind_text(find, 1, name, -1, SQLITE_STATIC);
    code = sqlite3_step(find);
    if (code == SQLITE_ROW)
        result = read_user(database, find, user);
    else
        result = code == SQLITE_DONE ? DB_NOT_FOUND : database_fail(database);
    database_reset(find);
    return result;
}

enum db_result users_import(struct database *database, const struct user *user, int64_t now_s)
{
    sqlite3_stmt *add = database->statements[USER_ADD];
    char *text = json_dumps(user->claims, JSON_COMPACT);
    enum db_result result;

    assert(json_is_object(user->claims));
    sqlite3_bind_text(add, 1, user->name, -1, SQLITE_STATIC);
    bind_hash(add, 2, user->hash);
    sqlite3_bind_text(add, 4, text, -1, SQLITE_STATIC);
    sqlite3_bind_int(add, 5, user->disabled);
    sqlite3_bind_int64(add, 6, user->created_s);
    sqlite3_bind_int64(add, 7, now_s);
    result = database_write(database, add);
    free(text);
    return result;
}

enum db_result users_add(struct database *database, const char *name, const char *hash,
                         const json_t *claims, int64_t now_s)
{
    const struct user user = {.name = (char *)(uintptr_t)name,
                              .hash = (char *)(uintptr_t)hash,
                              .claims = (json_t *)(uintptr_t)claims,
                              .created_s = now_s};

    return users_import(database, &user, now_s);
}

enum db_result users_set_hash(struct database *database, const char *name, const char *hash,
                              int64_t now_s)
{
    sqlite3_stmt *set = database->statements[USER_SET_HASH];

    sqlite3_bind_text(set, 1, name, -1, SQLITE_STATIC);
    bind_hash(set, 2, hash);
    sqlite3_bind_int64(set, 4, now_s);
    return database_write(database, set);
}

enum db_result users_replace_hash(struct database *database, struct user *user, const char *hash,
                                  int64_t now_s)
{
    sqlite3_stmt *replace = database->statements[USER_REPLACE_HASH];
    enum db_result result;

    sqlite3_bind_int64(replace, 1, user->id);
    sqlite3_bind_text(replace, 2, user->hash, -1, SQLITE_STATIC);
    bind_hash(replace, 3, hash);
    sqlite3_bind_int64(replace, 5, now_s);
    result = database_write(database, replace);
    if (result == DB_OK) {
        sodium_memzero(user->hash, strlen(user->hash));
        free(user->hash);
        user->hash = memory_copy(hash, strlen(hash));
    }
    return result;
}

enum db_result users_set_claims(struct database *database, const char *name, const json_t *claims,
                                int64_t now_s)
{
    sqlite3_stmt *set = database->statements[USER_SET_CLAIMS];
    char *text = json_dumps(claims, JSON_COMPACT);
    enum db_result result;

    assert(json_is_object(claims));
    sqlite3_bind_text(set, 1, name, -1, SQLITE_STATIC);
    sqlite3_bind_text(set, 2, text, -1, SQLITE_STATIC);
    sqlite3_bind_int64(set, 3, now_s);
    result = database_write(database, set);
    free(text);
    return result;
}

enum db_result users_set_disabled(struct database *database, const char *name, bool disabled,
                                  int64_t now_s)
{
    sqlite3_stmt *set = database->statements[USER_SET_DISABLED];

    sqlite3_bind_text(set, 1, name, -1, SQLITE_STATIC);
    sqlite3_bind_int(set, 2, disabled);
    sqlite3_bind_int64(set, 3, now_s);
    return database_write(database, set);
}

enum db_result users_delete(struct database *database, const char *name)
{
    sqlite3_stmt *delete = database->statements[USER_DELETE];

    sqlite3_bind_text(delete, 1, name, -1, SQLITE_STATIC);
    return database_write(database, delete);
}

/* Step by step through the index, which would be read nearly whole for DISTINCT.  '' is none. */
enum db_result users_kinds(struct database *database, struct kinds *kinds)
{
    sqlite3_stmt *next = database->statements[USER_KINDS];
    const char *last = "";
    int code = SQLITE_ROW;

    kinds->n = 0;
    while (code == SQLITE_ROW && kinds->n < KINDS_MAX) {
        sqlite3_bind_text(next, 1, last, -1, SQLITE_STATIC);
        code = sqlite3_step(next);
        if (code == SQLITE_ROW) {
            last = kinds->texts[kinds->n++];
            snprintf(kinds->texts[kinds->n - 1], KIND_SIZE, "%s", sqlite3_column_text(next, 0));
        } else if (code != SQLITE_DONE) {
            database_fail(database);
        }
        database_reset(next);
    }
    return code == SQLITE_ROW || code == SQLITE_DONE ? DB_OK : DB_FAILED;
}

enum db_result users_list(struct database *database,
                          bool (*each)(const struct user *user, void *context), void *context)
{
    sqlite3_stmt *list = database->statements[USER_LIST];
    enum db_result result = DB_OK;
    bool more = true;
    struct user user;
    int code;

    while (more && result == DB_OK && (code = sqlite3_step(list)) != SQLITE_DONE) {
        result = code == SQLITE_ROW ? read_user(database, list, &user) : database_fail(database);
        if (result == DB_OK) {
            more = each(&user, context);
            user_fini(&user);
        }
    }
    database_reset(list);
    return result;
}

json_t *users_token_claims(const struct user *user)
{
    json_t *claims = json_copy(user->claims);

    if (claims && json_object_set_new(claims, USERS_ID_CLAIM, json_integer(user->id)) < 0) {
        json_decref(claims);
        return NULL;
    }
    return claims;
}
