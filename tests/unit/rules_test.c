/*
 * Reading the rules: what is taken, and every mistake with its place and what would be right.  What
 * rules do when they run is in relay_test.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gateway/program.h"

/* Columns of what is inside begin at 10 in line 2, and at 1 in line 2. */
#define ON(statements) "namespace \"/\" {\non \"x\" { " statements " }\n}\n"
#define IN(items)      "namespace \"/\" {\n" items "\n}\n"

/* clang-format off */
static const struct {
    const char *rules, *complaint;
} mistakes[] = {
    /* Namespaces. */
    {"",
     "r:1:1: there is no namespace, so nobody could connect: write `namespace \"/\" { \342\200\246 }`"},
    {"namepace \"/\" {}",
     "r:1:1: unknown word `namepace`: did you mean `namespace`?"},
    {"namespace / {}",
     "r:1:11: expected a string in quotes, found `/`"},
    {"namespace \"lobby\" {}",
     "r:1:11: a namespace begins with `/`"},
    {"namespace \"\" {}",
     "r:1:11: a namespace begins with `/`"},
    {"namespace \"/a,b\" {}",
     "r:1:11: no comma, `?`, `*` or control character can stand in a namespace: each is named by itself"},
    {"namespace \"/$a\" {}",
     "r:1:13: a namespace is plain text, where no value goes in; a dollar is written `$$`"},
    {"namespace \"/\" on \"x\" {}",
     "r:1:15: expected `{` and the rules of the namespace, found `on`"},
    {"namespace \"/\" {\n",
     "r:1:1: this namespace has no end: a `}` is missing"},
    {"namespace \"/\" {} namespace \"/\" {}",
     "r:1:28: namespace \"/\" stands here a second time"},
    {"namespace \"/\" {}\n}",
     "r:2:1: expected a word: namespace; found `}`"},
    {"# only words",
     "r:1:13: there is no namespace, so nobody could connect: write `namespace \"/\" { \342\200\246 }`"},
    {IN("onn \"x\" {}"),
     "r:2:1: unknown word `onn`: did you mean `on`?"},
    {IN("authentcate none"),
     "r:2:1: unknown word `authentcate`: did you mean `authenticate`?"},
    {IN("\"x\" {}"),
     "r:2:1: expected `on`, `when`, `authenticate` or `}`, found `\"`"},
    {IN("authenticate soon"),
     "r:2:14: unknown way to authenticate `soon`: known here: required, later, optional or none"},
    {IN("authenticate"),
     "r:2:13: expected a way to authenticate: required, later, optional or none; found the end of the line"},
    {IN("authenticate none on \"x\" {}"),
     "r:2:19: expected a new line or `;`, found `on`"},
    {IN("on \"x\" {}\nauthenticate none"),
     "r:3:1: `authenticate` stands once, before the rules"},
    {IN("authenticate none; authenticate none"),
     "r:2:20: `authenticate` stands once, before the rules"},
    /* Triggers. */
    {IN("on x {}"),
     "r:2:4: expected the name of a client's event in quotes, such as \"say\" (the gateway's moments follow `when`), found `x`"},
    {IN("on \"x\" emit others"),
     "r:2:8: expected `{` and what the rule does, found `emit`"},
    {IN("on \"x\" { emit others"),
     "r:1:1: this namespace has no end: a `}` is missing"},
    {"namespace \"/\" { on \"x\" { emit others\n",
     "r:1:17: this rule has no end: a `}` is missing"},
    {IN("on \"x\" {\n  emit others\non \"y\" {}"),
     "r:4:1: `on` cannot stand inside a rule: a `}` is missing before it"},
    {IN("on \"a*b\" {}"),
     "r:2:4: `*` can stand only at the end of a name"},
    {IN("on \"**\" {}"),
     "r:2:4: `*` can stand only at the end of a name"},
    {IN("on \"cost$\" {}"),
     "r:2:9: an event's name is plain text, where no value goes in; a dollar is written `$$`"},
    {IN("on \"connect\" {}"),
     "r:2:4: \"connect\" is reserved: no rule can match it"},
    {IN("on \"disconnect\" {}"),
     "r:2:4: \"disconnect\" is no client's event but the gateway's moment: did you mean `when disconnect`?"},
    {IN("on \"disconnecting\" {}"),
     "r:2:4: \"disconnecting\" is no client's event but the gateway's moment: did you mean `when disconnecting`?"},
    {IN("on \"authenticate\" {}"),
     "r:2:4: \"authenticate\" is reserved: no rule can match it"},
    {IN("on \"token expiring\" {}"),
     "r:2:4: \"token expiring\" is reserved: no rule can match it"},
    {IN("when disconected {}"),
     "r:2:6: unknown moment `disconected`: did you mean `disconnect`?"},
    {IN("when \"connection\" {}"),
     "r:2:6: a moment has no quotes; clients' events are matched by `on`"},
    {IN("when {}"),
     "r:2:6: expected a moment: connection, authenticated, disconnecting, disconnect or user; found `{`"},
    {IN("on \"x\" {}\n\n  on \"x\" { require user }"),
     "r:4:3: this rule can never be reached: the one of the same name in line 2 holds whenever this one does"},
    {IN("on \"x*\" { require set a }\non \"x*\" { require user; require set a; set a 1 }"),
     "r:3:1: this rule can never be reached: the one of the same name in line 2 holds whenever this one does"},
    {IN("on \"x\" { require user }\non \"x\" {}"),
     "r:3:1: this rule can never be reached: the one of the same name in line 2 holds whenever this one does"},
    {IN("when connection { emit all \"a\" }\nwhen connection { emit all \"b\" }"),
     "r:3:1: this rule can never be reached: the one of the same name in line 2 holds whenever this one does"},
    {IN("on \"x\" { require in \"a:$auth.b\" }\non \"x\" { require in \"a:$auth.b\" }"),
     "r:3:1: this rule can never be reached: the one of the same name in line 2 holds whenever this one does"},
    {IN("on \"x\" { require claim a \"b\"; limit 1 per 1s }\non \"x\" { require claim a \"b\" }"),
     "r:3:1: this rule can never be reached: the one of the same name in line 2 holds whenever this one does"},
    /* Statements. */
    {ON("emti others"),
     "r:2:10: unknown verb `emti`: did you mean `emit`?"},
    {ON("frobnicate"),
     "r:2:10: unknown verb `frobnicate`: known here: require, limit, emit, ack, join, leave, set, unset, deny or disconnect"},
    {ON("{"),
     "r:2:10: expected a verb: require, limit, emit, ack, join, leave, set, unset, deny or disconnect; found `{`"},
    {ON("emit others foo"),
     "r:2:22: `foo` is not JSON: did you mean \"foo\" or `$foo`?"},
    {ON("require user emit others"),
     "r:2:23: expected a new line or `;` after the statement, found `emit`"},
    {ON("emit others $1 $2"),
     "r:2:25: expected `,` before a further value, or the end of the statement, found `$`"},
    {ON("emit self; require user"),
     "r:2:21: `require` stands before what the rule does"},
    {ON("join \"a\"; limit 1 per 1s"),
     "r:2:20: `limit` stands before what the rule does"},
    /* Targets and messages. */
    {ON("emit"),
     "r:2:15: expected a target: self, others, all, to or in; found `}`"},
    {ON("emit volatile"),
     "r:2:24: expected a target: self, others, all, to or in; found `}`"},
    {ON("emit othres"),
     "r:2:15: unknown target `othres`: did you mean `others`?"},
    {ON("emit every"),
     "r:2:15: unknown target `every`: known here: self, others, all, to or in"},
    {ON("emit others volatile"),
     "r:2:22: `volatile` is not JSON: did you mean \"volatile\" or `$volatile`?"},
    {ON("emit to"),
     "r:2:18: expected a room's name in quotes, such as \"hall\" or \"room:$1\", found `}`"},
    {ON("emit to hall"),
     "r:2:18: expected a room's name in quotes, such as \"hall\" or \"room:$1\", found `hall`"},
    {ON("emit to $1"),
     "r:2:18: expected a room's name in quotes, such as \"hall\" or \"room:$1\", found `$`"},
    {ON("emit in \"\" \"a\""),
     "r:2:18: a room's name cannot be empty"},
    {ON("emit others \"a\", 1"),
     "r:2:25: no comma between an event's name and its first value"},
    {ON("emit others \"connect\""),
     "r:2:22: \"connect\" is reserved: no rule can emit it"},
    {ON("emit all \"unauthorized\" 1"),
     "r:2:19: \"unauthorized\" is reserved: no rule can emit it"},
    {ON("emit others \"a\" \"b\" \"c\""),
     "r:2:30: expected `,` before a further value, or the end of the statement, found `\"`"},
    {ON("emit others \"$1\""),
     "r:2:23: an event's name is plain text, where no value goes in; a dollar is written `$$`"},
    {ON("emit others $1,"),
     "r:2:26: expected a value: JSON, or one that begins with `$`, found `}`"},
    {ON("emit others $1, $args"),
     "r:2:26: `$args` is the whole list of arguments: it stands by itself, as in `emit others \"name\" $args`"},
    {ON("emit others \"a\" {\"b\": $args}"),
     "r:2:32: `$args` is the whole list of arguments: it stands by itself, as in `emit others \"name\" $args`"},
    {ON("emit others \"a\" \"$args\""),
     "r:2:27: `$args` is the whole list of arguments: it stands by itself, as in `emit others \"name\" $args`"},
    /* Answers and ends. */
    {ON("ack"),
     "r:2:14: what is answered? A value is missing; without any `ack` the answer is an empty one"},
    {ON("ack 1; ack 2"),
     "r:2:21: a second `ack`: an event is answered once"},
    {ON("deny"),
     "r:2:15: expected a string in quotes, found `}`"},
    {ON("deny \"no $1\""),
     "r:2:19: a reason is plain text, where no value goes in; a dollar is written `$$`"},
    {ON("deny \"\""),
     "r:2:15: a reason has 1 to 256 bytes"},
    {ON("deny \"a\"; emit others"),
     "r:2:20: nothing can follow `deny` or `disconnect`"},
    {ON("emit others; deny \"a\""),
     "r:2:28: a rule that denies does nothing else: it has no effect but its answer"},
    {ON("disconnect; ack 1"),
     "r:2:22: nothing can follow `deny` or `disconnect`"},
    {ON("disconnect \"a\""),
     "r:2:21: expected a new line or `;` after the statement, found `\"`"},
    /* Rooms. */
    {ON("join hall"),
     "r:2:15: expected a room's name in quotes, such as \"hall\" or \"room:$1\", found `hall`"},
    {ON("join \"user:$1\""),
     "r:2:15: rooms `user:\342\200\246` and `id:\342\200\246` are computed: one can send to them, nobody can join them"},
    {ON("join \"id:$id\""),
     "r:2:15: rooms `user:\342\200\246` and `id:\342\200\246` are computed: one can send to them, nobody can join them"},
    {ON("leave \"user:ann\""),
     "r:2:16: rooms `user:\342\200\246` and `id:\342\200\246` are computed: one can send to them, nobody can leave them"},
    {ON("emit to \"a$count(x)\""),
     "r:2:27: expected a room's name in quotes, such as \"hall\" or \"room:$1\", found `x`"},
    {ON("join \"a$count(\\\"$count(\\\\\\\"b\\\\\\\")\\\")\""),
     "r:2:32: a room that is counted cannot be named by a count"},
    /* Variables. */
    {ON("set"),
     "r:2:14: expected a variable's name, found `}`"},
    {ON("set $a 1"),
     "r:2:14: here a variable's name stands without `$`"},
    {ON("set a"),
     "r:2:16: expected a value: JSON, or one that begins with `$`, found `}`"},
    {ON("set user 1"),
     "r:2:14: `user` is a value of the gateway's own, not a variable"},
    {ON("unset now"),
     "r:2:16: `now` is a value of the gateway's own, not a variable"},
    {ON("unset"),
     "r:2:16: expected a variable's name, found `}`"},
    {ON("require set"),
     "r:2:22: expected a variable's name, found `}`"},
    {ON("emit others $a"),
     "r:2:22: no rule of this namespace sets the variable `a`: known here: args, event, user, claims, auth, id, now, count, members, sent or reason"},
    {ON("set username $1; emit others \"b\" $usernmae"),
     "r:2:43: no rule of this namespace sets the variable `usernmae`: did you mean `username`?"},
    {ON("set a 1; emit others \"b\" \"$b\""),
     "r:2:36: no rule of this namespace sets the variable `b`: known here: args, event, user, claims, auth, id, now, count, members, sent, reason or a"},
    {ON("unset nobody"),
     "r:2:16: no rule of this namespace sets the variable `nobody`: known here: args, event, user, claims, auth, id, now, count, members, sent or reason"},
    {ON("require set nobody"),
     "r:2:22: no rule of this namespace sets the variable `nobody`: known here: args, event, user, claims, auth, id, now, count, members, sent or reason"},
    {ON("emit others $evnt"),
     "r:2:22: no rule of this namespace sets the variable `evnt`: did you mean `event`?"},
    {ON("set a 1; unset a; emit others $a"),
     "r:2:40: `a` is unset here"},
    {ON("require unset a; emit others $a; set a 1"),
     "r:2:39: `a` is unset here"},
    {ON("set a {}; join \"r:$a\""),
     "r:2:28: in a string only a string or an integer goes in, and `a` was set to something else above"},
    {ON("set a 1.5; set b $a; emit others \"$\" \"$b\""),
     "r:2:44: an event's name is plain text, where no value goes in; a dollar is written `$$`"},
    {ON("set a 1.5; set b $a; emit others \"x\" \"$b\""),
     "r:2:48: in a string only a string or an integer goes in, and `b` was set to something else above"},
    {ON("set a $args"),
     "r:2:16: `$args` is the whole list of arguments: it stands by itself, as in `emit others \"name\" $args`"},
    /* Guards. */
    {ON("require"),
     "r:2:18: expected a condition: set, unset, user, guest, in, claim, count, string, integer, number, boolean, object, array or binary; found `}`"},
    {ON("require usr"),
     "r:2:18: unknown condition `usr`: did you mean `user`?"},
    {ON("require likes"),
     "r:2:18: unknown condition `likes`: known here: set, unset, user, guest, in, claim, count, string, integer, number, boolean, object, array or binary"},
    {ON("require guest"),
     "r:2:19: this rule can never hold: there are no guests where authentication is required; guests need `authenticate optional`"},
    {IN("authenticate optional; on \"x\" { require user; require guest }"),
     "r:2:56: this rule can never hold: nobody is user and guest"},
    {IN("authenticate none; on \"x\" { require user }"),
     "r:2:38: in a namespace with `authenticate none` there are neither users nor guests"},
    {IN("authenticate none; on \"x\" { require claim a 1 }"),
     "r:2:43: in a namespace with `authenticate none` there are no claims: nobody shows a token"},
    {IN("authenticate none; on \"x\" { ack $claims.a }"),
     "r:2:33: there is no `$claims` in a namespace with `authenticate none`: nobody shows a token"},
    {IN("authenticate none; on \"x\" { ack \"$user\" }"),
     "r:2:34: there is no `$user` in a namespace with `authenticate none`: nobody shows a token"},
    {ON("require set a; require unset a; set a 1"),
     "r:2:39: this rule can never hold: `a` cannot be set and unset"},
    {ON("require in hall"),
     "r:2:21: expected a room's name in quotes, such as \"hall\" or \"room:$1\", found `hall`"},
    {ON("require in \"$sent\""),
     "r:2:22: `$sent` is read when the rule acts: it cannot stand in a `require`"},
    {ON("require in \"a$count(\\\"b\\\")\""),
     "r:2:23: `$count` is read when the rule acts: it cannot stand in a `require`"},
    {ON("require claim"),
     "r:2:24: expected a claim's name, such as `rooms`, `a.b` or [\"https://\342\200\246\"], found `}`"},
    {ON("require claim \"rooms\" 1"),
     "r:2:24: expected a claim's name, such as `rooms`, `a.b` or [\"https://\342\200\246\"], found `\"`"},
    {ON("require claim rooms"),
     "r:2:30: what must the claim be, or hold? A value is missing, such as \"admin\" or `$1`"},
    {ON("require claim rooms [1]"),
     "r:2:30: a claim is compared with a string, a number, true, false or null"},
    {ON("require claim rooms {}"),
     "r:2:30: a claim is compared with a string, a number, true, false or null"},
    {ON("require claim rooms $1 $2"),
     "r:2:33: expected a new line or `;` after the statement, found `$`"},
    {ON("require claim a[\"b\" 1"),
     "r:2:29: expected `]`, found ` `"},
    {ON("require claim [\"a] 1"),
     "r:2:25: this string has no end on its line: a `\"` is missing"},
    {ON("require claim a.b.c.d.e.f.g.h.i 1"),
     "r:2:39: a name has at most 8 parts"},
    {ON("require claim a member"),
     "r:2:26: `member` is not JSON: did you mean \"member\" or `$member`?"},
    {ON("require string $members(\"b\")"),
     "r:2:25: `$members` is read when the rule acts: it cannot stand in a `require`"},
    {ON("set a $members(\"b\")"),
     "r:2:16: `$members` is read when it is sent: it cannot be kept in a variable"},
    {ON("set a {\"b\":[$members(\"b\")]}"),
     "r:2:22: `$members` is read when it is sent: it cannot be kept in a variable"},
    {ON("emit all \"a\" \"$members(\"b\")\""),
     "r:2:24: in a string only a string or an integer goes in, and `$members` is a list"},
    {ON("emit in \"$members(b)\""),
     "r:2:19: in a string only a string or an integer goes in, and `$members` is a list"},
    {ON("ack $members"),
     "r:2:22: expected a room in parentheses, as in `$members(\"hall\")`, found ` `"},
    {ON("ack $members(\"$count(\\\"b\\\")\")"),
     "r:2:30: a room that is counted cannot be named by a count"},
    {IN("authenticate none; on \"x\" { ack $members(\"b\") }"),
     "r:2:33: there is no `$members` in a namespace with `authenticate none`: nobody shows a token"},
    {IN("when user online { require user }"),
     "r:2:20: `require` cannot stand in `when user online`: that is about all sockets of a user together, and knows `$user`, `all` and rooms only"},
    {IN("when user online { emit self \"a\" }"),
     "r:2:25: `self` cannot stand in `when user online`: that is about all sockets of a user together, and knows `$user`, `all` and rooms only"},
    {IN("when user offline { emit others \"a\" }"),
     "r:2:26: `others` cannot stand in `when user offline`: that is about all sockets of a user together, and knows `$user`, `all` and rooms only"},
    {IN("when user online { join \"a\" }"),
     "r:2:20: `join` cannot stand in `when user online`: that is about all sockets of a user together, and knows `$user`, `all` and rooms only"},
    {IN("when user online { set a 1 }"),
     "r:2:20: `set` cannot stand in `when user online`: that is about all sockets of a user together, and knows `$user`, `all` and rooms only"},
    {IN("when user online { deny \"a\" }"),
     "r:2:20: `deny` cannot stand in `when user online`: that is about all sockets of a user together, and knows `$user`, `all` and rooms only"},
    {IN("when user online { ack 1 }"),
     "r:2:20: `ack` can stand only in `on`: a moment is no client's event"},
    {IN("when user online { emit all \"a\" $id }"),
     "r:2:33: `$id` cannot stand in `when user online`: that is about all sockets of a user together, and knows `$user`, `all` and rooms only"},
    {IN("when user online { emit all \"a\" $claims.a }"),
     "r:2:33: `$claims` cannot stand in `when user online`: that is about all sockets of a user together, and knows `$user`, `all` and rooms only"},
    {IN("when user online { emit all \"a\" $b }\non \"x\" { set b 1 }"),
     "r:2:33: `$b` cannot stand in `when user online`: that is about all sockets of a user together, and knows `$user`, `all` and rooms only"},
    {IN("when user online { emit all \"a\" $1 }"),
     "r:2:33: `$1` is there only in `on`: at a moment no client has sent anything"},
    {IN("when user online { emit all \"a\" $reason }"),
     "r:2:33: `$reason` cannot stand in `when user online`: that is about all sockets of a user together, and knows `$user`, `all` and rooms only"},
    {IN("when user online { emit all \"a\" }\nwhen user online { emit all \"b\" }"),
     "r:3:1: this rule can never be reached: the one of the same name in line 2 holds whenever this one does"},
    {IN("authenticate optional\non \"x\" { require user }\non \"x\" { require guest }\non \"x\" {}"),
     "r:5:1: this rule can never be reached: the one of the same name in line 4 takes all that those before it leave"},
    {IN("on \"x\" { require set a }\non \"x\" { require count 1; set a 1 }\non \"x\" { require unset a }\non \"x\" { require count 2 }"),
     "r:5:1: this rule can never be reached: the one of the same name in line 4 takes all that those before it leave"},
    {IN("on \"x\" { require unset a; require count 2 }\non \"x\" { require set a }\non \"x\" { require count 2; set a 1 }"),
     "r:4:1: this rule can never be reached: the one of the same name in line 3 takes all that those before it leave"},
    {IN("when user {}"),
     "r:2:11: expected a moment of a user: online or offline; found `{`"},
    {IN("when user ofline {}"),
     "r:2:11: unknown moment of a user `ofline`: did you mean `online`?"},
    {IN("authenticate none; when user online {}"),
     "r:2:20: this moment never comes: in a namespace with `authenticate none` there are no users"},
    {IN("when authenticated {}"),
     "r:2:1: this moment never comes: where authentication is required everybody has shown a token at `when connection`"},
    {IN("authenticate none; when authenticated {}"),
     "r:2:20: this moment never comes in a namespace with `authenticate none`"},
    {IN("authenticate optional; when authenticated { deny \"a\" }"),
     "r:2:45: `deny` cannot stand in `when authenticated`: the token was good; `disconnect` ends the socket"},
    {IN("authenticate optional; when authenticated { require guest }"),
     "r:2:54: this rule can never hold: whoever has authenticated is no guest"},
    {IN("authenticate later; on \"x\" { require guest }"),
     "r:2:39: this rule can never hold: there are no guests where authentication is required; guests need `authenticate optional`"},
    {IN("on \"authenticated\" {}"),
     "r:2:4: \"authenticated\" is no client's event but the gateway's moment: did you mean `when authenticated`?"},
    {ON("require count"),
     "r:2:24: expected a number of arguments, found `}`"},
    {ON("require count 99999"),
     "r:2:24: a number of arguments is at most 65535"},
    {ON("require count 1; require count 2"),
     "r:2:41: this rule can never hold: there cannot be 1 and 2 arguments"},
    {ON("require count 1; ack $2"),
     "r:2:31: there is no `$2` after `require count 1`"},
    {ON("require count 0; ack \"$1\""),
     "r:2:32: there is no `$1` after `require count 0`"},
    {ON("require string \"a\""),
     "r:2:25: expected a value that begins with `$`, found `\"`"},
    {ON("require string $id"),
     "r:2:25: this is always a string"},
    {ON("require string $args"),
     "r:2:25: `$args` is the whole list of arguments: it stands by itself, as in `emit others \"name\" $args`"},
    {ON("require nmber $1"),
     "r:2:18: unknown condition `nmber`: did you mean `number`?"},
    /* Limits. */
    {ON("limit"),
     "r:2:16: expected a number of events, found `}`"},
    {ON("limit 60"),
     "r:2:16: a limit is written as in `limit 60 per 1s`"},
    {ON("limit 60 1s"),
     "r:2:16: a limit is written as in `limit 60 per 1s`"},
    {ON("limit 60 per"),
     "r:2:23: expected a time such as `1s`, found `}`"},
    {ON("limit 60 per 1"),
     "r:2:24: expected a unit of time: ms, s, m, h or d; found ` `"},
    {ON("limit 60 per 1 s"),
     "r:2:24: expected a unit of time: ms, s, m, h or d; found ` `"},
    {ON("limit 60 per 1min"),
     "r:2:24: unknown unit of time `min`: known here: ms, s, m, h or d"},
    {ON("limit 0 per 1s"),
     "r:2:22: a limit is 1 event or more per 1ms to 1d"},
    {ON("limit 1 per 0s"),
     "r:2:22: a limit is 1 event or more per 1ms to 1d"},
    {ON("limit 1 per 2d"),
     "r:2:22: a limit is 1 event or more per 1ms to 1d"},
    {ON("limit 1000001 per 1s"),
     "r:2:16: a number of events is at most 1000000"},
    {ON("limit 1 per 86400001ms"),
     "r:2:22: a time such as `1s` is at most 86400000"},
    {ON("limit 1 per 1s; limit 2 per 1s; limit 3 per 1s; limit 4 per 1s; limit 5 per 1s"),
     "r:2:80: a rule has at most 4 limits"},
    /* Moments. */
    {IN("when connection { ack 1 }"),
     "r:2:19: `ack` can stand only in `on`: a moment is no client's event"},
    {IN("when connection { limit 1 per 1s }"),
     "r:2:19: `limit` can stand only in `on`: a moment is no client's event"},
    {IN("when connection { emit others }"),
     "r:2:31: expected an event's name in quotes: a moment has none of its own, found `}`"},
    {IN("when connection { emit others $user }"),
     "r:2:31: expected an event's name in quotes: a moment has none of its own, found `$`"},
    {IN("when connection { emit others \"a\" $1 }"),
     "r:2:35: `$1` is there only in `on`: at a moment no client has sent anything"},
    {IN("when connection { emit others \"a\" $args }"),
     "r:2:35: `$args` is there only in `on`: at a moment no client has sent anything"},
    {IN("when connection { emit others \"a\" \"$event\" }"),
     "r:2:36: `$event` is there only in `on`: at a moment no client has sent anything"},
    {IN("when connection { require count 1 }"),
     "r:2:27: `count` can stand only in `on`: a moment is no client's event"},
    {IN("when connection { emit others \"a\" $reason }"),
     "r:2:35: `$reason` is there only in `when disconnecting` and `when disconnect`"},
    {ON("ack $reason"),
     "r:2:14: `$reason` is there only in `when disconnecting` and `when disconnect`"},
    {IN("when disconnecting { join \"a\" }"),
     "r:2:22: `join` cannot stand in `when disconnecting`: the socket is leaving"},
    {IN("when disconnecting { deny \"a\" }"),
     "r:2:22: `deny` cannot stand in `when disconnecting`: the socket is leaving"},
    {IN("when disconnect { emit self \"a\" }"),
     "r:2:24: `self` cannot stand in `when disconnect`: the socket is leaving"},
    {IN("when disconnect { disconnect }"),
     "r:2:19: `disconnect` cannot stand in `when disconnect`: the socket is leaving"},
    {IN("when disconnect { require in \"a\" }"),
     "r:2:27: at `disconnect` the rooms are left already: `in` can stand in `when disconnecting`"},
    /* Values. */
    {ON("ack $"),
     "r:2:14: a `$` begins a value, such as `$1` or `$user`; a dollar in a string is written `$$`"},
    {ON("ack $ 1"),
     "r:2:14: a `$` begins a value, such as `$1` or `$user`; a dollar in a string is written `$$`"},
    {ON("ack \"a $ b\""),
     "r:2:17: a `$` begins a value, such as `$1` or `$user`; a dollar in a string is written `$$`"},
    {ON("ack \"100$\""),
     "r:2:18: a `$` begins a value, such as `$1` or `$user`; a dollar in a string is written `$$`"},
    {ON("ack $$"),
     "r:2:14: a `$` begins a value, such as `$1` or `$user`; a dollar in a string is written `$$`"},
    {ON("ack $0"),
     "r:2:14: there is no `$0`: arguments are `$1` to `$9`"},
    {ON("ack $10"),
     "r:2:14: there is no `$10`: arguments are `$1` to `$9`"},
    {ON("ack \"$12345678\""),
     "r:2:16: an argument's number is at most 1000000"},
    {ON("ack $user.name"),
     "r:2:14: a value goes in whole: only `$claims` and `$auth` have members"},
    {ON("ack $1.name"),
     "r:2:14: a value goes in whole: only `$claims` and `$auth` have members"},
    {ON("ack $claims.a."),
     "r:2:14: a value goes in whole: only `$claims` and `$auth` have members"},
    {ON("ack $auth[1]"),
     "r:2:14: a value goes in whole: only `$claims` and `$auth` have members"},
    {ON("set a 1; ack $a.b"),
     "r:2:23: a value goes in whole: only `$claims` and `$auth` have members"},
    {ON("ack $count(\"a\").b"),
     "r:2:14: a value goes in whole: only `$claims` and `$auth` have members"},
    {ON("ack $claims"),
     "r:2:14: which claim? `$claims.email`, or `$claims[\"https://\342\200\246\"]` where the name is no word"},
    {ON("ack $claims."),
     "r:2:14: which claim? `$claims.email`, or `$claims[\"https://\342\200\246\"]` where the name is no word"},
    {ON("ack $claims[\"a\""),
     "r:2:25: expected `]`, found ` `"},
    {ON("ack \"$auth\""),
     "r:2:15: in a string only a string or an integer goes in, and `$auth` is an object: name a member, as in `$auth.name`"},
    {ON("ack $people(\"a\")"),
     "r:2:15: unknown value `people`: known here: args, event, user, claims, auth, id, now, count, members, sent or reason"},
    {ON("ack $cout(\"a\")"),
     "r:2:15: unknown value `cout`: did you mean `count`?"},
    {ON("ack $count"),
     "r:2:20: expected a room in parentheses, as in `$count(\"hall\")`, found ` `"},
    {ON("ack $count \"a\""),
     "r:2:20: expected a room in parentheses, as in `$count(\"hall\")`, found ` `"},
    {ON("ack $count(\"\")"),
     "r:2:21: a room's name cannot be empty"},
    {ON("ack $count(\"a\""),
     "r:2:25: expected `)`, found `}`"},
    {ON("ack $count(\"a\", 1)"),
     "r:2:24: expected `)`, found `,`"},
    /* JSON. */
    {ON("ack {"),
     "r:1:1: this namespace has no end: a `}` is missing"},
    {ON("ack {\"a\"}"),
     "r:2:18: expected `:` after a member's name, found `}`"},
    {ON("ack {\"a\" 1}"),
     "r:2:19: expected `:` after a member's name, found `1`"},
    {ON("ack {a: 1}"),
     "r:2:15: expected a member's name in quotes, found `a`"},
    {ON("ack {\"a\": 1,}"),
     "r:2:22: expected a member's name in quotes, found `}`"},
    {ON("ack {\"a\": 1 \"b\": 2}"),
     "r:2:22: expected `,` or `}`, found `\"`"},
    {ON("ack {\"a\": }"),
     "r:2:20: expected a value: JSON, or one that begins with `$`, found `}`"},
    {ON("ack {\"$1\": 2}"),
     "r:2:16: a member's name is plain text, where no value goes in; a dollar is written `$$`"},
    {ON("ack {\"_placeholder\": true, \"num\": 0}"),
     "r:2:15: `_placeholder` is Socket.IO's own: it stands for an attachment"},
    {ON("ack {\"\\u005fplaceholder\": true, \"num\": 0}"),
     "r:2:15: `_placeholder` is Socket.IO's own: it stands for an attachment"},
    {ON("ack [1 2]"),
     "r:2:17: expected `,` or `]`, found `2`"},
    {ON("ack [1,]"),
     "r:2:17: expected a value: JSON, or one that begins with `$`, found `]`"},
    {ON("ack ["),
     "r:2:16: expected a value: JSON, or one that begins with `$`, found `}`"},
    {ON("ack TRUE"),
     "r:2:14: `TRUE` is not JSON: did you mean \"TRUE\" or `$TRUE`?"},
    {ON("ack name"),
     "r:2:14: `name` is not JSON: did you mean \"name\" or `$name`?"},
    {ON("ack -"),
     "r:2:14: `-` is not a number as JSON has it"},
    {ON("ack 01"),
     "r:2:14: `01` is not a number as JSON has it"},
    {ON("ack 1."),
     "r:2:14: `1.` is not a number as JSON has it"},
    {ON("ack +1"),
     "r:2:14: expected a value: JSON, or one that begins with `$`, found `+`"},
    {ON("ack 'a'"),
     "r:2:14: expected a value: JSON, or one that begins with `$`, found `'`"},
    {ON("ack \342\234\223"),
     "r:2:14: expected a value: JSON, or one that begins with `$`, found `\342\234\223` (U+2713)"},
    {ON("ack \001"),
     "r:2:14: expected a value: JSON, or one that begins with `$`, found the byte 0x01"},
    {ON("ack [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["),
     "r:2:47: JSON is nested more than 32 deep"},
    /* Strings. */
    {ON("ack \"a"),
     "r:2:14: this string has no end on its line: a `\"` is missing"},
    {ON("ack \"a\\"),
     "r:2:14: this string has no end on its line: a `\"` is missing"},
    {ON("ack \"\\q\""),
     "r:2:14: not a string as JSON has it: a bad escape, a control character, or not UTF-8; a backslash is written \\\\"},
    {ON("ack \"\\u12\""),
     "r:2:14: not a string as JSON has it: a bad escape, a control character, or not UTF-8; a backslash is written \\\\"},
    {ON("ack \"a\011b\""),
     "r:2:14: not a string as JSON has it: a bad escape, a control character, or not UTF-8; a backslash is written \\\\"},
    {ON("ack \"\\ud800\""),
     "r:2:15: half of a surrogate pair is no character"},
    {ON("ack \"\\ud83d\\u0041\""),
     "r:2:15: half of a surrogate pair is no character"},
    {ON("ack \"\\udc00\""),
     "r:2:15: half of a surrogate pair is no character"},
    {ON("ack [\"\303\251\", \"\\n\\u00e9\303\251 $\"]"),
     "r:2:31: a `$` begins a value, such as `$1` or `$user`; a dollar in a string is written `$$`"},
    {ON("ack \"\377\""),
     "r:2:14: not a string as JSON has it: a bad escape, a control character, or not UTF-8; a backslash is written \\\\"},
    /* What can never be. */
    {IN("on \"connection\" { join \"hall\" }"),
     "r:2:4: \"connection\" is no client's event but the gateway's moment: did you mean `when connection`?"},
    {IN("on connection { }"),
     "r:2:4: expected the name of a client's event in quotes, such as \"say\" (the gateway's moments follow `when`), found `connection`"},
    {IN("// hello"),
     "r:2:1: expected `on`, `when`, `authenticate` or `}`, found `//`; a comment begins with `#`"},
    {ON("ack 1 /* one */"),
     "r:2:16: expected `,` before a further value, or the end of the statement, found `/*`; a comment begins with `#`"},
    {ON("emit\302\240others"),
     "r:2:14: expected a target: self, others, all, to or in; found `\302\240` (U+00A0)"},
    {"\357\273\277namespace \"/\" {}",
     "r:1:1: expected a word: namespace; found `\357\273\277` (U+FEFF)"},
    {"namespace \"/*\" {}",
     "r:1:11: no comma, `?`, `*` or control character can stand in a namespace: each is named by itself"},
    {ON("require in \"id:$id\""),
     "r:2:21: a room `id:\342\200\246` is there to be sent to: nobody is in it, and it is not counted; what an `emit in` it has reached says `$sent`"},
    {ON("ack $count(\"id:$1\")"),
     "r:2:21: a room `id:\342\200\246` is there to be sent to: nobody is in it, and it is not counted; what an `emit in` it has reached says `$sent`"},
    {ON("ack $members(\"id:$1\")"),
     "r:2:23: a room `id:\342\200\246` is there to be sent to: nobody is in it, and it is not counted; what an `emit in` it has reached says `$sent`"},
    {ON("require string $user"),
     "r:2:25: this is always a string"},
    {ON("require integer $user"),
     "r:2:26: this is always a string"},
    {ON("require string $now"),
     "r:2:25: this is always an integer"},
    {ON("require array $auth"),
     "r:2:24: this is always an object"},
    {ON("require object $event"),
     "r:2:25: this rule can never hold: an event's name is a string or a number"},
    {ON("require binary $claims.a"),
     "r:2:25: this rule can never hold: only an event's argument can be binary"},
    {ON("require string $1; require integer $1"),
     "r:2:45: this rule can never hold: `require string $1` stands above"},
    {ON("require boolean $auth.a; require array $auth.a"),
     "r:2:49: this rule can never hold: `require boolean $auth.a` stands above"},
    {ON("require string $2; require count 1"),
     "r:2:43: this rule can never hold: `require count 1` leaves no `$2`, which is asked for above"},
    {ON("require claim a \"$3\"; require count 2"),
     "r:2:46: this rule can never hold: `require count 2` leaves no `$3`, which is asked for above"},
    {ON("require object $1; join \"r:$1\""),
     "r:2:37: in a string only a string or an integer goes in, and `$1` is something else, says the `require` above"},
    {ON("require binary $1; ack \"$1\""),
     "r:2:34: in a string only a string or an integer goes in, and `$1` is something else, says the `require` above"},
    {ON("require claim a \"$1\"; require array $1"),
     "r:2:46: this rule can never hold: above it stands in a string, where only a string or an integer goes in"},
    {ON("require binary $1; set a $1"),
     "r:2:35: binary cannot be kept in a variable"},
    {ON("require set a; set a 1"),
     "r:2:1: this rule can never hold: only rules that need `a` before would set it"},
    {IN("on \"x\" { require set a; set b 1 }\non \"y\" { ack $b; set a 1 }"),
     "r:3:1: this rule can never hold: only rules that need `b` before would set it"},
    {IN("on \"x\" { join \"hall\" }\non \"y\" { emit to \"hal\" \"z\" }"),
     "r:3:18: no rule of this namespace joins the room `hal`: did you mean `hall`?"},
    {IN("on \"x\" { join \"hall\"; join \"room:$1\" }\non \"y\" { require in \"lobby\" }"),
     "r:3:21: no rule of this namespace joins the room `lobby`: known here: room:$1 or hall"},
    {IN("on \"x\" { join \"room:$1\" }\non \"y\" { emit in \"rooms:$1\" }"),
     "r:3:18: no rule of this namespace joins the room `rooms:$1`: did you mean `room:$1`?"},
    {IN("on \"x\" { join \"room:$1:a\" }\non \"y\" { emit in \"room:$1:b\" }"),
     "r:3:18: no rule of this namespace joins the room `room:$1:b`: did you mean `room:$1:a`?"},
    {IN("on \"x\" { join \"room:$1\" }\non \"y\" { ack $count(\"room\") }"),
     "r:3:21: no rule of this namespace joins the room `room`: known here: room:$1"},
    {IN("on \"x\" { join \"room\" }\non \"y\" { leave \"room:$1\" }"),
     "r:3:16: no rule of this namespace joins the room `room:$1`: known here: room"},
    {ON("ack $count(\"hall\"), $members(\"hall\")"),
     "r:2:21: nobody can be in the room `hall`: no rule of this namespace says `join`"},
    {IN("when user online { emit in \"news\" \"on\" $user }"),
     "r:2:28: nobody can be in the room `news`: no rule of this namespace says `join`"},
    {IN("when connection { require in \"hall\" }\non \"x\" { join \"hall\" }"),
     "r:2:27: this rule can never hold: at `connection` the socket is in no room yet"},
    {IN("when connection { require set a }\non \"x\" { set a 1 }"),
     "r:2:31: this rule can never hold: at `connection` no variable is set yet"},
    {IN("when connection { set b $a }\non \"x\" { set a 1 }"),
     "r:2:25: `a` is unset here"},
    {ON("join \"team:*\""),
     "r:2:15: a room's name has no `*`: one room is meant, not several"},
    {IN("on \"x\" { require number $1 }\non \"x\" { require integer $1 }"),
     "r:3:1: this rule can never be reached: the one of the same name in line 2 holds whenever this one does"},
    {ON("ack $sent; emit others"),
     "r:2:14: `$sent` is what the rule has sent so far: it stands after an `emit`"},
    {ON("emit others \"a\" $sent"),
     "r:2:26: `$sent` is what the rule has sent so far: it stands after an `emit`"},
    {IN("authenticate optional; on \"x\" { require guest; ack $user }"),
     "r:2:52: a guest has no `$user`, and the rule is for guests"},
    {IN("authenticate optional; on \"x\" { require guest; emit in \"user:$user\" }"),
     "r:2:62: a guest has no `$user`, and the rule is for guests"},
    {IN("authenticate optional; on \"x\" { require guest; require claim a 1 }"),
     "r:2:62: this rule can never hold: a guest has no claims"},
    {IN("authenticate optional; on \"x\" { require claim a 1; require guest }"),
     "r:2:61: this rule can never hold: a guest has neither a name nor claims, which are asked for above"},
    {IN("authenticate optional; on \"x\" { require string $claims.a; require guest }"),
     "r:2:68: this rule can never hold: a guest has neither a name nor claims, which are asked for above"},
    {ON("ack {\"a\": 1, \"b\": {\"a\": 2}, \"\\u0061\": 3}"),
     "r:2:38: the member \"a\" stands here a second time"},
};
/* clang-format on */

/* Warnings, one after the other. */
struct heard {
    unsigned n;
    char text[1024];
};

static void hear(const char *text, void *context)
{
    struct heard *heard = context;

    heard->n++;
    snprintf(heard->text, sizeof heard->text, "%s", text);
}

/* Read a copy that ends where the memory ends, so that one byte too far is seen by ASan. */
static struct rules *read_exactly(const char *text, size_t length, struct heard *heard,
                                  struct error *error)
{
    char *copy = malloc(length + (length == 0));
    struct rules *rules;

    assert_non_null(copy);
    memcpy(copy, text, length);
    error->text[0] = '\0';
    rules = rules_parse(copy, length, "r", heard ? hear : NULL, heard, error);
    free(copy);
    return rules;
}

static struct rules *read_good(const char *text)
{
    struct error error;
    struct rules *rules = read_exactly(text, strlen(text), NULL, &error);

    if (!rules)
        fail_msg("%s\n%s", error.text, text);
    return rules;
}

static void assert_complaint(const char *text, const char *complaint)
{
    struct error error;
    struct rules *rules = read_exactly(text, strlen(text), NULL, &error);

    if (rules)
        fail_msg("taken: %s", text);
    assert_string_equal(error.text, complaint);
}

static void assert_span(struct span span, const char *text)
{
    assert_int_equal(span.length, strlen(text));
    assert_memory_equal(span.at, text, span.length);
}

/* `before`, then `each` n times with its number for %u, then `after`; the caller frees it. */
static char *many(const char *before, unsigned n, const char *each, const char *after)
{
    size_t size = strlen(before) + n * (strlen(each) + 16) + strlen(after) + 1;
    char *text = malloc(size), *at = text;

    assert_non_null(text);
    at += sprintf(at, "%s", before);
    for (unsigned i = 0; i < n; i++)
        for (const char *c = each; *c; c++)
            at += *c == '@' ? sprintf(at, "%u", i) : sprintf(at, "%c", *c);
    sprintf(at, "%s", after);
    return text;
}

/* `n` of something are taken, one more is too many. */
static void assert_most(const char *before, unsigned n, const char *each, const char *after,
                        const char *complaint)
{
    char *most = many(before, n, each, after), *more = many(before, n + 1, each, after);
    struct error error;
    struct rules *rules = read_good(most);

    rules_put(&rules);
    assert_null(read_exactly(more, strlen(more), NULL, &error));
    if (!strstr(error.text, complaint))
        fail_msg("%s", error.text);
    free(most);
    free(more);
}

static const char chat[] =
    "namespace \"/\" {\n"
    "    authenticate required                        # required | later | optional | none\n"
    "\n"
    "    when connection { join \"hall\" }\n"
    "\n"
    "    on \"add user\" {\n"
    "        require unset username\n"
    "        set username $1\n"
    "        join \"named\"\n"
    "        emit self   \"login\"       {\"numUsers\": $count(\"named\")}\n"
    "        emit others \"user joined\" {\"username\": $username, \"numUsers\": "
    "$count(\"named\")}\n"
    "    }\n"
    "    on \"new message\" { require set username; emit others {\"username\": $username, "
    "\"message\": $1} }\n"
    "    on \"drawing\"     { limit 60 per 1s; emit volatile others }\n"
    "    on \"direct\"      { emit in \"user:$1\" \"direct\" {\"from\": $user, \"text\": $2}; ack "
    "{\"sent\": $sent} }\n"
    "    on \"join\"        { require claim rooms $1; join \"room:$1\"; ack true }\n"
    "    on \"say\"         { require in \"room:$1\"; emit to \"room:$1\" \"say\" $user, $2 }\n"
    "\n"
    "    when disconnect  { require set username\n"
    "                       emit others \"user left\" {\"username\": $username, \"numUsers\": "
    "$count(\"named\")} }\n"
    "}\n";

static void every_mistake_has_its_place_and_a_remedy(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof mistakes / sizeof *mistakes; i++)
        assert_complaint(mistakes[i].rules, mistakes[i].complaint);
}

static void a_page_of_rules_is_read_without_a_warning(void **state)
{
    struct heard heard = {0};
    struct error error;
    struct rules *rules = read_exactly(chat, strlen(chat), &heard, &error);
    const struct rules_namespace *space;
    const struct rules_path *claim;
    size_t n;

    (void)state;
    assert_non_null(rules);
    assert_int_equal(heard.n, 0);
    assert_int_equal(rules_namespaces(rules), 1);
    space = rules_namespace_at(rules, 0);
    assert_span(rules_namespace_name(space), "/");
    assert_int_equal(rules_namespace_authenticate(space), AUTHENTICATE_REQUIRED);
    assert_int_equal(rules_variables(space), 1);
    assert_int_equal(rules_limits(space), 1);
    claim = rules_claims(rules, &n);
    assert_int_equal(n, 1);
    assert_int_equal(claim->n_path, 1);
    assert_span(claim->path[0], "rooms");
    rules_put(&rules);
    assert_null(rules);
}

static void namespaces_are_found_by_name_and_inherit_nothing(void **state)
{
    struct rules *rules = read_good("namespace \"/\" { authenticate none; on \"a\" { set x 1 } }\n"
                                    "namespace \"/b\" { on \"a\" { set y 1; set z 2 } }\n"
                                    "namespace \"/$$\" { authenticate optional }");
    const struct rules_namespace *b = rules_namespace_find(rules, (struct span){"/b", 2});

    (void)state;
    assert_int_equal(rules_namespaces(rules), 3);
    assert_ptr_equal(b, rules_namespace_at(rules, 1));
    assert_int_equal(rules_namespace_authenticate(b), AUTHENTICATE_REQUIRED);
    assert_int_equal(rules_variables(b), 2);
    assert_span(rules_variable_name(b, 1), "z");
    assert_int_equal(rules_variable_find(b, (struct span){"y", 1}), 0);
    assert_int_equal(rules_variable_find(b, (struct span){"x", 1}), 2);
    assert_int_equal(rules_variables(rules_namespace_at(rules, 0)), 1);
    assert_int_equal(rules_namespace_authenticate(rules_namespace_at(rules, 0)), AUTHENTICATE_NONE);
    assert_non_null(rules_namespace_find(rules, (struct span){"/$", 2}));
    assert_null(rules_namespace_find(rules, (struct span){"/c", 2}));
    rules_put(&rules);
}

static void a_claim_has_one_slot_wherever_it_is_named(void **state)
{
    struct rules *rules =
        read_good("namespace \"/\" { on \"a\" { require claim roles \"x\"; ack $claims.a.b }\n"
                  "on \"b\" { require claim [\"https://x/roles\"] $1; ack \"$claims.roles\" } }\n"
                  "namespace \"/b\" { on \"a\" { require claim a[\"b\"] $1;\n"
                  "ack $claims[\"https://x/roles\"], $claims[\"a b\"].c } }");
    size_t n;
    const struct rules_path *claim = rules_claims(rules, &n);

    (void)state;
    assert_int_equal(n, 4);
    assert_int_equal(claim[0].n_path, 1);
    assert_span(claim[0].path[0], "roles");
    assert_int_equal(claim[1].n_path, 2);
    assert_span(claim[1].path[0], "a");
    assert_span(claim[1].path[1], "b");
    assert_int_equal(claim[2].n_path, 1);
    assert_span(claim[2].path[0], "https://x/roles");
    assert_int_equal(claim[3].n_path, 2);
    assert_span(claim[3].path[0], "a b");
    assert_span(claim[3].path[1], "c");
    rules_put(&rules);
}

static void layout_is_free_where_nothing_is_ambiguous(void **state)
{
    static const char *const texts[] = {
        "namespace \"/\" {}",
        "  \t\r\n;;namespace\t\"/\"\r\n{\r\n;}\r\n;",
        "# a\nnamespace \"/\" # b\n{ # c\n authenticate none # d }\n} # e",
        IN("on \"x\"\n{\n}"),
        IN("on \"x\" {;;emit others;;ack 1;}"),
        IN("on \"x\" { emit others \"a#b\" [ # c\n 1 ,\n\n 2 # d\n ] # e\n}"),
        IN("on \"x\" { ack\t{ \"a\"\n:\n1\n,\"b\" : [\n] , \"c\":{\n} } }"),
        IN("on \"x\" { join \"a\"; emit to \"a\" \"b\" $1,\n  # and\n  $2 }"),
        IN("on \"x\" { join\"a\";emit to \"a\"\"b\"$1,$2;ack-1 }"),
        IN("on \"x\" { ack true, false, null, -0, 1.5e+3, \"\\u00e9\\n\\\"$$\" }"),
        IN("on \"x\" { ack $args }\non \"y\" { emit others $args }\non \"z\" { emit all \"a\" "
           "$args }"),
        IN("on \"x\" { join \"$user.\"; emit to \"$user.\" \"a\" \"$user: $1!\", \"[$id]\", "
           "\"$claims.a.\" }"),
        IN("on \"x\" { ack \"$count(\\\"a$1\\\")\", $count( \"b\" ) }\non \"y\" { join \"ab\"; "
           "join \"b\" }"),
        IN("on \"x\" { set a 1.5 }\non \"y\" { join \"$a\" }\non \"z\" { unset a }\non \"\" { ack "
           "$a }"),
        IN("on \"x\" { set a 1; ack $a; unset a; set a \"$1\"; emit self \"a\" $a }"),
    };

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct rules *rules = read_good(texts[i]);

        rules_put(&rules);
    }
}

static void rules_of_one_name_stand_beside_each_other(void **state)
{
    static const char *const texts[] = {
        IN("on \"x\" { require user }\non \"x*\" { require user }\non \"y\" { require user }"),
        IN("authenticate optional; on \"x\" { require user }\non \"x\" { require guest }"),
        IN("on \"x\" { require count 1 }\non \"x\" { require count 2 }\non \"x\" {}"),
        IN("on \"x\" { require string $1 }\non \"x\" { require string $2 }"),
        IN("on \"x\" { require in \"a$1\" }\non \"x\" { require in \"b$1\" }\n"
           "on \"y\" { join \"a$1\"; join \"b$1\" }"),
        IN("on \"x\" { require integer $1 }\non \"x\" { require number $1 }"),
        IN("on \"x\" { require claim a \"$1\" }\non \"x\" { require claim a $1 }\n"
           "on \"x\" { require claim b $1 }\non \"x\" { require claim a 1 }"),
        IN("on \"x\" { require object $auth.a }\non \"x\" { require object $auth.b }\n"
           "on \"x\" { require object $auth.b.c }"),
    };

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct rules *rules = read_good(texts[i]);

        rules_put(&rules);
    }
}

static void a_room_that_any_client_can_name_is_a_warning(void **state)
{
    static const struct {
        const char *rules, *place;
    } cases[] = {
        {ON("ack $members(\"$1\")"), "r:2:23:"},
        {ON("require claim rooms $1; ack $members(\"$1\")"), NULL},
        {ON("ack $members(\"room:$1\"); join \"room:$1\""), NULL},
        {ON("join \"$1\""), "r:2:15: warning: "},
        {ON("limit 1 per 1s; join \"$auth.a\""), "r:2:31: warning: "},
        {ON("join \"$event\""), NULL},
        {IN("on \"vote:*\" { join \"$event\" }"), NULL},
        {IN("on \"*\" { join \"$event$1\" }"), "r:2:15: warning: "},
        {ON("require string $1; require count 1; emit to \"$1\""), "r:2:54: warning: "},
        {ON("emit in \"$1\" \"a\""), "r:2:18: warning: "},
        {ON("join \"room:$1\""), NULL},
        {ON("emit in \"user:$1\" \"a\""), NULL},
        {ON("require claim rooms $1; join \"$1\""), NULL},
        {ON("require in \"$1\"; emit to \"$1\""), NULL},
        {ON("join \"$user\"; join \"$user$1\""), NULL},
        {ON("leave \"$1\"; ack $count(\"$1\")"), NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct heard heard = {0};
        struct error error;
        struct rules *rules = read_exactly(cases[i].rules, strlen(cases[i].rules), &heard, &error);

        assert_non_null(rules);
        rules_put(&rules);
        assert_int_equal(heard.n, cases[i].place ? 1 : 0);
        if (cases[i].place)
            assert_memory_equal(heard.text, cases[i].place, strlen(cases[i].place));
    }
}

static void everything_is_bounded(void **state)
{
    (void)state;
    assert_most("", PROGRAM_NAMESPACES, "namespace \"/@\" {}\n", "", "more than 64 namespaces");
    assert_most("namespace \"/\" {", PROGRAM_RULES, "on \"@\" {}\n", "}", "more than 4096 rules");
    assert_most("namespace \"/\" { on \"x\" {", PROGRAM_ACTIONS, "join \"@\"\n", "} }",
                "at most 64 things");
    assert_most("namespace \"/\" { on \"x\" {", PROGRAM_GUARDS, "require in \"@\"\n",
                "join \"$user\" } }", "at most 32 `require`s");
    assert_most("namespace \"/\" { on \"x\" { ack 0", PROGRAM_PIECES / 2 - 1, ", $1", "} }",
                "more than 64 values");
    assert_most("namespace \"/\" { on \"x\" { join \"", PROGRAM_PIECES, "$1", "\"} }",
                "more than 64 values");
    assert_most("namespace \"/\" {", PROGRAM_VARIABLES, "on \"@\" { set v@ 1 }\n", "}",
                "at most 64 variables");
    assert_most("namespace \"/\" {", RULES_CLAIMS, "on \"@\" { ack $claims.c@ }\n", "}",
                "more than 64 claims");
    assert_most("namespace \"/\" { on \"x\" { ack $auth", PROGRAM_PATH, ".a", "} }",
                "at most 8 parts");
    assert_most("namespace \"/\" { on \"x\" { join \"", PROGRAM_ROOM_BYTES, "r", "\"} }",
                "at most 256 bytes");
    assert_most("namespace \"/\" { on \"", 128, "e", "\" {} }", "at most 128 bytes");
    assert_most("namespace \"", 128, "/", "\" {}", "at most 128 bytes");
    assert_most("namespace \"/\" { on \"x\" { deny \"", 256, "n", "\"} }", "1 to 256 bytes");
    assert_most("namespace \"/\" {}", 1024 * 1024 - 16, " ", "", "at most 1048576 bytes");
}

/* As many variables as there may be are too many to be listed. */
static void a_list_of_what_is_known_ends_in_time(void **state)
{
    char *text = many("namespace \"/\" {", 60, "on \"@\" { set variable_number_@ 1 }\n",
                      "on \"x\" { ack $q } }");
    struct error error;

    (void)state;
    assert_null(read_exactly(text, strlen(text), NULL, &error));
    assert_non_null(strstr(error.text, "known here: args, event, user, "));
    assert_string_equal(strrchr(error.text, 'v'), "variable_number_8, …");
    free(text);
}

static void a_file_is_read_and_named_in_complaints(void **state)
{
    char path[] = "/tmp/rules_test_XXXXXX", complaint[128];
    int fd = mkstemp(path);
    struct error error;
    struct rules *rules;

    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "namespace \"/\" {}", 16), 16);
    rules = rules_read(path, NULL, NULL, &error);
    assert_non_null(rules);
    rules_put(&rules);
    assert_int_equal(write(fd, "}", 1), 1);
    close(fd);
    assert_null(rules_read(path, NULL, NULL, &error));
    snprintf(complaint, sizeof complaint, "%s:1:17: expected", path);
    assert_memory_equal(error.text, complaint, strlen(complaint));
    unlink(path);
    assert_null(rules_read(path, NULL, NULL, &error));
    snprintf(complaint, sizeof complaint, "%s: cannot open the rules: No such file", path);
    assert_memory_equal(error.text, complaint, strlen(complaint));
    assert_null(rules_read("/tmp", NULL, NULL, &error));
    assert_string_equal(error.text, "/tmp: cannot read the rules: Is a directory");
}

static void rules_live_as_long_as_somebody_holds_them(void **state)
{
    struct rules *rules = read_good(chat), *other = rules_get(rules);

    (void)state;
    rules_put(&rules);
    assert_int_equal(rules_namespaces(other), 1);
    rules_put(&other);
    rules_put(&other);
    assert_null(other);
}

static void every_shipped_example_is_read(void **state)
{
    glob_t found;

    (void)state;
    assert_int_equal(glob("deploy/examples/*.rules", 0, NULL, &found), 0);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        struct heard heard = {0};
        struct error error;
        struct rules *rules = rules_read(found.gl_pathv[i], hear, &heard, &error);

        if (!rules || heard.n > 0)
            fail_msg("%s", rules ? heard.text : error.text);
        rules_put(&rules);
    }
    globfree(&found);
}

/* The page above, cut anywhere and with any byte another one: never a crash, always a verdict. */
static void the_ugliest_text_gets_a_verdict(void **state)
{
    static const char bytes[] = "\0\n \"\\$*#;{}[](),.:1aeu\xff";
    char text[sizeof chat];
    struct error error;
    struct rules *rules;

    (void)state;
    for (size_t i = 0; i < strlen(chat); i++) {
        assert_true(i == strlen(chat) - 1 || !(rules = read_exactly(chat, i, NULL, &error)));
        for (size_t j = 0; j < sizeof bytes - 1; j++) {
            memcpy(text, chat, sizeof chat);
            text[i] = bytes[j];
            rules = read_exactly(text, strlen(chat), NULL, &error);
            assert_true(rules || strncmp(error.text, "r:", 2) == 0);
            rules_put(&rules);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_mistake_has_its_place_and_a_remedy),
        cmocka_unit_test(a_page_of_rules_is_read_without_a_warning),
        cmocka_unit_test(namespaces_are_found_by_name_and_inherit_nothing),
        cmocka_unit_test(a_claim_has_one_slot_wherever_it_is_named),
        cmocka_unit_test(layout_is_free_where_nothing_is_ambiguous),
        cmocka_unit_test(rules_of_one_name_stand_beside_each_other),
        cmocka_unit_test(a_room_that_any_client_can_name_is_a_warning),
        cmocka_unit_test(everything_is_bounded),
        cmocka_unit_test(a_list_of_what_is_known_ends_in_time),
        cmocka_unit_test(a_file_is_read_and_named_in_complaints),
        cmocka_unit_test(rules_live_as_long_as_somebody_holds_them),
        cmocka_unit_test(every_shipped_example_is_read),
        cmocka_unit_test(the_ugliest_text_gets_a_verdict),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
