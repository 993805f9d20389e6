/* RFC 6455 against an echo on the gateway's own transport: families of cases as Autobahn has them. */
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import test from 'node:test';
import { instance } from '../lib.mjs';
import { close, connect, frame } from './frames.mjs';

const TEXT = 1;
const BINARY = 2;
const PING = 9;
const PONG = 10;
const path = '/engine.io/?EIO=4&transport=websocket';
const start = (t, settings = {}) => instance(t, { login: false, gateway: 'tests/protocol/echo',
    settings: { 'gateway.path': '/engine.io/', 'gateway.workers': 1, 'gateway.limits.per_address': 0, ...settings } });

async function open(t, sp) {
    const raw = await connect(t, sp.port, path);
    const first = await raw.receive();
    assert.equal(first.payload[0], 48);
    return raw;
}

async function answers(raw, opcode, payload) {
    const got = await raw.receive();
    assert.ok(got, 'the connection was closed');
    assert.equal(got.opcode, opcode);
    assert.ok(Buffer.from(payload).equals(got.payload), `${got.payload.length} bytes: ${got.payload.subarray(0, 80)}`);
}

const sizes = [0, 1, 124, 125, 126, 127, 128, 4088, 4096, 65534, 65535, 65536, 200_000];

test('text and binary of every length form come back, whole and cut into pieces', async (t) => {
    const sp = await start(t);
    const raw = await open(t, sp);
    for (const size of sizes) {
        const text = `4${'x'.repeat(size)}`;
        const bytes = Buffer.alloc(size, 'binary');
        raw.send(frame(TEXT, text), frame(BINARY, bytes));
        await answers(raw, TEXT, text);
        await answers(raw, BINARY, bytes);
        await raw.trickle(Buffer.concat([frame(TEXT, text), frame(BINARY, bytes)]), Math.ceil(size / 20) + 1);
        await answers(raw, TEXT, text);
        await answers(raw, BINARY, bytes);
    }
});

test('pings are answered with their payload, also between fragments; pongs are not', async (t) => {
    const sp = await start(t);
    const raw = await open(t, sp);
    for (const payload of ['', 'hello', Buffer.from([0, 255, 254]), 'x'.repeat(125)]) {
        raw.send(frame(PING, payload));
        await answers(raw, PONG, payload);
        await raw.trickle(frame(PING, payload));
        await answers(raw, PONG, payload);
    }
    raw.send(frame(PONG, 'unasked'), ...Array.from({ length: 10 }, (_, i) => frame(PING, `${i}`)));
    for (let i = 0; i < 10; i++) await answers(raw, PONG, `${i}`);
    raw.send(frame(TEXT, '4fr', { fin: false }), frame(PING, 'p'), frame(0, 'ag', { fin: false }), frame(0, 'ment'));
    await answers(raw, PONG, 'p');
    await answers(raw, TEXT, '4fragment');
});

const after = (first, ...rest) => Buffer.concat([first, ...rest]);
const broken = {
    'a reserved bit': frame(TEXT, '4', { rsv: 1 }), 'a compressed message nobody agreed on': frame(TEXT, '4', { rsv: 4 }),
    'reserved bits in a ping': frame(PING, '', { rsv: 2 }),
    'no mask': frame(TEXT, '4', { mask: false }), 'an unmasked ping': frame(PING, '', { mask: false }), 'a fragmented pong': frame(PONG, '', { fin: false }),
    'a fragmented ping': frame(PING, 'x', { fin: false }), 'a long ping': frame(PING, 'x'.repeat(126)),
    'a long pong': frame(PONG, 'x'.repeat(126)), 'a fragmented close': frame(8, '', { fin: false }),
    'a long close': frame(8, Buffer.concat([Buffer.from([3, 232]), Buffer.alloc(124, 'x')])),
    'a length that should have been shorter': frame(TEXT, '4', { form: 16 }),
    'the longest form for less': frame(TEXT, '4'.repeat(200), { form: 64 }),
    'a length above 2^63': Buffer.from([0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4]),
    'a continuation of nothing': frame(0, '4'), 'a last continuation after a whole message': after(frame(TEXT, '4a'), frame(0, 'b')),
    'a message inside another': after(frame(TEXT, '4a', { fin: false }), frame(TEXT, '4b')),
    'a close of one byte': frame(8, 'x'),
};
for (const opcode of [3, 4, 5, 6, 7, 11, 12, 13, 14, 15]) broken[`opcode ${opcode}`] = frame(opcode, '');

test('what RFC 6455 forbids is answered with 1002', async (t) => {
    const sp = await start(t);
    for (const [name, bytes] of Object.entries(broken)) {
        for (const n of [bytes.length, 1]) {
            const raw = await open(t, sp);
            await raw.trickle(bytes, n);
            assert.equal(await raw.closeCode(), 1002, `${name}, ${n} at a time`);
            assert.equal(await raw.receive(), null);
        }
    }
});

test('close codes that may be on the wire are echoed, others are 1002, a reason has to be UTF-8', async (t) => {
    const sp = await start(t);
    const good = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999];
    const bad = [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535];
    const expected = [...good.map((code) => [close(code, 'grüße'), code]), ...bad.map((code) => [close(code), 1002]),
        [frame(8), 1005], [close(1000, 'x'.repeat(123)), 1000], [close(1000, Buffer.from([0xce, 0xba, 0xe1])), 1007]];
    for (const [bytes, code] of expected) {
        for (const n of [bytes.length, 3]) {
            const raw = await open(t, sp);
            await raw.trickle(bytes, n);
            assert.equal(await raw.closeCode(), code);
            assert.equal(await raw.receive(), null);
        }
    }
});

test('text has to be UTF-8, wherever it is cut; binary need not', async (t) => {
    const sp = await start(t);
    const bad = ['80', 'c080', 'eda080', 'f4908080', 'f8888080', 'ce', 'e282', 'f09f92', 'c328', 'fe', 'c0af', 'e08080'];
    for (const hex of bad) {
        const bytes = Buffer.concat([Buffer.from('4'), Buffer.from(hex, 'hex')]);
        for (const cut of [bytes.length, 2]) {
            const raw = await open(t, sp);
            raw.send(frame(TEXT, bytes.subarray(0, cut), { fin: cut === bytes.length }));
            if (cut < bytes.length) raw.send(frame(0, bytes.subarray(cut)));
            assert.equal(await raw.closeCode(), 1007, hex);
        }
    }
    const raw = await open(t, sp);
    const good = Buffer.from('4κόσμε 🦀 \u0000\u007f\u0080\u07ff\u0800\uffff\u{10000}\u{10ffff}');
    for (let cut = 1; cut < good.length; cut++) {
        raw.send(frame(TEXT, good.subarray(0, cut), { fin: false }), frame(0, good.subarray(cut)));
        await answers(raw, TEXT, good);
    }
    for (const hex of bad) {
        raw.send(frame(BINARY, Buffer.from(hex, 'hex')));
        await answers(raw, BINARY, Buffer.from(hex, 'hex'));
    }
});

test('a message may not be longer than max_payload, in one frame or in many, and the promise is enough', async (t) => {
    const sp = await start(t, { 'gateway.limits.max_payload': 5000 });
    const raw = await open(t, sp);
    raw.send(frame(TEXT, `4${'x'.repeat(4999)}`));
    await answers(raw, TEXT, `4${'x'.repeat(4999)}`);
    raw.send(frame(TEXT, `4${'x'.repeat(2499)}`, { fin: false }), frame(0, 'y'.repeat(2500)));
    await answers(raw, TEXT, `4${'x'.repeat(2499)}${'y'.repeat(2500)}`);
    for (const bytes of [frame(TEXT, '4', { length: 5001 }), frame(BINARY, 'x', { length: 2 ** 40 }),
        after(frame(TEXT, `4${'x'.repeat(2499)}`, { fin: false }), frame(0, 'y', { length: 2501 }))]) {
        const other = await open(t, sp);
        other.send(bytes);
        assert.equal(await other.closeCode(), 1009);
    }
});

test('tiny fragments and pings without end are bounded', async (t) => {
    const sp = await start(t);
    const raw = await open(t, sp);
    raw.send(frame(TEXT, '4', { fin: false }), ...Array.from({ length: 1022 }, () => frame(0, 'x', { fin: false })), frame(0, ''));
    await answers(raw, TEXT, `4${'x'.repeat(1022)}`);
    raw.send(frame(TEXT, '4', { fin: false }), ...Array.from({ length: 1100 }, () => frame(0, '', { fin: false })));
    assert.equal(await raw.closeCode(), 1008);
    const other = await open(t, sp);
    other.send(...Array.from({ length: 5000 }, () => frame(PING, '')));
    assert.equal(await other.closeCode(), 1008);
});

const whole = (opcode, bytes, size = Infinity) => {
    const frames = [];
    for (let at = 0; at === 0 || at < bytes.length; at += size)
        frames.push(frame(at === 0 ? opcode : 0, bytes.subarray(at, at + size), { fin: at + size >= bytes.length }));
    return Buffer.concat(frames);
};
const letters = (size) => Buffer.from(`4${'the same line, '.repeat(Math.ceil(size / 15))}`).subarray(0, size);

test('large messages, in frames of many sizes (Autobahn 9.1 to 9.4 and 10.1)', async (t) => {
    const max = 4_194_304;
    const sp = await start(t, { 'gateway.limits.max_payload': max, 'gateway.limits.queued_bytes': 0 });
    const raw = await open(t, sp);
    const sizes = [[65_536, 64, 1300], [262_144, 256, 65_535], [1_048_576, 1024, 65_536], [max, 4096, 65_537, max]];
    for (const [size, ...frames] of sizes) {
        for (const opcode of [TEXT, BINARY]) {
            const bytes = opcode === TEXT ? letters(size) : crypto.randomBytes(size);
            for (const n of frames) {
                raw.send(whole(opcode, bytes, n));
                await answers(raw, opcode, bytes);
            }
        }
    }
    raw.send(whole(BINARY, Buffer.alloc(max + 1), 65_536));
    assert.equal(await raw.closeCode(), 1009);
});

test('a large message in writes of many sizes (Autobahn 9.5 and 9.6)', async (t) => {
    const sp = await start(t);
    const raw = await open(t, sp);
    const bytes = letters(262_144);
    for (const n of [64, 128, 256, 512, 1024, 2048, 65_521]) {
        await raw.trickle(frame(TEXT, bytes), n);
        await answers(raw, TEXT, bytes);
    }
});

test('a thousand messages one after the other, each answered before the next (Autobahn 9.7 and 9.8)', async (t) => {
    const sp = await start(t);
    const raw = await open(t, sp);
    for (const size of [1, 16, 64, 256, 1024, 4096]) {
        const text = letters(size);
        const binary = Buffer.alloc(size, 0xfe);
        for (let i = 0; i < 500; i++) {
            raw.send(i % 2 ? frame(TEXT, text) : frame(BINARY, binary));
            await answers(raw, i % 2 ? TEXT : BINARY, i % 2 ? text : binary);
        }
    }
});

test('what was answered is answered before a close, and nothing that follows it (Autobahn 7.1)', async (t) => {
    const sp = await start(t);
    const late = { nothing: Buffer.alloc(0), 'another close': close(1001), 'a ping': frame(PING, 'late'), 'a text': frame(TEXT, '4late'),
        'a fragment': frame(0, 'late'), 'what is forbidden': frame(3, '') };
    for (const [name, bytes] of Object.entries(late)) {
        for (const n of [1, 1_000_000]) {
            const raw = await open(t, sp);
            const text = letters(200_000);
            raw.send(frame(TEXT, text), frame(TEXT, '4frag', { fin: false }));
            await raw.trickle(Buffer.concat([close(1000, 'bye'), bytes]), n);
            await answers(raw, TEXT, text);
            assert.equal(await raw.closeCode(), 1000, name);
            assert.equal(await raw.receive(), null, name);
        }
    }
});

test('fragments with other frames between them, in one write and in bytes (Autobahn 5)', async (t) => {
    const sp = await start(t);
    const part = (text, fin = false) => frame(0, text, { fin });
    const begin = frame(TEXT, '4one', { fin: false });
    const good = [[begin, part('', true)], [begin, part('two', true)], [begin, part(''), part('two'), part('', true)],
        [begin, frame(PING, 'p'), part('two', true)], [begin, frame(PONG, 'p'), part('two'), frame(PING, 'q'), part('', true)],
        [frame(TEXT, '', { fin: false }), part(''), part('4one', true)], [frame(BINARY, 'x', { fin: false }), frame(PING), part('y', true)]];
    const bad = [[part('x', true)], [part('x')], [frame(TEXT, '4a'), part('b')], [begin, part('', true), part('late')], [begin, frame(TEXT, '4new')],
        [begin, frame(BINARY, 'new', { fin: false })], [begin, frame(PING, 'x', { fin: false })], [begin, frame(PONG, 'x', { fin: false })]];
    const raw = await open(t, sp);
    const value = (bytes) => bytes.map((one) => one.subarray(6).map((byte, i) => byte ^ one[2 + i % 4]));
    for (const frames of good) {
        for (const n of [1, 100]) {
            await raw.trickle(Buffer.concat(frames), n);
            const data = frames.filter((one) => (one[0] & 15) < 3);
            for (const one of frames.filter((each) => (each[0] & 15) === PING)) await answers(raw, PONG, value([one])[0]);
            await answers(raw, data[0][0] & 15, Buffer.concat(value(data)));
        }
    }
    for (const frames of bad) {
        for (const n of [1, 100]) {
            const victim = await open(t, sp);
            await victim.trickle(Buffer.concat(frames), n);
            assert.equal(await victim.closeCode(), 1002);
        }
    }
});

test('hundreds of messages in one write come back in order', async (t) => {
    const sp = await start(t);
    const raw = await open(t, sp);
    const words = Array.from({ length: 500 }, (_, i) => `4message ${i} ${'x'.repeat(i % 200)}`);
    raw.send(...words.map((word) => frame(TEXT, word)));
    for (const word of words) await answers(raw, TEXT, word);
});

test('a promised megabyte is not set aside for those who send one byte of it', async (t) => {
    const sp = await start(t);
    const fs = await import('node:fs');
    const data_kb = () => Number(fs.readFileSync(`/proc/${sp.gateway.pid}/status`, 'utf8').match(/VmData:\s+(\d+)/)[1]);
    const raws = [];
    for (let i = 0; i < 100; i++) raws.push(await open(t, sp));
    const before = data_kb();
    for (const raw of raws) raw.send(frame(TEXT, '4', { length: 999_999 }));
    const probe = await open(t, sp);
    probe.send(frame(PING, ''));
    await answers(probe, PONG, '');
    assert.ok(data_kb() - before < 20_000, `${data_kb() - before} kB more`);
});

test('who answers our close and leaves the end of the connection to us is not waited for', async (t) => {
    const sp = await start(t);
    const raw = await open(t, sp);
    raw.socket.allowHalfOpen = true;
    sp.gateway.child.kill('SIGTERM');
    assert.equal(await raw.closeCode(), 1001);
    const before = performance.now();
    raw.send(frame(TEXT, '4late'), close(1001, 'as you wish'));
    await sp.gateway.exited;
    assert.ok(performance.now() - before < 3000, 'it waits 5 s for those who do not answer');
});
