/* Guessing, and what it does to those who are guessed at, through a real lighttpd. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { lighttpd, request } from '../lib.mjs';
import { fastcgiAsk, loginRequest } from './fastcgi.mjs';
import { checkAnswer, loginInstance, startLogin } from './login.mjs';

const form = { 'Content-Type': 'application/x-www-form-urlencoded' };

async function setUp(t, settings) {
    const made = loginInstance(t, settings);
    const login = await startLogin(t, made);
    /* lighttpd's peer is all on one network; another one comes straight to the socket. */
    const web = await lighttpd(t, `
        server.document-root = "/nonexistent"
        server.modules = ("mod_fastcgi")
        fastcgi.server = ("/" => (("socket" => "${made.socket}", "check-local" => "disable")))`);
    const post = (username, password, way = '/login', more = {}) => request(web.url + way, { method: 'POST',
        headers: form, body: String(new URLSearchParams({ username, password, ...more })) });
    const from = (address, body) => fastcgiAsk(t, made.socket, loginRequest({ body, params: { REMOTE_ADDR: address } }));
    return { made, login, post, from };
}

test('who guesses on is told when to come again, whether the user exists or not', async (t) => {
    const { made, login, post } = await setUp(t);
    const guesses = async (name) => {
        const answers = [];
        for (let i = 0; i < 30; i++) answers.push(await post(name, `wrong ${i}`));
        return answers;
    };
    for (const name of ['ann', 'bob', 'nobody']) {
        const answers = await guesses(name);
        for (const answer of answers.slice(0, 11)) checkAnswer(answer, 401);
        const late = answers.filter(({ status }) => status === 429);
        assert.ok(late.length > 10);
        for (const answer of late) {
            assert.equal(checkAnswer(answer, 429).error, 'slow_down');
            assert.match(answer.headers['retry-after'], /^[1-9]\d*$/);
            assert.equal(answer.body, late[0].body);
        }
        const right = await post(name, 'correct horse');
        checkAnswer(right, 429);
        const change = await post(name, 'correct horse', '/password', { new_password: 'x' });
        checkAnswer(change, 429);
    }
    await login.logged(/login refused: throttled, address 127\.0\.0\.1, user ann$/);
    await login.logged(/login refused: throttled, address 127\.0\.0\.1$/);
    made.cli(['throttle', 'clear', 'ann']);
    made.cli(['throttle', 'clear', '127.0.0.0/24']);
    checkAnswer(await post('ann', 'correct horse'), 200);
    checkAnswer(await post('example/ann', 'guess'), 401);
    made.cli(['throttle', 'clear', 'example/ann']);
});

test('right passwords are not refused for being many at once', async (t) => {
    const { made, from } = await setUp(t, { 'login.threads': 30 });
    for (let round = 0; round < 3; round++) {
        const answers = await Promise.all(Array.from({ length: 60 }, () => from('192.0.2.1', 'username=ann&password=correct+horse')));
        for (const answer of answers) checkAnswer(answer, 200);
    }
    assert.equal(JSON.parse(made.cli(['throttle', 'list', '--json'])).length, 0);
});

test('wrong ones are, as many as ever', async (t) => {
    const { from } = await setUp(t, { 'login.threads': 30 });
    const answers = await Promise.all(Array.from({ length: 60 }, (_, i) => from('192.0.2.1', `username=ann&password=${i}`)));
    const tried = answers.filter(({ status }) => status === 401).length;
    assert.ok(tried >= 11 && tried <= 14, `${tried} were tried`);
});
