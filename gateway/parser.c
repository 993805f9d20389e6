/*
 * The grammar of the rules down to the rule; what stands inside one is statement.c's, what a rule
 * does when it runs, relay.c's.
 */
#include "gateway/parser.h"

#include "gateway/compiler.h"
#include "gateway/reach.h"

#include <string.h>

#define MAX_NAMESPACE_BYTES 128
#define MAX_EVENT_BYTES     sizeof(((struct event *)NULL)->name_buffer)
#define N(array)            (sizeof(array) / sizeof *(array))

/* clang-format off */
static const struct row outermost[] = {
    {"namespace", 0, 0, NULL},
};

static const struct row moments[] = {
    {"connection",    0, MOMENT_CONNECTION,    NULL},
    {"authenticated", 0, MOMENT_AUTHENTICATED, NULL},
    {"disconnecting", 0, MOMENT_DISCONNECTING, NULL},
    {"disconnect",    0, MOMENT_DISCONNECT,    NULL},
    {"user",          0, MOMENTS,              NULL},
};

static const struct row presence[] = {
    {"online",  0, MOMENT_USER_ONLINE,  NULL},
    {"offline", 0, MOMENT_USER_OFFLINE, NULL},
};

static const struct row modes[] = {
    {"required", 0, AUTHENTICATE_REQUIRED, NULL},
    {"later",    0, AUTHENTICATE_LATER,    NULL},
    {"optional", 0, AUTHENTICATE_OPTIONAL, NULL},
    {"none",     0, AUTHENTICATE_NONE,     NULL},
};
/* clang-format on */

static void begin_rule(struct compiler *c)
{
    c->is_guarded = c->has_acked = c->has_emitted = c->is_last = false;
    c->is_guest = c->needs_user = false;
    c->n_arguments = NOT_COUNTED;
    c->most_argument = 0;
    memset(c->argument, 0, sizeof c->argument);
    c->needs = c->sets = 0;
    c->n_sets = 0;
    c->n_guards = c->n_limits = c->n_actions = 0;
    c->deny = (struct span){NULL, 0};
    for (uint16_t i = 0; i < c->space->n_variables; i++) {
        c->variable[i].known = KNOWN_NOT;
        c->variable[i].is_set_here = false;
        c->variable[i].set_by = 0;
        c->variable[i].type = VALUE_NONE;
    }
}

static const void *keep_array(struct compiler *c, const void *from, size_t n, size_t bytes)
{
    void *copy = program_alloc(&c->rules->blocks, n + 1, bytes);

    memcpy(copy, from, n * bytes);
    return copy;
}

static struct rule *end_rule(struct compiler *c, const char *at)
{
    struct rule *rule = program_alloc(&c->rules->blocks, 1, sizeof *rule);

    for (; c->counted < at; c->counted++)
        c->lines += *c->counted == '\n';
    rule->line = c->lines + 1;
    rule->n_guards = c->n_guards;
    rule->n_limits = c->n_limits;
    rule->n_actions = c->n_actions;
    rule->guard = keep_array(c, c->guard, c->n_guards, sizeof *c->guard);
    rule->limit = keep_array(c, c->limit, c->n_limits, sizeof *c->limit);
    rule->action = keep_array(c, c->action, c->n_actions, sizeof *c->action);
    rule->deny = c->deny;
    return rule;
}

static bool add_rule(struct compiler *c, const char *at, struct trigger *trigger)
{
    struct rule *rule = end_rule(c, at), **last = &trigger->rules;

    if (++c->rules->n_rules > PROGRAM_RULES)
        return lexer_fail(&c->lexer, at, "there are more than %d rules", PROGRAM_RULES);
    if (!reach_add(c, at, trigger->rules, rule))
        return false;
    while (*last)
        last = &(*last)->next;
    *last = rule;
    return true;
}

static bool read_rule(struct compiler *c, const char *at, struct trigger *trigger)
{
    struct lexer *l = &c->lexer;

    begin_rule(c);
    lexer_skip_lines(l);
    if (!lexer_take(l, '{'))
        return lexer_expected(l, "`{` and what the rule does");
    for (;;) {
        lexer_skip_separators(l);
        if (lexer_take(l, '}'))
            return add_rule(c, at, trigger);
        if (l->at == l->end)
            return lexer_fail(l, at, "this rule has no end: a `}` is missing");
        if (!statement_read(c))
            return false;
    }
}

/* Events' names. */

static struct trigger *new_trigger(struct compiler *c, struct span name)
{
    struct trigger *trigger = program_alloc(&c->rules->blocks, 1, sizeof *trigger);

    trigger->name = name;
    return trigger;
}

static struct trigger *exact_trigger(struct compiler *c, struct span name)
{
    uint64_t hash = table_hash(name.at, name.length);
    struct table_link *link = table_first(&c->space->events, hash);
    struct trigger *trigger;

    for (; link; link = table_next(link)) {
        trigger = TABLE_ENTRY(link, struct trigger, link);
        if (span_equals(trigger->name, name))
            return trigger;
    }
    trigger = new_trigger(c, name);
    trigger->link.hash = hash;
    table_add(&c->space->events, &trigger->link);
    return trigger;
}

static struct trigger *prefix_trigger(struct compiler *c, struct span name)
{
    struct trigger **at = &c->space->prefixes, *trigger;

    while (*at && (*at)->name.length > name.length)
        at = &(*at)->next;
    for (trigger = *at; trigger && trigger->name.length == name.length; trigger = trigger->next)
        if (span_equals(trigger->name, name))
            return trigger;
    trigger = new_trigger(c, name);
    trigger->next = *at;
    *at = trigger;
    return trigger;
}

static bool check_event(struct compiler *c, const char *at, struct span name)
{
    const char *star = memchr(name.at, '*', name.length);

    if (name.length > MAX_EVENT_BYTES)
        return lexer_fail(&c->lexer, at, "an event's name has at most %zu bytes", MAX_EVENT_BYTES);
    if (star && star != name.at + name.length - 1)
        return lexer_fail(&c->lexer, at, "`*` can stand only at the end of a name");
    for (size_t i = 0; i < N(moments); i++)
        if (moments[i].value != MOMENTS && span_is(name, moments[i].word))
            return lexer_fail(&c->lexer, at,
                              "\"%s\" is no client's event but the gateway's moment: did you mean "
                              "`when %s`?",
                              moments[i].word, moments[i].word);
    if (!program_name_is_reserved(name))
        return true;
    return lexer_fail(&c->lexer, at, "\"%.*s\" is reserved: no rule can match it", (int)name.length,
                      name.at);
}

static bool read_on(struct compiler *c, const char *at)
{
    const char *name_at;
    struct span name;

    lexer_skip_blank(&c->lexer);
    name_at = c->lexer.at;
    if (!lexer_sees(&c->lexer, '"'))
        return lexer_expected(&c->lexer, "the name of a client's event in quotes, such as \"say\" "
                                         "(the gateway's moments follow `when`)");
    if (!template_plain(c, "an event's name", &name) || !check_event(c, name_at, name))
        return false;
    c->place = IN_ON;
    c->moment = NULL;
    c->is_any_event = span_is(name, "*");
    if (name.length > 0 && name.at[name.length - 1] == '*') {
        name.length--;
        return read_rule(c, at, prefix_trigger(c, name));
    }
    return read_rule(c, at, exact_trigger(c, name));
}

/* `online` or `offline` after `user`. */
static const struct row *read_presence(struct compiler *c, const char *at)
{
    const struct row *row;

    lexer_skip_blank(&c->lexer);
    row = compiler_row(c, presence, N(presence), "moment of a user");
    if (row && c->space->authenticate == AUTHENTICATE_NONE) {
        lexer_fail(&c->lexer, at,
                   "this moment never comes: in a namespace with `authenticate none` there are no "
                   "users");
        return NULL;
    }
    return row;
}

/* `authenticated` is for those who come without a token. */
static bool check_authenticated(struct compiler *c, const char *at)
{
    if (c->space->authenticate == AUTHENTICATE_REQUIRED)
        return lexer_fail(&c->lexer, at,
                          "this moment never comes: where authentication is required everybody has "
                          "shown a token at `when connection`");
    if (c->space->authenticate == AUTHENTICATE_NONE)
        return lexer_fail(&c->lexer, at,
                          "this moment never comes in a namespace with `authenticate none`");
    return true;
}

static bool read_when(struct compiler *c, const char *at)
{
    const struct row *moment;

    lexer_skip_blank(&c->lexer);
    if (lexer_sees(&c->lexer, '"'))
        return lexer_fail(&c->lexer, c->lexer.at,
                          "a moment has no quotes; clients' events are matched by `on`");
    moment = compiler_row(c, moments, N(moments), "moment");
    if (moment && moment->value == MOMENTS)
        moment = read_presence(c, at);
    if (!moment || (moment->value == MOMENT_AUTHENTICATED && !check_authenticated(c, at)))
        return false;
    c->place = IN_MOMENT(moment->value);
    c->moment = moment->word;
    return read_rule(c, at, &c->space->moment[moment->value]);
}

/* Namespaces. */

static bool read_authenticate(struct compiler *c, const char *at, const char *first_rule)
{
    const struct row *mode;

    lexer_skip_blank(&c->lexer);
    mode = compiler_row(c, modes, N(modes), "way to authenticate");
    if (!mode)
        return false;
    if (first_rule)
        return lexer_fail(&c->lexer, at, "`authenticate` stands once, before the rules");
    c->space->authenticate = (enum rules_authenticate)mode->value;
    return lexer_ends_statement(&c->lexer) || lexer_expected(&c->lexer, "a new line or `;`");
}

static bool read_items(struct compiler *c, const char *start)
{
    static const char *const known[] = {"authenticate", "when", "on"};
    struct lexer *l = &c->lexer;
    const char *first = NULL; /* after which `authenticate` is too late */

    for (;; first = l->at) {
        const char *at;
        struct span word;
        bool is_good;

        lexer_skip_separators(l);
        if (lexer_take(l, '}'))
            return true;
        at = l->at;
        if (at == l->end)
            return lexer_fail(l, start, "this namespace has no end: a `}` is missing");
        word = lexer_word(l);
        if (span_is(word, "on"))
            is_good = read_on(c, at);
        else if (span_is(word, "when"))
            is_good = read_when(c, at);
        else if (span_is(word, "authenticate"))
            is_good = read_authenticate(c, at, first);
        else if (word.length > 0)
            is_good = lexer_unknown(l, at, "unknown word", word, known, N(known));
        else
            is_good = lexer_expected(l, "`on`, `when`, `authenticate` or `}`");
        if (!is_good)
            return false;
    }
}

static bool check_namespace(struct compiler *c, const char *at, struct span name)
{
    if (name.length == 0 || name.at[0] != '/')
        return lexer_fail(&c->lexer, at, "a namespace begins with `/`");
    if (name.length > MAX_NAMESPACE_BYTES)
        return lexer_fail(&c->lexer, at, "a namespace has at most %d bytes", MAX_NAMESPACE_BYTES);
    for (uint32_t i = 0; i < name.length; i++)
        if (strchr(",?*", name.at[i]) || (unsigned char)name.at[i] < ' ')
            return lexer_fail(&c->lexer, at,
                              "no comma, `?`, `*` or control character can stand in a "
                              "namespace: each is named by itself");
    if (rules_namespace_find(c->rules, name))
        return lexer_fail(&c->lexer, at, "namespace \"%.*s\" stands here a second time",
                          (int)name.length, name.at);
    if (c->rules->n_spaces == PROGRAM_NAMESPACES)
        return lexer_fail(&c->lexer, at, "there are more than %d namespaces", PROGRAM_NAMESPACES);
    return true;
}

static bool read_namespace(struct compiler *c)
{
    struct lexer *l = &c->lexer;
    const char *start = l->at, *at;
    struct span name;

    if (!compiler_row(c, outermost, N(outermost), "word"))
        return false;
    lexer_skip_blank(l);
    at = l->at;
    if (!template_plain(c, "a namespace", &name) || !check_namespace(c, at, name))
        return false;
    c->space = program_alloc(&c->rules->blocks, 1, sizeof *c->space);
    c->space->name = name;
    c->space->authenticate = AUTHENTICATE_REQUIRED;
    c->rooms = NULL;
    c->notes = NULL;
    table_init(&c->space->events);
    c->rules->space[c->rules->n_spaces++] = c->space;
    lexer_skip_lines(l);
    if (!lexer_take(l, '{'))
        return lexer_expected(l, "`{` and the rules of the namespace");
    return read_items(c, start) && reach_check(c);
}

static bool read_all(struct compiler *c)
{
    for (;;) {
        lexer_skip_separators(&c->lexer);
        if (c->lexer.at == c->lexer.end)
            break;
        if (!read_namespace(c))
            return false;
    }
    if (c->rules->n_spaces == 0)
        return lexer_fail(
            &c->lexer, c->lexer.at,
            "there is no namespace, so nobody could connect: write `namespace \"/\" { "
            "… }`");
    return true;
}

bool parser_read(const struct source *source, struct rules *rules,
                 void (*warn)(const char *text, void *context), void *context)
{
    struct compiler compiler = {.rules = rules, .warn = warn, .warn_context = context};
    bool is_good;

    lexer_init(&compiler.lexer, source);
    compiler.counted = source->begin;
    is_good = read_all(&compiler);
    program_free(&compiler.scratch);
    return is_good;
}
