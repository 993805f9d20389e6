/* Pages of other sites: refused, unless they are named. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { lighttpd, request } from '../lib.mjs';
import { checkAnswer, loginInstance, startLogin } from './login.mjs';

async function setUp(t, settings) {
    const made = loginInstance(t, settings);
    await startLogin(t, made);
    const web = await lighttpd(t, `
        server.document-root = "/nonexistent"
        server.modules = ("mod_fastcgi")
        fastcgi.server = ("/" => (("socket" => "${made.socket}", "check-local" => "disable")))`);
    return { web, ask: (headers, { way = '/login', method = 'POST' } = {}) => request(web.url + way, { method,
        headers: { 'Content-Type': 'application/x-www-form-urlencoded', ...headers },
        body: method === 'POST' ? 'username=ann&password=correct+horse' : undefined }) };
}

test('a page of another site is refused on every way in, before anything is looked at', async (t) => {
    const { web, ask } = await setUp(t, { 'login.origins': 'https://app.example,https://other.example:8443' });
    for (const way of ['/login', '/token', '/logout', '/password'])
        for (const headers of [{ 'Sec-Fetch-Site': 'cross-site' }, { 'Sec-Fetch-Site': 'same-site' },
            { 'Sec-Fetch-Site': 'cross-site', Origin: web.url }, { Origin: 'https://evil.example' }, { Origin: 'null' },
            { Origin: 'https://app.example.evil.example' }, { Origin: 'https://app.example:8443' }, { Origin: 'http://app.example' },
            { Origin: 'https://APP.example' }, { Origin: 'https://other.example' }, { Origin: `${web.url}0` }, { Origin: '*' }]) {
            const answer = await ask(headers, { way });
            assert.equal(checkAnswer(answer, 403).error, 'access_denied', JSON.stringify(headers));
            assert.ok(!('access-control-allow-origin' in answer.headers));
        }
    for (const headers of [{}, { 'Sec-Fetch-Site': 'same-origin', Origin: web.url }, { 'Sec-Fetch-Site': 'none' }, { Origin: web.url },
        { Origin: web.url.replace('http', 'https') }])
        assert.ok(!('access-control-allow-origin' in (await ask(headers)).headers || checkAnswer(await ask(headers), 200).error));
});

test('a page that is named may log in, and read what comes', async (t) => {
    const { ask } = await setUp(t, { 'login.origins': 'https://app.example', 'login.refresh_cookie': 'true' });
    const Origin = 'https://app.example';
    const answer = await ask({ Origin, 'Sec-Fetch-Site': 'cross-site' });
    checkAnswer(answer, 200);
    assert.equal(answer.headers['access-control-allow-origin'], Origin);
    assert.equal(answer.headers['access-control-allow-credentials'], 'true');
    assert.equal(answer.headers.vary, 'Origin');
    assert.equal((await ask({ Origin, 'Content-Type': 'text/plain' })).headers['access-control-allow-origin'], Origin, 'its errors too');
    const asked = { Origin, 'Access-Control-Request-Method': 'POST', 'Access-Control-Request-Headers': 'content-type' };
    const preflight = await ask(asked, { method: 'OPTIONS' });
    assert.equal(preflight.status, 204);
    assert.equal(preflight.body, '');
    assert.equal(preflight.headers['access-control-allow-origin'], Origin);
    assert.equal(preflight.headers['access-control-allow-methods'], 'POST');
    assert.equal(preflight.headers['access-control-allow-headers'], 'Content-Type');
    checkAnswer(await ask({ ...asked, Origin: 'https://evil.example' }, { method: 'OPTIONS' }), 403);
    checkAnswer(await ask({ Origin }, { method: 'OPTIONS', way: '/healthz' }), 405);
});

test('whoever verifies our tokens may be any page', async (t) => {
    const { ask } = await setUp(t);
    const answer = await ask({ Origin: 'https://anyone.example', 'Sec-Fetch-Site': 'cross-site' },
        { method: 'GET', way: '/.well-known/jwks.json' });
    assert.equal(answer.status, 200);
    assert.equal(answer.headers['access-control-allow-origin'], '*');
    assert.ok(!('access-control-allow-credentials' in answer.headers));
});
