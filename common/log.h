#ifndef COMMON_LOG_H
#define COMMON_LOG_H

#include <stdbool.h>

#include <stddef.h>

/*
 * Log lines on stderr, `program: text`, each in one write.  Under systemd (JOURNAL_STREAM names our
 * stderr) a line begins with the journal's `<priority>` instead.  Control characters, invalid
 * UTF-8 and newlines in the finished line are escaped as \xNN, so a peer's bytes can be passed
 * with %s.  No token, password or key is ever passed here.  Thread-safe.
 */
enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* `program` must outlive the process.  The level starts as INFO. */
void log_open(const char *program);
void log_set_level(enum log_level level);

/*
 * From here on this thread's lines wait for each other and are written together: by log_flush, with
 * the first warning or error, or when they are many.  It must not rest before it has flushed.
 */
void log_gather(void);
void log_flush(void);

void log_line(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/*
 * The same with fields, which the journal keeps beside the text (systemd.journal-fields(7)): a name
 * is upper-case, as "SALLYPORT_USER", a value is text; NULL: it is left out.  On a plain stderr
 * only the text is written, which therefore says everything by itself.
 */
struct log_field {
    const char *name, *value;
};
void log_with(enum log_level level, const struct log_field *fields, size_t n, const char *format,
              ...) __attribute__((format(printf, 4, 5)));

/* "error", "warning", "info" or "debug"; false: another word. */
bool log_level_find(const char *word, enum log_level *level);

#define log_error(...)   log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_line(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...)    log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)   log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)

/* The length of the printable character at `text`; 0: a control character, or not UTF-8. */
size_t log_printable_length(const char *text);

#endif
