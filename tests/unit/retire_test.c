/* `sallyport key retire`: a key goes when no token of its own can be alive, by a clock of ours. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/keyring.h"
#include "db/admin/command.h"
#include "db/revocations.h"
#include "tests/unit/scratch.h"

#define LIFETIME_S 3600
#define LATE_S     60 /* key.c's: a login service may be so slow to notice */

static struct scratch scratch;
static char config[256], keys[256];
static struct error error;

static enum command_status retire(const char *name, const char *force)
{
    const char *words[] = {"sallyport", "-c", config, "key", "retire", name, force, NULL};

    return command_line(force ? 7 : 6, (char **)(uintptr_t)words);
}

static bool is_there(const char *file)
{
    char path[512];

    snprintf(path, sizeof path, "%s/%s", keys, file);
    return access(path, F_OK) == 0;
}

static void make(enum key_algorithm algorithm, const char *name)
{
    char chosen[64];

    if (!keyring_generate(keys, algorithm, name, chosen, &error))
        fail_msg("%s", error.text);
}

static void announce(int64_t lifetime_s)
{
    struct revocations *revocations =
        revocations_open(scratch_path(&scratch, "revocations.db"), true, lifetime_s, &error);

    if (!revocations)
        fail_msg("%s", error.text);
    revocations_close(&revocations);
}

/* `old` signed until now, `new` does from now on. */
static int open_world(void **state)
{
    char text[1024];

    (void)state;
    scratch_new(&scratch);
    snprintf(keys, sizeof keys, "%s", scratch_path(&scratch, "keys"));
    snprintf(config, sizeof config, "%s", scratch_path(&scratch, "sallyport.conf"));
    snprintf(text, sizeof text,
             "keys = \"%s\"; token: { revocations = \"%s/revocations.db\"; lifetime = \"%ds\"; };",
             keys, scratch.folder, LIFETIME_S);
    scratch_write(config, text);
    if (mkdir(keys, 0700) != 0)
        return -1;
    announce(LIFETIME_S);
    make(KEY_ES256, "old");
    make(KEY_HS256, "new");
    return keyring_activate(keys, "old", &error) && keyring_activate(keys, "new", &error) ? 0 : -1;
}

static int close_world(void **state)
{
    (void)state;
    clock_thaw();
    scratch_free(&scratch);
    return 0;
}

/* The kernel's clock stands in the link, a little behind or ahead of this one: hence two seconds.
 */
static void turn(int64_t after_s)
{
    clock_freeze(0, (int64_t)time(NULL) + after_s);
}

static void it_goes_when_its_last_token_has_ended(void **state)
{
    (void)state;
    turn(LIFETIME_S + LATE_S - 2);
    assert_int_equal(retire("old", NULL), COMMAND_FAILED);
    assert_true(is_there("old.jwk") && is_there("private/old.jwk"));
    turn(LIFETIME_S + LATE_S + 2);
    assert_int_equal(retire("old", NULL), COMMAND_DONE);
    assert_false(is_there("old.jwk") || is_there("private/old.jwk"));
    assert_int_equal(retire("old", NULL), COMMAND_NOT_FOUND);
}

static void the_longest_token_that_was_ever_issued_counts(void **state)
{
    (void)state;
    announce(30 * LIFETIME_S);
    turn(LIFETIME_S + LATE_S + 2);
    assert_int_equal(retire("old", NULL), COMMAND_FAILED);
    turn(30 * LIFETIME_S + LATE_S + 2);
    assert_int_equal(retire("old", NULL), COMMAND_DONE);
}

static void force_does_not_wait(void **state)
{
    (void)state;
    assert_int_equal(retire("old", "--force"), COMMAND_DONE);
    assert_false(is_there("old.jwk") || is_there("private/old.jwk"));
}

static void what_signs_stays_even_by_force(void **state)
{
    (void)state;
    turn(100 * LIFETIME_S);
    assert_int_equal(retire("new", NULL), COMMAND_FAILED);
    assert_int_equal(retire("new", "--force"), COMMAND_FAILED);
    assert_true(is_there("new.jwk"));
}

static void what_nobody_can_know_wants_force(void **state)
{
    (void)state;
    turn(100 * LIFETIME_S);
    assert_int_equal(unlink(scratch_path(&scratch, "revocations.db")), 0);
    assert_int_equal(retire("old", NULL), COMMAND_FAILED);
    announce(LIFETIME_S);
    assert_int_equal(unlink(scratch_path(&scratch, "keys/private/old.jwk")), 0);
    assert_int_equal(retire("old", NULL), COMMAND_FAILED); /* it signs elsewhere */
    assert_int_equal(retire("old", "--force"), COMMAND_DONE);
    assert_int_equal(retire("../new", "--force"), COMMAND_NOT_FOUND);
}

#define IN_WORLD(test) cmocka_unit_test_setup_teardown(test, open_world, close_world)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_WORLD(it_goes_when_its_last_token_has_ended),
        IN_WORLD(the_longest_token_that_was_ever_issued_counts),
        IN_WORLD(force_does_not_wait),
        IN_WORLD(what_signs_stays_even_by_force),
        IN_WORLD(what_nobody_can_know_wants_force),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
