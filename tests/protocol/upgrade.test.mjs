/*
 * The way from long-polling to a WebSocket, and who is closed on it.  Between the probe's pong and the `5`
 * a client has stopped polling and does not yet listen to its WebSocket: what ends it then is told by the
 * WebSocket, after the `5`.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { instance, misSign, rawClient, until } from '../lib.mjs';
import { close, connect, frame } from './frames.mjs';
import { dial, polling } from './wire.mjs';

const rules = `namespace "/" { authenticate required; on "say" { ack $args } on "burst" { emit self "1"; emit self "2"; ack true } }
    namespace "/later" { authenticate later }`;

const start = (t, settings = {}) => instance(t, { rules, login: false, users: { ann: {} },
    settings: { 'gateway.metrics': true, ...settings } });
const poll = (sp, options) => polling(sp, { path: '/socket.io/', ...options });

async function metric(sp, name) {
    const text = await (await fetch(`${sp.url}/metrics`)).text();
    return Number(text.split('\n').find((line) => line.startsWith(`sallyport_${name} `)).split(' ')[1]);
}

/* Its WebSocket, on which the probe has been answered. */
async function probed(t, session) {
    const raw = rawClient(session.webSocket);
    t.after(() => raw.ws.terminate());
    assert.equal(await raw.status(), 101);
    raw.send('2probe');
    assert.equal(await raw.receive(), '3probe');
    return raw;
}

/* Connected to the default namespace; of Engine.IO 3 it is, by the token of the handshake. */
async function member(sp, eio, token) {
    const session = await poll(sp, { eio, query: eio === 3 ? `&token=${token}` : '' });
    if (eio === 4) await session.post(`40${JSON.stringify({ token })}`);
    assert.match((await session.get()).body.toString(), /^(40\{|2:40$)/);
    return session;
}

/* What the WebSocket says from here on, and the code it closes with. */
async function lastWords(raw) {
    const words = [];
    for (let word = await raw.receive(); word !== null; word = await raw.receive()) words.push(word);
    return [words, (await raw.closed()).code];
}

const closing = (sp) => until(async () => await metric(sp, 'sessions{state="closing"}') === 1, 'the session to be closing');

const ends = {
    'its token expires': [1008, { 'gateway.expiry_notice': '0s' }, closing, '2s'],
    'its user is disabled': [1008, {}, async (sp) => { sp.cli('user', 'disable', 'ann'); await closing(sp); }],
    'the gateway stops': [1001, {}, async (sp) => {
        sp.gateway.child.kill('SIGTERM');
        await sp.gateway.logged(/stopping/);
    }],
    'the gateway stops bit by bit': [1001, { 'gateway.shutdown_spread': '300ms' }, async (sp) => {
        sp.gateway.child.kill('SIGTERM');
        await sp.gateway.logged(/stopping/);
        await new Promise((resolve) => setTimeout(resolve, 500)); /* it is due, and stays the head of nothing */
    }],
};
for (const eio of [4, 3])
    for (const [name, [code, settings, end, lifetime]] of Object.entries(ends))
        test(`Engine.IO ${eio}: between the probe and the upgrade ${name}: the client hears it`, async (t) => {
            const sp = await start(t, { 'gateway.workers': 4, ...settings });
            const session = await member(sp, eio, sp.token('ann', { lifetime }));
            const raw = await probed(t, session);
            await session.post(session.packet('421["burst"]'));
            await end(sp);
            raw.send('5');
            assert.deepEqual(await lastWords(raw), [['42["1"]', '42["2"]', '431[true]'], code]);
            if (code === 1001) await sp.gateway.stop();
        });

for (const workers of [1, 4]) {
    test(`${workers} workers: refused between the probe and the upgrade, a client still hears why`, async (t) => {
        const sp = await start(t, { 'gateway.workers': workers });
        const refusal = `40${JSON.stringify({ token: misSign(sp.token()) })}`;
        for (const order of ['by the WebSocket', 'by a GET in flight', 'by a GET after it']) {
            const session = await poll(sp);
            const waiting = order === 'by a GET in flight' ? session.get() : undefined;
            const raw = await probed(t, session);
            if (waiting) assert.equal((await waiting).body.toString(), '6');
            assert.equal((await session.post(refusal)).status, 200);
            if (order === 'by a GET after it') {
                assert.match((await session.get()).body.toString(), /^44\{.*invalid signature/);
                assert.equal((await session.get()).body.toString(), '6', 'which does not end it');
            }
            raw.send('5');
            const [words, code] = await lastWords(raw);
            if (order !== 'by a GET after it') assert.match(words.shift(), /^44\{.*invalid signature/, order);
            assert.deepEqual([words, code], [[], 1008], order);
        }
    });

    test(`${workers} workers: closed between the probe and an upgrade that fails, it is told as one that polls`, async (t) => {
        const sp = await start(t, { 'gateway.workers': workers, 'gateway.upgrade_timeout': '300ms' });
        const refusal = `40${JSON.stringify({ token: misSign(sp.token()) })}`;
        for (const fails of [(raw) => raw.ws.terminate(), (raw) => raw.ws.close(), (raw) => raw.send('4x'), () => {}]) {
            const session = await poll(sp);
            const raw = await probed(t, session);
            await session.post(refusal);
            fails(raw);
            await raw.closed();
            await until(async () => await metric(sp, 'sessions{state="closing"}') === 1, 'it to wait for its GET');
            assert.match((await session.get()).body.toString(), /^44\{.*invalid signature/);
            assert.match((await session.get()).body.toString(), /^1|unknown/);
        }
        await until(async () => await metric(sp, 'sessions{state="closing"}') === 0, 'nothing to be left');
    });
}

test('a client that never sends its `5` is let go after close_timeout', async (t) => {
    const sp = await start(t, { 'gateway.close_timeout': '300ms' });
    const session = await member(sp, 4, sp.token());
    const raw = await probed(t, session);
    sp.cli('user', 'disable', 'ann');
    await raw.closed();
    assert.equal((await session.get()).status, 400);
});

/* ---- hostile ---- */

const path = (session) => new URL(session.webSocket).pathname + new URL(session.webSocket).search;

for (const workers of [1, 4]) {
    test(`${workers} workers: a WebSocket that does not become the transport is told so by its close code, and the session polls on`, async (t) => {
        const sp = await start(t, { 'gateway.workers': workers, 'gateway.upgrade_timeout': '200ms' });
        const session = await poll(sp);
        for (const [code, ...frames] of [[1002, frame(1, 'hello')], [1002, frame(1, '5')], [1002, frame(2, '2probe')], [1008],
            [1002, frame(1, '2probe'), frame(1, '4x')], [1008, frame(1, '2probe')], [1007, frame(1, Buffer.from([0xff]))],
            [1002, frame(3, '')], [1002, frame(1, '2probe', { mask: false })], [1009, frame(1, 'x', { length: 2_000_000 })],
            [1000, close(1000)], [4000, frame(1, '2probe'), close(4000)]]) {
            const raw = await connect(t, sp.port, path(session));
            raw.send(...frames);
            assert.equal(await raw.closeCode(), code, frames.join());
        }
        await session.post(`40${JSON.stringify({ token: sp.token() })}`);
        assert.match((await session.get()).body.toString(), /^40\{/);
    });

    test(`${workers} workers: of many WebSockets at once one becomes the transport, however slowly it probes`, async (t) => {
        const sp = await start(t, { 'gateway.workers': workers });
        const session = await member(sp, 4, sp.token());
        const crowd = Array.from({ length: 20 }, () => rawClient(session.webSocket));
        t.after(() => crowd.forEach(({ ws }) => ws.terminate()));
        const answers = await Promise.all(crowd.map((raw) => raw.status()));
        assert.deepEqual([...answers].sort(), [101, ...Array(19).fill(400)]);
        crowd[answers.indexOf(101)].ws.terminate();

        const raw = await until(async () => {
            const next = await connect(t, sp.port, path(session));
            return /^HTTP\/1.1 101 /.test(next.head) && next;
        }, 'the way to be free again');
        for (let i = 0; i < 300; i++) raw.send(frame(9, 'x'));
        await raw.trickle(Buffer.concat([...'2probe'].map((byte, i) => frame(i ? 0 : 1, byte, { fin: i === 5 }))));
        const texts = async () => { for (;;) { const got = await raw.receive(); if (got.opcode === 1) return got.payload.toString(); } };
        assert.equal(await texts(), '3probe');
        await raw.trickle(Buffer.concat([frame(1, '', { fin: false }), frame(9, 'x'), frame(0, '5'), frame(1, '421["say",1]')]));
        assert.equal(await texts(), '431[1]');
        raw.send(frame(1, '5'));
        assert.equal(await raw.closeCode(), 1002);
    });

    test(`${workers} workers: what stands behind the request is read as if it came later`, async (t) => {
        const sp = await start(t, { 'gateway.workers': workers });
        const session = await member(sp, 4, sp.token());
        const wire = dial(t, sp);
        await wire.send(`GET ${path(session)} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n`
            + 'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n'
            + Buffer.concat([frame(1, '2probe'), frame(1, '5'), frame(1, '421["say",1]'), frame(1, '422["say",2]')]).toString('latin1'));
        assert.match(await wire.said(/432/), /^HTTP\/1\.1 101 [^]*\r\n\r\n\x81\x063probe\x81\x06431\[1\]\x81\x06432/);
    });
}
