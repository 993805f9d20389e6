/* What the rules say happens, between real clients spread over four workers. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import test from 'node:test';
import { instance, next, rules as shipped, until } from '../lib.mjs';

const rules = `
namespace "/" {
    authenticate required
    when connection  { emit self "hello" $user
                       emit others "came" $user }
    when disconnect  { emit others "went" $user, $reason }
    on "sync"   { ack true }
    on "echo"   { ack $args }
    on "silent" { set seen $1 }
    on "self"   { emit self }
    on "others" { emit others }
    on "all"    { emit all }
    on "join"   { join "room:$1"
                  ack $count("room:$1") }
    on "leave"  { leave "room:$1" }
    on "to"     { emit to "room:$1" "to" $2 }
    on "in"     { emit in "room:$1" "in" $2
                  ack $sent }
    on "direct" { emit in "user:$1" "direct" {"from": $user, "text": $2}
                  ack {"sent": $sent} }
    on "id"     { emit in "id:$1" "id" $id }
    on "member" { require in "room:$1"
                  ack true }
    on "bye"    { disconnect }
}
namespace "/other" {
    authenticate required
    on "all" { emit all }
    on "sync" { ack true }
}
`;
const users = { ann: {}, bob: {} };

/* Clients that keep all they receive in `got`; even ones are ann's, odd ones bob's. */
async function crowd(sp, n, options = {}) {
    const tokens = [sp.token('ann'), sp.token('bob')];
    const clients = [];
    for (let i = 0; i < n; i++) {
        const client = sp.client({ token: tokens[i % 2], ...options });
        client.got = [];
        client.onAny((...event) => client.got.push(event));
        clients.push(client);
    }
    await Promise.all(clients.map((client) => next(client, 'connect')));
    await settle(clients);
    for (const client of clients) client.got = [];
    return clients;
}

/* Whatever was sent before this is in `got` afterwards: events and answers of a client keep order. */
async function settle(clients) {
    await Promise.all(clients.map((client) => client.timeout(10_000).emitWithAck('sync')));
}

async function everyoneHas(clients, expected) {
    await settle(clients);
    clients.forEach((client, i) => assert.deepEqual(client.got, expected(i), `client ${i}`));
    for (const client of clients) client.got = [];
}

test('each target reaches exactly those it names, on every worker', async (t) => {
    const sp = await instance(t, { rules, users, login: false, settings: { 'gateway.workers': 4 } });
    const clients = await crowd(sp, 16);
    const [first, second] = clients;
    const outsider = (await crowd(sp, 1, { namespace: '/other' }))[0];
    const value = [{ deep: ['ä', 1.5e3, null, '\u{1f6aa}'] }, 9007199254740993n.toString()];

    first.emit('self', ...value);
    await settle([first]);
    await everyoneHas(clients, (i) => (i === 0 ? [['self', ...value]] : []));
    first.emit('others', ...value);
    await settle([first]);
    await everyoneHas(clients, (i) => (i === 0 ? [] : [['others', ...value]]));
    second.emit('all', ...value);
    await settle([second]);
    await everyoneHas(clients, () => [['all', ...value]]);

    const members = clients.filter((_, i) => i % 3 === 0);
    for (const [n, member] of members.entries()) assert.equal(await member.emitWithAck('join', 'blue'), n + 1);
    first.emit('to', 'blue', 'x');
    await settle([first]);
    await everyoneHas(clients, (i) => (i % 3 === 0 && i > 0 ? [['to', 'x']] : []));
    assert.equal(await first.emitWithAck('in', 'blue', 'y'), members.length);
    await everyoneHas(clients, (i) => (i % 3 === 0 ? [['in', 'y']] : []));
    assert.equal(await second.emitWithAck('in', 'blue', 'from outside'), members.length);
    await everyoneHas(clients, (i) => (i % 3 === 0 ? [['in', 'from outside']] : []));
    assert.equal(await second.emitWithAck('in', 'nowhere', 'z'), 0);
    assert.deepEqual(await new Promise((resolve) => first.emit('leave', 'blue', (...args) => resolve(args))), []);
    assert.equal(await second.emitWithAck('in', 'blue', 'w'), members.length - 1);
    await everyoneHas(clients, (i) => (i % 3 === 0 && i > 0 ? [['in', 'w']] : []));

    assert.deepEqual(await first.emitWithAck('direct', 'bob', 'psst'), { sent: 8 });
    await everyoneHas(clients, (i) => (i % 2 ? [['direct', { from: 'ann', text: 'psst' }]] : []));
    first.emit('id', clients[7].id);
    await settle([first]);
    await everyoneHas(clients, (i) => (i === 7 ? [['id', first.id]] : []));

    await settle([outsider]);
    assert.deepEqual(outsider.got, [], 'another namespace has other rooms');
});

test('an event that wants an answer gets exactly one', async (t) => {
    const sp = await instance(t, { rules, users, login: false });
    const client = await sp.connected({ token: sp.token() });
    const answers = [];
    const ask = (...event) => new Promise((resolve) => client.emit(...event, (...args) => {
        answers.push(event[0]);
        resolve(args);
    }));

    assert.deepEqual(await ask('echo', 'a', { b: [1, 2] }, null), ['a', { b: [1, 2] }, null]);
    assert.deepEqual(await ask('silent', 1), []);
    assert.deepEqual(await ask('silent'), [{ error: 'bad argument' }]);
    assert.deepEqual(await ask('member', 'blue'), [{ error: 'denied' }]);
    assert.deepEqual(await ask('unheard of'), [{ error: 'no rule' }]);
    assert.deepEqual(await ask('connection'), [{ error: 'no rule' }], 'a moment is no event');
    await settle([client]);
    assert.deepEqual(answers, ['echo', 'silent', 'silent', 'member', 'unheard of', 'connection']);
});

test('when connection and when disconnect speak, and say why', async (t) => {
    const sp = await instance(t, { rules, users, login: false, settings: { 'gateway.workers': 4 } });
    const [watcher] = await crowd(sp, 1);

    const has = (n) => until(() => watcher.got.length >= n, `${n} events`);

    const leaver = sp.client({ token: sp.token('bob') });
    assert.deepEqual(await next(leaver, 'hello'), ['bob']);
    await has(1);
    leaver.disconnect();
    await has(2);
    const cut = await sp.connected({ token: sp.token('bob') });
    await has(3);
    cut.io.engine.transport.ws.terminate();
    await has(4);
    const sent = await sp.connected({ token: sp.token('bob') });
    await has(5);
    sent.emit('bye');
    assert.equal((await next(sent, 'disconnect'))[0], 'io server disconnect');
    await has(6);

    assert.deepEqual(watcher.got.map(([event, user]) => [event, user]),
        [['came', 'bob'], ['went', 'bob'], ['came', 'bob'], ['went', 'bob'], ['came', 'bob'], ['went', 'bob']]);
    assert.equal(watcher.got[1][2], 'client namespace disconnect');
    assert.match(watcher.got[3][2], /^transport (close|error)$/);
    assert.equal(watcher.got[5][2], 'server namespace disconnect');
});

test('at disconnecting neither rooms nor variables are gone, at disconnect the rooms are', async (t) => {
    const sp = await instance(t, { users, login: false, rules: `namespace "/" {
        on "enter" { join "hall"; set name $1; ack true }
        when disconnecting { require in "hall"; emit in "hall" "going" $name, $count("hall"), $members("hall") }
        when disconnect { emit in "hall" "gone" $name, $count("hall"), $members("hall") }
    }` });
    const [watcher] = await Promise.all([sp.connected({ token: sp.token('ann') })]);
    const leaver = await sp.connected({ token: sp.token('bob') });
    for (const [client, name] of [[watcher, 'w'], [leaver, { deep: 1 }]]) await client.emitWithAck('enter', name);
    const gone = next(watcher, 'gone');
    leaver.disconnect();
    assert.deepEqual(await next(watcher, 'going'), [{ deep: 1 }, 2, ['ann', 'bob']]);
    assert.deepEqual(await gone, [{ deep: 1 }, 1, ['ann']]);
});

/* What JSON.parse takes and other parsers refuse is not lost, and a token is not let through under another spelling. */
test('$auth is what CONNECT brought, but for the token, also under new rules', async (t) => {
    const page = (more) => `namespace "/" { authenticate optional; on "auth" { ack $auth, $auth.a.b${more} } on "sync" { ack true } }
        namespace "/open" { authenticate none; on "auth" { ack $auth, $auth.token } }`;
    const sp = await instance(t, { users, login: false, rules: page('') });
    const raw = sp.raw();
    const token = sp.token();
    const ask = async (space = '') => {
        raw.send(`42${space}0["auth"]`);
        return raw.receive();
    };
    await raw.receive();
    raw.send(`40{"token": "x", "a": {"b":[1 ,{"token":2}]}, "\\u0074oken":"${token}", "n":12345678901234567890, "s" : "\\ud800"}`);
    assert.match(await raw.receive(), /^40/);
    const auth = '{"a":{"b":[1 ,{"token":2}]},"n":12345678901234567890,"s":"\\ud800"}';
    assert.equal(await ask(), `430[${auth},[1 ,{"token":2}]]`);
    raw.send('40/open,{"token":"mine"}');
    assert.match(await raw.receive(), /^40/);
    assert.equal(await ask('/open,'), '43/open,0[{"token":"mine"},"mine"]');

    const from = sp.gateway.lines.length;
    fs.writeFileSync(`${sp.dir}/relay.rules`, page(', $auth.n, "<$auth.n>"'));
    process.kill(sp.gateway.pid, 'SIGHUP');
    await sp.gateway.logged(/read anew/, { from });
    assert.equal(await ask(), `430[${auth},[1 ,{"token":2}],12345678901234567890,"<12345678901234567890>"]`);
    const bare = await sp.connected();
    assert.deepEqual(await bare.emitWithAck('auth'), { error: 'bad argument' });
});

test('one connection carries several namespaces, and an unknown one is refused alone', async (t) => {
    const sp = await instance(t, { rules, users, login: false });
    const token = sp.token();
    const main = await sp.connected({ token });
    const other = main.io.socket('/other', { auth: { token } });
    await next(other, 'connect');
    const [error] = await next(main.io.socket('/nowhere', { auth: { token } }), 'connect_error');
    assert.equal(error.message, 'Invalid namespace');
    other.emit('all', 'here');
    assert.deepEqual(await next(other, 'all'), ['here']);
    other.disconnect();
    assert.equal(await main.emitWithAck('sync'), true, 'the first is untouched');
    assert.equal(main.connected, true);
});

test('the chat of the examples counts its people', async (t) => {
    const sp = await instance(t, { rules: fs.readFileSync(shipped.chat, 'utf8'), users, login: false,
        settings: { 'gateway.workers': 4 } });
    const ann = await sp.connected({ token: sp.token('ann') });
    const bob = await sp.connected({ token: sp.token('bob') });

    ann.emit('add user', 'ann');
    assert.deepEqual(await next(ann, 'login'), [{ numUsers: 1 }]);
    const joined = next(ann, 'user joined');
    bob.emit('add user', 'bob');
    assert.deepEqual(await next(bob, 'login'), [{ numUsers: 2 }]);
    assert.deepEqual(await joined, [{ username: 'bob', numUsers: 2 }]);

    const typing = next(bob, 'typing');
    ann.emit('typing');
    assert.deepEqual(await typing, [{ username: 'ann' }]);
    const stopped = next(bob, 'stop typing');
    ann.emit('stop typing');
    assert.deepEqual(await stopped, [{ username: 'ann' }]);
    const heard = next(bob, 'new message');
    assert.deepEqual(await new Promise((resolve) => ann.emit('new message', 'hello', (...args) => resolve(args))), []);
    assert.deepEqual(await heard, [{ username: 'ann', message: 'hello' }]);

    const left = next(ann, 'user left');
    bob.disconnect();
    assert.deepEqual(await left, [{ username: 'bob', numUsers: 1 }]);
});
