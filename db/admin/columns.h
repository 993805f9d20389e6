#ifndef DB_ADMIN_COLUMNS_H
#define DB_ADMIN_COLUMNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * A table for people, printed when it is complete, since only then its widths are known.  What is
 * not printable (control characters, bytes that are not UTF-8) is written as \xNN.
 *
 * On a terminal its heads are bold (not with NO_COLOR), and it fits: the widest columns are cut,
 * with "…", times last of all, and where little would be left each row becomes a list.  Without
 * heads it is such a list: pairs of a name and a value, which is never cut.
 */
#define COLUMNS_MAX 8

struct columns {
    const char *const *heads;
    size_t n_columns, n_cells, widest[COLUMNS_MAX];
    char **cells;
    bool is_time[COLUMNS_MAX], is_begun;
};
#define COLUMNS(...)                                                                               \
    {                                                                                              \
        .heads = (const char *const[]){__VA_ARGS__},                                               \
        .n_columns = sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *)                   \
    }
#define COLUMNS_PAIRS                                                                              \
    {                                                                                              \
        .n_columns = 2                                                                             \
    }

void columns_add(struct columns *columns, const char *cell); /* in reading order */
void columns_add_time(struct columns *columns, int64_t at_s);
void columns_add_number(struct columns *columns, int64_t number);
/* And empty it: rows that are added then go on below, under the same heads. */
void columns_print(struct columns *columns);

/* How many characters a line of the terminal has; 0: there is none. */
size_t columns_room(void);

#endif
