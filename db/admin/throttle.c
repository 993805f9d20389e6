/* `sallyport throttle`: who guesses, and whom that slows. */
#include "db/throttle.h"

#include "common/clock.h"
#include "common/memory.h"
#include "db/admin/columns.h"
#include "db/admin/instance.h"
#include "db/users.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The rows know users by a hash: all names are hashed to find who is meant. */
struct names {
    struct database *database;
    struct name {
        char *name;
        unsigned char subject[THROTTLE_SUBJECT_BYTES];
    } * list;
    size_t n;
    json_t *json;
    struct columns columns;
};

static bool add_name(const struct user *user, void *context)
{
    struct names *names = context;
    struct name *name;

    names->list = memory_resize(names->list, names->n + 1, sizeof *names->list);
    name = &names->list[names->n++];
    name->name = memory_copy(user->name, strlen(user->name));
    memset(name->subject, 0, sizeof name->subject);
    return true;
}

static enum db_result read_names(struct names *names)
{
    enum db_result result = users_list(names->database, add_name, names);

    for (size_t i = 0; i < names->n && result == DB_OK; i++)
        result = throttle_subject(names->database, names->list[i].name, names->list[i].subject);
    return result;
}

static void names_fini(struct names *names)
{
    for (size_t i = 0; i < names->n; i++)
        free(names->list[i].name);
    free(names->list);
    json_decref(names->json);
}

/* NULL: nobody is called that. */
static const char *name_of(const struct names *names, const unsigned char *subject)
{
    for (size_t i = 0; i < names->n; i++)
        if (memcmp(names->list[i].subject, subject, THROTTLE_SUBJECT_BYTES) == 0)
            return names->list[i].name;
    return NULL;
}

static int64_t refused_for(const struct throttle_row *row)
{
    int64_t now_s = clock_wall_s();

    return row->until_s > now_s && *row->network ? row->until_s - now_s : 0;
}

static void add_json(struct names *names, const struct throttle_row *row)
{
    const char *name = row->subject ? name_of(names, row->subject) : NULL;

    json_array_append_new(names->json,
                          json_pack("{s:s?, s:b, s:s?, s:I, s:I, s:I}", "user", name,
                                    "unknown_user", row->subject && !name, "network",
                                    *row->network ? row->network : NULL, "failures",
                                    (json_int_t)row->failures, "refused_for",
                                    (json_int_t)refused_for(row), "last", (json_int_t)row->last_s));
}

static void add_columns(struct names *names, const struct throttle_row *row)
{
    const char *name = row->subject ? name_of(names, row->subject) : "everybody";

    columns_add(&names->columns, name ? name : "an unknown user");
    columns_add(&names->columns, *row->network ? row->network : "everywhere");
    columns_add_number(&names->columns, row->failures);
    columns_add_number(&names->columns, refused_for(row));
    columns_add_time(&names->columns, row->last_s);
}

static void add_row(const struct throttle_row *row, void *context)
{
    struct names *names = context;

    if (row->failures == 0)
        return;
    if (names->json)
        add_json(names, row);
    else
        add_columns(names, row);
}

static enum db_result print_list(const struct request *request, struct database *database)
{
    struct names names = {.database = database,
                          .columns = COLUMNS("USER", "NETWORK", "FAILURES", "WAITS (s)", "LAST")};
    enum db_result result = read_names(&names);

    if (request_has(request, OPTION_JSON))
        names.json = json_array();
    if (result == DB_OK)
        result = throttle_list(database, clock_wall_s(), add_row, &names);
    if (!names.json)
        columns_print(&names.columns);
    else if (result == DB_OK)
        command_print_json(json_incref(names.json));
    names_fini(&names);
    return result;
}

static enum command_status list(const struct request *request)
{
    struct instance instance;
    enum command_status status = instance_open(request, &instance);

    if (status == COMMAND_DONE)
        status = instance_status(&instance, print_list(request, instance.database), "");
    instance_close(&instance);
    return status;
}

struct match {
    const unsigned char *subject; /* and network: NULL where any is meant */
    const char *network;
    size_t n;
};

static void count_match(const struct throttle_row *row, void *context)
{
    struct match *match = context;

    if (match->subject &&
        (!row->subject || memcmp(row->subject, match->subject, THROTTLE_SUBJECT_BYTES) != 0))
        return;
    match->n += !match->network || strcmp(row->network, match->network) == 0;
}

/* What a dry run has of clearing. */
static enum db_result say(struct database *database, const unsigned char *subject,
                          const char *network)
{
    struct match match = {subject, network, 0};
    enum db_result result = throttle_list(database, clock_wall_s(), count_match, &match);

    if (result == DB_OK && match.n == 0 && (subject || network))
        result = DB_NOT_FOUND;
    if (result == DB_OK)
        printf("%zu counts would be forgotten\n", match.n);
    return result;
}

/* What is written as a network is one, as `throttle list` shows it. */
static enum command_status clear_one(const struct request *request, const struct instance *instance)
{
    const char *operand = request->operand;
    unsigned char subject[THROTTLE_SUBJECT_BYTES];
    bool is_network = operand && throttle_is_network(operand);
    enum db_result result = DB_OK;

    if (!operand && !command_is_confirmed(request, "Forget all failed logins, of everybody"))
        return COMMAND_FAILED;
    if (operand && !is_network)
        result = throttle_subject(instance->database, operand, subject);
    if (result == DB_OK)
        result = (request_has(request, OPTION_DRY_RUN) ? say : throttle_clear)(
            instance->database, operand && !is_network ? subject : NULL,
            is_network ? operand : NULL);
    if (result == DB_NOT_FOUND && operand)
        return command_refuse(COMMAND_NOT_FOUND, "nothing is counted of \"%s\"", operand);
    return result == DB_FAILED ? instance_status(instance, result, "") : COMMAND_DONE;
}

static enum command_status clear(const struct request *request)
{
    struct instance instance;
    enum command_status status = instance_open(request, &instance);

    if (status == COMMAND_DONE)
        status = clear_one(request, &instance);
    instance_close(&instance);
    return status;
}

/* clang-format off */
const struct command throttle_commands[] = {
    {"throttle", "list",  NULL,             TAKES(OPTION_JSON), 0, "show the failed logins that are counted, and who has to wait", list},
    {"throttle", "clear", "[USER|NETWORK]", ACTS | TAKES(OPTION_DRY_RUN) | TAKES(OPTION_YES), 0, "forget what is counted, of one or of all", clear},
    {0},
};
/* clang-format on */
