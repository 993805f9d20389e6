/* `require`: may this socket do this, now?  Nothing is changed by asking. */
#include "gateway/guards.h"

#include <string.h>

/* An attachment itself: its placeholder and nothing around it. */
static bool is_binary(const struct value *value)
{
    const char *start = value->json.text.at;

    return value->is_own && value->json.placeholders == 1 && *start == '{' &&
           !memchr(start + 1, '{', value->json.text.length - 1);
}

static bool has_type(enum guard_type type, const struct value *value)
{
    switch (type) {
    case TYPE_STRING:
        return value->json.type == VALUE_STRING;
    case TYPE_INTEGER:
        return value->json.type == VALUE_INTEGER;
    case TYPE_NUMBER:
        return value->json.type == VALUE_INTEGER || value->json.type == VALUE_NUMBER;
    case TYPE_BOOLEAN:
        return value->json.type == VALUE_BOOLEAN;
    case TYPE_OBJECT:
        return value->json.type == VALUE_OBJECT && !is_binary(value);
    case TYPE_ARRAY:
        return value->json.type == VALUE_ARRAY;
    case TYPE_BINARY:
        return is_binary(value);
    }
    return false;
}

static bool type_holds(struct run *run, const struct guard *guard)
{
    char scratch[RENDER_NUMBER_BYTES];
    struct value value;

    return render_value(run, guard->value.piece, scratch, &value) && has_type(guard->type, &value);
}

/* A pattern's segment `*` stands for one segment of the text: "team:*" for "team:red". */
static bool matches(struct span pattern, struct span text)
{
    const char *p = pattern.at, *p_end = p + pattern.length, *t = text.at, *t_end = t + text.length;

    for (;;) {
        const char *p_next = memchr(p, ':', (size_t)(p_end - p));
        const char *t_next = memchr(t, ':', (size_t)(t_end - t));
        size_t p_length = (size_t)((p_next ? p_next : p_end) - p);
        size_t t_length = (size_t)((t_next ? t_next : t_end) - t);

        if (p_length == 1 && *p == '*' ? t_length == 0
                                       : p_length != t_length || memcmp(p, t, p_length) != 0)
            return false;
        if (!p_next || !t_next)
            return !p_next && !t_next;
        p = p_next + 1;
        t = t_next + 1;
    }
}

/* What a claim is compared with: text, or for other types their JSON. */
struct wanted {
    struct span text;
    enum value_type type;
    bool is_pattern; /* the rules' own words, where `*` is a wildcard; never a client's */
};

/* Is the claim, or one element of it, what is wanted? */
static bool element_is(const struct json_value *element, const struct wanted *wanted)
{
    char buffer[PROGRAM_ROOM_BYTES];
    struct span text;
    ptrdiff_t bytes;

    if (element->type != wanted->type)
        return false;
    if (element->type != VALUE_STRING)
        return span_equals(element->text, wanted->text);
    text = (struct span){element->text.at + 1, element->text.length - 2};
    if (memchr(text.at, '\\', text.length)) {
        bytes = scan_decode_string(element->text, buffer, sizeof buffer);
        if (bytes < 0)
            return false;
        text = (struct span){buffer, (uint32_t)bytes};
    }
    return matches(text, wanted->text) || (wanted->is_pattern && matches(wanted->text, text));
}

/* Where the element of a valid array that begins at `at` ends. */
static const char *skip_element(const char *at)
{
    unsigned depth = 0;

    for (;; at++) {
        if (*at == '"') {
            for (at++; *at != '"'; at++)
                at += *at == '\\';
        } else if (*at == '[' || *at == '{') {
            depth++;
        } else if (depth == 0 && (*at == ',' || *at == ']')) {
            return at;
        } else if (*at == ']' || *at == '}') {
            depth--;
        }
    }
}

static bool claim_is(const struct json_value *claim, const struct wanted *wanted)
{
    const char *at = claim->text.at, *next;
    struct json_value element;

    if (claim->type != VALUE_ARRAY)
        return element_is(claim, wanted);
    do {
        at++;
        next = skip_element(at);
        if (scan_value(at, (size_t)(next - at), &element) && element_is(&element, wanted))
            return true;
        at = next;
    } while (*at == ',');
    return false;
}

static bool get_wanted(struct run *run, const struct template *template, char *buffer,
                       struct wanted *wanted)
{
    struct value value;

    wanted->is_pattern = template->n == 1 && template->piece->op == PIECE_LITERAL;
    wanted->type = template->type;
    if (template->type == VALUE_NONE) {
        if (!render_value(run, template->piece, buffer, &value))
            return false;
        wanted->type = value.json.type;
        wanted->text = value.json.text;
    } else {
        wanted->text = template->piece->text;
    }
    if (wanted->type == VALUE_STRING)
        return render_text(run, template, buffer, &wanted->text);
    return wanted->type != VALUE_OBJECT && wanted->type != VALUE_ARRAY;
}

static enum answer ask_claim(struct run *run, const struct guard *guard)
{
    const struct json_value *claims = run->stage->claim;
    char buffer[PROGRAM_ROOM_BYTES];
    struct wanted wanted;

    if (!get_wanted(run, &guard->value, buffer, &wanted))
        return ANSWER_BAD;
    return claims && claims[guard->index].type != VALUE_NONE &&
                   claim_is(&claims[guard->index], &wanted)
               ? ANSWER_HOLDS
               : ANSWER_FAILS;
}

static enum answer ask_in(struct run *run, const struct guard *guard)
{
    char buffer[PROGRAM_ROOM_BYTES];
    struct span room;

    if (!render_room(run, &guard->value, buffer, &room))
        return ANSWER_BAD;
    return run->stage->operations->is_in(run->stage, room) ? ANSWER_HOLDS : ANSWER_FAILS;
}

static enum answer ask(struct run *run, const struct guard *guard)
{
    const struct relay_stage *stage = run->stage;

    switch ((enum guard_kind)guard->kind) {
    case GUARD_SET:
        return stage->variable[guard->index].json ? ANSWER_HOLDS : ANSWER_FAILS;
    case GUARD_UNSET:
        return stage->variable[guard->index].json ? ANSWER_FAILS : ANSWER_HOLDS;
    case GUARD_USER:
        return stage->user.length > 0 ? ANSWER_HOLDS : ANSWER_FAILS;
    case GUARD_GUEST:
        return stage->user.length > 0 ? ANSWER_FAILS : ANSWER_HOLDS;
    case GUARD_IN:
        return ask_in(run, guard);
    case GUARD_CLAIM:
        return ask_claim(run, guard);
    case GUARD_TYPE:
        return type_holds(run, guard) ? ANSWER_HOLDS : ANSWER_BAD;
    case GUARD_COUNT:
        return stage->event->n_arguments == guard->index ? ANSWER_HOLDS : ANSWER_BAD;
    }
    return ANSWER_FAILS;
}

enum answer guards_ask(struct run *run, const struct rule *rule)
{
    for (uint16_t i = 0; i < rule->n_guards; i++) {
        enum answer answer = ask(run, &rule->guard[i]);

        if (answer != ANSWER_HOLDS)
            return answer;
    }
    return ANSWER_HOLDS;
}

enum answer guards_ask_one(struct relay_stage *stage, const struct guard *guard)
{
    struct run run;

    run.stage = stage; /* no guard asks for more */
    run.is_checking = false;
    return ask(&run, guard);
}
