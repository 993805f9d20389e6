/*
 * The same clients against the real socketio-jwt 4.6 on Socket.IO 2.5 and against the gateway: what
 * they see is compared case by case.  That server has no clients 3.x and 4.x; these have to get
 * from ours, as `err.data`, what 2.x gets from theirs.  Where we differ on purpose stands at the end.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import http from 'node:http';
import { createRequire } from 'node:module';
import path from 'node:path';
import test from 'node:test';
import { forge, instance, misSign, payload, signingKey, within } from '../lib.mjs';

const require = createRequire(import.meta.url);
const { authorize } = require('socketio-jwt');
const clients = {
    '1.7': require('socket.io-client-1'),
    '2.5': require('socket.io-client-2'),
    '3.1': require('socket.io-client-3').io,
    '4.8': require('socket.io-client').io,
};
const both = ['1.7', '2.5']; /* whom either server serves */
const delay_ms = 400;
const secret = 'a secret of some forty characters, a text';
const now_s = () => Math.floor(Date.now() / 1000);
const settings = { 'token.issuer': 'us', 'token.audience': 'one,two', 'gateway.authenticate_timeout': `${delay_ms}ms` };

/* Their server with our secret, which is a text because with a function theirs says `invalid_secret` of what is no JWT. */
async function theirServer(t, secret, options) {
    const server = http.createServer();
    const io = require('socket.io-2')(server);
    const gate = authorize({ secret, algorithms: ['HS256'], issuer: 'us', audience: ['one', 'two'], ...options });
    if (options.handshake) io.use(gate);
    else io.on('connection', gate);
    io.engine.on('connection', ({ transport }) => { transport.closeTimeout = 0; }); /* half a minute, which this process would wait */
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
    t.after(() => new Promise((resolve) => io.close(resolve)));
    return `http://127.0.0.1:${server.address().port}`;
}

/* {theirs, ours, sign}: two addresses, and tokens that are good but for these claims. */
async function servers(t, options, mode, more = {}) {
    const sp = await instance(t, { login: false, settings: { ...settings, ...more }, rules: `namespace "/" { authenticate ${mode} }` });
    const key = { ...signingKey(sp.dir), k: Buffer.from(secret).toString('base64url') };
    fs.writeFileSync(path.join(sp.dir, 'keys', `${key.kid}.jwk`), JSON.stringify(key));
    await sp.gateway.stop();
    await sp.startGateway();
    const good = payload(sp.token());
    return { theirs: await theirServer(t, secret, options), ours: sp.url,
        sign: (claims, header) => forge(key, { ...good, ...claims }, header) };
}

/* All that a client sees until `ends` of its events have come; `act` may answer them. */
function seen(t, url, version, options, ends, act = () => {}) {
    const socket = clients[version](url, { forceNew: true, reconnection: false, ...options });
    const events = [];
    t.after(() => socket.disconnect());
    return within(new Promise((resolve) => {
        for (const name of ['connect', 'error', 'connect_error', 'authenticated', 'unauthorized', 'disconnect'])
            socket.on(name, (...args) => {
                events.push([name, ...args.filter((value) => value !== undefined)
                    .map((value) => (typeof value === 'function' ? 'a function' : value instanceof Error ? value.data : value))]);
                act(socket, name, args);
                if (events.length === ends) setTimeout(() => resolve([...events]), 30);
            });
    }), `client ${version} to see ${ends} events of ${url}; it saw ${JSON.stringify(events)}`);
}

/* What is wrong with a token, and how it is made. */
const bad = {
    expired: ({ sign }) => sign({ exp: now_s() - 5 }),
    'bad signature': ({ sign }) => misSign(sign()),
    'other claims under a good signature': ({ sign }) => {
        const [head, , signature] = sign().split('.');
        return [head, sign({ sub: 'root' }).split('.')[1], signature].join('.');
    },
    'not a JWT': () => 'open sesame',
    'two parts': () => 'a.b',
    'not yet valid': ({ sign }) => sign({ nbf: now_s() + 600 }),
    'no signature': ({ sign }) => sign({}, { alg: 'none' }),
    'a signature cut away': ({ sign }) => sign().replace(/[^.]*$/, ''),
    'wrong algorithm': ({ sign }) => sign({}, { alg: 'HS512' }),
    issuer: ({ sign }) => sign({ iss: 'them' }),
    'no issuer': ({ sign }) => sign({ iss: undefined }),
    audience: ({ sign }) => sign({ aud: 'them' }),
    'audiences, none of them ours': ({ sign }) => sign({ aud: ['three', 'four'] }),
    'expired, and not yet valid': ({ sign }) => sign({ exp: now_s() - 5, nbf: now_s() + 600 }),
    'expired, of another issuer for another audience': ({ sign }) => sign({ exp: now_s() - 5, iss: 'them', aud: 'them' }),
    'of another issuer for another audience': ({ sign }) => sign({ iss: 'them', aud: 'them' }),
    'expired, with a bad signature': ({ sign }) => misSign(sign({ exp: now_s() - 5 })),
};

/* Their answer to a client 2.5 is the measure of all of ours. */
async function compareHandshakes(t, at, options, name) {
    const wanted = await seen(t, at.theirs, '2.5', options, 1);
    assert.deepEqual([wanted.length, wanted[0][0], wanted[0][1].type], [1, 'error', 'UnauthorizedError'], name);
    for (const version of both)
        for (const transports of [['websocket'], ['polling']]) {
            const ways = { ...options, transports };
            assert.deepEqual(await seen(t, at.theirs, version, ways, 1), wanted, `${name}: theirs, ${version}`);
            assert.deepEqual(await seen(t, at.ours, version, ways, 1), wanted, `${name}: ours, ${version} ${transports}`);
        }
    for (const version of ['3.1', '4.8']) { /* 3.1 hears of the transport's end besides */
        const [first] = await seen(t, at.ours, version, { ...options, transports: ['websocket'] }, 1);
        assert.deepEqual(first, ['connect_error', wanted[0][1]], `${name}: ours, ${version}`);
    }
}

test('one step: whatever is wrong with a token, the client sees the same', async (t) => {
    const at = await servers(t, { handshake: true }, 'required');
    for (const [name, make] of Object.entries(bad)) await compareHandshakes(t, at, { query: { token: make(at) } }, name);
    await compareHandshakes(t, at, {}, 'no token');
    await compareHandshakes(t, at, { query: { token: '' } }, 'an empty token');
    await compareHandshakes(t, at, { extraHeaders: { Authorization: 'Basic YTpi' } }, 'another scheme');
    for (const header of ['Bearer', 'Bearer a b', `Bearer  ${at.sign()}`])
        await compareHandshakes(t, at, { extraHeaders: { Authorization: header } }, 'not two words');
    for (const options of [{ query: { token: at.sign() } }, { extraHeaders: { Authorization: `bearer ${at.sign()}` } }])
        for (const url of [at.theirs, at.ours])
            for (const version of both) assert.deepEqual(await seen(t, url, version, options, 1), [['connect']]);
});

test('one step, where the header is demanded', async (t) => {
    const at = await servers(t, { handshake: true, auth_header_required: true }, 'required', { 'gateway.require_header': true });
    await compareHandshakes(t, at, {}, 'no header');
    await compareHandshakes(t, at, { query: { token: at.sign() } }, 'a token in the query alone');
    await compareHandshakes(t, at, { extraHeaders: { Authorization: 'Basic YTpi' } }, 'another scheme');
    await compareHandshakes(t, at, { extraHeaders: { Authorization: 'Bearer' } }, 'one word');
});

/* Two steps: `what` is what the client shows once it is connected, `answer` what it does when it is refused. */
const show = (what, answer = (acknowledge) => acknowledge()) => (socket, name, args) => {
    if (name === 'connect' && what !== undefined) socket.emit('authenticate', what);
    if (name === 'unauthorized') answer(args[1], socket);
};

test('two steps: whatever is wrong with a token, the client sees the same', async (t) => {
    const at = await servers(t, { timeout: delay_ms, callback: delay_ms }, 'later');
    for (const [name, make] of Object.entries(bad)) {
        const act = show({ token: make(at) });
        const wanted = await seen(t, at.theirs, '2.5', {}, 3, act);
        assert.deepEqual(wanted.map(([event]) => event), ['connect', 'unauthorized', 'disconnect'], name);
        for (const version of Object.keys(clients))
            assert.deepEqual(await seen(t, at.ours, version, {}, 3, act), wanted, `${name}: ours, ${version}`);
    }
});

test('two steps: a good token, none in time, and a refusal that nobody acknowledges', async (t) => {
    const at = await servers(t, { timeout: delay_ms, callback: delay_ms }, 'later');
    for (const version of Object.keys(clients))
        for (const url of both.includes(version) ? [at.theirs, at.ours] : [at.ours]) {
            assert.deepEqual(await seen(t, url, version, {}, 2, show({ token: at.sign() })), [['connect'], ['authenticated']]);
            for (const [act, ends] of [[show(undefined), 2], [show({ token: 'x' }, () => {}), 3]]) {
                const began = Date.now();
                const events = await seen(t, url, version, {}, ends, act);
                const took = Date.now() - began;
                assert.deepEqual(events.at(-1), ['disconnect', 'io server disconnect'], `${url} ${version}`);
                assert.ok(took >= delay_ms - 20 && took < delay_ms + 2000, `${took} ms`);
            }
        }
});

test('two steps: the socket is ended when the client acknowledges, not later', async (t) => {
    const at = await servers(t, { timeout: 20_000, callback: 20_000 }, 'later', { 'gateway.authenticate_timeout': '20s' });
    for (const url of [at.theirs, at.ours]) {
        const began = Date.now();
        assert.equal((await seen(t, url, '2.5', {}, 3, show({ token: 'x' }))).at(-1)[0], 'disconnect');
        assert.ok(Date.now() - began < 5000);
    }
});

/* ---- on purpose ---- */

test('we differ: the header decides before the query', async (t) => {
    const at = await servers(t, { handshake: true }, 'required');
    const options = { extraHeaders: { Authorization: `Bearer ${at.sign()}` }, query: { token: 'x' } };
    assert.equal((await seen(t, at.theirs, '2.5', options, 1))[0][0], 'error');
    assert.equal((await seen(t, at.ours, '2.5', options, 1))[0][0], 'connect');
});

test('we differ: a token that never ends, or is nobody\'s, is none', async (t) => {
    const at = await servers(t, { handshake: true }, 'required');
    for (const claim of ['exp', 'sub', 'jti']) {
        const options = { query: { token: at.sign({ [claim]: undefined }) } };
        assert.equal((await seen(t, at.theirs, '2.5', options, 1))[0][0], 'connect');
        assert.equal((await seen(t, at.ours, '2.5', options, 1))[0][1].message, 'jwt malformed');
    }
});

test('we differ: what does not decode is "jwt malformed" too', async (t) => {
    const at = await servers(t, { handshake: true }, 'required');
    for (const [url, message] of [[at.theirs, 'invalid token'], [at.ours, 'jwt malformed']])
        assert.equal((await seen(t, url, '2.5', { query: { token: 'a.b.c' } }, 1))[0][1].message, message);
});

test('we differ: in the second step, too, no token is "no token provided" and no text "jwt malformed"', async (t) => {
    const at = await servers(t, { timeout: 5000 }, 'later');
    for (const [shown, message, code] of [[{}, 'no token provided', 'credentials_required'], [{ token: 7 }, 'jwt malformed', 'invalid_token']]) {
        const [, [, theirs]] = await seen(t, at.theirs, '2.5', {}, 3, show(shown));
        const [, [, ours]] = await seen(t, at.ours, '2.5', {}, 3, show(shown));
        assert.deepEqual(theirs.data, { message: 'invalid token datatype', code: 'invalid_token', type: 'UnauthorizedError' });
        assert.deepEqual(ours, { message, inner: { message }, data: { message, code, type: 'UnauthorizedError' } });
    }
});

test('we differ: whoever was refused gets no second try, and does not stay unheard of', async (t) => {
    const at = await servers(t, { timeout: delay_ms }, 'later');
    const again = show({ token: 'x' }, (_, socket) => socket.emit('authenticate', { token: at.sign() }));
    assert.deepEqual((await seen(t, at.theirs, '2.5', {}, 3, again)).map(([name]) => name), ['connect', 'unauthorized', 'authenticated']);
    assert.deepEqual((await seen(t, at.ours, '2.5', {}, 3, again)).map(([name]) => name), ['connect', 'unauthorized', 'disconnect']);
});
