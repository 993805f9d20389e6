/* Compressed messages: made once for all who receive them, and not made again when it does not
 * help. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/packet.h"

#define BIG 3000

static struct deflate *deflate;

static struct parcel *parcel_of(const uint8_t *text, uint32_t bytes, const uint8_t *binary,
                                uint32_t length)
{
    struct attachment attachment = {binary, length};

    return parcel_new(
        packet_new((struct span){(const char *)text, bytes}, NULL, 0, &attachment, binary ? 1 : 0));
}

/* Frames as they are on the wire, one after the other: is the first, is the second compressed? */
static void assert_deflated(const struct parcel *parcel, bool first, bool second)
{
    struct frame frame;
    size_t at = 0;

    assert_int_equal((parcel->packet->frame[0] & 0x40) != 0, first);
    assert_true(packet_next_frame(parcel->packet, &at, &frame));
    assert_int_equal((parcel->packet->frame[at] & 0x40) != 0, second);
    assert_true(packet_next_frame(parcel->packet, &at, &frame));
    assert_false(packet_next_frame(parcel->packet, &at, &frame));
}

static void each_form_is_made_once(void **state)
{
    uint8_t same[BIG];
    struct parcel *parcel, *form, *old, *base64;

    (void)state;
    memset(same, 'x', sizeof same);
    parcel = parcel_of(same, BIG, same, BIG);
    form = parcel_in_form(parcel, WIRE_DEFLATED, deflate);
    old = parcel_in_form(parcel, WIRE_DEFLATED | WIRE_EIO3, deflate);
    base64 = parcel_in_form(parcel, WIRE_DEFLATED | WIRE_BASE64, deflate);
    assert_ptr_equal(parcel_in_form(parcel, 0, deflate), parcel);
    assert_deflated(parcel, false, false);
    assert_deflated(form, true, true);
    assert_deflated(old, true, true);
    assert_deflated(base64, true, true);
    assert_true(form->packet->frames < parcel->packet->frames / 20);
    assert_ptr_equal(parcel_in_form(parcel, WIRE_DEFLATED, deflate), form);
    assert_ptr_equal(parcel_in_form(parcel, WIRE_DEFLATED | WIRE_EIO3, deflate), old);
    assert_ptr_not_equal(old, form);
    parcel_put(&parcel);
}

static void what_gets_no_smaller_stays_and_is_tried_once(void **state)
{
    uint8_t noise[BIG];
    struct parcel *parcel, *form;

    (void)state;
    randombytes_buf(noise, sizeof noise);
    parcel = parcel_of(noise, BIG, NULL, 0);
    form = parcel_in_form(parcel, WIRE_DEFLATED, deflate);
    assert_ptr_not_equal(form, parcel);
    assert_ptr_equal(form->packet, parcel->packet);
    assert_ptr_equal(parcel_in_form(parcel, WIRE_DEFLATED | WIRE_EIO3, deflate), form);
    parcel_put(&parcel);
}

static void each_frame_is_judged_by_itself(void **state)
{
    uint8_t same[BIG], noise[BIG];
    struct parcel *parcel;

    (void)state;
    memset(same, 'x', sizeof same);
    randombytes_buf(noise, sizeof noise);
    parcel = parcel_of(noise, BIG, same, BIG);
    assert_deflated(parcel_in_form(parcel, WIRE_DEFLATED, deflate), false, true);
    parcel_put(&parcel);
    parcel = parcel_of(same, BIG, same, 1023);
    assert_deflated(parcel_in_form(parcel, WIRE_DEFLATED, deflate), true, false);
    parcel_put(&parcel);
    parcel = parcel_of(same, 500, same, 500);
    assert_ptr_equal(parcel_in_form(parcel, WIRE_DEFLATED, deflate), parcel);
    parcel_put(&parcel);
}

static void what_was_shrunk_expands(void **state)
{
    uint8_t from[BIG], small[2 * BIG], *to;
    size_t bytes, expanded;

    (void)state;
    for (size_t i = 0; i < BIG; i++)
        from[i] = (uint8_t)(i % 251);
    bytes = deflate_shrink(deflate, from, BIG, small, sizeof small);
    assert_true(bytes > 0 && bytes < BIG);
    assert_int_equal(deflate_shrink(deflate, from, BIG, small, bytes), 0);
    assert_int_equal(deflate_shrink(deflate, from, BIG, small, sizeof small), bytes);
    assert_int_equal(deflate_expand(deflate, small, bytes, BIG, &to, &expanded), DEFLATE_OK);
    assert_int_equal(expanded, BIG);
    assert_memory_equal(to, from, BIG);
    free(to);
    for (size_t limit = 0; limit < BIG; limit++) {
        assert_int_equal(deflate_expand(deflate, small, bytes, limit, &to, &expanded),
                         DEFLATE_TOO_BIG);
        free(to);
    }
    for (size_t cut = 0; cut < bytes; cut++) {
        assert_int_equal(deflate_expand(deflate, small, cut, BIG, &to, &expanded), DEFLATE_BAD);
        free(to);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_form_is_made_once),
        cmocka_unit_test(what_gets_no_smaller_stays_and_is_tried_once),
        cmocka_unit_test(each_frame_is_judged_by_itself),
        cmocka_unit_test(what_was_shrunk_expands),
    };
    int failed;

    deflate = deflate_new();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    deflate_free(&deflate);
    return failed;
}
