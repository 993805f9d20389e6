/*
 * The command line: which row it names, and its options and operand, which may stand in any order.
 * Options have no abbreviations, so that `--password x` is refused and x is never repeated.
 * What a command does is in the file of its noun.
 */
#include "db/admin/command.h"

#include "common/error.h"
#include "common/log.h"
#include "common/memory.h"
#include "common/spelling.h"
#include "common/token.h"
#include "db/admin/columns.h"
#include "db/admin/instance.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STANDARD_CONFIG "/etc/sallyport/sallyport.conf"

static const struct command *const nouns[] = {init_commands,     user_commands,  import_commands,
                                              export_commands,   token_commands, session_commands,
                                              throttle_commands, audit_commands, db_commands,
                                              key_commands,      hash_commands,  config_commands};
#define NARROW_INDENT 6 /* of what a command is for, on a narrow terminal */
#define NOUNS         (sizeof nouns / sizeof *nouns)

/* clang-format off */
static const struct {
    const char *name, *value; /* value NULL: it has none */
    bool repeats;
    const char *help;
} options[OPTIONS] = {
    [OPTION_DIR]            = {"--dir",            "DIR",        false, "the instance's folder"},
    [OPTION_LISTEN]         = {"--listen",         "ADDR:PORT",  false, "where the gateway listens; also a path"},
    [OPTION_SET]            = {"--set",            "NAME=VALUE", true,  "write a setting, as in --set gateway.workers=1"},
    [OPTION_CLAIM]          = {"--claim",          "NAME=VALUE", true,  "a text that goes into the user's tokens"},
    [OPTION_CLAIMS]         = {"--claims",         "JSON",       false, "an object of claims, as in --claims '{\"roles\":[\"a\"]}'"},
    [OPTION_PASSWORD_STDIN] = {"--password-stdin", NULL,         false, "take the password from the first line of stdin"},
    [OPTION_LIFETIME]       = {"--lifetime",       "DURATION",   false, "30s, 15m, 5h, 7d; standard: token.lifetime"},
    [OPTION_ALGORITHM]      = {"--algorithm",      "ALGORITHM",  false, "HS256 (standard), HS384, HS512, RS256 ... ES512"},
    [OPTION_NAME]           = {"--name",           "NAME",       false, "the key's id; standard: one made of the date"},
    [OPTION_ACTIVATE]       = {"--activate",       NULL,         false, "let it sign from now on"},
    [OPTION_FORCE]          = {"--force",          NULL,         false, "even if tokens that are still alive are refused then"},
    [OPTION_JWKS]           = {"--jwks",           "FILE",       false, "the keys (JWKS) of the other issuer it is from"},
    [OPTION_LINES]          = {"-n",               "N",          false, "the last N; standard: 20 of tail, 1000 of search"},
    [OPTION_FOLLOW]         = {"--follow",         NULL,         false, "go on with what is added, until it is interrupted"},
    [OPTION_USER]           = {"--user",           "NAME",       false, "of this user, or of a name typed at a login that is nobody's"},
    [OPTION_NETWORK]        = {"--network",        "ADDRESS",    false, "from this address or network, as in 192.0.2.0/24"},
    [OPTION_EVENT]          = {"--event",          "EVENT",      false, "such as login, refresh, \"user add\", or user for all of those"},
    [OPTION_SINCE]          = {"--since",          "TIME",       false, "such as 2h (ago), 2026-11-23, \"2026-11-23 15:04\" (UTC)"},
    [OPTION_UNTIL]          = {"--until",          "TIME",       false, "up to this, in the same forms"},
    [OPTION_OLDER_THAN]     = {"--older-than",     "DURATION",   false, "such as 30d"},
    [OPTION_HASHES]         = {"--hashes",         NULL,         false, "with the hashes of the passwords, as `import json` needs them"},
    [OPTION_IF_NOT_EXISTS]  = {"--if-not-exists",  NULL,         false, "leave one that exists as it is, and succeed"},
    [OPTION_DRY_RUN]        = {"--dry-run",        NULL,         false, "say what would be done, and do nothing"},
    [OPTION_YES]            = {"--yes",            NULL,         false, "do not ask"},
    [OPTION_JSON]           = {"--json",           NULL,         false, "answer with one line of JSON"},
};
/* clang-format on */

static bool is_declined; /* whoever was asked said no */

/* ---- what is said --------------------------------------------------------------------------- */

__attribute__((format(printf, 3, 0))) static enum command_status
refuse(enum command_status status, const char *see, const char *format, va_list arguments)
{
    struct error error;

    vsnprintf(error.text, sizeof error.text, format, arguments);
    log_error("%s%s", error.text, see);
    return status;
}

enum command_status command_refuse(enum command_status status, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    refuse(status, "", format, arguments);
    va_end(arguments);
    return status;
}

static const char *words(const struct command *command, char text[64])
{
    snprintf(text, 64, "%s%s%s", command->noun, command->verb ? " " : "",
             command->verb ? command->verb : "");
    return text;
}

enum command_status command_misused(const struct request *request, const char *format, ...)
{
    char see[128] = " (see `sallyport --help`)", name[64];
    va_list arguments;

    if (request->command)
        snprintf(see, sizeof see, " (see `sallyport %s --help`)", words(request->command, name));
    va_start(arguments, format);
    refuse(COMMAND_USAGE, see, format, arguments);
    va_end(arguments);
    return COMMAND_USAGE;
}

bool command_is_confirmed(const struct request *request, const char *format, ...)
{
    va_list arguments;
    char answer[16] = "";

    if (request_has(request, OPTION_YES) || request_has(request, OPTION_DRY_RUN) ||
        !isatty(STDIN_FILENO))
        return true;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputs("? [y/N] ", stderr);
    if (fgets(answer, sizeof answer, stdin) &&
        (strcasecmp(answer, "y\n") == 0 || strcasecmp(answer, "yes\n") == 0))
        return true;
    fputs("nothing was changed\n", stderr);
    is_declined = true;
    return false;
}

bool command_read_duration(const char *text, int64_t *seconds)
{
    static const struct {
        char unit;
        int64_t seconds;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
    char *end;
    long number = strtol(text, &end, 10);

    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (*text >= '0' && *text <= '9' && number > 0 && number <= 100000000 &&
            *end == units[i].unit && !end[1]) {
            *seconds = number * units[i].seconds;
            return true;
        }
    return false;
}

void command_print_json(json_t *value)
{
    json_dumpf(value, stdout, JSON_COMPACT | JSON_ENSURE_ASCII | JSON_ENCODE_ANY);
    putchar('\n');
    json_decref(value);
}

/* ---- help ----------------------------------------------------------------------------------- */

/* A name and what it means, broken between words where a terminal would break it anywhere. */
static void print_entry(const char *left, size_t indent, const char *help)
{
    size_t room = columns_room(), used = strlen(left) + 2 < indent ? indent : strlen(left) + 3;

    printf("  %-*s ", (int)indent - 3, left);
    if (room && room < 2 * indent) {
        printf("\n%*s", NARROW_INDENT, "");
        used = indent = NARROW_INDENT;
    }
    while (*help) {
        size_t n = strcspn(help, " ");

        if (room && used > indent && used + n > room) {
            printf("\n%*s", (int)indent, "");
            used = indent;
        }
        printf("%.*s%s", (int)n, help, help[n] ? " " : "");
        used += n + 1;
        help += n + strspn(help + n, " ");
    }
    putchar('\n');
}

static void print_row(const struct command *command)
{
    char name[64], left[128];

    snprintf(left, sizeof left, "%s%s%s", words(command, name), command->operand ? " " : "",
             command->operand ? command->operand : "");
    print_entry(left, 27, command->help);
}

static void print_help(void)
{
    puts("usage: sallyport [-c FILE] COMMAND ...\n\n"
         "Sallyport's administration: its users, and tokens for them.  The services may run.\n");
    for (size_t i = 0; i < NOUNS; i++)
        for (const struct command *command = nouns[i]; command->noun; command++)
            print_row(command);
    puts("\n  -c FILE      the config; standard: " STANDARD_CONFIG "\n"
         "  --help       this, or after a command its own\n"
         "  --version\n\n"
         "exit: 0 done, 1 failed, 2 misused, 3 not found, 4 exists already");
}

static void print_noun_help(const struct command *commands)
{
    printf("usage: sallyport [-c FILE] %s VERB ...\n\n", commands->noun);
    for (; commands->noun; commands++)
        print_row(commands);
}

static void print_command_help(const struct command *command)
{
    char name[64];

    printf("usage: sallyport [-c FILE] %s%s%s", words(command, name), command->operand ? " " : "",
           command->operand ? command->operand : "");
    for (int i = 0; i < OPTIONS; i++) {
        bool needed = command->needs & TAKES(i);

        if (command->takes & TAKES(i))
            printf(" %s%s%s%s%s%s", needed ? "" : "[", options[i].name, options[i].value ? " " : "",
                   options[i].value ? options[i].value : "", options[i].repeats ? " ..." : "",
                   needed ? "" : "]");
    }
    printf("\n\n%s\n\n", command->help);
    for (int i = 0; i < OPTIONS; i++) {
        char left[64];

        snprintf(left, sizeof left, "%s %s", options[i].name,
                 options[i].value ? options[i].value : "");
        if (command->takes & TAKES(i))
            print_entry(left, 23, options[i].help);
    }
}

/* ---- which command -------------------------------------------------------------------------- */

static bool is_help(const char *word)
{
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
}

static enum command_status unknown_noun(const char *typed)
{
    struct request request = {0};

    for (size_t i = 0; i < NOUNS; i++)
        if (spelling_is_near(typed, nouns[i]->noun))
            return command_misused(&request, "there is no command \"%s\"; did you mean \"%s\"?",
                                   typed, nouns[i]->noun);
    return command_misused(&request, "there is no command \"%s\"", typed);
}

static enum command_status unknown_verb(const struct command *commands, const char *typed)
{
    const struct request request = {.command = &(struct command){.noun = commands->noun}};

    for (const struct command *command = commands; command->noun; command++)
        if (spelling_is_near(typed, command->verb))
            return command_misused(&request, "there is no \"%s %s\"; did you mean \"%s %s\"?",
                                   commands->noun, typed, commands->noun, command->verb);
    return command_misused(&request, "there is no \"%s %s\"", commands->noun, typed);
}

/* ---- options and operand -------------------------------------------------------------------- */

bool request_has(const struct request *request, enum option option)
{
    return request->options[option].n > 0;
}

const char *request_value(const struct request *request, enum option option)
{
    return request_has(request, option) ? request->options[option].values[0] : NULL;
}

static enum command_status add_value(struct request *request, int option, const char *value)
{
    struct request_values *all = &request->options[option];

    if (all->n && !options[option].repeats)
        return command_misused(request, "%s is given twice", options[option].name);
    all->values = memory_resize(all->values, all->n + 1, sizeof *all->values);
    all->values[all->n++] = value;
    return COMMAND_DONE;
}

/* What follows "=" may be a secret and is not repeated. */
static enum command_status unknown_option(const struct request *request, const char *typed)
{
    int length = (int)strcspn(typed, "=");
    char name[64];

    snprintf(name, sizeof name, "%.*s", length, typed);
    if (strncmp(typed, "-c", 2) == 0)
        return command_misused(request, "-c FILE stands before the command");
    for (int i = 0; i < OPTIONS; i++)
        if (request->command->takes & TAKES(i) && spelling_is_near(name, options[i].name))
            return command_misused(request, "there is no option \"%s\"; did you mean %s?", name,
                                   options[i].name);
    return command_misused(request, "there is no option \"%s\"", name);
}

/* The option at argv[*at], which is left at the last word it took. */
static enum command_status read_option(struct request *request, char **argv, int *at)
{
    const char *typed = argv[*at], *equals = strchr(typed, '=');
    size_t length = equals ? (size_t)(equals - typed) : strlen(typed);
    int i = 0;

    while (i < OPTIONS && (!(request->command->takes & TAKES(i)) ||
                           strncmp(options[i].name, typed, length) || options[i].name[length]))
        i++;
    if (i == OPTIONS)
        return unknown_option(request, typed);
    if (!options[i].value)
        return equals ? command_misused(request, "%s takes no value", options[i].name)
                      : add_value(request, i, typed);
    if (!equals && !argv[*at + 1])
        return command_misused(request, "%s needs %s", options[i].name, options[i].value);
    return add_value(request, i, equals ? equals + 1 : argv[++*at]);
}

static bool takes_words(const struct command *command)
{
    return command->operand && strstr(command->operand, "...");
}

/* The operand, or where the command takes more one of those. */
static enum command_status read_word(struct request *request, const char *word)
{
    const char *operand = request->command->operand;

    if (!operand || (request->operand && !takes_words(request->command)))
        return command_misused(request, "there is %s",
                               operand ? "a second operand" : "no operand to it");
    if (!request->operand) {
        request->operand = word;
    } else {
        request->words =
            memory_resize(request->words, request->n_words + 1, sizeof *request->words);
        request->words[request->n_words++] = word;
    }
    return COMMAND_DONE;
}

/* The `jti` of a token may begin with -, or with --: no option looks like one. */
static bool takes_jti(const struct command *command)
{
    return command->operand && strstr(command->operand, "JTI");
}

/* Where more words may follow an operand, one may be -word. */
static bool is_option(const struct request *request, const char *word)
{
    bool may_be_word = request->operand && takes_words(request->command);

    if (takes_jti(request->command) && token_id_is_ours(word))
        return false;
    return word[0] == '-' && word[1] && (word[1] == '-' || !may_be_word);
}

static enum command_status read_arguments(struct request *request, char **argv)
{
    const struct command *command = request->command;
    bool only_operands = false;
    enum command_status status = COMMAND_DONE;

    for (int i = 0; argv[i] && status == COMMAND_DONE; i++) {
        if (!only_operands && strcmp(argv[i], "--") == 0)
            only_operands = true;
        else if (!only_operands && is_option(request, argv[i]))
            status = read_option(request, argv, &i);
        else
            status = read_word(request, argv[i]);
    }
    if (status == COMMAND_DONE && command->operand && command->operand[0] != '[' &&
        !request->operand)
        status = command_misused(request, "%s is missing", command->operand);
    for (int i = 0; i < OPTIONS && status == COMMAND_DONE; i++)
        if (command->needs & TAKES(i) && !request_has(request, i))
            status =
                command_misused(request, "%s %s is missing", options[i].name, options[i].value);
    return status;
}

/* Or has begun to.  Without the words that would change something it only shows. */
static bool has_acted(const struct request *request, enum command_status status)
{
    return request->command->takes & ACTS && !request_has(request, OPTION_DRY_RUN) &&
           (status == COMMAND_DONE || status == COMMAND_FAILED) && !is_declined &&
           (request->n_words || !takes_words(request->command));
}

static enum command_status run(struct request *request, char **argv)
{
    enum command_status status;

    for (int i = 0; argv[i] && strcmp(argv[i], "--"); i++)
        if (is_help(argv[i])) {
            print_command_help(request->command);
            return COMMAND_DONE;
        }
    status = read_arguments(request, argv);
    if (status == COMMAND_DONE)
        status = request->command->run(request);
    if (status == COMMAND_DONE && request_has(request, OPTION_DRY_RUN))
        fputs("nothing was changed: --dry-run\n", stderr);
    if (has_acted(request, status))
        instance_audit(request, argv, status);
    for (int i = 0; i < OPTIONS; i++)
        free(request->options[i].values);
    free(request->words);
    return status;
}

static enum command_status find_verb(struct request *request, const struct command *commands,
                                     char **argv)
{
    const struct command noun = {.noun = commands->noun};
    const char *verb = argv[0];

    request->command = commands;
    if (!commands->verb)
        return run(request, argv);
    if (!verb) {
        request->command = &noun;
        return command_misused(request, "what of \"%s\"?  A verb is missing", commands->noun);
    }
    if (is_help(verb)) {
        print_noun_help(commands);
        return COMMAND_DONE;
    }
    for (; request->command->noun; request->command++)
        if (strcmp(request->command->verb, verb) == 0)
            return run(request, argv + 1);
    return unknown_verb(commands, verb);
}

static enum command_status find_noun(struct request *request, char **argv)
{
    for (size_t i = 0; i < NOUNS; i++)
        if (strcmp(nouns[i]->noun, argv[0]) == 0)
            return find_verb(request, nouns[i], argv + 1);
    return unknown_noun(argv[0]);
}

/* What stands before the command. */
static enum command_status read_line(char **argv)
{
    struct request request = {.config = STANDARD_CONFIG, .started_by = getuid()};

    for (argv++; *argv && **argv == '-' && strcmp(*argv, "--") != 0; argv++) {
        if (is_help(*argv)) {
            print_help();
            return COMMAND_DONE;
        }
        if (strcmp(*argv, "--version") == 0) {
            puts("sallyport " VERSION);
            return COMMAND_DONE;
        }
        if (strncmp(*argv, "-c", 2))
            return command_misused(&request, "there is no option \"%.*s\" before a command",
                                   (int)strcspn(*argv, "="), *argv);
        request.config = (*argv)[2] ? *argv + 2 : *++argv;
        if (!request.config)
            return command_misused(&request, "-c needs FILE");
    }
    argv += *argv && strcmp(*argv, "--") == 0;
    if (*argv)
        return find_noun(&request, argv);
    return command_misused(&request, "a command is missing");
}

enum command_status command_line(int argc, char **argv)
{
    enum command_status status = argc ? read_line(argv) : COMMAND_USAGE;

    if (fflush(stdout) == EOF || ferror(stdout))
        return command_refuse(COMMAND_FAILED, "cannot write the answer: %s", strerror(errno));
    return status;
}
