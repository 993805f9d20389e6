/*
 * A page of rules and what is sent to it: the rules' text, a NUL, then events with a NUL between
 * them.  The first byte of an event says how it comes; see `play`.  What goes out is JSON that fits
 * its attachments, and whoever wants an answer gets exactly one.
 */
#include "gateway/program.h"
#include "gateway/slots.h"
#include "tests/fuzz/target.h"

#define ATTACHMENTS 7
#define HELD_BYTES  (1 << 20)

static const char claims_text[] =
    "{\"rooms\":[\"a\",\"team:*\",1],\"a\":{\"b\":\"x\"},\"name\":\"\\u0061\","
    "\"p\":{\"_placeholder\":true,\"num\":0},\"n\":5}";

static struct {
    unsigned acts, acks;
} seen;

static void demand_room(struct span room, bool may_be_computed)
{
    assert(room.length > 0 && room.length <= PROGRAM_ROOM_BYTES);
    assert(may_be_computed || !program_room_is_computed(room));
}

static void demand_message(const struct relay_message *message)
{
    static char text[HELD_BYTES];
    static struct event event;
    size_t length = 0;

    for (size_t i = 0; i < message->n_pieces; i++) {
        if (length + message->piece[i].length > sizeof text)
            return;
        if (message->piece[i].length)
            memcpy(text + length, message->piece[i].at, message->piece[i].length);
        length += message->piece[i].length;
    }
    assert(scan_array(text, length, (uint32_t)message->n_attachments, &event) == SCAN_OK);
    for (size_t i = 0; i < message->n_attachments; i++)
        assert(message->attachment[i].bytes);
}

static bool is_in(struct relay_stage *stage, struct span room)
{
    (void)stage;
    demand_room(room, true);
    return room.at[0] & 1;
}

static bool join(struct relay_stage *stage, struct span room)
{
    (void)stage;
    demand_room(room, false);
    seen.acts++;
    return true;
}

static void leave(struct relay_stage *stage, struct span room)
{
    (void)stage;
    demand_room(room, false);
    seen.acts++;
}

static uint64_t emit(struct relay_stage *stage, enum relay_target target, struct span room,
                     bool is_volatile, const struct relay_message *message)
{
    (void)stage, (void)is_volatile;
    if (target == TARGET_TO || target == TARGET_IN)
        demand_room(room, true);
    demand_message(message);
    seen.acts++;
    return 3;
}

static void ack(struct relay_stage *stage, const struct relay_message *message)
{
    assert(stage->wants_ack);
    demand_message(message);
    seen.acks++;
}

static uint64_t count(struct relay_stage *stage, struct span room)
{
    (void)stage;
    demand_room(room, true);
    return 12;
}

static void disconnect(struct relay_stage *stage)
{
    (void)stage;
    seen.acts++;
}

static char *members(struct relay_stage *stage, struct span room)
{
    (void)stage;
    demand_room(room, true);
    return strdup("[\"ann\"]");
}

static const struct relay_operations operations = {
    .is_in = is_in,
    .join = join,
    .leave = leave,
    .emit = emit,
    .ack = ack,
    .count = count,
    .members = members,
    .disconnect = disconnect,
};

static void demand_variables(const struct relay_stage *stage)
{
    for (size_t i = 0; i < stage->rules->n_variables; i++) {
        const struct variable *variable = &stage->variable[i];
        struct json_value value;

        if (!variable->json)
            continue;
        assert(scan_value(variable->json, variable->length, &value));
        assert(value.type == variable->type && value.placeholders == 0);
    }
}

/* Once the guards have held, nothing of the rule is left out. */
static unsigned acts_of(const struct rule *rule)
{
    unsigned n = 0;

    for (uint16_t i = 0; i < rule->n_actions; i++)
        n += rule->action[i].kind != ACTION_ACK && rule->action[i].kind != ACTION_SET &&
             rule->action[i].kind != ACTION_UNSET;
    return n;
}

/* The low bits: attachments; 8: wants an answer; 16: may keep little; 32: from a guest. */
static void play(struct relay_stage *stage, uint8_t how, const char *text, size_t length)
{
    static struct attachment attachment[ATTACHMENTS];
    static struct event event;
    const struct relay_stage before = *stage;
    struct relay_verdict verdict;

    for (unsigned i = 0; i < ATTACHMENTS; i++)
        attachment[i] = (struct attachment){(const uint8_t *)"abcdefgh" + i, 1};
    stage->n_attachments = how & 7;
    if (scan_event(text, length, (uint32_t)stage->n_attachments, &event) != SCAN_OK)
        goto done;
    stage->event = &event;
    stage->attachment = attachment;
    stage->wants_ack = how & 8;
    stage->max_kept_bytes = how & 16 ? 100 : 0;
    if (how & 32) {
        stage->user.length = 0;
        stage->claim = NULL;
    }
    seen.acts = seen.acks = 0;
    verdict = relay_check_event(stage);
    assert(seen.acts == 0 && seen.acks == 0);
    if (verdict.result == RELAY_DONE) {
        relay_act(stage, &verdict);
        assert(seen.acts == acts_of(verdict.rule));
    } else {
        relay_refuse(stage, &verdict);
    }
    assert(seen.acks == (stage->wants_ack ? 1 : 0));
    demand_variables(stage);
done:
    *stage = before;
}

static void play_moments(struct relay_stage *stage)
{
    for (enum rules_moment moment = 0; moment < MOMENTS; moment++) {
        struct relay_verdict verdict = relay_check_moment(stage, moment);

        if (verdict.result == RELAY_DONE)
            relay_act(stage, &verdict);
    }
}

static void play_all(const struct rules *rules, const char *events, size_t size)
{
    static struct variable variable[PROGRAM_VARIABLES];
    static struct json_value claim[RULES_CLAIMS], auth[RULES_AUTHS];
    const struct span claims = {claims_text, sizeof claims_text - 1};
    struct relay_bucket *buckets = NULL;
    struct relay_stage stage = {.operations = &operations,
                                .rules = rules_namespace_at(rules, 0),
                                .variable = variable,
                                .user = {"\"ann\"", 5},
                                .claim = claim,
                                .auth = auth,
                                .id = {"ID", 2},
                                .reason = {"x y", 3},
                                .now_s = 1700000000,
                                .now_ms = 1000,
                                .buckets = &buckets};
    size_t n, length;
    const struct rules_path *wanted = rules_claims(rules, &n);
    struct slot *slot = slots_new(claims, wanted, n);

    slots_read(claims.at, slot, n, claim);
    free(slot);
    wanted = rules_auths(stage.rules, &n);
    slot = slots_new(claims, wanted, n);
    slots_read(claims.at, slot, n, auth);
    free(slot);
    for (; size > 1; events += length + 1, size -= length + 1) {
        length = strnlen(events, size);
        stage.now_ms += (uint8_t)events[0];
        if (length > 1) {
            char *copy = target_copy(events + 1, length - 1);

            play(&stage, (uint8_t)events[0], copy, length - 1);
            free(copy);
        }
        if (length == size)
            break;
    }
    play_moments(&stage);
    for (size_t i = 0; i < PROGRAM_VARIABLES; i++)
        free(variable[i].json);
    memset(variable, 0, sizeof variable);
    free(buckets);
}

static void warn(const char *text, void *context)
{
    (void)context;
    assert(strncmp(text, "r:", 2) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    size_t length = strnlen(text, size);
    char *copy = target_copy(text, length);
    struct error error = {.text = ""};
    struct rules *rules = rules_parse(copy, length, "r", warn, NULL, &error);

    if (!rules)
        assert(strncmp(error.text, "r:", 2) == 0 && strstr(error.text, ": "));
    else if (length < size && rules_namespaces(rules) > 0)
        play_all(rules, text + length + 1, size - length - 1);
    free(copy);
    if (rules)
        rules_put(&rules);
    return 0;
}
