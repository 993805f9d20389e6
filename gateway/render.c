/*
 * Values and templates at the time of an event.  Both phases of a rule come here, so that what was
 * checked is what is done.
 */
#include "gateway/render.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* Values. */

static bool number_value(uint64_t number, char *scratch, struct value *value)
{
    char *at = scratch + RENDER_NUMBER_BYTES;

    do
        *--at = (char)('0' + number % 10);
    while (number /= 10);
    value->json.text = (struct span){at, (uint32_t)(scratch + RENDER_NUMBER_BYTES - at)};
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

static bool slot_value(const struct json_value *slots, uint16_t slot, struct json_value *value)
{
    if (!slots)
        return false;
    *value = slots[slot];
    return value->type != VALUE_NONE;
}

bool render_value(struct run *run, const struct piece *piece, char scratch[RENDER_NUMBER_BYTES],
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
        return slot_value(stage->claim, piece->index, &value->json);
    case PIECE_AUTH:
        return slot_value(stage->auth, piece->index, &value->json);
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
    case PIECE_MEMBERS:
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

bool render_text(struct run *run, const struct template *template, char buffer[PROGRAM_ROOM_BYTES],
                 struct span *text)
{
    size_t used = 0;

    if (template->n == 1 && template->piece->op == PIECE_LITERAL) {
        *text = template->piece->text;
        return true;
    }
    for (uint16_t i = 0; i < template->n; i++) {
        const struct piece *piece = &template->piece[i];
        char scratch[RENDER_NUMBER_BYTES];
        struct value value;

        if (piece->op == PIECE_LITERAL)
            plain_value(piece->text, &value);
        else if (!render_value(run, piece, scratch, &value))
            return false;
        if (!add_to_room(&value, buffer, &used))
            return false;
    }
    *text = (struct span){buffer, (uint32_t)used};
    return true;
}

/* No room is named by nothing: that is the gateway's name for the whole namespace. */
bool render_room(struct run *run, const struct template *room, char buffer[PROGRAM_ROOM_BYTES],
                 struct span *name)
{
    return render_text(run, room, buffer, name) && name->length > 0;
}

/* Messages. */

static void put_span(struct rendering *r, struct span span)
{
    if (span.length == 0)
        return;
    assert(r->n < RENDER_SPANS);
    r->span[r->n++] = span;
}

static char *take_scratch(struct rendering *r)
{
    assert(r->used + RENDER_NUMBER_BYTES <= sizeof r->scratch);
    return r->scratch + r->used;
}

static void put_number(struct rendering *r, size_t number)
{
    char digits[RENDER_NUMBER_BYTES];
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

    if (most < RENDER_ATTACHMENTS)
        most = RENDER_ATTACHMENTS;
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

    if (!render_value(run, piece, take_scratch(r), &value))
        return false;
    if (piece->op == PIECE_NOW || piece->op == PIECE_COUNT || piece->op == PIECE_SENT)
        r->used += RENDER_NUMBER_BYTES;
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

/* While checking, no list is made. */
static bool put_members(struct run *run, struct rendering *r, const struct template *room)
{
    char buffer[PROGRAM_ROOM_BYTES], *json;
    struct span name;

    if (!render_room(run, room, buffer, &name))
        return false;
    if (run->is_checking)
        return true;
    json = run->stage->operations->members(run->stage, name);
    r->list[r->n_lists++] = json;
    put_span(r, (struct span){json, (uint32_t)strlen(json)});
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
            put_span(r, (struct span){",", 1});
        put_own(run, r, event->arguments);
        return true;
    case PIECE_ARGS:
        put_own(run, r, event->arguments);
        return true;
    case PIECE_MEMBERS:
        return put_members(run, r, piece->room);
    default:
        return put_value(run, r, piece);
    }
}

bool render_json(struct run *run, const struct template *template, struct rendering *r)
{
    r->n = r->used = r->n_attachments = r->n_lists = 0;
    r->attachments = r->attachment;
    r->has_imitation = false;
    for (uint16_t i = 0; i < template->n; i++)
        if (!put_piece(run, r, &template->piece[i]))
            return false;
    /* Among real attachments a receiver takes whatever has a placeholder's shape for one. */
    return !(r->has_imitation && r->n_attachments > 0);
}

void render_release(struct rendering *r)
{
    while (r->n_lists > 0)
        free(r->list[--r->n_lists]);
}
