/*
 * What begins with a `$`: which values there are, where each may stand, and what it becomes as a
 * piece.  The JSON and the texts around it are template.c's.
 */
#include "gateway/compiler.h"

#include <string.h>

/* Traits of a `$` value. */
#define FROM_CLIENT 1u
#define FROM_TOKEN  2u
#define IS_PLAIN    4u /* ASCII without quotes: it goes into a string */
#define WHEN_ACTING 8u /* is read when the rule acts */
#define IS_LIST     16u
#define HAS_MEMBERS 32u
#define HAS_ROOM    64u
#define IS_JSON     128u /* goes nowhere but where JSON stands, and is not kept */

/* clang-format off */
static const struct value_row {
    const char *name;
    enum piece_op op;
    unsigned places, traits;
} rows[] = {
    {"args",   PIECE_ARGS,   IN_ON,                           FROM_CLIENT | IS_LIST},
    {"event",  PIECE_EVENT,  IN_ON,                           FROM_CLIENT},
    {"user",   PIECE_USER,   IN_ANY,                          FROM_TOKEN},
    {"claims", PIECE_CLAIM,  IN_SOCKETS,                      FROM_TOKEN | HAS_MEMBERS},
    {"auth",   PIECE_AUTH,   IN_SOCKETS,                      FROM_CLIENT | HAS_MEMBERS},
    {"id",     PIECE_ID,     IN_SOCKETS,                      IS_PLAIN},
    {"now",    PIECE_NOW,    IN_ANY,                          0},
    {"count",  PIECE_COUNT,  IN_ANY,                          WHEN_ACTING | HAS_ROOM},
    {"members", PIECE_MEMBERS, IN_ANY,                        WHEN_ACTING | HAS_ROOM | IS_JSON | FROM_TOKEN},
    {"sent",   PIECE_SENT,   IN_ANY,                          WHEN_ACTING},
    {"reason", PIECE_REASON, IN_DISCONNECTING | IN_DISCONNECT, IS_PLAIN},
};
/* clang-format on */
#define ROWS (sizeof rows / sizeof *rows)

static const struct value_row *find_row(struct span name)
{
    for (size_t i = 0; i < ROWS; i++)
        if (span_is(name, rows[i].name))
            return &rows[i];
    return NULL;
}

/* After a name's `$`: may the value stand in this rule, here? */
static bool check_row(struct compiler *c, const struct lexer *l, const char *at,
                      const struct value_row *row, enum piece_context context)
{
    if (!(row->places & c->place) && (c->place & IN_PRESENCE))
        return template_presence_lacks(c, l, at, "$",
                                       (struct span){row->name, (uint32_t)strlen(row->name)});
    if (!(row->places & c->place))
        return lexer_fail(
            l, at,
            row->places == IN_ON
                ? "`$%s` is there only in `on`: at a moment no client has sent anything"
                : "`$%s` is there only in `when disconnecting` and `when disconnect`",
            row->name);
    if ((row->traits & FROM_TOKEN) && c->space->authenticate == AUTHENTICATE_NONE)
        return lexer_fail(
            l, at,
            "there is no `$%s` in a namespace with `authenticate none`: nobody shows a "
            "token",
            row->name);
    if ((row->traits & FROM_TOKEN) && !(row->traits & HAS_ROOM) && c->is_guest)
        return lexer_fail(l, at, "a guest has no `$%s`, and the rule is for guests", row->name);
    if ((row->traits & WHEN_ACTING) && c->is_in_guard)
        return lexer_fail(l, at, "`$%s` is read when the rule acts: it cannot stand in a `require`",
                          row->name);
    if ((row->traits & IS_JSON) && c->is_in_set)
        return lexer_fail(l, at, "`$%s` is read when it is sent: it cannot be kept in a variable",
                          row->name);
    if ((row->traits & IS_JSON) && context != AS_JSON)
        return lexer_fail(l, at,
                          "in a string only a string or an integer goes in, and `$%s` is a list",
                          row->name);
    if (row->traits & IS_LIST)
        return lexer_fail(l, at,
                          "`$args` is the whole list of arguments: it stands by itself, as in "
                          "`emit others \"name\" $args`");
    if (row->op == PIECE_SENT && !c->has_emitted)
        return lexer_fail(l, at,
                          "`$sent` is what the rule has sent so far: it stands after an `emit`");
    if ((row->traits & FROM_TOKEN) && !(row->traits & HAS_ROOM) && c->is_in_guard)
        c->needs_user = true;
    return true;
}

/* `$1.name` is no path into the value, as one might think. */
static bool check_no_members(const struct lexer *l, const char *at, enum piece_context context)
{
    if (context == AS_JSON && (lexer_sees(l, '.') || lexer_sees(l, '[')))
        return lexer_fail(l, at, "a value goes in whole: only `$claims` and `$auth` have members");
    return true;
}

static bool put_value(struct builder *b, struct piece piece, unsigned traits)
{
    bool is_quoted = (traits & IS_PLAIN) && piece.context == AS_JSON;

    if (is_quoted)
        piece.context = IN_STRING;
    if (!(traits & FROM_CLIENT))
        b->is_client_only = false;
    if (is_quoted)
        builder_text(b, "\"", 1);
    if (!builder_piece(b, piece))
        return false;
    if (is_quoted)
        builder_text(b, "\"", 1);
    return true;
}

/* Does an argument of the type that the rule asks for go there? */
static bool check_argument(struct compiler *c, const struct lexer *l, const char *at, uint32_t n,
                           enum piece_context context)
{
    struct argument_note *note = &c->argument[n - 1];
    enum guard_type type = note->type ? note->type - 1 : TYPE_STRING;

    if (c->is_in_guard && n > c->most_argument)
        c->most_argument = n;
    if (context != AS_JSON && type != TYPE_STRING && type != TYPE_INTEGER && type != TYPE_NUMBER)
        return lexer_fail(l, at,
                          "in a string only a string or an integer goes in, and `$%u` is something "
                          "else, says the `require` above",
                          n);
    if (c->is_in_set && type == TYPE_BINARY)
        return lexer_fail(l, at, "binary cannot be kept in a variable");
    note->is_inside = note->is_inside || context != AS_JSON;
    return true;
}

static bool read_argument(struct builder *b, struct lexer *l, enum piece_context context)
{
    const char *at = l->at - 1;
    struct compiler *c = b->compiler;
    uint32_t n;

    if (!lexer_number(l, 1000000, "an argument's number", &n))
        return false;
    if (n < 1 || n > SCANNER_ARGUMENTS)
        return lexer_fail(l, at, "there is no `$%u`: arguments are `$1` to `$%d`", n,
                          SCANNER_ARGUMENTS);
    if (c->place != IN_ON)
        return lexer_fail(
            l, at, "`$%u` is there only in `on`: at a moment no client has sent anything", n);
    if (n > c->n_arguments)
        return lexer_fail(l, at, "there is no `$%u` after `require count %u`", n, c->n_arguments);
    if (!check_no_members(l, at, context) || !check_argument(c, l, at, n, context))
        return false;
    return put_value(b,
                     (struct piece){.op = PIECE_ARGUMENT,
                                    .context = (uint8_t)context,
                                    .index = (uint16_t)(n - 1)},
                     FROM_CLIENT);
}

static bool read_variable(struct builder *b, struct lexer *l, const char *at, struct span name,
                          enum piece_context context)
{
    struct compiler *c = b->compiler;
    struct piece piece = {.op = PIECE_VARIABLE, .context = (uint8_t)context};
    const struct variable_note *note;

    if (c->place & IN_PRESENCE)
        return template_presence_lacks(c, l, at, "$", name);
    if (!template_variable(c, l, at, name, &piece.index))
        return false;
    note = &c->variable[piece.index];
    if (note->known == KNOWN_UNSET || (c->place == IN_CONNECTION && !note->set_by))
        return lexer_fail(l, at, "`%.*s` is unset here", (int)name.length, name.at);
    if (context != AS_JSON && note->type != VALUE_NONE && note->type != VALUE_STRING &&
        note->type != VALUE_INTEGER)
        return lexer_fail(l, at,
                          "in a string only a string or an integer goes in, and `%.*s` was set to "
                          "something else above",
                          (int)name.length, name.at);
    piece.set_by = note->set_by;
    if (!note->set_by)
        c->needs |= UINT64_C(1) << piece.index;
    return check_no_members(l, at, context) && put_value(b, piece, 0);
}

/* The room of `$count` or `$members`. */
static bool read_room(struct builder *b, struct lexer *l, const struct value_row *row,
                      struct piece *piece)
{
    struct template *room = program_alloc(&b->compiler->rules->blocks, 1, sizeof *room);
    struct compiler *c = b->compiler;
    bool is_client_only;
    const char *at;

    if (c->is_in_room)
        return lexer_fail(l, l->at, "a room that is counted cannot be named by a count");
    if (!lexer_take(l, '('))
        return lexer_expected(l, row->op == PIECE_COUNT
                                     ? "a room in parentheses, as in `$count(\"hall\")`"
                                     : "a room in parentheses, as in `$members(\"hall\")`");
    lexer_skip_blank(l);
    c->is_in_room = true;
    at = l->at;
    if (!template_room(c, l, room, &is_client_only))
        return false;
    c->is_in_room = false;
    if (!template_is_no_socket(l, at, room))
        return false;
    if (row->op == PIECE_MEMBERS) {
        c->space->asks_members = true;
        if (is_client_only)
            compiler_warn_of_open_room(c, l, at);
    }
    lexer_skip_blank(l);
    if (!lexer_take(l, ')'))
        return lexer_expected(l, "`)`");
    piece->room = room;
    return true;
}

static bool same_path(const struct rules_path *a, const struct rules_path *b)
{
    if (a->n_path != b->n_path)
        return false;
    for (size_t i = 0; i < a->n_path; i++)
        if (!span_equals(a->path[i], b->path[i]))
            return false;
    return true;
}

/* The slot of a path among `known`, new or not. */
static bool find_slot(const struct lexer *l, const char *at, struct rules_path path,
                      struct rules_path *known, uint16_t *n, uint16_t most, uint16_t *slot)
{
    uint16_t i = 0;

    while (i < *n && !same_path(&known[i], &path))
        i++;
    if (i == most)
        return lexer_fail(l, at, "the rules name more than %d claims, or parts of `$auth`", most);
    if (i == *n)
        known[(*n)++] = path;
    *slot = i;
    return true;
}

/* `$claims.a.b`, `$auth`, `$auth.a`. */
static bool read_members(struct builder *b, struct lexer *l, const char *at,
                         const struct value_row *row, struct piece *piece)
{
    const struct span *path;
    size_t n_path;

    if (!template_path(b->compiler, l, (struct span){NULL, 0}, &path, &n_path))
        return false;
    if (row->op == PIECE_CLAIM) {
        if (n_path == 0)
            return lexer_fail(l, at,
                              "which claim? `$claims.email`, or `$claims[\"https://…\"]` where the "
                              "name is no word");
        return template_claim(b->compiler, l, at, path, n_path, &piece->index);
    }
    if (n_path == 0 && piece->context != AS_JSON)
        return lexer_fail(l, at,
                          "in a string only a string or an integer goes in, and `$auth` is an "
                          "object: name a member, as in `$auth.name`");
    return find_slot(l, at, (struct rules_path){path, n_path}, b->compiler->space->auth,
                     &b->compiler->space->n_auths, RULES_AUTHS, &piece->index);
}

/* A value, from its `$`. */
bool dollar_read(struct builder *b, struct lexer *l, enum piece_context context)
{
    const char *at = l->at++;
    struct piece piece = {.context = (uint8_t)context};
    const struct value_row *row;
    unsigned traits;
    struct span name;

    if (l->at < l->end && *l->at >= '0' && *l->at <= '9')
        return read_argument(b, l, context);
    name = lexer_word(l);
    if (name.length == 0)
        return lexer_fail(l, at,
                          "a `$` begins a value, such as `$1` or `$user`; a dollar in a "
                          "string is written `$$`");
    row = find_row(name);
    if (!row && context == AS_JSON && lexer_sees(l, '(')) {
        const char *names[TEMPLATE_VALUES];

        return lexer_unknown(l, at + 1, "unknown value", name, names, template_value_names(names));
    }
    if (!row)
        return read_variable(b, l, at, name, context);
    if (!check_row(b->compiler, l, at, row, context))
        return false;
    piece.op = (uint8_t)row->op;
    if ((row->traits & HAS_ROOM) && !read_room(b, l, row, &piece))
        return false;
    if ((row->traits & HAS_MEMBERS) && !read_members(b, l, at, row, &piece))
        return false;
    if (!check_no_members(l, at, context))
        return false;
    traits = row->traits;
    if (row->op == PIECE_EVENT && !b->compiler->is_any_event)
        traits &= ~FROM_CLIENT; /* the rule has named it, or how it begins */
    return put_value(b, piece, traits);
}

bool template_presence_lacks(const struct compiler *c, const struct lexer *l, const char *at,
                             const char *dollar, struct span word)
{
    return lexer_fail(
        l, at,
        "`%s%.*s` cannot stand in `when user %s`: that is about all sockets of a user "
        "together, and knows `$user`, `all` and rooms only",
        dollar, (int)word.length, word.at, c->moment);
}

bool template_path(struct compiler *compiler, struct lexer *lexer, struct span first,
                   const struct span **path, size_t *n_path)
{
    struct span *segments = program_alloc(&compiler->rules->blocks, PROGRAM_PATH, sizeof *segments);
    size_t n = 0;

    if (first.length > 0)
        segments[n++] = compiler_keep(compiler, first);
    for (;;) {
        struct lexer ahead = *lexer, content;
        struct span segment;

        if (lexer_take(&ahead, '.')) {
            segment = lexer_word(&ahead);
            if (segment.length == 0)
                break; /* a full stop in a text, perhaps; others will complain if it is not */
        } else if (lexer_take(&ahead, '[') && lexer_sees(&ahead, '"')) {
            if (!lexer_string(&ahead, &compiler->scratch, &content))
                return false;
            if (!lexer_take(&ahead, ']'))
                return lexer_expected(&ahead, "`]`");
            segment = (struct span){content.begin, (uint32_t)(content.end - content.begin)};
        } else {
            break;
        }
        if (n == PROGRAM_PATH)
            return lexer_fail(lexer, lexer->at, "a name has at most %d parts", PROGRAM_PATH);
        segments[n++] = compiler_keep(compiler, segment);
        *lexer = ahead;
    }
    *path = segments;
    *n_path = n;
    return true;
}

bool template_claim(struct compiler *compiler, const struct lexer *lexer, const char *at,
                    const struct span *path, size_t n_path, uint16_t *slot)
{
    return find_slot(lexer, at, (struct rules_path){path, n_path}, compiler->rules->claim,
                     &compiler->rules->n_claims, RULES_CLAIMS, slot);
}

bool template_variable(struct compiler *compiler, const struct lexer *lexer, const char *at,
                       struct span name, uint16_t *slot)
{
    struct rules_namespace *space = compiler->space;
    uint16_t i = 0;

    if (find_row(name))
        return lexer_fail(lexer, at, "`%.*s` is a value of the gateway's own, not a variable",
                          (int)name.length, name.at);
    while (i < space->n_variables && !span_equals(compiler->variable[i].name, name))
        i++;
    if (i == PROGRAM_VARIABLES)
        return lexer_fail(lexer, at, "a namespace has at most %d variables", PROGRAM_VARIABLES);
    if (i == space->n_variables) {
        compiler->variable[i] = (struct variable_note){.name = compiler_keep(compiler, name),
                                                       .first_use = lexer_origin(lexer, at)};
        space->variable[space->n_variables++] = compiler->variable[i].name;
    }
    *slot = i;
    return true;
}

size_t template_value_names(const char *names[TEMPLATE_VALUES])
{
    _Static_assert(ROWS <= TEMPLATE_VALUES, "TEMPLATE_VALUES");
    for (size_t i = 0; i < ROWS; i++)
        names[i] = rows[i].name;
    return ROWS;
}
