/* Revocations: what is dead, for how long, and what one sees who may only read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "db/connection.h"
#include "db/revocations.h"
#include "tests/unit/scratch.h"

#define NOBODY   65534
#define LIFETIME 100
#define DAY      86400 /* how much longer a row lives by the clock */

struct world {
    struct scratch scratch;
    const char *path;
    char path_text[128];
    struct revocations *revocations;
};

/* All rows, one after the other. */
struct seen {
    size_t n;
    char text[1024];
};

static struct revocations *opened(const char *path, bool create)
{
    struct error error;
    struct revocations *revocations = revocations_open(path, create, LIFETIME, &error);

    if (!revocations)
        fail_msg("%s", error.text);
    return revocations;
}

static int open_world(void **state)
{
    struct world *world = calloc(1, sizeof *world);

    scratch_new(&world->scratch);
    snprintf(world->path_text, sizeof world->path_text, "%s/r.db", world->scratch.folder);
    world->path = world->path_text;
    world->revocations = opened(world->path, true);
    *state = world;
    return 0;
}

static int close_world(void **state)
{
    struct world *world = *state;

    revocations_close(&world->revocations);
    assert_null(world->revocations);
    scratch_free(&world->scratch);
    free(world);
    return 0;
}

static void see(enum revocation_kind kind, const char *name, int64_t until_s, void *context)
{
    struct seen *seen = context;
    size_t length = strlen(seen->text);

    seen->n++;
    snprintf(seen->text + length, sizeof seen->text - length, "%s %s %lld;",
             kind == REVOCATION_USER ? "user" : "token", name, (long long)until_s);
}

static struct seen rows(struct revocations *revocations)
{
    struct seen seen = {0};
    struct error error;

    if (!revocations_list(revocations, see, &seen, &error))
        fail_msg("%s", error.text);
    return seen;
}

/* Time that passes for all clocks; the machine was started at 0. */
static void at(int64_t now_s)
{
    clock_freeze((uint64_t)now_s * 1000, now_s);
}

static void revoke_user(struct world *world, const char *user, int64_t now_s)
{
    struct error error;

    if (!revocations_add_user(world->revocations, user, now_s, &error))
        fail_msg("%s", error.text);
}

static void revoke_token(struct world *world, const char *jti, int64_t now_s)
{
    struct error error;

    if (!revocations_add_token(world->revocations, jti, now_s, &error))
        fail_msg("%s", error.text);
}

static int64_t first_iat(struct world *world, const char *user, int64_t now_s)
{
    struct error error;
    int64_t first_s;

    assert_true(revocations_first_iat(world->revocations, user, now_s, &first_s, &error));
    return first_s;
}

static bool has_changed(struct revocations *revocations)
{
    struct error error;
    bool changed;

    if (!revocations_have_changed(revocations, &changed, &error))
        fail_msg("%s", error.text);
    return changed;
}

static void what_was_issued_is_dead_and_what_is_issued_next_lives(void **state)
{
    struct world *world = *state;

    assert_int_equal(first_iat(world, "ann", 1000), 1000);
    revoke_user(world, "ann", 1000);
    assert_string_equal(rows(world->revocations).text, "user ann 1000;");
    assert_int_equal(first_iat(world, "ann", 1000), 1001);
    assert_int_equal(first_iat(world, "ann", 1001), 1001);
    assert_int_equal(first_iat(world, "ann", 1002), 1002);
    assert_int_equal(first_iat(world, "bob", 1000), 1000);
}

static void a_second_revocation_in_a_second_ends_what_was_dated_to_the_next(void **state)
{
    struct world *world = *state;

    revoke_user(world, "ann", 1000);
    assert_int_equal(first_iat(world, "ann", 1000), 1001);
    revoke_user(world, "ann", 1000);
    assert_string_equal(rows(world->revocations).text, "user ann 1001;");
    assert_int_equal(first_iat(world, "ann", 1000), 1002);
}

static void a_clock_set_back_brings_nothing_back_to_life(void **state)
{
    struct world *world = *state;

    revoke_user(world, "ann", 5000);
    revoke_user(world, "ann", 1000);
    assert_string_equal(rows(world->revocations).text, "user ann 5001;");
    assert_int_equal(first_iat(world, "ann", 1000), 5002);
}

static void a_clock_set_back_locks_nobody_out(void **state)
{
    struct world *world = *state;
    struct error error;
    int64_t iat_s;

    clock_freeze(5000000, 5000);
    revoke_user(world, "ann", 5000);
    clock_freeze(5001000, 1000);
    assert_true(revocations_date(world->revocations, "bob", &iat_s, &error));
    assert_int_equal(iat_s, 1000);
    assert_string_equal(rows(world->revocations).text, "user ann 5000;");
    assert_true(revocations_date(world->revocations, "ann", &iat_s, &error));
    assert_int_equal(iat_s, 1001);
    assert_string_equal(rows(world->revocations).text, "user ann 1000;");
    clock_thaw();
}

static void a_row_lives_as_long_as_a_token_may(void **state)
{
    struct world *world = *state;

    at(1000);
    revoke_user(world, "ann", 1000);
    revoke_token(world, "one", 1000);
    at(1001 + LIFETIME + DAY);
    revoke_token(world, "two", 1001 + LIFETIME + DAY);
    assert_int_equal(rows(world->revocations).n, 3);
    at(1002 + LIFETIME + DAY);
    revoke_token(world, "two", 1002 + LIFETIME + DAY);
    assert_string_equal(rows(world->revocations).text, "token two 87502;");
    clock_thaw();
}

/* Where it is wrong, everything seems over for a moment. */
static void a_clock_set_forward_and_back_forgets_nothing(void **state)
{
    struct world *world = *state;

    clock_freeze(5000000, 1000);
    revoke_user(world, "ann", 1000);
    clock_freeze(5001000, 1000 + 365 * DAY);
    revoke_token(world, "one", 1000 + 365 * DAY);
    clock_freeze(5002000, 1002);
    revoke_token(world, "two", 1002);
    assert_int_equal(rows(world->revocations).n, 3);
    assert_int_equal(first_iat(world, "ann", 1000), 1001);
    /* A day later by what passed, but not by a clock that was set back. */
    clock_freeze((5000 + 2 * DAY) * 1000L, 900);
    revoke_token(world, "two", 900);
    assert_int_equal(rows(world->revocations).n, 3);
    clock_freeze((5000 + 2 * DAY) * 1000L, 1000 + 2 * DAY);
    revoke_token(world, "one", 1000 + 2 * DAY);
    assert_string_equal(rows(world->revocations).text, "token one 31537000;token two 1002;");
    clock_thaw();
}

/* How long the machine was off nobody knows. */
static void after_a_restart_only_what_passed_since_counts(void **state)
{
    struct world *world = *state;

    clock_freeze(5000000, 1000);
    revoke_user(world, "ann", 1000);
    clock_freeze(LIFETIME * 1000, 1000 + 3 * DAY);
    revoke_token(world, "one", 1000 + 3 * DAY);
    assert_int_equal(rows(world->revocations).n, 2);
    clock_freeze((LIFETIME + 2) * 1000, 1002 + 3 * DAY);
    revoke_token(world, "one", 1002 + 3 * DAY);
    assert_int_equal(rows(world->revocations).n, 1);
    clock_thaw();
}

/* One that was issued while the clock was ahead is good when that time has come. */
static void what_expires_later_is_revoked_for_longer(void **state)
{
    static const char *const jtis[] = {"ahead"};
    struct world *world = *state;
    struct error error;

    at(1000);
    assert_true(revocations_add(world->revocations, NULL, jtis, 1, 1000 + 9 * DAY, 1000, &error));
    at(1000 + 5 * DAY);
    revoke_token(world, "one", 1000 + 5 * DAY);
    assert_int_equal(rows(world->revocations).n, 2);
    at(1002 + 10 * DAY);
    revoke_token(world, "one", 1002 + 10 * DAY);
    assert_int_equal(rows(world->revocations).n, 1);
    clock_thaw();
}

/* Whoever may only read cannot bring it up to date. */
static void a_file_of_the_first_schema_can_be_read(void **state)
{
    struct world *world = *state;
    struct error error = {""};
    struct database *database;
    struct revocations *reader;

    revoke_user(world, "ann", 1000);
    database = connection_open(&schema_revocations, world->path, false, &error);
    assert_int_equal(sqlite3_exec(database->sqlite,
                                  "ALTER TABLE revocations DROP COLUMN elapsed_s;"
                                  "ALTER TABLE longest DROP COLUMN elapsed_s;"
                                  "ALTER TABLE longest DROP COLUMN uptime_s;"
                                  "PRAGMA user_version = 1",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
    database_close(&database);
    reader = revocations_open_reader(world->path, &error);
    assert_non_null(reader);
    assert_string_equal(rows(reader).text, "user ann 1000;");
    revocations_close(&world->revocations);
    world->revocations = opened(world->path, false);
    assert_string_equal(rows(reader).text, "user ann 1000;");
    revocations_close(&reader);
    assert_int_equal(access(scratch_path(&world->scratch, "r.db.schema-1"), F_OK), 0);
}

static void the_longest_lifetime_ever_announced_counts(void **state)
{
    struct world *world = *state;
    struct revocations *other = opened(world->path, false);
    struct error error;

    assert_true(revocations_announce(other, 1000, &error));
    assert_true(revocations_announce(other, 10, &error));
    revocations_close(&other);
    at(1000);
    revoke_user(world, "ann", 1000);
    at(2001 + DAY);
    revoke_token(world, "one", 2001 + DAY);
    assert_int_equal(rows(world->revocations).n, 2);
    at(2002 + DAY);
    revoke_token(world, "one", 2002 + DAY);
    assert_int_equal(rows(world->revocations).n, 1);
    clock_thaw();
}

static void a_name_of_a_user_is_no_name_of_a_token(void **state)
{
    struct world *world = *state;

    revoke_token(world, "ann", 1000);
    assert_int_equal(first_iat(world, "ann", 1000), 1000);
    revoke_user(world, "ann", 1000);
    assert_int_equal(rows(world->revocations).n, 2);
}

static void a_reader_sees_each_change_once(void **state)
{
    struct world *world = *state;
    struct error error;
    struct revocations *reader = revocations_open_reader(world->path, &error);

    assert_non_null(reader);
    assert_true(has_changed(reader));
    assert_false(has_changed(reader));
    revoke_user(world, "ann", 1000);
    assert_true(has_changed(reader));
    assert_string_equal(rows(reader).text, "user ann 1000;");
    assert_false(has_changed(reader));
    revoke_token(world, "one", 1000);
    revoke_token(world, "two", 1000);
    assert_true(has_changed(reader));
    assert_int_equal(rows(reader).n, 3);
    assert_false(has_changed(reader));
    assert_false(revocations_add_user(reader, "bob", 1000, &error));
    revocations_close(&reader);
}

static void a_reader_follows_to_the_file_that_takes_the_place(void **state)
{
    struct world *world = *state;
    const char *fresh = scratch_path(&world->scratch, "fresh.db");
    struct revocations *other = opened(fresh, true);
    struct error error = {""};
    struct revocations *reader = revocations_open_reader(world->path, &error);
    bool changed;

    assert_true(revocations_add_user(other, "restored", 1, &error));
    revocations_close(&other);
    assert_true(has_changed(reader));
    assert_int_equal(rename(fresh, world->path), 0);
    assert_true(has_changed(reader));
    assert_string_equal(rows(reader).text, "user restored 1;");
    assert_int_equal(unlink(world->path), 0);
    assert_false(revocations_have_changed(reader, &changed, &error));
    assert_non_null(strstr(error.text, "No such file"));
    scratch_write(world->path, "no database");
    assert_false(revocations_have_changed(reader, &changed, &error));
    assert_string_equal(rows(reader).text, "user restored 1;");
    revocations_close(&reader);
}

/* As another user, in a folder that cannot be listed, with a umask that forbids everything. */
static void who_may_read_the_file_needs_nothing_else(void **state)
{
    struct world *world = *state;
    struct stat status;
    int ended;

    revoke_user(world, "ann", 1000);
    assert_int_equal(stat(world->path, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0640);
    if (geteuid() == 0)
        assert_int_equal(chown(world->path, 0, NOBODY), 0);
    chmod(world->scratch.folder, 0711);
    if (fork() == 0) {
        struct error error;
        struct revocations *reader;
        struct seen seen = {0};

        if (geteuid() == 0 && (setresgid(NOBODY, NOBODY, NOBODY) || setresuid(1, 1, 1)))
            _exit(2);
        reader = revocations_open_reader(world->path, &error);
        _exit(reader && revocations_list(reader, see, &seen, &error) && seen.n == 1 ? 0 : 1);
    }
    assert_true(wait(&ended) > 0);
    assert_int_equal(ended, 0);
}

static void it_is_made_only_when_asked_and_its_absence_explained(void **state)
{
    struct world *world = *state;
    const char *path = scratch_path(&world->scratch, "absent.db");
    struct error error;

    assert_null(revocations_open(path, false, LIFETIME, &error));
    assert_non_null(strstr(error.text, "token.revocations"));
    assert_non_null(strstr(error.text, "good again"));
    assert_null(revocations_open_reader(path, &error));
    assert_non_null(strstr(error.text, "good again"));
    assert_int_equal(access(path, F_OK), -1);
}

/* Each process revokes its own; a reader looks on meanwhile and sees no row twice or half.  On a
 * slow disk it may find no gap between the writers, and look again. */
static void processes_that_write_at_once_lose_nothing(void **state)
{
    enum { PROCESSES = 4, EACH = 25 };
    struct world *world = *state;
    struct error error;
    struct revocations *reader = revocations_open_reader(world->path, &error);
    size_t n = 0;
    int ended;

    for (int i = 0; i < PROCESSES; i++)
        if (fork() == 0) {
            struct revocations *own = revocations_open(world->path, false, LIFETIME, &error);
            char jti[32];
            bool done = own;

            for (int k = 0; k < EACH && done; k++) {
                snprintf(jti, sizeof jti, "%d-%d", i, k);
                done = revocations_add_token(own, jti, 1000, &error);
            }
            _exit(done ? 0 : 1);
        }
    for (int i = 0; i < PROCESSES;) {
        struct seen now = {0};

        if (revocations_list(reader, see, &now, &error)) {
            assert_true(now.n >= n);
            n = now.n;
        } else {
            assert_non_null(strstr(error.text, "locked"));
        }
        if (waitpid(-1, &ended, WNOHANG) > 0) {
            assert_int_equal(ended, 0);
            i++;
        }
    }
    assert_int_equal(rows(reader).n, PROCESSES * EACH);
    revocations_close(&reader);
}

#define IN_WORLD(test) cmocka_unit_test_setup_teardown(test, open_world, close_world)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_WORLD(what_was_issued_is_dead_and_what_is_issued_next_lives),
        IN_WORLD(a_second_revocation_in_a_second_ends_what_was_dated_to_the_next),
        IN_WORLD(a_clock_set_back_brings_nothing_back_to_life),
        IN_WORLD(a_row_lives_as_long_as_a_token_may),
        IN_WORLD(a_clock_set_back_locks_nobody_out),
        IN_WORLD(a_clock_set_forward_and_back_forgets_nothing),
        IN_WORLD(after_a_restart_only_what_passed_since_counts),
        IN_WORLD(what_expires_later_is_revoked_for_longer),
        IN_WORLD(a_file_of_the_first_schema_can_be_read),
        IN_WORLD(the_longest_lifetime_ever_announced_counts),
        IN_WORLD(a_name_of_a_user_is_no_name_of_a_token),
        IN_WORLD(a_reader_sees_each_change_once),
        IN_WORLD(a_reader_follows_to_the_file_that_takes_the_place),
        IN_WORLD(who_may_read_the_file_needs_nothing_else),
        IN_WORLD(it_is_made_only_when_asked_and_its_absence_explained),
        IN_WORLD(processes_that_write_at_once_lose_nothing),
    };

    return cmocka_run_group_tests_name("revocations", tests, NULL, NULL);
}
