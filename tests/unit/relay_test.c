/*
 * Running the rules on a fake stage that writes down what is done: which rule is the rule, what it
 * says to whom, and that a rule which fails has no effect.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/program.h"
#include "gateway/slots.h"

/* With a rule by which anybody can be in any room. */
#define IN(items)                                                                                  \
    "namespace \"/\" { authenticate optional\n" items "\non \"~\" { join \"$1\" }\n}\n"
#define ON(statements) IN("on \"x\" { " statements " }")

#define MAX_ROOMS 8

struct fake {
    struct relay_stage stage; /* first */
    struct rules *rules;
    struct variable variable[PROGRAM_VARIABLES];
    struct json_value claim[RULES_CLAIMS], auth[RULES_AUTHS];
    struct relay_bucket *buckets;
    char room[MAX_ROOMS][PROGRAM_ROOM_BYTES + 1];
    unsigned rooms;
    bool is_acting; /* phase two: only then may counts be asked for */
    bool breaks;    /* every emission loses the variables, as if the socket had ended */
    struct relay_verdict verdict;
    char log[8192];
    size_t logged;
};

static struct fake *fake_of(struct relay_stage *stage)
{
    return (struct fake *)(void *)stage;
}

static void note(struct fake *f, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void note(struct fake *f, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    f->logged +=
        (size_t)vsnprintf(f->log + f->logged, sizeof f->log - f->logged, format, arguments);
    va_end(arguments);
    assert_true(f->logged < sizeof f->log);
}

/* The JSON of a message, which must be good as every receiver sees it, and its attachments. */
static void note_message(struct fake *f, const struct relay_message *message)
{
    char json[8192];
    struct event event;
    size_t length = 0;

    for (size_t i = 0; i < message->n_pieces; i++) {
        assert_true(length + message->piece[i].length <= sizeof json);
        memcpy(json + length, message->piece[i].at, message->piece[i].length);
        length += message->piece[i].length;
    }
    assert_int_equal(scan_array(json, length, (uint32_t)message->n_attachments, &event), SCAN_OK);
    note(f, " %.*s", (int)length, json);
    for (size_t i = 0; i < message->n_attachments; i++)
        note(f, " <%.*s>", (int)message->attachment[i].length,
             (const char *)message->attachment[i].bytes);
    note(f, "\n");
}

static int find_room(const struct fake *f, struct span room)
{
    for (unsigned i = 0; i < f->rooms; i++)
        if (strlen(f->room[i]) == room.length && memcmp(f->room[i], room.at, room.length) == 0)
            return (int)i;
    return -1;
}

static bool fake_is_in(struct relay_stage *stage, struct span room)
{
    return find_room(fake_of(stage), room) >= 0;
}

static bool fake_join(struct relay_stage *stage, struct span room)
{
    struct fake *f = fake_of(stage);

    note(f, "join %.*s\n", (int)room.length, room.at);
    if (find_room(f, room) < 0) {
        assert_true(f->rooms < MAX_ROOMS && room.length <= PROGRAM_ROOM_BYTES);
        memcpy(f->room[f->rooms], room.at, room.length);
        f->room[f->rooms++][room.length] = '\0';
    }
    return true;
}

static void fake_leave(struct relay_stage *stage, struct span room)
{
    struct fake *f = fake_of(stage);
    int at = find_room(f, room);

    note(f, "leave %.*s\n", (int)room.length, room.at);
    if (at >= 0)
        memcpy(f->room[at], f->room[--f->rooms], sizeof f->room[0]);
}

/* So many sockets are addressed by each target. */
static const struct {
    const char *name;
    uint64_t sockets;
} targets[] = {
    [TARGET_SELF] = {"self", 1}, [TARGET_OTHERS] = {"others", 4}, [TARGET_ALL] = {"all", 5},
    [TARGET_TO] = {"to", 2},     [TARGET_IN] = {"in", 3},
};

static void lose_variables(struct fake *f)
{
    for (size_t i = 0; i < PROGRAM_VARIABLES; i++) {
        free(f->variable[i].json);
        f->variable[i] = (struct variable){NULL, 0, VALUE_NONE};
    }
}

static uint64_t fake_emit(struct relay_stage *stage, enum relay_target target, struct span room,
                          bool is_volatile, const struct relay_message *message)
{
    struct fake *f = fake_of(stage);

    note(f, "%s%s", is_volatile ? "volatile " : "", targets[target].name);
    assert_int_equal(room.length > 0, target == TARGET_TO || target == TARGET_IN);
    if (room.length > 0)
        note(f, " %.*s", (int)room.length, room.at);
    note_message(f, message);
    if (f->breaks)
        lose_variables(f);
    return targets[target].sockets;
}

static void fake_ack(struct relay_stage *stage, const struct relay_message *message)
{
    assert_true(stage->wants_ack);
    note(fake_of(stage), "ack");
    note_message(fake_of(stage), message);
}

/* Ten others are everywhere, and we where we are. */
static uint64_t fake_count(struct relay_stage *stage, struct span room)
{
    assert_true(fake_of(stage)->is_acting);
    return find_room(fake_of(stage), room) >= 0 ? 11 : 10;
}

/* Its name says who is in it: `a` here is a user, `b` and `c` are others. */
static char *fake_members(struct relay_stage *stage, struct span room)
{
    char json[64] = "[";
    char *copy;

    assert_true(fake_of(stage)->is_acting);
    for (uint32_t i = 0; i < room.length && i < 8; i++)
        snprintf(json + strlen(json), sizeof json - strlen(json), "%s\"%c\"", i ? "," : "",
                 room.at[i]);
    strcat(json, "]");
    copy = strdup(json);
    assert_non_null(copy);
    return copy;
}

static void fake_disconnect(struct relay_stage *stage)
{
    note(fake_of(stage), "disconnect\n");
}

static const struct relay_operations operations = {
    .is_in = fake_is_in,
    .join = fake_join,
    .leave = fake_leave,
    .emit = fake_emit,
    .ack = fake_ack,
    .count = fake_count,
    .members = fake_members,
    .disconnect = fake_disconnect,
};

static void fake_init(struct fake *f, const char *text)
{
    struct error error;

    memset(f, 0, sizeof *f);
    f->rules = rules_parse(text, strlen(text), "r", NULL, NULL, &error);
    if (!f->rules)
        fail_msg("%s", error.text);
    f->stage = (struct relay_stage){
        .operations = &operations,
        .rules = rules_namespace_at(f->rules, 0),
        .variable = f->variable,
        .user = {"\"ann\"", 5},
        .claim = f->claim,
        .id = {"ID-1", 4},
        .reason = {"transport close", 15},
        .now_s = 1700000000,
        .now_ms = 5000000,
        .buckets = &f->buckets,
        .wants_ack = true,
    };
}

static void fake_fini(struct fake *f)
{
    lose_variables(f);
    free(f->buckets);
    rules_put(&f->rules);
}

static void fake_slots(struct json_value *value, const char *text, const struct rules_path *path,
                       size_t n)
{
    struct slot *slot = slots_new((struct span){text, (uint32_t)strlen(text)}, path, n);

    slots_read(text, slot, n, value);
    free(slot);
}

/* Claims as in this token; NULL: a guest. */
static void fake_token(struct fake *f, const char *payload)
{
    size_t n;
    const struct rules_path *claim = rules_claims(f->rules, &n);

    f->stage.claim = payload ? f->claim : NULL;
    if (!payload) {
        f->stage.user = (struct span){NULL, 0};
        return;
    }
    fake_slots(f->claim, payload, claim, n);
}

static void fake_auth(struct fake *f, const char *auth)
{
    size_t n;
    const struct rules_path *path = rules_auths(f->stage.rules, &n);

    fake_slots(f->auth, auth, path, n);
    f->stage.auth = f->auth;
}

static void act(struct fake *f)
{
    f->is_acting = true;
    relay_act(&f->stage, &f->verdict);
    f->is_acting = false;
}

/* A client sends this, with attachments <a>, <b>, …  What was done, a line each. */
static const char *sends_binary(struct fake *f, const char *json, uint32_t attachments)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz";
    struct attachment attachment[sizeof letters];
    size_t length = strlen(json);
    char *copy = malloc(length);
    struct event event;

    assert_non_null(copy);
    memcpy(copy, json, length);
    assert_int_equal(scan_event(copy, length, attachments, &event), SCAN_OK);
    for (size_t i = 0; i < sizeof letters; i++)
        attachment[i] = (struct attachment){(const uint8_t *)letters + i, 1};
    f->stage.event = &event;
    f->stage.attachment = attachment;
    f->stage.n_attachments = attachments;
    f->logged = 0;
    f->log[0] = '\0';
    f->verdict = relay_check_event(&f->stage);
    assert_int_equal(f->logged, 0); /* no effect in phase one */
    if (f->verdict.result == RELAY_DONE)
        act(f);
    else
        relay_refuse(&f->stage, &f->verdict);
    f->stage.event = NULL;
    free(copy);
    return f->log;
}

static const char *sends(struct fake *f, const char *json)
{
    return sends_binary(f, json, 0);
}

static const char *moment(struct fake *f, enum rules_moment which)
{
    f->logged = 0;
    f->log[0] = '\0';
    f->stage.wants_ack = false;
    f->verdict = relay_check_moment(&f->stage, which);
    assert_int_equal(f->logged, 0);
    if (f->verdict.result == RELAY_DONE)
        act(f);
    return f->log;
}

/* What one event does under these rules. */
static void assert_done(const char *rules, const char *json, const char *log)
{
    struct fake f;

    fake_init(&f, rules);
    fake_token(&f, "{\"name\":\"Ann \\\"A\\\"\",\"age\":42,\"half\":1.5,\"list\":[1,\"b\"],"
                   "\"mark\":{\"_placeholder\":true,\"num\":0}}");
    fake_auth(&f, "{\"nick\":\"an\\u006e\",\"n\":7,\"o\":{\"p\":[true]},"
                  "\"mark\":[{\"_placeholder\":true,\"num\":0}]}");
    if (strcmp(sends(&f, json), log) != 0)
        fail_msg("%s\n%s\nexpected:\n%s\ngot:\n%s", rules, json, log, f.log);
    fake_fini(&f);
}

static void exact_goes_before_the_longest_prefix_before_the_rest(void **state)
{
    static const char rules[] =
        IN("on \"chat:*\" { ack \"chat:*\" }\non \"chat:a*\" { ack \"chat:a*\" }\n"
           "on \"*\" { ack \"*\" }\non \"chat:about\" { ack \"chat:about\" }\n"
           "on \"\" { ack \"none\" }\non \"5\" { ack 5 }\non \"$$\" { ack \"$$\" }");
    static const char *const cases[][2] = {
        {"[\"chat:about\"]", "ack [\"chat:about\"]\n"},
        {"[\"\\u0063hat:about\"]", "ack [\"chat:about\"]\n"},
        {"[\"chat:aboutx\"]", "ack [\"chat:a*\"]\n"},
        {"[\"chat:b\"]", "ack [\"chat:*\"]\n"},
        {"[\"chat:\"]", "ack [\"chat:*\"]\n"},
        {"[\"chat\"]", "ack [\"*\"]\n"},
        {"[\"connection\"]", "ack [\"*\"]\n"},
        {"[\"\"]", "ack [\"none\"]\n"},
        {"[5]", "ack [5]\n"},
        {"[\"$\"]", "ack [\"$\"]\n"},
        {"[\"authenticate\"]", "ack [{\"error\":\"no rule\"}]\n"},
        {"[\"authenticated\"]", "ack [{\"error\":\"no rule\"}]\n"},
        {"[\"unauthorized\"]", "ack [{\"error\":\"no rule\"}]\n"},
        {"[\"token expiring\"]", "ack [{\"error\":\"no rule\"}]\n"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_done(rules, cases[i][0], cases[i][1]);
    assert_done(IN("on \"a*\" { ack 1 }"), "[\"b\"]", "ack [{\"error\":\"no rule\"}]\n");
    assert_done(IN("when connection { emit self \"a\" }"), "[\"connection\"]",
                "ack [{\"error\":\"no rule\"}]\n");
}

static void the_first_rule_whose_guards_hold_is_the_rule(void **state)
{
    static const char rules[] = IN("on \"x\" { require set never; ack 1 }\n"
                                   "on \"x\" { require count 1; ack 2 }\n"
                                   "on \"x\" { require string $1; require count 2; ack 3 }\n"
                                   "on \"x*\" { ack 4 }\non \"y\" { set never 1 }");

    (void)state;
    assert_done(rules, "[\"x\",1]", "ack [2]\n");
    assert_done(rules, "[\"x\",\"a\",1]", "ack [3]\n");
    assert_done(rules, "[\"x\",1,2]", "ack [{\"error\":\"bad argument\"}]\n");
    assert_done(rules, "[\"x1\"]", "ack [4]\n");
    /* The rule that was chosen decides, also when it then fails. */
    assert_done(IN("on \"x\" { require count 1; ack \"$1\" }\non \"x\" { ack 2 }"), "[\"x\",{}]",
                "ack [{\"error\":\"bad argument\"}]\n");
    assert_done(IN("on \"x\" { require set a }\non \"y\" { set a 1 }"), "[\"x\"]",
                "ack [{\"error\":\"denied\"}]\n");
}

static void untouched_arguments_are_the_bytes_that_came(void **state)
{
    static const char event[] =
        "[ \"x\" , 12345678901234567890, \"\\ud800\" ,\"a\\/b\", { \"b\" : [ 1 ] } ]";
    static const char arguments[] =
        "12345678901234567890, \"\\ud800\" ,\"a\\/b\", { \"b\" : [ 1 ] }";
    char log[256];

    (void)state;
    snprintf(log, sizeof log, "others %s\nack []\n", event);
    assert_done(ON("emit others"), event, log);
    assert_done(ON("emit others $args"), event, log);
    assert_done(IN("on \"*\" { emit others }"), event, log);
    snprintf(log, sizeof log, "all [\"y\",%s]\nack []\n", arguments);
    assert_done(ON("emit all \"y\""), event, log);
    assert_done(ON("emit all \"y\" $args"), event, log);
    snprintf(log, sizeof log, "ack [%s]\n", arguments);
    assert_done(ON("ack $args"), event, log);
    assert_done(ON("emit all \"y\"; ack $args"), "[\"x\"]", "all [\"y\"]\nack []\n");
    assert_done(ON("emit others"), "[\"x\",{\"_placeholder\":true,\"num\":7}]",
                "others [\"x\",{\"_placeholder\":true,\"num\":7}]\nack []\n");
    assert_done(ON("ack $args"), "[\"x\",1,2,3,4,5,6,7,8,9,10,11]",
                "ack [1,2,3,4,5,6,7,8,9,10,11]\n");
}

static void each_target_is_told_apart(void **state)
{
    (void)state;
    assert_done(
        ON("emit self; emit others; emit volatile all; emit to \"a\"; emit volatile in \"b$1\""),
        "[\"x\",1]",
        "self [\"x\",1]\nothers [\"x\",1]\nvolatile all [\"x\",1]\nto a [\"x\",1]\n"
        "volatile in b1 [\"x\",1]\nack []\n");
    assert_done(ON("emit in \"user:$1\" \"a\" 1; emit to \"id:$id\" \"b\" 2"), "[\"x\",\"bob\"]",
                "in user:bob [\"a\",1]\nto id:ID-1 [\"b\",2]\nack []\n");
}

static void values_go_in_as_json_where_json_stands(void **state)
{
    static const char *const cases[][3] = {
        {"ack $1", "[\"x\", {\"a\" : 1}]", "ack [{\"a\" : 1}]\n"},
        {"ack [ $2 , {\"k\":$1} ], \"a\"", "[\"x\",null,true]",
         "ack [[true,{\"k\":null}],\"a\"]\n"},
        {"ack $event, $user, $id, $now", "[\"x\"]", "ack [\"x\",\"ann\",\"ID-1\",1700000000]\n"},
        {"ack $claims.name, $claims.list", "[\"x\"]", "ack [\"Ann \\\"A\\\"\",[1,\"b\"]]\n"},
        {"ack $claims.half, $claims.age", "[\"x\"]", "ack [1.5,42]\n"},
        {"ack $auth.o.p, $auth.nick, $auth[\"n\"]", "[\"x\"]", "ack [[true],\"an\\u006e\",7]\n"},
        {"ack $9", "[\"x\",1,2,3,4,5,6,7,8,-9]", "ack [-9]\n"},
        {"emit self \"$$1\" \"$$\", {\"$$\": \"$$1\"}", "[\"x\"]",
         "self [\"$1\",\"$\",{\"$\":\"$1\"}]\nack []\n"},
        {"emit self $1, 2", "[\"x\",1]", "self [\"x\",1,2]\nack []\n"},
        {"emit self \"\\u0041\\n\\\"\\\\ \\u0001\\u00e9\" \"\\/\"", "[\"x\"]",
         "self [\"A\\u000a\\\"\\\\ \\u0001\xc3\xa9\",\"/\"]\nack []\n"},
        {"ack $count(\"a\")", "[\"x\"]", "ack [10]\n"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char rules[256];

        snprintf(rules, sizeof rules, ON("%s"), cases[i][0]);
        assert_done(rules, cases[i][1], cases[i][2]);
    }
    assert_done(IN("on \"*\" { emit others [$1] }"), "[ 5 , 1]", "others [5,[1]]\nack []\n");
}

static void strings_and_integers_go_into_strings_and_rooms(void **state)
{
    static const char *const cases[][3] = {
        {"ack \"<$1>\"", "[\"x\",\"a\\\"\\u00e9\\n\"]", "ack [\"<a\\\"\\u00e9\\n>\"]\n"},
        {"ack \"$1$2\"", "[\"x\",-0,\"\"]", "ack [\"-0\"]\n"},
        {"ack \"$1$2\"", "[\"x\",\"\\ud83d\",\"\\ude00\"]", "ack [\"\\ud83d\\ude00\"]\n"},
        {"ack \"$event $user $id $now.\"", "[\"x\"]", "ack [\"x ann ID-1 1700000000.\"]\n"},
        {"ack \"$claims.name/$claims.age $auth.nick\"", "[\"x\"]",
         "ack [\"Ann \\\"A\\\"/42 an\\u006e\"]\n"},
        {"emit to \"a$1\" \"b\"; ack \"$count(\\\"a$1\\\") of $sent\"", "[\"x\",1]",
         "to a1 [\"b\",1]\nack [\"10 of 2\"]\n"},
        {"join \"r:$1\"", "[\"x\",\"\\u0061 \\\"\\u00e9\\ud83d\\ude00\"]",
         "join r:a \"\xc3\xa9\xf0\x9f\x98\x80\nack []\n"},
        {"join \"$1:$2:$user:$id:$now\"", "[\"x\",\"a\",7]",
         "join a:7:ann:ID-1:1700000000\nack []\n"},
        {"leave \"$claims.name.$auth.n\"", "[\"x\"]", "leave Ann \"A\".7\nack []\n"},
        {"join \"$count(\\\"$1\\\")\"", "[\"x\",\"a\"]", "join 10\nack []\n"},
        {"join \"$$1\"", "[\"x\"]", "join $1\nack []\n"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char rules[256];

        snprintf(rules, sizeof rules, ON("%s"), cases[i][0]);
        assert_done(rules, cases[i][1], cases[i][2]);
    }
}

static void what_does_not_fit_is_a_bad_argument_and_nothing_happens(void **state)
{
    static const char *const cases[][2] = {
        {"ack $1", "[\"x\"]"},
        {"ack $9", "[\"x\",1,2,3,4,5,6,7,8]"},
        {"ack \"$1\"", "[\"x\",1.5]"},
        {"ack \"$1\"", "[\"x\",1e2]"},
        {"ack \"$1\"", "[\"x\",true]"},
        {"ack \"$1\"", "[\"x\",null]"},
        {"ack \"$1\"", "[\"x\",{}]"},
        {"ack \"$1\"", "[\"x\",[]]"},
        {"ack \"$event\"", "[1.5]"},
        {"ack $claims.nobody", "[\"x\"]"},
        {"ack \"$claims.list\"", "[\"x\"]"},
        {"ack $auth.nobody", "[\"x\"]"},
        {"ack \"$auth.o\"", "[\"x\"]"},
        {"ack $later", "[\"x\"]"},
        {"emit to \"$1\" \"a\"", "[\"x\"]"},
        {"emit to \"$1\" \"a\"", "[\"x\",\"\"]"},
        {"emit to \"$1\" \"a\"", "[\"x\",{}]"},
        {"emit to \"$1\" \"a\"", "[\"x\",\"\\ud800\"]"},
        {"emit to \"r:$1\" \"a\"", "[\"x\",\"\\udc00\"]"},
        {"join \"$1\"", "[\"x\",\"\"]"},
        {"join \"$1\"", "[\"x\",\"user:bob\"]"},
        {"join \"$1\"", "[\"x\",\"\\u0075ser:\"]"},
        {"join \"$1$2\"", "[\"x\",\"i\",\"d:\"]"},
        {"leave \"$1\"", "[\"x\",\"\"]"},
        {"leave \"$1\"", "[\"x\",\"user:ann\"]"},
        {"ack $count(\"$1\")", "[\"x\",\"\"]"},
        {"ack $count(\"$1\")", "[\"x\",null]"},
        {"require in \"$1\"", "[\"x\"]"},
        {"require in \"a$1\"", "[\"x\",[]]"},
        {"require claim list $1", "[\"x\"]"},
        {"require claim list $1", "[\"x\",[]]"},
        {"require string $1", "[\"x\",1]"},
        {"require count 1", "[\"x\"]"},
        {"set later {\"a\":$1}", "[\"x\",{\"_placeholder\":true,\"num\":0}]"},
        {"set later $1", "[\"x\",[{\"_placeholder\":true}]]"},
        {"set later $claims.mark", "[\"x\"]"},
        {"set later $auth.mark", "[\"x\"]"},
        {"set later $auth", "[\"x\"]"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char rules[256];

        /* Something that would be seen comes before and after. */
        snprintf(
            rules, sizeof rules,
            IN("on \"*\" { %s%sjoin \"seen\"; emit all \"seen\"%s%s }\non \"y\" { set later 1 }"),
            strncmp(cases[i][0], "require", 7) == 0 ? cases[i][0] : "",
            strncmp(cases[i][0], "require", 7) == 0 ? ";" : "",
            strncmp(cases[i][0], "require", 7) == 0 ? "" : ";",
            strncmp(cases[i][0], "require", 7) == 0 ? "" : cases[i][0]);
        assert_done(rules, cases[i][1], "ack [{\"error\":\"bad argument\"}]\n");
    }
}

static void guests_have_neither_name_nor_claims(void **state)
{
    static const char rules[] = IN("on \"user\" { ack $user }\non \"claim\" { ack $claims.a }\n"
                                   "on \"which\" { require user; ack \"user\" }\n"
                                   "on \"which\" { require guest; ack \"guest\" }\n"
                                   "on \"role\" { require claim a \"b\"; ack true }\n"
                                   "on \"auth\" { ack $auth.a }\non \"whole\" { ack $auth }");
    struct fake f;

    (void)state;
    fake_init(&f, rules);
    fake_token(&f, "{\"a\":\"b\"}");
    assert_string_equal(sends(&f, "[\"user\"]"), "ack [\"ann\"]\n");
    assert_string_equal(sends(&f, "[\"claim\"]"), "ack [\"b\"]\n");
    assert_string_equal(sends(&f, "[\"which\"]"), "ack [\"user\"]\n");
    assert_string_equal(sends(&f, "[\"role\"]"), "ack [true]\n");
    assert_string_equal(sends(&f, "[\"auth\"]"), "ack [{\"error\":\"bad argument\"}]\n");
    assert_string_equal(sends(&f, "[\"whole\"]"), "ack [{\"error\":\"bad argument\"}]\n");
    fake_auth(&f, "{}");
    assert_string_equal(sends(&f, "[\"whole\"]"), "ack [{}]\n");
    fake_token(&f, NULL);
    assert_string_equal(sends(&f, "[\"user\"]"), "ack [{\"error\":\"bad argument\"}]\n");
    assert_string_equal(sends(&f, "[\"claim\"]"), "ack [{\"error\":\"bad argument\"}]\n");
    assert_string_equal(sends(&f, "[\"which\"]"), "ack [\"guest\"]\n");
    assert_string_equal(sends(&f, "[\"role\"]"), "ack [{\"error\":\"denied\"}]\n");
    fake_fini(&f);
}

static void variables_are_kept_as_json(void **state)
{
    static const char rules[] = IN("on \"set\" { set a $1; set b {\"v\":[$a,\"<$2>\"]} }\n"
                                   "on \"get\" { require set a; ack $a, $b }\n"
                                   "on \"get\" { require unset a; ack \"none\" }\n"
                                   "on \"text\" { ack \"$a\" }\non \"drop\" { unset a }");
    struct fake f;

    (void)state;
    fake_init(&f, rules);
    assert_string_equal(sends(&f, "[\"get\"]"), "ack [\"none\"]\n");
    assert_string_equal(sends(&f, "[\"text\"]"), "ack [{\"error\":\"bad argument\"}]\n");
    assert_string_equal(sends(&f, "[\"set\",\"one\",2]"), "ack []\n");
    assert_string_equal(sends(&f, "[\"get\"]"), "ack [\"one\",{\"v\":[\"one\",\"<2>\"]}]\n");
    assert_string_equal(sends(&f, "[\"text\"]"), "ack [\"one\"]\n");
    assert_string_equal(sends(&f, "[\"set\",[ null ],\"\"]"), "ack []\n");
    assert_string_equal(sends(&f, "[\"get\"]"), "ack [[ null ],{\"v\":[[ null ],\"<>\"]}]\n");
    assert_string_equal(sends(&f, "[\"text\"]"), "ack [{\"error\":\"bad argument\"}]\n");
    assert_string_equal(sends(&f, "[\"set\",7,null]"), "ack [{\"error\":\"bad argument\"}]\n");
    assert_string_equal(sends(&f, "[\"get\"]"), "ack [[ null ],{\"v\":[[ null ],\"<>\"]}]\n");
    assert_string_equal(sends(&f, "[\"drop\"]"), "ack []\n");
    assert_string_equal(sends(&f, "[\"drop\"]"), "ack []\n");
    assert_string_equal(sends(&f, "[\"get\"]"), "ack [\"none\"]\n");
    fake_fini(&f);
}

static void a_check_knows_what_the_rule_itself_will_set(void **state)
{
    static const char *const cases[][3] = {
        {"set a $1; join \"r:$a\"", "[\"x\",\"b\"]", "join r:b\nack []\n"},
        {"set a $1; join \"r:$a\"", "[\"x\",[]]", "ack [{\"error\":\"bad argument\"}]\n"},
        {"set a $1; join \"r:$a\"", "[\"x\",\"\\ud800\"]", "ack [{\"error\":\"bad argument\"}]\n"},
        {"set a \"us$1\"; join \"$a:b\"", "[\"x\",\"er\"]", "ack [{\"error\":\"bad argument\"}]\n"},
        {"set a \"us$1\"; join \"$a:b\"", "[\"x\",\"ed\"]", "join used:b\nack []\n"},
        {"set a $1; set b $a; set a {}; ack \"$b\", $a", "[\"x\",5]", "ack [\"5\",{}]\n"},
        {"set a \"$1\"; set b \"$a$a\"; join \"$b.$a\"", "[\"x\",\"\\u0061\"]",
         "join aa.a\nack []\n"},
        {"set b $1; set a $b; set b $2; join \"$a$b\"", "[\"x\",1,2]", "join 12\nack []\n"},
        {"set a $count(\"r\"); join \"r\"; set b $count(\"r\"); join \"$a:$b\"; ack $a, $b",
         "[\"x\"]", "join r\njoin 10:11\nack [10,11]\n"},
        {"set a \"n$now\"; join \"$a\"; unset a; set a 1; ack \"$a\"", "[\"x\"]",
         "join n1700000000\nack [\"1\"]\n"},
        {"set a $id; set b $claims.age; join \"$a $b\"", "[\"x\"]", "join ID-1 42\nack []\n"},
        {"set a 1.5; set b [$a]; ack $b", "[\"x\"]", "ack [[1.5]]\n"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char rules[256];

        snprintf(rules, sizeof rules, IN("on \"x\" { %s }\non \"y\" { set b 0 }"), cases[i][0]);
        assert_done(rules, cases[i][1], cases[i][2]);
    }
}

static void a_long_variable_can_be_kept_but_names_no_room(void **state)
{
    static const size_t lengths[] = {1020, 1021, 1100, 3000}; /* around what is noted of a `set` */

    (void)state;
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        char event[4096] = "[\"keep\",\"";
        struct fake f;

        memset(event + 9, 'a', lengths[i]);
        strcpy(event + 9 + lengths[i], "\"]");
        fake_init(&f, IN("on \"keep\" { set a \"<$1>\"; set b $a; emit all \"$$\" \"$b\" }\n"
                         "on \"room\" { set a \"<$1>\"; join \"$a\" }\non \"get\" { ack $b }"));
        assert_int_equal(strlen(sends(&f, event)),
                         strlen("all [\"$\",\"<>\"]\nack []\n") + lengths[i]);
        assert_int_equal(strlen(sends(&f, "[\"get\"]")), strlen("ack [\"<>\"]\n") + lengths[i]);
        memcpy(event + 2, "room", 4);
        assert_string_equal(sends(&f, event), "ack [{\"error\":\"bad argument\"}]\n");
        fake_fini(&f);
    }
}

static void a_socket_keeps_so_many_bytes_and_no_more(void **state)
{
    struct fake f;

    (void)state;
    fake_init(&f, IN("on \"a\" { set a $1 }\non \"again\" { set a $1 }\non \"b\" { set b $1; unset "
                     "b; set b $2; join \"r\" }"));
    f.stage.max_kept_bytes = 20;
    assert_string_equal(sends(&f, "[\"a\",\"34567890\"]"), "ack []\n");
    assert_string_equal(sends(&f, "[\"a\",\"09876543\"]"), "ack []\n");
    assert_string_equal(sends(&f, "[\"again\",\"34567890123\"]"), "ack []\n");
    assert_string_equal(sends(&f, "[\"again\",\"34567890\"]"), "ack []\n");
    assert_string_equal(sends(&f, "[\"b\",\"3456\",\"3\"]"), "join r\nack []\n");
    assert_string_equal(sends(&f, "[\"b\",\"345\",\"345\"]"), "join r\nack []\n");
    assert_string_equal(sends(&f, "[\"b\",\"3456\",\"345\"]"),
                        "ack [{\"error\":\"bad argument\"}]\n");
    assert_string_equal(sends(&f, "[\"a\",\"345678901\"]"), "ack []\n");
    assert_string_equal(sends(&f, "[\"a\",\"34567890123456\"]"),
                        "ack [{\"error\":\"bad argument\"}]\n");
    f.stage.max_kept_bytes = 0;
    assert_string_equal(sends(&f, "[\"a\",\"34567890123456\"]"), "ack []\n");
    fake_fini(&f);
}

static void counts_are_read_as_they_come(void **state)
{
    (void)state;
    assert_done(
        ON("emit self \"a\" $count(\"r\"); join \"r\"; emit self \"a\" $count(\"r\"); leave \"r\"; "
           "ack $count(\"r\")"),
        "[\"x\"]", "self [\"a\",10]\njoin r\nself [\"a\",11]\nleave r\nack [10]\n");
    assert_done(ON("emit others \"a\"; emit in \"r\" \"b\" \"$sent\"; ack {\"sent\": $sent}"),
                "[\"x\"]", "others [\"a\"]\nin r [\"b\",\"4\"]\nack [{\"sent\":7}]\n");
}

static void an_event_is_answered_once(void **state)
{
    struct fake f;

    (void)state;
    fake_init(&f, IN("on \"a\" { ack 1; emit self \"b\" }\non \"b\" { disconnect }\n"
                     "on \"c\" { ack 2; disconnect }\non \"d\" {}\non \"e\" { deny \"n\\u006f "
                     "\\\"$$\\\"\" }"));
    assert_string_equal(sends(&f, "[\"a\"]"), "ack [1]\nself [\"b\"]\n");
    assert_string_equal(sends(&f, "[\"b\"]"), "ack []\ndisconnect\n");
    assert_string_equal(sends(&f, "[\"c\"]"), "ack [2]\ndisconnect\n");
    assert_string_equal(sends(&f, "[\"d\"]"), "ack []\n");
    assert_string_equal(sends(&f, "[\"e\"]"), "ack [{\"error\":\"no \\\"$\\\"\"}]\n");
    assert_int_equal(f.verdict.result, RELAY_DENIED);
    f.stage.wants_ack = false;
    assert_string_equal(sends(&f, "[\"a\"]"), "self [\"b\"]\n");
    assert_string_equal(sends(&f, "[\"b\"]"), "disconnect\n");
    assert_string_equal(sends(&f, "[\"d\"]"), "");
    assert_string_equal(sends(&f, "[\"e\"]"), "");
    assert_string_equal(sends(&f, "[\"z\"]"), "");
    fake_fini(&f);
}

static void moments_see_what_they_may(void **state)
{
    struct fake f;

    (void)state;
    fake_init(
        &f, IN("when connection { require claim banned true; deny \"banned\" }\n"
               "when connection { require user; join \"hall\"; emit others \"came\" $user, $id }\n"
               "when disconnecting { require in \"hall\"; set last $reason; emit to \"hall\" "
               "\"going\" }\n"
               "when disconnect { require set last; emit all \"went\" $last, \"$reason\" }"));
    assert_string_equal(moment(&f, MOMENT_CONNECTION),
                        "join hall\nothers [\"came\",\"ann\",\"ID-1\"]\n");
    assert_string_equal(moment(&f, MOMENT_DISCONNECTING), "to hall [\"going\"]\n");
    assert_string_equal(moment(&f, MOMENT_DISCONNECT),
                        "all [\"went\",\"transport close\",\"transport close\"]\n");
    fake_token(&f, "{\"banned\":true}");
    assert_string_equal(moment(&f, MOMENT_CONNECTION), "");
    assert_int_equal(f.verdict.result, RELAY_DENIED);
    assert_int_equal(f.verdict.reason.length, 8);
    assert_memory_equal(f.verdict.reason.at, "\"banned\"", 8);
    fake_token(&f, NULL);
    assert_string_equal(moment(&f, MOMENT_CONNECTION), "");
    assert_int_equal(f.verdict.result, RELAY_NO_RULE);
    fake_fini(&f);
}

static void members_are_a_list_in_json(void **state)
{
    struct fake f;

    (void)state;
    fake_init(&f, ON("emit in \"abc\" \"m\" {\"a\":$members(\"ab\"),\"b\":[$members(\"$1\")]}, "
                     "$members(\"c\"); ack $members(\"xy\")"));
    assert_string_equal(sends(&f, "[\"x\",\"q\"]"),
                        "in abc [\"m\",{\"a\":[\"a\",\"b\"],\"b\":[[\"q\"]]},[\"c\"]]\n"
                        "ack [[\"x\",\"y\"]]\n");
    assert_string_equal(sends(&f, "[\"x\",{}]"), "ack [{\"error\":\"bad argument\"}]\n");
    assert_string_equal(sends(&f, "[\"x\",\"\"]"), "ack [{\"error\":\"bad argument\"}]\n");
    fake_fini(&f);
}

/* No socket, no variables, no claims: what a presence moment is given. */
static void a_presence_moment_needs_no_socket(void **state)
{
    struct fake f;

    (void)state;
    fake_init(&f,
              IN("when user online { emit all \"on\" $user, $count(\"hall\"), $members(\"ab\")\n"
                 "emit in \"of:$user\" \"on\" $sent; emit to \"user:$user\" \"back\" }\n"
                 "on \"x\" { limit 1 per 1s; set kept 1 }"));
    f.stage.variable = NULL;
    f.stage.claim = NULL;
    f.stage.buckets = NULL;
    f.stage.wants_ack = false;
    assert_string_equal(moment(&f, MOMENT_USER_ONLINE),
                        "all [\"on\",\"ann\",10,[\"a\",\"b\"]]\nin of:ann [\"on\",5]\n"
                        "to user:ann [\"back\"]\n");
    assert_string_equal(moment(&f, MOMENT_USER_OFFLINE), "");
    assert_true(rules_has_presence(f.stage.rules) && rules_asks_members(f.stage.rules));
    f.stage.variable = f.variable;
    fake_fini(&f);
}

static void limits_are_buckets_of_each_rule(void **state)
{
    static const char limited[] = "ack [{\"error\":\"limited\"}]\n";
    struct fake f;

    (void)state;
    fake_init(
        &f, IN("on \"a\" { limit 3 per 1s; ack 1 }\non \"b\" { limit 1 per 10ms; limit 2 per 1s }\n"
               "on \"c\" { require set never; limit 1 per 1d }\non \"d\" { set never 1 }\n"
               "on \"e\" { limit 1 per 1h; ack $1 }\non \"f\" { limit 1 per 1m; deny \"no\" }"));
    assert_string_equal(sends(&f, "[\"d\",1]"), "ack []\n");
    assert_null(f.buckets);
    for (int i = 0; i < 3; i++)
        assert_string_equal(sends(&f, "[\"a\"]"), "ack [1]\n");
    assert_string_equal(sends(&f, "[\"a\"]"), limited);
    assert_int_equal(f.verdict.result, RELAY_LIMITED);
    assert_string_equal(sends(&f, "[\"b\"]"), "ack []\n"); /* another bucket */
    f.stage.now_ms += 333;
    assert_string_equal(sends(&f, "[\"a\"]"), limited);
    f.stage.now_ms += 1; /* a third of a second for each */
    assert_string_equal(sends(&f, "[\"a\"]"), "ack [1]\n");
    assert_string_equal(sends(&f, "[\"a\"]"), limited);
    f.stage.now_ms += 100000000000; /* never more than three */
    for (int i = 0; i < 3; i++)
        assert_string_equal(sends(&f, "[\"a\"]"), "ack [1]\n");
    assert_string_equal(sends(&f, "[\"a\"]"), limited);
    assert_string_equal(sends(&f, "[\"b\"]"), "ack []\n");
    for (int i = 0; i < 9; i++) { /* one of two is empty: nothing is taken from the other */
        f.stage.now_ms++;
        assert_string_equal(sends(&f, "[\"b\"]"), limited);
    }
    f.stage.now_ms++;
    assert_string_equal(sends(&f, "[\"b\"]"), "ack []\n");
    f.stage.now_ms += 10;
    assert_string_equal(sends(&f, "[\"b\"]"), limited);
    assert_string_equal(sends(&f, "[\"e\"]"), "ack [{\"error\":\"bad argument\"}]\n");
    assert_string_equal(sends(&f, "[\"e\",1]"), limited);
    assert_string_equal(sends(&f, "[\"f\"]"), "ack [{\"error\":\"no\"}]\n");
    assert_string_equal(sends(&f, "[\"f\"]"), limited);
    fake_fini(&f);
}

static void an_event_that_is_not_for_the_rule_takes_nothing_from_its_bucket(void **state)
{
    struct fake f;

    (void)state;
    fake_init(&f, IN("on \"a\" { require count 1; limit 1 per 1s }"));
    for (int i = 0; i < 5; i++)
        assert_string_equal(sends(&f, "[\"a\"]"), "ack [{\"error\":\"bad argument\"}]\n");
    assert_string_equal(sends(&f, "[\"a\",1]"), "ack []\n");
    assert_string_equal(sends(&f, "[\"a\",1]"), "ack [{\"error\":\"limited\"}]\n");
    fake_fini(&f);
}

static void argument_types_are_told_apart(void **state)
{
    static const struct {
        const char *value;
        const char *types; /* s i n b o a B */
    } cases[] = {
        {"\"a\"", "s"}, {"1", "in"},         {"-0", "in"},
        {"1.0", "n"},   {"1e2", "n"},        {"true", "b"},
        {"false", "b"}, {"null", ""},        {"{}", "o"},
        {"[]", "a"},    {"{\"a\":{}}", "o"}, {"{\"_placeholder\":true,\"num\":0}", "o"},
    };
    static const char rules[] =
        IN("on \"s\" { require string $1 }\non \"i\" { require integer $1 }\n"
           "on \"n\" { require number $1 }\non \"b\" { require boolean $1 }\n"
           "on \"o\" { require object $1 }\non \"a\" { require array $1 }\non \"B\" { require "
           "binary $1 }");

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (const char *type = "sinboaB"; *type; type++) {
            char event[128];

            snprintf(event, sizeof event, "[\"%c\",%s]", *type, cases[i].value);
            assert_done(rules, event,
                        strchr(cases[i].types, *type) ? "ack []\n"
                                                      : "ack [{\"error\":\"bad argument\"}]\n");
        }
}

static void an_attachment_is_binary_and_no_object(void **state)
{
    static const char *const cases[][2] = {
        {"[\"B\",{\"_placeholder\":true,\"num\":0}]", "ack []\n"},
        {"[\"B\",{ \"num\" : 0 , \"_placeholder\" : true } ]", "ack []\n"},
        {"[\"B\",[{\"_placeholder\":true,\"num\":0}]]", "ack [{\"error\":\"bad argument\"}]\n"},
        {"[\"B\",{\"a\":{\"_placeholder\":true,\"num\":0}}]",
         "ack [{\"error\":\"bad argument\"}]\n"},
        {"[\"o\",{\"_placeholder\":true,\"num\":0}]", "ack [{\"error\":\"bad argument\"}]\n"},
        {"[\"o\",{\"a\":{\"_placeholder\":true,\"num\":0}}]", "ack []\n"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct fake f;

        fake_init(&f, IN("on \"B\" { require binary $1 }\non \"o\" { require object $1 }"));
        assert_string_equal(sends_binary(&f, cases[i][0], 1), cases[i][1]);
        fake_fini(&f);
    }
}

static void a_claim_is_equal_or_holds_it_or_matches_by_segment(void **state)
{
    static const char token[] =
        "{\"role\":\"admin\",\"level\":3,\"ok\":true,\"no\":null,\"rate\":1.5,"
        "\"rooms\":[ \"lobby\" , \"team:*\", \"a:*:c\", [\"deep\"], {\"x\":\"deep\"}, "
        "\"q\\\"\\u0071,]\", 7,"
        " true ],\"empty\":[],\"none\":[ "
        "],\"one\":\"*\",\"a\":{\"b\":[\"c\"]},\"long\":\"\\u0061\"}";
    static const struct {
        const char *guard, *event;
        bool holds;
    } cases[] = {
        {"role \"admin\"", "[\"x\"]", true},
        {"role \"adm\"", "[\"x\"]", false},
        {"role $1", "[\"x\",\"\\u0061dmin\"]", true},
        {"role \"$1min\"", "[\"x\",\"ad\"]", true},
        {"role \"*\"", "[\"x\"]", true},
        {"role \"a*\"", "[\"x\"]", false},
        {"role $1", "[\"x\",\"*\"]", false},
        {"role \"$1\"", "[\"x\",\"*\"]", false},
        {"role $user", "[\"x\"]", false},
        {"level 3", "[\"x\"]", true},
        {"level $1", "[\"x\",3]", true},
        {"level $1", "[\"x\",\"3\"]", false},
        {"level \"3\"", "[\"x\"]", false},
        {"level $1", "[\"x\",30]", false},
        {"rate 1.5", "[\"x\"]", true},
        {"ok true", "[\"x\"]", true},
        {"ok false", "[\"x\"]", false},
        {"ok $1", "[\"x\",true]", true},
        {"no null", "[\"x\"]", true},
        {"absent null", "[\"x\"]", false},
        {"rooms $1", "[\"x\",\"lobby\"]", true},
        {"rooms $1", "[\"x\",\"lobb\"]", false},
        {"rooms $1", "[\"x\",\"team:red\"]", true},
        {"rooms $1", "[\"x\",\"team:*\"]", true},
        {"rooms $1", "[\"x\",\"team:\"]", false},
        {"rooms $1", "[\"x\",\"team\"]", false},
        {"rooms $1", "[\"x\",\"team:red:x\"]", false},
        {"rooms $1", "[\"x\",\"a:b:c\"]", true},
        {"rooms $1", "[\"x\",\"a:b:d\"]", false},
        {"rooms $1", "[\"x\",\"a:b:c:d\"]", false},
        {"rooms $1", "[\"x\",\"*\"]", false},
        {"rooms $1", "[\"x\",\"deep\"]", false},
        {"rooms $1", "[\"x\",\"q\\\"q,]\"]", true},
        {"rooms 7", "[\"x\"]", true},
        {"rooms true", "[\"x\"]", true},
        {"rooms 8", "[\"x\"]", false},
        {"rooms \"team:red\"", "[\"x\"]", true},
        {"rooms \"*:*\"", "[\"x\"]", true},
        {"rooms \"$1:red\"", "[\"x\",\"team\"]", true},
        {"empty \"\"", "[\"x\"]", false},
        {"none $1", "[\"x\",\"\"]", false},
        {"one $1", "[\"x\",\"any\"]", true},
        {"one $1", "[\"x\",\"\"]", false},
        {"one $1", "[\"x\",\"a:b\"]", false},
        {"one \"$id\"", "[\"x\"]", true},
        {"one $id", "[\"x\"]", true},
        {"one $now", "[\"x\"]", false},
        {"a.b \"c\"", "[\"x\"]", true},
        {"a[\"b\"] \"c\"", "[\"x\"]", true},
        {"a \"c\"", "[\"x\"]", false},
        {"long \"a\"", "[\"x\"]", true},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char rules[256];
        struct fake f;

        snprintf(rules, sizeof rules, ON("require claim %s; ack true"), cases[i].guard);
        fake_init(&f, rules);
        fake_token(&f, token);
        if (strcmp(sends(&f, cases[i].event),
                   cases[i].holds ? "ack [true]\n" : "ack [{\"error\":\"denied\"}]\n") != 0)
            fail_msg("%s with %s: %s", cases[i].guard, cases[i].event, f.log);
        fake_fini(&f);
    }
}

static void only_members_pass_a_guarded_room(void **state)
{
    struct fake f;

    (void)state;
    fake_init(&f,
              IN("on \"join\" { join \"room:$1\" }\n"
                 "on \"say\" { require in \"room:$1\"; emit to \"room:$1\" \"say\" $user, $2 }"));
    assert_string_equal(sends(&f, "[\"say\",\"red\",1]"), "ack [{\"error\":\"denied\"}]\n");
    assert_string_equal(sends(&f, "[\"join\",\"red\"]"), "join room:red\nack []\n");
    assert_string_equal(sends(&f, "[\"say\",\"r\\u0065d\",1]"),
                        "to room:red [\"say\",\"ann\",1]\nack []\n");
    assert_string_equal(sends(&f, "[\"say\",\"blue\",1]"), "ack [{\"error\":\"denied\"}]\n");
    fake_fini(&f);
}

static void a_room_name_ends_at_its_bound(void **state)
{
    char name[600], event[700], log[700];
    static const char rules[] = ON("join \"r$1\"");

    (void)state;
    memset(name, 'a', 255);
    name[255] = '\0';
    snprintf(event, sizeof event, "[\"x\",\"%s\"]", name);
    snprintf(log, sizeof log, "join r%s\nack []\n", name);
    assert_done(rules, event, log);
    snprintf(event, sizeof event, "[\"x\",\"%sa\"]", name);
    assert_done(rules, event, "ack [{\"error\":\"bad argument\"}]\n");
    snprintf(event, sizeof event, "[\"x\",\"\\u0061%s\"]", name + 1);
    assert_done(rules, event, log);
    snprintf(event, sizeof event, "[\"x\",\"\\u0061%s\"]", name);
    assert_done(rules, event, "ack [{\"error\":\"bad argument\"}]\n");
    snprintf(event, sizeof event, "[\"x\",\"\\u00e9%s\"]", name + 1);
    assert_done(rules, event, "ack [{\"error\":\"bad argument\"}]\n");
    /* A count is taken for the longest number there is. */
    snprintf(event, sizeof event, "[\"x\",\"%.*s\"]", 236, name);
    snprintf(log, sizeof log, "join %.*s10\nack []\n", 236, name);
    assert_done(ON("join \"$1$count(\\\"a\\\")\""), event, log);
    snprintf(event, sizeof event, "[\"x\",\"%.*s\"]", 237, name);
    assert_done(ON("join \"$1$count(\\\"a\\\")\""), event, "ack [{\"error\":\"bad argument\"}]\n");
}

#define PLACEHOLDER(n) "{\"_placeholder\":true,\"num\":" #n "}"

static void attachments_follow_the_values_they_belong_to(void **state)
{
    static const char *const cases[][3] = {
        {"emit others", "[\"x\"," PLACEHOLDER(1) ", [" PLACEHOLDER(0) "] ]",
         "others [\"x\"," PLACEHOLDER(1) ", [" PLACEHOLDER(0) "] ] <a> <b>\nack []\n"},
        {"emit others \"y\"; ack $args", "[\"x\"," PLACEHOLDER(1) "," PLACEHOLDER(0) "]",
         "others [\"y\"," PLACEHOLDER(1) "," PLACEHOLDER(0) "] <a> <b>\n"
                                                            "ack [" PLACEHOLDER(1) "," PLACEHOLDER(
                                                                0) "] <a> <b>\n"},
        {"ack $1", "[\"x\"," PLACEHOLDER(0) "," PLACEHOLDER(1) "]",
         "ack [" PLACEHOLDER(0) "] <a>\n"},
        {"ack $2", "[\"x\"," PLACEHOLDER(0) "," PLACEHOLDER(1) "]",
         "ack [" PLACEHOLDER(0) "] <b>\n"},
        {"ack $2, {\"k\":$1}", "[\"x\"," PLACEHOLDER(0) "," PLACEHOLDER(1) "]",
         "ack [" PLACEHOLDER(0) ",{\"k\":" PLACEHOLDER(1) "}] <b> <a>\n"},
        {"ack $1, $1, $3", "[\"x\",[" PLACEHOLDER(1) "," PLACEHOLDER(0) "],1,\"z\"]",
         "ack [[" PLACEHOLDER(0) "," PLACEHOLDER(1) "],[" PLACEHOLDER(2) "," PLACEHOLDER(
             3) "],\"z\"] <b> <a> <b> <a>\n"},
        {"ack $2", "[\"x\",[" PLACEHOLDER(1) "," PLACEHOLDER(0) "],1]", "ack [1]\n"},
        {"emit self \"y\" $user, $1",
         "[\"x\",{\"a\": { \"num\" :1, \"_placeholder\" :true } }," PLACEHOLDER(0) "]",
         "self [\"y\",\"ann\",{\"a\": { \"num\" :0, \"_placeholder\" :true } }] <b>\nack []\n"},
        {"set v $1", "[\"x\"," PLACEHOLDER(1) "," PLACEHOLDER(0) "]",
         "ack [{\"error\":\"bad argument\"}]\n"},
        {"set v [\"$2\", $1]", "[\"x\",[" PLACEHOLDER(1) "," PLACEHOLDER(0) "],1]",
         "ack [{\"error\":\"bad argument\"}]\n"},
        {"set v $2; ack $v, $1", "[\"x\",[" PLACEHOLDER(1) "," PLACEHOLDER(0) "],1]",
         "ack [1,[" PLACEHOLDER(0) "," PLACEHOLDER(1) "]] <b> <a>\n"},
        {"ack \"$1\"", "[\"x\"," PLACEHOLDER(1) "," PLACEHOLDER(0) "]",
         "ack [{\"error\":\"bad argument\"}]\n"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char rules[256];
        struct fake f;

        snprintf(rules, sizeof rules, ON("%s"), cases[i][0]);
        fake_init(&f, rules);
        if (strcmp(sends_binary(&f, cases[i][1], 2), cases[i][2]) != 0)
            fail_msg("%s\n%s", rules, f.log);
        fake_fini(&f);
    }
}

static void real_attachments_never_mix_with_what_looks_like_them(void **state)
{
    static const char binary[] = "[\"x\",1," PLACEHOLDER(0) "]";
    static const char *const values[] = {"$claims.mark", "$auth.mark", "$auth", "[$claims.list]"};

    (void)state;
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        char rules[256];
        struct fake f;

        snprintf(rules, sizeof rules, IN("on \"x\" { ack %s, $2 }\non \"y\" { ack %s, $1 }"),
                 values[i], values[i]);
        fake_init(&f, rules);
        fake_token(&f, "{\"mark\":" PLACEHOLDER(0) ",\"list\":[1," PLACEHOLDER(1) "]}");
        fake_auth(&f, "{\"mark\":{\"\\u005fplaceholder\":true}}");
        assert_string_equal(sends_binary(&f, binary, 1), "ack [{\"error\":\"bad argument\"}]\n");
        sends_binary(&f, "[\"y\",1," PLACEHOLDER(0) "]", 1);
        assert_int_equal(f.verdict.result, RELAY_DONE); /* no attachment goes out: plain data */
        fake_fini(&f);
    }
}

static void a_message_has_no_more_attachments_than_a_client_takes(void **state)
{
    struct fake f;

    (void)state;
    fake_init(&f, IN("on \"x\" { ack $1, $1, $1, $1, $1, $1, $1, $1, $1, $1 }\n"
                     "on \"y\" { ack $1, $1, $1, $1, $1, $1, $1, $1, $1, $1, $1 }\n"
                     "on \"z\" { ack $1, $2 }"));
    sends_binary(&f, "[\"x\"," PLACEHOLDER(0) "]", 1);
    assert_int_equal(f.verdict.result, RELAY_DONE);
    sends_binary(&f, "[\"y\"," PLACEHOLDER(0) "]", 1);
    assert_int_equal(f.verdict.result, RELAY_BAD_ARGUMENT);
    sends_binary(
        &f,
        "[\"z\",[" PLACEHOLDER(0) "," PLACEHOLDER(1) "," PLACEHOLDER(2) "," PLACEHOLDER(3) "," PLACEHOLDER(4) "," PLACEHOLDER(
            5) "," PLACEHOLDER(6) "],[" PLACEHOLDER(11) "," PLACEHOLDER(7) "," PLACEHOLDER(8) "," PLACEHOLDER(9) "," PLACEHOLDER(10) "]]",
        12);
    assert_int_equal(f.verdict.result, RELAY_DONE);
    assert_non_null(strstr(f.log, "<g> <l> <h>"));
    fake_fini(&f);
}

static uint64_t spy_emit(struct relay_stage *stage, enum relay_target target, struct span room,
                         bool is_volatile, const struct relay_message *message)
{
    assert_int_equal(message->n_pieces, 1);
    assert_ptr_equal(message->piece->at, stage->event->text.at);
    assert_int_equal(message->piece->length, stage->event->text.length);
    return fake_emit(stage, target, room, is_volatile, message);
}

static void a_message_that_nothing_was_put_into_is_one_piece(void **state)
{
    struct relay_operations spy = operations;
    struct fake f;

    (void)state;
    spy.emit = spy_emit;
    fake_init(&f, ON("emit others"));
    f.stage.operations = &spy;
    assert_string_equal(sends(&f, "[\"x\", 1]"), "others [\"x\", 1]\nack []\n");
    fake_fini(&f);
}

static void a_socket_that_ends_in_the_middle_ends_the_rule(void **state)
{
    struct fake f;

    (void)state;
    fake_init(&f, IN("on \"x\" { set a 1; emit self \"a\" $a; emit all \"b\" $a; join \"r\" }"));
    f.breaks = true;
    assert_string_equal(sends(&f, "[\"x\"]"), "self [\"a\",1]\nack []\n");
    fake_fini(&f);
}

static void the_shipped_chat_counts_its_people(void **state)
{
    struct error error;
    struct fake f;

    (void)state;
    fake_init(&f, IN(""));
    rules_put(&f.rules);
    f.rules = rules_read("deploy/examples/chat.rules", NULL, NULL, &error);
    assert_non_null(f.rules);
    f.stage.rules = rules_namespace_at(f.rules, 0);
    assert_string_equal(sends(&f, "[\"new message\",\"early\"]"), "ack [{\"error\":\"denied\"}]\n");
    assert_string_equal(
        sends(&f, "[\"add user\",\"x\"]"),
        "join named\nself [\"login\",{\"numUsers\":11}]\n"
        "others [\"user joined\",{\"username\":\"ann\",\"numUsers\":11}]\nack []\n");
    assert_string_equal(sends(&f, "[\"add user\",\"y\"]"), "ack [{\"error\":\"denied\"}]\n");
    assert_string_equal(
        sends(&f, "[\"new message\",\"hi\"]"),
        "others [\"new message\",{\"username\":\"ann\",\"message\":\"hi\"}]\nack []\n");
    assert_string_equal(sends(&f, "[\"new message\",{}]"), "ack [{\"error\":\"bad argument\"}]\n");
    assert_string_equal(sends(&f, "[\"typing\"]"),
                        "others [\"typing\",{\"username\":\"ann\"}]\nack []\n");
    assert_string_equal(sends(&f, "[\"stop typing\"]"),
                        "others [\"stop typing\",{\"username\":\"ann\"}]\nack []\n");
    f.rooms = 0; /* left already */
    assert_string_equal(moment(&f, MOMENT_DISCONNECT),
                        "others [\"user left\",{\"username\":\"ann\",\"numUsers\":10}]\n");
    fake_fini(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exact_goes_before_the_longest_prefix_before_the_rest),
        cmocka_unit_test(the_first_rule_whose_guards_hold_is_the_rule),
        cmocka_unit_test(untouched_arguments_are_the_bytes_that_came),
        cmocka_unit_test(each_target_is_told_apart),
        cmocka_unit_test(values_go_in_as_json_where_json_stands),
        cmocka_unit_test(strings_and_integers_go_into_strings_and_rooms),
        cmocka_unit_test(what_does_not_fit_is_a_bad_argument_and_nothing_happens),
        cmocka_unit_test(guests_have_neither_name_nor_claims),
        cmocka_unit_test(variables_are_kept_as_json),
        cmocka_unit_test(a_check_knows_what_the_rule_itself_will_set),
        cmocka_unit_test(a_long_variable_can_be_kept_but_names_no_room),
        cmocka_unit_test(a_socket_keeps_so_many_bytes_and_no_more),
        cmocka_unit_test(counts_are_read_as_they_come),
        cmocka_unit_test(an_event_is_answered_once),
        cmocka_unit_test(moments_see_what_they_may),
        cmocka_unit_test(members_are_a_list_in_json),
        cmocka_unit_test(a_presence_moment_needs_no_socket),
        cmocka_unit_test(limits_are_buckets_of_each_rule),
        cmocka_unit_test(an_event_that_is_not_for_the_rule_takes_nothing_from_its_bucket),
        cmocka_unit_test(argument_types_are_told_apart),
        cmocka_unit_test(an_attachment_is_binary_and_no_object),
        cmocka_unit_test(a_claim_is_equal_or_holds_it_or_matches_by_segment),
        cmocka_unit_test(only_members_pass_a_guarded_room),
        cmocka_unit_test(a_room_name_ends_at_its_bound),
        cmocka_unit_test(attachments_follow_the_values_they_belong_to),
        cmocka_unit_test(real_attachments_never_mix_with_what_looks_like_them),
        cmocka_unit_test(a_message_has_no_more_attachments_than_a_client_takes),
        cmocka_unit_test(a_message_that_nothing_was_put_into_is_one_piece),
        cmocka_unit_test(a_socket_that_ends_in_the_middle_ends_the_rule),
        cmocka_unit_test(the_shipped_chat_counts_its_people),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
