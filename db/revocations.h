#ifndef DB_REVOCATIONS_H
#define DB_REVOCATIONS_H

#include "common/error.h"

#include <stddef.h>
#include <stdint.h>

/*
 * What was revoked before its time: one token by its `jti`, or all of a user (`sub`) with
 * `iat` <= T.  In a database file of its own with a rollback journal, so that the gateway can read
 * it with read permission alone.  One thread at a time, but for revocations_share.
 *
 * The next token of that user is dated iat > T, which may be the next second.  A row stays for as
 * long as a token may have lived, the longest lifetime that was ever announced here: by the clock,
 * with a day more, and by the time that passed, so that a clock which is set forward and back makes
 * nothing forgotten.
 */
enum revocation_kind { REVOCATION_USER, REVOCATION_TOKEN };

struct revocations;

/*
 * `lifetime_s` announces how long tokens live that the caller may issue.  NULL: error.  With
 * `create` the file is made where it is missing.
 */
struct revocations *revocations_open(const char *path, bool create, int64_t lifetime_s,
                                     struct error *error);
void revocations_close(struct revocations **revocations);

/* From now on several threads may call what adds, and revocations_date.  False: error. */
bool revocations_share(struct revocations *revocations, struct error *error);

/* All of `user` up to now, those included that are already dated to the next second.  On the disk
 * when it returns true. */
bool revocations_add_user(struct revocations *revocations, const char *user, int64_t now_s,
                          struct error *error);
bool revocations_add_token(struct revocations *revocations, const char *jti, int64_t now_s,
                           struct error *error);

/* The same of many at once: the tokens, the last of which expires at ends_s (0: within the longest
 * lifetime), and, where not NULL, all of the user. */
bool revocations_add(struct revocations *revocations, const char *user, const char *const *jtis,
                     size_t n, int64_t ends_s, int64_t now_s, struct error *error);

/* Before a token is issued that lives longer than what revocations_open was told. */
bool revocations_announce(struct revocations *revocations, int64_t lifetime_s, struct error *error);

/* The longest lifetime that was ever announced. */
bool revocations_longest(struct revocations *revocations, int64_t *lifetime_s, struct error *error);

/*
 * The least `iat` with which a token of `user` is not revoked: now_s or later.  One later than
 * now_s + 1 comes of a clock that was set back, or of more revocations within the second: no token
 * can be issued yet.
 */
bool revocations_first_iat(struct revocations *revocations, const char *user, int64_t now_s,
                           int64_t *first_s, struct error *error);

/* database_copy and database_check (database.h) for this file. */
bool revocations_copy(struct revocations *revocations, const char *path, struct error *error);
bool revocations_check(struct revocations *revocations, struct error *error);

/*
 * What to date a token of `user` to that is issued now, by the clock; where that is not yet
 * possible it waits, for no more than a second.  Where T is further off, the clock has been set
 * back since and T becomes now, lest the user be locked out: what was issued up to T by the other
 * clock was revoked by its `jti` too (sessions_end_user).  False: error.
 */
bool revocations_date(struct revocations *revocations, const char *user, int64_t *iat_s,
                      struct error *error);

/* For one who reads only.  NULL: error. */
struct revocations *revocations_open_reader(const char *path, struct error *error);

/*
 * May there be other rows than at the last call that said so?  True the first time.  A file that
 * was put in the place of the other is opened.  False: error, and what is known may be out of date.
 */
bool revocations_have_changed(struct revocations *revocations, bool *changed, struct error *error);

/*
 * All rows, of one moment; `until_s` is a user's T.  `name` lives for the call.  False: error, and
 * only some may have been given.
 */
bool revocations_list(struct revocations *revocations,
                      void (*each)(enum revocation_kind kind, const char *name, int64_t until_s,
                                   void *context),
                      void *context, struct error *error);

#endif
