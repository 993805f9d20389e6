/*
 * Running the rules.  Both phases render the same templates by the same code: phase one throws the
 * result away and keeps only the verdict, so that a rule that begins to act can go on to its end.
 * Nothing is allocated but what `set` keeps; a message is handed over in pieces that point into the
 * event, the rules and a little scratch.
 */
#include "gateway/relay.h"

#include "common/memory.h"
#include "gateway/program.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NUMBER_BYTES 20
#define MAX_SPANS    (2 * PROGRAM_PIECES + 2 * SCANNER_MAX_PLACEHOLDERS + 2)
#define MAX_SCRATCH  (PROGRAM_PIECES * NUMBER_BYTES + SCANNER_MAX_PLACEHOLDERS * 4)
#define MAX_SET_TEXT 1024

/* Attachments that Socket.IO's own parser takes unasked: a message never has more than both this
 * and its event. */
#define MAX_ATTACHMENTS 10

#define TEXT(text) ((struct span){(text), sizeof(text) - 1})

struct relay_bucket {
    uint64_t at_ms;
    uint64_t used; /* in events × milliseconds: a period of each event that still counts */
};

struct run {
    struct relay_stage *stage;
    const struct rule *rule;
    bool is_checking; /* phase one */
    bool is_answered;
    uint64_t sent;
    /* Phase one: what each `set` so far will give; without its text when that is long. */
    struct json_value set[PROGRAM_ACTIONS];
    uint8_t n_sets;
    uint16_t set_bytes;
    uint64_t kept_bytes;
    char set_text[MAX_SET_TEXT];
};

/* A message in the making. */
struct rendering {
    struct span span[MAX_SPANS];
    size_t n;
    char scratch[MAX_SCRATCH];
    size_t used;
    const struct attachment *attachments; /* the event's own, or: */
    struct attachment attachment[SCANNER_MAX_PLACEHOLDERS];
    size_t n_attachments;
    bool has_imitation; /* data of a placeholder's shape that is none */
};

/* The value of a piece: its JSON text; of $id and $reason the plain text. */
struct value {
    struct json_value json;
    bool is_plain;
    bool is_own; /* its placeholders stand for attachments of the event */
};

static bool render_room(struct run *run, const struct template *room, char *buffer,
                        struct span *name);

/* Values. */

static bool number_value(uint64_t number, char *scratch, struct value *value)
{
    char *at = scratch + NUMBER_BYTES;

    do
        *--at = (char)('0' + number % 10);
    while (number /= 10);
    value->json.text = (struct span){at, (uint32_t)(scratch + NUMBER_BYTES - at)};
    value->json.type = VALUE_INTEGER;
    return true;
}

static bool plain_value(struct span text, struct value *value)
{
    value->json.text = text;
    value->json.type = VALUE_STRING;
    value->is_plain = true;
    return true;
}

/* While checking, nothing is counted: the longest number stands in. */
static bool count_value(struct run *run, const struct piece *piece, char *scratch,
                        struct value *value)
{
    char buffer[PROGRAM_ROOM_BYTES];
    struct span room;

    if (piece->op == PIECE_COUNT && !render_room(run, piece->room, buffer, &room))
        return false;
    if (run->is_checking)
        return number_value(UINT64_MAX, scratch, value);
    if (piece->op == PIECE_SENT)
        return number_value(run->sent, scratch, value);
    return number_value(run->stage->operations->count(run->stage, room), scratch, value);
}

static bool argument_value(const struct run *run, uint16_t index, struct value *value)
{
    const struct event *event = run->stage->event;

    if (index >= event->n_arguments)
        return false;
    value->json = event->argument[index];
    value->is_own = run->stage->n_attachments > 0;
    return true;
}

static bool variable_value(const struct run *run, const struct piece *piece, struct value *value)
{
    const struct variable *variable = &run->stage->variable[piece->index];

    if (run->is_checking && piece->set_by > 0) {
        value->json = run->set[piece->set_by - 1];
        return true;
    }
    if (!variable->json)
        return false;
    value->json.text = (struct span){variable->json, variable->length};
    value->json.type = variable->type;
    return true;
}

static bool auth_value(const struct run *run, const struct piece *piece, struct value *value)
{
    struct span auth = run->stage->auth;

    if (piece->n_path > 0)
        return auth.length > 0 && scan_member(auth, piece->path, piece->n_path, &value->json);
    return auth.length > 0 && scan_value(auth.at, auth.length, &value->json);
}

static bool claim_value(const struct run *run, uint16_t slot, struct json_value *value)
{
    if (!run->stage->claim)
        return false;
    *value = run->stage->claim[slot];
    /* A slot keeps no number of placeholders. */
    if (value->type == VALUE_OBJECT || value->type == VALUE_ARRAY)
        return scan_value(value->text.at, value->text.length, value);
    value->placeholders = 0;
    return value->type != VALUE_NONE;
}

/* False: there is none.  `scratch` has NUMBER_BYTES. */
static bool piece_value(struct run *run, const struct piece *piece, char *scratch,
                        struct value *value)
{
    const struct relay_stage *stage = run->stage;

    value->is_plain = value->is_own = false;
    value->json.placeholders = 0;
    switch ((enum piece_op)piece->op) {
    case PIECE_ARGUMENT:
        return argument_value(run, piece->index, value);
    case PIECE_EVENT:
        value->json = stage->event->name;
        return true;
    case PIECE_USER:
        value->json.text = stage->user;
        value->json.type = VALUE_STRING;
        return stage->user.length > 0;
    case PIECE_CLAIM:
        return claim_value(run, piece->index, &value->json);
    case PIECE_AUTH:
        return auth_value(run, piece, value);
    case PIECE_ID:
        return plain_value(stage->id, value);
    case PIECE_REASON:
        return plain_value(stage->reason, value);
    case PIECE_NOW:
        return number_value((uint64_t)stage->now_s, scratch, value);
    case PIECE_VARIABLE:
        return variable_value(run, piece, value);
    case PIECE_COUNT:
    case PIECE_SENT:
        return count_value(run, piece, scratch, value);
    case PIECE_LITERAL:
    case PIECE_WHOLE:
    case PIECE_ARGS:
    case PIECE_REST:
        break;
    }
    return false;
}

/* What of a value goes into a string: a string without its quotes, or an integer. */
static bool inner_text(const struct value *value, struct span *text)
{
    *text = value->json.text;
    if (value->json.type == VALUE_INTEGER || value->is_plain)
        return true;
    if (value->json.type != VALUE_STRING)
        return false;
    text->length -= 2;
    if (text->at)
        text->at++;
    return true;
}

/* Rooms. */

/* The value decoded behind the `used` bytes of the buffer; false: it does not go there. */
static bool add_to_room(const struct value *value, char *buffer, size_t *used)
{
    struct span text;
    ptrdiff_t bytes;

    if (!inner_text(value, &text) || !text.at)
        return false;
    if (value->json.type == VALUE_STRING && !value->is_plain &&
        memchr(text.at, '\\', text.length)) {
        bytes = scan_decode_string(value->json.text, buffer + *used, PROGRAM_ROOM_BYTES - *used);
        if (bytes < 0)
            return false;
        *used += (size_t)bytes;
        return true;
    }
    if (text.length > PROGRAM_ROOM_BYTES - *used)
        return false;
    memcpy(buffer + *used, text.at, text.length);
    *used += text.length;
    return true;
}

/* A template IN_ROOM as text; false: a value is missing or does not fit. */
static bool render_text(struct run *run, const struct template *template, char *buffer,
                        struct span *text)
{
    size_t used = 0;

    if (template->n == 1 && template->piece->op == PIECE_LITERAL) {
        *text = template->piece->text;
        return true;
    }
    for (uint16_t i = 0; i < template->n; i++) {
        const struct piece *piece = &template->piece[i];
        char scratch[NUMBER_BYTES];
        struct value value;

        if (piece->op == PIECE_LITERAL)
            plain_value(piece->text, &value);
        else if (!piece_value(run, piece, scratch, &value))
            return false;
        if (!add_to_room(&value, buffer, &used))
            return false;
    }
    *text = (struct span){buffer, (uint32_t)used};
    return true;
}

/* No room is named by nothing: that is the gateway's name for the whole namespace. */
static bool render_room(struct run *run, const struct template *room, char *buffer,
                        struct span *name)
{
    return render_text(run, room, buffer, name) && name->length > 0;
}

/* Messages. */

static void put_span(struct rendering *r, struct span span)
{
    if (span.length == 0)
        return;
    assert(r->n < MAX_SPANS);
    r->span[r->n++] = span;
}

static char *take_scratch(struct rendering *r)
{
    assert(r->used + NUMBER_BYTES <= sizeof r->scratch);
    return r->scratch + r->used;
}

static void put_number(struct rendering *r, size_t number)
{
    char digits[NUMBER_BYTES];
    struct value value;

    number_value(number, digits, &value);
    assert(r->used + value.json.text.length <= sizeof r->scratch);
    memcpy(r->scratch + r->used, value.json.text.at, value.json.text.length);
    put_span(r, (struct span){r->scratch + r->used, value.json.text.length});
    r->used += value.json.text.length;
}

/* An argument with attachments: they follow those that are there, and are numbered accordingly. */
static bool put_binary(const struct run *run, struct rendering *r, const struct json_value *value)
{
    const char *from = value->text.at, *end = from + value->text.length;
    size_t most = run->stage->n_attachments;

    if (most < MAX_ATTACHMENTS)
        most = MAX_ATTACHMENTS;
    if (r->n_attachments + value->placeholders > most)
        return false;
    for (uint16_t i = 0; i < value->placeholders; i++) {
        const struct placeholder *p = &run->stage->event->placeholder[value->first_placeholder + i];

        if (p->number != r->n_attachments) {
            put_span(r, (struct span){from, (uint32_t)(p->digits.at - from)});
            put_number(r, r->n_attachments);
            from = p->digits.at + p->digits.length;
        }
        r->attachment[r->n_attachments++] = run->stage->attachment[p->number];
    }
    put_span(r, (struct span){from, (uint32_t)(end - from)});
    return true;
}

static bool put_value(struct run *run, struct rendering *r, const struct piece *piece)
{
    struct value value;
    struct span text;

    if (!piece_value(run, piece, take_scratch(r), &value))
        return false;
    if (piece->op == PIECE_NOW || piece->op == PIECE_COUNT || piece->op == PIECE_SENT)
        r->used += NUMBER_BYTES;
    if (piece->context == IN_STRING) {
        if (!inner_text(&value, &text))
            return false;
        put_span(r, text);
        return true;
    }
    if (value.is_own && value.json.placeholders > 0)
        return put_binary(run, r, &value.json);
    if (value.json.placeholders > 0)
        r->has_imitation = true;
    put_span(r, value.json.text);
    return true;
}

/* The event's own bytes, with all its attachments as they are. */
static void put_own(const struct run *run, struct rendering *r, struct span text)
{
    put_span(r, text);
    r->attachments = run->stage->attachment;
    r->n_attachments = run->stage->n_attachments;
}

static bool put_piece(struct run *run, struct rendering *r, const struct piece *piece)
{
    const struct event *event = run->stage->event;

    switch ((enum piece_op)piece->op) {
    case PIECE_LITERAL:
        put_span(r, piece->text);
        return true;
    case PIECE_WHOLE:
        put_own(run, r, event->text);
        return true;
    case PIECE_REST:
        if (event->n_arguments > 0)
            put_span(r, TEXT(","));
        put_own(run, r, event->arguments);
        return true;
    case PIECE_ARGS:
        put_own(run, r, event->arguments);
        return true;
    default:
        return put_value(run, r, piece);
    }
}

/* False: an argument or variable is missing or of the wrong type. */
static bool render(struct run *run, const struct template *template, struct rendering *r)
{
    r->n = r->used = r->n_attachments = 0;
    r->attachments = r->attachment;
    r->has_imitation = false;
    for (uint16_t i = 0; i < template->n; i++)
        if (!put_piece(run, r, &template->piece[i]))
            return false;
    /* Among real attachments a receiver takes whatever has a placeholder's shape for one. */
    return !(r->has_imitation && r->n_attachments > 0);
}

static struct relay_message message_of(const struct rendering *r)
{
    return (struct relay_message){r->span, r->n, r->attachments, r->n_attachments};
}

/* Variables. */

static size_t rendered_bytes(const struct rendering *r)
{
    size_t bytes = 0;

    for (size_t i = 0; i < r->n; i++)
        bytes += r->span[i].length;
    return bytes;
}

static void copy_rendered(const struct rendering *r, char *to)
{
    for (size_t i = 0; i < r->n; i++) {
        memcpy(to, r->span[i].at, r->span[i].length);
        to += r->span[i].length;
    }
}

static bool is_whole(const struct rendering *r)
{
    for (size_t i = 0; i < r->n; i++)
        if (!r->span[i].at)
            return false;
    return true;
}

static uint8_t rendered_type(struct run *run, const struct template *template)
{
    char scratch[NUMBER_BYTES];
    struct value value;

    if (template->type != VALUE_NONE)
        return template->type;
    piece_value(run, template->piece, scratch, &value);
    return (uint8_t)value.json.type;
}

/* Render what a variable gets; binary cannot be kept, nor what looks like it. */
static bool render_kept(struct run *run, const struct action *action, struct rendering *r,
                        struct json_value *value)
{
    if (!render(run, &action->value, r) || r->n_attachments > 0 || r->has_imitation)
        return false;
    value->type = rendered_type(run, &action->value);
    value->text = r->n == 1 ? r->span[0] : (struct span){NULL, (uint32_t)rendered_bytes(r)};
    value->first_placeholder = value->placeholders = 0;
    return true;
}

/* Phase one of `set`: note what later templates of the rule will see. */
static bool check_set(struct run *run, const struct action *action, struct rendering *r)
{
    struct json_value *value = &run->set[run->n_sets++];
    const struct relay_stage *stage = run->stage;

    if (!render_kept(run, action, r, value))
        return false;
    run->kept_bytes += value->text.length;
    if (stage->max_kept_bytes && run->kept_bytes > stage->max_kept_bytes)
        return false;
    /* Numbers stand in the rendering's scratch, so a text of one piece may have to be copied, too.
     */
    if (value->type != VALUE_STRING && value->type != VALUE_INTEGER) {
        value->text.at = NULL;
    } else if (is_whole(r) && value->text.length <= sizeof run->set_text - run->set_bytes) {
        copy_rendered(r, run->set_text + run->set_bytes);
        value->text.at = run->set_text + run->set_bytes;
        run->set_bytes += (uint16_t)value->text.length;
    } else {
        value->text.at = NULL;
    }
    return true;
}

static void unset_variable(struct variable *variable)
{
    free(variable->json);
    *variable = (struct variable){NULL, 0, VALUE_NONE};
}

static bool act_set(struct run *run, const struct action *action, struct rendering *r)
{
    struct variable *variable = &run->stage->variable[action->index];
    struct json_value value;
    char *json;

    if (!render_kept(run, action, r, &value))
        return false;
    json = memory_new(value.text.length + 1);
    copy_rendered(r, json);
    free(variable->json);
    *variable = (struct variable){json, value.text.length, (uint8_t)value.type};
    return true;
}

/* Guards. */

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
    char scratch[NUMBER_BYTES];
    struct value value;

    return piece_value(run, guard->value.piece, scratch, &value) && has_type(guard->type, &value);
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
    char scratch[NUMBER_BYTES];
    struct value value;
    size_t used = 0;

    wanted->is_pattern = template->piece->op == PIECE_LITERAL && template->n == 1;
    wanted->type = template->type;
    if (template->type == VALUE_STRING)
        return render_text(run, template, buffer, &wanted->text);
    if (template->type != VALUE_NONE) {
        wanted->text = template->piece->text;
        return true;
    }
    if (!piece_value(run, template->piece, scratch, &value))
        return false;
    wanted->type = value.json.type;
    if (value.json.type == VALUE_OBJECT || value.json.type == VALUE_ARRAY)
        return false;
    if (value.json.type == VALUE_STRING) {
        if (!add_to_room(&value, buffer, &used))
            return false;
        wanted->text = (struct span){buffer, (uint32_t)used};
        return true;
    }
    if (value.json.text.length > PROGRAM_ROOM_BYTES)
        return false;
    memcpy(buffer, value.json.text.at, value.json.text.length); /* it may stand in scratch */
    wanted->text = (struct span){buffer, value.json.text.length};
    return true;
}

/* What a guard says; BAD: it cannot be answered, or says that the arguments are not those. */
enum answer { HOLDS, FAILS, BAD };

static enum answer ask_claim(struct run *run, const struct guard *guard)
{
    const struct json_value *claims = run->stage->claim;
    char buffer[PROGRAM_ROOM_BYTES];
    struct wanted wanted;

    if (!get_wanted(run, &guard->value, buffer, &wanted))
        return BAD;
    return claims && claims[guard->index].type != VALUE_NONE &&
                   claim_is(&claims[guard->index], &wanted)
               ? HOLDS
               : FAILS;
}

static enum answer ask_in(struct run *run, const struct guard *guard)
{
    char buffer[PROGRAM_ROOM_BYTES];
    struct span room;

    if (!render_room(run, &guard->value, buffer, &room))
        return BAD;
    return run->stage->operations->is_in(run->stage, room) ? HOLDS : FAILS;
}

static enum answer ask(struct run *run, const struct guard *guard)
{
    const struct relay_stage *stage = run->stage;

    switch ((enum guard_kind)guard->kind) {
    case GUARD_SET:
        return stage->variable[guard->index].json ? HOLDS : FAILS;
    case GUARD_UNSET:
        return stage->variable[guard->index].json ? FAILS : HOLDS;
    case GUARD_USER:
        return stage->user.length > 0 ? HOLDS : FAILS;
    case GUARD_GUEST:
        return stage->user.length > 0 ? FAILS : HOLDS;
    case GUARD_IN:
        return ask_in(run, guard);
    case GUARD_CLAIM:
        return ask_claim(run, guard);
    case GUARD_TYPE:
        return type_holds(run, guard) ? HOLDS : BAD;
    case GUARD_COUNT:
        return stage->event->n_arguments == guard->index ? HOLDS : BAD;
    }
    return FAILS;
}

static enum answer ask_all(struct run *run, const struct rule *rule)
{
    for (uint16_t i = 0; i < rule->n_guards; i++) {
        enum answer answer = ask(run, &rule->guard[i]);

        if (answer != HOLDS)
            return answer;
    }
    return HOLDS;
}

/* Limits. */

static bool is_full(const struct relay_bucket *bucket, const struct limit *limit)
{
    return bucket->used + limit->period_ms > (uint64_t)limit->n * limit->period_ms;
}

static void refill(struct relay_bucket *bucket, const struct limit *limit, uint64_t now_ms)
{
    uint64_t passed = now_ms - bucket->at_ms, refilled;

    refilled = passed < limit->period_ms ? passed * limit->n : UINT64_MAX;
    bucket->used -= refilled < bucket->used ? refilled : bucket->used;
    bucket->at_ms = now_ms;
}

/* One of each bucket of the rule, or none of any. */
static bool take_limits(const struct run *run)
{
    const struct rule *rule = run->rule;
    struct relay_bucket **buckets = run->stage->buckets;

    if (rule->n_limits == 0)
        return true;
    if (!*buckets)
        *buckets = memory_zeroed(rules_limits(run->stage->rules), sizeof **buckets);
    for (uint16_t i = 0; i < rule->n_limits; i++) {
        refill(&(*buckets)[rule->limit[i].bucket], &rule->limit[i], run->stage->now_ms);
        if (is_full(&(*buckets)[rule->limit[i].bucket], &rule->limit[i]))
            return false;
    }
    for (uint16_t i = 0; i < rule->n_limits; i++)
        (*buckets)[rule->limit[i].bucket].used += rule->limit[i].period_ms;
    return true;
}

/* Phase one. */

static bool check_own_room(struct run *run, const struct action *action)
{
    char buffer[PROGRAM_ROOM_BYTES];
    struct span room;

    return render_room(run, &action->room, buffer, &room) && !program_room_is_computed(room);
}

static bool check_emit(struct run *run, const struct action *action, struct rendering *r)
{
    char buffer[PROGRAM_ROOM_BYTES];
    struct span room;

    if (action->room.n > 0 && !render_room(run, &action->room, buffer, &room))
        return false;
    return render(run, &action->value, r);
}

static bool check_action(struct run *run, const struct action *action, struct rendering *r)
{
    switch ((enum action_kind)action->kind) {
    case ACTION_EMIT:
        return check_emit(run, action, r);
    case ACTION_ACK:
        return render(run, &action->value, r);
    case ACTION_JOIN:
    case ACTION_LEAVE:
        return check_own_room(run, action);
    case ACTION_SET:
        return check_set(run, action, r);
    case ACTION_UNSET:
    case ACTION_DISCONNECT:
        break;
    }
    return true;
}

/* What stays in the variables that the rule does not set. */
static uint64_t kept_bytes(const struct run *run)
{
    const struct relay_stage *stage = run->stage;
    uint64_t bytes = 0;

    for (size_t i = 0; i < rules_variables(stage->rules); i++)
        bytes += stage->variable[i].length;
    for (uint16_t i = 0; i < run->rule->n_actions; i++) {
        const struct action *action = &run->rule->action[i];

        if (action->kind == ACTION_SET && action->is_first)
            bytes -= stage->variable[action->index].length;
    }
    return bytes;
}

static bool check_actions(struct run *run)
{
    struct rendering r;

    run->is_checking = true;
    run->n_sets = 0;
    run->set_bytes = 0;
    run->kept_bytes = run->stage->variable ? kept_bytes(run) : 0;
    for (uint16_t i = 0; i < run->rule->n_actions; i++)
        if (!check_action(run, &run->rule->action[i], &r))
            return false;
    return true;
}

/* The first rule whose guards all hold; NULL: *result says how they failed. */
static const struct rule *find_rule(struct run *run, const struct rule *rule,
                                    enum relay_result *result)
{
    *result = RELAY_DENIED;
    for (; rule; rule = rule->next) {
        enum answer answer = ask_all(run, rule);

        if (answer == HOLDS)
            return rule;
        if (answer == BAD)
            *result = RELAY_BAD_ARGUMENT;
    }
    return NULL;
}

static struct relay_verdict check(struct relay_stage *stage, const struct rule *rules)
{
    struct relay_verdict verdict = {.result = RELAY_DONE};
    struct run run;

    run.stage = stage;
    run.is_checking = false;
    run.sent = 0;
    run.rule = verdict.rule = find_rule(&run, rules, &verdict.result);
    if (!run.rule)
        return verdict;
    verdict.result = RELAY_DONE;
    if (!take_limits(&run)) {
        verdict.result = RELAY_LIMITED;
    } else if (run.rule->deny.length > 0) {
        verdict.result = RELAY_DENIED;
        verdict.reason = run.rule->deny;
    } else if (!check_actions(&run)) {
        verdict.result = RELAY_BAD_ARGUMENT;
    }
    return verdict;
}

/* Phase two. */

static void answer(struct run *run, const struct relay_message *message)
{
    if (run->is_answered || !run->stage->wants_ack)
        return;
    run->is_answered = true;
    run->stage->operations->ack(run->stage, message);
}

static void answer_nothing(struct run *run)
{
    static const struct span nothing = {"[]", 2};

    answer(run, &(struct relay_message){&nothing, 1, NULL, 0});
}

static bool act_emit(struct run *run, const struct action *action, struct rendering *r)
{
    char buffer[PROGRAM_ROOM_BYTES];
    struct span room = {"", 0};
    struct relay_message message;

    if (action->room.n > 0 && !render_room(run, &action->room, buffer, &room))
        return false;
    if (!render(run, &action->value, r))
        return false;
    message = message_of(r);
    run->sent += run->stage->operations->emit(run->stage, action->target, room, action->is_volatile,
                                              &message);
    return true;
}

static bool act_ack(struct run *run, const struct action *action, struct rendering *r)
{
    struct relay_message message;

    if (!render(run, &action->value, r))
        return false;
    message = message_of(r);
    answer(run, &message);
    return true;
}

static bool act_on_room(struct run *run, const struct action *action)
{
    const struct relay_operations *operations = run->stage->operations;
    char buffer[PROGRAM_ROOM_BYTES];
    struct span room;

    if (!render_room(run, &action->room, buffer, &room) || program_room_is_computed(room))
        return false;
    if (action->kind == ACTION_LEAVE)
        operations->leave(run->stage, room);
    else
        operations->join(run->stage, room);
    return true;
}

static bool act(struct run *run, const struct action *action, struct rendering *r)
{
    switch ((enum action_kind)action->kind) {
    case ACTION_EMIT:
        return act_emit(run, action, r);
    case ACTION_ACK:
        return act_ack(run, action, r);
    case ACTION_JOIN:
    case ACTION_LEAVE:
        return act_on_room(run, action);
    case ACTION_SET:
        return act_set(run, action, r);
    case ACTION_UNSET:
        unset_variable(&run->stage->variable[action->index]);
        return true;
    case ACTION_DISCONNECT:
        answer_nothing(run); /* before there is nobody left to get it */
        run->stage->operations->disconnect(run->stage);
        return true;
    }
    return true;
}

struct relay_verdict relay_check_event(struct relay_stage *stage)
{
    const struct trigger *trigger = program_event(stage->rules, stage->event->decoded_name);

    if (!trigger)
        return (struct relay_verdict){.result = RELAY_NO_RULE};
    return check(stage, trigger->rules);
}

struct relay_verdict relay_check_moment(struct relay_stage *stage, enum rules_moment moment)
{
    struct relay_verdict verdict = check(stage, stage->rules->moment[moment].rules);

    /* A moment whose rules do not hold is refused to nobody. */
    if (!verdict.rule)
        verdict.result = RELAY_NO_RULE;
    return verdict;
}

void relay_act(struct relay_stage *stage, const struct relay_verdict *verdict)
{
    struct run run;
    struct rendering r;

    run.stage = stage;
    run.rule = verdict->rule;
    run.is_checking = run.is_answered = false;
    run.sent = 0;
    /* What held in phase one holds now, unless an action of ours has ended the socket itself. */
    for (uint16_t i = 0; i < run.rule->n_actions; i++)
        if (!act(&run, &run.rule->action[i], &r))
            break;
    answer_nothing(&run);
}

void relay_refuse(struct relay_stage *stage, const struct relay_verdict *verdict)
{
    static const struct span words[] = {
        [RELAY_NO_RULE] = {"\"no rule\"", 9},
        [RELAY_DENIED] = {"\"denied\"", 8},
        [RELAY_LIMITED] = {"\"limited\"", 9},
        [RELAY_BAD_ARGUMENT] = {"\"bad argument\"", 14},
    };
    struct span pieces[] = {TEXT("[{\"error\":"), words[verdict->result], TEXT("}]")};

    if (!stage->wants_ack || verdict->result == RELAY_DONE)
        return;
    if (verdict->reason.length > 0)
        pieces[1] = verdict->reason;
    stage->operations->ack(stage, &(struct relay_message){pieces, 3, NULL, 0});
}
