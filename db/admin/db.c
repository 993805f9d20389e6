/* `sallyport db`: are the databases sound, a copy of them, and up to date. */
#include "db/admin/instance.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static enum command_status check(const struct request *request)
{
    struct instance instance;
    struct database *audit = NULL;
    struct error error;
    enum command_status status = instance_open(request, &instance);

    if (status == COMMAND_DONE && !database_check(instance.database, &error))
        status = command_refuse(COMMAND_FAILED, "%s is damaged: %s; restore a backup",
                                instance.config->login_database, error.text);
    if (status == COMMAND_DONE && !revocations_check(instance.revocations, &error))
        status = command_refuse(COMMAND_FAILED, "%s is damaged: %s; restore a backup",
                                instance.config->token_revocations, error.text);
    if (status == COMMAND_DONE && !(audit = instance_open_audit(&instance)))
        status = COMMAND_FAILED;
    if (status == COMMAND_DONE && !database_check(audit, &error))
        status = command_refuse(COMMAND_FAILED,
                                "the audit is damaged: %s; put its file aside, and another is made",
                                error.text);
    database_close(&audit);
    if (status == COMMAND_DONE && request_has(request, OPTION_JSON))
        command_print_json(json_pack("{s:b}", "sound", 1));
    else if (status == COMMAND_DONE)
        puts("the databases are sound");
    instance_close(&instance);
    return status;
}

/* As they are called in `sallyport init --dir`. */
static bool copy(const struct instance *instance, struct database *audit, const char *folder,
                 struct error *error)
{
    char users[PATH_MAX], revocations[PATH_MAX], events[PATH_MAX];

    if (snprintf(users, sizeof users, "%s/sallyport.db", folder) >= PATH_MAX ||
        snprintf(revocations, sizeof revocations, "%s/revocations.db", folder) >= PATH_MAX ||
        snprintf(events, sizeof events, "%s/audit.db", folder) >= PATH_MAX)
        return error_set(error, "the path %s is too long", folder);
    if (mkdir(folder, 0700) < 0 && errno != EEXIST)
        return error_set(error, "cannot make %s: %s", folder, strerror(errno));
    return database_copy(instance->database, users, error) &&
           revocations_copy(instance->revocations, revocations, error) &&
           database_copy(audit, events, error);
}

/* The users first: a revocation that comes in between is in the copy, and never lacks. */
static enum command_status backup(const struct request *request)
{
    struct instance instance;
    struct database *audit = NULL;
    struct error error;
    enum command_status status = instance_open(request, &instance);

    if (status == COMMAND_DONE && !(audit = instance_open_audit(&instance)))
        status = COMMAND_FAILED;
    if (status == COMMAND_DONE && !copy(&instance, audit, request->operand, &error))
        status = command_refuse(COMMAND_FAILED, "%s", error.text);
    database_close(&audit);
    if (status == COMMAND_DONE && request_has(request, OPTION_JSON))
        command_print_json(json_pack("{s:s}", "folder", request->operand));
    else if (status == COMMAND_DONE)
        printf("copied the databases to %s\n", request->operand);
    instance_close(&instance);
    return status;
}

/* Whoever opens a database brings it up to date; this does nothing else. */
static enum command_status migrate(const struct request *request)
{
    struct instance instance;
    enum command_status status = instance_open(request, &instance);

    if (status == COMMAND_DONE && request_has(request, OPTION_JSON))
        command_print_json(json_pack("{s:i}", "schema", database_version(instance.database)));
    else if (status == COMMAND_DONE)
        printf("the users' database has schema %d, which is this program's\n",
               database_version(instance.database));
    instance_close(&instance);
    return status;
}

/* clang-format off */
const struct command db_commands[] = {
    {"db", "check",   NULL,     TAKES(OPTION_JSON), 0, "say whether the databases are sound", check},
    {"db", "backup",  "FOLDER", ACTS | TAKES(OPTION_JSON), 0, "copy the databases, while they are used, into a folder", backup},
    {"db", "migrate", NULL,     ACTS | TAKES(OPTION_JSON), 0, "bring the databases up to this program's schema, after a copy", migrate},
    {0},
};
/* clang-format on */
