/*
 * The rules' text, one thing at a time.  Nothing is cut into tokens beforehand: the same characters
 * are read differently inside a string and outside of it.  What follows what is the parser's
 * business.
 */
#include "gateway/lexer.h"

#include "common/log.h"
#include "common/spelling.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define LONGEST_WORD 64

static bool is_word_start(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static const char *nearest(struct span word, const char *const *known, size_t n)
{
    const char *found = NULL;
    char typed[LONGEST_WORD];
    unsigned least = word.length; /* with no letter in common one is not near */

    snprintf(typed, sizeof typed, "%.*s", (int)smaller(word.length, LONGEST_WORD), word.at);
    for (size_t i = 0; i < n; i++)
        if (spelling_is_near(typed, known[i]) && spelling_distance(typed, known[i]) < least) {
            least = spelling_distance(typed, known[i]);
            found = known[i];
        }
    return found;
}

/* The known words in a row, "a, b or c"; not more than there is room for. */
static void list_words(const char *const *known, size_t n, char *text, size_t size)
{
    size_t length = 0;

    text[0] = '\0';
    for (size_t i = 0; i < n; i++) {
        const char *before = i == 0 ? "" : i == n - 1 ? " or " : ", ";

        if (size - length < strlen(before) + strlen(known[i]) + sizeof ", …") {
            snprintf(text + length, size - length, ", …");
            return;
        }
        length += (size_t)snprintf(text + length, size - length, "%s%s", before, known[i]);
    }
}

/* The character of a well-formed sequence above ASCII. */
static uint32_t code_point(const char *at, size_t length)
{
    uint32_t c = (unsigned char)*at & (0xffu >> (length + 1));

    for (size_t i = 1; i < length; i++)
        c = c << 6 | ((unsigned char)at[i] & 0x3fu);
    return c;
}

/* What stands at the lexer, in words; also what cannot be seen, such as a blank from a web page. */
static void describe(const struct lexer *lexer, char *text, size_t size)
{
    struct lexer ahead = *lexer;
    struct span word = lexer_word(&ahead);
    char rest[5] = "";
    size_t length = smaller((size_t)(lexer->end - lexer->at), 4);

    memcpy(rest, lexer->at, length);
    if (lexer->at == lexer->end)
        snprintf(text, size, "the end of the %s", lexer->origin ? "string" : "file");
    else if (word.length > 0)
        snprintf(text, size, "`%.*s`", (int)smaller(word.length, LONGEST_WORD), word.at);
    else if (*lexer->at == '\n')
        snprintf(text, size, "the end of the line");
    else if (*rest == '/' && (rest[1] == '/' || rest[1] == '*'))
        snprintf(text, size, "`%.2s`; a comment begins with `#`", rest);
    else if ((length = log_printable_length(rest)) > 1)
        snprintf(text, size, "`%.*s` (U+%04X)", (int)length, rest, code_point(rest, length));
    else if (length > 0)
        snprintf(text, size, "`%c`", *rest);
    else
        snprintf(text, size, "the byte 0x%02x", (unsigned char)*lexer->at);
}

/* To the closing quote; NULL: there is none on this line. */
static const char *find_quote(const char *at, const char *end)
{
    for (; at < end && *at != '\n'; at++) {
        if (*at == '"')
            return at;
        if (*at == '\\' && ++at == end)
            return NULL;
    }
    return NULL;
}

/* The length of the escape at `at` of a valid string: a surrogate pair is one. */
static size_t escape_length(const char *at)
{
    if (at[1] != 'u')
        return 2;
    return strchr("dD", at[2]) && strchr("89abAB", at[3]) && at[6] == '\\' && at[7] == 'u' ? 12 : 6;
}

/* Decode the valid string from `at` to `end`; false: half a surrogate pair. */
static bool decode(const struct lexer *lexer, const char *at, const char *end, char *out,
                   const char **origin, struct lexer *content)
{
    size_t n = 0;

    while (at < end) {
        size_t length = *at == '\\' ? escape_length(at) : 1;
        char quoted[16] = {'"'}, decoded[4] = {*at};
        ptrdiff_t bytes = 1;

        if (*at == '\\') {
            memcpy(quoted + 1, at, length);
            quoted[1 + length] = '"';
            bytes = scan_decode_string((struct span){quoted, (uint32_t)length + 2}, decoded, 4);
        }
        if (bytes < 0)
            return lexer_fail(lexer, at, "half of a surrogate pair is no character");
        for (ptrdiff_t i = 0; i < bytes; i++, n++) {
            out[n] = decoded[i];
            origin[n] = lexer_origin(lexer, at);
        }
        at += length;
    }
    origin[n] = lexer_origin(lexer, end);
    *content = (struct lexer){lexer->source, out, out, out + n, origin};
    return true;
}

void lexer_init(struct lexer *lexer, const struct source *source)
{
    *lexer = (struct lexer){source, source->begin, source->begin, source->end, NULL};
}

const char *lexer_origin(const struct lexer *lexer, const char *at)
{
    return lexer->origin ? lexer->origin[at - lexer->begin] : at;
}

void lexer_place(const struct lexer *lexer, const char *at, char *text, size_t size)
{
    const char *place = lexer_origin(lexer, at), *c = place;
    uint32_t line = 1, column = 1;

    for (; c > lexer->source->begin && c[-1] != '\n'; c--)
        column += (c[-1] & 0xc0) != 0x80; /* a character counts once */
    for (; c > lexer->source->begin; c--)
        line += c[-1] == '\n';
    snprintf(text, size, "%s:%u:%u", lexer->source->name, line, column);
}

bool lexer_fail(const struct lexer *lexer, const char *at, const char *format, ...)
{
    char place[512], text[512];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    lexer_place(lexer, at, place, sizeof place);
    return error_set(lexer->source->error, "%s: %s", place, text);
}

bool lexer_unknown(const struct lexer *lexer, const char *at, const char *what, struct span word,
                   const char *const *known, size_t n)
{
    const char *near = nearest(word, known, n);
    int shown = (int)smaller(word.length, LONGEST_WORD);
    char list[256], found[LONGEST_WORD + 32];

    if (near)
        return lexer_fail(lexer, at, "%s `%.*s`: did you mean `%s`?", what, shown, word.at, near);
    list_words(known, n, list, sizeof list);
    if (word.length == 0) {
        describe(lexer, found, sizeof found);
        return lexer_fail(lexer, at, "%s: %s; found %s", what, list, found);
    }
    return lexer_fail(lexer, at, "%s `%.*s`: known here: %s", what, shown, word.at, list);
}

bool lexer_expected(const struct lexer *lexer, const char *what)
{
    char found[LONGEST_WORD + 32];

    describe(lexer, found, sizeof found);
    return lexer_fail(lexer, lexer->at, "expected %s, found %s", what, found);
}

void lexer_skip_blank(struct lexer *lexer)
{
    while (lexer->at < lexer->end && strchr(" \t\r", *lexer->at) && *lexer->at)
        lexer->at++;
    if (lexer_sees(lexer, '#'))
        while (lexer->at < lexer->end && *lexer->at != '\n')
            lexer->at++;
}

void lexer_skip_lines(struct lexer *lexer)
{
    do
        lexer_skip_blank(lexer);
    while (lexer_take(lexer, '\n'));
}

void lexer_skip_separators(struct lexer *lexer)
{
    do
        lexer_skip_lines(lexer);
    while (lexer_take(lexer, ';'));
}

bool lexer_ends_statement(struct lexer *lexer)
{
    lexer_skip_blank(lexer);
    return lexer->at == lexer->end || *lexer->at == '\n' || *lexer->at == ';' || *lexer->at == '}';
}

bool lexer_sees(const struct lexer *lexer, char c)
{
    return lexer->at < lexer->end && *lexer->at == c;
}

bool lexer_take(struct lexer *lexer, char c)
{
    if (!lexer_sees(lexer, c))
        return false;
    lexer->at++;
    return true;
}

struct span lexer_word(struct lexer *lexer)
{
    const char *start = lexer->at;

    if (lexer->at < lexer->end && is_word_start(*lexer->at))
        while (lexer->at < lexer->end && (is_word_start(*lexer->at) || is_digit(*lexer->at)))
            lexer->at++;
    return (struct span){start, (uint32_t)(lexer->at - start)};
}

bool lexer_number(struct lexer *lexer, uint32_t most, const char *what, uint32_t *number)
{
    const char *start = lexer->at;
    uint64_t n = 0;

    while (lexer->at < lexer->end && is_digit(*lexer->at) && n <= most)
        n = n * 10 + (uint64_t)(*lexer->at++ - '0');
    if (lexer->at == start)
        return lexer_expected(lexer, what);
    if (n > most)
        return lexer_fail(lexer, start, "%s is at most %u", what, most);
    *number = (uint32_t)n;
    return true;
}

bool lexer_string(struct lexer *lexer, struct block **blocks, struct lexer *content)
{
    const char *start = lexer->at, *quote;
    struct json_value value;
    size_t length;

    if (!lexer_take(lexer, '"'))
        return lexer_expected(lexer, "a string in quotes");
    quote = find_quote(lexer->at, lexer->end);
    if (!quote)
        return lexer_fail(lexer, start, "this string has no end on its line: a `\"` is missing");
    length = (size_t)(quote + 1 - start);
    if (!scan_value(start, length, &value))
        return lexer_fail(lexer, start,
                          "not a string as JSON has it: a bad escape, a control character, or not "
                          "UTF-8; a backslash is written \\\\");
    lexer->at = quote + 1;
    return decode(lexer, start + 1, quote, program_alloc(blocks, length, 1),
                  program_alloc(blocks, length, sizeof(char *)), content);
}
