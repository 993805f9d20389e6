/*
 * The audit's table.  What is an event is decided by those who write them: the login service, and
 * for each of its acts the administrator's command.
 */
#include "db/audit.h"

#include "db/connection.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

#define PLACE_BYTES 16
#define TRIM_ONE_IN AUDIT_MOST_AT_ONCE

/* IPv4 as IPv6 has it (RFC 4291 §2.5.5.2): all places are one line, and a network is a stretch of
 * it. */
static void place_of(const struct net_address *address, unsigned char place[PLACE_BYTES])
{
    static const unsigned char mapped[] = {[10] = 0xff, [11] = 0xff};

    if (address->length == 4)
        memcpy(place, mapped, sizeof mapped);
    memcpy(place + PLACE_BYTES - address->length, address->bytes, address->length);
}

static void bind_stretch(sqlite3_stmt *statement, int first, const struct net_network *network)
{
    unsigned char from[PLACE_BYTES], to[PLACE_BYTES];
    int prefix_bits = network->prefix_bits + 8 * (PLACE_BYTES - network->address.length);

    place_of(&network->address, from);
    memcpy(to, from, sizeof to);
    for (int bit = prefix_bits; bit < 8 * PLACE_BYTES; bit++) {
        from[bit / 8] &= (unsigned char)~(0x80 >> bit % 8);
        to[bit / 8] |= (unsigned char)(0x80 >> bit % 8);
    }
    sqlite3_bind_blob(statement, first, from, sizeof from, SQLITE_TRANSIENT);
    sqlite3_bind_blob(statement, first + 1, to, sizeof to, SQLITE_TRANSIENT);
}

static void bind_text(sqlite3_stmt *statement, int index, const char *text)
{
    sqlite3_bind_text(statement, index, text, -1, SQLITE_STATIC);
}

static void bind_subject(sqlite3_stmt *statement, int index, const unsigned char *subject)
{
    sqlite3_bind_blob(statement, index, subject, THROTTLE_SUBJECT_BYTES, SQLITE_STATIC);
}

static enum db_result add(struct database *database, const struct audit_event *event)
{
    sqlite3_stmt *statement = database->statements[AUDIT_ADD];
    unsigned char place[PLACE_BYTES];
    struct net_address address;

    sqlite3_bind_int64(statement, 1, event->at_s);
    bind_text(statement, 2, event->event);
    bind_text(statement, 3, event->result);
    bind_text(statement, 4, event->user);
    bind_subject(statement, 5, event->subject);
    bind_text(statement, 6, event->address);
    if (event->address && net_address_parse(event->address, strlen(event->address), &address)) {
        place_of(&address, place);
        sqlite3_bind_blob(statement, 7, place, sizeof place, SQLITE_STATIC);
    }
    bind_text(statement, 8, event->actor);
    bind_text(statement, 9, event->detail);
    return database_write(database, statement);
}

static enum db_result trim_by(struct database *database, enum audit_statement which, int64_t bound)
{
    sqlite3_stmt *statement = database->statements[which];
    enum db_result result;

    sqlite3_bind_int64(statement, 1, 2 * AUDIT_MOST_AT_ONCE);
    sqlite3_bind_int64(statement, 2, bound);
    result = database_write(database, statement);
    return result == DB_NOT_FOUND ? DB_OK : result;
}

/* For some of the events, since it has to count them all. */
static enum db_result trim(struct database *database, const struct audit_bounds *bounds, size_t n,
                           int64_t now_s)
{
    enum db_result result = DB_OK;

    if (randombytes_uniform(TRIM_ONE_IN) >= n)
        return DB_OK;
    if (bounds->age_s)
        result = trim_by(database, AUDIT_TRIM_OLD, now_s - bounds->age_s);
    if (bounds->rows && result == DB_OK)
        result = trim_by(database, AUDIT_TRIM_ACCEPTED, bounds->rows / 2);
    if (bounds->rows && result == DB_OK)
        result = trim_by(database, AUDIT_TRIM_REFUSED, bounds->rows / 2);
    return result;
}

static const char *text_of(sqlite3_stmt *row, int index)
{
    return (const char *)sqlite3_column_text(row, index);
}

static struct audit_event read_event(sqlite3_stmt *row)
{
    return (struct audit_event){
        .id = sqlite3_column_int64(row, 0),
        .at_s = sqlite3_column_int64(row, 1),
        .event = text_of(row, 2),
        .result = text_of(row, 3),
        .user = text_of(row, 4),
        .subject = sqlite3_column_bytes(row, 5) == THROTTLE_SUBJECT_BYTES
                       ? sqlite3_column_blob(row, 5)
                       : NULL,
        .address = text_of(row, 6),
        .actor = text_of(row, 7),
        .detail = text_of(row, 8),
    };
}

bool audit_path(const struct config *config, char path[PATH_MAX], struct error *error)
{
    const char *database = config->login_database, *slash = strrchr(database, '/');
    int length = *config->login_audit
                     ? snprintf(path, PATH_MAX, "%s", config->login_audit)
                     : snprintf(path, PATH_MAX, "%.*s/audit.db",
                                slash ? (int)(slash - database) : 1, slash ? database : ".");

    return length < PATH_MAX || error_set(error, "the path of the audit is too long");
}

/* What is written is the end of the table; and who reads all of it reads it once. */
static bool has_small_cache(struct database *database)
{
    return sqlite3_exec(database->sqlite, "PRAGMA cache_size = -256", NULL, NULL, NULL) ==
           SQLITE_OK;
}

struct database *audit_open(const char *path, struct error *error)
{
    struct database *database = connection_open(&schema_audit, path, true, error);

    if (database && !(database_relax(database, true) && has_small_cache(database))) {
        error_set(error, "%s: %s", path, sqlite3_errmsg(database->sqlite));
        database_close(&database);
    }
    return database;
}

struct audit_bounds audit_bounds_of(const struct config *config)
{
    return (struct audit_bounds){(int64_t)config->login_audit_rows,
                                 (int64_t)(config->login_audit_age / 1000)};
}

enum db_result audit_write(struct database *database, const struct audit_event *events, size_t n,
                           const struct audit_bounds *bounds, int64_t now_s)
{
    enum db_result result = database_begin(database);

    for (size_t i = 0; i < n && result == DB_OK; i++)
        result = add(database, &events[i]);
    if (result == DB_OK)
        result = trim(database, bounds, n, now_s);
    return database_end(database, result);
}

enum db_result audit_list(struct database *database, const struct audit_query *query,
                          void (*each)(const struct audit_event *event, void *context),
                          void *context)
{
    sqlite3_stmt *list = database->statements[AUDIT_LIST];
    int code;

    bind_text(list, 1, query->user);
    bind_subject(list, 2, query->subject);
    bind_text(list, 3, query->event);
    if (query->network)
        bind_stretch(list, 4, query->network);
    sqlite3_bind_int64(list, 6, query->since_s);
    sqlite3_bind_int64(list, 7, query->until_s ? query->until_s : INT64_MAX);
    sqlite3_bind_int64(list, 8, query->after_id);
    sqlite3_bind_int64(list, 9, query->most ? query->most : -1);
    while ((code = sqlite3_step(list)) == SQLITE_ROW) {
        const struct audit_event event = read_event(list);

        each(&event, context);
    }
    if (code != SQLITE_DONE)
        database_fail(database);
    database_reset(list);
    return code == SQLITE_DONE ? DB_OK : DB_FAILED;
}

enum db_result audit_count(struct database *database, int64_t before_s, int64_t *n)
{
    sqlite3_stmt *count = database->statements[AUDIT_COUNT];
    enum db_result result = DB_OK;

    sqlite3_bind_int64(count, 1, before_s);
    if (sqlite3_step(count) == SQLITE_ROW)
        *n = sqlite3_column_int64(count, 0);
    else
        result = database_fail(database);
    database_reset(count);
    return result;
}

enum db_result audit_prune(struct database *database, int64_t before_s)
{
    sqlite3_stmt *prune = database->statements[AUDIT_PRUNE];
    enum db_result result = DB_OK;

    while (result == DB_OK) {
        sqlite3_bind_int64(prune, 1, before_s);
        result = database_write(database, prune);
    }
    return result == DB_NOT_FOUND ? DB_OK : result;
}
