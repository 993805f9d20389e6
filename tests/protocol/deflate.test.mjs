/* permessage-deflate (RFC 7692): what is agreed on, what goes over the wire in both directions, and whose fault it is. */
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import { createRequire } from 'node:module';
import test from 'node:test';
import zlib from 'node:zlib';
import { io } from 'socket.io-client';
import { WebSocket } from 'ws';
import { instance, next, within } from '../lib.mjs';
import { connect, frame } from './frames.mjs';

const oldIo = createRequire(import.meta.url)('socket.io-client-2');

const TEXT = 1;
const BINARY = 2;
const PING = 9;
const PONG = 10;
const RSV1 = 4;
const limit = 100_000;
const accepted = 'permessage-deflate; server_no_context_takeover; client_no_context_takeover';
const start = (t, settings = {}) => instance(t, { login: false, gateway: 'tests/protocol/echo',
    settings: { 'gateway.path': '/engine.io/', 'gateway.workers': 1, 'gateway.limits.per_address': 0, 'gateway.deflate': true,
        'gateway.limits.max_payload': limit, ...settings } });

/* A message as it is sent: RFC 7692 §7.2.1; and what it was. */
const deflated = (data) => zlib.deflateRawSync(data, { finishFlush: zlib.constants.Z_SYNC_FLUSH }).subarray(0, -4);
const inflated = (data) => zlib.inflateRawSync(Buffer.concat([data, Buffer.from([0, 0, 255, 255])]),
    { finishFlush: zlib.constants.Z_SYNC_FLUSH });

const extensions = (raw) => raw.head.match(/^sec-websocket-extensions: (.*)$/im)?.[1];

async function open(t, sp, offer = 'permessage-deflate', eio = 4) {
    const raw = await connect(t, sp.port, `/engine.io/?EIO=${eio}&transport=websocket`,
        offer === null ? '' : `Sec-WebSocket-Extensions: ${offer}\r\n`);
    const first = await raw.receive();
    assert.equal(first.payload[0], 48);
    assert.equal(first.rsv, 0);
    return raw;
}

async function answers(raw, opcode, data, isDeflated) {
    const got = await raw.receive();
    assert.ok(got, 'the connection was closed');
    assert.equal(got.opcode, opcode, `${got.payload.length} bytes: ${got.payload.subarray(0, 80).toString('hex')}`);
    assert.equal(got.rsv, isDeflated ? RSV1 : 0);
    assert.ok(Buffer.from(data).equals(isDeflated ? inflated(got.payload) : got.payload));
    return got.payload.length;
}

test('an offer is accepted as it stands, or not at all', async (t) => {
    const sp = await start(t);
    const good = ['permessage-deflate', 'permessage-deflate; client_max_window_bits', 'permessage-deflate;client_max_window_bits=10',
        'permessage-deflate; client_max_window_bits="15"', 'PerMessage-Deflate ; server_no_context_takeover; client_no_context_takeover',
        'permessage-deflate; server_max_window_bits=10, permessage-deflate', 'x-other; a=1, , permessage-deflate',
        'permessage-deflate; surprise, permessage-deflate; client_max_window_bits'];
    const bad = ['permessage-deflate; surprise', 'permessage-deflate; server_max_window_bits=10', 'permessage-deflate; client_max_window_bits=16',
        'permessage-deflate; client_max_window_bits=08', 'permessage-deflate; server_no_context_takeover=1',
        'permessage-deflate; client_max_window_bits; client_max_window_bits', 'permessage-deflate2', 'x-webkit-deflate-frame', '', ','];
    for (const offer of good) assert.equal(extensions(await open(t, sp, offer)), accepted, offer);
    for (const offer of bad) assert.equal(extensions(await open(t, sp, offer)), undefined, offer);
    assert.equal(extensions(await open(t, sp, null)), undefined);
});

test('offers that are none are refused (RFC 6455 9.1)', async (t) => {
    const sp = await start(t);
    for (const offer of [';', 'permessage-deflate;', 'permessage-deflate; client_max_window_bits=', 'permessage-deflate "', 'x; a="b, permessage-deflate',
        'permessage-deflate, x y']) {
        const raw = await connect(t, sp.port, '/engine.io/?EIO=4&transport=websocket', `Sec-WebSocket-Extensions: ${offer}\r\n`);
        assert.match(raw.head, /^HTTP\/1\.1 400 /, offer);
    }
});

test('nothing is agreed on unless the config asks for it', async (t) => {
    const sp = await start(t, { 'gateway.deflate': false });
    const raw = await open(t, sp);
    assert.equal(extensions(raw), undefined);
    raw.send(frame(TEXT, deflated('4x'), { rsv: RSV1 }));
    assert.equal(await raw.closeCode(), 1002);
});

test('compressed messages are understood, whole, in fragments and in trickles; answers are compressed where that helps', async (t) => {
    const sp = await start(t);
    const raw = await open(t, sp);
    const long = `4${'the same again, '.repeat(500)}`;
    const noise = crypto.randomBytes(5000);

    for (const text of ['4', '4x', `4${'x'.repeat(1022)}`]) {
        raw.send(frame(TEXT, deflated(text), { rsv: RSV1 }));
        await answers(raw, TEXT, text, false);
    }
    raw.send(frame(TEXT, deflated(`4${'x'.repeat(1023)}`), { rsv: RSV1 }), frame(TEXT, long), frame(BINARY, deflated(long), { rsv: RSV1 }),
        frame(BINARY, deflated(noise), { rsv: RSV1 }), frame(BINARY, deflated(''), { rsv: RSV1 }));
    await answers(raw, TEXT, `4${'x'.repeat(1023)}`, true);
    assert.ok(await answers(raw, TEXT, long, true) < 200);
    await answers(raw, BINARY, long, true);
    await answers(raw, BINARY, noise, false);
    await answers(raw, BINARY, '', false);

    const bytes = deflated(long);
    const half = bytes.length >> 1;
    const cut = [frame(TEXT, bytes.subarray(0, half), { rsv: RSV1, fin: false }), frame(PING, 'p'),
        frame(0, bytes.subarray(half, half + 1), { fin: false }), frame(0, bytes.subarray(half + 1), { fin: false }), frame(0)];
    for (const n of [10_000, 1]) {
        await raw.trickle(Buffer.concat(cut), n);
        await answers(raw, PONG, 'p', false);
        await answers(raw, TEXT, long, true);
    }
    raw.send(frame(TEXT, '4pla', { fin: false }), frame(0, 'in'), frame(TEXT, deflated('4last'), { rsv: RSV1 }));
    await answers(raw, TEXT, '4plain', false);
    await answers(raw, TEXT, '4last', false);
});

test('blocks of every kind: stored, several, a last one inside a message (RFC 7692 §7.2.3)', async (t) => {
    const sp = await start(t);
    const raw = await open(t, sp);
    const text = '4Hello';
    const final = zlib.deflateRawSync(text);
    const several = Buffer.concat([zlib.deflateRawSync('4He', { finishFlush: zlib.constants.Z_SYNC_FLUSH }), deflated('llo')]);
    const stored = zlib.deflateRawSync(text, { level: 0, finishFlush: zlib.constants.Z_SYNC_FLUSH }).subarray(0, -4);

    for (const bytes of [Buffer.concat([final, Buffer.from([0])]), several, stored]) {
        raw.send(frame(TEXT, bytes, { rsv: RSV1 }));
        await answers(raw, TEXT, text, false);
    }
});

test('as long as max_payload, and never longer: a bomb is stopped with 1009', async (t) => {
    const sp = await start(t);
    const raw = await open(t, sp);
    for (const data of [Buffer.alloc(limit), crypto.randomBytes(limit)]) {
        raw.send(frame(BINARY, deflated(data), { rsv: RSV1 }));
        await answers(raw, BINARY, data, data[0] === 0 && data[1] === 0);
    }
    const bomb = deflated(Buffer.alloc(90_000_000));
    assert.ok(bomb.length < limit);
    for (const bytes of [frame(BINARY, deflated(Buffer.alloc(limit + 1)), { rsv: RSV1 }), frame(BINARY, bomb, { rsv: RSV1 }),
        Buffer.concat([frame(BINARY, bomb.subarray(0, 9), { rsv: RSV1, fin: false }), frame(0, bomb.subarray(9))]),
        frame(BINARY, 'x', { rsv: RSV1, length: 2 * limit })]) {
        const victim = await open(t, sp);
        victim.send(bytes);
        assert.equal(await victim.closeCode(), 1009);
    }
    raw.send(frame(TEXT, '4still'));
    await answers(raw, TEXT, '4still', false);
});

test('what is no whole deflated message is answered with 1007, and so is what inflates to no UTF-8', async (t) => {
    const sp = await start(t);
    const good = deflated(`4${'abcdefgh'.repeat(40)}${crypto.randomBytes(300).toString('hex')}`);
    const bad = { 'nothing': '', 'an unknown block': Buffer.from([7]), 'a distance too far': Buffer.from('4b040200', 'hex'),
        'a last block and nothing after it': zlib.deflateRawSync('4Hello'), 'no UTF-8': deflated(Buffer.from('34ceff', 'hex')),
        'noise': Buffer.alloc(200, 0xee), 'no deflate at all': '4plain text', 'a stored block cut short': Buffer.from([0, 5, 0, 0xfa, 0xff, 52, 53]) };
    for (let n = 1; n < good.length; n += 23) bad[`cut at ${n} of ${good.length}`] = good.subarray(0, n);
    for (const [name, bytes] of Object.entries(bad)) {
        const raw = await open(t, sp);
        raw.send(frame(TEXT, bytes, { rsv: RSV1 }));
        assert.equal(await raw.closeCode(), 1007, name);
    }
});

test('RSV1 anywhere but on the first frame of a message that may have it is answered with 1002', async (t) => {
    const sp = await start(t);
    const first = frame(TEXT, deflated('4'), { rsv: RSV1, fin: false });
    const broken = { 'a ping': frame(PING, '', { rsv: RSV1 }), 'a close': frame(8, '', { rsv: RSV1 }),
        'a continuation': Buffer.concat([first, frame(0, 'x', { rsv: RSV1 })]),
        'a continuation of a plain message': Buffer.concat([frame(TEXT, '4', { fin: false }), frame(0, 'x', { rsv: RSV1 })]),
        'RSV2 too': frame(TEXT, deflated('4'), { rsv: 6 }), 'RSV3': frame(TEXT, deflated('4'), { rsv: 1 }) };
    for (const [name, bytes] of Object.entries(broken)) {
        const raw = await open(t, sp);
        raw.send(bytes);
        assert.equal(await raw.closeCode(), 1002, name);
    }
    const declined = await open(t, sp, 'permessage-deflate; surprise');
    declined.send(frame(TEXT, deflated('4'), { rsv: RSV1 }));
    assert.equal(await declined.closeCode(), 1002);
});

test('Engine.IO 3: the packet type of binary is inside what is compressed', async (t) => {
    const sp = await start(t);
    const raw = await open(t, sp, 'permessage-deflate', 3);
    const bytes = Buffer.concat([Buffer.from([4]), Buffer.alloc(3000, 'binary')]);
    for (let i = 0; i < 2; i++) {
        raw.send(frame(BINARY, deflated(bytes), { rsv: RSV1 }));
        await answers(raw, BINARY, bytes, true);
    }
});

/* What people send (Autobahn 12): nothing but structure, prose, and what cannot be compressed. */
const kinds = {
    json: (size) => JSON.stringify(Array.from({ length: size / 40 }, (_, i) => ({ id: i, name: `user ${i}`, online: i % 3 > 0 }))),
    prose: (size) => 'Es war einmal ein König, der hatte einen großen Wald bei seinem Schloß. '.repeat(size / 60),
    noise: (size) => crypto.randomBytes(size),
    picture: (size) => Uint8Array.from({ length: size }, (_, i) => (i & 63) * (i >> 10)),
};
const sized = (kind, size) => Buffer.concat([Buffer.from('4'), Buffer.from(kinds[kind](size)), Buffer.alloc(size, ' ')]).subarray(0, size);

function fragments(opcode, bytes, size) {
    const frames = [];
    for (let at = 0; at === 0 || at < bytes.length; at += size)
        frames.push(frame(at === 0 ? opcode : 0, bytes.subarray(at, at + size), { rsv: at === 0 ? RSV1 : 0, fin: at + size >= bytes.length }));
    return frames;
}

test('messages of 16 bytes to 128 KiB, of many kinds, in fragments of many sizes (Autobahn 12)', async (t) => {
    const sp = await start(t, { 'gateway.limits.max_payload': 131_072 });
    const raw = await open(t, sp);
    for (const kind of Object.keys(kinds)) {
        for (const size of [16, 64, 256, 1024, 4096, 8192, 16_384, 32_768, 65_536, 131_072]) {
            let text = sized(kind, size);
            if (kind === 'prose') text = Buffer.from(text.toString().replace(/\ufffd/g, '')); // cut inside a letter
            const opcode = kind === 'json' || kind === 'prose' ? TEXT : BINARY;
            const bytes = deflated(text);
            for (const n of [Infinity, 256, 1024, 65_536].filter((each) => each === Infinity || each < bytes.length)) {
                raw.send(...fragments(opcode, bytes, n));
                await answers(raw, opcode, text, size >= 1024 && kind !== 'noise');
            }
        }
    }
});

/* Offers, and whether one of them is accepted (Autobahn 13). */
const offers = {
    'permessage-deflate': true,
    'permessage-deflate; server_no_context_takeover': true,
    'permessage-deflate; client_no_context_takeover': true,
    'permessage-deflate; server_max_window_bits=9': false,
    'permessage-deflate; server_max_window_bits=15': false,
    'permessage-deflate; server_no_context_takeover; server_max_window_bits=9': false,
    'permessage-deflate; server_no_context_takeover; server_max_window_bits=15': false,
    'permessage-deflate; server_no_context_takeover; server_max_window_bits=9, permessage-deflate; server_no_context_takeover, permessage-deflate': true,
    'permessage-deflate; server_max_window_bits=8, permessage-deflate; server_max_window_bits=12': false,
};
for (let bits = 8; bits <= 15; bits++) {
    offers[`permessage-deflate; client_max_window_bits=${bits}`] = true;
    offers[`permessage-deflate; client_no_context_takeover; client_max_window_bits="${bits}"; server_no_context_takeover`] = true;
    offers[`permessage-deflate; server_max_window_bits=${bits}; client_max_window_bits`] = false;
    offers[`permessage-deflate; server_max_window_bits=${bits}, permessage-deflate; client_max_window_bits=${bits}`] = true;
}

test('whatever window the client has, messages go in both directions, or as they are (Autobahn 13)', async (t) => {
    const sp = await start(t);
    for (const [offer, isAccepted] of Object.entries(offers)) {
        const raw = await open(t, sp, offer);
        assert.equal(extensions(raw), isAccepted ? accepted : undefined, offer);
        const windowBits = Math.max(9, Number(offer.match(/client_max_window_bits="?(\d+)/)?.[1] ?? 15)); // zlib has no 8
        for (const size of [16, 1024, 40_000]) {
            const text = sized('json', size);
            const bytes = zlib.deflateRawSync(text, { windowBits, memLevel: 1 + size % 9, finishFlush: zlib.constants.Z_SYNC_FLUSH });
            raw.send(...(isAccepted ? fragments(TEXT, bytes.subarray(0, -4), 500) : [frame(TEXT, text)]));
            await answers(raw, TEXT, text, isAccepted && size >= 1024);
        }
    }
});

test('the client of node: with threshold 0, in both directions, text and binary', async (t) => {
    const sp = await start(t);
    const ws = new WebSocket(`ws://127.0.0.1:${sp.port}/engine.io/?EIO=4&transport=websocket`, { perMessageDeflate: { threshold: 0 } });
    t.after(() => ws.terminate());
    await next(ws, 'message');
    assert.equal(ws.extensions, 'permessage-deflate');
    for (const size of [0, 1, 1000, 1023, 1024, 5000, 65_536, limit - 1]) {
        const text = `4${crypto.randomBytes(size).toString('base64').slice(0, size)}`;
        const bytes = Buffer.alloc(size, 'binary');
        ws.send(text);
        assert.equal((await next(ws, 'message'))[0].toString(), text);
        ws.send(bytes);
        assert.ok(bytes.equals((await next(ws, 'message'))[0]));
    }
});

const rules = `
namespace "/" {
    authenticate none
    on "enter" { join "room"; ack true }
    on "tell" { emit to "room" "told" $1, $2; ack $sent }
}`;

const connected = (socket) => within(new Promise((resolve, reject) => {
    socket.on('connect', resolve);
    for (const event of ['error', 'connect_error']) socket.on(event, reject);
}), 'a client to connect');
const ask = (socket, ...args) => within(new Promise((resolve) => { socket.emit(...args, resolve); }), `an answer to ${args[0]}`);

test('a room of all kinds of clients: each hears the same, those that asked for it in fewer bytes', async (t) => {
    const sp = await instance(t, { rules, login: false, settings: { 'gateway.deflate': true, 'gateway.workers': 2 } });
    const kinds = [{ v: io }, { v: io, perMessageDeflate: { threshold: 0 } }, { v: io, perMessageDeflate: { threshold: 1024 } },
        { v: io, perMessageDeflate: {}, transports: ['polling', 'websocket'] }, { v: io, transports: ['polling'] },
        { v: oldIo }, { v: oldIo, perMessageDeflate: true }, { v: oldIo, perMessageDeflate: true, forceBase64: true },
        { v: oldIo, perMessageDeflate: true, transports: ['polling', 'websocket'] }];
    const sockets = [];
    for (const { v, ...options } of [...kinds, ...kinds]) {
        const socket = v(sp.url, { transports: ['websocket'], forceNew: true, reconnection: false, perMessageDeflate: false, ...options });
        t.after(() => socket.disconnect());
        await connected(socket);
        assert.equal(await ask(socket, 'enter'), true);
        sockets.push(socket);
    }
    const text = 'grüße, '.repeat(2000);
    const binary = Buffer.alloc(50_000, 'attachment');
    const noise = crypto.randomBytes(3000);
    for (const [from, payload] of [...sockets.map((socket) => [socket, binary]), [sockets[1], noise], [sockets[6], text]]) {
        const heard = sockets.filter((socket) => socket !== from).map((socket) => next(socket, 'told'));
        assert.ok(await ask(from, 'tell', text, payload));
        for (const [a, b] of await Promise.all(heard)) {
            assert.equal(a, text);
            assert.deepEqual(typeof b === 'string' ? b : Buffer.from(b), payload);
        }
    }
});

test('a room\'s message with an attachment: both of its frames are compressed, for those alone who agreed', async (t) => {
    const sp = await instance(t, { rules, login: false, settings: { 'gateway.deflate': true, 'gateway.workers': 1 } });
    const path = '/socket.io/?EIO=4&transport=websocket';
    const offer = 'Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n';
    const raws = [await connect(t, sp.port, path, offer), await connect(t, sp.port, path), await connect(t, sp.port, path, offer),
        await connect(t, sp.port, path, offer)];
    for (const raw of raws) {
        await raw.receive();
        raw.send(frame(TEXT, '40'));
        await raw.receive();
        raw.send(frame(TEXT, '420["enter"]'));
        await answers(raw, TEXT, '430[true]', false);
    }
    const bytes = Buffer.alloc(9000, 'attachment');
    const text = 'x'.repeat(2000);
    raws.pop().send(frame(TEXT, `451-["tell","${text}",{"_placeholder":true,"num":0}]`), frame(BINARY, bytes));
    const heads = [];
    for (const raw of raws) {
        const agreed = raw !== raws[1];
        const head = await raw.receive();
        assert.equal(head.rsv, agreed ? RSV1 : 0);
        heads.push((agreed ? inflated(head.payload) : head.payload).toString());
        const size = await answers(raw, BINARY, bytes, agreed);
        assert.ok(agreed ? size < 300 : size === 9000);
    }
    assert.equal(heads[0], `451-["told","${text}",{"_placeholder":true,"num":0}]`);
    assert.deepEqual(heads, [heads[0], heads[0], heads[0]]);
});
