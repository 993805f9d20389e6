/*
 * `--explain`: relay.c run on a stage that prints.  The socket is alone in the world: counts and
 * lists know nobody but it.
 */
#include "gateway/explain.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/memory.h"
#include "gateway/fetch.h"
#include "gateway/gate.h"
#include "gateway/guards.h"
#include "gateway/packet_text.h"
#include "gateway/slots.h"

#include <jansson.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define SOCKET_ID "the-socket-that-asks"

/* Where is it in the moment? */
enum presence {
    PRESENT,
    LEAVING, /* still in its rooms, and nothing reaches it */
    GONE
};

struct printer {
    struct relay_stage stage; /* first */
    FILE *out;
    const struct explain *explain;
    char *room[EXPLAIN_ROOMS + PROGRAM_ACTIONS]; /* those it is in now */
    size_t n_rooms, max_rooms;                   /* 0: any */
    struct variable variable[PROGRAM_VARIABLES];
    struct json_value claim[RULES_CLAIMS], auth_value[RULES_AUTHS];
    struct relay_bucket *buckets;
    struct identity *identity; /* NULL: a guest */
    enum presence presence;
    char *auth, *event_text; /* JSON */
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

/* Also where it is by its name. */
static bool is_there(const struct printer *p, struct span room)
{
    char name[PROGRAM_ROOM_BYTES];
    ptrdiff_t length;

    if (p->presence == GONE)
        return false;
    if (find_room(p, room) < p->n_rooms)
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
    bool is_new = find_room(p, room) == p->n_rooms;
    bool is_full = is_new && p->max_rooms && p->n_rooms >= p->max_rooms;

    print_room(p, "  join", room);
    fputs(is_full ? ": not done, it is in gateway.limits.rooms others\n" : "\n", p->out);
    if (is_new && !is_full)
        p->room[p->n_rooms++] = memory_copy(room.at, room.length);
    return !is_full;
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

/* Is the socket itself sent it?  At a presence moment nobody is the sender. */
static bool is_reached(const struct printer *p, enum relay_target target, struct span room)
{
    bool has_sender = p->stage.variable;

    if (p->presence != PRESENT || (has_sender && target == TARGET_TO))
        return false;
    if (target == TARGET_TO || target == TARGET_IN)
        return is_there(p, room) || (has_sender && span_is(room, "id:" SOCKET_ID));
    return target != TARGET_OTHERS;
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

    if (room.length > 0)
        print_room(p, targets[target], room);
    else
        fputs(targets[target], p->out);
    fputs(is_volatile ? ", if they keep up: " : ": ", p->out);
    print_packet(p, PACKET_EVENT, message);
    return is_reached(p, target, room);
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
    fputs("  disconnect the socket: ", printer_of(stage)->out);
    print_packet(printer_of(stage), PACKET_DISCONNECT, &(struct relay_message){0});
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

/* The claims of a user who has been made up. */
static bool make_identity(struct printer *p, const struct snapshot *snapshot)
{
    const struct explain *e = p->explain;
    json_t *claims = json_loads(e->claims ? e->claims : "{}", JSON_REJECT_DUPLICATES, NULL);
    char *payload = NULL;

    if (!*e->user || !json_is_object(claims) ||
        json_object_set_new(claims, "sub", json_string(e->user)) != 0) {
        json_decref(claims);
        return fail("--claims is not a JSON object, or --user is not a name: ",
                    e->claims ? e->claims : e->user);
    }
    payload = json_dumps(claims, JSON_COMPACT);
    json_decref(claims);
    if (payload && strlen(payload) <= TOKEN_MAX_BYTES)
        p->identity = identity_of_claims(payload, snapshot);
    free(payload);
    return p->identity || fail("", "--claims are more than a token holds");
}

/* As the gateway would say now; where another issuer's keys have to be fetched, once they are. */
static gate_result check_token(const struct snapshot *snapshot, const struct revoked *revoked,
                               struct issuers_watch *issuers, struct span text,
                               struct identity **identity)
{
    gate_result result =
        gate_check(snapshot, revoked, issuers_watch_known(issuers), text, clock_wall_s(), identity);

    if (result != GATE_UNAVAILABLE)
        return result;
    issuers_watch_wait(issuers, FETCH_TIMEOUT_MS);
    return gate_check(snapshot, revoked, issuers_watch_known(issuers), text, clock_wall_s(),
                      identity);
}

/* What standard input brings, without its end of line. */
static struct span read_line(char *text, size_t size)
{
    size_t length = fread(text, 1, size, stdin);

    while (length > 0 && (text[length - 1] == '\n' || text[length - 1] == '\r'))
        length--;
    return (struct span){text, (uint32_t)length};
}

/* That of a token, of whichever issuer. */
static bool read_token(struct printer *p, struct snapshot *snapshot)
{
    char text[TOKEN_MAX_BYTES + 2], message[GATE_TEXT_MAX], data[GATE_TEXT_MAX];
    struct error error;
    struct revocations *reader =
        revocations_open_reader(snapshot->config->token_revocations, &error);
    struct revoked *revoked = reader ? revoked_read(reader, &error) : NULL;
    struct issuers_watch *issuers = issuers_watch_new(snapshot);
    gate_result result = TOKEN_OK;

    if (revoked)
        result =
            check_token(snapshot, revoked, issuers, read_line(text, sizeof text), &p->identity);
    sodium_memzero(text, sizeof text);
    issuers_watch_free(&issuers);
    revoked_put(&revoked);
    revocations_close(&reader);
    if (p->identity)
        return true;
    if (result == TOKEN_OK)
        return fail("", error.text);
    gate_refusal(snapshot, result, message, data);
    return fail("the token is refused: ", message);
}

/* A moment that comes only for users. */
static bool is_for_users(const char *moment)
{
    return moment && (strncmp(moment, "user ", 5) == 0 || strcmp(moment, "authenticated") == 0);
}

static bool set_identity(struct printer *p, struct snapshot *snapshot)
{
    const struct explain *e = p->explain;
    enum rules_authenticate mode = rules_namespace_authenticate(p->stage.rules);
    bool has_identity = e->user || e->takes_token;

    if (has_identity && mode == AUTHENTICATE_NONE)
        return fail("", "the namespace has `authenticate none`: there are no users");
    if (!has_identity && mode != AUTHENTICATE_NONE && is_for_users(e->moment))
        return fail("", "this moment is a user's: say --user NAME, or --token");
    if (!has_identity && (mode == AUTHENTICATE_REQUIRED || mode == AUTHENTICATE_LATER))
        return fail("", "the namespace wants a token: say --user NAME, or --token and give it on "
                        "standard input");
    if (!has_identity)
        return true;
    if (!(e->takes_token ? read_token(p, snapshot) : make_identity(p, snapshot)))
        return false;
    p->stage.user = p->identity->user;
    p->stage.claim = p->claim;
    identity_claims(p->identity, p->claim);
    return true;
}

/* As the gateway keeps it: without a token, where tokens count. */
static bool set_auth(struct printer *p, uint64_t max_bytes)
{
    struct span text = TEXT_SPAN(p->explain->auth ? p->explain->auth : "{}");
    const struct rules_path *path;
    struct json_value value;
    struct slot *slot;
    size_t n;

    if (!scan_value(text.at, text.length, &value) || value.type != VALUE_OBJECT)
        return fail("--auth is not a JSON object: ", text.at);
    if (!max_bytes || text.length <= max_bytes)
        p->auth =
            gate_auth(text, rules_namespace_authenticate(p->stage.rules) == AUTHENTICATE_NONE);
    path = rules_auths(p->stage.rules, &n);
    text = TEXT_SPAN(p->auth ? p->auth : "{}");
    slot = slots_new(text, path, n);
    slots_read(text.at, slot, n, p->auth_value);
    free(slot);
    p->stage.auth = p->auth_value;
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
    if (span_is(p->event.decoded_name, "authenticate") &&
        rules_namespace_authenticate(p->stage.rules) != AUTHENTICATE_NONE)
        return fail("", "by `authenticate` a client shows its token: the rules are not asked, and "
                        "what follows is --when authenticated");
    p->stage.event = &p->event;
    p->stage.wants_ack = true;
    return true;
}

static bool set_stage(struct printer *p, struct snapshot *snapshot)
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
    p->max_rooms = snapshot->config->limits_rooms;
    if (!set_identity(p, snapshot) || !set_auth(p, p->stage.max_kept_bytes))
        return false;
    for (size_t i = 0; i < e->n_rooms; i++)
        p->room[p->n_rooms++] = memory_copy(e->room[i], strlen(e->room[i]));
    for (size_t i = 0; i < e->n_variables; i++)
        if (!set_variable(p, e->variable[i]))
            return false;
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
    fputs("then\n", p->out);
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

/* The gateway's own words before those of the rules; false: there are none. */
static bool print_greeting(const struct printer *p, int moment, const struct relay_verdict *verdict)
{
    const struct span connect = TEXT_SPAN("{\"sid\":\"" SOCKET_ID "\"}");
    const struct span authenticated = TEXT_SPAN("[\"authenticated\"]");
    const struct span refusal[] = {TEXT_SPAN("{\"message\":"), verdict->reason, TEXT_SPAN("}")};

    if (moment != MOMENT_CONNECTION && moment != MOMENT_AUTHENTICATED)
        return false;
    fputs("then\n  to the sender: ", p->out);
    if (moment == MOMENT_AUTHENTICATED)
        print_packet(p, PACKET_EVENT, &(struct relay_message){&authenticated, 1, NULL, 0});
    else if (verdict->reason.length)
        print_packet(p, PACKET_CONNECT_ERROR, &(struct relay_message){refusal, 3, NULL, 0});
    else
        print_packet(p, PACKET_CONNECT, &(struct relay_message){&connect, 1, NULL, 0});
    return true;
}

/* What the socket still is and has then. */
static void set_moment(struct printer *p, int moment)
{
    if (moment == MOMENT_USER_ONLINE || moment == MOMENT_USER_OFFLINE)
        p->stage.variable = NULL;
    if (moment == MOMENT_DISCONNECT || moment == MOMENT_USER_OFFLINE)
        p->presence = GONE;
    else if (moment == MOMENT_DISCONNECTING)
        p->presence = LEAVING;
}

static bool explain_moment(struct printer *p)
{
    int moment = find_moment(p->explain);
    struct relay_verdict verdict;
    bool is_greeted;

    if (moment < 0)
        return false;
    set_moment(p, moment);
    fprintf(p->out, "when %s\n", p->explain->moment);
    verdict = relay_check_moment(&p->stage, (enum rules_moment)moment);
    print_rules(p, p->stage.rules->moment[moment].rules);
    is_greeted = print_greeting(p, moment, &verdict);
    if (verdict.result == RELAY_DONE) {
        fputs(is_greeted ? "" : "then\n", p->out);
        act(p, &verdict);
    } else if (verdict.result == RELAY_BAD_ARGUMENT) {
        fputs(is_greeted ? "  " : "then ", p->out);
        fputs("nothing: a value is missing or does not fit\n", p->out);
    } else if (!is_greeted) {
        fputs("then nothing\n", p->out);
    }
    return true;
}

static void fini(struct printer *p)
{
    while (p->n_rooms > 0)
        free(p->room[--p->n_rooms]);
    for (size_t i = 0; i < PROGRAM_VARIABLES; i++)
        free(p->variable[i].json);
    free(p->buckets);
    identity_put(&p->identity);
    free(p->auth);
    free(p->event_text);
}

int explain_run(struct snapshot *snapshot, const struct explain *explain, FILE *out)
{
    struct printer *p = memory_zeroed(1, sizeof *p);
    bool is_good;

    p->out = out;
    p->explain = explain;
    is_good = set_stage(p, snapshot);
    if (is_good && explain->moment)
        is_good = explain_moment(p);
    else if (is_good)
        explain_event(p);
    fini(p);
    free(p);
    return is_good ? 0 : 1;
}
