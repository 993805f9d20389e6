#ifndef DB_THROTTLE_H
#define DB_THROTTLE_H

#include "db/database.h"
#include "db/password.h"

#include <stddef.h>
#include <stdint.h>

/*
 * How often one may guess.  An attempt is counted before its password is hashed, so that many at
 * once count as many; when it turns out right, or the same wrong password again, it is taken back.
 *
 * Three things are counted, and each is forgotten as time goes by (the table in throttle.c):
 *   - (user, network): after a few failures each costs a wait, doubling up to 15 minutes;
 *   - the network, whomever it guesses at: after more failures, doubling up to a minute;
 *   - the user, wherever it comes from: a network from which the user has not logged in before has
 * to come twice, with a growing time between.  Nobody else's attempts make that longer once it has
 *     begun: so an attack on a user slows them, and never shuts them out.
 *
 * A network is an IPv4 /24 or an IPv6 /64.  A user is who is named, existing or not.
 */
#define THROTTLE_SUBJECT_BYTES 16
#define THROTTLE_NETWORK_SIZE  52

struct throttle_attempt {
    char network[THROTTLE_NETWORK_SIZE];
    unsigned char subject[THROTTLE_SUBJECT_BYTES]; /* keyed hash of the name */
    int64_t user_id;                               /* 0: there is none of that name */
};

enum throttle_result { THROTTLE_PASS, THROTTLE_WAIT, THROTTLE_FAILED };

/*
 * May `name` (of whatever form) be tried now from `address`?  THROTTLE_PASS: it is counted, and
 * throttle_settle has to follow.  THROTTLE_WAIT: not for `wait_s`.
 */
enum throttle_result throttle_reserve(struct database *database, const char *name, int64_t user_id,
                                      const char *address, int64_t now_s,
                                      struct throttle_attempt *attempt, unsigned *wait_s);

enum throttle_outcome {
    THROTTLE_RIGHT,
    THROTTLE_WRONG,
    THROTTLE_UNDECIDED /* we failed: it never happened */
};

/* How it ended; `fingerprint` of what was tried, for THROTTLE_WRONG. */
enum db_result throttle_settle(struct database *database, const struct throttle_attempt *attempt,
                               enum throttle_outcome outcome,
                               const unsigned char fingerprint[PASSWORD_FINGERPRINT_BYTES],
                               int64_t now_s);

/* A name as it stands in the rows. */
enum db_result throttle_subject(struct database *database, const char *name,
                                unsigned char subject[THROTTLE_SUBJECT_BYTES]);

/* What is counted now, the last first.  `subject` NULL: the whole network; `network` "":
 * everywhere. */
struct throttle_row {
    const char *network;
    const unsigned char *subject;
    int64_t failures, until_s, last_s; /* until_s: refused up to then, or past */
};
enum db_result throttle_list(struct database *database, int64_t now_s,
                             void (*each)(const struct throttle_row *row, void *context),
                             void *context);

/* Is it written as a network, with a slash?  A user's name may hold one too. */
bool throttle_is_network(const char *text);

/* Forget what was counted of `subject`, of `network`, or (both NULL) all.  DB_NOT_FOUND: nothing.
 */
enum db_result throttle_clear(struct database *database, const unsigned char *subject,
                              const char *network);

#endif
