/* Text in columns, for people. */
#include "db/admin/columns.h"

#include "common/log.h"
#include "common/memory.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Characters, not bytes; one that is twice as wide is not known here. */
static size_t width(const char *text)
{
    size_t n = 0;

    for (; *text; text++)
        n += (*text & 0xc0) != 0x80;
    return n;
}

static char *escape(const char *text)
{
    char *escaped = memory_new(4 * strlen(text) + 1), *end = escaped;

    for (size_t n; *text; text += n) {
        n = log_printable_length(text);
        if (n) {
            end = mempcpy(end, text, n);
        } else {
            end += sprintf(end, "\\x%02x", (unsigned char)*text);
            n = 1;
        }
    }
    *end = '\0';
    return escaped;
}

void columns_add(struct columns *columns, const char *cell)
{
    columns->cells = memory_resize(columns->cells, columns->n_cells + 1, sizeof *columns->cells);
    columns->cells[columns->n_cells++] = escape(cell);
}

void columns_add_time(struct columns *columns, int64_t at_s)
{
    char text[64];
    time_t at = (time_t)at_s;
    struct tm parts;

    strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S UTC", gmtime_r(&at, &parts));
    columns_add(columns, text);
}

void columns_add_number(struct columns *columns, int64_t number)
{
    char text[24];

    snprintf(text, sizeof text, "%lld", (long long)number);
    columns_add(columns, text);
}

/* The last column is not filled up: no line ends in spaces. */
void columns_print(struct columns *columns)
{
    size_t widest[COLUMNS_MAX] = {0}, n = columns->n_columns;

    for (size_t i = 0; i < columns->n_cells; i++)
        if (width(columns->cells[i]) > widest[i % n])
            widest[i % n] = width(columns->cells[i]);
    for (size_t i = 0; i < columns->n_cells; i++) {
        char *cell = columns->cells[i];
        bool is_last = i % n == n - 1;

        printf("%s%*s", cell, is_last ? 0 : (int)(widest[i % n] + 2 - width(cell)), "");
        if (is_last)
            putchar('\n');
        free(cell);
    }
    free(columns->cells);
    *columns = (struct columns){.n_columns = n};
}
