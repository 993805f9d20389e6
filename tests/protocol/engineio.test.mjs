/*
 * Engine.IO 4 and 3, packet by packet, against an echo on the gateway's own sessions: what the public
 * test suites of both demand, and then what goes wrong.
 */
import assert from 'node:assert/strict';
import http from 'node:http';
import test from 'node:test';
import { instance, rawClient, request, until } from '../lib.mjs';
import { ask, code, counted, dial, polling } from './wire.mjs';

const OCTETS = 'application/octet-stream';
const BYTES = Buffer.from([1, 2, 3, 4]);

const start = (t, settings = {}) => instance(t, { login: false, gateway: 'tests/protocol/echo',
    settings: { 'gateway.path': '/engine.io/', 'gateway.workers': 4, ...settings } });
const address = (sp, query) => `${sp.url}/engine.io/?${query}`;

function open(t, url) {
    const raw = rawClient(url);
    t.after(() => raw.ws.terminate());
    return raw;
}
const webSocket = (t, sp, query) => open(t, address(sp, query).replace('http', 'ws'));

/* With one worker: what was sent before has been read, for these connections were opened after its own. */
async function settled(sp) {
    await request(`${sp.url}/healthz`);
    await request(`${sp.url}/healthz`);
}

/* Opened, the handshake read. */
async function connected(t, sp, eio) {
    const raw = webSocket(t, sp, `EIO=${eio}&transport=websocket`);
    assert.match(await raw.receive(), /^0\{/);
    return raw;
}

/* The session is no more; a GET would be one more poll. */
async function isGone(session, what = '') {
    const answer = await session.post(session.packet('6'));
    assert.equal(answer.status, 400, what);
    assert.equal(code(answer), 1, what);
}

const terms = ({ pingInterval, pingTimeout, maxPayload, upgrades }) => ({ pingInterval, pingTimeout, maxPayload, upgrades });

for (const eio of [4, 3]) {
    const engine = `Engine.IO ${eio}`;
    const wrap = eio === 3 ? counted : (...packets) => packets.join('\x1e');

    test(`${engine}: both handshakes tell the terms`, async (t) => {
        const sp = await start(t, { 'gateway.ping_interval': '300ms', 'gateway.ping_timeout': '200ms' });
        const session = await polling(sp, { eio });
        const expected = { pingInterval: 300, pingTimeout: 200, maxPayload: 1_000_000 };

        assert.match(session.first.headers.get('content-type'), /^text\/plain; charset=UTF-8$/i);
        const text = session.first.body.toString();
        assert.equal(text, wrap(`0${JSON.stringify(session.opened)}`));
        assert.deepEqual(Object.keys(session.opened).sort(), ['maxPayload', 'pingInterval', 'pingTimeout', 'sid', 'upgrades']);
        assert.deepEqual(terms(session.opened), { ...expected, upgrades: ['websocket'] });
        assert.equal(typeof session.sid, 'string');

        const first = await webSocket(t, sp, `EIO=${eio}&transport=websocket`).receive();
        assert.equal(first[0], '0');
        assert.deepEqual(terms(JSON.parse(first.slice(1))), { ...expected, upgrades: [] });
    });

    test(`${engine}: what is no handshake is refused with its number`, async (t) => {
        const sp = await start(t);
        const refused = async (query, number, options) => {
            const answer = await ask(address(sp, query), options);
            assert.equal(answer.status, 400, query);
            assert.equal(code(answer), number, query);
        };

        for (const wrong of ['', 'EIO=abc&', 'EIO=2&', 'EIO=5&', `EIO=${eio}0&`, 'EIO=&']) {
            await refused(`${wrong}transport=polling`, 5);
            assert.equal(await webSocket(t, sp, `${wrong}transport=websocket`).status(), 400);
        }
        for (const wrong of ['', '&transport=', '&transport=abc', '&transport=Polling', '&transport=flashsocket']) {
            await refused(`EIO=${eio}${wrong}`, 0);
            assert.equal(await webSocket(t, sp, `EIO=${eio}${wrong}`).status(), 400);
        }
        for (const method of ['POST', 'PUT', 'DELETE', 'PATCH']) await refused(`EIO=${eio}&transport=polling`, 2, { method });
        await refused(`EIO=${eio}&transport=websocket`, 3); /* with nothing of RFC 6455 */
        for (const sid of ['', 'x', 'A'.repeat(20), 'A'.repeat(21), '_'.repeat(20)])
            await refused(`EIO=${eio}&transport=polling&sid=${sid}`, 1);
        await refused(`EIO=${eio}&transport=polling&j=0`, 0); /* JSONP */
        const session = await polling(sp, { eio });
        assert.equal((await ask(`${session.url}&j=0`)).status, 400);
        assert.equal((await ask(`${session.url}&j=0`, { method: 'POST', body: 'd=4x' })).status, 400);
        assert.equal(code(await ask(session.url, { method: 'PUT', body: '4x' })), 2);
    });

    test(`${engine}: texts by polling, one, several, and to the last character`, async (t) => {
        const sp = await start(t);
        for (const words of [['4hello'], ['4test1', '4test2', '4test3'], ['4'], ['4€', '4🦀ü', `4${'x'.repeat(5000)}`]]) {
            const session = await polling(sp, { eio, query: '&b64=1' });
            const sent = await session.post(session.packet(...words));
            assert.equal(sent.status, 200);
            assert.equal(sent.body.toString(), 'ok');
            const got = await session.get();
            assert.equal(got.status, 200);
            assert.equal(got.body.toString(), session.packet(...words));
        }
    });

    test(`${engine}: a GET waits for what is still to come`, async (t) => {
        const sp = await start(t);
        const session = await polling(sp, { eio });
        const [got] = await Promise.all([session.get(), session.post(session.packet('4late'))]);
        assert.equal(got.body.toString(), session.packet('4late'));
    });

    test(`${engine}: no packet, no session`, async (t) => {
        const sp = await start(t);
        const bad = ['abc', wrap('abc'), wrap('7'), wrap('9x'), wrap('0{}'), wrap('4ok', 'x'), '', wrap('b!!!!'), wrap('bAQ'),
            wrap(eio === 4 ? '2' : '3')]; /* the other version's heartbeat */
        if (eio === 4) bad.push('\x1e', '4a\x1e', '\x1e4a', '4a\x1e\x1e4b', 'bAQIDBA=');
        else bad.push(':', ':4a', '5:4a', '2:4ab', '1:4a', '-2:4a', '+2:4a', '2 :4a', '2', '99999999999999999999:4a', '0x2:4a',
            '2:4🦀', wrap('bAQIDBA=='), wrap('b3AQIDBA=='));
        for (const body of bad) {
            const session = await polling(sp, { eio });
            const answer = await session.post(body);
            assert.equal(answer.status, 400, `${JSON.stringify(body)}: ${answer.body}`);
            await isGone(session, body);
        }
    });

    test(`${engine}: a second GET is refused and ends the session`, async (t) => {
        const sp = await start(t);
        const session = await polling(sp, { eio });
        const answers = await Promise.all([session.get(), session.get()]);
        assert.deepEqual(answers.map(({ status }) => status).sort(), [200, 400]);
        assert.equal(answers.find(({ status }) => status === 200).body.toString(), session.packet('1'));
        await isGone(session);
    });

    test(`${engine}: a second POST is refused and ends the session`, async (t) => {
        const sp = await start(t, { 'gateway.workers': 1 });
        const session = await polling(sp, { eio });
        const slow = http.request(session.url, { method: 'POST', agent: false, headers: { 'Content-Length': 100 } });
        t.after(() => slow.destroy());
        slow.on('error', () => {});
        await new Promise((resolve) => slow.write('4', resolve));
        const waiting = session.get();
        await settled(sp);
        assert.equal((await session.post(session.packet('6'))).status, 400);
        assert.equal((await waiting).body.toString(), session.packet('1'));
        await isGone(session);
    });

    test(`${engine}: who leaves in the midst of a GET has left`, async (t) => {
        const sp = await start(t);
        const session = await polling(sp, { eio });
        const wire = dial(t, sp);
        await wire.send(`GET ${session.url.slice(sp.url.length)} HTTP/1.1\r\nHost: x\r\n\r\n`);
        wire.socket.destroy();
        await until(async () => (await session.post(session.packet('6'))).status === 400, 'the end of the session');
        await isGone(session);
    });

    test(`${engine}: who leaves in the midst of a POST may send another`, async (t) => {
        const sp = await start(t);
        const session = await polling(sp, { eio });
        const wire = dial(t, sp);
        await wire.send(`POST ${session.url.slice(sp.url.length)} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n`);
        await wire.said(/^HTTP\/1.1 100 /);
        wire.socket.end();
        await wire.end();
        const waiting = session.get();
        assert.equal((await session.post(session.packet('4x'))).status, 200);
        assert.equal((await waiting).body.toString(), session.packet('4x'));
    });

    test(`${engine}: a body longer than max_payload is refused`, async (t) => {
        const sp = await start(t, { 'gateway.limits.max_payload': 5000 });
        const session = await polling(sp, { eio });
        const longest = session.packet(`4${'x'.repeat(eio === 3 ? 4994 : 4999)}`);
        assert.equal(longest.length, 5000);
        assert.equal((await session.post(longest)).status, 200);
        assert.equal((await session.get()).body.toString(), longest);
        assert.equal((await session.post(`${longest}x`)).status, 413);
    });

    test(`${engine}: text and binary by WebSocket; what is no packet closes it`, async (t) => {
        const sp = await start(t);
        const raw = await connected(t, sp, eio);
        raw.send('4hello');
        assert.equal(await raw.receive(), '4hello');
        const bytes = eio === 3 ? Buffer.concat([Buffer.from([4]), BYTES]) : BYTES;
        raw.send(bytes);
        assert.deepEqual(await raw.receive(), bytes);
        const bad = ['abc', '7', '', '0{}', 'b!', eio === 4 ? '2' : '3'];
        if (eio === 3) bad.push(Buffer.from([]), Buffer.from([3, 1]), Buffer.from('4x'));
        for (const message of bad) {
            const other = await connected(t, sp, eio);
            other.send(message);
            assert.equal((await other.closed()).code, 1002, JSON.stringify(message));
        }
    });

    test(`${engine}: base64 also by WebSocket`, async (t) => {
        const sp = await start(t);
        const raw = webSocket(t, sp, `EIO=${eio}&transport=websocket&b64=1`);
        await raw.receive();
        raw.send(eio === 3 ? 'b4AQIDBA==' : 'bAQIDBA==');
        assert.equal(await raw.receive(), eio === 3 ? 'b4AQIDBA==' : 'bAQIDBA==');
    });

    test(`${engine}: heartbeats, whoever begins them`, async (t) => {
        const sp = await start(t, { 'gateway.ping_interval': '60ms', 'gateway.ping_timeout': '5s' });
        const session = await polling(sp, { eio });
        const raw = await connected(t, sp, eio);
        for (let i = 0; i < 3; i++) {
            if (eio === 3) {
                assert.equal((await session.post('1:2')).status, 200);
                assert.equal((await session.get()).body.toString(), '1:3');
                raw.send('2');
                assert.equal(await raw.receive(), '3');
            } else {
                assert.equal((await session.get()).body.toString(), '2');
                assert.equal((await session.post('3')).status, 200);
                assert.equal(await raw.receive(), '2');
                raw.send('3');
            }
        }
    });

    test(`${engine}: without a heartbeat there is an end`, async (t) => {
        const sp = await start(t, { 'gateway.ping_interval': '60ms', 'gateway.ping_timeout': '100ms' });
        const silent = await polling(sp, { eio });
        await until(async () => (await silent.post(silent.packet('6'))).status === 400, 'the end');
        await isGone(silent);

        const waiting = await polling(sp, { eio });
        let last = await waiting.get();
        if (eio === 4) {
            assert.equal(last.body.toString(), '2');
            last = await waiting.get();
        }
        assert.equal(last.body.toString(), waiting.packet('1'));
        await isGone(waiting);

        const raw = await connected(t, sp, eio);
        if (eio === 4) assert.equal(await raw.receive(), '2');
        assert.equal(await raw.receive(), null);
    });

    test(`${engine}: a client that closes is let go`, async (t) => {
        const sp = await start(t, { 'gateway.workers': 1 });
        const session = await polling(sp, { eio });
        const waiting = session.get();
        await settled(sp);
        assert.equal((await session.post(session.packet('1'))).status, 200);
        const got = await waiting;
        assert.equal(got.status, 200);
        assert.equal(got.body.toString(), session.packet('6'));
        await isGone(session);
        const late = await polling(sp, { eio }); /* its GET is overtaken by its POST */
        assert.equal((await late.post(late.packet('1'))).status, 200);
        assert.equal((await late.get()).body.toString(), late.packet('6'));
        await isGone(late);
        const raw = await connected(t, sp, eio);
        raw.send('1');
        await raw.closed();
    });

    test(`${engine}: polling becomes a WebSocket; the session takes nothing else any more`, async (t) => {
        const sp = await start(t);
        const session = await polling(sp, { eio });
        const raw = open(t, session.webSocket);
        assert.equal(await raw.status(), 101);
        raw.send('2probe');
        assert.equal(await raw.receive(), '3probe');
        assert.equal((await session.get()).body.toString(), session.packet('6'));
        raw.send('5');
        raw.send('4hello');
        assert.equal(await raw.receive(), '4hello');

        const answer = await session.get();
        assert.equal(answer.status, 400);
        assert.equal(code(answer), 1);
        assert.equal((await session.post(session.packet('4x'))).status, 400);
        await open(t, session.webSocket).closed();
        raw.send('4still here');
        assert.equal(await raw.receive(), '4still here');
    });

    test(`${engine}: a poll right after the upgrade finds the session gone, whichever worker it reaches, and however busy`, async (t) => {
        const sp = await start(t, { 'gateway.workers': 2, 'gateway.limits.per_address': 0 });
        for (let i = 0; i < 8; i++) {
            const busy = await connected(t, sp, eio);
            busy.ws.on('message', (text) => busy.send(text.toString()));
            for (let n = 0; n < 32; n++) busy.send(`4${'x'.repeat(100)}`);
        }
        for (let i = 0; i < 40; i++) {
            const session = await polling(sp, { eio });
            const raw = open(t, session.webSocket);
            await raw.status();
            raw.send('2probe');
            assert.equal(await raw.receive(), '3probe');
            raw.send('5');
            raw.send('4hello');
            const answer = await ask(session.url, { headers: { Connection: 'close' } });
            assert.equal(answer.status, 400, answer.body.toString());
            assert.equal(await raw.receive(), '4hello');
            raw.ws.terminate();
        }
    });

    test(`${engine}: a GET that waits is answered by the probe, and what was queued comes once, in order`, async (t) => {
        const sp = await start(t);
        const session = await polling(sp, { eio });
        const waiting = session.get();
        const raw = open(t, session.webSocket);
        await raw.status();
        raw.send('2probe');
        assert.equal(await raw.receive(), '3probe');
        assert.equal((await waiting).body.toString(), session.packet('6'));
        for (let i = 0; i < 5; i++) assert.equal((await session.post(session.packet(`4${i}`))).status, 200);
        raw.send('5');
        raw.send('45');
        for (let i = 0; i < 6; i++) assert.equal(await raw.receive(), `4${i}`);
    });

    test(`${engine}: an upgrade that fails leaves the session polling`, async (t) => {
        const sp = await start(t, { 'gateway.upgrade_timeout': '100ms' });
        const session = await polling(sp, { eio });
        for (const messages of [['hello'], ['5'], ['2probe', '4x'], ['2'], [BYTES], []]) {
            const raw = open(t, session.webSocket);
            assert.equal(await raw.status(), 101);
            for (const message of messages) raw.send(message);
            await raw.closed();
            const [got] = await Promise.all([session.get(), session.post(session.packet('4here'))]);
            assert.equal(got.body.toString(), session.packet('4here'));
        }
        const first = open(t, session.webSocket);
        await first.status();
        assert.equal(await open(t, session.webSocket).status(), 400); /* one at a time */
    });
}

test('Engine.IO 4: text and binary in one payload, which is base64', async (t) => {
    const sp = await start(t);
    for (const payload of ['4hello\x1ebAQIDBA==', 'b', 'b\x1e4\x1ebAA==']) {
        const session = await polling(sp);
        assert.equal((await session.post(payload)).status, 200);
        assert.equal((await session.get()).body.toString(), payload);
    }
});

test('Engine.IO 4 knows no octet-stream', async (t) => {
    const sp = await start(t);
    const session = await polling(sp);
    assert.equal((await session.post(Buffer.from([0, 2, 255, 52, 97]), OCTETS)).status, 400);
    await isGone(session);
});

const octets = (...packets) => Buffer.concat(packets.map((packet) => Buffer.concat([
    Buffer.from([typeof packet === 'string' ? 0 : 1, ...`${Buffer.from(packet).length}`].map(Number)),
    Buffer.from([255]), Buffer.from(packet)])));
const binary = (bytes) => Buffer.concat([Buffer.from([4]), bytes]);

test('Engine.IO 3: binary comes as it was asked for, base64 or octets, however it was sent', async (t) => {
    const sp = await start(t);
    const sent = [['6:4hello10:b4AQIDBA==', undefined], [octets('4hello', binary(BYTES)), OCTETS]];
    for (const [body, type] of sent) {
        const old = await polling(sp, { eio: 3, query: '&b64=1' });
        assert.equal((await old.post(body, type)).status, 200);
        assert.equal((await old.get()).body.toString(), '6:4hello10:b4AQIDBA==');
        const session = await polling(sp, { eio: 3 });
        assert.equal((await session.post(body, type)).status, 200);
        const got = await session.get();
        assert.match(got.headers.get('content-type'), /^application\/octet-stream/);
        assert.deepEqual([...got.body], [0, 6, 255, ...Buffer.from('4hello'), 1, 5, 255, 4, 1, 2, 3, 4]);
    }
});

test('Engine.IO 3: octets count bytes, not characters; empty and long ones pass too', async (t) => {
    const sp = await start(t);
    for (const packets of [['4€🦀'], [binary(Buffer.alloc(0))], ['4', binary(Buffer.alloc(12_345, 'sallyport')), '4after'],
        [binary(Buffer.from([0, 255, 1, 255])), '4ü']]) {
        const session = await polling(sp, { eio: 3 });
        assert.equal((await session.post(octets(...packets), OCTETS)).status, 200);
        const { body } = await session.get();
        const isPlain = packets.every((packet) => typeof packet === 'string' && /^[\0-\x7f]*$/.test(packet));
        assert.deepEqual(body, isPlain ? Buffer.from(counted(...packets)) : octets(...packets));
    }
});

test('Engine.IO 3: octets that are no payload end the session', async (t) => {
    const sp = await start(t);
    const bad = {
        'neither text nor binary': [2, 1, 255, 52], 'no length': [0, 255, 52], 'a digit above nine': [0, 10, 255, 52],
        'no end of the length': [0, 1], 'only a type': [0], 'less than announced': [0, 3, 255, 52, 97],
        'digits as text': [0, 0x31, 255, 52], 'a length without end': [0, ...Array(30).fill(9), 255, 52],
        'a type after a good packet': [0, 2, 255, 52, 97, 7], 'binary of another type': [1, 2, 255, 3, 1],
        'binary without a type': [1, 0, 255], 'text without a type': [0, 0, 255], nothing: [],
    };
    for (const [name, body] of Object.entries(bad)) {
        const session = await polling(sp, { eio: 3 });
        assert.equal((await session.post(Buffer.from(body), OCTETS)).status, 400, name);
        await isGone(session, name);
    }
});

test('Engine.IO 3 shows load balancers a cookie, 4 does not', async (t) => {
    const sp = await start(t);
    const session = await polling(sp, { eio: 3 });
    assert.equal(session.first.headers.get('set-cookie'), `io=${session.sid}; Path=/; HttpOnly; SameSite=Strict`);
    assert.equal((await session.post('2:4x')).headers.get('set-cookie'), null);
    assert.equal((await polling(sp)).first.headers.get('set-cookie'), null);
});

test('a session is found by whichever worker its requests reach', async (t) => {
    const sp = await start(t, { 'gateway.workers': 4 });
    const session = await polling(sp);
    for (let i = 0; i < 40; i++) {
        const headers = { Connection: 'close' };
        const [got] = await Promise.all([ask(session.url, { headers }), ask(session.url, { method: 'POST', body: `4${i}`, headers })]);
        assert.equal(got.body.toString(), `4${i}`);
    }
});
