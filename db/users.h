#ifndef DB_USERS_H
#define DB_USERS_H

#include "db/database.h"
#include "db/kind.h"

#include <jansson.h>
#include <stddef.h>

/*
 * The users.  A name is 1 to USER_NAME_MAX_BYTES of UTF-8 without control characters, white space
 * at its ends, or a colon, which every user of another issuer has in theirs (and HTTP's Basic
 * forbids, RFC 7617 §2); compared byte by byte.  An id is never used again.
 */
#define USER_NAME_MAX_BYTES 128

struct user {
    int64_t id;
    char *name;
    char *hash;     /* of the password, in a form of kind.h */
    json_t *claims; /* object: what goes into this user's tokens beside the registered claims and
                       `id` */
    bool disabled;
    int64_t created_s, changed_s;
};

bool user_name_is_valid(const char *name, size_t bytes);

/* Fill `user`, to be freed with user_fini. */
enum db_result users_find(struct database *database, const char *name, struct user *user);
void user_fini(struct user *user);

/* DB_EXISTS when the name is taken.  `claims` is borrowed; reserved claim names (token.h) are the
 * caller's to refuse. */
enum db_result users_add(struct database *database, const char *name, const char *hash,
                         const json_t *claims, int64_t now_s);
/* The same with what `user` has of these, disabled or not, and when they were created elsewhere. */
enum db_result users_import(struct database *database, const struct user *user, int64_t now_s);
enum db_result users_set_hash(struct database *database, const char *name, const char *hash,
                              int64_t now_s);
/* The same for `user` as they were found, who has the new hash then.  DB_NOT_FOUND: meanwhile they
 * were deleted, disabled or given another. */
enum db_result users_replace_hash(struct database *database, struct user *user, const char *hash,
                                  int64_t now_s);
enum db_result users_set_claims(struct database *database, const char *name, const json_t *claims,
                                int64_t now_s);
enum db_result users_set_disabled(struct database *database, const char *name, bool disabled,
                                  int64_t now_s);
enum db_result users_delete(struct database *database, const char *name);

/* What kinds of hashes the users have; of more than KINDS_MAX the first.  A few microseconds. */
enum db_result users_kinds(struct database *database, struct kinds *kinds);

/* Call `each` for every user, by name; it returns false to stop. */
enum db_result users_list(struct database *database,
                          bool (*each)(const struct user *user, void *context), void *context);

/*
 * What a token of this user says of them: their claims and our `id`, a new object that is the
 * caller's.  NULL: no memory.  Whoever issues a token for a user takes it from here.
 */
#define USERS_ID_CLAIM "id"
json_t *users_token_claims(const struct user *user);

#endif
