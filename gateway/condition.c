/* `require`: one table row for each condition, and what would make a rule that never holds. */
#include "gateway/reach.h"

#include <string.h>

#define N(array) (sizeof(array) / sizeof *(array))

static struct guard *add_guard(struct compiler *c, const char *at, enum guard_kind kind)
{
    if (c->n_guards == PROGRAM_GUARDS) {
        lexer_fail(&c->lexer, at, "a rule has at most %d `require`s", PROGRAM_GUARDS);
        return NULL;
    }
    c->guard[c->n_guards] = (struct guard){.kind = (uint8_t)kind};
    if (kind != GUARD_TYPE && kind != GUARD_COUNT)
        c->is_guarded = true;
    return &c->guard[c->n_guards++];
}

static bool guard_variable(struct compiler *c, const struct row *row)
{
    const char *at = c->lexer.at;
    struct guard *guard = add_guard(c, at, row->value);
    enum known now = row->value == GUARD_SET ? KNOWN_SET : KNOWN_UNSET;
    struct variable_note *note;

    if (!guard || !statement_variable(c, &guard->index))
        return false;
    note = &c->variable[guard->index];
    if (c->place == IN_CONNECTION && now == KNOWN_SET)
        return lexer_fail(&c->lexer, at,
                          "this rule can never hold: at `connection` no variable is set yet");
    if (note->known != KNOWN_NOT && note->known != now)
        return lexer_fail(&c->lexer, at, "this rule can never hold: `%.*s` cannot be set and unset",
                          (int)note->name.length, note->name.at);
    note->known = now;
    if (now == KNOWN_SET)
        c->needs |= UINT64_C(1) << guard->index;
    return true;
}

/* Guests come only to a namespace that lets them, and are none once they have authenticated. */
static bool has_guests(const struct compiler *c)
{
    return c->space->authenticate == AUTHENTICATE_OPTIONAL && c->place != IN_AUTHENTICATED;
}

static bool guard_who(struct compiler *c, const struct row *row)
{
    const char *at = c->lexer.at - strlen(row->word);

    if (c->space->authenticate == AUTHENTICATE_NONE)
        return lexer_fail(
            &c->lexer, at,
            "in a namespace with `authenticate none` there are neither users nor guests");
    if (c->place == IN_AUTHENTICATED && row->value == GUARD_GUEST)
        return lexer_fail(&c->lexer, at,
                          "this rule can never hold: whoever has authenticated is no guest");
    if (!has_guests(c) && row->value == GUARD_GUEST)
        return lexer_fail(&c->lexer, at,
                          "this rule can never hold: there are no guests where authentication is "
                          "required; guests need `authenticate optional`");
    for (uint16_t i = 0; i < c->n_guards; i++)
        if (c->guard[i].kind + row->value == GUARD_USER + GUARD_GUEST)
            return lexer_fail(&c->lexer, at, "this rule can never hold: nobody is user and guest");
    if (row->value == GUARD_GUEST && c->needs_user)
        return lexer_fail(&c->lexer, at,
                          "this rule can never hold: a guest has neither a name nor claims, which "
                          "are asked for above");
    c->is_guest = row->value == GUARD_GUEST;
    if (!has_guests(c)) /* it always holds */
        return true;
    return add_guard(c, at, row->value) != NULL;
}

static bool guard_in(struct compiler *c, const struct row *row)
{
    const char *at = c->lexer.at;
    struct guard *guard = add_guard(c, at, row->value);

    return guard && statement_room(c, &guard->value, false) &&
           template_is_no_socket(&c->lexer, at, &guard->value);
}

static bool guard_claim(struct compiler *c, const struct row *row)
{
    struct lexer *l = &c->lexer;
    const char *at = l->at;
    struct guard *guard = add_guard(c, at, row->value);
    const struct span *path;
    size_t n_path;

    if (!guard)
        return false;
    if (c->space->authenticate == AUTHENTICATE_NONE)
        return lexer_fail(l, at,
                          "in a namespace with `authenticate none` there are no claims: "
                          "nobody shows a token");
    if (c->is_guest)
        return lexer_fail(l, at, "this rule can never hold: a guest has no claims");
    c->needs_user = true;
    if (!template_path(c, l, lexer_word(l), &path, &n_path))
        return false;
    if (n_path == 0)
        return lexer_expected(l, "a claim's name, such as `rooms`, `a.b` or [\"https://…\"]");
    lexer_skip_blank(l);
    return template_claim(c, l, at, path, n_path, &guard->index) &&
           template_wanted(c, &guard->value);
}

static bool guard_count(struct compiler *c, const struct row *row)
{
    const char *at = c->lexer.at;
    struct guard *guard = add_guard(c, at, row->value);
    uint32_t n;

    if (!guard || !lexer_number(&c->lexer, UINT16_MAX, "a number of arguments", &n))
        return false;
    if (c->n_arguments != NOT_COUNTED && c->n_arguments != n)
        return lexer_fail(&c->lexer, at,
                          "this rule can never hold: there cannot be %u and %u "
                          "arguments",
                          c->n_arguments, n);
    if (c->most_argument > n)
        return lexer_fail(&c->lexer, at,
                          "this rule can never hold: `require count %u` leaves no `$%u`, which is "
                          "asked for above",
                          n, c->most_argument);
    c->n_arguments = n;
    guard->index = (uint16_t)n;
    return true;
}

/* What the value is at all times; NULL: one has to ask. */
static const char *fixed_type(const struct compiler *c, const struct piece *piece)
{
    if (piece->op == PIECE_USER)
        return "a string";
    if (piece->op == PIECE_NOW)
        return "an integer";
    return piece->op == PIECE_AUTH && c->space->auth[piece->index].n_path == 0 ? "an object" : NULL;
}

static bool types_exclude(uint8_t a, uint8_t b)
{
    bool are_numbers =
        (a == TYPE_INTEGER || a == TYPE_NUMBER) && (b == TYPE_INTEGER || b == TYPE_NUMBER);

    return a != b && !are_numbers;
}

/* Does it agree with what else the rule says of the value? */
static bool check_type(struct compiler *c, const char *at, const struct guard *guard)
{
    const struct piece *piece = guard->value.piece;
    struct argument_note *note =
        piece->op == PIECE_ARGUMENT ? &c->argument[piece->index] : &(struct argument_note){0};

    if (fixed_type(c, piece))
        return lexer_fail(&c->lexer, at, "this is always %s", fixed_type(c, piece));
    if (guard->type == TYPE_BINARY && piece->op != PIECE_ARGUMENT)
        return lexer_fail(&c->lexer, at,
                          "this rule can never hold: only an event's argument can be binary");
    if (piece->op == PIECE_EVENT && guard->type != TYPE_STRING && guard->type != TYPE_NUMBER &&
        guard->type != TYPE_INTEGER)
        return lexer_fail(&c->lexer, at,
                          "this rule can never hold: an event's name is a string or a number");
    for (uint16_t i = 0; i + 1 < c->n_guards; i++)
        if (c->guard[i].kind == GUARD_TYPE && types_exclude(c->guard[i].type, guard->type) &&
            reach_same_value(&c->guard[i].value, &guard->value))
            return lexer_fail(&c->lexer, at,
                              "this rule can never hold: `require %.*s` stands above",
                              (int)c->guard[i].text.length, c->guard[i].text.at);
    if (note->is_inside && types_exclude(guard->type, TYPE_STRING) &&
        types_exclude(guard->type, TYPE_INTEGER))
        return lexer_fail(&c->lexer, at,
                          "this rule can never hold: above it stands in a string, where only a "
                          "string or an integer goes in");
    if (note->type != TYPE_INTEGER + 1)
        note->type = guard->type + 1;
    return true;
}

static bool guard_type(struct compiler *c, const struct row *row)
{
    const char *at = c->lexer.at;
    struct guard *guard = add_guard(c, at, GUARD_TYPE);

    if (!guard)
        return false;
    guard->type = (uint8_t)row->value;
    return template_dynamic(c, &guard->value) && check_type(c, at, guard);
}

/* clang-format off */
static const struct row guards[] = {
    {"set",     IN_SOCKETS,                  GUARD_SET,    guard_variable},
    {"unset",   IN_SOCKETS,                  GUARD_UNSET,  guard_variable},
    {"user",    IN_SOCKETS,                  GUARD_USER,   guard_who},
    {"guest",   IN_SOCKETS,                  GUARD_GUEST,  guard_who},
    {"in",      IN_SOCKETS & ~IN_DISCONNECT & ~IN_CONNECTION, GUARD_IN, guard_in},
    {"claim",   IN_SOCKETS,                  GUARD_CLAIM,  guard_claim},
    {"count",   IN_ON,                       GUARD_COUNT,  guard_count},
    {"string",  IN_SOCKETS,                  TYPE_STRING,  guard_type},
    {"integer", IN_SOCKETS,                  TYPE_INTEGER, guard_type},
    {"number",  IN_SOCKETS,                  TYPE_NUMBER,  guard_type},
    {"boolean", IN_SOCKETS,                  TYPE_BOOLEAN, guard_type},
    {"object",  IN_SOCKETS,                  TYPE_OBJECT,  guard_type},
    {"array",   IN_SOCKETS,                  TYPE_ARRAY,   guard_type},
    {"binary",  IN_ON,                       TYPE_BINARY,  guard_type},
};
/* clang-format on */

/* Keep what the file says, for people who ask why. */
static void keep_guard_text(struct compiler *c, struct guard *guard, const char *from)
{
    size_t length = (size_t)(c->lexer.at - from);
    char *text = program_alloc(&c->rules->blocks, length + 1, 1);

    memcpy(text, from, length);
    guard->text = (struct span){text, (uint32_t)length};
}

bool condition_read(struct compiler *c, const struct row *row)
{
    const char *from = c->lexer.at;
    const struct row *guard;
    uint16_t n = c->n_guards;
    bool is_good;

    (void)row;
    guard = compiler_placed_row(c, guards, N(guards), "condition");
    if (!guard)
        return false;
    lexer_skip_blank(&c->lexer);
    c->is_in_guard = true;
    is_good = guard->read(c, guard);
    c->is_in_guard = false;
    if (is_good && c->n_guards > n)
        keep_guard_text(c, &c->guard[n], from);
    return is_good;
}
