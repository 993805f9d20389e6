#include "common/scratch.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define SECRET "thisIsSecret"

static json_t *many_strings(void)
{
    json_t *list = json_array();

    for (int i = 0; i < 1000; i++)
        json_array_append_new(list, json_sprintf("%s %d", SECRET, i));
    return list;
}

static void what_was_made_in_between_leaves_nothing_behind(void **state)
{
    const char *text;

    (void)state;
    scratch_begin();
    text = json_string_value(json_string(SECRET));
    assert_string_equal(text, SECRET);
    scratch_end();
    assert_string_equal(text, "");
}

static void the_block_is_there_again_the_next_time(void **state)
{
    const void *first;

    (void)state;
    scratch_begin();
    first = json_object();
    scratch_end();
    scratch_begin();
    assert_ptr_equal(json_object(), first);
    scratch_end();
}

static void what_is_more_than_the_block_holds_is_whole_and_is_freed(void **state)
{
    json_t *list;

    (void)state;
    scratch_begin();
    list = many_strings();
    assert_string_equal(json_string_value(json_array_get(list, 0)), SECRET " 0");
    assert_string_equal(json_string_value(json_array_get(list, 999)), SECRET " 999");
    json_decref(list);
    scratch_end();
}

static void what_was_made_before_outlives_it_and_may_be_freed_within(void **state)
{
    json_t *kept, *freed;

    (void)state;
    kept = json_string(SECRET);
    freed = many_strings();
    scratch_begin();
    json_decref(freed);
    scratch_end();
    assert_string_equal(json_string_value(kept), SECRET);
    json_decref(kept);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_made_in_between_leaves_nothing_behind),
        cmocka_unit_test(the_block_is_there_again_the_next_time),
        cmocka_unit_test(what_is_more_than_the_block_holds_is_whole_and_is_freed),
        cmocka_unit_test(what_was_made_before_outlives_it_and_may_be_freed_within),
    };

    scratch_install();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
