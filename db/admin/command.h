#ifndef DB_ADMIN_COMMAND_H
#define DB_ADMIN_COMMAND_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * A command is one row: its words, what it takes, and the function that does it.  The command line
 * is read, and its help written, from the rows alone.
 */
enum command_status {
    COMMAND_DONE = 0,
    COMMAND_FAILED = 1,
    COMMAND_USAGE = 2,
    COMMAND_NOT_FOUND = 3,
    COMMAND_EXISTS = 4
};

enum option {
    OPTION_DIR,
    OPTION_LISTEN,
    OPTION_SET,
    OPTION_CLAIM,
    OPTION_CLAIMS,
    OPTION_PASSWORD_STDIN,
    OPTION_LIFETIME,
    OPTION_ALGORITHM,
    OPTION_NAME,
    OPTION_ACTIVATE,
    OPTION_FORCE,
    OPTION_JWKS,
    OPTION_LINES,
    OPTION_FOLLOW,
    OPTION_USER,
    OPTION_NETWORK,
    OPTION_EVENT,
    OPTION_SINCE,
    OPTION_UNTIL,
    OPTION_OLDER_THAN,
    OPTION_HASHES,
    OPTION_IF_NOT_EXISTS,
    OPTION_DRY_RUN,
    OPTION_YES,
    OPTION_JSON,
    OPTIONS
};
#define TAKES(option) (1ULL << (option))
#define ACTS          (1ULL << 63) /* beside them: what it does stands in the audit */

/* What stood on the command line, borrowed from it. */
struct request {
    const struct command *command;
    const char *config;  /* the file, of -c or the default */
    uid_t started_by;    /* before root becomes the owner of what it works on */
    const char *operand; /* where the command has one */
    const char **words;  /* and those after it, where it takes more */
    size_t n_words;
    struct request_values {
        const char **values; /* of an option without a value: the option itself */
        size_t n;
    } options[OPTIONS];
};

struct command {
    const char *noun, *verb; /* verb NULL: the noun alone */
    const char
        *operand; /* its name in the help, in brackets where it may be left out; NULL: none; with
                     "..." more words may follow, also such as -word */
    unsigned long long takes, needs; /* options */
    const char *help;
    enum command_status (*run)(const struct request *request);
};

/* The rows of each file, ended by one without a noun. */
extern const struct command init_commands[], user_commands[], token_commands[], session_commands[],
    throttle_commands[], audit_commands[], db_commands[], key_commands[], config_commands[],
    import_commands[], export_commands[], hash_commands[];

/* Read the command line, run what it asks for, and see to it that what was printed got out. */
enum command_status command_line(int argc, char **argv);

bool request_has(const struct request *request, enum option option);
const char *request_value(const struct request *request, enum option option); /* or NULL */

/* Say on stderr, after the program's name, what is wrong; return `status`. */
enum command_status command_refuse(enum command_status status, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The same for a usage error, with where to look. */
enum command_status command_misused(const struct request *request, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* For what cannot be undone: true where it is to be done.  Asked on the terminal where stdin is
 * one, unless --yes or --dry-run is given; a script is not asked. */
bool command_is_confirmed(const struct request *request, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* "30s", "15m", "5h", "7d"; false: another form. */
bool command_read_duration(const char *text, int64_t *seconds);

/* Print one line of JSON, in ASCII so that no terminal obeys it; takes the reference. */
void command_print_json(json_t *value);

#endif
