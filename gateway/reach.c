/*
 * Looking at whole rules and at all of a namespace.  Everything said here is certain: where a value
 * of a client decides, nothing is.
 */
#include "gateway/reach.h"

#include <string.h>

#define SHOWN_ROOMS 64 /* in a list of those that are known */

static bool same_piece(const struct piece *a, const struct piece *b)
{
    if (a->op != b->op || a->context != b->context || a->index != b->index)
        return false;
    return a->op != PIECE_LITERAL || span_equals(a->text, b->text);
}

bool reach_same_value(const struct template *a, const struct template *b)
{
    if (a->n != b->n || a->type != b->type)
        return false;
    for (uint16_t i = 0; i < a->n; i++)
        if (!same_piece(&a->piece[i], &b->piece[i]))
            return false;
    return true;
}

static bool same_guard(const struct guard *a, const struct guard *b)
{
    return a->kind == b->kind && a->type == b->type && a->index == b->index &&
           reach_same_value(&a->value, &b->value);
}

/* Does `first` hold whenever `second` does?  An integer is a number. */
static bool follows(const struct guard *first, const struct guard *second)
{
    if (first->kind == GUARD_TYPE && second->kind == GUARD_TYPE && first->type == TYPE_NUMBER &&
        second->type == TYPE_INTEGER)
        return reach_same_value(&first->value, &second->value);
    return same_guard(first, second);
}

static bool has_guard(const struct rule *rule, const struct guard *guard)
{
    for (uint16_t i = 0; i < rule->n_guards; i++)
        if (follows(guard, &rule->guard[i]))
            return true;
    return false;
}

/* Does `first` hold whenever `second` does, as far as one can see, if `given` (may be NULL) holds?
 */
static bool always_precedes(const struct rule *first, const struct rule *second,
                            const struct guard *given)
{
    for (uint16_t i = 0; i < first->n_guards; i++)
        if (!has_guard(second, &first->guard[i]) && !(given && same_guard(&first->guard[i], given)))
            return false;
    return true;
}

/* The guard that holds exactly when this one does not; false: there is none. */
static bool opposite(const struct guard *guard, struct guard *other)
{
    static const int8_t kinds[] = {[GUARD_SET] = GUARD_UNSET,
                                   [GUARD_UNSET] = GUARD_SET,
                                   [GUARD_USER] = GUARD_GUEST,
                                   [GUARD_GUEST] = GUARD_USER};

    if (guard->kind > GUARD_GUEST)
        return false;
    *other = *guard;
    other->kind = (uint8_t)kinds[guard->kind];
    return true;
}

/*
 * The rule of `rules` after which `rule` is never reached; NULL: there is none.  Also one that
 * takes what another left: `require set a` and `require unset a` before a rule without either.
 */
static const struct rule *obstacle(const struct rule *rules, const struct rule *rule)
{
    struct guard other;

    for (const struct rule *last = rules; last; last = last->next) {
        if (always_precedes(last, rule, NULL))
            return last;
        for (uint16_t i = 0; i < last->n_guards; i++) {
            if (!opposite(&last->guard[i], &other) || !always_precedes(last, rule, &last->guard[i]))
                continue;
            for (const struct rule *first = rules; first != last; first = first->next)
                if (always_precedes(first, rule, &other))
                    return last;
        }
    }
    return NULL;
}

bool reach_add(struct compiler *c, const char *at, const struct rule *before,
               const struct rule *rule)
{
    const struct rule *last = obstacle(before, rule);
    struct rule_note *note = program_alloc(&c->scratch, 1, sizeof *note);

    if (last)
        return lexer_fail(
            &c->lexer, at, "this rule can never be reached: the one of the same name in line %u %s",
            last->line,
            always_precedes(last, rule, NULL) ? "holds whenever this one does"
                                              : "takes all that those before it leave");
    *note = (struct rule_note){c->notes, at, c->needs, c->sets};
    c->notes = note;
    return true;
}

/* Variables. */

/* Is every variable that a rule names set by one? */
static bool check_names(const struct compiler *c)
{
    const char *known[PROGRAM_VARIABLES + TEMPLATE_VALUES];
    size_t n = template_value_names(known);

    for (uint16_t i = 0; i < c->space->n_variables; i++)
        if (c->variable[i].is_set)
            known[n++] = c->variable[i].name.at;
    for (uint16_t i = 0; i < c->space->n_variables; i++)
        if (!c->variable[i].is_set)
            return lexer_unknown(&c->lexer, c->variable[i].first_use,
                                 "no rule of this namespace sets the variable", c->variable[i].name,
                                 known, n);
    return true;
}

/* Nothing is set at first; what rules set that need nothing else can be; and so on. */
static bool check_order(const struct compiler *c)
{
    uint64_t set = 0, before;
    const struct rule_note *note;
    const struct span *name = c->space->variable;

    do {
        before = set;
        for (note = c->notes; note; note = note->next)
            if (!(note->needs & ~set))
                set |= note->sets;
    } while (set != before);
    for (note = c->notes; note; note = note->next)
        if (note->needs & ~set) {
            name += __builtin_ctzll(note->needs & ~set);
            return lexer_fail(&c->lexer, note->at,
                              "this rule can never hold: only rules that need `%.*s` before would "
                              "set it",
                              (int)name->length, name->at);
        }
    return true;
}

/* Rooms. */

/* What the template's first or last piece says, if that is certain. */
static struct span edge(const struct template *room, bool is_last)
{
    const struct piece *piece = &room->piece[is_last ? room->n - 1 : 0];

    return piece->op == PIECE_LITERAL ? piece->text : (struct span){"", 0};
}

static bool same_edge(const struct template *a, const struct template *b, bool is_last)
{
    struct span one = edge(a, is_last), other = edge(b, is_last);
    uint32_t n = one.length < other.length ? one.length : other.length;

    return memcmp(is_last ? one.at + one.length - n : one.at,
                  is_last ? other.at + other.length - n : other.at, n) == 0;
}

static size_t literal_bytes(const struct template *room)
{
    size_t bytes = 0;

    for (uint16_t i = 0; i < room->n; i++)
        if (room->piece[i].op == PIECE_LITERAL)
            bytes += room->piece[i].text.length;
    return bytes;
}

static bool is_fixed(const struct template *room)
{
    return room->n == 1 && room->piece->op == PIECE_LITERAL;
}

/* Could both ever name the same room? */
static bool may_meet(const struct template *a, const struct template *b)
{
    if (is_fixed(a) && literal_bytes(a) < literal_bytes(b))
        return false;
    if (is_fixed(b) && literal_bytes(b) < literal_bytes(a))
        return false;
    return same_edge(a, b, false) && same_edge(a, b, true);
}

static bool may_be_computed(const struct template *room)
{
    static const struct span starts[] = {{"user:", 5}, {"id:", 3}};
    struct span first = edge(room, false);

    if (is_fixed(room))
        return program_room_is_computed(first);
    for (size_t i = 0; i < 2; i++)
        if (memcmp(first.at, starts[i].at,
                   first.length < starts[i].length ? first.length : starts[i].length) == 0)
            return true;
    return false;
}

static bool can_be_entered(const struct compiler *c, const struct room_note *used)
{
    for (const struct room_note *note = c->rooms; note; note = note->next)
        if (note->is_joined && may_meet(&used->room, &note->room))
            return true;
    return may_be_computed(&used->room);
}

static bool complain_of_room(const struct compiler *c, const struct room_note *used)
{
    const char *known[SHOWN_ROOMS];
    size_t n = 0;

    for (const struct room_note *note = c->rooms; note; note = note->next)
        if (note->is_joined && n < SHOWN_ROOMS)
            known[n++] = note->text.at;
    if (n > 0)
        return lexer_unknown(&c->lexer, used->at, "no rule of this namespace joins the room",
                             used->text, known, n);
    return lexer_fail(&c->lexer, used->at,
                      "nobody can be in the room `%.*s`: no rule of this namespace says `join`",
                      (int)used->text.length, used->text.at);
}

/* The earliest in the file, though the list has the latest first. */
static bool check_rooms(const struct compiler *c)
{
    const struct room_note *wrong = NULL;

    for (const struct room_note *note = c->rooms; note; note = note->next)
        if (!can_be_entered(c, note))
            wrong = note;
    return !wrong || complain_of_room(c, wrong);
}

bool reach_check(struct compiler *c)
{
    return check_names(c) && check_order(c) && check_rooms(c);
}
