/* Those who connect first and show their token then, as with socketio-jwt. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { instance, misSign, next, until } from '../lib.mjs';

const page = (mode) => `namespace "/" {
    authenticate ${mode}
    when connection { set seen "connected"; join "hall"; emit self "welcome" $id; emit others "new" $id }
    ${mode === 'optional' || mode === 'later' ? 'when authenticated { emit self "known" $user, $claims.role; emit others "user" $user }' : ''}
    on "say"  { emit in "hall" }
    on "set"  { set kept $1; join "room:$1" }
    on "get"  { require in "room:$1"; ack [$kept, $seen] }
    on "me"   { ack $user }
    on "to"   { emit in "user:$1" "direct" $2; ack $sent }
    on "id"   { emit in "id:$1" "direct" "hello"; ack $sent }
    when disconnect { emit all "left" $id }
}`;
const users = { ann: { claims: { role: 'admin' } }, bob: {} };
const sites = (mode, settings) => ({ rules: page(mode), users, login: false,
    settings: { 'gateway.workers': 4, 'gateway.authenticate_timeout': '20s', ...settings } });
/* A client that is connected and notes all it hears. */
async function listening(sp, options) {
    const client = sp.client(options);
    client.heard = [];
    client.onAny((...event) => client.heard.push(event));
    await next(client, 'connect');
    return client;
}
const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

test('later: connection waits for the token, and nothing comes or goes before it', async (t) => {
    const sp = await instance(t, sites('later'));
    const ann = await listening(sp, { token: sp.token('ann') }); /* who has one may bring it at once */
    assert.equal(await ann.emitWithAck('me'), 'ann');
    assert.deepEqual(ann.heard.map(([name]) => name), ['welcome']);

    const bob = await listening(sp);
    let answered = false;
    bob.emit('say', 'too early', () => { answered = true; });
    bob.emit('set', 1);
    assert.equal(await ann.emitWithAck('id', bob.id), 0);
    ann.emit('say', 'hello');
    await next(ann, 'say');
    assert.deepEqual(ann.heard.map(([name]) => name), ['welcome', 'say'], 'nobody has heard of bob');
    bob.emit('authenticate', { token: sp.token('bob') });
    await next(bob, 'welcome');
    assert.deepEqual(await bob.emitWithAck('get', 1), { error: 'denied' });
    assert.deepEqual(bob.heard.map(([name]) => name), ['authenticated', 'welcome']);
    assert.equal(answered, false);
});

test('later: what follows the token', async (t) => {
    const sp = await instance(t, sites('later'));
    const bob = await listening(sp, { token: sp.token('bob') });
    await bob.emitWithAck('me');
    const ann = await listening(sp);
    ann.emit('say', 'too early');
    ann.emit('authenticate', { token: sp.token('ann') });
    await next(ann, 'known');
    assert.deepEqual(ann.heard, [['authenticated'], ['welcome', ann.id], ['known', 'ann', 'admin']]);
    assert.deepEqual(await ann.emitWithAck('get', 1), { error: 'denied' });
    await until(() => bob.heard.length >= 3, 'bob to hear of it');
    assert.deepEqual(bob.heard, [['welcome', bob.id], ['new', ann.id], ['user', 'ann']]);
    assert.equal((await Promise.all([bob.emitWithAck('to', 'ann', 1), next(ann, 'direct')]))[0], 1);
    ann.disconnect();
    await until(() => bob.heard.length >= 4, 'bob to hear the end');
    assert.deepEqual(bob.heard[3][0], 'left');
});

test('later: no token in time is a disconnect, of which no rule says anything', async (t) => {
    const sp = await instance(t, sites('later', { 'gateway.authenticate_timeout': '1s' }));
    const bob = await listening(sp, { token: sp.token('bob') });
    const before = Date.now();
    const ann = await listening(sp);
    assert.deepEqual((await next(ann, 'disconnect'))[0], 'io server disconnect');
    assert.ok(Date.now() - before >= 990);
    assert.deepEqual(ann.heard, []);
    const gone = await sp.connected();
    gone.disconnect();
    await wait(100);
    assert.deepEqual(bob.heard, [['welcome', bob.id]]);
});

test('a bad token: `unauthorized` with an id, and the end when it is acknowledged', async (t) => {
    const sp = await instance(t, sites('later'));
    for (const [token, message, code] of [
        [misSign(sp.token('ann')), 'invalid signature', 'invalid_token'], ['a.b', 'jwt malformed', 'invalid_token'],
        [undefined, 'no token provided', 'credentials_required'], [7, 'jwt malformed', 'invalid_token']]) {
        const client = await sp.connected();
        const refused = next(client, 'unauthorized');
        client.emit('authenticate', { token });
        const [error, acknowledge] = await refused;
        assert.deepEqual(error, { message, inner: { message }, data: { message, code, type: 'UnauthorizedError' } });
        client.emit('authenticate', { token: sp.token('ann') }); /* too late */
        acknowledge();
        assert.deepEqual((await next(client, 'disconnect'))[0], 'io server disconnect');
    }
    for (const payload of [[], ['x'], [null], [[]], [{ token: {} }]]) {
        const client = await sp.connected();
        client.emit('authenticate', ...payload);
        (await next(client, 'unauthorized'))[1]();
        await next(client, 'disconnect');
    }
});

test('a bad token: the end also comes by itself', async (t) => {
    const sp = await instance(t, sites('optional', { 'gateway.authenticate_timeout': '400ms' }));
    const client = await listening(sp);
    client.emit('authenticate', { token: 'x' });
    await next(client, 'unauthorized');
    client.emit('say', 'still here?');
    assert.deepEqual((await next(client, 'disconnect'))[0], 'io server disconnect');
    assert.deepEqual(client.heard.map(([name]) => name), ['welcome', 'unauthorized']);
});

test('a guest who authenticates keeps socket, rooms and variables', async (t) => {
    const sp = await instance(t, sites('optional', { 'gateway.authenticate_timeout': '400ms' }));
    const guest = await listening(sp);
    const other = await listening(sp);
    const { id } = guest;
    await guest.emitWithAck('set', 7);
    assert.deepEqual(await guest.emitWithAck('me'), { error: 'bad argument' });
    await guest.emitWithAck('authenticate', { token: sp.token('ann') });
    assert.equal(await guest.emitWithAck('me'), 'ann');
    assert.deepEqual(await guest.emitWithAck('get', 7), [7, 'connected']);
    assert.equal(guest.id, id);
    assert.deepEqual(guest.heard.filter(([name]) => name !== 'new'),
        [['welcome', id], ['authenticated'], ['known', 'ann', 'admin']]);
    assert.equal(await other.emitWithAck('to', 'ann', 'x'), 1);
    await wait(600);
    assert.equal(await guest.emitWithAck('me'), 'ann', 'no deadline is left');

    /* A fresh token of the same user is taken, another's is not. */
    await guest.emitWithAck('authenticate', { token: sp.token('ann') });
    assert.equal(guest.heard.filter(([name]) => name === 'known').length, 1, 'known already');
    guest.emit('authenticate', { token: sp.token('bob') });
    const [error, acknowledge] = await next(guest, 'unauthorized');
    assert.equal(error.message, "the token is another user's");
    acknowledge();
    await next(guest, 'disconnect');
    assert.equal(await other.emitWithAck('to', 'ann', 'x'), 0);
});

test('limits and `deny` hold for the second step too', async (t) => {
    const rules = page('later').replace('set seen', 'require claim role "admin"; set seen')
        .replace('on "say"', 'when connection { deny "admins only" }\n on "say"');
    const sp = await instance(t, { ...sites('later', { 'gateway.limits.per_user': 1 }), rules });
    for (const [name, message] of [['bob', 'admins only'], ['ann', null], ['ann', 'too many connections of this user']]) {
        const client = await sp.connected();
        client.emit('authenticate', { token: sp.token(name) });
        if (message) assert.equal((await next(client, 'unauthorized'))[0].message, message);
        else await next(client, 'authenticated');
    }
});

test('where nobody shows a token the event is nobody\'s', async (t) => {
    const sp = await instance(t, { ...sites('none'), rules: 'namespace "/" { authenticate none; on "x" { ack 1 } }' });
    const client = await sp.connected();
    assert.deepEqual(await client.emitWithAck('authenticate', { token: 'x' }), { error: 'no rule' });
});

test('required: a fresh token is taken in place', async (t) => {
    const sp = await instance(t, sites('required'));
    const client = await listening(sp, { token: sp.token('ann') });
    await client.emitWithAck('authenticate', { token: sp.token('ann') });
    assert.deepEqual(client.heard.map(([name]) => name), ['welcome', 'authenticated']);
});
