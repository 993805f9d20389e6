/* The users' table, on a real database. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "db/connection.h"
#include "db/users.h"
#include "tests/unit/scratch.h"

struct world {
    struct scratch scratch;
    struct database *database;
};

static int open_world(void **state)
{
    struct world *world = calloc(1, sizeof *world);
    struct error error;

    scratch_new(&world->scratch);
    world->database = database_open(scratch_path(&world->scratch, "s.db"), true, &error);
    *state = world;
    return world->database ? 0 : -1;
}

static int close_world(void **state)
{
    struct world *world = *state;

    database_close(&world->database);
    scratch_free(&world->scratch);
    free(world);
    return 0;
}

static enum db_result add(struct world *world, const char *name, const char *claims)
{
    json_t *object = json_loads(claims, 0, NULL);
    enum db_result result = users_add(world->database, name, "hash of it", object, 1000);

    json_decref(object);
    return result;
}

static void run(struct world *world, const char *sql)
{
    assert_int_equal(sqlite3_exec(world->database->sqlite, sql, NULL, NULL, NULL), SQLITE_OK);
}

static void a_user_comes_back_as_added(void **state)
{
    static const char claims[] = "{\"email\":\"ann@example.org\",\"roles\":[\"a\",\"\\u20ac\"],"
                                 "\"deep\":{\"n\":9007199254740993}}";
    struct world *world = *state;
    json_t *expected = json_loads(claims, 0, NULL);
    struct user user;

    assert_int_equal(add(world, "ann", claims), DB_OK);
    assert_int_equal(users_find(world->database, "ann", &user), DB_OK);
    assert_string_equal(user.name, "ann");
    assert_string_equal(user.hash, "hash of it");
    assert_true(json_equal(user.claims, expected));
    assert_false(user.disabled);
    assert_int_equal(user.created_s, 1000);
    assert_int_equal(user.changed_s, 1000);
    assert_true(user.id > 0);
    user_fini(&user);
    json_decref(expected);
}

static void a_taken_name_is_said_to_exist_and_changes_nothing(void **state)
{
    struct world *world = *state;
    struct user user;

    assert_int_equal(add(world, "ann", "{\"a\":1}"), DB_OK);
    assert_int_equal(add(world, "ann", "{\"a\":2}"), DB_EXISTS);
    assert_int_equal(users_find(world->database, "ann", &user), DB_OK);
    assert_int_equal(json_integer_value(json_object_get(user.claims, "a")), 1);
    user_fini(&user);
}

static void names_are_compared_byte_by_byte(void **state)
{
    static const char *const names[] = {"ann",       "Ann", "ann'; DROP TABLE users; --",
                                        "%",         "a_n", "Zo\u00eb",
                                        "Zoe\u0308", "123", "NULL"};
    struct world *world = *state;
    struct user user;

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        assert_int_equal(users_find(world->database, names[i], &user), DB_NOT_FOUND);
        assert_int_equal(add(world, names[i], "{}"), DB_OK);
        assert_int_equal(users_find(world->database, names[i], &user), DB_OK);
        assert_string_equal(user.name, names[i]);
        user_fini(&user);
    }
}

static void changes_reach_one_user_and_carry_their_time(void **state)
{
    struct world *world = *state;
    struct user user;

    add(world, "ann", "{}");
    add(world, "bob", "{}");
    assert_int_equal(users_set_hash(world->database, "ann", "another", 2000), DB_OK);
    assert_int_equal(users_set_disabled(world->database, "ann", true, 3000), DB_OK);
    assert_int_equal(users_find(world->database, "ann", &user), DB_OK);
    assert_string_equal(user.hash, "another");
    assert_true(user.disabled);
    assert_int_equal(user.created_s, 1000);
    assert_int_equal(user.changed_s, 3000);
    user_fini(&user);
    assert_int_equal(users_find(world->database, "bob", &user), DB_OK);
    assert_string_equal(user.hash, "hash of it");
    assert_false(user.disabled);
    user_fini(&user);
    assert_int_equal(users_set_disabled(world->database, "ann", false, 4000), DB_OK);
    assert_int_equal(users_find(world->database, "ann", &user), DB_OK);
    assert_false(user.disabled);
    user_fini(&user);
}

static void what_is_asked_of_nobody_is_not_found(void **state)
{
    struct world *world = *state;
    struct user user;

    assert_int_equal(users_find(world->database, "nobody", &user), DB_NOT_FOUND);
    assert_int_equal(users_set_hash(world->database, "nobody", "x", 1), DB_NOT_FOUND);
    assert_int_equal(users_set_disabled(world->database, "nobody", true, 1), DB_NOT_FOUND);
    assert_int_equal(users_delete(world->database, "nobody"), DB_NOT_FOUND);
}

static void an_id_is_never_used_again(void **state)
{
    struct world *world = *state;
    struct user user;
    int64_t last;

    add(world, "ann", "{}");
    add(world, "bob", "{}");
    assert_int_equal(users_find(world->database, "bob", &user), DB_OK);
    last = user.id;
    user_fini(&user);
    assert_int_equal(users_delete(world->database, "bob"), DB_OK);
    assert_int_equal(users_find(world->database, "bob", &user), DB_NOT_FOUND);
    assert_int_equal(add(world, "bob", "{}"), DB_OK);
    assert_int_equal(users_find(world->database, "bob", &user), DB_OK);
    assert_true(user.id > last);
    user_fini(&user);
}

struct names {
    char text[64];
    size_t left;
};

static bool collect(const struct user *user, void *context)
{
    struct names *names = context;

    strcat(strcat(names->text, user->name), " ");
    return --names->left > 0;
}

static void the_list_is_by_name_and_stops_when_told(void **state)
{
    struct world *world = *state;
    struct names all = {.left = 10}, two = {.left = 2}, again = {.left = 10};

    add(world, "carl", "{}");
    add(world, "ann", "{}");
    add(world, "bob", "{}");
    assert_int_equal(users_list(world->database, collect, &all), DB_OK);
    assert_string_equal(all.text, "ann bob carl ");
    assert_int_equal(users_list(world->database, collect, &two), DB_OK);
    assert_string_equal(two.text, "ann bob ");
    assert_int_equal(users_list(world->database, collect, &again), DB_OK);
    assert_string_equal(again.text, "ann bob carl ");
}

static void the_kinds_are_those_the_users_have_each_once(void **state)
{
    static char sha[] = "{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=",
                apr1[] = "$apr1$rzl4OA7G$xWkTnQS3QtVmYx.u/LONw0";
    static char names[][5] = {"ann", "bob", "carl"}, *const hashes[] = {sha, apr1, sha};
    struct world *world = *state;
    json_t *claims = json_object();
    struct kinds kinds;
    struct user bob;

    assert_int_equal(users_kinds(world->database, &kinds), DB_OK);
    assert_int_equal(kinds.n, 0);
    assert_int_equal(add(world, "of a kind nobody knows", "{}"), DB_OK);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(users_import(world->database,
                                      &(struct user){.name = names[i],
                                                     .hash = hashes[i],
                                                     .claims = claims,
                                                     .created_s = 1,
                                                     .disabled = i == 0},
                                      2),
                         DB_OK);
    assert_int_equal(users_kinds(world->database, &kinds), DB_OK);
    assert_int_equal(kinds.n, 2);
    assert_true(kinds_have(&kinds, "{SHA}") && kinds_have(&kinds, "$apr1$........"));

    assert_int_equal(users_find(world->database, "bob", &bob), DB_OK);
    assert_int_equal(users_replace_hash(world->database, &bob, sha, 3), DB_OK);
    assert_int_equal(users_kinds(world->database, &kinds), DB_OK);
    assert_int_equal(kinds.n, 1);
    user_fini(&bob);
    json_decref(claims);
}

static void a_row_that_cannot_be_read_is_our_failure(void **state)
{
    static const char *const bad[] = {"[]", "", "{\"a\":1,\"a\":2}", "{\"a\":", "null"};
    struct world *world = *state;
    struct names names = {.left = 10};
    struct user user;
    char sql[128];

    add(world, "ann", "{}");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(sql, sizeof sql, "UPDATE users SET claims = '%s'", bad[i]);
        run(world, sql);
        assert_int_equal(users_find(world->database, "ann", &user), DB_FAILED);
        assert_non_null(strstr(database_error(world->database), "user id 1"));
        assert_int_equal(users_list(world->database, collect, &names), DB_FAILED);
    }
    assert_string_equal(names.text, "");
}

static void a_failing_disk_is_neither_unknown_nor_taken(void **state)
{
    struct world *world = *state;
    struct user user;

    add(world, "ann", "{}");
    run(world, "PRAGMA query_only = ON");
    assert_int_equal(add(world, "ann", "{}"), DB_FAILED);
    assert_int_equal(add(world, "bob", "{}"), DB_FAILED);
    assert_int_equal(users_set_hash(world->database, "ann", "x", 1), DB_FAILED);
    assert_int_equal(users_delete(world->database, "nobody"), DB_FAILED);
    assert_true(strlen(database_error(world->database)) > 0);
    run(world, "PRAGMA query_only = OFF; ALTER TABLE users RENAME TO gone");
    assert_int_equal(users_find(world->database, "ann", &user), DB_FAILED);
    assert_non_null(strstr(database_error(world->database), "users"));
}

static void a_token_gets_the_users_claims_and_our_id(void **state)
{
    struct world *world = *state;
    struct user user;
    json_t *claims, *expected;

    add(world, "ann", "{\"first_name\":\"Ann\",\"id\":\"forged\"}");
    assert_int_equal(users_find(world->database, "ann", &user), DB_OK);
    claims = users_token_claims(&user);
    expected = json_pack("{s:s,s:I}", "first_name", "Ann", "id", (json_int_t)user.id);
    assert_true(json_equal(claims, expected));
    assert_string_equal(json_string_value(json_object_get(user.claims, "id")), "forged");
    json_decref(claims);
    json_decref(expected);
    user_fini(&user);
}

#define NAME(text)                                                                                 \
    {                                                                                              \
        text, sizeof text - 1                                                                      \
    }
static const struct {
    const char *text;
    size_t bytes;
} good[] = {NAME("a"),
            NAME("Ann Lee"),
            NAME("ann@example.org"),
            NAME("\u65e5\u672c"),
            NAME("\U0001f600"),
            NAME("\U0010fffd"),
            NAME("\u00ff"),
            NAME("a\u00a0b"),
            NAME("0123456789012345678901234567890123456789012345678901234567890123"
                 "0123456789012345678901234567890123456789012345678901234567890123")},
  bad[] = {NAME(""),
           NAME(" a"),
           NAME("a "),
           NAME(" "),
           NAME("\u00a0a"),
           NAME("a\u3000"),
           NAME("a\tb"),
           NAME("a:b"),
           NAME("a\nb"),
           NAME("a\0b"),
           NAME("\0"),
           NAME("a\x7f"),
           NAME("a\xc2\x85"
                "b"),
           NAME("a\x1b[31m"),
           NAME("a\u2028"
                "b"),
           NAME("\x80"),
           NAME("a\xc3"),
           NAME("\xc0\x80"),
           NAME("\xe0\x80\x80"),
           NAME("\xed\xa0\x80"),
           NAME("\xf0\x80\x80\x80"),
           NAME("\xf4\x90\x80\x80"),
           NAME("\xf8\x88\x80\x80\x80"),
           NAME("\xff"),
           NAME("a\xe2\x82"),
           NAME("\xe2(\xa1"),
           NAME("0123456789012345678901234567890123456789012345678901234567890123"
                "01234567890123456789012345678901234567890123456789012345678901234")};

static void names_are_utf8_without_controls_or_white_ends(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        if (!user_name_is_valid(good[i].text, good[i].bytes))
            fail_msg("good name %zu is refused", i);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (user_name_is_valid(bad[i].text, bad[i].bytes))
            fail_msg("bad name %zu is taken", i);
}

#define ON_DATABASE(test) cmocka_unit_test_setup_teardown(test, open_world, close_world)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_DATABASE(a_user_comes_back_as_added),
        ON_DATABASE(the_kinds_are_those_the_users_have_each_once),
        ON_DATABASE(a_taken_name_is_said_to_exist_and_changes_nothing),
        ON_DATABASE(names_are_compared_byte_by_byte),
        ON_DATABASE(changes_reach_one_user_and_carry_their_time),
        ON_DATABASE(what_is_asked_of_nobody_is_not_found),
        ON_DATABASE(an_id_is_never_used_again),
        ON_DATABASE(the_list_is_by_name_and_stops_when_told),
        ON_DATABASE(a_row_that_cannot_be_read_is_our_failure),
        ON_DATABASE(a_failing_disk_is_neither_unknown_nor_taken),
        ON_DATABASE(a_token_gets_the_users_claims_and_our_id),
        cmocka_unit_test(names_are_utf8_without_controls_or_white_ends),
    };

    return cmocka_run_group_tests_name("users", tests, NULL, NULL);
}
