#ifndef DB_ADMIN_COLUMNS_H
#define DB_ADMIN_COLUMNS_H

#include <stddef.h>
#include <stdint.h>

/*
 * A table for people, printed when it is complete, since only then its widths are known.  What is
 * not printable (control characters, bytes that are not UTF-8) is written as \xNN.
 */
#define COLUMNS_MAX 8

struct columns {
    size_t n_columns, n_cells;
    char **cells;
};

void columns_add(struct columns *columns, const char *cell); /* in reading order */
void columns_add_time(struct columns *columns, int64_t at_s);
void columns_add_number(struct columns *columns, int64_t number);
void columns_print(struct columns *columns); /* and empty it */

#endif
