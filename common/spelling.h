#ifndef COMMON_SPELLING_H
#define COMMON_SPELLING_H

#include <stdbool.h>

/* Levenshtein's distance: the fewest letters to insert, drop or change.  Of words, not of texts:
 * what is longer than 63 letters is far from everything. */
unsigned spelling_distance(const char *a, const char *b);

/* Could `typed` have been meant for `word`? */
bool spelling_is_near(const char *typed, const char *word);

#endif
