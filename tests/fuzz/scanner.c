/*
 * The event scanner.  The first byte says how many attachments are announced; the rest is a JSON
 * text as a client sends it.
 */
#include "gateway/scanner.h"
#include "tests/fuzz/target.h"

static struct event event;

static void demand_inside(struct span span, const char *text, size_t size)
{
    assert(span.length == 0 || (span.at >= text && span.at + span.length <= text + size));
}

/* A value found is a value of the same type when looked at alone. */
static void demand_value(const struct json_value *value, const char *text, size_t size)
{
    struct json_value alone;

    demand_inside(value->text, text, size);
    assert(scan_value(value->text.at, value->text.length, &alone));
    assert(alone.type == value->type && alone.text.length == value->text.length);
    assert((alone.placeholders == 0) == (value->placeholders == 0));
}

/* What is left is no longer, good, and has no member of the name. */
static void play_without(struct span object)
{
    static const struct span name = {"a", 1};
    char *out = target_copy(object.at, object.length);
    size_t length = scan_without(object, name, out);
    struct json_value value;

    assert(length <= object.length && scan_value(out, length, &value));
    assert(!scan_member((struct span){out, (uint32_t)length}, &name, 1, &value));
    free(out);
}

static void scan_one(const char *text, size_t size)
{
    static const struct span path[] = {{"a", 1}, {"b", 1}};
    struct json_value value, member;
    char *decoded;

    if (!scan_value(text, size, &value))
        return;
    demand_value(&value, text, size);
    if (scan_member(value.text, path, 2, &member))
        demand_value(&member, text, size);
    if (value.type == VALUE_OBJECT)
        play_without(value.text);
    if (value.type != VALUE_STRING)
        return;
    decoded = target_copy(text, size);
    assert(scan_decode_string(value.text, decoded, size) <= (ptrdiff_t)size - 2);
    free(decoded);
}

static void demand_event(const char *text, size_t size)
{
    uint32_t named = event.n_arguments, placeholders = 0;
    struct json_value whole;

    if (named > SCANNER_ARGUMENTS)
        named = SCANNER_ARGUMENTS;
    demand_inside(event.arguments, text, size);
    demand_inside(event.text, text, size);
    assert(scan_value(event.text.at, event.text.length, &whole) && whole.type == VALUE_ARRAY);
    for (uint32_t i = 0; i < named; i++) {
        const struct json_value *argument = &event.argument[i];

        demand_value(argument, text, size);
        assert(argument->first_placeholder + argument->placeholders <= event.n_placeholders);
        placeholders += argument->placeholders;
    }
    if (event.n_placeholders < SCANNER_MAX_PLACEHOLDERS && event.n_arguments <= SCANNER_ARGUMENTS)
        assert(placeholders == event.n_placeholders);
    for (uint32_t i = 0; i < event.n_placeholders; i++)
        demand_inside(event.placeholder[i].digits, text, size);
}

static void demand_name(const char *text, size_t size)
{
    assert(event.decoded_name.length <= sizeof event.name_buffer);
    if (event.decoded_name.at == event.name_buffer)
        assert(event.name.type == VALUE_STRING);
    else
        demand_inside(event.decoded_name, text, size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint32_t attachments;
    char *text;

    if (size == 0)
        return 0;
    attachments = data[0] % 5;
    size--;
    text = target_copy(data + 1, size);
    scan_one(text, size);
    memset(&event, 0xa5, sizeof event);
    if (scan_array(text, size, attachments, &event) == SCAN_OK)
        demand_event(text, size);
    memset(&event, 0xa5, sizeof event);
    if (scan_event(text, size, attachments, &event) == SCAN_OK) {
        demand_event(text, size);
        demand_name(text, size);
    }
    free(text);
    return 0;
}
