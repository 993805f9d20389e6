/* The audit: what is found again, and how much of it stays. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "common/clock.h"
#include "db/connection.h"
#include "login-fcgi/recorder.h"
#include "tests/unit/scratch.h"

#define DAY 86400

static const unsigned char nobody[THROTTLE_SUBJECT_BYTES] = "0123456789abcde";

struct world {
    struct scratch scratch;
    char path[128];
    struct config config;
    struct database *audit;
};

static struct database *opened(const char *path)
{
    struct error error;
    struct database *audit = audit_open(path, &error);

    if (!audit)
        fail_msg("%s", error.text);
    return audit;
}

static int open_world(void **state)
{
    struct world *world = calloc(1, sizeof *world);

    scratch_new(&world->scratch);
    snprintf(world->path, sizeof world->path, "%s/audit.db", world->scratch.folder);
    world->audit = opened(world->path);
    world->config = (struct config){.login_database = "", .login_audit = world->path};
    *state = world;
    return 0;
}

static int close_world(void **state)
{
    struct world *world = *state;

    database_close(&world->audit);
    scratch_free(&world->scratch);
    free(world);
    return 0;
}

static void add(struct world *world, struct audit_event event)
{
    const struct audit_bounds none = {0};

    event.result = event.result ? event.result : "ok";
    assert_int_equal(audit_write(world->audit, &event, 1, &none, event.at_s), DB_OK);
}

/* "AT EVENT USER;" of each. */
static void see(const struct audit_event *event, void *context)
{
    char *text = context;
    size_t used = strlen(text);

    snprintf(text + used, 1024 - used, "%lld %s %s;", (long long)event->at_s, event->event,
             event->user      ? event->user
             : event->subject ? "?"
             : event->detail  ? event->detail
                              : "-");
}

static void assert_found(struct world *world, struct audit_query query, const char *expected)
{
    char text[1024] = "";

    assert_int_equal(audit_list(world->audit, &query, see, text), DB_OK);
    assert_string_equal(text, expected);
}

static void an_event_is_found_by_what_it_says(void **state)
{
    struct world *world = *state;

    add(world, (struct audit_event){.at_s = 1, .event = "login", .user = "ann"});
    add(world, (struct audit_event){.at_s = 2, .event = "login", .subject = nobody});
    add(world, (struct audit_event){.at_s = 3, .event = "user add", .user = "bob", .actor = "o"});
    add(world, (struct audit_event){.at_s = 4, .event = "username", .user = "o' OR 1"});
    assert_found(world, (struct audit_query){0},
                 "1 login ann;2 login ?;3 user add bob;4 username o' OR 1;");
    assert_found(world, (struct audit_query){.user = "ann", .subject = nobody},
                 "1 login ann;2 login ?;");
    assert_found(world, (struct audit_query){.user = "o' OR 1"}, "4 username o' OR 1;");
    assert_found(world, (struct audit_query){.event = "user"}, "3 user add bob;");
    assert_found(world, (struct audit_query){.event = "user add"}, "3 user add bob;");
    assert_found(world, (struct audit_query){.since_s = 2, .until_s = 4},
                 "2 login ?;3 user add bob;");
    assert_found(world, (struct audit_query){.most = 2}, "3 user add bob;4 username o' OR 1;");
    assert_found(world, (struct audit_query){.after_id = 3}, "4 username o' OR 1;");
}

static void a_network_is_every_address_in_it_and_no_other(void **state)
{
    static const struct {
        const char *network, *expected;
    } cases[] = {
        {"192.0.2.0/24", "1 login -;2 login -;"},
        {"192.0.2.7", "1 login -;"},
        {"192.0.2.128/25", "2 login -;"},
        {"0.0.0.0/0", "1 login -;2 login -;3 login -;"},
        {"2001:db8::/32", "4 login -;"},
        {"::/0", "1 login -;2 login -;3 login -;4 login -;"},
        {"203.0.113.0/24", ""},
    };
    static const char *const addresses[] = {"192.0.2.7", "192.0.2.200", "192.0.3.1", "2001:db8::1",
                                            "nowhere"};
    struct world *world = *state;
    struct net_network network;
    struct error error;

    for (size_t i = 0; i < 5; i++)
        add(world, (struct audit_event){
                       .at_s = (int64_t)i + 1, .event = "login", .address = addresses[i]});
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_true(net_network_parse(cases[i].network, &network, &error));
        assert_found(world, (struct audit_query){.network = &network}, cases[i].expected);
    }
}

/* So many that it is looked at for sure. */
static void add_many(struct world *world, const char *result, const struct audit_bounds *bounds,
                     int64_t now_s)
{
    struct audit_event events[AUDIT_MOST_AT_ONCE];

    for (size_t i = 0; i < AUDIT_MOST_AT_ONCE; i++)
        events[i] = (struct audit_event){.at_s = now_s, .event = "login", .result = result};
    assert_int_equal(audit_write(world->audit, events, AUDIT_MOST_AT_ONCE, bounds, now_s), DB_OK);
}

static int64_t count(struct world *world)
{
    int64_t n;

    assert_int_equal(audit_count(world->audit, INT64_MAX, &n), DB_OK);
    return n;
}

static void the_oldest_go_and_no_flood_of_refusals_drives_out_the_rest(void **state)
{
    struct world *world = *state;
    const struct audit_bounds rows = {.rows = 200}, age = {.age_s = DAY};

    add(world, (struct audit_event){.at_s = 1, .event = "user add", .user = "ann"});
    add(world, (struct audit_event){.at_s = 2, .event = "x", .result = "wrong password"});
    for (int i = 0; i < 3; i++)
        add_many(world, "wrong password", &rows, 3);
    assert_int_equal(count(world), 101);
    assert_found(world, (struct audit_query){.event = "user"}, "1 user add ann;");
    assert_found(world, (struct audit_query){.event = "x"}, "");
    add_many(world, "ok", &rows, 4);
    assert_int_equal(count(world), 200);
    assert_found(world, (struct audit_query){.event = "user"}, "");
    add_many(world, "ok", &age, DAY + 4);
    assert_int_equal(count(world), 1100);
}

static void a_clock_that_is_wrong_for_a_moment_costs_only_some(void **state)
{
    struct world *world = *state;
    const struct audit_bounds none = {0}, age = {.age_s = DAY}, rows = {.rows = 3000};

    for (int i = 0; i < 3; i++)
        add_many(world, "ok", &none, 1000);
    add_many(world, "ok", &age, INT32_MAX);
    assert_int_equal(count(world), 2000);
    assert_int_equal(audit_prune(world->audit, 1000), DB_OK);
    assert_int_equal(count(world), 2000);
    assert_int_equal(audit_prune(world->audit, 1001), DB_OK);
    assert_int_equal(count(world), 1000);
    add_many(world, "ok", &rows, INT32_MAX);
    assert_int_equal(count(world), 1500);
}

/* A file from before they were counted as they come and go. */
static void what_an_older_file_holds_counts_too(void **state)
{
    struct world *world = *state;
    const struct audit_bounds rows = {.rows = 3000};
    sqlite3 *sqlite = world->audit->sqlite;

    add_many(world, "ok", &rows, 1);
    assert_int_equal(sqlite3_exec(sqlite,
                                  "DROP TRIGGER events_added; DROP TRIGGER events_gone;"
                                  "DROP TABLE kept; PRAGMA user_version = 2",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
    database_close(&world->audit);
    world->audit = opened(world->path);
    add_many(world, "ok", &rows, 2);
    assert_int_equal(count(world), 1500);
}

static void note(struct recorder *recorder, const char *user)
{
    recorder_note(recorder, LOG_LEVEL_DEBUG,
                  &(struct audit_event){.event = "login", .user = user, .address = "192.0.2.1"});
}

static struct recorder *recording(struct world *world, bool background)
{
    struct error error;
    struct recorder *recorder = recorder_open(&world->config, background, &error);

    if (!recorder)
        fail_msg("%s", error.text);
    return recorder;
}

static void what_is_noted_is_written_before_the_end(void **state)
{
    struct world *world = *state;

    clock_freeze(1, 7);
    for (int background = 0; background < 2; background++) {
        struct recorder *recorder = recording(world, background);

        note(recorder, "ann");
        recorder_close(&recorder);
        assert_null(recorder);
    }
    clock_thaw();
    assert_found(world, (struct audit_query){0}, "7 login ann;7 login ann;");
}

static void what_does_not_fit_is_counted(void **state)
{
    struct world *world = *state;
    struct recorder *recorder = recording(world, false);

    clock_freeze(1, 7);
    for (int i = 0; i < AUDIT_MOST_AT_ONCE + 3; i++)
        note(recorder, i < 2 ? "ann" : "bob");
    recorder_close(&recorder);
    clock_thaw();
    assert_found(world, (struct audit_query){.event = "audit"}, "7 audit 3 events;");
    assert_found(world, (struct audit_query){.user = "ann"}, "7 login ann;7 login ann;");
}

#define IN_WORLD(test) cmocka_unit_test_setup_teardown(test, open_world, close_world)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_WORLD(an_event_is_found_by_what_it_says),
        IN_WORLD(a_network_is_every_address_in_it_and_no_other),
        IN_WORLD(the_oldest_go_and_no_flood_of_refusals_drives_out_the_rest),
        IN_WORLD(a_clock_that_is_wrong_for_a_moment_costs_only_some),
        IN_WORLD(what_an_older_file_holds_counts_too),
        IN_WORLD(what_is_noted_is_written_before_the_end),
        IN_WORLD(what_does_not_fit_is_counted),
    };

    return cmocka_run_group_tests_name("audit", tests, NULL, NULL);
}
