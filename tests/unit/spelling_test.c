/* Which word was meant. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <limits.h>
#include <string.h>

#include "common/spelling.h"

static void the_distance_is_the_fewest_changes(void **state)
{
    (void)state;
    assert_int_equal(spelling_distance("", ""), 0);
    assert_int_equal(spelling_distance("user", "user"), 0);
    assert_int_equal(spelling_distance("", "user"), 4);
    assert_int_equal(spelling_distance("user", ""), 4);
    assert_int_equal(spelling_distance("usr", "user"), 1);
    assert_int_equal(spelling_distance("user", "uses"), 1);
    assert_int_equal(spelling_distance("kitten", "sitting"), 3);
    assert_int_equal(spelling_distance("sitting", "kitten"), 3);
    assert_int_equal(spelling_distance("abc", "xyz"), 3);
}

static void what_is_too_long_is_far_from_everything(void **state)
{
    char long_word[1000], longest[64];

    (void)state;
    memset(long_word, 'a', sizeof long_word - 1);
    long_word[sizeof long_word - 1] = '\0';
    memset(longest, 'a', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    assert_int_equal(spelling_distance(long_word, "a"), UINT_MAX);
    assert_int_equal(spelling_distance("a", long_word), UINT_MAX);
    assert_int_equal(spelling_distance(longest, longest), 0);
    assert_int_equal(spelling_distance(longest, ""), 63);
    assert_false(spelling_is_near(long_word, long_word));
}

static void near_is_one_letter_and_one_more_for_every_four(void **state)
{
    (void)state;
    assert_true(spelling_is_near("ad", "add"));
    assert_true(spelling_is_near("lits", "list"));
    assert_false(spelling_is_near("x", "add"));
    assert_true(spelling_is_near("dsiable", "disable"));
    assert_false(spelling_is_near("enable", "show"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_distance_is_the_fewest_changes),
        cmocka_unit_test(what_is_too_long_is_far_from_everything),
        cmocka_unit_test(near_is_one_letter_and_one_more_for_every_four),
    };

    return cmocka_run_group_tests_name("spelling", tests, NULL, NULL);
}
