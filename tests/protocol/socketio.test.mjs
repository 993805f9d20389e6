/*
 * Socket.IO 5 packet by packet, on the gateway under suite.rules: what the public test suite demands,
 * and then what goes wrong.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { instance, rawClient, tree, until } from '../lib.mjs';
import { connect, frame } from './frames.mjs';
import { ask, code, polling } from './wire.mjs';

const text = fs.readFileSync(path.join(tree, 'tests/protocol/suite.rules'), 'utf8');
const start = (t, settings = {}, rules = text) => instance(t, { login: false, rules,
    settings: { 'gateway.limits.per_address': 0, ...settings } });
const poll = (sp, options) => polling(sp, { path: '/socket.io/', ...options });

/* Opened, the Engine.IO handshake read. */
async function opened(sp) {
    const raw = sp.raw();
    assert.match(await raw.receive(), /^0\{/);
    return raw;
}

async function receives(raw, ...expected) {
    for (const packet of expected) {
        const got = await raw.receive();
        if (packet instanceof RegExp) assert.match(got, packet);
        else assert.deepEqual(got, packet);
    }
}

/* In the default namespace. */
async function connected(sp) {
    const raw = await opened(sp);
    raw.send('40');
    await receives(raw, /^40\{"sid":"[^"]+"\}$/, '42["auth",{}]');
    return raw;
}

const bytes = (...list) => Buffer.from(list);
const placeholder = (num) => `{"_placeholder":true,"num":${num}}`;

/* ---- Engine.IO below it ---- */

test('sessions open, heartbeat, close and upgrade under Socket.IO as under an echo', async (t) => {
    const sp = await start(t, { 'gateway.workers': 1, 'gateway.ping_interval': '500ms', 'gateway.ping_timeout': '15s' });
    const session = await poll(sp);
    for (let i = 0; i < 3; i++) {
        assert.equal((await session.get()).body.toString(), '2');
        assert.equal((await session.post('3')).status, 200);
    }
    assert.equal((await session.post('1')).status, 200);
    let last;
    do last = (await session.get()).body.toString(); while (last === '2'); /* one more may have been due */
    assert.match(last, /^(2\x1e)?6$/);
    assert.equal(code(await session.get()), 1);

    const other = await poll(sp);
    const raw = rawClient(other.webSocket);
    t.after(() => raw.ws.terminate());
    assert.equal(await raw.status(), 101);
    raw.send('2probe');
    await receives(raw, '3probe');
    raw.send('5');
    assert.equal((await other.get()).status, 400);
    const late = rawClient(other.webSocket);
    t.after(() => late.ws.terminate());
    await late.closed();
    await receives(raw, '2');
});

test('handshakes that are none are refused', async (t) => {
    const sp = await start(t);
    for (const query of ['transport=polling', 'EIO=abc&transport=polling', 'EIO=4', 'EIO=4&transport=abc']) {
        assert.equal((await ask(`${sp.url}/socket.io/?${query}`)).status, 400);
        const raw = rawClient(`${sp.url.replace('http', 'ws')}/socket.io/?${query.replace('polling', 'websocket')}`);
        assert.equal(await raw.status(), 400);
    }
    for (const method of ['POST', 'PUT'])
        assert.equal((await ask(`${sp.url}/socket.io/?EIO=4&transport=polling`, { method })).status, 400);
});

/* ---- namespaces ---- */

test('CONNECT to the default namespace and to another, with a payload and without', async (t) => {
    const sp = await start(t);
    for (const [packet, space, auth] of [['40', '', '{}'], ['40{"token":"123"}', '', '{"token":"123"}'],
        ['40/,', '', '{}'], ['40/,{"a":1}', '', '{"a":1}'], ['40/custom', '/custom,', '{}'], ['40/custom,', '/custom,', '{}'],
        ['40/custom,{"token":"abc"}', '/custom,', '{"token":"abc"}']]) {
        const raw = await opened(sp);
        raw.send(packet);
        await receives(raw, new RegExp(`^40${space}\\{"sid":"[^"]+"\\}$`), `42${space}["auth",${auth}]`);
    }
});

test('an unknown namespace is refused, and the session goes on', async (t) => {
    const sp = await start(t);
    const raw = await opened(sp);
    for (const packet of ['40/random', '40/random,', '40/random,{"a":1}']) {
        raw.send(packet);
        await receives(raw, '44/random,{"message":"Invalid namespace"}');
    }
    raw.send('40/customs');
    await receives(raw, '44/customs,{"message":"Invalid namespace"}');
    raw.send('40');
    await receives(raw, /^40\{/);
});

test('a session that joins no namespace in time is closed, on both transports', async (t) => {
    const sp = await start(t, { 'gateway.connect_timeout': '100ms' });
    const raw = await opened(sp);
    await raw.closed();
    const session = await poll(sp);
    await until(async () => (await session.post('6')).status === 400, 'the end');
});

test('DISCONNECT leaves one namespace and not the other', async (t) => {
    const sp = await start(t);
    const raw = await connected(sp);
    raw.send('40/custom');
    await receives(raw, /^40\/custom,/, '42/custom,["auth",{}]');
    raw.send('41/custom');
    raw.send('42["message","to the default namespace"]');
    await receives(raw, '42["message-back","to the default namespace"]');
    raw.send('40/custom,');
    await receives(raw, /^40\/custom,/, '42/custom,["auth",{}]');
    raw.send('41');
    raw.send('42/custom,["message"]');
    await receives(raw, '42/custom,["message-back"]');
    raw.send('42["message"]'); /* where it is no more */
    assert.equal((await raw.closed()).code, 1002);
});

test('who has left the last namespace keeps the transport', async (t) => {
    const sp = await start(t, { 'gateway.ping_interval': '100ms', 'gateway.ping_timeout': '5s' });
    const raw = await opened(sp);
    raw.send('40');
    raw.send('41');
    const heard = [];
    while (!heard.includes('42["auth",{}]') || heard.at(-1) !== '2') {
        heard.push(await raw.receive());
        if (heard.at(-1) === '2') raw.send('3');
    }
    assert.deepEqual(heard.filter((packet) => packet !== '2').slice(1), ['42["auth",{}]']);
});

/* ---- events and acknowledgements ---- */

test('events come back: text, binary, in either namespace', async (t) => {
    const sp = await start(t);
    const raw = await connected(sp);
    raw.send('40/custom');
    await receives(raw, /^40\/custom,/, '42/custom,["auth",{}]');
    for (const space of ['', '/custom,']) {
        raw.send(`42${space}["message",1,"2",{"3":[true]}]`);
        await receives(raw, `42${space}["message-back",1,"2",{"3":[true]}]`);
        raw.send(`42${space}["message",${placeholder(7)}]`); /* among no attachments an object like another */
        await receives(raw, `42${space}["message-back",${placeholder(7)}]`);
        raw.send(`452-${space}["message",${placeholder(0)},${placeholder(1)}]`);
        raw.send(bytes(1, 2, 3));
        raw.send(bytes(4, 5, 6));
        await receives(raw, `452-${space}["message-back",${placeholder(0)},${placeholder(1)}]`, bytes(1, 2, 3), bytes(4, 5, 6));
    }
});

test('an event that wants an answer gets it once, text or binary', async (t) => {
    const sp = await start(t);
    const raw = await connected(sp);
    raw.send('42456["message-with-ack",1,"2",{"3":[false]}]');
    await receives(raw, '43456[1,"2",{"3":[false]}]');
    raw.send(`452-789["message-with-ack",${placeholder(0)},${placeholder(1)}]`);
    raw.send(bytes(1, 2, 3));
    raw.send(bytes(4, 5, 6));
    await receives(raw, `462-789[${placeholder(0)},${placeholder(1)}]`, bytes(1, 2, 3), bytes(4, 5, 6));
    raw.send('420["message-with-ack"]');
    raw.send('429007199254740991["message-with-ack",null]');
    raw.send('421["message","x"]');
    raw.send('422["nobody"]');
    await receives(raw, '430[]', '439007199254740991[null]', '42["message-back","x"]', '431[]', '432[{"error":"no rule"}]');
});

test('attachments may come in any order of use, empty, the same twice over, and by polling', async (t) => {
    const sp = await start(t, {}, `namespace "/" { authenticate none
        on "swap" { ack $2, $1 } on "first" { ack $1 } on "twice" { ack $1, $1 } }`);
    const raw = await opened(sp);
    raw.send('40');
    await receives(raw, /^40/);
    const tell = (packet) => { raw.send(packet); raw.send(bytes(1)); raw.send(bytes()); };
    tell(`452-1["swap",${placeholder(0)},{"in":[${placeholder(1)}]}]`);
    await receives(raw, `462-1[{"in":[${placeholder(0)}]},${placeholder(1)}]`, bytes(), bytes(1));
    tell(`452-2["first",${placeholder(1)},${placeholder(0)}]`);
    await receives(raw, `461-2[${placeholder(0)}]`, bytes());
    tell(`452-3["twice",7,[${placeholder(0)},${placeholder(1)}]]`);
    await receives(raw, '433[7,7]');
    raw.send(`451-4["twice",${placeholder(0)}]`);
    raw.send(bytes(9));
    await receives(raw, `462-4[${placeholder(0)},${placeholder(1)}]`, bytes(9), bytes(9));

    const session = await poll(sp);
    assert.equal((await session.post(`40\x1e452-1["swap",${placeholder(0)},${placeholder(1)}]\x1ebAQ==\x1eb`)).status, 200);
    const got = (await session.get()).body.toString().split('\x1e');
    assert.match(got.shift(), /^40\{/);
    assert.deepEqual(got, [`462-1[${placeholder(0)},${placeholder(1)}]`, 'b', 'bAQ==']);
});

test('an answer that nobody asked for is taken and forgotten, binary too', async (t) => {
    const sp = await start(t);
    const raw = await connected(sp);
    raw.send('431["unasked"]');
    raw.send('43999999[]');
    raw.send(`461-7[${placeholder(0)}]`);
    raw.send(bytes(1, 2));
    raw.send('42["message"]');
    await receives(raw, '42["message-back"]');
});

/* ---- what goes wrong ---- */

const broken = {
    'an unknown type': '4abc', 'a type above six': '47', 'an event that is an object': '42{}', 'a letter in the id': '42abc["message"]',
    'an id and a letter': '421a["message"]', 'a negative id': '42-1["message"]', 'an id without end': `42${'9'.repeat(30)}["message"]`,
    'an event without a payload': '42', 'an empty event': '42[]', 'a name that is none': '42[{"a":1}]', 'a name that is null': '42[null]',
    'an array that does not end': '42["message",[1]', 'more after the array': '42["message"][]', 'no JSON': '42["message",undefined]',
    'a single quote': "42['message']", 'a trailing comma': '42["message",]', 'a leading zero': '42["message",01]',
    'a raw control character': '42["mess\nage"]', 'a bad escape': '42["\\x"]', 'a namespace without a comma': '42/custom["message"]',
    'an event for a namespace it is not in': '42/custom,["message"]', 'for an unknown one': '42/random,["message"]',
    'a DISCONNECT from where it is not': '41/custom', 'a DISCONNECT with a payload': '41{}', 'with an id': '411',
    'a second CONNECT': '40', 'a CONNECT with text': '40/custom,abc', 'with an array': '40/custom,[]', 'with an id': '40/custom,1',
    'a CONNECT that does not end': '40/custom,{', 'a CONNECT with more after it': '40/custom,{}{}',
    'a CONNECT_ERROR': '44{"message":"x"}', 'an ack without an id': '43[]', 'an ack without a payload': '431', 'an ack that is an object': '431{}',
    'no attachment': '450-["message"]', 'attachments without a number': '45-["message"]', 'a number without its dash': '451["message"]',
    'a negative number': '45-1-["message"]', 'a letter for the number': '45a-["message"]', 'more than ten': '4511-["message"]',
    'very many': '4599999999999-["message"]', 'a binary ack of none': '460-1[]',
};
const short = [`451-["message",${placeholder(0)}]`];
const afterwards = {
    'fewer placeholders than attachments': ['451-["message"]', bytes(1)],
    'a placeholder beyond the last': [`451-["message",${placeholder(1)}]`, bytes(1)],
    'a negative placeholder': [`451-["message",${placeholder(-1)}]`, bytes(1)],
    'half a placeholder': [`451-["message",${placeholder(0.5)}]`, bytes(1)],
    'a placeholder that is text': [`451-["message",${placeholder('"0"')}]`, bytes(1)],
    'the same placeholder for two': [`452-["message",${placeholder(0)},${placeholder(0)}]`, bytes(1), bytes(2)],
    'an attachment more than announced': [...short, bytes(1), bytes(2)],
    'text before the attachment': [...short, '42["message"]'],
    'a CONNECT before the attachment': [...short, '40/custom'],
    'a binary packet within another': [...short, ...short],
    'an attachment of nothing': [bytes(1)],
    'broken JSON about an attachment': ['451-["message",', bytes(1)],
    'a reserved event with an attachment': [`451-["disconnect",${placeholder(0)}]`, bytes(1)],
    'a binary event for nobody': [`451-/custom,["message",${placeholder(0)}]`],
};

test('whatever is malformed ends the transport, and is not relayed first', async (t) => {
    const sp = await start(t);
    for (const name of ['connect', 'connect_error', 'disconnect', 'disconnecting', 'newListener', 'removeListener'])
        broken[`the reserved event ${name}`] = `42["${name}"]`;
    for (const [name, messages] of Object.entries({ ...broken, ...afterwards })) {
        const raw = await connected(sp);
        for (const message of [messages].flat()) raw.send(message);
        const { code: status } = await raw.closed().catch((error) => assert.fail(`${name}: ${error.message}`));
        assert.equal(status, 1002, name);
        const last = name === 'an attachment more than announced' ? 2 : 0; /* the first packet was whole */
        for (let i = 0; i < last; i++) assert.notEqual(await raw.receive(), null, name);
        assert.equal(await raw.receive(), null, name);
    }
});

test('whatever is malformed ends a session that polls with 400', async (t) => {
    const sp = await start(t);
    for (const [name, messages] of Object.entries({ ...broken, ...afterwards })) {
        const session = await poll(sp);
        const packets = ['40', ...[messages].flat().map((message) => (Buffer.isBuffer(message) ? `b${message.toString('base64')}` : message))];
        assert.equal((await session.post(packets.join('\x1e'))).status, 400, name);
        assert.equal(code(await session.get()), 1, name);
    }
});

test('before its CONNECT a client has nothing to say', async (t) => {
    const sp = await start(t);
    for (const message of ['42["message"]', '41', '431[]', ...short, '4abc', '44{}', bytes(1)]) {
        const raw = await opened(sp);
        raw.send(message);
        assert.equal((await raw.closed()).code, 1002, `${message}`);
    }
});

test('limits.attachments can be changed, to none too', async (t) => {
    const sp = await start(t, { 'gateway.limits.attachments': 2 });
    const raw = await connected(sp);
    raw.send(`452-["message",${placeholder(0)},${placeholder(1)}]`);
    raw.send(bytes(1));
    raw.send(bytes(2));
    await receives(raw, /^452-/, bytes(1), bytes(2));
    raw.send(`453-["message",${[0, 1, 2].map(placeholder)}]`);
    assert.equal((await raw.closed()).code, 1002);
    const none = await start(t, { 'gateway.limits.attachments': 0 });
    const other = await connected(none);
    other.send(short[0]);
    assert.equal((await other.closed()).code, 1002);
});

test('limits.packet_bytes is for an event with its attachments, to the byte', async (t) => {
    const sp = await start(t, { 'gateway.limits.packet_bytes': 5000, 'gateway.limits.max_payload': 4000 });
    const packet = `452-["message",${placeholder(0)},${placeholder(1)}]`;
    const rest = 5000 - (packet.length - 1) - 2500;
    const raw = await connected(sp);
    for (const message of [packet, Buffer.alloc(2500), Buffer.alloc(rest)]) raw.send(message);
    await receives(raw, /^452-/, Buffer.alloc(2500), Buffer.alloc(rest));
    for (const message of [packet, Buffer.alloc(2500), Buffer.alloc(rest + 1)]) raw.send(message);
    assert.equal((await raw.closed()).code, 1009);
});

test('limits.packet_bytes: an attachment that cannot fit is refused by what its frame promises, and base64 before it is decoded', async (t) => {
    const sp = await start(t, { 'gateway.limits.packet_bytes': 5000, 'gateway.limits.max_payload': 4000 });
    const packet = `452-["message",${placeholder(0)},${placeholder(1)}]`;
    for (const [fits, last] of [[true, frame(2, 'x', { length: 2400 })], [false, frame(2, 'x', { length: 2501 })],
        [false, Buffer.concat([frame(2, Buffer.alloc(2000), { fin: false }), frame(0, 'x', { length: 501 })])],
        [true, frame(1, 'x', { length: 3200 })], [false, frame(1, 'x', { length: 3400 })]]) {
        const raw = await connect(t, sp.port, '/socket.io/?EIO=4&transport=websocket');
        raw.send(frame(1, '40'), frame(1, packet), frame(2, Buffer.alloc(2500)), last);
        if (!fits) assert.equal(await raw.closeCode(), 1009);
        else raw.socket.destroy();
    }
    const session = await poll(sp);
    await session.post('40');
    assert.equal((await session.post(`${packet}\x1eb${'A'.repeat(3600)}`)).status, 200);
    assert.equal((await session.post(`b${'A'.repeat(3600)}`)).status, 200);
    assert.equal(code(await session.get()), 1, 'it has ended');
    const raw = await connected(sp);
    raw.send(`451-["message","${'x'.repeat(3900)}",${placeholder(0)}]`);
    raw.send(Buffer.alloc(1100));
    assert.equal((await raw.closed()).code, 1009);
});
