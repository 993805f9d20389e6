/*
 * What stands inside a rule: one table row for each verb and target, and what can be said about
 * each before the rule ever runs.  Conditions are condition.c's, values template.c's.
 */
#include "gateway/compiler.h"

#include <stdio.h>
#include <string.h>

#define MAX_DENY_BYTES 256
#define MAX_PERIOD_MS  86400000u
#define MAX_ROWS       16
#define N(array)       (sizeof(array) / sizeof *(array))

static bool emit(struct compiler *c, const struct row *row);
static bool ack(struct compiler *c, const struct row *row);
static bool join(struct compiler *c, const struct row *row);
static bool leave(struct compiler *c, const struct row *row);
static bool set(struct compiler *c, const struct row *row);
static bool unset(struct compiler *c, const struct row *row);
static bool deny(struct compiler *c, const struct row *row);
static bool disconnect(struct compiler *c, const struct row *row);
static bool limit(struct compiler *c, const struct row *row);

/* clang-format off */
static const struct row verbs[] = {
    {"require",    IN_SOCKETS,             0,                 condition_read},
    {"limit",      IN_ON,                  0,                 limit},
    {"emit",       IN_ANY,                 ACTION_EMIT,       emit},
    {"ack",        IN_ON,                  ACTION_ACK,        ack},
    {"join",       IN_STAYING,             ACTION_JOIN,       join},
    {"leave",      IN_STAYING,             ACTION_LEAVE,      leave},
    {"set",        IN_SOCKETS,             ACTION_SET,        set},
    {"unset",      IN_SOCKETS,             ACTION_UNSET,      unset},
    {"deny",       IN_ON | IN_CONNECTION,  0,                 deny},
    {"disconnect", IN_STAYING,             ACTION_DISCONNECT, disconnect},
};

static const struct row targets[] = {
    {"self",   IN_STAYING, TARGET_SELF,   NULL},
    {"others", IN_SOCKETS, TARGET_OTHERS, NULL},
    {"all",    IN_ANY,     TARGET_ALL,    NULL},
    {"to",     IN_ANY,     TARGET_TO,     NULL},
    {"in",     IN_ANY,     TARGET_IN,     NULL},
};

static const struct row units[] = {
    {"ms", 0, 1,        NULL},
    {"s",  0, 1000,     NULL},
    {"m",  0, 60000,    NULL},
    {"h",  0, 3600000,  NULL},
    {"d",  0, 86400000, NULL},
};
/* clang-format on */

/* May the word stand in this kind of rule? */
static bool check_place(struct compiler *c, const char *at, const struct row *row)
{
    if (row->places & c->place)
        return true;
    if (row->places == IN_ON)
        return lexer_fail(&c->lexer, at,
                          "`%s` can stand only in `on`: a moment is no client's event", row->word);
    if (c->place & IN_PRESENCE)
        return template_presence_lacks(c, &c->lexer, at, "",
                                       (struct span){row->word, (uint32_t)strlen(row->word)});
    if (c->place == IN_AUTHENTICATED)
        return lexer_fail(&c->lexer, at,
                          "`%s` cannot stand in `when authenticated`: the token was good; "
                          "`disconnect` ends the socket",
                          row->word);
    if (c->place == IN_CONNECTION)
        return lexer_fail(&c->lexer, at,
                          "this rule can never hold: at `connection` the socket is in no room yet");
    if (row->places & IN_DISCONNECTING)
        return lexer_fail(&c->lexer, at,
                          "at `disconnect` the rooms are left already: `%s` can stand in `when "
                          "disconnecting`",
                          row->word);
    return lexer_fail(&c->lexer, at, "`%s` cannot stand in `when %s`: the socket is leaving",
                      row->word, c->moment);
}

const struct row *compiler_placed_row(struct compiler *c, const struct row *rows, size_t n,
                                      const char *what)
{
    const char *at = c->lexer.at;
    const struct row *row = compiler_row(c, rows, n, what);

    return row && check_place(c, at, row) ? row : NULL;
}

static struct action *add_action(struct compiler *c, const char *at, enum action_kind kind)
{
    if (c->n_actions == PROGRAM_ACTIONS) {
        lexer_fail(&c->lexer, at, "a rule does at most %d things", PROGRAM_ACTIONS);
        return NULL;
    }
    c->action[c->n_actions] = (struct action){.kind = (uint8_t)kind};
    return &c->action[c->n_actions++];
}

/* The name of a variable, where it stands without `$`. */
bool statement_variable(struct compiler *c, uint16_t *slot)
{
    struct lexer *l = &c->lexer;
    const char *at = l->at;
    struct span name = lexer_word(l);

    if (lexer_sees(l, '$'))
        return lexer_fail(l, at, "here a variable's name stands without `$`");
    if (name.length == 0)
        return lexer_expected(l, "a variable's name");
    return template_variable(c, l, at, name, slot);
}

void compiler_warn_of_open_room(struct compiler *c, const struct lexer *l, const char *at)
{
    char place[512], text[768];

    if (c->is_guarded || !c->warn)
        return;
    lexer_place(l, at, place, sizeof place);
    snprintf(text, sizeof text,
             "%s: warning: any client can name any room here: add a `require`, such as `require "
             "claim rooms $1`, or a fixed beginning, such as \"room:$1\"",
             place);
    c->warn(text, c->warn_context);
}

bool statement_room(struct compiler *c, struct template *room, bool is_warned_of)
{
    const char *at = c->lexer.at;
    bool is_client_only;

    if (!template_room(c, &c->lexer, room, &is_client_only))
        return false;
    if (is_warned_of && is_client_only)
        compiler_warn_of_open_room(c, &c->lexer, at);
    return true;
}

/* One of the socket's own rooms: to join or to leave. */
static bool read_own_room(struct compiler *c, const struct row *row)
{
    const char *at = c->lexer.at;
    struct action *action = add_action(c, at, row->value);
    const struct piece *first;

    if (!action || !statement_room(c, &action->room, row->value == ACTION_JOIN))
        return false;
    if (row->value == ACTION_JOIN)
        c->rooms->is_joined = true;
    first = action->room.piece;
    if (first->op == PIECE_LITERAL && program_room_is_computed(first->text))
        return lexer_fail(
            &c->lexer, at,
            "rooms `user:…` and `id:…` are computed: one can send to them, nobody can "
            "%s them",
            row->word);
    return true;
}

/* Actions. */

/* The name of an event that a rule emits. */
static bool read_emitted_name(struct compiler *c, struct builder *b)
{
    const char *at = c->lexer.at;
    struct span name;

    if (!template_plain(c, "an event's name", &name))
        return false;
    if (program_name_is_reserved(name))
        return lexer_fail(&c->lexer, at, "\"%.*s\" is reserved: no rule can emit it",
                          (int)name.length, name.at);
    builder_json_string(b, name);
    return true;
}

/* Does `$args` come next, which stands by itself? */
static bool take_args(struct lexer *l)
{
    struct lexer ahead = *l;

    if (!lexer_take(&ahead, '$') || !span_is(lexer_word(&ahead), "args") ||
        !lexer_ends_statement(&ahead))
        return false;
    *l = ahead;
    return true;
}

/* Values with commas between them, to the end of the statement. */
static bool read_values(struct compiler *c, struct builder *b)
{
    struct lexer *l = &c->lexer;
    enum value_type type;

    for (;;) {
        if (!template_value(b, &type))
            return false;
        if (lexer_ends_statement(l))
            return true;
        if (!lexer_take(l, ','))
            return lexer_expected(l, "`,` before a further value, or the end of the statement");
        builder_text(b, ",", 1);
        lexer_skip_lines(l);
    }
}

/* What an `emit` says, after its target. */
static bool read_message(struct compiler *c, struct builder *b)
{
    struct lexer *l = &c->lexer;
    bool has_name = lexer_sees(l, '"'), has_own_values = lexer_ends_statement(l) || take_args(l);

    if (!has_name && c->place != IN_ON)
        return lexer_expected(l, "an event's name in quotes: a moment has none of its own");
    if (!has_name && has_own_values)
        return builder_piece(b, (struct piece){.op = PIECE_WHOLE});
    builder_text(b, "[", 1);
    if (has_name) {
        if (!read_emitted_name(c, b))
            return false;
        has_own_values = lexer_ends_statement(l) || (c->place == IN_ON && take_args(l));
    } else if (!builder_piece(b, (struct piece){.op = PIECE_EVENT, .context = AS_JSON})) {
        return false;
    }
    if (lexer_sees(l, ','))
        return lexer_fail(l, l->at, "no comma between an event's name and its first value");
    if (!has_own_values) {
        builder_text(b, ",", 1);
        if (!read_values(c, b))
            return false;
    } else if (c->place == IN_ON && !builder_piece(b, (struct piece){.op = PIECE_REST})) {
        return false;
    }
    builder_text(b, "]", 1);
    return true;
}

static bool emit(struct compiler *c, const struct row *row)
{
    struct lexer *l = &c->lexer;
    struct action *action = add_action(c, l->at, row->value);
    const struct row *target;
    struct builder b;
    struct lexer ahead = *l;

    if (!action)
        return false;
    if (span_is(lexer_word(&ahead), "volatile")) {
        action->is_volatile = true;
        *l = ahead;
        lexer_skip_blank(l);
    }
    target = compiler_placed_row(c, targets, N(targets), "target");
    if (!target)
        return false;
    action->target = (uint8_t)target->value;
    lexer_skip_blank(l);
    if ((target->value == TARGET_TO || target->value == TARGET_IN) &&
        !statement_room(c, &action->room, true))
        return false;
    lexer_skip_blank(l);
    builder_init(&b, c);
    if (!read_message(c, &b) || !builder_finish(&b, VALUE_ARRAY, &action->value))
        return false;
    c->has_emitted = true;
    return true;
}

static bool ack(struct compiler *c, const struct row *row)
{
    struct lexer *l = &c->lexer;
    const char *at = l->at;
    struct action *action = add_action(c, at, row->value);
    struct builder b;

    if (!action)
        return false;
    if (c->has_acked)
        return lexer_fail(l, at, "a second `ack`: an event is answered once");
    c->has_acked = true;
    if (lexer_ends_statement(l))
        return lexer_fail(l, at,
                          "what is answered? A value is missing; without any `ack` the answer "
                          "is an empty one");
    builder_init(&b, c);
    builder_text(&b, "[", 1);
    if (take_args(l)) {
        if (!builder_piece(&b, (struct piece){.op = PIECE_ARGS}))
            return false;
    } else if (!read_values(c, &b)) {
        return false;
    }
    builder_text(&b, "]", 1);
    return builder_finish(&b, VALUE_ARRAY, &action->value);
}

static bool join(struct compiler *c, const struct row *row)
{
    return read_own_room(c, row);
}

static bool leave(struct compiler *c, const struct row *row)
{
    return read_own_room(c, row);
}

/* What is known of a value that a variable gets, without its being an event's. */
static uint8_t known_type(const struct compiler *c, const struct template *value)
{
    const struct piece *only = value->piece;

    if (value->type == VALUE_NONE && only->op == PIECE_VARIABLE)
        return c->variable[only->index].type;
    return value->type;
}

static bool set(struct compiler *c, const struct row *row)
{
    struct action *action = add_action(c, c->lexer.at, row->value);
    struct variable_note *note;
    enum value_type type;
    struct builder b;

    if (!action || !statement_variable(c, &action->index))
        return false;
    lexer_skip_blank(&c->lexer);
    builder_init(&b, c);
    c->is_in_set = true;
    if (!template_value(&b, &type) || !builder_finish(&b, type, &action->value))
        return false;
    c->is_in_set = false;
    note = &c->variable[action->index];
    action->is_first = !note->is_set_here;
    note->is_set = note->is_set_here = true;
    note->known = KNOWN_SET;
    note->set_by = ++c->n_sets;
    c->sets |= UINT64_C(1) << action->index;
    note->type = known_type(c, &action->value);
    return true;
}

static bool unset(struct compiler *c, const struct row *row)
{
    struct action *action = add_action(c, c->lexer.at, row->value);

    if (!action || !statement_variable(c, &action->index))
        return false;
    c->variable[action->index].known = KNOWN_UNSET;
    return true;
}

static bool deny(struct compiler *c, const struct row *row)
{
    const char *at = c->lexer.at;
    struct template words;
    struct builder b;
    struct span text;

    (void)row;
    if (c->n_actions > 0)
        return lexer_fail(&c->lexer, at,
                          "a rule that denies does nothing else: it has no effect but its answer");
    if (!template_plain(c, "a reason", &text))
        return false;
    if (text.length == 0 || text.length > MAX_DENY_BYTES)
        return lexer_fail(&c->lexer, at, "a reason has 1 to %d bytes", MAX_DENY_BYTES);
    builder_init(&b, c);
    builder_json_string(&b, text);
    if (!builder_finish(&b, VALUE_STRING, &words))
        return false;
    c->deny = words.piece->text;
    c->is_last = true;
    return true;
}

static bool disconnect(struct compiler *c, const struct row *row)
{
    c->is_last = true;
    return add_action(c, c->lexer.at, row->value) != NULL;
}

static bool check_before_actions(struct compiler *c, const char *at, const char *word)
{
    if (c->n_actions > 0)
        return lexer_fail(&c->lexer, at, "`%s` stands before what the rule does", word);
    return true;
}

/* `60 per 1s` */
static bool limit(struct compiler *c, const struct row *row)
{
    struct lexer *l = &c->lexer;
    const char *at = l->at;
    const struct row *unit;
    uint32_t n, time;

    (void)row;
    if (c->n_limits == PROGRAM_LIMITS)
        return lexer_fail(l, at, "a rule has at most %d limits", PROGRAM_LIMITS);
    if (!lexer_number(l, 1000000, "a number of events", &n))
        return false;
    lexer_skip_blank(l);
    if (!span_is(lexer_word(l), "per"))
        return lexer_fail(l, at, "a limit is written as in `limit 60 per 1s`");
    lexer_skip_blank(l);
    at = l->at;
    if (!lexer_number(l, MAX_PERIOD_MS, "a time such as `1s`", &time))
        return false;
    unit = compiler_row(c, units, N(units), "unit of time");
    if (!unit)
        return false;
    if (n == 0 || time == 0 || time > MAX_PERIOD_MS / (uint32_t)unit->value)
        return lexer_fail(l, at, "a limit is 1 event or more per 1ms to 1d");
    c->limit[c->n_limits++] = (struct limit){n, time * (uint32_t)unit->value, c->space->n_limits++};
    return true;
}

/*
 * The row of the word that comes next; NULL: an error.  `what` is what such a word is called, in
 * "unknown WHAT".
 */
const struct row *compiler_row(struct compiler *c, const struct row *rows, size_t n,
                               const char *what)
{
    struct lexer *l = &c->lexer;
    const char *at = l->at, *known[MAX_ROWS];
    struct span word = lexer_word(l);
    char complaint[64];

    for (size_t i = 0; i < n; i++) {
        if (span_is(word, rows[i].word))
            return &rows[i];
        known[i] = rows[i].word;
    }
    snprintf(complaint, sizeof complaint, "%s %s", word.length > 0 ? "unknown" : "expected a",
             what);
    lexer_unknown(l, at, complaint, word, known, n);
    return NULL;
}

bool statement_read(struct compiler *c)
{
    struct lexer *l = &c->lexer;
    const char *at = l->at;
    struct lexer ahead = *l;
    struct span word = lexer_word(&ahead);
    const struct row *verb;

    if (span_is(word, "on") || span_is(word, "when") || span_is(word, "namespace"))
        return lexer_fail(l, at, "`%.*s` cannot stand inside a rule: a `}` is missing before it",
                          (int)word.length, word.at);
    verb = compiler_row(c, verbs, N(verbs), "verb");
    if (!verb)
        return false;
    if (c->is_last)
        return lexer_fail(l, at, "nothing can follow `deny` or `disconnect`");
    if (!check_place(c, at, verb))
        return false;
    if ((verb->read == condition_read || verb->read == limit) &&
        !check_before_actions(c, at, verb->word))
        return false;
    lexer_skip_blank(l);
    if (!verb->read(c, verb))
        return false;
    return lexer_ends_statement(l) || lexer_expected(l, "a new line or `;` after the statement");
}
