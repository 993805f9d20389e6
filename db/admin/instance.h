#ifndef DB_ADMIN_INSTANCE_H
#define DB_ADMIN_INSTANCE_H

#include "common/config.h"
#include "db/admin/command.h"
#include "db/database.h"
#include "db/revocations.h"

/* What a command works on: the config, and, where opened, the databases it names. */
struct instance {
    struct config *config;
    struct database *database;
    struct revocations *revocations;
};

/*
 * Read the config of the request and become the owner of its database's folder.  Not
 * COMMAND_DONE: the reason has been said.  instance_close in either case.
 */
enum command_status instance_read(const struct request *request, struct instance *instance);

/* The same, and open the databases. */
enum command_status instance_open(const struct request *request, struct instance *instance);
void instance_close(struct instance *instance);

/*
 * Root becomes the owner of `folder` for good, so that no file it makes is one the services cannot
 * write.  Others stay who they are.
 */
bool instance_become_owner(const char *folder, struct error *error);

/*
 * No token of `user` that was issued up to now is good any more.  Fails only after something else
 * was done; `done` says what, for the words that ask for it to be done again.
 */
struct user;
enum command_status instance_revoke_user(const struct instance *instance, const struct user *user,
                                         const char *done);

/* The audit that the config names.  NULL: the reason has been said. */
struct database *instance_open_audit(const struct instance *instance);

/* What was done, or failed halfway, stands in the audit: by whom of the system's users, and with
 * which words.  That it cannot be written is said, and changes nothing else. */
void instance_audit(const struct request *request, char **words, enum command_status status);

/* The status of a call that answered `result`, and what there is to say of user `name`. */
enum command_status instance_status(const struct instance *instance, enum db_result result,
                                    const char *name);

#endif
