#ifndef GATEWAY_PROGRAM_H
#define GATEWAY_PROGRAM_H

#include "gateway/relay.h"
#include "gateway/table.h"

/*
 * What rules are compiled to: flat arrays, made once by parser.c and its helpers, walked by relay.c
 * and its.
 * Everything here belongs to one struct rules and lives as long as it.
 */
#define PROGRAM_NAMESPACES 64
#define PROGRAM_VARIABLES  64 /* of a namespace */
#define PROGRAM_RULES      4096
#define PROGRAM_GUARDS     32 /* of a rule, */
#define PROGRAM_LIMITS     4
#define PROGRAM_ACTIONS    64
#define PROGRAM_PIECES     128 /* of a template, */
#define PROGRAM_PATH       8   /* of a claim's name */
#define PROGRAM_ROOM_BYTES 256 /* the longest room's name; a longer one is a bad argument */

enum piece_op {
    PIECE_LITERAL,  /* .text */
    PIECE_WHOLE,    /* the event as it came, "[" to "]" */
    PIECE_ARGS,     /* its arguments, comma between them */
    PIECE_REST,     /* the same after a comma; nothing when there are none */
    PIECE_ARGUMENT, /* from here on: values; .index from 0 */
    PIECE_EVENT,
    PIECE_USER,
    PIECE_CLAIM, /* .index: slot */
    PIECE_AUTH,  /* .index: slot */
    PIECE_ID,
    PIECE_REASON,
    PIECE_NOW,
    PIECE_VARIABLE, /* .index: slot */
    PIECE_COUNT,    /* .room */
    PIECE_MEMBERS,  /* .room */
    PIECE_SENT
};

/* Where a value stands: as a JSON value, inside a JSON string, in a room's name (plain UTF-8). */
enum piece_context { AS_JSON, IN_STRING, IN_ROOM };

struct template;

struct piece {
    uint8_t op, context;
    /* PIECE_VARIABLE: the rule's how-manieth `set` gives it its value, from 1; 0: it stands since
     * before the rule.  Phase one looks there, phase two at the variable. */
    uint8_t set_by;
    uint16_t index;
    union {
        struct span text;
        const struct template *room;
    };
};

/* Pieces in a row.  `type` is what they make as a JSON value, VALUE_NONE: what its one value is. */
struct template
{
    const struct piece *piece;
    uint16_t n;
    uint8_t type;
};

enum guard_kind {
    GUARD_SET,
    GUARD_UNSET,
    GUARD_USER,
    GUARD_GUEST,
    GUARD_IN,
    GUARD_CLAIM, /* .index: slot; .value: what it must be or hold */
    GUARD_TYPE,  /* of .value */
    GUARD_COUNT  /* .index arguments */
};

enum guard_type { /* for GUARD_TYPE */
                  TYPE_STRING,
                  TYPE_INTEGER,
                  TYPE_NUMBER,
                  TYPE_BOOLEAN,
                  TYPE_OBJECT,
                  TYPE_ARRAY,
                  TYPE_BINARY
};

struct guard {
    uint8_t kind, type;
    uint16_t index;
    struct template value;
    struct span text; /* as the file has it, after `require` */
};

/* A bucket of `n`, refilled at `n` per `period_ms`. */
struct limit {
    uint32_t n, period_ms;
    uint16_t bucket;
};

enum action_kind {
    ACTION_EMIT,
    ACTION_ACK,
    ACTION_JOIN,
    ACTION_LEAVE,
    ACTION_SET, /* .index: slot */
    ACTION_UNSET,
    ACTION_DISCONNECT
};

struct action {
    uint8_t kind, target;
    bool is_volatile;
    bool is_first; /* ACTION_SET: the first of this variable in its rule */
    uint16_t index;
    struct template room, value;
};

struct rule {
    struct rule *next; /* of the same trigger, in file order */
    uint32_t line;
    uint16_t n_guards, n_limits, n_actions;
    const struct guard *guard;
    const struct limit *limit;
    const struct action *action;
    struct span deny; /* the words as a JSON string; empty: it does not deny */
};

/* All rules of one name.  A prefix's name is without its star. */
struct trigger {
    struct table_link link;
    struct trigger *next; /* prefixes, longest first */
    struct span name;
    struct rule *rules;
};

struct rules_namespace {
    struct span name;
    enum rules_authenticate authenticate;
    struct table events; /* exact names */
    struct trigger *prefixes;
    struct trigger moment[MOMENTS];
    uint16_t n_variables, n_limits, n_auths;
    bool asks_members;                       /* some rule says `$members` */
    struct span variable[PROGRAM_VARIABLES]; /* their names, by slot */
    struct rules_path auth[RULES_AUTHS];     /* the same */
};

struct block;

struct rules {
    _Atomic uint32_t references;
    struct block *blocks; /* all memory below */
    struct rules_namespace *space[PROGRAM_NAMESPACES];
    struct rules_path claim[RULES_CLAIMS];
    uint16_t n_spaces, n_claims, n_rules;
};

/* Zeroed memory that is freed with its list; at load only. */
void *program_alloc(struct block **blocks, size_t n, size_t bytes);
void program_free(struct block **blocks);

/* The rules for a client's event of this name; NULL: none.  Names that are ours have none. */
const struct trigger *program_event(const struct rules_namespace *space, struct span name);

/* Is it a name that Socket.IO or the gateway keeps for itself? */
bool program_name_is_reserved(struct span name);

/* Is the room computed: `user:…`, `id:…`? */
bool program_room_is_computed(struct span room);

bool span_equals(struct span a, struct span b);
bool span_is(struct span span, const char *text);

#endif
