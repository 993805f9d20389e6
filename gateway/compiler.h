#ifndef GATEWAY_COMPILER_H
#define GATEWAY_COMPILER_H

#include "gateway/lexer.h"

/*
 * What is known while rules are read: the namespace, and the rule so far.  statement.c and
 * condition.c read statements, template.c and dollar.c the values in them.
 */

/* Where a rule stands: in `on`, or in one of the moments. */
#define IN_ON              (1u << MOMENTS)
#define IN_MOMENT(moment)  (1u << (moment))
#define IN_CONNECTION      IN_MOMENT(MOMENT_CONNECTION)
#define IN_AUTHENTICATED   IN_MOMENT(MOMENT_AUTHENTICATED)
#define IN_DISCONNECTING   IN_MOMENT(MOMENT_DISCONNECTING)
#define IN_DISCONNECT      IN_MOMENT(MOMENT_DISCONNECT)
#define IN_PRESENCE        (IN_MOMENT(MOMENT_USER_ONLINE) | IN_MOMENT(MOMENT_USER_OFFLINE))
#define IN_ANY             (IN_ON | (IN_ON - 1))
#define IN_SOCKETS         (IN_ANY & ~IN_PRESENCE)                    /* there is a socket, */
#define IN_STAYING         (IN_ON | IN_CONNECTION | IN_AUTHENTICATED) /* which is not leaving */
#define NOT_COUNTED        UINT32_MAX
#define COMPILER_MAX_DEPTH 32 /* of the JSON in a rule */

/* Is a variable set where the rule has got to? */
enum known { KNOWN_NOT, KNOWN_SET, KNOWN_UNSET };

struct variable_note {
    struct span name;
    const char *first_use;
    bool is_set; /* by some rule of the namespace */
    /* In the rule being read: */
    bool is_set_here;
    enum known known;
    uint8_t set_by, type; /* as struct piece and struct template have them */
};

/* A room that some rule names: `text` as it stands there, NUL-ended. */
struct room_note {
    struct room_note *next;
    const char *at;
    struct span text;
    struct template room;
    bool is_joined;
};

/* A rule, and the variables that must be set for it to hold, and that it sets: a bit each. */
struct rule_note {
    struct rule_note *next;
    const char *at;
    uint64_t needs, sets;
};

/* What the rule being read knows of `$1` … `$9`. */
struct argument_note {
    uint8_t type;   /* enum guard_type + 1; 0: any */
    bool is_inside; /* a room's name or a string */
};

struct compiler {
    struct lexer lexer;
    struct rules *rules;
    struct block *scratch; /* memory needed only while reading */
    const char *counted;   /* as far as lines are counted, */
    uint32_t lines;        /* and how many end before it */
    struct rules_namespace *space;
    struct variable_note variable[PROGRAM_VARIABLES];
    void (*warn)(const char *text, void *context);
    void *warn_context;
    struct room_note *rooms; /* of the namespace; the latest first */
    struct rule_note *notes; /* the same */

    /* The rule being read: */
    const char *moment;      /* its word; NULL in `on` */
    unsigned place;          /* one of IN_… */
    bool is_any_event;       /* `on "*"`: the client alone chooses its name */
    bool is_in_guard;        /* inside a `require`, */
    bool is_in_room;         /* inside a `$count(…)` or `$members(…)` */
    bool is_in_set;          /* inside a `set` */
    bool is_guarded;         /* by more than its arguments' types and number */
    bool is_guest;           /* says a guard, */
    bool needs_user;         /* and a guard asks for what only users have */
    bool has_acked, is_last; /* `ack` was there; nothing may follow */
    bool has_emitted;        /* so that there is something to be counted by `$sent` */
    uint32_t n_arguments;    /* as `require count` says, else NOT_COUNTED */
    uint32_t most_argument;  /* that a guard asks for */
    struct argument_note argument[SCANNER_ARGUMENTS];
    uint64_t needs, sets; /* as struct rule_note has them */
    uint8_t n_sets;
    uint16_t n_guards, n_limits, n_actions;
    struct guard guard[PROGRAM_GUARDS];
    struct limit limit[PROGRAM_LIMITS];
    struct action action[PROGRAM_ACTIONS];
    struct span deny;
};

/*
 * A word that the rules know and what it stands for.  Its reader continues after the word; `value`
 * is the reader's business.
 */
struct row {
    const char *word;
    unsigned places; /* where it may stand */
    int value;
    bool (*read)(struct compiler *compiler, const struct row *row);
};

/* The row of the word that comes next; NULL: none, "unknown WHAT …" has been said. */
const struct row *compiler_row(struct compiler *compiler, const struct row *rows, size_t n,
                               const char *what);

/* The same, of a word that may stand in this kind of rule. */
const struct row *compiler_placed_row(struct compiler *compiler, const struct row *rows, size_t n,
                                      const char *what);

/* Warn of a room at `at` that the client alone chooses, unless a guard has had its say. */
void compiler_warn_of_open_room(struct compiler *compiler, const struct lexer *lexer,
                                const char *at);

/* What follows a `require`. */
bool condition_read(struct compiler *compiler, const struct row *row);

/* A variable's name, where it stands without `$`; a room, with a warning when any client can name
 * it, where that matters. */
bool statement_variable(struct compiler *compiler, uint16_t *slot);
bool statement_room(struct compiler *compiler, struct template *room, bool is_warned_of);

/* One statement of a rule, up to what ends it. */
bool statement_read(struct compiler *compiler);

/* Pieces in the making: literal bytes gather until a value follows. */
struct builder {
    struct compiler *compiler;
    const char *at; /* where the template begins, for complaints */
    char *text;
    size_t length, capacity, piece_start;
    bool is_client_only; /* every value so far comes from the client, */
    bool has_literal;    /* and is there anything else in it? */
    uint16_t n;
    struct piece piece[PROGRAM_PIECES];
};

void builder_init(struct builder *builder, struct compiler *compiler);
void builder_text(struct builder *builder, const char *text, size_t length);
bool builder_piece(struct builder *builder, struct piece piece);
void builder_json_string(struct builder *builder, struct span text);

/* `type`: what the pieces make as one JSON value, VALUE_NONE when that depends on its one value. */
bool builder_finish(struct builder *builder, enum value_type type, struct template *template);

/* A value from its `$` on, added to what the builder has. */
bool dollar_read(struct builder *builder, struct lexer *lexer, enum piece_context context);

/* The bytes in the memory of the rules, NUL-ended. */
struct span compiler_keep(struct compiler *compiler, struct span text);

/* One JSON value with `$` values in it, added to what the builder has. */
bool template_value(struct builder *builder, enum value_type *type);

/* Complain that a presence moment has not what the word means; always false. */
bool template_presence_lacks(const struct compiler *compiler, const struct lexer *lexer,
                             const char *at, const char *dollar, struct span word);

/*
 * A room: a string, noted in compiler->rooms.  `is_client_only`: nothing but what a client sends
 * names it.
 */
bool template_room(struct compiler *compiler, struct lexer *lexer, struct template *room,
                   bool *is_client_only);

/* Complain about a room `id:…` where its members are asked for. */
bool template_is_no_socket(const struct lexer *lexer, const char *at, const struct template *room);

/* One `$` value by itself. */
bool template_dynamic(struct compiler *compiler, struct template *value);

/* What a claim is compared with; a string as a template IN_ROOM, of type VALUE_STRING. */
bool template_wanted(struct compiler *compiler, struct template *value);

/* Text in quotes without values; "$$" is a dollar.  `what` names it in complaints. */
bool template_plain(struct compiler *compiler, const char *what, struct span *text);

/* `.a["b"]` after `first`, which may be empty. */
bool template_path(struct compiler *compiler, struct lexer *lexer, struct span first,
                   const struct span **path, size_t *n_path);

/* The slot of a claim, and of a variable, new or known. */
bool template_claim(struct compiler *compiler, const struct lexer *lexer, const char *at,
                    const struct span *path, size_t n_path, uint16_t *slot);
bool template_variable(struct compiler *compiler, const struct lexer *lexer, const char *at,
                       struct span name, uint16_t *slot);

/* The names of `$` values that are no variables; how many. */
#define TEMPLATE_VALUES 16
size_t template_value_names(const char *names[TEMPLATE_VALUES]);

#endif
