/* Which files a command works on, and as whom. */
#include "db/admin/instance.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/memory.h"
#include "db/audit.h"
#include "db/sessions.h"
#include "db/throttle.h"

#include <errno.h>
#include <grp.h>
#include <libgen.h>
#include <pwd.h>
#include <stdio.h>
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

static bool own_folder(const struct config *config, struct error *error)
{
    char *path = memory_copy(config->login_database, strlen(config->login_database));
    bool owns = instance_become_owner(dirname(path), error);

    free(path);
    return owns;
}

enum command_status instance_read(const struct request *request, struct instance *instance)
{
    struct error error;

    *instance = (struct instance){.config = config_read(request->config, &error)};
    if (instance->config && own_folder(instance->config, &error))
        return COMMAND_DONE;
    return command_refuse(COMMAND_FAILED, "%s", error.text);
}

enum command_status instance_open(const struct request *request, struct instance *instance)
{
    enum command_status status = instance_read(request, instance);
    struct error error;

    if (status != COMMAND_DONE)
        return status;
    instance->database = database_open(instance->config->login_database, false, &error);
    if (instance->database)
        instance->revocations = revocations_open(
            instance->config->token_revocations, false,
            (int64_t)(config_longest_lifetime_ms(instance->config) / 1000), &error);
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

static struct database *open_audit(const struct config *config, struct error *error)
{
    char path[PATH_MAX];

    return audit_path(config, path, error) ? audit_open(path, error) : NULL;
}

struct database *instance_open_audit(const struct instance *instance)
{
    struct error error;
    struct database *audit = open_audit(instance->config, &error);

    if (!audit)
        command_refuse(COMMAND_FAILED, "%s", error.text);
    return audit;
}

/* Who started us; behind sudo or su, who logged in (proc(5)). */
static void name_actor(uid_t started_by, char name[128])
{
    FILE *file = fopen("/proc/self/loginuid", "re");
    const struct passwd *user = getpwuid(started_by);
    unsigned login = UINT_MAX;
    int used = user ? snprintf(name, 128, "%.60s", user->pw_name)
                    : snprintf(name, 128, "user id %u", (unsigned)started_by);

    if (file && fscanf(file, "%u", &login) == 1 && login != UINT_MAX && login != started_by &&
        (user = getpwuid(login)))
        snprintf(name + used, 128 - (size_t)used, " (login %.50s)", user->pw_name);
    if (file)
        fclose(file);
}

static bool write_act(const char *config_path, const struct audit_event *event, struct error *error)
{
    struct instance instance = {.config = config_read(config_path, error)};
    struct database *audit = NULL;
    struct audit_bounds bounds;
    bool is_written = false;

    if (instance.config && own_folder(instance.config, error))
        audit = open_audit(instance.config, error);
    if (audit) {
        bounds = audit_bounds_of(instance.config);
        is_written = audit_write(audit, event, 1, &bounds, event->at_s) == DB_OK ||
                     error_set(error, "%s", database_error(audit));
    }
    database_close(&audit);
    instance_close(&instance);
    return is_written;
}

void instance_audit(const struct request *request, char **words, enum command_status status)
{
    const struct command *command = request->command;
    char name[64], detail[512] = "", actor[128];
    bool names_user = request->operand && strstr("user session token", command->noun);
    /* Who is counted may be nobody, and the name a password that was typed in its place. */
    bool names_somebody = request->operand && strcmp(command->noun, "throttle") == 0 &&
                          !throttle_is_network(request->operand);
    struct audit_event event = {.at_s = clock_wall_s(),
                                .event = name,
                                .result = status == COMMAND_DONE ? "ok" : "failed",
                                .user = names_user ? request->operand : NULL,
                                .actor = actor};
    struct error error;

    snprintf(name, sizeof name, "%s%s%s", command->noun, command->verb ? " " : "",
             command->verb ? command->verb : "");
    for (size_t used = 0; *words; words++)
        if (*words != (names_somebody ? request->operand : event.user) && used < sizeof detail)
            used += (size_t)snprintf(detail + used, sizeof detail - used, "%s%s", used ? " " : "",
                                     *words);
    event.detail = *detail ? detail : NULL;
    name_actor(request->started_by, actor);
    if (!write_act(request->config, &event, &error) && status == COMMAND_DONE)
        log_warning("done, but it is not in the audit: %s", error.text);
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
