/* Which files a command works on, and as whom. */
#include "db/admin/instance.h"

#include "common/clock.h"
#include "common/memory.h"
#include "db/sessions.h"

#include <errno.h>
#include <grp.h>
#include <libgen.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool instance_become_owner(const char *folder, struct error *error)
{
    struct stat status;
    struct passwd *owner;
    gid_t group;

    if (geteuid() != 0 || stat(folder, &status) < 0 || status.st_uid == 0)
        return true;
    owner = getpwuid(status.st_uid);
    group = owner ? owner->pw_gid : status.st_gid;
    if ((owner ? initgroups(owner->pw_name, group) : setgroups(0, NULL)) == 0 &&
        setresgid(group, group, group) == 0 &&
        setresuid(status.st_uid, status.st_uid, status.st_uid) == 0)
        return true;
    return error_set(error, "cannot become user id %u, the owner of %s: %s; run as that user",
                     (unsigned)status.st_uid, folder, strerror(errno));
}

enum command_status instance_read(const struct request *request, struct instance *instance)
{
    struct error error;
    char *path;
    bool owns;

    *instance = (struct instance){.config = config_read(request->config, &error)};
    if (!instance->config)
        return command_refuse(COMMAND_FAILED, "%s", error.text);
    path = memory_copy(instance->config->login_database, strlen(instance->config->login_database));
    owns = instance_become_owner(dirname(path), &error);
    free(path);
    return owns ? COMMAND_DONE : command_refuse(COMMAND_FAILED, "%s", error.text);
}

enum command_status instance_open(const struct request *request, struct instance *instance)
{
    enum command_status status = instance_read(request, instance);
    struct error error;

    if (status != COMMAND_DONE)
        return status;
    instance->database = database_open(instance->config->login_database, false, &error);
    if (instance->database)
        instance->revocations =
            revocations_open(instance->config->token_revocations, false,
                             (int64_t)(instance->config->token_lifetime / 1000), &error);
    if (!instance->revocations)
        return command_refuse(COMMAND_FAILED, "%s", error.text);
    return COMMAND_DONE;
}

void instance_close(struct instance *instance)
{
    revocations_close(&instance->revocations);
    database_close(&instance->database);
    config_free(&instance->config);
}

enum command_status instance_revoke_user(const struct instance *instance, const struct user *user,
                                         const char *done)
{
    struct error error;

    if (sessions_end_user(instance->database, instance->revocations, user, clock_wall_s(), &error))
        return COMMAND_DONE;
    return command_refuse(COMMAND_FAILED,
                          "%s, but the tokens issued before are still good: %s; do it again", done,
                          error.text);
}

enum command_status instance_status(const struct instance *instance, enum db_result result,
                                    const char *name)
{
    switch (result) {
    case DB_OK:
        return COMMAND_DONE;
    case DB_NOT_FOUND:
        return command_refuse(COMMAND_NOT_FOUND, "there is no user \"%s\"", name);
    case DB_EXISTS:
        return command_refuse(COMMAND_EXISTS, "there is a user \"%s\" already", name);
    case DB_FAILED:
        break;
    }
    return command_refuse(COMMAND_FAILED, "the database: %s", database_error(instance->database));
}
