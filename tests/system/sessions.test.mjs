/* Refresh, logout, another password, and the keys for others, through a real lighttpd. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { lighttpd, must, payload, program, request, until } from '../lib.mjs';
import { checkAnswer, editConfig, loginInstance, startLogin } from './login.mjs';

const form = { 'Content-Type': 'application/x-www-form-urlencoded' };

async function setUp(t, settings) {
    const made = loginInstance(t, settings);
    const login = await startLogin(t, made);
    const web = await lighttpd(t, `
        server.document-root = "/nonexistent"
        server.modules = ("mod_fastcgi")
        fastcgi.server = ("/" => (("socket" => "${made.socket}", "check-local" => "disable")))`);
    const post = (way, fields, headers = {}) => request(web.url + way, { method: 'POST',
        headers: { ...form, ...headers }, body: String(new URLSearchParams(fields)) });
    const logIn = async (password = 'correct horse') =>
        checkAnswer(await post('/login', { username: 'ann', password }), 200);
    const refresh = (token, headers) => post('/token', { grant_type: 'refresh_token', refresh_token: token }, headers);
    return { made, login, web, post, logIn, refresh };
}

test('a refresh token gives the next token, once', async (t) => {
    const { logIn, refresh } = await setUp(t);
    const first = await logIn();
    assert.match(first.refresh_token, /^[\w-]{64}$/);
    const second = checkAnswer(await refresh(first.refresh_token), 200);
    assert.deepEqual(Object.keys(second), ['token', 'access_token', 'token_type', 'expires_in', 'refresh_token']);
    assert.notEqual(second.refresh_token, first.refresh_token);
    assert.equal(payload(second.token).sub, 'ann');
    assert.equal(payload(second.token).email, 'ann@example.org');
    assert.notEqual(payload(second.token).jti, payload(first.token).jti);
    checkAnswer(await refresh(second.refresh_token), 200);
});

test('what is not a refresh is refused in the words of RFC 6749', async (t) => {
    const { post, logIn, refresh } = await setUp(t);
    const { refresh_token } = await logIn();
    assert.equal(checkAnswer(await refresh('x'.repeat(64)), 400).error, 'invalid_grant');
    assert.equal(checkAnswer(await refresh('x'), 400).error, 'invalid_grant');
    assert.equal(checkAnswer(await post('/token', { grant_type: 'password', refresh_token }), 400).error, 'unsupported_grant_type');
    assert.equal(checkAnswer(await post('/token', { refresh_token }), 400).error, 'invalid_request');
    assert.equal(checkAnswer(await post('/token', { grant_type: 'refresh_token' }), 400).error, 'invalid_request');
});

test('a token that comes again after the grace ends the session, and its tokens', async (t) => {
    const { made, login, logIn, refresh } = await setUp(t);
    const first = await logIn();
    const second = checkAnswer(await refresh(first.refresh_token), 200);
    const retried = checkAnswer(await refresh(first.refresh_token), 200);
    /* Eleven seconds later, as far as this session knows. */
    const sessions = () => JSON.parse(made.cli(['session', 'list', '--json']));
    assert.equal(sessions().length, 1);
    await new Promise((resolve) => setTimeout(resolve, 11_500));
    assert.equal(checkAnswer(await refresh(first.refresh_token), 400).error, 'invalid_grant');
    for (const each of [second, retried])
        assert.equal(checkAnswer(await refresh(each.refresh_token), 400).error, 'invalid_grant');
    assert.equal(sessions().length, 0);
    await login.logged(/refresh refused: reused token, address 127\.0\.0\.1, user ann$/);
});

test('who logs out has no session, and whoever was disabled has none either', async (t) => {
    const { made, post, logIn, refresh } = await setUp(t);
    const [one, two, three] = [await logIn(), await logIn(), await logIn()];
    assert.deepEqual(checkAnswer(await post('/logout', { refresh_token: one.refresh_token }), 200), { status: 'ok' });
    checkAnswer(await refresh(one.refresh_token), 400);
    const next = checkAnswer(await refresh(two.refresh_token), 200);
    assert.deepEqual(checkAnswer(await post('/logout', { refresh_token: one.refresh_token }), 200), { status: 'ok' }, 'again');
    checkAnswer(await post('/logout', { refresh_token: next.refresh_token, all: 'true' }), 200);
    for (const each of [next, three]) checkAnswer(await refresh(each.refresh_token), 400);
    const again = await logIn();
    assert.ok(payload(again.token).iat > payload(three.token).iat);
    made.cli(['user', 'disable', 'ann']);
    checkAnswer(await refresh(again.refresh_token), 400);
    made.cli(['user', 'enable', 'ann']);
    checkAnswer(await refresh(again.refresh_token), 400);
});

test('another password takes the old one, and ends what was before', async (t) => {
    const { post, logIn, refresh } = await setUp(t);
    const before = await logIn();
    const change = (fields) => post('/password', { username: 'ann', password: 'correct horse', new_password: 'battery', ...fields });
    assert.equal(checkAnswer(await change({ password: 'wrong' }), 401).error, 'invalid_grant');
    assert.equal(checkAnswer(await change({ username: 'nobody' }), 401).error, 'invalid_grant');
    checkAnswer(await change({ new_password: '' }), 400);
    checkAnswer(await change({ new_password: 'x'.repeat(1025) }), 400);
    checkAnswer(await refresh(before.refresh_token), 200);
    const after = checkAnswer(await change(), 200);
    assert.equal(payload(after.token).sub, 'ann');
    checkAnswer(await refresh(before.refresh_token), 400);
    checkAnswer(await post('/login', { username: 'ann', password: 'correct horse' }), 401);
    await logIn('battery');
    checkAnswer(await refresh(after.refresh_token), 200);
});

test('as a cookie no script can read it', async (t) => {
    const { post } = await setUp(t, { 'login.refresh_cookie': 'true' });
    const answer = await post('/login', { username: 'ann', password: 'correct horse' });
    const given = checkAnswer(answer, 200);
    assert.ok(!('refresh_token' in given));
    const [, cookie] = answer.headers['set-cookie'][0].match(
        /^(__Host-sallyport=[\w-]{64}); Max-Age=604800; Path=\/; Secure; HttpOnly; SameSite=Strict$/);
    const next = await post('/token', { grant_type: 'refresh_token' }, { Cookie: `a=b; ${cookie}; c=d` });
    checkAnswer(next, 200);
    const newer = next.headers['set-cookie'][0].split(';')[0];
    assert.notEqual(newer, cookie);
    checkAnswer(await post('/token', { grant_type: 'refresh_token' }, { Cookie: `${newer}; ${cookie}` }), 400);
    const out = await post('/logout', { all: 'false' }, { Cookie: newer });
    checkAnswer(out, 200);
    assert.match(out.headers['set-cookie'][0], /^__Host-sallyport=; Max-Age=0;/);
    checkAnswer(await post('/token', { grant_type: 'refresh_token' }, { Cookie: newer }), 400);
});

test('without a lifetime there are no refresh tokens', async (t) => {
    const { made, logIn } = await setUp(t, { 'login.refresh_lifetime': '0s' });
    assert.ok(!('refresh_token' in await logIn()));
    assert.equal(JSON.parse(made.cli(['session', 'list', 'ann', '--json']))[0].refresh_ends, null);
});

test('the public keys are there for others, and no secret', async (t) => {
    const { made, login, web } = await setUp(t);
    const keys = async (headers) => request(`${web.url}/.well-known/jwks.json`, { headers });
    const empty = await keys();
    assert.equal(empty.body, '{"keys":[]}\n');
    must(program('sallyport'), ['-c', made.config, 'key', 'generate', '--algorithm', 'ES256', '--name', 'pair', '--activate']);
    await until(async () => (await keys()).body !== empty.body, 'the login service to know it');
    const answer = await keys();
    assert.equal(answer.status, 200);
    assert.equal(answer.headers['cache-control'], 'public, max-age=300');
    const { keys: [key, ...more] } = JSON.parse(answer.body);
    assert.deepEqual(more, []);
    assert.deepEqual([key.kid, key.kty, key.alg, 'd' in key], ['pair', 'EC', 'ES256', false]);
    assert.notEqual(answer.headers.etag, empty.headers.etag);
    const kept = await keys({ 'If-None-Match': answer.headers.etag });
    assert.deepEqual([kept.status, kept.body, kept.headers.etag], [304, '', answer.headers.etag]);
    assert.equal((await keys({ 'If-None-Match': empty.headers.etag })).status, 200);
});

test('a change of the lifetime counts at the next refresh', async (t) => {
    const { made, login, logIn, refresh } = await setUp(t);
    const { refresh_token } = await logIn();
    editConfig(made, /# refresh_idle = "7d";/, 'refresh_idle = "1h";');
    process.kill(login.pid, 'SIGHUP');
    await login.logged(/reload: .* is read/);
    checkAnswer(await refresh(refresh_token), 200);
    const [session] = JSON.parse(made.cli(['session', 'list', '--json']));
    assert.ok(Math.abs(session.refresh_ends - session.used - 3600) <= 1);
});
