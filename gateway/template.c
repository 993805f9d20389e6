/*
 * Values and templates: JSON with `$` values in it, a room's name, plain text; from the file's text
 * to pieces.  What is literal is minified and escaped here, once, so that an event only has to put
 * its own values between.
 */
#include "gateway/compiler.h"

#include <stdio.h>
#include <string.h>

#define TEMPLATE_MEMBERS 256 /* of an object */

/* The bytes in the memory of the rules. */
struct span compiler_keep(struct compiler *compiler, struct span text)
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

/* What a string says, with its values. */
static bool read_parts(struct builder *b, struct lexer *in, enum piece_context context)
{
    while (in->at < in->end) {
        bool is_dollar = *in->at == '$', is_doubled = in->at + 1 < in->end && in->at[1] == '$';

        if (is_dollar && !is_doubled) {
            if (!dollar_read(b, in, context))
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
        return dollar_read(b, l, AS_JSON);
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
    text = compiler_keep(builder->compiler, (struct span){builder->text ? builder->text : "",
                                                          (uint32_t)builder->length})
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

bool template_value(struct builder *builder, enum value_type *type)
{
    return read_value(builder, 0, type);
}

static void note_room(struct compiler *c, const char *at, struct span text,
                      const struct template *room)
{
    struct room_note *note = program_alloc(&c->scratch, 1, sizeof *note);

    *note = (struct room_note){c->rooms, at, compiler_keep(c, text), *room, false};
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
    if (!dollar_read(&builder, &compiler->lexer, AS_JSON) ||
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
