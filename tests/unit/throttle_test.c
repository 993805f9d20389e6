/* Counting guesses: who has to wait, who never has to, and that time forgets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>
#include <sys/wait.h>

#include "db/connection.h"
#include "db/throttle.h"
#include "db/users.h"
#include "tests/unit/scratch.h"

#define HOME     "192.0.2.1"
#define ATTACKER "198.51.100.1"

struct world {
    struct scratch scratch;
    char path[128];
    struct database *database;
    unsigned guesses;
};

static int open_world(void **state)
{
    struct world *world = calloc(1, sizeof *world);
    json_t *claims = json_object();
    struct error error;

    scratch_new(&world->scratch);
    snprintf(world->path, sizeof world->path, "%s/s.db", world->scratch.folder);
    world->database = database_open(world->path, true, &error);
    *state = world;
    if (!world->database || users_add(world->database, "ann", "hash", claims, 1) != DB_OK)
        return -1;
    json_decref(claims);
    return 0;
}

static int close_world(void **state)
{
    struct world *world = *state;

    database_close(&world->database);
    scratch_free(&world->scratch);
    free(world);
    return 0;
}

/* 0: it was let through, and ended so; else the seconds to wait. */
static unsigned try(struct world *world, const char *name, const char *address, int64_t now_s,
                    enum throttle_outcome outcome, unsigned password)
{
    unsigned char print[PASSWORD_FINGERPRINT_BYTES] = {0};
    struct throttle_attempt attempt;
    unsigned wait_s = 0;
    int64_t id = strcmp(name, "ann") == 0;
    enum throttle_result result =
        throttle_reserve(world->database, name, id, address, now_s, &attempt, &wait_s);

    memcpy(print, &password, sizeof password);
    assert_int_not_equal(result, THROTTLE_FAILED);
    assert_int_equal(result == THROTTLE_WAIT, wait_s > 0);
    if (result == THROTTLE_PASS)
        assert_int_equal(throttle_settle(world->database, &attempt, outcome, print, now_s), DB_OK);
    return wait_s;
}

static unsigned guess(struct world *world, const char *name, const char *address, int64_t now_s)
{
    return try(world, name, address, now_s, THROTTLE_WRONG, ++world->guesses);
}

static unsigned log_in(struct world *world, const char *address, int64_t now_s)
{
    return try(world, "ann", address, now_s, THROTTLE_RIGHT, 0);
}

static void a_few_are_free_and_then_each_costs_twice_the_wait(void **state)
{
    static const unsigned waits[] = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900};
    struct world *world = *state;
    int64_t now_s = 1000;

    for (int i = 0; i < 11; i++)
        assert_int_equal(guess(world, "ann", HOME, now_s), 0);
    for (size_t i = 0; i < sizeof waits / sizeof *waits; i++) {
        unsigned wait_s = guess(world, "ann", HOME, now_s);

        /* What is forgotten meanwhile makes it less than twice in the end. */
        assert_true(wait_s <= waits[i] && wait_s >= (i < 8 ? waits[i] : 64));
        assert_int_equal(guess(world, "ann", "192.0.2.200", now_s), wait_s);
        assert_true(guess(world, "ann", HOME, now_s + wait_s - 1) == 1 || wait_s == 1);
        now_s += wait_s;
        assert_int_equal(guess(world, "ann", HOME, now_s), 0);
    }
    assert_int_equal(guess(world, "ann", HOME, now_s + 100000), 0);
}

static void users_that_do_not_exist_count_the_same(void **state)
{
    struct world *world = *state;
    int64_t now_s = 1000;

    for (int i = 0; i < 40; i++, now_s += i % 7) {
        unsigned real = guess(world, "ann", HOME, now_s);

        assert_int_equal(guess(world, "nobody", "203.0.113.9", now_s), real);
    }
}

static void the_same_wrong_password_again_does_not_escalate(void **state)
{
    struct world *world = *state;

    for (int i = 0; i < 200; i++)
        assert_int_equal(try(world, "ann", HOME, 1000, THROTTLE_WRONG, 7), 0);
    for (int i = 0; i < 10; i++)
        assert_int_equal(guess(world, "ann", HOME, 1000), 0);
    assert_int_not_equal(guess(world, "ann", HOME, 1000), 0);
}

static void who_gets_in_starts_anew(void **state)
{
    struct world *world = *state;

    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < 4; i++)
            assert_int_equal(guess(world, "ann", HOME, 1000), 0);
        assert_int_equal(log_in(world, HOME, 1000), 0);
    }
}

static void what_we_failed_in_is_not_counted(void **state)
{
    struct world *world = *state;

    for (int i = 0; i < 300; i++)
        assert_int_equal(try(world, "ann", HOME, 1000, THROTTLE_UNDECIDED, 0), 0);
}

/* One network, many names: a spray. */
static void a_network_that_guesses_at_everybody_has_to_wait(void **state)
{
    struct world *world = *state;
    char name[32];
    unsigned passed = 0;

    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "user%d", i);
        passed += guess(world, name, ATTACKER, 1000) == 0;
    }
    assert_int_equal(passed, 101);
    assert_int_not_equal(guess(world, "ann", "198.51.100.77", 1000), 0);
    assert_int_equal(guess(world, "ann", "198.51.101.1", 1000), 0);
}

/* However many guess from wherever, the owner is let in at home at once, and elsewhere after a wait
 * that nobody can make longer. */
static void an_attack_slows_a_user_and_never_shuts_them_out(void **state)
{
    struct world *world = *state;
    char address[32];
    int64_t now_s = 100000;
    unsigned wait_s;

    assert_int_equal(log_in(world, HOME, now_s), 0);
    for (int i = 0; i < 500; i++) {
        snprintf(address, sizeof address, "198.%d.%d.1", 18 + i / 250, i % 250);
        guess(world, "ann", address, now_s);
        assert_int_equal(log_in(world, HOME, now_s), 0);
    }
    /* Those who had to wait come again, and more often. */
    for (int round = 0; round < 3; round++, now_s += 61)
        for (int i = 0; i < 200; i++) {
            snprintf(address, sizeof address, "198.18.%d.1", i);
            guess(world, "ann", address, now_s);
        }
    wait_s = log_in(world, "203.0.113.5", now_s);
    assert_true(wait_s > 30 && wait_s <= 60);
    for (int i = 0; i < 500; i++) {
        snprintf(address, sizeof address, "100.%d.%d.1", 64 + i / 250, i % 250);
        guess(world, "ann", address, now_s + 1);
    }
    assert_int_equal(log_in(world, "203.0.113.5", now_s + 1), wait_s - 1);
    assert_int_equal(log_in(world, "203.0.113.5", now_s + wait_s), 0);
    assert_int_equal(log_in(world, "203.0.113.200", now_s + wait_s), 0); /* known from now on */
    assert_int_equal(log_in(world, HOME, now_s + wait_s), 0);
    /* For the same wait the attacker's networks get one guess each. */
    assert_int_equal(guess(world, "ann", "100.64.1.1", now_s + 61), 0);
    assert_true(guess(world, "ann", "100.64.1.1", now_s + 61) > 0);
}

static void a_clock_set_back_locks_nobody_out(void **state)
{
    struct world *world = *state;

    for (int i = 0; i < 30; i++)
        guess(world, "ann", HOME, 10000000);
    assert_true(guess(world, "ann", HOME, 10000000) > 0);
    assert_int_equal(log_in(world, HOME, 1000), 0);
}

/* Of two at once the one that looked at the clock first may be counted last. */
static void an_attempt_of_the_second_before_is_not_refused(void **state)
{
    struct world *world = *state;

    assert_int_equal(guess(world, "ann", HOME, 1001), 0);
    assert_int_equal(log_in(world, HOME, 1000), 0);
    assert_int_equal(log_in(world, HOME, 1001), 0);
    assert_int_equal(guess(world, "ann", HOME, 1000), 0);
}

static void networks_are_as_wide_as_said(void **state)
{
    struct world *world = *state;

    for (int i = 0; i < 11; i++)
        guess(world, "ann", "2001:db8:1:2::1", 1000);
    assert_true(guess(world, "ann", "2001:db8:1:2:ffff::9", 1000) > 0);
    assert_int_equal(guess(world, "ann", "2001:db8:1:3::1", 1000), 0);
    assert_int_equal(guess(world, "ann", "::ffff:192.0.2.9", 1000), 0);
    for (int i = 0; i < 10; i++)
        guess(world, "ann", HOME, 1000);
    assert_true(guess(world, "ann", "::ffff:192.0.2.9", 1000) > 0);
    assert_int_equal(guess(world, "bob", "nowhere", 1000), 0);
}

/* Counted before it is hashed: many at once are as many. */
static void many_at_once_are_counted_as_many(void **state)
{
    enum { PROCESSES = 8, EACH = 5 };
    struct world *world = *state;
    int passed = 0, ended;

    for (int i = 0; i < PROCESSES; i++)
        if (fork() == 0) {
            struct error error;
            struct throttle_attempt attempt;
            struct database *database = database_open(world->path, false, &error);
            unsigned wait_s;
            int n = 0;

            for (int k = 0; k < EACH && database; k++)
                n += throttle_reserve(database, "ann", 1, HOME, 1000, &attempt, &wait_s) ==
                     THROTTLE_PASS;
            _exit(database ? n : 99);
        }
    for (int i = 0; i < PROCESSES; i++) {
        assert_true(wait(&ended) > 0);
        passed += WEXITSTATUS(ended);
    }
    assert_int_equal(passed, 11);
}

static int64_t ask(struct world *world, const char *sql)
{
    sqlite3_stmt *statement;
    int64_t answer;

    assert_int_equal(sqlite3_prepare_v2(world->database->sqlite, sql, -1, &statement, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    answer = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return answer;
}

static void what_is_old_is_forgotten(void **state)
{
    struct world *world = *state;
    char name[32];

    for (int i = 0; i < 50; i++) {
        snprintf(name, sizeof name, "old%d", i);
        guess(world, name, HOME, 1000);
    }
    for (int i = 0; i < 1000; i++)
        try(world, "ann", ATTACKER, 100000, THROTTLE_WRONG, 1);
    assert_int_equal(ask(world, "SELECT count(*) FROM throttle"), 3);
}

/* A flood of names, of which each is guessed at once, by networks of which each guesses little. */
static void what_is_counted_has_an_end_and_who_guesses_much_stays(void **state)
{
    struct world *world = *state;

    for (int i = 0; i < 12; i++)
        guess(world, "ann", ATTACKER, 1000);
    assert_int_equal(
        sqlite3_exec(
            world->database->sqlite,
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 120000)"
            "INSERT INTO throttle SELECT 0, 'x', CAST(i AS BLOB), i % 3, 0, 1000,"
            " CASE WHEN i = 42 THEN 1030 ELSE 0 END, x'00' FROM n",
            NULL, NULL, NULL),
        SQLITE_OK);
    for (int i = 0; i < 2000; i++)
        log_in(world, HOME, 1000);
    assert_true(ask(world, "SELECT count(*) FROM throttle") <= 90002);
    assert_int_equal(ask(world, "SELECT count(*) FROM throttle WHERE ticket_s = 1030"), 1);
    assert_int_not_equal(guess(world, "ann", ATTACKER, 1000), 0);
}

#define IN_WORLD(test) cmocka_unit_test_setup_teardown(test, open_world, close_world)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_WORLD(a_few_are_free_and_then_each_costs_twice_the_wait),
        IN_WORLD(users_that_do_not_exist_count_the_same),
        IN_WORLD(the_same_wrong_password_again_does_not_escalate),
        IN_WORLD(who_gets_in_starts_anew),
        IN_WORLD(what_we_failed_in_is_not_counted),
        IN_WORLD(a_network_that_guesses_at_everybody_has_to_wait),
        IN_WORLD(an_attack_slows_a_user_and_never_shuts_them_out),
        IN_WORLD(a_clock_set_back_locks_nobody_out),
        IN_WORLD(an_attempt_of_the_second_before_is_not_refused),
        IN_WORLD(networks_are_as_wide_as_said),
        IN_WORLD(many_at_once_are_counted_as_many),
        IN_WORLD(what_is_old_is_forgotten),
        IN_WORLD(what_is_counted_has_an_end_and_who_guesses_much_stays),
    };

    return cmocka_run_group_tests_name("throttle", tests, NULL, NULL);
}
