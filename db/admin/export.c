/* `sallyport export`: the users, a line of JSON each, as `sallyport import json` takes them. */
#include "db/admin/instance.h"

#include "db/users.h"

#include <stdio.h>
#include <unistd.h>

static json_t *line_of(const struct user *user, bool with_hash)
{
    return json_pack("{s:s, s:b, s:I, s:O, s:s*}", "name", user->name, "disabled", user->disabled,
                     "created", (json_int_t)user->created_s, "claims", user->claims, "hash",
                     with_hash ? user->hash : NULL);
}

static bool print_line(const struct user *user, void *context)
{
    command_print_json(line_of(user, *(const bool *)context));
    return !ferror(stdout);
}

static enum command_status export_users(const struct request *request)
{
    bool with_hash = request_has(request, OPTION_HASHES);
    struct instance instance = {0};
    enum command_status status;

    if (with_hash && isatty(STDOUT_FILENO) && !request_has(request, OPTION_YES))
        return command_misused(request, "hashes are shown on a terminal only with --yes; else send "
                                        "them to a file");
    status = instance_open(request, &instance);
    if (status == COMMAND_DONE)
        status =
            instance_status(&instance, users_list(instance.database, print_line, &with_hash), "");
    instance_close(&instance);
    return status;
}

/* clang-format off */
const struct command export_commands[] = {
    {"export", NULL, NULL, ACTS | TAKES(OPTION_HASHES) | TAKES(OPTION_YES), 0, "print all users, a line of JSON each", export_users},
    {0},
};
/* clang-format on */
