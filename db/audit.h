#ifndef DB_AUDIT_H
#define DB_AUDIT_H

#include "common/config.h"
#include "common/net.h"
#include "db/database.h"
#include "db/throttle.h"

#include <limits.h>

/*
 * Who did what, when and from where, in a database file of its own, so that an attack never stands
 * in the way of a user's write.  What is written last may be lost with the power.  A name that is
 * nobody's is never in it: people type passwords there.
 */
struct audit_event {
    int64_t id, at_s;
    const char *event;            /* "login", "user add" */
    const char *result;           /* "ok", or why not */
    const char *user;             /* NULL: none, or none that exists, */
    const unsigned char *subject; /* which then is here, as throttle_subject has it; else NULL */
    const char *address;          /* of the client; NULL: it was done on the machine, */
    const char *actor;            /* by this user of the system; else NULL */
    const char *detail;           /* or NULL */
};

/* The file that the config names, or standard: audit.db beside login.database. */
bool audit_path(const struct config *config, char path[PATH_MAX], struct error *error);

/* Made where it is missing.  NULL: error. */
struct database *audit_open(const char *path, struct error *error);

/* About so many rows, of which half may be refusals and half the rest, and none much older; 0: any.
 */
struct audit_bounds {
    int64_t rows, age_s;
};
struct audit_bounds audit_bounds_of(const struct config *config);

/* All of them or none; then now and then the oldest go that are beyond the bounds, so few at a time
 * that a clock which is wrong for a moment does not cost everything. */
#define AUDIT_MOST_AT_ONCE 1000
enum db_result audit_write(struct database *database, const struct audit_event *events, size_t n,
                           const struct audit_bounds *bounds, int64_t now_s);

/* Which events; what is NULL or 0 does not matter. */
struct audit_query {
    const char *user;             /* by name, */
    const unsigned char *subject; /* or by this */
    const char *event;            /* "user" is "user add" too */
    const struct net_network *network;
    int64_t since_s, until_s; /* until_s is not among them */
    int64_t after_id;
    int64_t most; /* the last so many */
};

/* In the order in which they were written.  An event lives for the call. */
enum db_result audit_list(struct database *database, const struct audit_query *query,
                          void (*each)(const struct audit_event *event, void *context),
                          void *context);

/* Those before `before_s`: how many there are; and delete them, in pieces between which others may
 * write. */
enum db_result audit_count(struct database *database, int64_t before_s, int64_t *n);
enum db_result audit_prune(struct database *database, int64_t before_s);

#endif
