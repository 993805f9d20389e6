/*
 * `--explain`: relay.c run on a stage that prints.  The socket is alone in the world: counts and
 * lists know nobody but it.
 */
#include "gateway/explain.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/memory.h"
#include "gateway/gate.h"
#include "gateway/guards.h"
#include "gateway/packet_text.h"

#include <jansson.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define SOCKET_ID "the-socket-that-asks"

struct printer {
    struct relay_stage stage; /* first */
    FILE *out;
    const struct explain *explain;
    char *room[EXPLAIN_ROOMS + PROGRAM_ACTIONS]; /* those it is in now */
    size_t n_rooms;
    struct variable variable[PROGRAM_VARIABLES];
    struct json_value claim[PROGRAM_CLAIMS];
    struct relay_bucket *buckets;
    char *payload, *event_text; /* JSON: the claims, the event */
    struct event event;
};

/* Printing. */

static struct printer *printer_of(struct relay_stage *stage)
{
    return (struct printer *)(void *)stage;
}

/* As JSON: whatever a token or an argument holds, a terminal is not told to do it. */
static void print_quoted(FILE *out, struct span text)
{
    json_t *string = json_stringn(text.at, text.length);
    char *json = string ? json_dumps(string, JSON_ENCODE_ANY) : NULL;

    fputs(json ? json : "?", out);
    free(json);
    json_decref(string);
}

static void print_packet(const struct printer *p, enum packet_type type,
                         const struct relay_message *message)
{
    struct packet_text text = {.type = type,
                               .namespace = rules_namespace_name(p->stage.rules),
                               .has_id = type == PACKET_ACK};
    char header[PACKET_HEADER_SIZE];
    size_t length = packet_text_write_header(&text, header);

    fprintf(p->out, "%.*s", (int)length, header);
    for (size_t i = 0; i < message->n_pieces; i++)
        fprintf(p->out, "%.*s", (int)message->piece[i].length, message->piece[i].at);
    fputc('\n', p->out);
}

static void print_room(const struct printer *p, const char *what, struct span room)
{
    fprintf(p->out, "%s ", what);
    print_quoted(p->out, room);
}

/* The stage. */

static size_t find_room(const struct printer *p, struct span room)
{
    size_t i = 0;

    while (i < p->n_rooms && !span_is(room, p->room[i]))
        i++;
    return i;
}

/* Also the computed ones. */
static bool is_there(const struct printer *p, struct span room)
{
    char name[PROGRAM_ROOM_BYTES];
    ptrdiff_t length;

    if (span_is(room, "id:" SOCKET_ID) || find_room(p, room) < p->n_rooms)
        return true;
    if (!p->stage.user.length || room.length < 5 || memcmp(room.at, "user:", 5) != 0)
        return false;
    length = scan_decode_string(p->stage.user, name, sizeof name);
    return length >= 0 && span_equals((struct span){name, (uint32_t)length},
                                      (struct span){room.at + 5, room.length - 5});
}

static bool stage_is_in(struct relay_stage *stage, struct span room)
{
    return is_there(printer_of(stage), room);
}

static bool stage_join(struct relay_stage *stage, struct span room)
{
    struct printer *p = printer_of(stage);

    print_room(p, "  join", room);
    fputc('\n', p->out);
    if (find_room(p, room) == p->n_rooms)
        p->room[p->n_rooms++] = memory_copy(room.at, room.length);
    return true;
}

static void stage_leave(struct relay_stage *stage, struct span room)
{
    struct printer *p = printer_of(stage);
    size_t i = find_room(p, room);

    print_room(p, "  leave", room);
    fputc('\n', p->out);
    if (i == p->n_rooms)
        return;
    free(p->room[i]);
    p->room[i] = p->room[--p->n_rooms];
}

static uint64_t stage_emit(struct relay_stage *stage, enum relay_target target, struct span room,
                           bool is_volatile, const struct relay_message *message)
{
    static const char *const targets[] = {
        [TARGET_SELF] = "  to the sender",
        [TARGET_OTHERS] = "  to all others in the namespace",
        [TARGET_ALL] = "  to all in the namespace",
        [TARGET_TO] = "  to all others in room",
        [TARGET_IN] = "  to all in room",
    };
    const struct printer *p = printer_of(stage);
    bool has_socket = p->stage.variable;

    if (room.length > 0)
        print_room(p, targets[target], room);
    else
        fputs(targets[target], p->out);
    fputs(is_volatile ? ", if they keep up: " : ": ", p->out);
    print_packet(p, PACKET_EVENT, message);
    if (target == TARGET_IN)
        return has_socket && is_there(p, room);
    return has_socket && (target == TARGET_SELF || target == TARGET_ALL);
}

static void stage_ack(struct relay_stage *stage, const struct relay_message *message)
{
    fputs("  answer, if the client asks for one: ", printer_of(stage)->out);
    print_packet(printer_of(stage), PACKET_ACK, message);
}

static uint64_t stage_count(struct relay_stage *stage, struct span room)
{
    return is_there(printer_of(stage), room);
}

static char *stage_members(struct relay_stage *stage, struct span room)
{
    size_t length = stage->user.length;
    char *json = memory_zeroed(length + 3, 1);

    json[0] = '[';
    if (length && is_there(printer_of(stage), room))
        memcpy(json + 1, stage->user.at, length);
    strcat(json, "]");
    return json;
}

static void stage_disconnect(struct relay_stage *stage)
{
    fputs("  disconnect the socket\n", printer_of(stage)->out);
}

static const struct relay_operations operations = {
    .is_in = stage_is_in,
    .join = stage_join,
    .leave = stage_leave,
    .emit = stage_emit,
    .ack = stage_ack,
    .count = stage_count,
    .members = stage_members,
    .disconnect = stage_disconnect,
};

/* Who and what. */

static bool fail(const char *what, const char *text)
{
    log_error("%s%s", what, text);
    return false;
}

/* An object in compact form; NULL: it is none. */
static char *object_text(const char *json)
{
    json_t *object = json_loads(json, JSON_REJECT_DUPLICATES, NULL);
    char *text = json_is_object(object) ? json_dumps(object, JSON_COMPACT) : NULL;

    json_decref(object);
    return text;
}

/* The claims of a user who has been made up. */
static bool make_payload(struct printer *p)
{
    const struct explain *e = p->explain;
    json_t *claims = json_loads(e->claims ? e->claims : "{}", JSON_REJECT_DUPLICATES, NULL);

    if (!json_is_object(claims) || json_object_set_new(claims, "sub", json_string(e->user)) != 0) {
        json_decref(claims);
        return fail("--claims is not a JSON object, or --user is not UTF-8: ",
                    e->claims ? e->claims : e->user);
    }
    p->payload = json_dumps(claims, JSON_COMPACT);
    json_decref(claims);
    return true;
}

/* Those of a token from standard input. */
static bool read_token(struct printer *p, const struct snapshot *snapshot)
{
    char text[TOKEN_MAX_BYTES + 2], message[GATE_TEXT_MAX], data[GATE_TEXT_MAX];
    size_t length = fread(text, 1, sizeof text, stdin);
    struct identity *identity;
    gate_result result;

    while (length > 0 && (text[length - 1] == '\n' || text[length - 1] == '\r'))
        length--;
    result = gate_check(snapshot, NULL, NULL, (struct span){text, (uint32_t)length}, clock_wall_s(),
                        &identity);
    sodium_memzero(text, sizeof text);
    if (result != TOKEN_OK) {
        gate_refusal(snapshot, result, message, data);
        return fail("the token is refused: ", message);
    }
    p->payload = memory_copy(identity->payload, identity->payload_bytes);
    identity_put(&identity);
    return true;
}

static void set_claims(struct printer *p, const struct rules *rules)
{
    static const struct span sub = {"sub", 3};
    struct span payload = TEXT_SPAN(p->payload);
    struct json_value user;
    size_t n;
    const struct rules_claim *claim = rules_claims(rules, &n);

    if (scan_member(payload, &sub, 1, &user))
        p->stage.user = user.text;
    for (size_t i = 0; i < n; i++)
        if (!scan_member(payload, claim[i].path, claim[i].n_path, &p->claim[i]))
            p->claim[i].type = VALUE_NONE;
    p->stage.claim = p->claim;
}

static bool set_identity(struct printer *p, const struct snapshot *snapshot)
{
    enum rules_authenticate mode = rules_namespace_authenticate(p->stage.rules);
    bool has_identity = p->explain->user || p->explain->takes_token;

    if (has_identity && mode == AUTHENTICATE_NONE)
        return fail("", "the namespace has `authenticate none`: there are no users");
    if (!has_identity && (mode == AUTHENTICATE_REQUIRED || mode == AUTHENTICATE_LATER))
        return fail("", "the namespace wants a token: say --user NAME, or --token and give it on "
                        "standard input");
    if (!has_identity)
        return true;
    if (!(p->explain->takes_token ? read_token(p, snapshot) : make_payload(p)))
        return false;
    set_claims(p, snapshot->rules);
    return true;
}

/* NAME=JSON */
static bool set_variable(struct printer *p, const char *text)
{
    const char *equals = strchr(text, '=');
    struct span name = {text, (uint32_t)(equals ? equals - text : 0)};
    size_t slot = rules_variable_find(p->stage.rules, name);
    struct json_value value;

    if (!equals || slot == rules_variables(p->stage.rules))
        return fail("--set is NAME=JSON, of a variable that the rules set: ", text);
    if (!scan_value(equals + 1, strlen(equals + 1), &value))
        return fail("--set is NAME=JSON, where a text stands in double quotes: ", text);
    free(p->variable[slot].json);
    p->variable[slot] = (struct variable){memory_copy(value.text.at, value.text.length),
                                          value.text.length, (uint8_t)value.type};
    return true;
}

/* ["name",…]: each argument as the JSON that it is, or as a text. */
static bool set_event(struct printer *p)
{
    size_t length;
    FILE *text = open_memstream(&p->event_text, &length);

    for (int i = 0; text && i < p->explain->n_event; i++) {
        struct span argument = TEXT_SPAN(p->explain->event[i]);
        struct json_value value;

        fputc(i ? ',' : '[', text);
        if (i && scan_value(argument.at, argument.length, &value))
            fwrite(value.text.at, 1, value.text.length, text);
        else
            print_quoted(text, argument);
    }
    if (!text || fputc(']', text) == EOF || fclose(text) != 0 ||
        scan_event(p->event_text, length, 0, &p->event) != SCAN_OK)
        return fail("no client can send this event: ", p->explain->event[0]);
    p->stage.event = &p->event;
    p->stage.wants_ack = true;
    return true;
}

static bool set_stage(struct printer *p, const struct snapshot *snapshot)
{
    const struct explain *e = p->explain;

    p->stage.rules = rules_namespace_find(snapshot->rules, TEXT_SPAN(e->space));
    if (!p->stage.rules)
        return fail("the rules have no namespace ", e->space);
    p->stage.operations = &operations;
    p->stage.variable = p->variable;
    p->stage.buckets = &p->buckets;
    p->stage.id = TEXT_SPAN(SOCKET_ID);
    p->stage.reason = TEXT_SPAN("transport close");
    p->stage.now_s = clock_wall_s();
    p->stage.now_ms = clock_monotonic_ms();
    p->stage.max_kept_bytes = snapshot->config->limits_kept_bytes;
    if (!set_identity(p, snapshot))
        return false;
    for (size_t i = 0; i < e->n_rooms; i++)
        p->room[p->n_rooms++] = memory_copy(e->room[i], strlen(e->room[i]));
    for (size_t i = 0; i < e->n_variables; i++)
        if (!set_variable(p, e->variable[i]))
            return false;
    p->stage.auth = TEXT_SPAN(e->auth ? e->auth : "{}");
    return e->moment || set_event(p);
}

/* What is asked. */

static void print_answer(const struct printer *p, const struct guard *guard, enum answer answer)
{
    static const char *const words[] = {
        [ANSWER_HOLDS] = "holds", [ANSWER_FAILS] = "fails", [ANSWER_BAD] = "fails (bad argument)"};

    fprintf(p->out, "    require %.*s: %s\n", (int)guard->text.length, guard->text.at,
            words[answer]);
}

/* As relay.c asks them: rule by rule, as far as the first guard that does not hold. */
static void print_rules(struct printer *p, const struct rule *rule)
{
    for (; rule; rule = rule->next) {
        bool holds = true;

        fprintf(p->out, "  the rule in line %u\n", rule->line);
        for (uint16_t i = 0; holds && i < rule->n_guards; i++) {
            enum answer answer = guards_ask_one(&p->stage, &rule->guard[i]);

            print_answer(p, &rule->guard[i], answer);
            holds = answer == ANSWER_HOLDS;
        }
        for (uint16_t i = 0; holds && i < rule->n_limits; i++)
            fprintf(p->out, "    limit %u per %u ms: nothing has been counted yet\n",
                    rule->limit[i].n, rule->limit[i].period_ms);
        fprintf(p->out, "    %s\n", holds ? "is the rule" : "is passed over");
        if (holds)
            return;
    }
}

/* The variables as JSON texts, to tell afterwards which have changed. */
static void copy_variables(const struct printer *p, char **copy)
{
    for (size_t i = 0; i < PROGRAM_VARIABLES; i++)
        copy[i] =
            p->variable[i].json ? memory_copy(p->variable[i].json, p->variable[i].length) : NULL;
}

/* Consumes what they were before. */
static void print_changes(const struct printer *p, char **before)
{
    char *now[PROGRAM_VARIABLES];

    copy_variables(p, now);
    for (size_t i = 0; i < PROGRAM_VARIABLES; i++) {
        if (now[i] && (!before[i] || strcmp(now[i], before[i]) != 0))
            fprintf(p->out, "  set %s %s\n", p->stage.rules->variable[i].at, now[i]);
        else if (before[i] && !now[i])
            fprintf(p->out, "  unset %s\n", p->stage.rules->variable[i].at);
        free(before[i]);
        free(now[i]);
    }
}

static void act(struct printer *p, const struct relay_verdict *verdict)
{
    char *before[PROGRAM_VARIABLES];

    copy_variables(p, before);
    fputs("then\n", p->out);
    if (verdict->result == RELAY_DONE)
        relay_act(&p->stage, verdict);
    else
        relay_refuse(&p->stage, verdict);
    print_changes(p, before);
}

static void explain_event(struct printer *p)
{
    const struct trigger *trigger = program_event(p->stage.rules, p->event.decoded_name);
    struct relay_verdict verdict = relay_check_event(&p->stage);

    fprintf(p->out, "event %s\n", p->event_text);
    if (trigger)
        print_rules(p, trigger->rules);
    else
        fputs("  no rule is about it\n", p->out);
    act(p, &verdict);
}

static int find_moment(const struct explain *e)
{
    static const char *const names[] = {
        [MOMENT_CONNECTION] = "connection",       [MOMENT_AUTHENTICATED] = "authenticated",
        [MOMENT_DISCONNECTING] = "disconnecting", [MOMENT_DISCONNECT] = "disconnect",
        [MOMENT_USER_ONLINE] = "user online",     [MOMENT_USER_OFFLINE] = "user offline",
    };

    for (int i = 0; i < MOMENTS; i++)
        if (strcmp(e->moment, names[i]) == 0)
            return i;
    log_error("--when is one of connection, authenticated, disconnecting, disconnect, \"user "
              "online\" and \"user offline\", not %s",
              e->moment);
    return -1;
}

static bool explain_moment(struct printer *p)
{
    int moment = find_moment(p->explain);
    struct relay_verdict verdict;

    if (moment < 0)
        return false;
    if (moment == MOMENT_USER_ONLINE || moment == MOMENT_USER_OFFLINE)
        p->stage.variable = NULL;
    if (moment == MOMENT_DISCONNECT)
        while (p->n_rooms > 0)
            free(p->room[--p->n_rooms]);
    fprintf(p->out, "when %s\n", p->explain->moment);
    verdict = relay_check_moment(&p->stage, (enum rules_moment)moment);
    print_rules(p, p->stage.rules->moment[moment].rules);
    if (verdict.reason.length > 0)
        fprintf(p->out, "then\n  refused: %.*s\n", (int)verdict.reason.length, verdict.reason.at);
    else if (verdict.result == RELAY_DONE)
        act(p, &verdict);
    else
        fputs("then nothing\n", p->out);
    return true;
}

static void fini(struct printer *p)
{
    while (p->n_rooms > 0)
        free(p->room[--p->n_rooms]);
    for (size_t i = 0; i < PROGRAM_VARIABLES; i++)
        free(p->variable[i].json);
    free(p->buckets);
    free(p->payload);
    free(p->event_text);
}

int explain_run(const struct snapshot *snapshot, const struct explain *explain, FILE *out)
{
    struct explain checked = *explain;
    struct printer *p = memory_zeroed(1, sizeof *p);
    char *auth = NULL;
    bool is_good = true;

    p->out = out;
    p->explain = &checked;
    if (explain->auth) {
        checked.auth = auth = object_text(explain->auth);
        if (!auth)
            is_good = fail("--auth is not a JSON object: ", explain->auth);
    }
    is_good = is_good && set_stage(p, snapshot);
    if (is_good && explain->moment)
        is_good = explain_moment(p);
    else if (is_good)
        explain_event(p);
    fini(p);
    free(p);
    free(auth);
    return is_good ? 0 : 1;
}
