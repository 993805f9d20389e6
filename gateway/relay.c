/*
 * Running the rules: which rule of an event is the rule, and its two phases.  Phase one renders
 * every template and throws the result away, so that a rule that begins to act can go on to its
 * end. Nothing is allocated but what `set` keeps, and a socket's buckets when its first limit
 * comes.
 */
#include "gateway/relay.h"

#include "common/memory.h"
#include "gateway/guards.h"

#include <stdlib.h>
#include <string.h>

#define TEXT(text) ((struct span){(text), sizeof(text) - 1})

struct relay_bucket {
    uint64_t at_ms;
    uint64_t used; /* in events × milliseconds: a period of each event that still counts */
};

static struct relay_message message_of(const struct rendering *r)
{
    return (struct relay_message){r->span, r->n, r->attachments, r->n_attachments};
}

/* Limits. */

static bool is_full(const struct relay_bucket *bucket, const struct limit *limit)
{
    return bucket->used + limit->period_ms > (uint64_t)limit->n * limit->period_ms;
}

static void refill(struct relay_bucket *bucket, const struct limit *limit, uint64_t now_ms)
{
    uint64_t refilled = (now_ms - bucket->at_ms) * limit->n;

    bucket->used -= refilled < bucket->used ? refilled : bucket->used;
    bucket->at_ms = now_ms;
}

/* One of each bucket of the rule, or none of any. */
static bool take_limits(const struct run *run)
{
    const struct rule *rule = run->rule;
    struct relay_bucket **buckets = run->stage->buckets;

    if (rule->n_limits == 0)
        return true;
    if (!*buckets)
        *buckets = memory_zeroed(rules_limits(run->stage->rules), sizeof **buckets);
    for (uint16_t i = 0; i < rule->n_limits; i++) {
        refill(&(*buckets)[rule->limit[i].bucket], &rule->limit[i], run->stage->now_ms);
        if (is_full(&(*buckets)[rule->limit[i].bucket], &rule->limit[i]))
            return false;
    }
    for (uint16_t i = 0; i < rule->n_limits; i++)
        (*buckets)[rule->limit[i].bucket].used += rule->limit[i].period_ms;
    return true;
}

/* Answers. */

static void answer(struct run *run, const struct relay_message *message)
{
    if (run->is_answered || !run->stage->wants_ack)
        return;
    run->is_answered = true;
    run->stage->operations->ack(run->stage, message);
}

static void answer_nothing(struct run *run)
{
    static const struct span nothing = {"[]", 2};

    answer(run, &(struct relay_message){&nothing, 1, NULL, 0});
}

/* Variables. */

static uint32_t rendered_bytes(const struct rendering *r)
{
    uint32_t bytes = 0;

    for (size_t i = 0; i < r->n; i++)
        bytes += r->span[i].length;
    return bytes;
}

static void copy_rendered(const struct rendering *r, char *to)
{
    for (size_t i = 0; i < r->n; i++) {
        memcpy(to, r->span[i].at, r->span[i].length);
        to += r->span[i].length;
    }
}

static enum value_type type_of(struct run *run, const struct template *template)
{
    char scratch[RENDER_NUMBER_BYTES];
    struct value value;

    if (template->type != VALUE_NONE)
        return (enum value_type) template->type;
    render_value(run, template->piece, scratch, &value);
    return value.json.type;
}

/* Bytes in the variables that the rule does not set. */
static uint64_t kept_bytes(const struct run *run)
{
    const struct relay_stage *stage = run->stage;
    uint64_t bytes = 0;

    for (size_t i = 0; stage->variable && i < rules_variables(stage->rules); i++)
        bytes += stage->variable[i].length;
    for (uint16_t i = 0; i < run->rule->n_actions; i++) {
        const struct action *action = &run->rule->action[i];

        if (action->kind == ACTION_SET && action->is_first)
            bytes -= stage->variable[action->index].length;
    }
    return bytes;
}

/*
 * Phase one of `set`: what later templates of the rule will find; the text only of what can stand
 * in a room's name.  What is too long to be noted makes everything with it in it too long.
 */
static bool note_set(struct run *run, enum value_type type, const struct rendering *r)
{
    uint32_t bytes = rendered_bytes(r);
    struct json_value *value = &run->set[run->n_sets++];

    *value = (struct json_value){.text = {NULL, bytes}, .type = type};
    if ((type == VALUE_STRING || type == VALUE_INTEGER) &&
        bytes <= sizeof run->set_text - run->set_bytes) {
        value->text.at = run->set_text + run->set_bytes;
        copy_rendered(r, run->set_text + run->set_bytes);
        run->set_bytes += (uint16_t)bytes;
    }
    run->kept_bytes += bytes;
    return run->stage->max_kept_bytes == 0 || run->kept_bytes <= run->stage->max_kept_bytes;
}

static void set_variable(struct variable *variable, enum value_type type, const struct rendering *r)
{
    uint32_t bytes = rendered_bytes(r);
    char *json = memory_new(bytes + 1u);

    copy_rendered(r, json);
    free(variable->json); /* only now: the new value may have been made of it */
    *variable = (struct variable){json, bytes, (uint8_t)type};
}

static void unset_variable(struct variable *variable)
{
    free(variable->json);
    *variable = (struct variable){NULL, 0, VALUE_NONE};
}

/* Actions, in both phases: false is a bad argument; while checking nothing is done. */

static bool act_emit(struct run *run, const struct action *action, struct rendering *r)
{
    char buffer[PROGRAM_ROOM_BYTES];
    struct span room = {"", 0};
    struct relay_message message;

    if (action->room.n > 0 && !render_room(run, &action->room, buffer, &room))
        return false;
    if (!render_json(run, &action->value, r))
        return false;
    if (run->is_checking)
        return true;
    message = message_of(r);
    run->sent += run->stage->operations->emit(run->stage, action->target, room, action->is_volatile,
                                              &message);
    return true;
}

static bool act_ack(struct run *run, const struct action *action, struct rendering *r)
{
    struct relay_message message;

    if (!render_json(run, &action->value, r))
        return false;
    if (run->is_checking)
        return true;
    message = message_of(r);
    answer(run, &message);
    return true;
}

static bool act_on_room(struct run *run, const struct action *action)
{
    const struct relay_operations *operations = run->stage->operations;
    char buffer[PROGRAM_ROOM_BYTES];
    struct span room;

    if (!render_room(run, &action->room, buffer, &room) || program_room_is_computed(room))
        return false;
    if (run->is_checking)
        return true;
    if (action->kind == ACTION_LEAVE)
        operations->leave(run->stage, room);
    else
        operations->join(run->stage, room);
    return true;
}

/* Binary cannot be kept, nor what looks like it. */
static bool act_set(struct run *run, const struct action *action, struct rendering *r)
{
    enum value_type type;

    if (!render_json(run, &action->value, r) || r->n_attachments > 0 || r->has_imitation)
        return false;
    type = type_of(run, &action->value);
    if (run->is_checking)
        return note_set(run, type, r);
    set_variable(&run->stage->variable[action->index], type, r);
    return true;
}

static bool act(struct run *run, const struct action *action, struct rendering *r)
{
    switch ((enum action_kind)action->kind) {
    case ACTION_EMIT:
        return act_emit(run, action, r);
    case ACTION_ACK:
        return act_ack(run, action, r);
    case ACTION_JOIN:
    case ACTION_LEAVE:
        return act_on_room(run, action);
    case ACTION_SET:
        return act_set(run, action, r);
    case ACTION_UNSET:
        if (!run->is_checking)
            unset_variable(&run->stage->variable[action->index]);
        return true;
    case ACTION_DISCONNECT:
        if (run->is_checking)
            return true;
        answer_nothing(run); /* before there is nobody left to get it */
        run->stage->operations->disconnect(run->stage);
        return true;
    }
    return true;
}

static bool act_all(struct run *run)
{
    struct rendering r;
    bool is_good = true;

    r.n_lists = 0;
    for (uint16_t i = 0; is_good && i < run->rule->n_actions; i++) {
        is_good = act(run, &run->rule->action[i], &r);
        render_release(&r);
    }
    return is_good;
}

/* Phase one. */

static void run_init(struct run *run, struct relay_stage *stage, const struct rule *rule)
{
    /* Field by field: the rest is large, and is filled as it is needed. */
    run->stage = stage;
    run->rule = rule;
    run->is_checking = run->is_answered = false;
    run->sent = 0;
    run->n_sets = 0;
    run->set_bytes = 0;
}

static bool check_actions(struct run *run)
{
    run->is_checking = true;
    run->kept_bytes = kept_bytes(run);
    return act_all(run);
}

/* The first rule whose guards all hold; NULL: *result says how they failed. */
static const struct rule *find_rule(struct run *run, const struct rule *rule,
                                    enum relay_result *result)
{
    *result = RELAY_DENIED;
    for (; rule; rule = rule->next) {
        enum answer answer = guards_ask(run, rule);

        if (answer == ANSWER_HOLDS)
            return rule;
        if (answer == ANSWER_BAD)
            *result = RELAY_BAD_ARGUMENT;
    }
    return NULL;
}

static struct relay_verdict check(struct relay_stage *stage, const struct rule *rules)
{
    struct relay_verdict verdict = {.result = RELAY_DONE};
    struct run run;

    run_init(&run, stage, NULL);
    run.rule = verdict.rule = find_rule(&run, rules, &verdict.result);
    if (!run.rule)
        return verdict;
    verdict.result = RELAY_DONE;
    if (!take_limits(&run)) {
        verdict.result = RELAY_LIMITED;
    } else if (run.rule->deny.length > 0) {
        verdict.result = RELAY_DENIED;
        verdict.reason = run.rule->deny;
    } else if (!check_actions(&run)) {
        verdict.result = RELAY_BAD_ARGUMENT;
    }
    return verdict;
}

struct relay_verdict relay_check_event(struct relay_stage *stage)
{
    const struct trigger *trigger = program_event(stage->rules, stage->event->decoded_name);

    if (!trigger)
        return (struct relay_verdict){.result = RELAY_NO_RULE};
    return check(stage, trigger->rules);
}

struct relay_verdict relay_check_moment(struct relay_stage *stage, enum rules_moment moment)
{
    struct relay_verdict verdict = check(stage, stage->rules->moment[moment].rules);

    /* A moment whose rules do not hold is refused to nobody. */
    if (!verdict.rule)
        verdict.result = RELAY_NO_RULE;
    return verdict;
}

void relay_act(struct relay_stage *stage, const struct relay_verdict *verdict)
{
    struct run run;

    run_init(&run, stage, verdict->rule);
    act_all(&run); /* what was checked goes in, unless an action has ended the socket itself */
    answer_nothing(&run);
}

void relay_refuse(struct relay_stage *stage, const struct relay_verdict *verdict)
{
    static const struct span words[] = {
        [RELAY_NO_RULE] = {"\"no rule\"", 9},
        [RELAY_DENIED] = {"\"denied\"", 8},
        [RELAY_LIMITED] = {"\"limited\"", 9},
        [RELAY_BAD_ARGUMENT] = {"\"bad argument\"", 14},
    };
    struct span pieces[] = {TEXT("[{\"error\":"), words[verdict->result], TEXT("}]")};

    if (!stage->wants_ack || verdict->result == RELAY_DONE)
        return;
    if (verdict->reason.length > 0)
        pieces[1] = verdict->reason;
    stage->operations->ack(stage, &(struct relay_message){pieces, 3, NULL, 0});
}
