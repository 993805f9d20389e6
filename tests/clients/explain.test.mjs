/* `sallyport-gateway --explain` says beforehand what a running gateway does. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { instance, next, program, run, until } from '../lib.mjs';

const rules = `namespace "/" {
    authenticate optional
    when connection { require guest; deny "no guests today" }
    when connection { join "hall"; emit self "hi" $user, $count("hall"); set visits 1 }
    on "say" { require string $1; require in "room:$1"; limit 3 per 1s; emit to "room:$1" "say" $user, $2; ack $sent }
    on "say" { require claim roles "admin"; emit all "shout" $user, $2, $members("hall"); set last $2; unset visits }
    on "echo*" { ack $args } on "join" { join "room:$1" }
    when user online { emit all "on" $user }
}
namespace "/open" { authenticate none; on "x" { emit volatile self "x" {"n": $1}; leave "a"; disconnect } on "y" { join "a" } }`;

const explainer = (sp) => (args, input) =>
    run(program('sallyport-gateway'), ['--explain', '-c', sp.config, ...args], { input });
const text = (lines) => lines.map((line) => `${line}\n`).join('');

test('which rule, each guard, every packet', async (t) => {
    const sp = await instance(t, { rules, login: false });
    const explain = explainer(sp);
    const says = (args, lines, input) => {
        const { status, stdout, stderr } = explain(args, input);
        assert.deepEqual({ status, stdout, stderr }, { status: 0, stdout: text(lines), stderr: '' });
    };

    says(['--user', 'ann', '--room', 'room:a', 'say', 'a', '{"x": 1}'], ['event ["say","a",{"x": 1}]',
        '  the rule in line 5', '    require string $1: holds', '    require in "room:$1": holds',
        '    limit 3 per 1000 ms: nothing has been counted yet', '    is the rule', 'then',
        '  to all others in room "room:a": 42["say","ann",{"x": 1}]', '  answer, if the client asks for one: 430[0]']);
    says(['--user', 'ann', '--claims', '{"roles":["admin"]}', '--set', 'visits=3', 'say', 'b', '-1'], ['event ["say","b",-1]',
        '  the rule in line 5', '    require string $1: holds', '    require in "room:$1": fails', '    is passed over',
        '  the rule in line 6', '    require claim roles "admin": holds', '    is the rule', 'then',
        '  to all in the namespace: 42["shout","ann",-1,[]]', '  answer, if the client asks for one: 430[]',
        '  unset visits', '  set last -1']);
    says(['say', '7'], ['event ["say",7]', '  the rule in line 5', '    require string $1: fails (bad argument)',
        '    is passed over', '  the rule in line 6', '    require claim roles "admin": fails', '    is passed over', 'then',
        '  answer, if the client asks for one: 430[{"error":"bad argument"}]']);
    says(['echo me', 'no JSON', '"\\ud800"', '12345678901234567890123'], ['event ["echo me","no JSON","\\ud800",12345678901234567890123]',
        '  the rule in line 7', '    is the rule', 'then',
        '  answer, if the client asks for one: 430["no JSON","\\ud800",12345678901234567890123]']);
    says(['nothing'], ['event ["nothing"]', '  no rule is about it', 'then',
        '  answer, if the client asks for one: 430[{"error":"no rule"}]']);
    says(['--namespace', '/open', '--room', 'a', 'x'], ['event ["x"]', '  the rule in line 10', '    is the rule', 'then',
        '  answer, if the client asks for one: 43/open,0[{"error":"bad argument"}]']);
    says(['--namespace', '/open', '--room', 'a', 'x', '1'], ['event ["x",1]', '  the rule in line 10', '    is the rule', 'then',
        '  to the sender, if they keep up: 42/open,["x",{"n":1}]', '  leave "a"',
        '  answer, if the client asks for one: 43/open,0[]', '  disconnect the socket: 41/open,']);
    says(['--when', 'connection'], ['when connection', '  the rule in line 3', '    require guest: holds', '    is the rule', 'then',
        '  to the sender: 44{"message":"no guests today"}']);
    says(['--token', '--when', 'connection'], ['when connection', '  the rule in line 3', '    require guest: fails',
        '    is passed over', '  the rule in line 4', '    is the rule', 'then',
        '  to the sender: 40{"sid":"the-socket-that-asks"}', '  join "hall"', '  to the sender: 42["hi","ann",1]', '  set visits 1'], `${sp.token()}\n`);
    says(['--user', 'ann', '--when', 'user online'], ['when user online', '  the rule in line 8', '    is the rule', 'then',
        '  to all in the namespace: 42["on","ann"]']);
    says(['--user', 'ann', '--when', 'disconnect'], ['when disconnect', 'then nothing']);
});

/* Who is leaving is still in its rooms, but is sent nothing; who has left is nowhere. */
test('each moment knows where the socket is', async (t) => {
    const said = '"$members(a)", $count("a"), $count("user:$user")'.replace('"$members(a)"', '$members("a")');
    const sp = await instance(t, { login: false, settings: { 'gateway.limits.rooms': 1 }, rules: `namespace "/" { authenticate optional
        on "a" { join "a"; join "b"; ack $count("b") }
        when authenticated { emit self "known" $user }
        when disconnecting { emit all "x" ${said}; emit in "a" "y" $sent }
        when disconnect { emit all "x" ${said}; emit in "a" "y" $sent }
        when user online { emit all "x" ${said}; emit to "user:$user" "y" $sent; emit in "a" "z" $sent }
        when user offline { emit all "x" ${said}; emit in "a" "z" $sent } }` });
    const does = (args, lines) => {
        const { status, stdout, stderr } = explainer(sp)(args);
        assert.deepEqual({ status, stdout: stdout.slice(stdout.indexOf('\nthen') + 1), stderr }, { status: 0, stdout: text(lines), stderr: '' });
    };
    const ann = (moment, ...options) => ['--user', 'ann', ...options, '--when', moment];

    does(ann('disconnecting', '--room', 'a'), ['then', '  to all in the namespace: 42["x",["ann"],1,1]', '  to all in room "a": 42["y",0]']);
    does(ann('disconnect', '--room', 'a'), ['then', '  to all in the namespace: 42["x",[],0,0]', '  to all in room "a": 42["y",0]']);
    does(ann('user online', '--room', 'a'), ['then', '  to all in the namespace: 42["x",["ann"],1,1]',
        '  to all others in room "user:ann": 42["y",1]', '  to all in room "a": 42["z",2]']);
    does(ann('user offline'), ['then', '  to all in the namespace: 42["x",[],0,0]', '  to all in room "a": 42["z",0]']);
    does(ann('authenticated'), ['then', '  to the sender: 42["authenticated"]', '  to the sender: 42["known","ann"]']);
    does(['--when', 'connection'], ['then', '  to the sender: 40{"sid":"the-socket-that-asks"}']);
    does(['--when', 'disconnect'], ['then nothing: a value is missing or does not fit']);
    does(['a'], ['then', '  join "a"', '  join "b": not done, it is in gateway.limits.rooms others', '  answer, if the client asks for one: 430[0]']);
    for (const moment of ['user online', 'authenticated'])
        assert.match(explainer(sp)(['--when', moment]).stderr, /this moment is a user's/);
    assert.match(explainer(sp)(['authenticate', '{}']).stderr, /the rules are not asked/);

    /* The same with real sockets. */
    const bob = sp.client({ token: sp.sign({ sub: 'bob' }) });
    const heard = [];
    bob.onAny((...event) => heard.push(event));
    await next(bob, 'y');
    const real = sp.client({ token: sp.token() });
    await next(real, 'y');
    await real.emitWithAck('a');
    await until(() => heard.filter(([event]) => event === 'x').length === 2, 'both to be online');
    heard.length = 0;
    real.disconnect();
    await until(() => heard.length >= 2, 'the last words');
    assert.deepEqual(heard, [['x', ['ann'], 1, 1], ['x', [], 0, 0]]);
});

test('a token that is revoked is refused', async (t) => {
    const sp = await instance(t, { rules, login: false });
    const token = sp.token();
    assert.equal(explainer(sp)(['--token', 'say', '1'], token).status, 0);
    sp.cli('session', 'revoke', 'ann');
    assert.match(explainer(sp)(['--token', 'say', '1'], token).stderr, /the token is refused: "jwt revoked"/);
});

test('what cannot be explained is said, and how it is used', async (t) => {
    const sp = await instance(t, { rules, login: false });
    const explain = explainer(sp);
    const complains = (args, status, words, input) => {
        const done = explain(args, input);
        assert.equal(done.status, status, done.stdout);
        assert.match(done.stderr, words);
        assert.equal(done.stdout, '');
    };
    complains(['--token', 'say'], 1, /the token is refused: "jwt malformed"/, 'a.b\n');
    complains(['--token', 'say'], 1, /no token provided/, '');
    complains(['--namespace', '/nowhere', 'say'], 1, /no namespace \/nowhere/);
    complains(['--namespace', '/open', '--user', 'ann', 'x'], 1, /there are no users/);
    complains(['--set', 'nobody=1', 'say'], 1, /--set is NAME=JSON, of a variable that the rules set: nobody=1/);
    complains(['--set', 'last=one', 'say'], 1, /a text stands in double quotes/);
    complains(['--auth', '[]', 'say'], 1, /--auth is not a JSON object/);
    complains(['--user', 'ann', '--claims', '[]', 'say'], 1, /--claims is not a JSON object/);
    complains(['--when', 'later'], 1, /--when is one of connection, /);
    complains(['disconnect'], 1, /no client can send this event: disconnect/);
    for (const args of [[], ['--when', 'connection', 'say'], ['--user', 'ann', '--token', 'say'], ['--claims', '{}', 'say']])
        complains(args, 2, /^sallyport-gateway: .*\nusage: /);
    assert.equal(run(program('sallyport-gateway'), ['-c', sp.config, '--user', 'ann', '--check']).status, 2);
});

test('the gateway does what was explained', async (t) => {
    const sp = await instance(t, { rules, login: false, users: { ann: { claims: { roles: ['admin'] } } } });
    const ann = sp.client({ token: sp.token('ann') });
    await Promise.all([next(ann, 'connect'), next(ann, 'on')]);
    const emissions = [['echo', [1], 'x'], ['say', 'a', 'b'], ['say', 1], ['nothing'], ['echo/', null, 1.5]];
    for (const event of emissions) {
        const heard = [];
        const listener = (...args) => heard.push(args);
        ann.onAny(listener);
        heard.push(await new Promise((resolve) => ann.emit(...event, (...answer) => resolve(answer))));
        ann.offAny(listener);
        const { stdout } = explainer(sp)(['--user', 'ann', '--claims', '{"roles":["admin"]}', '--room', 'hall', '--set', 'visits=1',
            event[0], ...event.slice(1).map((value) => JSON.stringify(value))]);
        const said = [...stdout.matchAll(/: 4[23]0?(\[.*\])$/gm)].map(([, json]) => JSON.parse(json));
        assert.deepEqual(said, heard);
    }
});
