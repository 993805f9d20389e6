/* Text in columns, for people. */
#include "db/admin/columns.h"

#include "common/log.h"
#include "common/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

/* Columns that would be narrower on average say too little. */
#define LEAST_WIDTH 10
#define TEXT_LEAST  6

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

    if (gmtime_r(&at, &parts))
        strftime(text, sizeof text, "%Y-%m-%d %H:%M:%SZ", &parts);
    else /* no calendar goes so far */
        snprintf(text, sizeof text, "%lld", (long long)at_s);
    columns->is_time[columns->n_cells % columns->n_columns] = true;
    columns_add(columns, text);
}

void columns_add_number(struct columns *columns, int64_t number)
{
    char text[24];

    snprintf(text, sizeof text, "%lld", (long long)number);
    columns_add(columns, text);
}

size_t columns_room(void)
{
    struct winsize size;

    if (!isatty(STDOUT_FILENO))
        return 0;
    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col ? size.ws_col : 80;
}

/* https://no-color.org */
static bool is_plain(void)
{
    const char *no = getenv("NO_COLOR"), *term = getenv("TERM");

    return (no && *no) || !term || strcmp(term, "dumb") == 0 || !isatty(STDOUT_FILENO);
}

static void print_bold(const char *text)
{
    printf(is_plain() ? "%s" : "\x1b[1m%s\x1b[0m", text);
}

/* Up to so many characters; how many they were. */
static size_t print_cell(const char *cell, size_t most, bool is_bold)
{
    size_t n = width(cell) > most ? most - 1 : most, used = 0;
    const char *end = cell;
    char *shown;

    for (; *end && used < n; end++)
        used += (end[1] & 0xc0) != 0x80;
    shown = memory_copy(cell, (size_t)(end - cell));
    if (is_bold)
        print_bold(shown);
    else
        fputs(shown, stdout);
    free(shown);
    if (!*end)
        return used;
    fputs("…", stdout);
    return used + 1;
}

/* Filled up only before what is not empty: no line ends in spaces. */
static void print_row(const struct columns *columns, const char *const *cells, const size_t *widths,
                      bool is_head)
{
    size_t lacking = 0;

    for (size_t i = 0; i < columns->n_columns; i++) {
        if (*cells[i])
            printf("%*s", (int)lacking, "");
        lacking = *cells[i]
                      ? widths[i] + 2 -
                            print_cell(cells[i], widths[i], is_head || (!columns->heads && i == 0))
                      : lacking + widths[i] + 2;
    }
    putchar('\n');
}

static void print_list(const struct columns *columns, const char *const *cells)
{
    size_t widths[2] = {0, SIZE_MAX - 2};

    for (size_t i = 0; i < columns->n_columns; i++)
        widths[0] = width(columns->heads[i]) > widths[0] ? width(columns->heads[i]) : widths[0];
    for (size_t i = 0; i < columns->n_columns; i++)
        if (*cells[i])
            print_row(&(struct columns)COLUMNS_PAIRS,
                      (const char *const[]){columns->heads[i], cells[i]}, widths, false);
    putchar('\n');
}

static void measure(struct columns *columns, const char *cell, size_t column)
{
    if (width(cell) > columns->widest[column])
        columns->widest[column] = width(cell);
}

/* What there is to cut of a column: of a time nothing, as long as another has much. */
static size_t spare(const struct columns *columns, size_t column, const size_t *widths)
{
    return columns->is_time[column] ? TEXT_LEAST : widths[column];
}

/* From the widest, one by one. */
static void fit(const struct columns *columns, size_t room, size_t widths[COLUMNS_MAX])
{
    size_t n = columns->n_columns, sum = 2 * (n - 1);

    for (size_t i = 0; i < n; i++)
        sum += widths[i] = columns->widest[i];
    for (; room && columns->heads && sum > room; sum--) {
        size_t widest = 0;

        for (size_t i = 1; i < n; i++)
            widest = spare(columns, i, widths) > spare(columns, widest, widths) ? i : widest;
        widths[widest]--;
    }
}

void columns_print(struct columns *columns)
{
    size_t n = columns->n_columns, room = columns_room(), widths[COLUMNS_MAX];
    bool as_list = columns->heads && room && room / n < LEAST_WIDTH;
    const char *const *cells = (const char *const *)columns->cells;

    for (size_t i = 0; i < n && columns->heads; i++)
        measure(columns, columns->heads[i], i);
    for (size_t i = 0; i < columns->n_cells; i++)
        measure(columns, cells[i], i % n);
    fit(columns, room, widths);
    if (columns->heads && !columns->is_begun && !as_list)
        print_row(columns, columns->heads, widths, true);
    for (size_t i = 0; i < columns->n_cells; i += n) {
        if (as_list)
            print_list(columns, cells + i);
        else
            print_row(columns, cells + i, widths, false);
    }
    for (size_t i = 0; i < columns->n_cells; i++)
        free(columns->cells[i]);
    free(columns->cells);
    columns->cells = NULL;
    columns->n_cells = 0;
    columns->is_begun = true;
}
