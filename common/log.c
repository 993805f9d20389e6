/*
 * Log lines: formatted, made harmless, bounded, and handed to stderr whole, one or several of a
 * thread's in one write, so that those of several threads or processes never mix.  What is worth a
 * line is for others to decide.
 */
#include "common/log.h"

#include "common/daemon.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A pipe takes up to PIPE_BUF (4096) bytes in one piece; the journal splits much later. */
#define LINE_BYTES 4096

#define CUT "…"

static const char *program_name = "sallyport";
static bool to_journal;
static atomic_int most_verbose = LOG_LEVEL_INFO;

struct line {
    char bytes[LINE_BYTES];
    size_t used;
};

static _Thread_local bool is_gathering;
static _Thread_local struct line gathered; /* whole lines */

/* sd-daemon(3): syslog's numbers. */
static int journal_priority(enum log_level level)
{
    static const int priorities[] = {3, 4, 6, 7};

    return priorities[level];
}

/* systemd.exec(5): JOURNAL_STREAM is "device:inode" of the stream, which may since have been
 * redirected. */
static bool stderr_is_the_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    unsigned long long device, inode;
    struct stat is;

    return stream && sscanf(stream, "%llu:%llu", &device, &inode) == 2 &&
           fstat(STDERR_FILENO, &is) == 0 && is.st_dev == device && is.st_ino == inode;
}

/* Room for the cut mark and the newline is always kept. */
static bool line_add(struct line *line, const char *bytes, size_t n)
{
    if (line->used + n > LINE_BYTES - strlen(CUT) - 1)
        return false;
    memcpy(line->bytes + line->used, bytes, n);
    line->used += n;
    return true;
}

static size_t plain_length(const char *text, size_t most)
{
    size_t n = 0;

    while (n < most && text[n] >= 0x20 && text[n] < 0x7f)
        n++;
    return n;
}

static bool line_add_escaped(struct line *line, const char *text)
{
    for (size_t n; *text; text += n) {
        char escape[5];

        n = plain_length(text, LINE_BYTES - strlen(CUT) - 1 - line->used);
        if (!n)
            n = log_printable_length(text);
        if (n) {
            if (!line_add(line, text, n))
                return false;
            continue;
        }
        snprintf(escape, sizeof escape, "\\x%02x", (unsigned char)*text);
        if (!line_add(line, escape, 4))
            return false;
        n = 1;
    }
    return true;
}

static void line_write(struct line *line)
{
    while (line->used && write(STDERR_FILENO, line->bytes, line->used) < 0 && errno == EINTR)
        ;
    line->used = 0;
}

static void line_end(struct line *line, enum log_level level)
{
    line->bytes[line->used++] = '\n';
    if (gathered.used + line->used > LINE_BYTES)
        line_write(&gathered);
    if (!is_gathering) {
        line_write(line);
        return;
    }
    memcpy(gathered.bytes + gathered.used, line->bytes, line->used);
    gathered.used += line->used;
    if (level <= LOG_LEVEL_WARNING)
        line_write(&gathered);
}

/* RFC 3629, with U+0080 to U+009F, overlong forms and surrogates left out. */
size_t log_printable_length(const char *text)
{
    const unsigned char *s = (const unsigned char *)text;
    size_t n = s[0] < 0x80 ? 1 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;

    if (s[0] < 0x20 || s[0] == 0x7f || (s[0] >= 0x80 && s[0] < 0xc2) || s[0] > 0xf4)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    if ((s[0] == 0xc2 && s[1] < 0xa0) || (s[0] == 0xe0 && s[1] < 0xa0) ||
        (s[0] == 0xed && s[1] > 0x9f) || (s[0] == 0xf0 && s[1] < 0x90) ||
        (s[0] == 0xf4 && s[1] > 0x8f))
        return 0;
    return n;
}

void log_open(const char *program)
{
    assert(strlen(program) < 64);
    program_name = program;
    to_journal = stderr_is_the_journal();
}

void log_gather(void)
{
    is_gathering = true;
}

void log_flush(void)
{
    line_write(&gathered);
}

void log_set_level(enum log_level level)
{
    atomic_store_explicit(&most_verbose, (int)level, memory_order_relaxed);
}

bool log_level_find(const char *word, enum log_level *level)
{
    static const char *const words[] = {"error", "warning", "info", "debug"};

    for (int i = 0; i < 4; i++)
        if (strcmp(word, words[i]) == 0) {
            *level = (enum log_level)i;
            return true;
        }
    return false;
}

__attribute__((format(printf, 4, 0))) static void write_log(enum log_level level,
                                                            const struct log_field *fields,
                                                            size_t n, const char *format,
                                                            va_list arguments)
{
    int saved_errno = errno;
    struct line line = {.used = 0};
    /* As long as a line: where this cuts, in the midst of a character maybe, the line is full. */
    char text[LINE_BYTES] = "";

    vsnprintf(text, sizeof text, format, arguments);
    if (!to_journal)
        line.used = (size_t)snprintf(line.bytes, sizeof line.bytes, "%s: ", program_name);
    else if (n == 0)
        line.used =
            (size_t)snprintf(line.bytes, sizeof line.bytes, "<%d>", journal_priority(level));
    if (!line_add_escaped(&line, text)) {
        memcpy(line.bytes + line.used, CUT, strlen(CUT));
        line.used += strlen(CUT);
    }
    line.bytes[line.used] = '\0';
    if (!to_journal || n == 0 || !daemon_journal(journal_priority(level), line.bytes, fields, n))
        line_end(&line, level);
    errno = saved_errno;
}

static bool is_wanted(enum log_level level)
{
    return (int)level <= atomic_load_explicit(&most_verbose, memory_order_relaxed);
}

void log_line(enum log_level level, const char *format, ...)
{
    va_list arguments;

    if (!is_wanted(level))
        return;
    va_start(arguments, format);
    write_log(level, NULL, 0, format, arguments);
    va_end(arguments);
}

void log_with(enum log_level level, const struct log_field *fields, size_t n, const char *format,
              ...)
{
    va_list arguments;

    if (!is_wanted(level))
        return;
    va_start(arguments, format);
    write_log(level, fields, n, format, arguments);
    va_end(arguments);
}
