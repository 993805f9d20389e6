/* HTTP before Socket.IO sees anything: what is no sound request is refused, what is none at all is closed. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { instance, until } from '../lib.mjs';
import { ask, code, dial, polling } from './wire.mjs';

const rules = 'namespace "/" { authenticate none }';
const start = (t, settings = {}) => instance(t, { login: false, rules,
    settings: { 'gateway.limits.per_address': 0, ...settings } });
const poll = (sp) => polling(sp, { path: '/socket.io/' });
const handshake = '/socket.io/?EIO=4&transport=polling';

/* All that the gateway says to these bytes, and that it then closes. */
async function answers(t, sp, bytes) {
    const wire = dial(t, sp);
    await wire.send(bytes);
    return wire.end();
}
const get = (...headers) => `GET ${handshake} HTTP/1.1\r\n${headers.map((line) => `${line}\r\n`).join('')}\r\n`;
const post = (...headers) => get(...headers).replace('GET', 'POST');

/* So that nothing follows that could be taken for a request. */
const smuggled = 'GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n';

const unsound = {
    'no Host': get(), 'two Hosts': get('Host: x', 'Host: y'), 'the same Host twice': get('Host: x', 'host: x'),
    'two lengths': `${post('Host: x', 'Content-Length: 1', 'Content-Length: 2')}4${smuggled}`,
    'the same length twice': `${post('Host: x', 'Content-Length: 1', 'Content-Length: 1')}4${smuggled}`,
    'a length and chunks': `${post('Host: x', 'Content-Length: 3', 'Transfer-Encoding: chunked')}0\r\n\r\n${smuggled}`,
    'chunks and a length': `${post('Host: x', 'Transfer-Encoding: chunked', 'Content-Length: 3')}0\r\n\r\n${smuggled}`,
    'chunks twice': `${post('Host: x', 'Transfer-Encoding: chunked', 'Transfer-Encoding: chunked')}0\r\n\r\n${smuggled}`,
    'an unknown coding': `${post('Host: x', 'Transfer-Encoding: gzip')}${smuggled}`,
    'a coding in disguise': `${post('Host: x', 'Transfer-Encoding: xchunked')}${smuggled}`,
    'a length with a sign': `${post('Host: x', 'Content-Length: +1')}4${smuggled}`,
    'a negative length': `${post('Host: x', 'Content-Length: -1')}${smuggled}`,
    'a length in words': `${post('Host: x', 'Content-Length: one')}${smuggled}`,
    'a length list': `${post('Host: x', 'Content-Length: 1, 1')}4${smuggled}`,
    'a length without end': `${post('Host: x', `Content-Length: ${'9'.repeat(40)}`)}4${smuggled}`,
    'a bare CR in a header': get('Host: x', 'X-Note: a\rb'),
    'another control character': get('Host: x', 'X-Note: a\x07b'), 'a DEL': get('Host: x', 'X-Note: a\x7fb'),
    'a bare CR in the Host': get('Host: x\ry'),
    /* libmicrohttpd 0.9 ends a value at its NUL, and what stands behind it in that line is nowhere. */
    'a second Host behind a NUL': get('Host: x', 'X-Note: a\0', 'Host: y'), 'a length behind one': `${post('Host: x',
        'Content-Length: 1\0', 'Transfer-Encoding: chunked')}0\r\n\r\n${smuggled}`,
    'a blank before the colon': `${post('Host: x', `Content-Length : ${smuggled.length}`)}${smuggled}${smuggled}`,
    'a tab before the colon': `${post('Host: x', 'Transfer-Encoding\t: chunked')}0\r\n\r\n${smuggled}`,
    'a CR before the name': `${post('Host: x', `\rContent-Length: ${smuggled.length}`)}${smuggled}${smuggled}`,
    'a folded length': `${post('Host: x', 'Content-Length:', ` ${smuggled.length}`)}${smuggled}${smuggled}`,
    'a folded length after a digit': `${post('Host: x', 'Content-Length: 1', ' 0')}4444444444${smuggled}`,
    'folded chunks': `${post('Host: x', 'Transfer-Encoding:', '\tchunked')}0\r\n\r\n${smuggled}`,
    'a folded line': `${post('Host: x', 'X-Note: a', ` Content-Length: ${smuggled.length}`)}${smuggled}`,
    'a folded token': `${post('Host: x', 'X-Note: a', ' b')}${smuggled}`, 'an empty line that is folded': `${post('Host: x', 'X-Note:', ' ')}${smuggled}`,
    'a first line that is folded': `${post(' X: y', 'Host: x')}${smuggled}`, 'no name': `${post('Host: x', ': y')}${smuggled}`,
    'a bad character in a name': `${post('Host: x', 'a(b: c')}${smuggled}`, 'two names in one Host': get('Host: x, y'),
    'a way in the Host': get('Host: x/y'), 'a user in the Host': get('Host: x@y'),
    'another host in the target': get('Host: x').replace('/', 'http://y/'), 'half of it': get('Host: xy').replace('/', 'http://x/'),
    'a NUL in the query': `GET ${handshake}&x=%00 HTTP/1.1\r\nHost: x\r\n\r\n`,
    'a NUL in the version': `GET /socket.io/?EIO=4%00&transport=polling HTTP/1.1\r\nHost: x\r\n\r\n`,
    'a NUL in a name': `GET ${handshake}&a%00b=1 HTTP/1.1\r\nHost: x\r\n\r\n`,
};

test('a request that can be read in two ways is refused and the connection closed', async (t) => {
    const sp = await start(t);
    for (const [name, bytes] of Object.entries(unsound)) {
        const text = await answers(t, sp, bytes);
        for (const [status] of text.matchAll(/HTTP\/1\.\d \d+/g)) assert.match(status, /400|413/, `${name}: ${text}`);
        assert.doesNotMatch(text, /"sid"|"ok"/, name);
    }
    assert.equal((await ask(`${sp.url}/healthz`)).status, 200);
});

test('what is not HTTP is closed', async (t) => {
    const sp = await start(t, { 'gateway.request_timeout': '500ms' });
    for (const bytes of ['\r\n\r\nhello\r\n\r\n', 'GET\r\n\r\n', `GET ${handshake}\r\n\r\n`, `GET ${handshake} HTTP/1.1 x\r\nHost: x\r\n\r\n`,
        `GET ${handshake} HTTP/2.0\r\nHost: x\r\n\r\n`, '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n', `${'\0'.repeat(100)}\r\n\r\n`]) {
        const text = await answers(t, sp, bytes);
        assert.doesNotMatch(text, /HTTP\/1\.1 200|"sid"/, JSON.stringify(bytes));
    }
});

test('a head that is too large is refused, however it is', async (t) => {
    const sp = await start(t);
    for (const bytes of [`GET /${'x'.repeat(100_000)} HTTP/1.1\r\nHost: x\r\n\r\n`, get('Host: x', `X-Note: ${'x'.repeat(100_000)}`),
        get('Host: x', ...Array.from({ length: 10_000 }, (_, i) => `X-${i}: x`)),
        `GET ${handshake}${'&x=1'.repeat(30_000)} HTTP/1.1\r\nHost: x\r\n\r\n`]) {
        const text = await answers(t, sp, bytes);
        assert.match(text, /^(HTTP\/1\.1 4(00|13|14|31) |$)/);
    }
    const text = dial(t, sp);
    await text.send(get('Host: x', `X-Note: ${'x'.repeat(8000)}`));
    assert.match(await text.said(/"sid"/), /^HTTP\/1\.1 200 /);
});

/* What a client says, a byte at a time, and when it stops, is the test's; the deadline is for the whole. */
const stalled = {
    'says nothing': '', 'says half a line': 'GET /socket', 'has no end of its head': get('Host: x').slice(0, -2),
    'sends a part of its body': `${post('Host: x', 'Content-Length: 10')}4`,
    'sends a part of a chunk': `${post('Host: x', 'Transfer-Encoding: chunked')}5\r\n4`,
    'asks once and then says half': `${request('GET', 'EIO=9&transport=polling')}GET /he`,
};
for (const [name, bytes] of Object.entries(stalled)) {
    test(`a connection that ${name} is closed after request_timeout`, async (t) => {
        const sp = await start(t, { 'gateway.request_timeout': '200ms' });
        const from = Date.now();
        const text = await answers(t, sp, bytes);
        assert.ok(Date.now() - from >= 190, `closed after ${Date.now() - from} ms`);
        assert.doesNotMatch(text, /"sid"/);
    });
}

test('a head or a body that comes in drops has the same deadline: drops do not lengthen it', async (t) => {
    const sp = await start(t, { 'gateway.workers': 1, 'gateway.request_timeout': '300ms' });
    const session = await poll(sp);
    const own = session.url.slice(sp.url.length);
    for (const [bytes, drop] of [[`GET ${handshake} HTTP/1.1\r\nHost: x\r\n`, 'X: y\r\n'],
        [`POST ${own} HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n`, '6\x1e']]) {
        const wire = dial(t, sp);
        await wire.send(bytes);
        const drops = setInterval(() => wire.socket.write(drop), 20);
        await wire.end().finally(() => clearInterval(drops));
    }
    assert.match(await answers(t, sp, get('Host: x', 'Connection: close')), /"sid"/); /* by then the end of the others is known */
    const [got] = await Promise.all([session.get(), session.post('40')]); /* the session is as it was */
    assert.match(got.body.toString(), /^40\{/);
});

test('a GET that waits is not a slow request', async (t) => {
    const sp = await start(t, { 'gateway.request_timeout': '100ms', 'gateway.ping_interval': '500ms' });
    const session = await poll(sp);
    assert.equal((await session.get()).body.toString(), '2');
});

test('a connection serves several requests, also when they come at once', async (t) => {
    const sp = await start(t);
    const wire = dial(t, sp);
    await wire.send(get('Host: x').repeat(3));
    await wire.said(/(HTTP\/1\.1 200 [^]*){3}/);
    await wire.send(get('Host: x'));
    await wire.said(/(HTTP\/1\.1 200 [^]*){4}/);
});

/* ---- plain requests are read by our own hand, others by libmicrohttpd: nobody may notice ---- */

const webSocket = ['Upgrade: websocket', 'Connection: Upgrade', 'Sec-WebSocket-Version: 13', 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=='];
function request(method, query, headers = [], body = '') {
    return `${method} /socket.io/?${query} HTTP/1.1\r\n${['Host: x', ...headers,
    ...body && [`Content-Length: ${body.length}`]].map((line) => `${line}\r\n`).join('')}\r\n${body}`;
}

/* Sorted headers, without the time and whether more may follow; and no ids. */
function comparable(text) {
    const [head, body] = text.replace(/(?<="sid":"|io=)[\w-]{20}/g, '').split('\r\n\r\n');
    const [status, ...headers] = head.split('\r\n');
    return [status, ...headers.filter((line) => !/^Date|^Connection: close/.test(line)).sort(), / 101 /.test(status) ? '' : body].join('\n');
}

test('a plain request is answered as one that has to be decoded', async (t) => {
    const sp = await start(t, { 'gateway.origins': 'https://example.org', 'gateway.deflate': true });
    const requests = {
        'a handshake': ['GET', 'EIO=4&transport=polling'], 'one of version 3': ['GET', 'EIO=3&transport=polling'],
        'of no version': ['GET', 'transport=polling'], 'by POST': ['POST', 'EIO=4&transport=polling', [], '40'],
        'of no transport': ['GET', 'EIO=4'], 'of an unknown session': ['GET', 'EIO=4&transport=polling&sid=AAAAAAAAAAAAAAAAAAAA'],
        'of a bad session': ['POST', 'EIO=4&transport=polling&sid=x', [], '40'], 'a GET with a body': ['GET', 'EIO=4&transport=polling', [], '40'],
        'from another page': ['GET', 'EIO=4&transport=polling', ['Origin: https://example.com']],
        'from an allowed one': ['GET', 'EIO=4&transport=polling', ['Origin: https://example.org']],
        'two values': ['GET', 'EIO=4&EIO=3&transport=polling&transport=x'], 'names in capitals': ['GET', 'eio=4&TRANSPORT=polling'],
        'a name without a value': ['GET', 'EIO=4&transport=polling&sid'], 'one of two': ['GET', 'EIO=4&transport&transport=polling'], 'an empty value': ['GET', 'EIO=4&transport=polling&sid='],
        'the last one': ['GET', 'EIO=4&transport=polling', ['Connection: close']],
        'a WebSocket': ['GET', 'EIO=4&transport=websocket', webSocket], 'without a key': ['GET', 'EIO=4&transport=websocket', webSocket.slice(0, 3)],
        'of an old version': ['GET', 'EIO=4&transport=websocket', [...webSocket.slice(0, 2), 'Sec-WebSocket-Version: 8', webSocket[3]]],
        'with an extension': ['GET', 'EIO=4&transport=websocket', [...webSocket, 'Sec-WebSocket-Extensions: permessage-deflate']],
    };
    for (const [name, [method, query, ...rest]] of Object.entries(requests)) {
        const [plain, decoded] = await Promise.all([query, `${query}&x=%20`].map(async (text) => {
            const wire = dial(t, sp);
            await wire.send(request(method, text, ...rest));
            const answer = await wire.said(/\r\n\r\n.*\}$/);
            if (name === 'the last one') await wire.end();
            return comparable(answer);
        }));
        assert.equal(plain, decoded, name);
    }
});

test('plain requests are answered in their order, up to the first that is not', async (t) => {
    const sp = await start(t);
    const plain = request('GET', 'EIO=4&transport=polling'), decoded = request('GET', 'EIO=4&transport=%70olling');
    for (const [n, ...order] of [[2, plain, smuggled, plain], [3, plain, plain, decoded, plain], [1, decoded, plain, smuggled]]) {
        const text = await answers(t, sp, order.join(''));
        assert.deepEqual([...text.matchAll(/\{"(\w+)"/g)].map(([, word]) => word),
            order.slice(0, n).map((one) => one === smuggled ? 'status' : 'sid'));
    }
});

test('a plain request that comes in drops is one', async (t) => {
    const sp = await start(t);
    const session = await poll(sp);
    const wire = dial(t, sp);
    for (const drop of request('POST', session.url.split('?')[1], [], '40')) await wire.send(drop);
    assert.match(await wire.said(/ok$/), /^HTTP\/1\.1 200 /);
    assert.match((await session.get()).body.toString(), /^40\{/);
});

test('who asks, closes its side and goes is noticed while it waits', async (t) => {
    const sp = await start(t);
    const session = await poll(sp);
    const wire = dial(t, sp);
    await wire.send(request('GET', session.url.split('?')[1]));
    wire.socket.end();
    await wire.end();
    await until(async () => (await session.post('6')).status === 400, 'the end of the session');
});

test('who posts and closes its side has its answer, whichever worker it asks, and however it is read', async (t) => {
    const sp = await start(t, { 'gateway.workers': 4 });
    for (const more of ['', '&decoded=%20'])
        for (let i = 0; i < 12; i++) {
            const session = await poll(sp);
            const wire = dial(t, sp);
            wire.socket.end(request('POST', session.url.split('?')[1] + more, [], '40'));
            assert.match(await wire.end(), /^HTTP\/1\.1 200 [^]*ok$/);
        }
});

/* ---- where the page comes from ---- */

const cors = (headers) => ['access-control-allow-origin', 'access-control-allow-credentials', 'vary'].map((name) => headers.get(name));
const from = (sp, origin, options = {}) => ask(`${sp.url}${handshake}`, { ...options, headers: { Origin: origin, ...options.headers } });

test('pages of our own and of allowed origins may come, others may not', async (t) => {
    const sp = await start(t, { 'gateway.origins': 'https://example.org' });
    const own = await from(sp, sp.url);
    assert.equal(own.status, 200);
    assert.deepEqual(cors(own.headers), [null, null, null]);
    const allowed = await from(sp, 'https://example.org');
    assert.equal(allowed.status, 200);
    assert.deepEqual(cors(allowed.headers), ['https://example.org', 'true', 'Origin']);
    for (const origin of ['https://example.com', 'null', 'http://example.org', 'https://example.org:8443', 'https://example.org.evil.example',
        'https://evil.example/https://example.org', `https://127.0.0.1`, `http://127.0.0.1:${sp.port}0`, '*', 'x', `http://x@127.0.0.1:${sp.port}`]) {
        const answer = await from(sp, origin);
        assert.equal(answer.status, 403, origin);
        assert.equal(code(answer), 4);
        assert.deepEqual(cors(answer.headers), [null, null, null]);
        const preflight = await from(sp, origin, { method: 'OPTIONS' });
        assert.equal(preflight.status, 403, origin);
        assert.equal(await sp.raw('', { origin }).status(), 403, origin);
    }
    assert.equal(await sp.raw('', { origin: sp.url }).status(), 101);
    assert.equal(await sp.raw('', { origin: 'https://example.org' }).status(), 101);
});

test('"*" allows every page, without credentials; whoever is named beside it has them', async (t) => {
    const sp = await start(t, { 'gateway.origins': '*,https://example.org' });
    assert.deepEqual(cors((await from(sp, 'https://example.com')).headers), ['*', null, 'Origin']);
    assert.deepEqual(cors((await from(sp, 'https://example.org')).headers), ['https://example.org', 'true', 'Origin']);
    assert.equal(await sp.raw('', { origin: 'https://example.com' }).status(), 101);
    for (const origin of ['null', 'NULL', '*']) {
        assert.equal((await from(sp, origin)).status, origin === '*' ? 200 : 403, origin);
        assert.equal(await sp.raw('', { origin }).status(), origin === '*' ? 101 : 403, origin);
    }
});

test('"null" has to be named, and never has credentials', async (t) => {
    const sp = await start(t, { 'gateway.origins': 'null' });
    assert.deepEqual(cors((await from(sp, 'null')).headers), ['null', null, 'Origin']);
    assert.equal(await sp.raw('', { origin: 'null' }).status(), 101);
    assert.equal((await from(sp, 'https://example.com')).status, 403);
});

test('a session\'s later requests are asked for their origin too', async (t) => {
    const sp = await start(t);
    const session = await poll(sp);
    for (const options of [{}, { method: 'POST', body: '40' }]) {
        const answer = await ask(session.url, { ...options, headers: { Origin: 'https://evil.example' } });
        assert.equal(answer.status, 403);
    }
    const [got] = await Promise.all([session.get(), session.post('40')]);
    assert.match(got.body.toString(), /^40\{/);
});

test('a preflight is told what may be sent', async (t) => {
    const sp = await start(t, { 'gateway.origins': 'https://example.org' });
    const { status, headers, body } = await from(sp, 'https://example.org', { method: 'OPTIONS',
        headers: { 'Access-Control-Request-Method': 'POST', 'Access-Control-Request-Headers': 'authorization,content-type' } });
    assert.equal(status, 204);
    assert.equal(body.length, 0);
    assert.deepEqual(cors(headers), ['https://example.org', 'true', 'Origin']);
    assert.deepEqual(headers.get('access-control-allow-methods').split(', '), ['GET', 'POST', 'OPTIONS']);
    assert.deepEqual(headers.get('access-control-allow-headers').split(', '), ['Content-Type', 'Authorization']);
    assert.match(headers.get('access-control-max-age'), /^\d+$/);
});

/* ---- bodies ---- */

test('a body where none is wanted is read and thrown away', async (t) => {
    const sp = await start(t);
    for (const [head, status] of [[`GET /healthz`, 200], ['POST /healthz', 405], ['POST /nowhere', 404], [`POST ${handshake}`, 400],
        [`POST ${handshake}&sid=${'A'.repeat(20)}`, 400], [`GET ${handshake}`, 200]]) {
        const wire = dial(t, sp);
        await wire.send(`${head} HTTP/1.1\r\nHost: x\r\nContent-Length: 50000\r\n\r\n${'x'.repeat(49_999)}`);
        await wire.send('x');
        assert.match(await wire.end(), new RegExp(`^HTTP/1\\.1 ${status} [^]*\\}$`));
    }
});

test('a WebSocket request with a body is none', async (t) => {
    const sp = await start(t);
    const wire = dial(t, sp);
    await wire.send('GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n'
        + 'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\nContent-Length: 1\r\n\r\nx');
    await wire.said(/^HTTP\/1\.1 400 /);
});

test('a body in chunks is a body', async (t) => {
    const sp = await start(t);
    const session = await poll(sp);
    const wire = dial(t, sp);
    await wire.send(`POST ${session.url.slice(sp.url.length)} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n4\r\n1\r\n0\r\n0\r\n\r\n`);
    await wire.said(/^HTTP\/1\.1 200 [^]*ok$/);
    assert.match((await session.get()).body.toString(), /^40\{/);
});

/* libmicrohttpd sees an end of its head, or of its body, where the web server in front may see none. */
test('behind a request that is not plain nothing is taken for one', async (t) => {
    const sp = await start(t);
    const unclear = ['Transfer-Encoding: chunked\r\n\r\n1\r\n4\r\n0\r\n\r\n', 'Transfer-Encoding: chunked\r\n\r\n1;a\n4\r\n0\r\n\r\n',
        'Transfer-Encoding: chunked\r\n\r\n1;a\rb\r\n4\n0\n\n', ': x\r\n', 'Content-Length: 10\r\n: x\r\n\r\n', 'Expect: x\r\n\r\n', 'X: %\n\n'];
    for (const rest of unclear)
        for (const version of ['HTTP/1.1', 'HTTP/1.0'])
            for (const target of ['POST /healthz', 'GET /healthz', `POST ${handshake}&sid=${'A'.repeat(20)}`]) {
                const text = await answers(t, sp, `${target} ${version}\r\nHost: x\r\nConnection: keep-alive\r\n${rest}${smuggled}`);
                assert.equal(text.match(/HTTP\/1\.1 [2-5]/g).length, 1, text);
            }
});

test('the target may be a whole URI, of the host that Host says', async (t) => {
    const sp = await start(t);
    for (const scheme of ['http', 'https', 'HTTP']) {
        const wire = dial(t, sp);
        await wire.send(get('Host: Example.org:80').replace('/', `${scheme}://example.org:80/`));
        assert.match(await wire.end(), /^HTTP\/1\.1 200 [^]*"sid"/);
        assert.match(await answers(t, sp, get('Host: x').replace(handshake, `${scheme}://x`)), /^HTTP\/1\.1 404 /);
    }
});

test('a body without a length may not be longer than max_payload either', async (t) => {
    const sp = await start(t, { 'gateway.limits.max_payload': 5000 });
    const session = await poll(sp);
    const wire = dial(t, sp);
    await wire.send(`POST ${session.url.slice(sp.url.length)} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n`
        + `1770\r\n${'4'.repeat(6000)}\r\n0\r\n\r\n`);
    await wire.said(/^HTTP\/1\.1 413 /);
});

test('limits.body_bytes bounds all bodies that are arriving, and what it took it gives back', async (t) => {
    const sp = await start(t, { 'gateway.limits.body_bytes': 100_000, 'gateway.limits.max_payload': 50_000 });
    const post = (session, bytes, sent) => `POST ${session.url.slice(sp.url.length)} HTTP/1.1\r\nHost: x\r\nContent-Length: ${bytes}\r\n\r\n${'6'.repeat(sent)}`;
    const held = [];
    for (let i = 0; i < 2; i++) {
        held.push(dial(t, sp));
        await held[i].send(post(await poll(sp), 20_001, 20_000));
    }
    const refused = async () => {
        const wire = dial(t, sp);
        await wire.send(post(await poll(sp), 17_000, 17_000));
        return /^HTTP\/1\.1 503 /.test(await wire.said(/^HTTP\/1\.1 \d+ /));
    };
    await until(refused, 'the bodies to be too many');
    for (const wire of held) wire.socket.destroy();
    await until(async () => !await refused(), 'room for another');
});
