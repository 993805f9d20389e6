#ifndef DB_SESSIONS_H
#define DB_SESSIONS_H

#include "db/database.h"
#include "db/revocations.h"
#include "db/users.h"

#include <stddef.h>

/*
 * Sessions.  Each begins with a login and may go on by refresh tokens (RFC 6749 §6, RFC 9700
 * §4.14): 256 random bits behind the session's 128-bit handle, of which only a hash is kept.  Each
 * use replaces it.  Whoever uses one again within SESSION_GRACE_S is a client that lost our answer,
 * or two of its pages at once, and is given another; afterwards it was stolen, and the session
 * ends.
 *
 * The access tokens of a session are known by their `jti`, so that its end can revoke them.
 */
#define SESSION_REFRESH_SIZE 65
#define SESSION_GRACE_S      10
#define SESSION_MAX_PER_USER 100
#define SESSION_MAX_TOKENS   64 /* that live at a time */

struct session_terms {
    int64_t lifetime_s, idle_s; /* of refresh tokens: since the login, since the last use */
};

/* The access token that is about to be given. */
struct session_token {
    const char *jti;
    int64_t issued_s, expires_s;
};

enum session_result {
    SESSION_OK,
    SESSION_REFUSED, /* there is none, it has ended, or the user is not as they were */
    SESSION_REUSED,  /* a refresh token that was replaced: end the session */
    SESSION_BUSY,    /* SESSION_MAX_TOKENS */
    SESSION_FAILED   /* database_error */
};

/*
 * Begin a session of `user`, as they were when their password was verified: SESSION_REFUSED where
 * they have been disabled, deleted or given another password since.  `refresh` is filled with a
 * refresh token, to be wiped; NULL: the session is this access token alone.
 */
enum session_result sessions_begin(struct database *database, const struct user *user,
                                   const char *address, const struct session_terms *terms,
                                   const struct session_token *token, int64_t now_s,
                                   char refresh[SESSION_REFRESH_SIZE]);

/* Whose refresh token is this?  `name` is the caller's to free.  It may have ended or been
 * replaced. */
struct session {
    int64_t id;
    char *user;
    bool is_over, is_disabled;
};
enum session_result sessions_find(struct database *database, const char *refresh, int64_t now_s,
                                  struct session *session);
void session_fini(struct session *session);

/* Is it, by sessions_find's leave, one that may be used now?  Without using it. */
enum session_result sessions_check(struct database *database, const char *refresh, int64_t now_s);

/* Use `refresh`; the next one is written to `next`, to be wiped. */
enum session_result sessions_refresh(struct database *database, const char *refresh,
                                     const struct session_terms *terms,
                                     const struct session_token *token, int64_t now_s,
                                     char next[SESSION_REFRESH_SIZE]);

/*
 * End the session, or all of a user, and revoke their tokens: none of them is good when this
 * returns true, and none comes after.  False: error, and it may be half done; again does no harm.
 */
bool sessions_end(struct database *database, struct revocations *revocations, int64_t id,
                  int64_t now_s, struct error *error);
bool sessions_end_user(struct database *database, struct revocations *revocations,
                       const struct user *user, int64_t now_s, struct error *error);

/* The session in which a token was issued that may still live.  DB_NOT_FOUND: none. */
enum db_result sessions_find_jti(struct database *database, const char *jti, int64_t *id);

/* Those of which something still lives, of one user or (NULL) of all, by user. */
struct session_row {
    int64_t id;
    const char *user, *address;
    int64_t created_s, used_s, ends_s; /* ends_s: of its refresh tokens, where it has any */
    bool has_refresh;
};
enum db_result sessions_list(struct database *database, const char *user, int64_t now_s,
                             void (*each)(const struct session_row *row, void *context),
                             void *context);

#endif
