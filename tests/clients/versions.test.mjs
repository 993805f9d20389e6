/*
 * What is particular to each stock client, and what all of them do when they reach the gateway
 * directly (stock.mjs).
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { instance, misSign, next, within } from '../lib.mjs';
import { ask, connect as connectTo, converses, open as openTo, python, rules as common, suite, transports, versions } from './stock.mjs';

const rules = `${common}
namespace "/other" {
    authenticate required
    on "who" { ack $user, $auth }
}
namespace "/open" { authenticate none; on "auth" { ack $auth } }`;
const open = (t, sp, version, token, options) => openTo(t, sp.url, version, token, options);
const connect = (t, sp, version, options) => connectTo(t, sp.url, version, sp.token(), options);

suite('directly', async (t) => {
    const sp = await instance(t, { rules, login: false,
        settings: { 'gateway.workers': 4, 'gateway.limits.per_user': 0, 'gateway.limits.per_address': 0 } });
    return { sp, sites: [{ name: '', url: sp.url, token: sp.token() }],
        whileDown: () => assert.rejects(fetch(sp.url)) };
});

for (const version of Object.keys(versions)) {
    test(`client ${version} uses base64 where it is told to`, async (t) => {
        const sp = await instance(t, { rules, login: false });
        for (const list of Object.values(transports))
            await converses(await connect(t, sp, version, { transports: list, forceBase64: true }), version);
    });

    test(`client ${version} stays through many heartbeats`, async (t) => {
        const sp = await instance(t, { rules, login: false,
            settings: { 'gateway.ping_interval': '40ms', 'gateway.ping_timeout': '2s' } });
        const sockets = await Promise.all(Object.values(transports).map((list) => connect(t, sp, version, { transports: list })));
        let lost = 0;

        for (const socket of sockets) socket.on('disconnect', () => { lost++; });
        await new Promise((resolve) => setTimeout(resolve, 500));
        for (const socket of sockets) assert.deepEqual(await ask(socket, 'echo', 1), [1]);
        assert.equal(lost, 0);
    });

    test(`client ${version} is refused in socketio-jwt's words`, async (t) => {
        const sp = await instance(t, { rules, login: false });
        const { isOld } = versions[version];
        for (const [token, code, message] of [[undefined, 'credentials_required', 'no token provided'],
            [misSign(sp.token()), 'invalid_token', 'invalid signature']]) {
            const socket = open(t, sp, version, token);
            const [error] = await next(socket, isOld ? 'error' : 'connect_error');
            const data = { message, code, type: 'UnauthorizedError' };
            assert.deepEqual(isOld ? error : error.data, data);
            if (!isOld) assert.equal(error.message, message);
        }
    });

    test(`client ${version} brings its token to a namespace`, async (t) => {
        const sp = await instance(t, { rules, login: false });
        const a = version === '1.7' ? 'b c&d=e' : 'b c&d=é'; /* 1.7 reads UTF-8 twice while it polls */
        const socket = await connect(t, sp, version, { namespace: '/other', query: { a } });
        assert.deepEqual(await ask(socket, 'who'), ['ann', { a }]);
        const guest = open(t, sp, version, undefined, { namespace: '/open', query: { token: 'mine' } });
        assert.deepEqual(await ask(guest, 'auth'), [{ token: 'mine' }]);
        const lost = open(t, sp, version, undefined, { namespace: '/nowhere' });
        const refused = within(new Promise((resolve) => {
            lost.on(versions[version].isOld ? 'error' : 'connect_error', (error) => {
                if ((error.message ?? error) === 'Invalid namespace') resolve();
            });
        }), 'the refusal');
        await refused;
    });
}

for (const version of ['3.1', '4.8'])
    test(`client ${version} hears why it is refused, also in the midst of its upgrade`, async (t) => {
        const sp = await instance(t, { rules, login: false, settings: { 'gateway.workers': 4 } });
        const token = misSign(sp.token());
        for (let i = 0; i < 10; i++)
            await Promise.all(Array.from({ length: 10 }, async () => {
                const socket = open(t, sp, version, token);
                assert.equal((await next(socket, 'connect_error'))[0].message, 'invalid signature');
                socket.disconnect();
            }));
    });

test('an Engine.IO 3 client that was refused keeps its transport, one of Engine.IO 4 does not', async (t) => {
    const sp = await instance(t, { rules, login: false });
    const old = open(t, sp, '2.5', undefined, { transports: ['websocket'] });
    await next(old, 'error');
    const other = old.io.socket('/other', { query: `token=${sp.token()}` });
    t.after(() => other.disconnect());
    assert.deepEqual(await ask(other, 'who'), ['ann', {}]);
});

test('python3-socketio is told why it is refused', async (t) => {
    const sp = await instance(t, { rules, login: false });
    const refused = python(t, { url: sp.url, token: misSign(sp.token()) }, 'websocket');
    await refused.logged(/^refused invalid signature invalid_token$/);
});

test('gateway.eio3 = false: old clients are told that their protocol is not served', async (t) => {
    const sp = await instance(t, { rules, login: false, settings: { 'gateway.eio3': false } });
    const answer = await fetch(`${sp.url}/socket.io/?EIO=3&transport=polling`);
    assert.equal(answer.status, 400);
    assert.deepEqual(await answer.json(), { code: 5, message: 'Unsupported protocol version' });
    await connect(t, sp, '4.8');
});

test('an old client\'s WebSocket is greeted as soon as a new one\'s', async (t) => {
    const sp = await instance(t, { rules, login: false });
    const took = { 2.5: [], 4.8: [] };
    for (let i = 0; i < 5; i++)
        for (const version of Object.keys(took)) {
            const began = Date.now();
            await connect(t, sp, version, { transports: ['websocket'] });
            took[version].push(Date.now() - began);
        }
    assert.ok(Math.min(...took[2.5]) < Math.min(...took[4.8]) + 300, `${JSON.stringify(took)} ms`);
});
