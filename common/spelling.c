/* Which word was probably meant by one that nobody knows. */
#include "common/spelling.h"

#include <limits.h>
#include <string.h>

#define LETTERS 63

static unsigned least_of(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

/* One row of the matrix is kept: row[j] is the distance of what of `a` was seen to j letters of b.
 */
unsigned spelling_distance(const char *a, const char *b)
{
    unsigned row[LETTERS + 1];
    size_t length = strlen(b);

    if (strlen(a) > LETTERS || length > LETTERS)
        return UINT_MAX;
    for (unsigned j = 0; j <= length; j++)
        row[j] = j;
    for (unsigned i = 1; *a; a++, i++) {
        unsigned diagonal = row[0];

        row[0] = i;
        for (size_t j = 1; j <= length; j++) {
            unsigned changed = diagonal + (*a != b[j - 1]);

            diagonal = row[j];
            row[j] = least_of(changed, 1 + least_of(row[j], row[j - 1]));
        }
    }
    return row[length];
}

bool spelling_is_near(const char *typed, const char *word)
{
    return spelling_distance(typed, word) <= 1 + strlen(word) / 4;
}
