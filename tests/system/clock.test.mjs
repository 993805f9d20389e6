/* The wall clock is set back and forth under the services: what they promised holds. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { io } from 'socket.io-client';
import { freePort, must, program, start, until, within } from '../lib.mjs';
import { fastcgiAsk, fastcgiRequest } from './fastcgi.mjs';
import { checkAnswer, loginInstance } from './login.mjs';

const library = path.join('/usr/lib', must('gcc', ['-print-multiarch']).trim(), 'faketime/libfaketimeMT.so.1');
const hour = 3600, day = 24 * hour;

/* Both services and the command, by a clock that `set` sets so many seconds off. */
async function setUp(t) {
    const port = await freePort();
    const made = loginInstance(t, { 'gateway.listen': `127.0.0.1:${port}` });
    const file = path.join(made.dir, 'clock');
    const env = { ...process.env, LD_PRELOAD: library, FAKETIME_TIMESTAMP_FILE: file, FAKETIME_NO_CACHE: '1',
        FAKETIME_DONT_FAKE_MONOTONIC: '1', FAKETIME_DONT_RESET: '1' };
    const set = (seconds) => {
        fs.writeFileSync(`${file}.new`, `${seconds < 0 ? '' : '+'}${seconds}\n`);
        fs.renameSync(`${file}.new`, file);
    };
    set(0);
    fs.writeFileSync(path.join(made.dir, 'relay.rules'), 'namespace "/" { authenticate required }\n');
    const login = start(t, program('sallyport-login'), ['-c', made.config], { env });
    const gateway = start(t, program('sallyport-gateway'), ['-c', made.config], { env });
    await login.logged(/listening on/);
    await gateway.logged(/listening on/);
    const post = (uri, fields, address = '192.0.2.1') => fastcgiAsk(t, made.socket,
        fastcgiRequest({ uri, body: String(new URLSearchParams(fields)), params: { REMOTE_ADDR: address } }));
    return { made, login, set, post, url: `http://127.0.0.1:${port}`,
        logIn: async (password = 'correct horse', address = undefined) =>
            checkAnswer(await post('/login', { username: 'ann', password }, address), 200),
        refresh: (refresh_token) => post('/token', { grant_type: 'refresh_token', refresh_token }),
        cli: (args, input) => must(program('sallyport'), ['-c', made.config, ...args], { input, env }) };
}

/* "in", or the code with which it is refused. */
async function admission(t, url, token) {
    const socket = io(url, { transports: ['websocket'], forceNew: true, reconnection: false, auth: { token } });
    t.after(() => socket.disconnect());
    return within(new Promise((resolve) => {
        socket.once('connect', () => resolve('in')).once('connect_error', (error) => resolve(error.data?.code ?? error.message));
    }), 'an answer to CONNECT').finally(() => socket.disconnect());
}

test('the clock that is set is the services\' clock', async (t) => {
    const { set, logIn } = await setUp(t);
    for (const offset of [0, -day, 3 * day]) {
        set(offset);
        const { token } = await logIn();
        const { iat } = JSON.parse(Buffer.from(token.split('.')[1], 'base64url'));
        assert.ok(Math.abs(iat - offset - Date.now() / 1000) < 60, `${iat}`);
    }
});

test('a refresh token is good whichever way the clock was set, until its time is over', async (t) => {
    const { set, logIn, refresh } = await setUp(t);
    let { refresh_token } = await logIn();
    for (const offset of [-day, 0, day, -2 * day, 3 * hour, 0]) {
        set(offset);
        ({ refresh_token } = checkAnswer(await refresh(refresh_token), 200));
    }
    set(8 * day);
    checkAnswer(await refresh(refresh_token), 400);
    set(0);
    checkAnswer(await refresh(refresh_token), 200);
});

test('one that was used ends its session whichever way the clock was set since', async (t) => {
    const { set, logIn, refresh, login } = await setUp(t);
    for (const offset of [-day, -hour, -30, 30, hour, day]) {
        set(0);
        const used = (await logIn()).refresh_token;
        const { refresh_token } = checkAnswer(await refresh(used), 200);
        set(offset);
        const from = login.lines.length;
        checkAnswer(await refresh(used), 400);
        await login.logged(/refresh refused: reused token/, { from });
        for (const each of [offset, 0]) {
            set(each);
            checkAnswer(await refresh(refresh_token), 400);
        }
    }
});

test('guesses are throttled whichever way the clock was set, and nobody is locked out', async (t) => {
    const { set, logIn, post } = await setUp(t);
    const guess = (i) => post('/login', { username: 'ann', password: `guess ${i}` }, '198.51.100.1');
    const from = () => post('/login', { username: 'ann', password: 'correct horse' }, '198.51.100.1');
    await logIn();
    for (const offset of [0, 2 * day, -day, hour]) {
        set(offset);
        const answers = [];
        for (let i = 0; i < 40; i++) answers.push(await guess(`${offset} ${i}`));
        const tried = answers.filter(({ status }) => status === 401).length;
        assert.ok(tried >= 1 && tried < 20, `${tried} guesses at ${offset}`);
        const late = await from();
        checkAnswer(late, 429);
        assert.ok(Number(late.headers['retry-after']) <= hour, late.headers['retry-after']);
        await logIn();
    }
    for (const offset of [-day, 0, 2 * day]) {
        set(offset);
        await logIn();
        checkAnswer(await from(), 200);
    }
});

test('what was revoked stays so, and what is new is let in, whichever way the clock was set', async (t) => {
    const { set, logIn, post, cli, url } = await setUp(t);
    const left = await logIn();
    const changed = await logIn();
    assert.equal(await admission(t, url, left.token), 'in');
    checkAnswer(await post('/logout', { refresh_token: left.refresh_token }), 200);
    cli(['user', 'passwd', 'ann', '--password-stdin'], 'battery\n');
    await until(async () => await admission(t, url, changed.token) !== 'in', 'the gateway to know');
    for (const offset of [-hour, hour, -day, 2 * hour, 0]) {
        set(offset);
        for (const { token } of [left, changed]) assert.equal(await admission(t, url, token), 'invalid_token', `${offset}`);
        const { token } = await logIn('battery');
        await until(async () => await admission(t, url, token) === 'in', `a new one to be let in at ${offset}`);
    }
});
