/*
 * The scanner takes what JSON.parse takes, and what it passes on disconnects no receiver: texts by
 * the thousand (valid, mutated, cut, made of the ugliest pieces) are judged by scan_stdin.c, by
 * V8 and by the clients' own decoder.  SEED repeats a run, CASES lengthens it.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { Decoder, Encoder } from 'socket.io-parser';
import { dice, program } from '../lib.mjs';

const seed = Number(process.env.SEED ?? 20240229);
const size = Number(process.env.CASES ?? 20000);
const max_depth = 64;
const [OK, MALFORMED, RESERVED, PLACEHOLDERS] = [0, 1, 2, 3];
const [STRING, INTEGER, NUMBER, OBJECT, ARRAY, BOOLEAN, NULL] = [1, 2, 3, 4, 5, 6, 7];

/* ---- the C side ---- */

/* cases: [what, number, bytes]; the answers in their order. */
function ask(cases) {
    const input = Buffer.concat(cases.flatMap(([what, number, bytes]) =>
        [Buffer.from(`${what} ${number} ${bytes.length}\n`), bytes]));
    const run = spawnSync(program('tests/system/scan_stdin'),
        { input, maxBuffer: 1 << 30, encoding: 'utf8' });

    assert.equal(run.status, 0, run.error?.message ?? run.stderr);
    const answers = run.stdout.trimEnd().split('\n').map((line) => JSON.parse(line));
    assert.equal(answers.length, cases.length);
    return answers;
}

const slice = (bytes, [offset, length]) => bytes.subarray(offset, offset + length).toString();
const unhex = (hex) => Buffer.from(hex, 'hex').toString();
const shown = (bytes) => `${bytes.toString('latin1').slice(0, 300)} (seed ${seed})`;
const isWellFormed = (text) => !/\p{Surrogate}/u.test(text); /* as in node 20, and in Debian 12's 18 */

/* ---- V8's side ---- */

const strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function parse(bytes) {
    try {
        const text = strict.decode(bytes);
        return { text, value: JSON.parse(text) };
    } catch {
        return null;
    }
}

/* Of the text, not of the value: a member that a later one replaces is nested too. */
function depth(text) {
    let now = 0, most = 0;
    for (const c of text.replace(/"(?:[^"\\]|\\.)*"/gs, ''))
        if (c === '[' || c === '{') most = Math.max(most, ++now);
        else if (c === ']' || c === '}') now--;
    return most;
}

function type(text, value) {
    if (value === null) return NULL;
    if (Array.isArray(value)) return ARRAY;
    if (typeof value === 'number') return /^\s*-?\d+\s*$/.test(text) ? INTEGER : NUMBER;
    return { string: STRING, boolean: BOOLEAN, object: OBJECT }[typeof value];
}

const is_shaped = (value) => value !== null && typeof value === 'object' && value._placeholder === true;

function count_shaped(value) {
    if (value === null || typeof value !== 'object') return 0;
    return Object.values(value).reduce((n, inner) => n + count_shaped(inner), is_shaped(value) ? 1 : 0);
}

/* What the client's decoder makes of a packet and its attachments; null: it would disconnect. */
function receive(text, buffers) {
    const decoder = new Decoder({ maxAttachments: Infinity });
    let packet = null;
    decoder.on('decoded', (decoded) => { packet = decoded; });
    try {
        decoder.add(text);
        for (const buffer of buffers) decoder.add(buffer);
        return packet;
    } catch {
        return null;
    }
}

/* ---- texts ---- */

const { random, below, one: pick } = dice(seed);
const some = (most, make) => Array.from({ length: below(most + 1) }, make);
const space = () => random() < 0.8 ? '' : some(3, () => pick([' ', '\t', '\n', '\r'])).join('');

const characters = [
    'a', 'Z', '0', ' ', '/', '\x7f', '\u0080', '\u00e9', '\u07ff', '\u0800', '\u20ac', '\u2028', '\ud7ff',
    '\ue000', '\ufeff', '\uffff', '\u{10000}', '\u{1f600}', '\u{10ffff}', 'plain words ', '0123456789abcdef',
    'the sixteen byte', '\u043f\u0440\u0438\u0432\u0435\u0442',
    '\\"', '\\\\', '\\/', '\\b', '\\f', '\\n', '\\r', '\\t', '\\u0000', '\\u0022', '\\u005c', '\\u00E9',
    '\\u20aC', '\\ud83d\\ude00', '\\ud800', '\\uDFFF', '\\udc00\\ud800', '\\uD800\\uD800\\uDC00', '\\ud800a',
    '\\ud800\\n', '\\uffff',
];
const string = () => `"${some(8, () => pick(characters)).join('')}"`;
const digits = (most) => Array.from({ length: 1 + below(most) }, () => below(10)).join('');
const integer = () => pick(['', '-']) + pick(['0', String(1 + below(9)), 1 + below(9) + digits(25)]);
const number = () => integer() + pick(['', '', '.' + digits(20)]) +
    pick(['', '', pick(['e', 'E']) + pick(['', '+', '-']) + digits(4)]);
const name = () => pick([string(), string(), '"a"', '"\\u0061"', '"num"', '"_placeholder"', '"__proto__"',
    '"n\\u0075m"', '"\\u005fplaceholder"', '"_placeholde\\u0072"', '"length"', '""', '"constructor"']);
const placeholder = (n) => {
    const members = [`${space()}${pick(['"_placeholder"', '"_placeholder"', '"\\u005fplaceholder"'])}${space()}:` +
        `${space()}true${space()}`, `${space()}${pick(['"num"', '"num"', '"nu\\u006D"'])}${space()}:${space()}${n}${space()}`];
    return `{${(random() < 0.5 ? members : members.reverse()).join(',')}}`;
};

function value(level) {
    const kind = below(level > 0 ? 9 : 6);
    if (kind === 0) return pick(['true', 'false', 'null']);
    if (kind < 3) return number();
    if (kind < 6) return string();
    if (kind === 6 && random() < 0.2) return placeholder(pick([0, 1, 2, '-0', '1.0', '1e0', '"0"', 256, 2 ** 53]));
    if (kind < 8) return `[${some(4, () => space() + value(level - 1) + space()).join(',')}${space()}]`;
    return `{${some(4, () => `${space()}${name()}${space()}:${space()}${value(level - 1)}${space()}`)
        .join(',')}${space()}}`;
}

const nested = (n) => pick([
    '['.repeat(n) + ']'.repeat(n),
    '[1,'.repeat(n) + '2' + ']'.repeat(n),
    '{"a":'.repeat(n) + '0' + '}'.repeat(n),
    '[{"a":'.repeat(n >> 1) + 'null' + '}]'.repeat(n >> 1),
    '['.repeat(n) + ']'.repeat(Math.max(0, n - 1)),
]);

const pieces = [
    '{', '}', '[', ']', ',', ':', '"', '\\', '\\u', '\\u12', '\\x', '/', '//', '/**/', "'", '0', '00', '-', '+', '.',
    'e', 'E', '1e', '1.', '.1', '1e+', '0x1', 'true', 'false', 'null', 'tru', 'nul', 'NaN', 'Infinity', 'undefined',
    ' ', '\t', '\n', '\r', '\v', '\f', '\0', '\x01', '\x1e', '\x1f', '\x7f', '\u00a0', '\u2028', '\ufeff',
    '"_placeholder":true', '"num":0', '"a":1', '""', '[]', '{}', '{"_placeholder":true,"num":0}',
].map((piece) => Buffer.from(piece)).concat([
    [0x80], [0xbf], [0xc0, 0x80], [0xc1, 0xbf], [0xc2], [0xe0, 0x80, 0x80], [0xe0, 0xa0], [0xed, 0xa0, 0x80],
    [0xed, 0xb0, 0x80], [0xf0, 0x80, 0x80, 0x80], [0xf0, 0x90, 0x80], [0xf4, 0x90, 0x80, 0x80], [0xf5], [0xfe],
    [0xff], [0xef, 0xbf], [0xed, 0x9f, 0xbf], [0xee, 0x80, 0x80],
].map((bytes) => Buffer.from(bytes)));

/* One to three places changed: a piece or a byte put in, cut out, written over; or the end cut off. */
function mutate(bytes) {
    for (let i = 1 + below(3); i > 0; i--) {
        const at = below(bytes.length + 1), cut = pick([0, 0, 1, 1, 2, below(8)]);
        const put = pick([Buffer.alloc(0), pick(pieces), Buffer.from([below(256)]),
            bytes.subarray(at, at + below(12))]);
        bytes = random() < 0.15 ? bytes.subarray(0, at)
            : Buffer.concat([bytes.subarray(0, at), put, bytes.subarray(at + cut)]);
    }
    return bytes;
}

function any_text() {
    const kind = below(10);
    if (kind === 0) return Buffer.concat(some(8, () => pick(pieces)));
    if (kind === 1) return Buffer.from(nested(below(8) + pick([0, 10, 60])));
    const text = Buffer.from(space() + value(4) + space());
    return kind < 5 ? text : mutate(text);
}

/* An event's array with `n` proper placeholders among its arguments, numbered in any order. */
function event_text(n, first) {
    const numbers = Array.from({ length: n }, (_, i) => i).sort(() => random() - 0.5);
    const last = numbers.map((i) => pick([placeholder(i), `[${placeholder(i)},1]`, `{"x":${placeholder(i)}}`]));
    const arguments_ = [...some(3, () => pick([string(), number(), '{"a":[true]}', '{"num":7}'])), ...last];
    return space() + `[${[...first, ...arguments_.sort(() => random() - 0.5)].map((v) => space() + v + space())
        .join(',')}]` + space();
}

const reserved = ['connect', 'connect_error', 'disconnect', 'disconnecting', 'newListener', 'removeListener'];
const event_name = () => pick(['"say"', '"say"', '"new message"', string(), number(), '"\\u0073ay"', '"\\ud800"',
    `"${'x'.repeat(120 + below(16))}"`, `"${pick(reserved)}"`, '"\\u0063onnect"', '[]', 'null', '{}', 'true']);

/* ---- one value ---- */

test('a value is taken exactly when JSON.parse takes it', () => {
    const texts = Array.from({ length: 2 * size }, any_text);
    const answers = ask(texts.map((bytes) => ['v', 0, bytes]));
    let taken = 0;

    texts.forEach((bytes, i) => {
        const parsed = parse(bytes), answer = answers[i];
        const expected = parsed !== null && depth(parsed.text) <= max_depth;

        assert.equal(answer.ok, expected, shown(bytes));
        if (!expected) return;
        taken++;
        assert.equal(answer.type, type(parsed.text, parsed.value), shown(bytes));
        assert.equal(slice(bytes, answer.text), parsed.text.replace(/^[ \t\n\r]+|[ \t\n\r]+$/g, ''));
        if (answer.type === STRING)
            assert.equal(answer.decoded === undefined ? null : unhex(answer.decoded),
                isWellFormed(parsed.value) ? parsed.value : null, shown(bytes));
    });
    assert.ok(taken > size / 4 && taken < 2 * size - size / 4, `${taken} of ${2 * size} were JSON`);
});

test('a member is what JSON.parse gives by that name', () => {
    const cases = [];
    while (cases.length < size / 4) {
        const object = `{${some(6, () => `${space()}${name()}:${value(2)}${space()}`).join(',')}}`;
        const wanted = JSON.parse(random() < 0.5 ? name() : pick(['"a"', '"num"', '"_placeholder"']));
        if (isWellFormed(wanted)) cases.push({ object, wanted });
    }
    const bytes = cases.map(({ object, wanted }) => Buffer.from(wanted + object));
    const answers = ask(cases.map(({ wanted }, i) => ['m', Buffer.byteLength(wanted), bytes[i]]));

    cases.forEach(({ object, wanted }, i) => {
        const parsed = JSON.parse(object);
        const there = Object.hasOwn(parsed, wanted);

        assert.equal(answers[i].ok, there, `${wanted} in ${object}`);
        if (there)
            assert.deepEqual(JSON.parse(slice(bytes[i], answers[i].text)), parsed[wanted], object);
    });
});

/* ---- events ---- */

/* The attachments in what the client decoded; each holds its own number. */
function attached(value) {
    if (Buffer.isBuffer(value)) return [value[0]];
    return value !== null && typeof value === 'object' ? Object.values(value).flatMap(attached) : [];
}

/* What must hold of every event that was taken, whatever it was made from. */
function check_taken(bytes, attachments, has_name, answer) {
    const { text, value } = parse(bytes) ?? {};
    const say = `${attachments} attachments: ${shown(bytes)}`;

    assert.ok(Array.isArray(value), say);
    const rest = has_name ? value.slice(1) : value;
    if (has_name)
        assert.equal(unhex(answer.name), typeof value[0] === 'string' ? value[0]
            : /^\s*\[\s*([^,\]\s]+)/.exec(text)[1], say);
    assert.equal(answer.count, rest.length, say);
    assert.deepEqual(JSON.parse(`[${slice(bytes, answer.arguments)}]`), rest, say);
    assert.equal(answer.argument.length, Math.min(9, rest.length), say);
    answer.argument.forEach((argument, i) => {
        const own = slice(bytes, argument.text);

        assert.deepEqual(JSON.parse(own), rest[i], say);
        assert.equal(argument.type, type(own, rest[i]), say);
        assert.ok(argument.first + argument.placeholders <= answer.placeholder.length, say);
        if (count_shaped(rest[i]) > 0) assert.ok(argument.placeholders > 0, say);
    });

    const buffers = Array.from({ length: attachments }, (_, i) => Buffer.from([i]));
    const header = has_name ? (attachments ? `5${attachments}-` : '2') : (attachments ? `6${attachments}-7` : '37');
    const packet = receive(header + slice(bytes, answer.text), buffers);
    assert.ok(packet, `the client disconnects: ${say}`);

    /* Of repeated names the client keeps the last, so an attachment may be lost, but none is there twice. */
    const found = attached(packet.data);
    assert.equal(new Set(found).size, found.length, say);
    return found;
}

/* An event of proper parts: the verdict follows from its name alone. */
function expected_verdict(bytes, has_name) {
    const { text, value } = parse(bytes);
    if (!has_name) return OK;
    const number_text = /^\s*\[\s*([^,\]\s]+)/.exec(text)[1];
    if (typeof value[0] === 'number') return number_text.length <= 128 ? OK : MALFORMED;
    if (typeof value[0] !== 'string' || !isWellFormed(value[0]) || Buffer.byteLength(value[0]) > 128)
        return MALFORMED;
    return reserved.includes(value[0]) ? RESERVED : OK;
}

for (const has_name of [true, false]) {
    const what = has_name ? 'an event' : 'an ack';
    const make = (n) => Buffer.from(event_text(n, has_name ? [event_name()] : []));

    test(`${what} of proper parts is taken`, () => {
        const cases = Array.from({ length: size / 4 }, () => {
            const n = pick([0, 0, 1, 2, 3, 10, below(40)]);
            return [has_name ? 'e' : 'a', n, make(n)];
        });
        ask(cases).forEach((answer, i) => {
            const [, attachments, bytes] = cases[i];

            assert.equal(answer.result, expected_verdict(bytes, has_name), shown(bytes));
            if (answer.result === OK) {
                const all = Array.from({ length: attachments }, (_, k) => k);

                assert.deepEqual(check_taken(bytes, attachments, has_name, answer).sort((a, b) => a - b), all);
                assert.deepEqual(answer.placeholder.sort((a, b) => a - b), all, shown(bytes));
            }
        });
    });

    test(`${what} that was taken disconnects no receiver`, () => {
        const cases = Array.from({ length: size }, () => {
            const n = pick([0, 1, 1, 2, 3]);
            return [has_name ? 'e' : 'a', pick([n, n, n + 1, Math.max(0, n - 1), 0]), mutate(make(n))];
        });
        const seen = new Map();
        ask(cases).forEach((answer, i) => {
            const [, attachments, bytes] = cases[i];

            seen.set(answer.result, (seen.get(answer.result) ?? 0) + 1);
            if (answer.result === OK) check_taken(bytes, attachments, has_name, answer);
            else if (answer.result === MALFORMED)
                assert.ok(parse(bytes) === null || !has_name && !Array.isArray(parse(bytes).value) ||
                    has_name && (!Array.isArray(parse(bytes).value) || parse(bytes).value.length === 0 ||
                        expected_verdict(bytes, true) === MALFORMED), shown(bytes));
            else if (answer.result === PLACEHOLDERS)
                assert.ok(attachments > 0, shown(bytes));
        });
        for (const result of has_name ? [OK, MALFORMED, RESERVED, PLACEHOLDERS] : [OK, MALFORMED, PLACEHOLDERS])
            assert.ok(seen.get(result) > size / 200, `verdicts: ${[...seen]}`);
    });
}

/* ---- packets ---- */

const header = () => pick(['0', '1', '2', '2', '2', '3', '51-', '52-', '61-', '4', '6', '5', '50-', '511-', '7']) +
    pick(['', '', '/admin,', '/admin', '/,', '/a?b=c,', '/\u0436,', '/a b"\\,', ',', '/\n,']) +
    pick(['', '', '0', '17', '007', '9007199254740991', '9007199254740992', '1.5', '-1', ' 1']);

test('a packet that was taken is the same to the reference decoder', () => {
    const cases = Array.from({ length: size }, () => {
        const body = pick(['', '{}', '{"token":"a"}', () => event_text(0, ['"say"']), () => event_text(1, ['"say"']),
            () => event_text(1, []), () => event_text(2, ['"say"']), () => event_text(0, [event_name()])]);
        const bytes = Buffer.from(header() + (typeof body === 'string' ? body : body().trim()));
        return ['p', 10, random() < 0.3 ? mutate(bytes) : bytes];
    });
    const types = new Set();
    ask(cases).forEach((answer, i) => {
        const bytes = cases[i][2];
        if (answer.result !== OK) return;
        const buffers = Array.from({ length: answer.attachments }, () => Buffer.alloc(1));
        const packet = receive(bytes.toString(), buffers);

        types.add(answer.type);
        assert.ok(packet, shown(bytes));
        assert.equal(packet.type, { 5: 2, 6: 3 }[answer.type] ?? answer.type, shown(bytes));
        const [, namespace, query] = /^([^?]*)\??(.*)$/s.exec(packet.nsp);
        assert.equal(unhex(answer.namespace), namespace, shown(bytes));
        assert.equal(unhex(answer.query), query, shown(bytes));
        assert.equal(packet.id, answer.id, shown(bytes));
        const json = slice(bytes, answer.json);
        if (buffers.length === 0)
            assert.deepEqual(packet.data, json === '' ? undefined : JSON.parse(json), shown(bytes));

        /* what we would write reads back as what came */
        const again = receive(unhex(answer.header).slice(1) + json, buffers);
        assert.deepEqual({ ...again, nsp: '' }, { ...packet, nsp: '' }, shown(bytes));
        assert.equal(again.nsp, namespace, shown(bytes));
    });
    assert.deepEqual([...types].sort(), [0, 1, 2, 3, 5, 6]);
});

test('a packet of the reference encoder is taken', () => {
    const data = [['a'], ['a', 1, { b: [null, '\ud800', 1e21] }], ['a', Buffer.from('x'), [Buffer.from('y')]], [42, 'x']];
    const packets = [{ type: 0 }, { type: 0, data: { token: 'x' } }, { type: 1 },
        ...data.flatMap((array) => [{ type: 2, data: array }, { type: 2, id: 0, data: array },
            { type: 3, id: 2 ** 53 - 1, data: array }])]
        .flatMap((packet) => ['/', '/admin', '/\u0436'].map((nsp) => ({ ...packet, nsp })));
    const cases = packets.map((packet) =>
        ['p', 10, Buffer.from(new Encoder().encode(structuredClone(packet))[0])]);

    ask(cases).forEach((answer, i) => {
        assert.equal(answer.result, OK, shown(cases[i][2]));
        assert.equal(unhex(answer.namespace), packets[i].nsp);
        assert.equal(answer.id, packets[i].id);
        assert.ok(cases[i][2].toString().startsWith(unhex(answer.header).slice(1)));
    });
});
