/* `sallyport audit`: who did what. */
#include "db/audit.h"

#include "common/clock.h"
#include "db/admin/columns.h"
#include "db/admin/instance.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define FOLLOW_EVERY_US 300000
#define SUBJECT_HEX     (2 * THROTTLE_SUBJECT_BYTES + 1)

/* ---- what is printed ------------------------------------------------------------------------ */

struct output {
    struct columns columns;
    json_t *list; /* NULL: not a list of JSON */
    bool as_json;
    int64_t last_id;
};

static json_t *event_json(const struct audit_event *event)
{
    char subject[SUBJECT_HEX] = "";

    if (event->subject)
        sodium_bin2hex(subject, sizeof subject, event->subject, THROTTLE_SUBJECT_BYTES);
    return json_pack("{s:I, s:I, s:s, s:s, s:s?, s:s?, s:s?, s:s?, s:s?}", "id",
                     (json_int_t)event->id, "at", (json_int_t)event->at_s, "event", event->event,
                     "result", event->result, "user", event->user, "unknown_user",
                     *subject ? subject : NULL, "address", event->address, "by", event->actor,
                     "detail", event->detail);
}

/* An act as it was typed. */
static void add_columns(struct columns *columns, const struct audit_event *event)
{
    char unknown[32] = "", hex[SUBJECT_HEX], what[1024];

    if (event->subject) {
        sodium_bin2hex(hex, sizeof hex, event->subject, THROTTLE_SUBJECT_BYTES);
        snprintf(unknown, sizeof unknown, "unknown %.6s", hex);
    }
    snprintf(what, sizeof what, "%s%s%s", event->event, event->detail ? " " : "",
             event->detail ? event->detail : "");
    columns_add_time(columns, event->at_s);
    columns_add(columns, what);
    columns_add(columns, event->result);
    columns_add(columns, event->user ? event->user : unknown);
    columns_add(columns, event->address ? event->address : event->actor ? event->actor : "");
}

static void add_event(const struct audit_event *event, void *context)
{
    struct output *output = context;

    output->last_id = event->id;
    if (output->list)
        json_array_append_new(output->list, event_json(event));
    else if (output->as_json)
        command_print_json(event_json(event));
    else
        add_columns(&output->columns, event);
}

static enum db_result print(struct database *audit, const struct audit_query *query,
                            struct output *output)
{
    enum db_result result = audit_list(audit, query, add_event, output);

    if (output->list) {
        command_print_json(output->list);
        output->list = NULL;
    } else if (!output->as_json) {
        columns_print(&output->columns);
    }
    fflush(stdout);
    return result;
}

/* Until a signal or a closed pipe ends us. */
static enum db_result follow(struct database *audit, struct output *output)
{
    enum db_result result = DB_OK;

    while (result == DB_OK && !ferror(stdout)) {
        usleep(FOLLOW_EVERY_US);
        result = print(audit, &(struct audit_query){.after_id = output->last_id}, output);
    }
    return result;
}

/* ---- what is asked for ---------------------------------------------------------------------- */

/* A time, or how long ago; 0 where the option is not given. */
static enum command_status read_time(const struct request *request, enum option option,
                                     const char *name, int64_t *at_s)
{
    static const char *const forms[] = {"%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M",
                                        "%Y-%m-%d %H:%M:%SZ", "%Y-%m-%dT%H:%M:%SZ"};
    const char *text = request_value(request, option), *end;

    if (!text)
        return COMMAND_DONE;
    if (command_read_duration(text, at_s)) {
        *at_s = clock_wall_s() - *at_s;
        return COMMAND_DONE;
    }
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        struct tm parts = {0};

        end = strptime(text, forms[i], &parts);
        if (end && !*end) {
            *at_s = timegm(&parts);
            return COMMAND_DONE;
        }
    }
    return command_misused(
        request, "%s \"%s\" is no time such as 2h, 7d, 2026-11-23 or \"2026-11-23 15:04\"", name,
        text);
}

static enum command_status read_lines(const struct request *request, int64_t standard,
                                      int64_t *lines)
{
    const char *text = request_value(request, OPTION_LINES);
    char *end = NULL;

    *lines = text ? strtol(text, &end, 10) : standard;
    if (!text || (*text >= '1' && *text <= '9' && !*end && *lines <= INT32_MAX))
        return COMMAND_DONE;
    return command_misused(request, "-n \"%s\" is no number from 1", text);
}

static enum command_status list(const struct request *request, struct instance *instance,
                                const struct audit_query *query)
{
    bool follows = request_has(request, OPTION_FOLLOW);
    struct output output = {.columns = COLUMNS("TIME", "EVENT", "RESULT", "USER", "FROM"),
                            .as_json = request_has(request, OPTION_JSON)};
    struct database *audit = instance_open_audit(instance);
    enum db_result result;
    enum command_status status;

    if (!audit)
        return COMMAND_FAILED;
    if (output.as_json && !follows)
        output.list = json_array();
    result = print(audit, query, &output);
    if (result == DB_OK && follows)
        result = follow(audit, &output);
    status = result == DB_OK ? COMMAND_DONE
                             : command_refuse(COMMAND_FAILED, "%s", database_error(audit));
    database_close(&audit);
    return status;
}

static enum command_status tail(const struct request *request)
{
    struct instance instance = {0};
    struct audit_query query = {0};
    enum command_status status = read_lines(request, 20, &query.most);

    if (status == COMMAND_DONE)
        status = instance_read(request, &instance);
    if (status == COMMAND_DONE)
        status = list(request, &instance, &query);
    instance_close(&instance);
    return status;
}

static enum command_status search(const struct request *request)
{
    const char *network_text = request_value(request, OPTION_NETWORK);
    unsigned char subject[THROTTLE_SUBJECT_BYTES];
    struct instance instance = {0};
    struct net_network network;
    struct error error;
    struct audit_query query = {.user = request_value(request, OPTION_USER),
                                .subject = subject,
                                .event = request_value(request, OPTION_EVENT),
                                .network = network_text ? &network : NULL};
    enum command_status status = read_lines(request, 1000, &query.most);

    if (status == COMMAND_DONE)
        status = read_time(request, OPTION_SINCE, "--since", &query.since_s);
    if (status == COMMAND_DONE)
        status = read_time(request, OPTION_UNTIL, "--until", &query.until_s);
    if (status == COMMAND_DONE && network_text &&
        !net_network_parse(network_text, &network, &error))
        status = command_misused(request, "--network: %s", error.text);
    if (status == COMMAND_DONE)
        status = query.user ? instance_open(request, &instance) : instance_read(request, &instance);
    if (status == COMMAND_DONE && query.user)
        status = instance_status(
            &instance, throttle_subject(instance.database, query.user, subject), query.user);
    if (!query.user)
        query.subject = NULL;
    if (status == COMMAND_DONE)
        status = list(request, &instance, &query);
    instance_close(&instance);
    return status;
}

/* ---- prune ---------------------------------------------------------------------------------- */

static enum command_status prune_events(const struct request *request, struct database *audit,
                                        int64_t before_s)
{
    bool only_says = request_has(request, OPTION_DRY_RUN);
    enum db_result result;
    int64_t n;

    result = audit_count(audit, before_s, &n);
    if (result == DB_OK && n &&
        !command_is_confirmed(request, "Delete %lld events for good", (long long)n))
        return COMMAND_FAILED;
    if (result == DB_OK && n && !only_says)
        result = audit_prune(audit, before_s);
    if (result == DB_FAILED)
        return command_refuse(COMMAND_FAILED, "%s", database_error(audit));
    if (request_has(request, OPTION_JSON))
        command_print_json(json_pack("{s:I, s:b}", "events", (json_int_t)n, "deleted", !only_says));
    else
        printf("%lld events %s deleted\n", (long long)n, only_says ? "would be" : "are");
    return COMMAND_DONE;
}

static enum command_status prune(const struct request *request)
{
    const char *age = request_value(request, OPTION_OLDER_THAN);
    struct instance instance = {0};
    struct database *audit = NULL;
    int64_t age_s;
    enum command_status status;

    if (!command_read_duration(age, &age_s))
        return command_misused(request, "--older-than \"%s\" is no duration such as 30d or 12h",
                               age);
    status = instance_read(request, &instance);
    if (status == COMMAND_DONE)
        audit = instance_open_audit(&instance);
    if (audit)
        status = prune_events(request, audit, clock_wall_s() - age_s);
    else
        status = COMMAND_FAILED;
    database_close(&audit);
    instance_close(&instance);
    return status;
}

#define JSON  TAKES(OPTION_JSON)
#define LINES TAKES(OPTION_LINES)
#define AGE   TAKES(OPTION_OLDER_THAN)
#define ASKS  (TAKES(OPTION_DRY_RUN) | TAKES(OPTION_YES))
#define WHICH                                                                                      \
    (TAKES(OPTION_USER) | TAKES(OPTION_NETWORK) | TAKES(OPTION_EVENT) | TAKES(OPTION_SINCE) |      \
     TAKES(OPTION_UNTIL))

/* clang-format off */
const struct command audit_commands[] = {
    {"audit", "tail",   NULL, JSON | LINES | TAKES(OPTION_FOLLOW), 0, "show what happened last", tail},
    {"audit", "search", NULL, JSON | LINES | WHICH, 0, "show what happened, of one user, from one network, at one time", search},
    {"audit", "prune",  NULL, JSON | ACTS | ASKS | AGE, AGE, "delete old events", prune},
    {0},
};
/* clang-format on */
