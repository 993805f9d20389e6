/* Where a token may stand, which of several decides, and what a refusal before the connection says. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import test from 'node:test';
import { instance, misSign, next, program, rawClient, request, run, within } from '../lib.mjs';

const require = createRequire(import.meta.url);
const rules = `namespace "/" { authenticate required; on "me" { ack $user } }
namespace "/custom" { authenticate required; on "me" { ack $user } }`;
const users = { auth: {}, header: {}, cookie: {}, query: {} };
const started = (t, settings = {}, text = rules) => instance(t, { rules: text, users, login: false, settings });
const polling = '/socket.io/?EIO=4&transport=polling';
const bearer = (token) => ({ Authorization: `Bearer ${token}` });

/* Whose token decided, or the words of the refusal; `connect` are options of the client 4.x. */
async function outcome(sp, connect, namespace) {
    const socket = sp.client({ namespace, ...connect });
    const heard = await within(new Promise((resolve) => {
        socket.once('connect', () => resolve(null)).once('connect_error', resolve);
    }), 'the gateway to decide');
    const said = heard ? heard.data?.code ?? heard.message : await socket.emitWithAck('me');
    socket.disconnect();
    return said;
}

/* The same for Engine.IO 3's clients. */
async function oldOutcome(t, sp, version, namespace, options) {
    const socket = require(`socket.io-client-${version}`)(sp.url + namespace, { forceNew: true, reconnection: false, ...options });
    t.after(() => socket.disconnect());
    return within(new Promise((resolve) => {
        socket.once('error', (error) => resolve(error.code));
        socket.once('connect', () => socket.emit('me', resolve));
    }), 'the gateway to decide');
}

test('the first source that is there decides, whatever the others say', async (t) => {
    const sp = await started(t, { 'gateway.token_cookie': 'sp' });
    const tokens = Object.fromEntries(Object.keys(users).map((name) => [name, sp.token(name)]));
    for (const transports of [['websocket'], ['polling']]) {
        const connect = (names, change = (token) => token) => ({ transports,
            ...(names.includes('auth') && { auth: { token: change(tokens.auth) } }),
            extraHeaders: { ...(names.includes('header') && bearer(change(tokens.header))),
                ...(names.includes('cookie') && { Cookie: `a=1; sp=${change(tokens.cookie)}; b=2` }) },
            ...(names.includes('query') && { query: { token: change(tokens.query) } }) });
        const order = Object.keys(users);
        for (let i = 0; i < order.length; i++) {
            assert.equal(await outcome(sp, connect(order.slice(i))), order[i]);
            const bad = connect(order.slice(i));
            Object.assign(bad, i === 0 ? { auth: { token: 'x' } } : {});
            if (i === 1) bad.extraHeaders.Authorization += 'x';
            if (i === 2) bad.extraHeaders.Cookie = bad.extraHeaders.Cookie.replace('; b', 'x; b');
            if (i === 3) bad.query.token += 'x';
            assert.equal(await outcome(sp, bad), 'invalid_token', `a bad one in ${order[i]}`);
        }
        assert.equal(await outcome(sp, { ...connect(['query']), auth: { token: '' } }), 'query', 'an empty one is none');
        assert.equal(await outcome(sp, connect([])), 'credentials_required');
    }
});

test('each source can be switched off', async (t) => {
    const given = (sp) => ({ auth: { token: sp.token('auth') }, extraHeaders: { ...bearer(sp.token('header')), Cookie: `sp=${sp.token('cookie')}` },
        query: { token: sp.token('query') } });
    for (const [settings, who] of [[{}, 'auth'], [{ 'gateway.token_sources': 'header,query' }, 'header'],
        [{ 'gateway.token_sources': 'query' }, 'query'], [{ 'gateway.token_sources': 'query', 'gateway.token_cookie': 'sp' }, 'cookie'],
        [{ 'gateway.token_sources': 'query', 'gateway.require_header': true }, 'header']]) {
        const sp = await started(t, settings);
        assert.equal(await outcome(sp, given(sp)), who, JSON.stringify(settings));
        await sp.stop();
    }
});

test('Authorization is two words; those of another scheme are somebody else\'s', async (t) => {
    const sp = await started(t);
    const query = { token: sp.token('query') };
    for (const header of ['Bearer', `Bearer ${query.token} x`, `Bearer  ${query.token}`, query.token, 'Digest a="b", c="d"'])
        assert.equal(await outcome(sp, { extraHeaders: { Authorization: header }, query }), 'credentials_bad_format', header);
    assert.equal(await outcome(sp, { extraHeaders: { Authorization: 'Basic YTpi' }, query }), 'query');
    assert.equal(await outcome(sp, { extraHeaders: { Authorization: `bEARER ${sp.token('header')}` } }), 'header');
    const [error] = await next(sp.client({ extraHeaders: { Authorization: 'Bearer' } }), 'connect_error');
    assert.deepEqual(error.data, { message: 'Format is Authorization: Bearer [token]', code: 'credentials_bad_format', type: 'UnauthorizedError' });
});

test('require_header: nothing else counts, and who sends none is told', async (t) => {
    const sp = await started(t, { 'gateway.require_header': true, 'gateway.token_cookie': 'sp' },
        `${rules} namespace "/guests" { authenticate optional; on "me" { ack 1 } }`);
    const token = sp.token('auth');
    const [error] = await next(sp.client({ token, query: { token }, extraHeaders: { Cookie: `sp=${token}` } }), 'connect_error');
    assert.deepEqual(error.data, { message: 'Server requires Authorization Header', code: 'missing_authorization_header', type: 'UnauthorizedError' });
    assert.equal(await outcome(sp, { extraHeaders: bearer(token), auth: { token: 'x' } }), 'auth');
    assert.equal(await outcome(sp, { token }, '/guests'), 1, 'guests need no header');
});

test('a cookie counts only for a page that may ask by its name', async (t) => {
    const sp = await started(t, { 'gateway.token_cookie': 'sp', 'gateway.origins': '*,null,https://friend.example' });
    const Cookie = `sp=${sp.token('cookie')}`;
    for (const [headers, counts] of [[{}, true], [{ Origin: sp.url }, true], [{ Origin: 'https://friend.example' }, true],
        [{ 'Sec-Fetch-Site': 'same-origin' }, true], [{ Origin: sp.url.replace('http', 'https'), 'Sec-Fetch-Site': 'cross-site' }, false],
        [{ Origin: 'https://evil.example' }, false], [{ Origin: 'null' }, false],
        [{ 'Sec-Fetch-Site': 'cross-site' }, false], [{ 'Sec-Fetch-Site': 'same-site' }, false], [{ 'Sec-Fetch-Site': 'none' }, false]])
        for (const transports of [['websocket'], ['polling']])
            assert.equal(await outcome(sp, { transports, extraHeaders: { Cookie, ...headers } }),
                counts ? 'cookie' : 'credentials_required', JSON.stringify(headers));
    for (const name of ['SP', 'xsp', 'sp2'])
        assert.equal(await outcome(sp, { extraHeaders: { Cookie: Cookie.replace('sp', name) } }), 'credentials_required');
});

test('clients 1.x and 2.x: by the query of the handshake and of the namespace', async (t) => {
    const sp = await started(t);
    const off = await started(t, { 'gateway.token_sources': 'header,query' });
    const query = (name) => ({ query: `token=${sp.token(name)}` });
    for (const version of [1, 2])
        for (const transports of [['websocket'], ['polling']]) {
            assert.equal(await oldOutcome(t, sp, version, '/', { transports, ...query('query') }), 'query');
            assert.equal(await oldOutcome(t, sp, version, '/custom', { transports, ...query('query') }), 'query');
            assert.equal(await oldOutcome(t, sp, version, '/', { transports }), 'credentials_required');
            assert.equal(await oldOutcome(t, sp, version, '/', { transports, extraHeaders: bearer('x y') }), 'credentials_bad_format');
        }
    /* The namespace's own decides before the handshake's. */
    const socket = require('socket.io-client-2')(sp.url, { forceNew: true, reconnection: false, ...query('query') });
    const custom = socket.io.socket('/custom', query('auth'));
    t.after(() => socket.io.close());
    assert.equal(await within(new Promise((resolve) => custom.once('connect', () => custom.emit('me', resolve)).once('error', resolve)), 'an answer'), 'auth');
    for (const [where, said] of [[sp, /^40\/custom,$/], [off, /^44\/custom,.*credentials_required/]]) {
        const old = rawClient(`${where.url.replace('http', 'ws')}/socket.io/?EIO=3&transport=websocket`);
        t.after(() => old.ws.terminate());
        assert.match(await old.receive(), /^0\{/);
        assert.match(await old.receive(), /^44\{/, 'the default namespace, unasked');
        old.send(`40/custom?token=${where.token('auth')},`);
        assert.match(await old.receive(), said);
    }
});

/* RFC 6454: the scheme is part of an origin, and only a proxy that ends TLS knows which was asked by. */
test('no cookie counts for a page that came by plain http, where the host is asked by https', async (t) => {
    const sp = await started(t, { 'gateway.token_cookie': 'sp' });
    const Cookie = `sp=${sp.token('cookie')}`;
    const [plain, secure] = [sp.url, sp.url.replace('http:', 'https:')];
    for (const [scheme, Origin, counts] of [['https', plain, false], ['HTTPS', plain, false], ['https, http', plain, false], ['https,http', plain, false],
        ['https', secure, true], ['http', plain, true], ['', plain, true], ['httpsx', plain, true], ['http, https', plain, true], ['http', secure, true]])
        for (const transports of [['websocket'], ['polling']])
            assert.equal(await outcome(sp, { transports, extraHeaders: { Cookie, Origin, 'X-Forwarded-Proto': scheme } }),
                counts ? 'cookie' : 'credentials_required', `${Origin} by ${scheme}`);
    const own = { extraHeaders: { Origin: plain, 'X-Forwarded-Proto': 'https' }, token: sp.token('auth') };
    assert.equal(await outcome(sp, own), 'auth', 'what it shows itself counts as ever');
});

/* ---- gateway.reject = "upgrade" ---- */

const closed = { 'gateway.reject': 'upgrade' };

/* Status, challenge and body, by polling and by a WebSocket. */
async function both(sp, query, headers = {}) {
    const poll = await request(`${sp.url}${polling}${query}`, { headers });
    const socket = await request(`${sp.url}${polling.replace('polling', 'websocket')}${query}`, { headers: { ...headers, Connection: 'Upgrade',
        Upgrade: 'websocket', 'Sec-WebSocket-Version': '13', 'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==' } });
    for (const name of ['status', 'body']) assert.deepEqual(socket[name], poll[name]);
    assert.equal(socket.headers['www-authenticate'], poll.headers['www-authenticate']);
    return { status: poll.status, challenge: poll.headers['www-authenticate'], headers: poll.headers, ...JSON.parse(poll.body) };
}

test('upgrade: a bad token or none is 401 before there is a socket', async (t) => {
    const sp = await started(t, { ...closed, 'gateway.metrics': true, 'gateway.origins': 'https://friend.example' });
    const token = sp.token('query');
    for (const [query, headers, message, code, challenge] of [
        ['', {}, 'no token provided', 'credentials_required', 'Bearer realm="sallyport"'],
        ['&token=x', {}, 'jwt malformed', 'invalid_token', 'Bearer realm="sallyport", error="invalid_token"'],
        [`&token=${misSign(token)}`, {}, 'invalid signature', 'invalid_token', 'Bearer realm="sallyport", error="invalid_token"'],
        [`&token=${token}`, { Authorization: 'Bearer' }, 'Format is Authorization: Bearer [token]', 'credentials_bad_format',
            'Bearer realm="sallyport", error="invalid_request"']]) {
        const { status, headers: sent, ...said } = await both(sp, query, { Origin: 'https://friend.example', ...headers });
        assert.equal(status, 401);
        assert.deepEqual(said, { message, code, type: 'UnauthorizedError', challenge });
        assert.equal(sent['access-control-allow-origin'], 'https://friend.example', 'its page may read why');
        assert.equal(sent['cache-control'], 'no-store');
    }
    const metrics = (await request(`${sp.url}/metrics`)).body;
    assert.match(metrics, /^sallyport_handshakes_total 0$/m);
    assert.match(metrics, /^sallyport_refused_tokens_total 8$/m);
    assert.equal(await outcome(sp, { query: { token } }), 'query');
    assert.equal(await outcome(sp, { query: { token }, auth: { token: 'x' } }), 'invalid_token', 'CONNECT is refused as ever');
    const refused = sp.client({ token });
    assert.match((await next(refused, 'connect_error'))[0].message, /websocket error/, 'what `auth` brings comes too late');
});

test('upgrade: with connections counted to the last, refusals leave none behind', async (t) => {
    const sp = await started(t, { ...closed, 'gateway.limits.per_address': 2 });
    for (let i = 0; i < 10; i++) assert.equal((await both(sp, '&token=x')).status, 401);
    const query = { token: sp.token('query') };
    await sp.connected({ query });
    await sp.connected({ query });
});

for (const mode of ['none', 'optional', 'later'])
    test(`upgrade: where a namespace is ${mode}, who shows no token is let in, who shows a bad one is not`, async (t) => {
        const sp = await started(t, closed, `${rules} namespace "/guests" { authenticate ${mode} }`);
        await sp.connected({ namespace: '/guests' });
        assert.equal(await outcome(sp, {}), 'credentials_required', 'CONNECT is refused as ever');
        assert.equal(await outcome(sp, { token: sp.token('auth') }), 'auth');
        assert.equal((await both(sp, '&token=x')).status, 401);
    });

test('a gate that nobody could pass is none', async (t) => {
    const sp = await started(t);
    const config = fs.readFileSync(sp.config, 'utf8');
    for (const [setting, said] of [['reject = "upgrade"; token_sources = ["auth"];', /no HTTP request can bring a token/],
        ['token_sources = [];', /nobody could show a token/]]) {
        fs.writeFileSync(sp.config, config.replace(/gateway\s*:\s*\{/, `gateway: { ${setting}`));
        const { status, stderr } = run(program('sallyport-gateway'), ['-c', sp.config, '--check']);
        assert.notEqual(status, 0);
        assert.match(stderr, said);
    }
});

test('no token comes into the log, however it arrives and whatever becomes of it', async (t) => {
    const sp = await started(t, { log_level: 'debug', 'gateway.token_cookie': 'sp' });
    const tokens = Object.keys(users).map((name) => sp.token(name));
    for (const token of [...tokens, ...tokens.map(misSign), `${tokens[0]} x`, 'open\x1bsesame']) {
        const cookie = token.replace(/[^\w.-]/g, '');
        for (const connect of [{ auth: { token } }, { query: { token } }, { extraHeaders: { Authorization: `Bearer ${cookie}` } },
            { extraHeaders: { Authorization: `Bearer ${cookie} x` } }, { extraHeaders: { Cookie: `sp=${cookie}` } }])
            for (const transports of [['websocket'], ['polling']]) await outcome(sp, { transports, ...connect });
        await request(`${sp.url}${polling}&token=${encodeURIComponent(token)}&sid=nobody`);
        await request(`${sp.url}/nowhere?token=${encodeURIComponent(token)}`);
    }
    const client = await sp.connected({ token: tokens[0] });
    client.emit('authenticate', { token: misSign(tokens[1]) });
    await next(client, 'unauthorized');
    await sp.gateway.stop();
    const log = sp.gateway.output();
    assert.match(log, /refused/);
    for (const token of tokens)
        for (const part of token.split('.').slice(1)) assert.ok(!log.includes(part), log);
    assert.ok(!log.includes('sesame'));
});
