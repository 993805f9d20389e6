/* The tutorial's page, step by step: log in with a form, connect with the token in the query. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { io } from 'socket.io-client';
import { instance, next, payload, request, tree } from '../lib.mjs';

const bundle = path.join(tree, 'tests/node_modules/socket.io-client/dist/socket.io.min.js');
const ann = { password: 'correct horse', claims: { first_name: 'Ann', email: 'ann@example.org' } };

function login(web, form) {
    return request(`${web}/login`, { method: 'POST', body: new URLSearchParams(form).toString(),
        headers: { 'content-type': 'application/x-www-form-urlencoded' } });
}

test('the tutorial: a form, a token, io.connect with it in the query, and the log names the claim', async (t) => {
    const sp = await instance(t, { users: { ann }, settings: { 'gateway.log_claim': 'email' } });
    const web = await sp.web();

    const answer = await login(web, { username: 'ann', password: ann.password });
    assert.equal(answer.status, 200);
    assert.equal(answer.headers['cache-control'], 'no-store');
    const { token } = JSON.parse(answer.body);
    const claims = payload(token);
    assert.equal(claims.sub, 'ann');
    assert.equal(claims.first_name, 'Ann');
    assert.equal(claims.email, 'ann@example.org');

    for (const options of [{}, { transports: ['websocket'] }]) {
        const from = sp.gateway.lines.length;
        const socket = io.connect(web, { query: 'token=' + token, forceNew: true, ...options });
        t.after(() => socket.disconnect());
        await next(socket, 'connect');
        await sp.gateway.logged(/connected: ann@example\.org/, { from });
        socket.disconnect();
        await sp.gateway.logged(/disconnect: ann@example\.org/, { from });
    }
});

test('the login page is told what was wrong', async (t) => {
    const sp = await instance(t, { users: { ann } });
    const web = await sp.web();

    for (const [form, status] of [
        [{ username: 'ann', password: 'wrong horse' }, 401],
        [{ username: 'nobody', password: ann.password }, 401],
        [{ username: 'ann' }, 400],
    ]) {
        const answer = await login(web, form);
        assert.equal(answer.status, status, answer.body);
        assert.equal(typeof JSON.parse(answer.body).error, 'string');
        assert.doesNotMatch(answer.body, /token/);
    }
    assert.equal((await request(`${web}/loginx`)).status, 404);
});

test('the gateway serves the client it was given, and says that it lives', async (t) => {
    const sp = await instance(t, { login: false, settings: { 'gateway.client': bundle } });

    const script = await request(`${sp.url}/socket.io/socket.io.js`);
    assert.equal(script.status, 200);
    assert.match(script.headers['content-type'], /^(text|application)\/javascript/);
    assert.equal(script.body, fs.readFileSync(bundle, 'utf8'));
    assert.equal((await request(`${sp.url}/healthz`)).status, 200);
    assert.equal((await request(`${sp.url}/socket.io/other.js`)).status, 404);
});
