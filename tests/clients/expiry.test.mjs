/* No socket outlives its token; a fresh one in time extends it in place. */
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import test from 'node:test';
import { forge, instance, next, payload, signingKey, until, within } from '../lib.mjs';

const require = createRequire(import.meta.url);

const rules = `namespace "/" {
    authenticate required
    on "call me" { set name $1; join "named"; ack true }
    on "who" { require in "named"; ack $name }
}
namespace "/other" { authenticate required; on "who" { ack $user } }`;
const started = (t, settings = {}) => instance(t, { rules, login: false, users: { ann: {}, bob: {} },
    settings: { 'gateway.workers': 2, ...settings } });
const seconds = (since) => (Date.now() - since) / 1000;

for (const transport of ['websocket', 'polling']) {
    test(`the transport ends with the token: ${transport}`, async (t) => {
        const sp = await started(t);
        const token = sp.token('ann', { lifetime: '3s' });
        const { exp } = JSON.parse(Buffer.from(token.split('.')[1], 'base64url'));
        const socket = await sp.connected({ token, transports: [transport] });
        const [why] = await next(socket, 'disconnect');

        assert.equal(why, 'transport close', 'so that the client comes back by itself');
        assert.ok(seconds(exp * 1000) >= 0 && seconds(exp * 1000) < 1, `${seconds(exp * 1000)} s after exp`);
    });
}

test('the grace is waited for', async (t) => {
    const sp = await started(t, { 'gateway.expiry_grace': '2s' });
    const token = sp.token('ann', { lifetime: '3s' });
    const { exp } = JSON.parse(Buffer.from(token.split('.')[1], 'base64url'));
    const socket = await sp.connected({ token });

    await next(socket, 'disconnect');
    assert.ok(seconds(exp * 1000) >= 2 && seconds(exp * 1000) < 3);
});

test('the client is told in time, and renews in place: rooms and variables stay', async (t) => {
    const sp = await started(t, { 'gateway.expiry_notice': '2s' });
    const socket = await sp.connected({ query: { token: sp.token('ann', { lifetime: '4s' }) } });
    const id = socket.id;

    await socket.emitWithAck('call me', 'queen');
    const [left] = await next(socket, 'token expiring');
    assert.ok(left >= 1 && left <= 2, `${left} s are left`);
    const authenticated = next(socket, 'authenticated');
    assert.equal(await socket.emitWithAck('authenticate', { token: sp.token('ann', { lifetime: '8s' }) }), undefined);
    await authenticated;
    await next(socket, 'token expiring'); /* of the fresh one: the old one's end has passed */
    assert.equal(socket.id, id);
    assert.equal(await socket.emitWithAck('who'), 'queen');

    const other = socket.io.socket('/other');
    await within(new Promise((resolve, reject) => other.once('connect', resolve).once('connect_error', reject)),
        'another namespace by the fresh token');
});

test("another user's token renews nothing", async (t) => {
    const sp = await started(t);
    const socket = await sp.connected({ token: sp.token('ann') });
    const unauthorized = next(socket, 'unauthorized');

    socket.emit('authenticate', { token: sp.token('bob') });
    const [reason] = await unauthorized;
    assert.match(reason.message, /another user/);
});

test('no notice is given where none is wanted', async (t) => {
    const sp = await started(t, { 'gateway.expiry_notice': '0s' });
    const socket = await sp.connected({ token: sp.token('ann', { lifetime: '3s' }) });
    let told = false;

    socket.on('token expiring', () => { told = true; });
    await next(socket, 'disconnect');
    assert.equal(told, false);
});

/* ---- pages of today and of then ---- */

/* A page: it fetches a token whenever its client connects, and comes back by itself. */
const pages = {
    '4.8': (sp, fetch, options) => require('socket.io-client').io(sp.url, { ...options, auth: (send) => send({ token: fetch() }) }),
    '2.5': (sp, fetch, options) => {
        const socket = require('socket.io-client-2')(sp.url, { ...options, query: { token: fetch() } });
        socket.on('reconnect_attempt', () => { socket.io.opts.query = { token: fetch() }; });
        return socket;
    },
};
const meeting = `namespace "/" {
    authenticate required
    when connection { join "hall"; emit self "welcome" $id }
    on "enter" { join "back room"; set where "back room"; ack true }
    on "where" { require in "back room"; ack $where }
    on "say" { emit in "hall" "said" $1 }
}`;

/* One life of such a page: its token ends, it comes back with another. */
async function liveTwice(t, sp, page, transport) {
    const lifetimes = ['3s'];
    const fetch = () => sp.token('ann', { lifetime: lifetimes.shift() });
    const socket = page(sp, fetch, { forceNew: true, transports: [transport], reconnectionDelay: 20, reconnectionDelayMax: 50 });
    const ask = (...event) => within(new Promise((resolve) => socket.emit(...event, resolve)), 'an answer');
    const welcomes = [], said = [];
    t.after(() => socket.disconnect());
    socket.on('welcome', (id) => welcomes.push(id)).on('said', (what) => said.push(what));
    await next(socket, 'welcome');
    assert.equal(await ask('enter'), true);
    assert.equal((await next(socket, 'disconnect'))[0], 'transport close');
    await next(socket, 'welcome');
    assert.equal(new Set(welcomes).size, 2);
    assert.deepEqual(await ask('where'), { error: 'denied' }, 'what the old socket had joined is left');
    socket.emit('say', welcomes[1]);
    await until(() => said.includes(welcomes[1]), 'what `connection` joins to be joined anew');
}

test('a page comes back with a fresh token, as after a fresh connect: clients 2.5 and 4.8', async (t) => {
    const sp = await instance(t, { rules: meeting, login: false, settings: { 'gateway.workers': 2 } });
    await Promise.all(Object.values(pages).flatMap((page) => ['websocket', 'polling'].map((transport) => liveTwice(t, sp, page, transport))));
});

test('a page that shows its old token again is told, and may then show a fresh one', async (t) => {
    const sp = await instance(t, { rules: meeting, login: false });
    const key = signingKey(sp.dir), good = payload(sp.token());
    const old = forge(key, { ...good, exp: Math.floor(Date.now() / 1000) + 4 }); /* signed here: no program has to start within these seconds */
    const socket = sp.client({ token: old, reconnection: true, reconnectionDelay: 20 });
    await next(socket, 'welcome');
    const [error] = await next(socket, 'connect_error');
    assert.equal(error.data.message, 'jwt expired');
    assert.equal(socket.active, false);
    socket.auth = { token: sp.token('ann') };
    socket.connect();
    await next(socket, 'welcome');
});

/* Events in a row, each with the speaker's number, while the listener renews its token twenty times. */
async function renewUnderWay(t, sp, page, transport, speaker) {
    const key = signingKey(sp.dir), good = payload(sp.token());
    const fresh = (n) => forge(key, { ...good, jti: `${speaker}-${n}` });
    const socket = page(sp, () => fresh('first'), { forceNew: true, transports: [transport], reconnection: false });
    const heard = [], ends = [], welcomes = [];
    let renewed = 0;
    t.after(() => socket.disconnect());
    socket.on('said', ([who, n]) => who === speaker && heard.push(n)).on('welcome', (id) => welcomes.push(id))
        .on('authenticated', () => renewed++).on('disconnect', (why) => ends.push(why));
    await next(socket, 'welcome');
    const other = await sp.connected({ token: fresh('other') });
    socket.emit('enter');
    for (let i = 0; i < 400; i++) {
        other.emit('say', [speaker, i]);
        if (i % 20 === 10) socket.emit('authenticate', { token: fresh(i) });
        if (i % 10 === 0) await new Promise((resolve) => setTimeout(resolve, 2));
    }
    await until(() => heard.length === 400 && renewed === 20, 'all events and renewals');
    assert.deepEqual(heard, heard.map((_, n) => n));
    assert.equal(await within(new Promise((resolve) => socket.emit('where', resolve)), 'an answer'), 'back room', 'room and variable stay');
    assert.deepEqual([ends, welcomes.length], [[], 1]);
}

test('renewal in place loses no event: clients 2.5 and 4.8', async (t) => {
    const sp = await instance(t, { rules: meeting, login: false,
        settings: { 'gateway.workers': 2, 'gateway.limits.events_per_second': 0 } });
    await Promise.all(Object.values(pages).flatMap((page, n) => ['websocket', 'polling'].map((transport, m) =>
        renewUnderWay(t, sp, page, transport, 2 * n + m))));
});
