/*
 * Counting failed logins.  When to ask is login.c's business; what is counted is not worth a
 * write to the disk for each attempt, so it may be lost with the power.
 */
#include "db/throttle.h"

#include "common/net.h"
#include "db/connection.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

#define SECRET            "throttle"
#define SECRET_BYTES      32
#define KNOWN_NETWORKS    20
#define KNOWN_FOR_S       (90 * 86400)
#define REMEMBERED_FOR_S  7200
#define TICKET_GOOD_FOR_S 600
#define PRUNE_ONE_IN      64
#define ROWS_MAX          100000 /* and those written until it is looked at */
#define ROWS_KEPT         90000

enum throttle_kind { PAIR, NETWORK, USER, KINDS };

/* Up to `free` failures nothing; then the wait doubles with every `step` more, up to `most_s`.  One
 * failure is forgotten every `forget_s`. */
static const struct policy {
    int64_t free, step, most_s, forget_s;
} policies[KINDS] = {
    /* clang-format off */
    [PAIR]    = {10,  1, 900, 300},
    [NETWORK] = {100, 1, 60,  30},
    [USER]    = {20,  5, 60,  120},
    /* clang-format on */
};

struct row {
    int64_t failures, until_s, last_s, ticket_s;
    unsigned char fingerprint[PASSWORD_FINGERPRINT_BYTES];
};

/* ---- the rows ------------------------------------------------------------------------------- */

static void bind_key(sqlite3_stmt *statement, enum throttle_kind kind,
                     const struct throttle_attempt *attempt)
{
    sqlite3_bind_int(statement, 1, (int)kind);
    sqlite3_bind_text(statement, 2, kind == USER ? "" : attempt->network, -1, SQLITE_STATIC);
    sqlite3_bind_blob(statement, 3, kind == NETWORK ? "" : (const void *)attempt->subject,
                      kind == NETWORK ? 0 : THROTTLE_SUBJECT_BYTES, SQLITE_STATIC);
}

/* A clock that was set back makes all of it old. */
static int64_t remaining(const struct policy *policy, const struct row *row, int64_t now_s)
{
    int64_t forgotten = now_s < row->last_s ? 0 : (now_s - row->last_s) / policy->forget_s;

    return row->failures > forgotten ? row->failures - forgotten : 0;
}

/* As it is now; without a row, zeros. */
static enum db_result load(struct database *database, enum throttle_kind kind,
                           const struct throttle_attempt *attempt, int64_t now_s, struct row *row)
{
    sqlite3_stmt *find = database->statements[THROTTLE_FIND];
    enum db_result result = DB_OK;
    int code;

    *row = (struct row){.last_s = now_s};
    bind_key(find, kind, attempt);
    code = sqlite3_step(find);
    if (code == SQLITE_ROW) {
        row->failures = sqlite3_column_int64(find, 0);
        row->until_s = sqlite3_column_int64(find, 1);
        row->last_s = sqlite3_column_int64(find, 2);
        row->ticket_s = sqlite3_column_int64(find, 3);
        if (sqlite3_column_bytes(find, 4) == sizeof row->fingerprint)
            memcpy(row->fingerprint, sqlite3_column_blob(find, 4), sizeof row->fingerprint);
        row->failures = remaining(&policies[kind], row, now_s);
    } else if (code != SQLITE_DONE) {
        result = database_fail(database);
    }
    database_reset(find);
    return result;
}

static enum db_result store(struct database *database, enum throttle_kind kind,
                            const struct throttle_attempt *attempt, int64_t now_s,
                            const struct row *row)
{
    sqlite3_stmt *set = database->statements[THROTTLE_SET];

    bind_key(set, kind, attempt);
    sqlite3_bind_int64(set, 4, row->failures);
    sqlite3_bind_int64(set, 5, row->until_s);
    sqlite3_bind_int64(set, 6, now_s);
    sqlite3_bind_int64(set, 7, row->ticket_s);
    sqlite3_bind_blob(set, 8, row->fingerprint, sizeof row->fingerprint, SQLITE_STATIC);
    return database_write(database, set);
}

static int64_t wait_for(const struct policy *policy, int64_t failures)
{
    int64_t wait_s = 1;

    if (failures <= policy->free)
        return 0;
    for (int64_t more = failures - policy->free - 1;
         more >= policy->step && wait_s < policy->most_s; more -= policy->step)
        wait_s *= 2;
    return wait_s < policy->most_s ? wait_s : policy->most_s;
}

/* Without a wait no such moment: an attempt that began in the second before is let pass. */
static int64_t refused_until(const struct policy *policy, int64_t failures, int64_t now_s)
{
    int64_t wait_s = wait_for(policy, failures);

    return wait_s > 0 ? now_s + wait_s : 0;
}

/* How long it still is up to then.  What is further off than can be was set by another clock. */
static int64_t time_to(int64_t until_s, int64_t most_s, int64_t now_s)
{
    return until_s > now_s && until_s - now_s <= most_s ? until_s - now_s : 0;
}

/* ---- who and where -------------------------------------------------------------------------- */

static void name_network(const char *text, char network[THROTTLE_NETWORK_SIZE])
{
    struct net_address address;
    char shown[NET_ADDRESS_TEXT];

    network[0] = '\0';
    if (!net_address_parse(text, strlen(text), &address))
        return;
    if (address.length == 4)
        address.bytes[3] = 0;
    else
        memset(address.bytes + 8, 0, 8);
    snprintf(network, THROTTLE_NETWORK_SIZE, "%s/%d", net_address_text(&address, shown),
             address.length == 4 ? 24 : 64);
}

static enum db_result find_secret(struct database *database, unsigned char secret[SECRET_BYTES])
{
    sqlite3_stmt *find = database->statements[SECRET_FIND];
    enum db_result result = DB_NOT_FOUND;
    int code;

    sqlite3_bind_text(find, 1, SECRET, -1, SQLITE_STATIC);
    code = sqlite3_step(find);
    if (code == SQLITE_ROW && sqlite3_column_bytes(find, 0) == SECRET_BYTES) {
        memcpy(secret, sqlite3_column_blob(find, 0), SECRET_BYTES);
        result = DB_OK;
    } else if (code != SQLITE_DONE) {
        result = database_fail(database);
    }
    database_reset(find);
    return result;
}

/* Made when it is first needed; of two who make it at once one wins, and both read that. */
static enum db_result get_secret(struct database *database, unsigned char secret[SECRET_BYTES])
{
    sqlite3_stmt *add = database->statements[SECRET_ADD];
    enum db_result result = find_secret(database, secret);

    if (result != DB_NOT_FOUND)
        return result;
    randombytes_buf(secret, SECRET_BYTES);
    sqlite3_bind_text(add, 1, SECRET, -1, SQLITE_STATIC);
    sqlite3_bind_blob(add, 2, secret, SECRET_BYTES, SQLITE_STATIC);
    result = database_begin(database);
    if (result == DB_OK && database_write(database, add) == DB_FAILED)
        result = DB_FAILED;
    if (result == DB_OK && find_secret(database, secret) != DB_OK)
        result = DB_FAILED;
    return database_end(database, result);
}

static enum db_result is_known(struct database *database, const struct throttle_attempt *attempt,
                               int64_t now_s, bool *known)
{
    sqlite3_stmt *find = database->statements[NETWORK_FIND];
    enum db_result result = DB_OK;
    int code;

    sqlite3_bind_int64(find, 1, attempt->user_id);
    sqlite3_bind_text(find, 2, attempt->network, -1, SQLITE_STATIC);
    code = sqlite3_step(find);
    *known = code == SQLITE_ROW && sqlite3_column_int64(find, 0) > now_s - KNOWN_FOR_S;
    if (code != SQLITE_ROW && code != SQLITE_DONE)
        result = database_fail(database);
    database_reset(find);
    return result;
}

static enum db_result make_known(struct database *database, const struct throttle_attempt *attempt,
                                 int64_t now_s)
{
    sqlite3_stmt *set = database->statements[NETWORK_SET];
    sqlite3_stmt *trim = database->statements[NETWORK_TRIM];
    enum db_result result;

    sqlite3_bind_int64(set, 1, attempt->user_id);
    sqlite3_bind_text(set, 2, attempt->network, -1, SQLITE_STATIC);
    sqlite3_bind_int64(set, 3, now_s);
    result = database_write(database, set);
    if (result != DB_OK)
        return result == DB_NOT_FOUND ? DB_OK : result;
    sqlite3_bind_int64(trim, 1, attempt->user_id);
    sqlite3_bind_int64(trim, 2, KNOWN_NETWORKS);
    result = database_write(database, trim);
    return result == DB_FAILED ? DB_FAILED : DB_OK;
}

/* ---- one attempt ---------------------------------------------------------------------------- */

struct counts {
    struct row rows[KINDS];
    bool is_known, ticket_is_new;
    int64_t wait_s;
};

/* The user is under attack and the network unknown: the first time it is told to come again. */
static void look_at_ticket(struct counts *counts, int64_t now_s)
{
    int64_t delay_s = wait_for(&policies[USER], counts->rows[USER].failures);
    int64_t ticket_s = counts->rows[PAIR].ticket_s;

    if (counts->is_known || delay_s == 0)
        return;
    if (ticket_s > now_s + policies[USER].most_s || now_s > ticket_s + TICKET_GOOD_FOR_S) {
        counts->ticket_is_new = true;
        counts->wait_s = delay_s;
    } else if (ticket_s > now_s) {
        counts->wait_s = ticket_s - now_s;
    }
}

static enum db_result look(struct database *database, const struct throttle_attempt *attempt,
                           int64_t now_s, struct counts *counts)
{
    enum db_result result = is_known(database, attempt, now_s, &counts->is_known);

    counts->wait_s = 0;
    counts->ticket_is_new = false;
    for (int kind = 0; kind < KINDS && result == DB_OK; kind++)
        result = load(database, kind, attempt, now_s, &counts->rows[kind]);
    for (int kind = 0; kind < USER && result == DB_OK; kind++) {
        int64_t wait_s = time_to(counts->rows[kind].until_s, policies[kind].most_s, now_s);

        counts->wait_s = wait_s > counts->wait_s ? wait_s : counts->wait_s;
    }
    if (result == DB_OK && counts->wait_s == 0)
        look_at_ticket(counts, now_s);
    return result;
}

static enum db_result count(struct database *database, const struct throttle_attempt *attempt,
                            int64_t now_s, struct counts *counts)
{
    enum db_result result = DB_OK;

    for (int kind = 0; kind < KINDS && result == DB_OK; kind++) {
        struct row *row = &counts->rows[kind];

        row->failures++;
        row->until_s = refused_until(&policies[kind], row->failures, now_s);
        row->ticket_s = 0;
        result = store(database, kind, attempt, now_s, row);
    }
    return result;
}

/* Now and then, whoever it is for. */
static enum db_result prune(struct database *database, int64_t now_s)
{
    sqlite3_stmt *statement = database->statements[THROTTLE_PRUNE];
    sqlite3_stmt *trim = database->statements[THROTTLE_TRIM];

    if (randombytes_uniform(PRUNE_ONE_IN) != 0)
        return DB_OK;
    sqlite3_bind_int64(statement, 1, now_s - REMEMBERED_FOR_S);
    if (database_write(database, statement) == DB_FAILED)
        return DB_FAILED;
    sqlite3_bind_int64(trim, 1, ROWS_MAX);
    sqlite3_bind_int64(trim, 2, ROWS_KEPT);
    sqlite3_bind_int64(trim, 3, now_s - TICKET_GOOD_FOR_S);
    return database_write(database, trim) == DB_FAILED ? DB_FAILED : DB_OK;
}

/* In one transaction: looked at again, for others may have been counted, and counted. */
static enum db_result reserve(struct database *database, const struct throttle_attempt *attempt,
                              int64_t now_s, struct counts *counts)
{
    enum db_result result = database_begin(database);

    if (result == DB_OK)
        result = look(database, attempt, now_s, counts);
    if (result == DB_OK && counts->ticket_is_new) {
        counts->rows[PAIR].ticket_s = now_s + counts->wait_s;
        result = store(database, PAIR, attempt, now_s, &counts->rows[PAIR]);
        result = result == DB_OK ? prune(database, now_s) : result;
    } else if (result == DB_OK && counts->wait_s == 0) {
        result = count(database, attempt, now_s, counts);
    }
    return database_end(database, result);
}

static enum db_result take_back(struct database *database, enum throttle_kind kind,
                                const struct throttle_attempt *attempt, int64_t now_s)
{
    struct row row;
    enum db_result result = load(database, kind, attempt, now_s, &row);

    if (result != DB_OK || row.failures == 0)
        return result;
    row.failures--;
    row.until_s = refused_until(&policies[kind], row.failures, now_s);
    return store(database, kind, attempt, now_s, &row);
}

/* The same wrong password again is one who does not know better, not one who guesses. */
static enum db_result note_wrong(struct database *database, const struct throttle_attempt *attempt,
                                 const unsigned char *fingerprint, int64_t now_s, bool *is_same)
{
    struct row row;
    enum db_result result = load(database, PAIR, attempt, now_s, &row);

    *is_same =
        result == DB_OK && sodium_memcmp(row.fingerprint, fingerprint, sizeof row.fingerprint) == 0;
    if (result != DB_OK || *is_same)
        return result;
    memcpy(row.fingerprint, fingerprint, sizeof row.fingerprint);
    return store(database, PAIR, attempt, now_s, &row);
}

static enum db_result settle(struct database *database, const struct throttle_attempt *attempt,
                             enum throttle_outcome outcome, const unsigned char *fingerprint,
                             int64_t now_s)
{
    sqlite3_stmt *delete = database->statements[THROTTLE_DELETE];
    enum db_result result = DB_OK;
    bool counts = false;

    if (outcome == THROTTLE_WRONG) {
        result = note_wrong(database, attempt, fingerprint, now_s, &counts);
        counts = !counts;
    }
    /* Of who was right the pair is forgotten as a whole. */
    for (int kind = outcome == THROTTLE_RIGHT ? NETWORK : PAIR;
         kind < KINDS && result == DB_OK && !counts; kind++)
        result = take_back(database, kind, attempt, now_s);
    if (result == DB_OK && outcome == THROTTLE_RIGHT) {
        bind_key(delete, PAIR, attempt);
        result = database_write(database, delete) == DB_FAILED
                     ? DB_FAILED
                     : make_known(database, attempt, now_s);
    }
    return result;
}

/* ---- what others call ----------------------------------------------------------------------- */

enum db_result throttle_subject(struct database *database, const char *name,
                                unsigned char subject[THROTTLE_SUBJECT_BYTES])
{
    unsigned char secret[SECRET_BYTES];
    enum db_result result = get_secret(database, secret);

    if (result == DB_OK)
        crypto_generichash(subject, THROTTLE_SUBJECT_BYTES, (const unsigned char *)name,
                           strlen(name), secret, sizeof secret);
    sodium_memzero(secret, sizeof secret);
    return result;
}

/* Who has to wait is told so without a lock: an attack costs the others nothing. */
enum throttle_result throttle_reserve(struct database *database, const char *name, int64_t user_id,
                                      const char *address, int64_t now_s,
                                      struct throttle_attempt *attempt, unsigned *wait_s)
{
    struct counts counts;
    enum db_result result;

    *attempt = (struct throttle_attempt){.user_id = user_id};
    name_network(address, attempt->network);
    result = throttle_subject(database, name, attempt->subject);
    if (result == DB_OK)
        result = look(database, attempt, now_s, &counts);
    if (result == DB_OK && (counts.wait_s == 0 || counts.ticket_is_new)) {
        database_relax(database, true);
        result = reserve(database, attempt, now_s, &counts);
        database_relax(database, false);
    }
    if (result != DB_OK)
        return THROTTLE_FAILED;
    *wait_s = (unsigned)counts.wait_s;
    return counts.wait_s > 0 ? THROTTLE_WAIT : THROTTLE_PASS;
}

enum db_result throttle_settle(struct database *database, const struct throttle_attempt *attempt,
                               enum throttle_outcome outcome,
                               const unsigned char fingerprint[PASSWORD_FINGERPRINT_BYTES],
                               int64_t now_s)
{
    enum db_result result;

    database_relax(database, true);
    result = database_begin(database);
    if (result == DB_OK)
        result = settle(database, attempt, outcome, fingerprint, now_s);
    if (result == DB_OK)
        result = prune(database, now_s);
    result = database_end(database, result);
    database_relax(database, false);
    return result;
}

enum db_result throttle_list(struct database *database, int64_t now_s,
                             void (*each)(const struct throttle_row *row, void *context),
                             void *context)
{
    sqlite3_stmt *list = database->statements[THROTTLE_LIST];
    int code;

    while ((code = sqlite3_step(list)) == SQLITE_ROW) {
        const struct policy *policy = &policies[sqlite3_column_int(list, 0) % KINDS];
        struct row row = {.failures = sqlite3_column_int64(list, 3),
                          .until_s = sqlite3_column_int64(list, 4),
                          .last_s = sqlite3_column_int64(list, 5)};

        each(&(struct throttle_row){.network = (const char *)sqlite3_column_text(list, 1),
                                    .subject = sqlite3_column_blob(list, 2),
                                    .failures = remaining(policy, &row, now_s),
                                    .until_s = row.until_s,
                                    .last_s = row.last_s},
             context);
    }
    if (code != SQLITE_DONE)
        database_fail(database);
    database_reset(list);
    return code == SQLITE_DONE ? DB_OK : DB_FAILED;
}

bool throttle_is_network(const char *text)
{
    struct net_network network;
    struct error error;

    return strchr(text, '/') && net_network_parse(text, &network, &error);
}

enum db_result throttle_clear(struct database *database, const unsigned char *subject,
                              const char *network)
{
    sqlite3_stmt *clear = database->statements[THROTTLE_CLEAR];

    if (subject)
        sqlite3_bind_blob(clear, 1, subject, THROTTLE_SUBJECT_BYTES, SQLITE_STATIC);
    sqlite3_bind_text(clear, 2, network, -1, SQLITE_STATIC);
    return database_write(database, clear);
}
