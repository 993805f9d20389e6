/*
 * The FastCGI side of the login service as a web server meets it: connections kept and dropped,
 * peers that stall or send nonsense, the sockets it takes, and its end.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { freePort, program, start, within } from '../lib.mjs';
import { fastcgiAsk, fastcgiConnect, fastcgiRequest, loginRequest, record } from './fastcgi.mjs';
import { checkAnswer, loginInstance, startLogin } from './login.mjs';

async function setUp(t, settings) {
    const made = loginInstance(t, settings);
    const login = await startLogin(t, made);
    return { made, login, socket: made.socket, connect: (options) => fastcgiConnect(t, made.socket, options),
        ask: (request) => fastcgiAsk(t, made.socket, request) };
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

test('peers that stall anywhere hold nobody else and are dropped in time', async (t) => {
    const { connect, ask, login } = await setUp(t, { 'login.threads': 4, 'login.timeout': '3s' });
    const whole = loginRequest();
    const starts = [
        ...Array.from({ length: 20 }, () => Buffer.alloc(0)),
        whole.begin.subarray(0, 5),
        Buffer.concat([whole.begin, whole.params.subarray(0, 40)]),
        Buffer.concat([whole.begin, whole.params, whole.stdin.subarray(0, 20)]),
    ];
    const stalled = await Promise.all(starts.map(async (bytes) => {
        const connection = await connect();
        connection.send(bytes);
        return connection;
    }));
    const before = performance.now();
    for (let i = 0; i < 5; i++) checkAnswer(await ask(whole), 200);
    assert.ok(performance.now() - before < 2900, 'the logins did not wait for those who stall');
    for (const { closed } of stalled) {
        const after_ms = await closed();
        assert.ok(after_ms > 2900 && after_ms < 9000, `dropped after ${after_ms} ms`);
    }
    checkAnswer(await ask(whole), 200);
    await login.logged(/connections dropped: \d+ past login\.timeout, 0 silent ones/);
});

test('a peer that drips is dropped as one that stalls', async (t) => {
    const { connect } = await setUp(t, { 'login.timeout': '1s' });
    const connection = await connect();
    const { all } = loginRequest();
    let at = 0;
    const timer = setInterval(() => connection.send(all.subarray(at, ++at)), 50);
    t.after(() => clearInterval(timer));
    const after_ms = await connection.closed();
    assert.ok(after_ms > 900 && after_ms < 9000, `dropped after ${after_ms} ms`); /* it drips for longer */
});

test('when every thread is held by a peer that stalls, the rest are served after its time', async (t) => {
    const { connect, ask } = await setUp(t, { 'login.threads': 2, 'login.timeout': '1s' });
    const { begin } = loginRequest();
    for (let i = 0; i < 2; i++) (await connect()).send(begin);
    await pause(100);
    checkAnswer(await within(ask(loginRequest()), 'an answer', 4000), 200);
});

test('kept connections hold no thread, and outlive the timeout', async (t) => {
    const { connect, ask } = await setUp(t, { 'login.threads': 2, 'login.timeout': '1s' });
    const kept = await Promise.all(Array.from({ length: 20 }, () => connect()));
    const round = async () => {
        for (const { send } of kept) send(loginRequest({ keep: true }).all);
        for (const { answer } of kept) checkAnswer(await answer(), 200);
    };
    await round();
    checkAnswer(await ask(loginRequest()), 200);
    await pause(1600);
    await round();
    kept[0].send(loginRequest({ keep: true, body: 'username=ann&password=wrong' }).all);
    checkAnswer(await kept[0].answer(), 401);
    kept[0].send(loginRequest({ keep: true, body: 'x'.repeat(200_000) }).all);
    checkAnswer(await kept[0].answer(), 413);
    kept[0].send(fastcgiRequest({ keep: true, method: 'HEAD', uri: '/healthz', type: '' }).all);
    assert.equal((await kept[0].answer()).body, '');
    kept[0].send(loginRequest().all);
    checkAnswer(await kept[0].answer(), 200);
    await kept[0].closed();
});

test('where there is no room for another connection the silent ones go, and nobody else', async (t) => {
    const { connect, ask, login } = await setUp(t, { 'login.timeout': '60s', 'login.connections': 40 });
    const silent = await Promise.all(Array.from({ length: 39 }, () => connect()));
    const before = performance.now();
    for (let i = 0; i < 60; i++) checkAnswer(await ask(loginRequest({ body: '' })), 400);
    assert.ok(performance.now() - before < 10_000, 'there was room for one');
    const asking = await Promise.all(Array.from({ length: 60 }, () => connect()));
    for (const { send } of asking) send(loginRequest({ keep: true, body: '' }).all);
    for (const { answer } of asking) checkAnswer(await answer(), 400);
    for (const { closed } of silent) await closed();
    await login.logged(/connections dropped: 0 past login\.timeout, [1-9]\d* silent ones/);
});

test('nonsense ends its connection and nothing else', async (t) => {
    const { connect, ask } = await setUp(t);
    const { begin, params, stdin } = loginRequest();
    const nonsense = [
        Buffer.from('POST /login HTTP/1.1\r\nHost: x\r\n\r\n'),
        Buffer.alloc(64, 0xff),
        record(1, [0, 9, 0, 0, 0, 0, 0, 0]),
        record(1, [0, 1, 0]),
        Buffer.concat([begin, record(4, [200, 1, 1])]),
        Buffer.concat([begin, record(4, [0x84, 0, 0, 0, 0x84, 0, 0, 0]), record(4, '')]),
        Buffer.concat([begin, params, record(2, '')]),
        Buffer.concat([begin, params, record(4, 'x'), stdin]),
    ];
    for (const bytes of nonsense) {
        const connection = await connect();
        connection.socket.end(bytes);
        await connection.closed();
    }
    checkAnswer(await ask(loginRequest()), 200);
});

test('nonsense from a peer that stays holds no thread either', async (t) => {
    const { connect, ask } = await setUp(t, { 'login.threads': 1 });
    const before = performance.now();
    for (const bytes of [Buffer.alloc(64, 0xff), record(1, [0, 9, 0, 0, 0, 0, 0, 0]), loginRequest({ length: 'x' }).params]) {
        const { send } = await connect({ allowHalfOpen: true });
        send(bytes);
    }
    checkAnswer(await ask(loginRequest()), 200);
    assert.ok(performance.now() - before < 9000, 'login.timeout is 10 s');
});

test('a body without end is read away for a while, then its connection is closed', async (t) => {
    const { connect, ask } = await setUp(t);
    const connection = await connect();
    connection.send(loginRequest({ keep: true, body: Buffer.alloc(64 << 20, 'x') }).all);
    await connection.closed();
    checkAnswer(await ask(loginRequest()), 200);
});

test('a peer that leaves before its answer harms nobody', async (t) => {
    const { connect, ask, login } = await setUp(t);
    for (let i = 0; i < 20; i++) {
        const { socket, send } = await connect();
        await new Promise((resolve) => send(loginRequest().all) && setTimeout(resolve, 5));
        socket.destroy();
    }
    checkAnswer(await ask(loginRequest()), 200);
    assert.equal(login.ended, undefined);
});

test('a body has to be as long as its CONTENT_LENGTH', async (t) => {
    const { ask } = await setUp(t);
    for (const length of [10, 1000, '', 'x', '-1', '1e1', '99999999999999999999'])
        checkAnswer(await ask(loginRequest({ length })), length === '' ? 411 : 400);
    checkAnswer(await ask(loginRequest({ length: 1_000_000 })), 413);
});

test('without REQUEST_URI the path is SCRIPT_NAME and PATH_INFO', async (t) => {
    const { ask } = await setUp(t);
    const at = (SCRIPT_NAME, PATH_INFO) => ask(loginRequest({ uri: '', params: { SCRIPT_NAME, PATH_INFO } }));
    checkAnswer(await at('/login', ''), 200);
    checkAnswer(await at('', '/login'), 200);
    checkAnswer(await at('/login', '/more'), 404);
    checkAnswer(await at('/loginx', ''), 404);
});

test('a peer\'s bytes are escaped in the log', async (t) => {
    const { ask, login } = await setUp(t);
    checkAnswer(await ask(loginRequest({ params: { REMOTE_ADDR: 'x\nsallyport-login: login: root \x1b[2J' } })), 200);
    await login.logged(/login accepted: address x\\x0asallyport-login: login: root \\x1b\[2J, user ann$/);
    assert.equal(login.lines.length, 2);
});

test('SIGTERM lets everything under way be answered, then ends at once', async (t) => {
    const { connect, login, made } = await setUp(t, { 'login.threads': 2 });
    const connections = await Promise.all(Array.from({ length: 40 }, () => connect()));
    const idle = await connect();
    for (const { send } of connections) send(loginRequest({ keep: true }).all);
    await connections[0].answer();
    login.child.kill('SIGTERM');
    for (const { answer } of connections.slice(1)) checkAnswer(await answer(), 200);
    const before = performance.now();
    assert.deepEqual(await within(login.exited, 'its end'), { code: 0, signal: null });
    assert.ok(performance.now() - before < 5000);
    await idle.closed();
    assert.ok(!fs.existsSync(made.socket), 'the socket is gone');
});

test('SIGTERM waits a second for peers that stall, not for login.timeout', async (t) => {
    const { connect, login } = await setUp(t, { 'login.threads': 2, 'login.timeout': '60s' });
    const { begin, params } = loginRequest();
    for (let i = 0; i < 2; i++) (await connect()).send(Buffer.concat([begin, params]));
    await pause(100);
    const before = performance.now();
    login.child.kill('SIGTERM');
    assert.deepEqual(await within(login.exited, 'its end'), { code: 0, signal: null });
    assert.ok(performance.now() - before < 3000);
});

test('it listens on a port as well', async (t) => {
    const port = await freePort();
    const made = loginInstance(t, { 'login.listen': `127.0.0.1:${port}` });
    await startLogin(t, made);
    checkAnswer(await fastcgiAsk(t, port, loginRequest()), 200);
});

test('a second instance on the same socket refuses to start, and the first goes on', async (t) => {
    const { made, ask } = await setUp(t);
    const second = start(null, program('sallyport-login'), ['-c', made.config]);
    assert.deepEqual(await within(second.exited, 'the second to end'), { code: 1, signal: null });
    assert.match(second.output(), /sallyport-login: .*login\.sock/);
    checkAnswer(await ask(loginRequest()), 200);
});

test('it serves on the socket that systemd passes, and leaves it there', async (t) => {
    const made = loginInstance(t);
    const where = path.join(made.dir, 'activated.sock');
    const login = start(t, 'systemd-socket-activate', ['-l', where, program('sallyport-login'), '-c', made.config]);
    await login.logged(/Listening on/);
    checkAnswer(await fastcgiAsk(t, where, loginRequest()), 200);
    await login.stop();
    assert.ok(fs.existsSync(where));
    assert.ok(!fs.existsSync(made.socket));
});
