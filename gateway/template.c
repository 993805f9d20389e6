/*
 * Values and templates: JSON with `$` values in it, a room's name, plain text; from the file's text
 * to pieces.  What is literal is minified and escaped here, once, so that an event only has to put
 * its own values between.
 */
#include "gateway/compiler.h"

#include "common/memory.h"

#include <stdio.h>
#include <string.h>

#define TEMPLATE_MEMBERS 256 /* of an object */

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

/* The bytes in the memory of the rules. */
static struct span keep(struct compiler *compiler, struct span text)
{
    char *copy = program_alloc(&compiler->rules->blocks, text.length + 1, 1);

    memcpy(copy, text.at, text.length);
    return (struct span){copy, text.length};
}

static bool close_literal(struct builder *b)
{
    struct piece *piece = &b->piece[b->n];

    if (b->length == b->piece_start)
        return true;
    if (b->n == PROGRAM_PIECES)
        return lexer_fail(&b->compiler->lexer, b->at, "more than %d values in one template",
                          PROGRAM_PIECES / 2);
    *piece = (struct piece){.op = PIECE_LITERAL};
    piece->text.length = (uint32_t)(b->length - b->piece_start);
    b->piece_start = b->length;
    b->n++;
    return true;
}

static void put_escaped(struct builder *b, char c)
{
    char escape[8];

    if (c == '"' || c == '\\')
        builder_text(b, "\\", 1);
    if ((unsigned char)c >= ' ') {
        builder_text(b, &c, 1);
        return;
    }
    snprintf(escape, sizeof escape, "\\u%04x", (unsigned)c);
    builder_text(b, escape, 6);
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
static bool read_dollar(struct builder *b, struct lexer *l, enum piece_context context)
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

/* What a string says, with its values. */
static bool read_parts(struct builder *b, struct lexer *in, enum piece_context context)
{
    while (in->at < in->end) {
        bool is_dollar = *in->at == '$', is_doubled = in->at + 1 < in->end && in->at[1] == '$';

        if (is_dollar && !is_doubled) {
            if (!read_dollar(b, in, context))
                return false;
            continue;
        }
        b->has_literal = true;
        if (context == IN_ROOM)
            builder_text(b, in->at, 1);
        else
            put_escaped(b, *in->at);
        in->at += is_dollar ? 2 : 1;
    }
    return true;
}

static bool read_string(struct builder *b)
{
    struct lexer content;

    if (!lexer_string(&b->compiler->lexer, &b->compiler->scratch, &content))
        return false;
    builder_text(b, "\"", 1);
    if (!read_parts(b, &content, IN_STRING))
        return false;
    builder_text(b, "\"", 1);
    return true;
}

static bool read_number(struct builder *b, enum value_type *type)
{
    struct lexer *l = &b->compiler->lexer;
    const char *start = l->at;
    struct json_value value;

    while (l->at < l->end && *l->at && strchr("+-.0123456789eE", *l->at))
        l->at++;
    if (!scan_value(start, (size_t)(l->at - start), &value))
        return lexer_fail(l, start, "`%.*s` is not a number as JSON has it",
                          (int)(l->at - start < 40 ? l->at - start : 40), start);
    *type = value.type;
    builder_text(b, value.text.at, value.text.length);
    return true;
}

static bool read_word(struct builder *b, enum value_type *type)
{
    struct lexer *l = &b->compiler->lexer;
    const char *at = l->at;
    struct span word = lexer_word(l);
    struct json_value value;

    if (word.length == 0)
        return lexer_expected(l, "a value: JSON, or one that begins with `$`");
    if (!scan_value(word.at, word.length, &value))
        return lexer_fail(l, at, "`%.*s` is not JSON: did you mean \"%.*s\" or `$%.*s`?",
                          (int)word.length, word.at, (int)word.length, word.at, (int)word.length,
                          word.at);
    *type = value.type;
    builder_text(b, word.at, word.length);
    return true;
}

static bool read_value(struct builder *b, unsigned depth, enum value_type *type);

/* The members of the object that is being read. */
struct members {
    struct span name[TEMPLATE_MEMBERS];
    unsigned n;
};

/* Of repeated names a receiver would see the last alone. */
static bool note_name(struct builder *b, const char *at, struct span name, struct members **members)
{
    struct lexer *l = &b->compiler->lexer;

    if (!*members)
        *members = program_alloc(&b->compiler->scratch, 1, sizeof **members);
    for (unsigned i = 0; i < (*members)->n; i++)
        if (span_equals((*members)->name[i], name))
            return lexer_fail(l, at, "the member \"%.*s\" stands here a second time",
                              (int)name.length, name.at);
    if ((*members)->n == TEMPLATE_MEMBERS)
        return lexer_fail(l, at, "an object has at most %d members", TEMPLATE_MEMBERS);
    (*members)->name[(*members)->n++] = name;
    return true;
}

static bool read_name(struct builder *b, struct members **members)
{
    struct lexer *l = &b->compiler->lexer;
    const char *at = l->at;
    struct span name;

    if (!lexer_sees(l, '"'))
        return lexer_expected(l, "a member's name in quotes");
    if (!template_plain(b->compiler, "a member's name", &name))
        return false;
    if (span_is(name, "_placeholder"))
        return lexer_fail(l, at, "`_placeholder` is Socket.IO's own: it stands for an attachment");
    if (!note_name(b, at, name, members))
        return false;
    builder_json_string(b, name);
    lexer_skip_lines(l);
    if (!lexer_take(l, ':'))
        return lexer_expected(l, "`:` after a member's name");
    builder_text(b, ":", 1);
    lexer_skip_lines(l);
    return true;
}

/* The rest of an array or object, after what opens it. */
static bool read_elements(struct builder *b, unsigned depth, char closing)
{
    struct lexer *l = &b->compiler->lexer;
    struct members *members = NULL;
    enum value_type type;

    if (depth == COMPILER_MAX_DEPTH)
        return lexer_fail(l, l->at, "JSON is nested more than %d deep", COMPILER_MAX_DEPTH);
    lexer_skip_lines(l);
    if (lexer_take(l, closing)) {
        builder_text(b, &closing, 1);
        return true;
    }
    for (;;) {
        if (closing == '}' && !read_name(b, &members))
            return false;
        if (!read_value(b, depth + 1, &type))
            return false;
        lexer_skip_lines(l);
        if (lexer_take(l, closing))
            break;
        if (!lexer_take(l, ','))
            return lexer_expected(l, closing == '}' ? "`,` or `}`" : "`,` or `]`");
        builder_text(b, ",", 1);
        lexer_skip_lines(l);
    }
    builder_text(b, &closing, 1);
    return true;
}

static bool read_value(struct builder *b, unsigned depth, enum value_type *type)
{
    struct lexer *l = &b->compiler->lexer;

    *type = VALUE_NONE;
    switch (l->at < l->end ? *l->at : '\0') {
    case '$':
        return read_dollar(b, l, AS_JSON);
    case '"':
        *type = VALUE_STRING;
        return read_string(b);
    case '{':
        l->at++;
        *type = VALUE_OBJECT;
        builder_text(b, "{", 1);
        return read_elements(b, depth, '}');
    case '[':
        l->at++;
        *type = VALUE_ARRAY;
        builder_text(b, "[", 1);
        return read_elements(b, depth, ']');
    default:
        if (strchr("-0123456789", l->at < l->end ? *l->at : 'x'))
            return read_number(b, type);
        return read_word(b, type);
    }
}

void builder_init(struct builder *builder, struct compiler *compiler)
{
    builder->compiler = compiler;
    builder->at = compiler->lexer.at;
    builder->text = NULL;
    builder->length = builder->capacity = builder->piece_start = 0;
    builder->is_client_only = true;
    builder->has_literal = false;
    builder->n = 0;
}

void builder_text(struct builder *builder, const char *text, size_t length)
{
    if (builder->capacity - builder->length < length) {
        size_t capacity = (builder->length + length) * 2 + 64;
        char *larger = program_alloc(&builder->compiler->scratch, capacity, 1);

        if (builder->length)
            memcpy(larger, builder->text, builder->length);
        builder->text = larger;
        builder->capacity = capacity;
    }
    memcpy(builder->text + builder->length, text, length);
    builder->length += length;
}

bool builder_piece(struct builder *builder, struct piece piece)
{
    if (!close_literal(builder))
        return false;
    if (builder->n == PROGRAM_PIECES)
        return lexer_fail(&builder->compiler->lexer, builder->at,
                          "more than %d values in one template", PROGRAM_PIECES / 2);
    builder->piece[builder->n++] = piece;
    return true;
}

bool builder_finish(struct builder *builder, enum value_type type, struct template *template)
{
    struct block **blocks = &builder->compiler->rules->blocks;
    struct piece *piece;
    const char *text;

    if (!close_literal(builder))
        return false;
    piece = program_alloc(blocks, builder->n + 1u, sizeof *piece);
    text = keep(builder->compiler,
                (struct span){builder->text ? builder->text : "", (uint32_t)builder->length})
               .at;
    for (uint16_t i = 0; i < builder->n; i++) {
        piece[i] = builder->piece[i];
        if (piece[i].op == PIECE_LITERAL) {
            piece[i].text.at = text;
            text += piece[i].text.length;
        }
    }
    *template = (struct template){piece, builder->n, (uint8_t)type};
    if (type == VALUE_NONE && builder->n == 3) /* a plain value in its quotes */
        template->type = VALUE_STRING;
    return true;
}

void builder_json_string(struct builder *builder, struct span text)
{
    builder_text(builder, "\"", 1);
    for (uint32_t i = 0; i < text.length; i++)
        put_escaped(builder, text.at[i]);
    builder_text(builder, "\"", 1);
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

bool template_value(struct builder *builder, enum value_type *type)
{
    return read_value(builder, 0, type);
}

static void note_room(struct compiler *c, const char *at, struct span text,
                      const struct template *room)
{
    struct room_note *note = program_alloc(&c->scratch, 1, sizeof *note);

    *note = (struct room_note){c->rooms, at, keep(c, text), *room, false};
    c->rooms = note;
}

bool template_room(struct compiler *compiler, struct lexer *lexer, struct template *room,
                   bool *is_client_only)
{
    const char *at = lexer->at;
    struct builder builder;
    struct lexer content;
    uint32_t bytes;

    builder_init(&builder, compiler);
    if (!lexer_sees(lexer, '"'))
        return lexer_expected(lexer, "a room's name in quotes, such as \"hall\" or \"room:$1\"");
    if (!lexer_string(lexer, &compiler->scratch, &content))
        return false;
    bytes = (uint32_t)(content.end - content.begin);
    if (!read_parts(&builder, &content, IN_ROOM))
        return false;
    if (builder.n == 0 && builder.length == 0)
        return lexer_fail(lexer, at, "a room's name cannot be empty");
    if (builder.length > PROGRAM_ROOM_BYTES)
        return lexer_fail(lexer, at, "a room's name has at most %d bytes", PROGRAM_ROOM_BYTES);
    *is_client_only = builder.is_client_only && !builder.has_literal;
    if (!builder_finish(&builder, VALUE_STRING, room))
        return false;
    for (uint16_t i = 0; i < room->n; i++)
        if (room->piece[i].op == PIECE_LITERAL &&
            memchr(room->piece[i].text.at, '*', room->piece[i].text.length))
            return lexer_fail(lexer, at,
                              "a room's name has no `*`: one room is meant, not several");
    note_room(compiler, lexer_origin(lexer, at), (struct span){content.begin, bytes}, room);
    return true;
}

bool template_is_no_socket(const struct lexer *lexer, const char *at, const struct template *room)
{
    const struct piece *first = room->piece;

    if (first->op != PIECE_LITERAL || first->text.length < 3 || memcmp(first->text.at, "id:", 3))
        return true;
    return lexer_fail(lexer, at,
                      "a room `id:…` is there to be sent to: nobody is in it, and it is not "
                      "counted; what an `emit in` it has reached says `$sent`");
}

bool template_dynamic(struct compiler *compiler, struct template *value)
{
    const char *at = compiler->lexer.at;
    struct builder builder;

    builder_init(&builder, compiler);
    if (!lexer_sees(&compiler->lexer, '$'))
        return lexer_expected(&compiler->lexer, "a value that begins with `$`");
    if (!read_dollar(&builder, &compiler->lexer, AS_JSON) ||
        !builder_finish(&builder, VALUE_NONE, value))
        return false;
    if (value->n != 1)
        return lexer_fail(&compiler->lexer, at, "this is always a string");
    return true;
}

static bool finish_plain(struct builder *b, struct template *value)
{
    b->piece[0] = b->piece[1];
    b->piece[0].context = IN_ROOM;
    b->n = 1;
    b->length = b->piece_start = 0;
    return builder_finish(b, VALUE_STRING, value);
}

bool template_wanted(struct compiler *compiler, struct template *value)
{
    struct lexer *l = &compiler->lexer, content;
    const char *at = l->at;
    enum value_type type = VALUE_STRING;
    struct builder builder;

    builder_init(&builder, compiler);
    if (lexer_ends_statement(l))
        return lexer_fail(l, at,
                          "what must the claim be, or hold? A value is missing, such as "
                          "\"admin\" or `$1`");
    if (lexer_sees(l, '"')) {
        if (!lexer_string(l, &compiler->scratch, &content) ||
            !read_parts(&builder, &content, IN_ROOM))
            return false;
    } else if (lexer_sees(l, '{') || lexer_sees(l, '[')) {
        return lexer_fail(l, at,
                          "a claim is compared with a string, a number, true, false or null");
    } else if (!read_value(&builder, 0, &type)) {
        return false;
    }
    if (builder.n == 2 &&
        type == VALUE_NONE) /* a plain value in its quotes, which are not wanted here */
        return finish_plain(&builder, value);
    return builder_finish(&builder, type, value);
}

bool template_plain(struct compiler *compiler, const char *what, struct span *text)
{
    struct lexer content;
    char *out;
    uint32_t n = 0;

    if (!lexer_string(&compiler->lexer, &compiler->scratch, &content))
        return false;
    out = program_alloc(&compiler->rules->blocks, (size_t)(content.end - content.at) + 1, 1);
    while (content.at < content.end) {
        bool is_doubled = content.at + 1 < content.end && content.at[1] == '$';

        if (*content.at == '$' && !is_doubled)
            return lexer_fail(&content, content.at,
                              "%s is plain text, where no value goes in; a dollar is written `$$`",
                              what);
        out[n++] = *content.at;
        content.at += *content.at == '$' ? 2 : 1;
    }
    *text = (struct span){out, n};
    return true;
}

bool template_path(struct compiler *compiler, struct lexer *lexer, struct span first,
                   const struct span **path, size_t *n_path)
{
    struct span *segments = program_alloc(&compiler->rules->blocks, PROGRAM_PATH, sizeof *segments);
    size_t n = 0;

    if (first.length > 0)
        segments[n++] = keep(compiler, first);
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
        segments[n++] = keep(compiler, segment);
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
        compiler->variable[i] = (struct variable_note){.name = keep(compiler, name),
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
