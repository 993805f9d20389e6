#ifndef GATEWAY_RELAY_H
#define GATEWAY_RELAY_H

#include "gateway/packet.h"
#include "gateway/rules.h"
#include "gateway/scanner.h"

/*
 * Running a rule: which rule of a trigger holds, and what it does.  This file decides; what is done
 * to sockets is said through struct relay_stage, which the gateway implements over rooms and
 * `--explain` (issue 6) implements by printing.
 *
 * Two phases: first every guard, limit and type check of a rule,
 * with no effect; then its actions in order.
 */

enum relay_target { TARGET_SELF, TARGET_OTHERS, TARGET_ALL, TARGET_TO, TARGET_IN };

/* The JSON array of a packet in pieces, to be copied once, and the attachments it refers to, in
 * order. */
struct relay_message {
    const struct span *piece;
    size_t n_pieces;
    const struct attachment *attachment;
    size_t n_attachments;
};

/* What a socket keeps for a rules variable: a JSON text of its own; .json NULL: unset. */
struct variable {
    char *json;
    uint32_t length;
    uint8_t type; /* enum value_type */
};

struct relay_stage;

/* What can be done to the world.  `stage->subject` is the socket; a presence moment has none, and
 * only emits, counts and lists. */
struct relay_operations {
    bool (*is_in)(struct relay_stage *stage, struct span room);
    /* False: the socket is in as many rooms as it may be; the rule goes on, the stage has counted
     * it. */
    bool (*join)(struct relay_stage *stage, struct span room);
    void (*leave)(struct relay_stage *stage, struct span room);
    /* Returns the number of sockets addressed, for $sent.  `room` only for TARGET_TO and TARGET_IN.
     */
    uint64_t (*emit)(struct relay_stage *stage, enum relay_target target, struct span room,
                     bool is_volatile, const struct relay_message *message);
    void (*ack)(struct relay_stage *stage, const struct relay_message *message);
    uint64_t (*count)(struct relay_stage *stage, struct span room);
    /* The users in a room as a JSON list, NUL-ended, to be freed with free(); `null` when they are
     * too many for one. */
    char *(*members)(struct relay_stage *stage, struct span room);
    void (*disconnect)(struct relay_stage *stage);
};

/* Everything a rule can see of the moment.  All borrowed for the length of the call. */
struct relay_stage {
    const struct relay_operations *operations;
    void *subject;
    const struct rules_namespace *rules;
    struct variable *variable; /* rules_variables(rules) slots; NULL where there is no socket */
    struct span user;          /* $user: a JSON string, or empty for a guest */
    const struct json_value *claim; /* one for each of rules_claims(): VALUE_NONE where absent */
    const struct json_value *auth;  /* the same for rules_auths(): $auth, and what is in it */
    struct span id;                 /* $id: the socket's id, plain ASCII without quotes */
    struct span
        reason; /* $reason, plain ASCII without quotes; only at disconnecting and disconnect */
    const struct event *event;           /* NULL at a moment */
    const struct attachment *attachment; /* those of the event */
    size_t n_attachments;
    bool wants_ack;
    int64_t now_s;
    /* Buckets of `limit` for this socket: rules_limits(rules) of them, or NULL while none was
       needed; the relay allocates, the owner of the socket frees with free(). */
    struct relay_bucket **buckets;
    uint64_t now_ms;
    /* Bytes that all variables of the socket may have together, 0: any.  A `set` beyond them is a
     * bad argument. */
    uint64_t max_kept_bytes;
};

enum relay_result {
    RELAY_DONE,    /* a rule held and ran */
    RELAY_NO_RULE, /* "no rule" */
    RELAY_DENIED,  /* "denied": no rule's guards held; or `deny`, whose words are in the verdict.
                      At a moment only `deny`: else it is RELAY_NO_RULE */
    RELAY_LIMITED, /* "limited" */
    RELAY_BAD_ARGUMENT /* "bad argument": a value is missing or does not fit, a guard about the
                          arguments (`require string $1`) did not hold and no other rule did */
};

struct relay_verdict {
    enum relay_result result;
    struct span reason; /* for RELAY_DENIED by `deny`: its words as a JSON string; else empty */
    const struct rule *rule; /* the one that held, or NULL */
};

/*
 * Phase one for an event (by its name) or a moment: find the rule, check everything, touch nothing
 * but limits. Phase two, only after RELAY_DONE: run its actions.  Between the two the gateway sends
 * the CONNECT reply at `connection`.  relay_act also gives the one answer an event that wants an
 * ack gets: the rule's, else `[]`; after any other verdict relay_refuse gives `[{"error":…}]`.
 */
struct relay_verdict relay_check_event(struct relay_stage *stage);
struct relay_verdict relay_check_moment(struct relay_stage *stage, enum rules_moment moment);
void relay_act(struct relay_stage *stage, const struct relay_verdict *verdict);
void relay_refuse(struct relay_stage *stage, const struct relay_verdict *verdict);

#endif
