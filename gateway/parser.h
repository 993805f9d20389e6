#ifndef GATEWAY_PARSER_H
#define GATEWAY_PARSER_H

#include "gateway/lexer.h"

/* Read the whole source into `rules`, which is empty; false: the source's error says why. */
bool parser_read(const struct source *source, struct rules *rules,
                 void (*warn)(const char *text, void *context), void *context);

#endif
