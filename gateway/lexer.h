#ifndef GATEWAY_LEXER_H
#define GATEWAY_LEXER_H

#include "gateway/program.h"

/*
 * Reading the rules' text: what the grammar is made of, and every complaint with its file, line and
 * column.  A lexer may also stand inside a string of the file, whose escapes have been decoded: it
 * still knows where in the file each byte came from.
 */
struct source {
    const char *name, *begin, *end;
    struct error *error;
};

struct lexer {
    const struct source *source;
    const char *begin, *at, *end;
    const char *const
        *origin; /* of each byte from begin to end, and of end; NULL: they are there */
};

void lexer_init(struct lexer *lexer, const struct source *source);

/* Complain about the place `at`; always false. */
bool lexer_fail(const struct lexer *lexer, const char *at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/*
 * "WHAT `word`", which is none of `known` (n of them): with the nearest of them, else with all.  An
 * empty word: with what was found instead.
 */
bool lexer_unknown(const struct lexer *lexer, const char *at, const char *what, struct span word,
                   const char *const *known, size_t n);

/* The byte of the file from which the one at `at` came. */
const char *lexer_origin(const struct lexer *lexer, const char *at);

/* "relay.rules:3:7" of a place, into `text`. */
void lexer_place(const struct lexer *lexer, const char *at, char *text, size_t size);

/* Something else was due: "expected WHAT, found …". */
bool lexer_expected(const struct lexer *lexer, const char *what);

void lexer_skip_blank(struct lexer *lexer);      /* blanks and a comment, on this line */
void lexer_skip_lines(struct lexer *lexer);      /* and line ends */
void lexer_skip_separators(struct lexer *lexer); /* and semicolons */
bool lexer_ends_statement(struct lexer *lexer);  /* after blanks: a line end, `;`, `}` or the end */

bool lexer_sees(const struct lexer *lexer, char c);
bool lexer_take(struct lexer *lexer, char c);

/* A name: letters, digits and `_`, not beginning with a digit; empty when there is none. */
struct span lexer_word(struct lexer *lexer);

/* A whole number up to `most`; `what` is named in the complaint. */
bool lexer_number(struct lexer *lexer, uint32_t most, const char *what, uint32_t *number);

/*
 * A string as in JSON, which ends on its line: `content` stands before what it says, decoded into
 * memory of `blocks`.
 */
bool lexer_string(struct lexer *lexer, struct block **blocks, struct lexer *content);

#endif
