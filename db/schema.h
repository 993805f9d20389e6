#ifndef DB_SCHEMA_H
#define DB_SCHEMA_H

#include "common/error.h"

#include <sqlite3.h>
#include <stddef.h>
#include <stdint.h>

/*
 * All SQL there is: for each kind of file the steps from one schema to the next, and the statements
 * that every connection to it prepares once.
 */
struct schema {
    const char *setting; /* that names the file */
    const char *without; /* what follows from its absence, to be said of a file that is not there */
    int application_id;  /* never migrate, and so never touch, a database of someone else's */
    unsigned mode;       /* of the file */
    bool writes_ahead;   /* else a rollback journal, which lets those read who cannot write */
    const char *const *steps; /* step N leads from `user_version` N to N + 1 */
    int n_steps;
    const char *const *statements;
    int n_statements, n_reads; /* the first so many are those of connection_open_reader, and do with
                                  any schema */
};
extern const struct schema schema_main, schema_revocations, schema_audit;

/* The users and what belongs to them. */
enum statement {
    USER_FIND,
    USER_LIST,
    USER_KINDS,
    USER_ADD,
    USER_SET_HASH,
    USER_REPLACE_HASH,
    USER_SET_CLAIMS,
    USER_SET_DISABLED,
    USER_DELETE,
    SESSION_ADD,
    SESSION_FIND,
    SESSION_LIST,
    SESSION_USED,
    SESSION_END,
    SESSION_END_USER,
    SESSION_FORGET,
    SESSION_FORGET_USER,
    SESSION_TRIM,
    SESSION_PRUNE,
    REFRESH_FIND,
    REFRESH_ADD,
    REFRESH_REPLACE,
    REFRESH_PRUNE,
    ACCESS_ADD,
    ACCESS_COUNT,
    ACCESS_LIST,
    ACCESS_LIST_USER,
    ACCESS_SESSION,
    ACCESS_PRUNE,
    SECRET_FIND,
    SECRET_ADD,
    THROTTLE_FIND,
    THROTTLE_SET,
    THROTTLE_DELETE,
    THROTTLE_LIST,
    THROTTLE_CLEAR,
    THROTTLE_PRUNE,
    THROTTLE_TRIM,
    NETWORK_FIND,
    NETWORK_SET,
    NETWORK_TRIM,
    STATEMENTS
};

/* What was revoked. */
enum revocations_statement {
    REVOCATION_FIND,
    REVOCATION_LIST,
    REVOCATION_LONGEST,
    REVOCATION_VERSION,
    REVOCATIONS_READS,
    REVOCATION_SET = REVOCATIONS_READS,
    REVOCATION_LOWER,
    REVOCATION_PRUNE,
    REVOCATION_PASS,
    REVOCATION_SET_LONGEST,
    REVOCATIONS_STATEMENTS
};

/* Who did what. */
enum audit_statement {
    AUDIT_ADD,
    AUDIT_TRIM_ACCEPTED,
    AUDIT_TRIM_REFUSED,
    AUDIT_TRIM_OLD,
    AUDIT_LIST,
    AUDIT_COUNT,
    AUDIT_PRUNE,
    AUDIT_STATEMENTS
};

/*
 * Is it ours (or still empty), and not newer than we know?  Then run what steps it lacks, each in
 * one transaction: a step that fails leaves the schema as it was.  Several processes may do so at
 * once.
 */
bool schema_check(sqlite3 *sqlite, const struct schema *schema, struct error *error);
int64_t schema_version(sqlite3 *sqlite); /* -1: it cannot be read */
bool schema_migrate(sqlite3 *sqlite, const char *const *steps, int n_steps, struct error *error);

#endif
