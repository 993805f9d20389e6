/* What the audit and the log keep of logins and of the administrator's acts, and that neither is in anyone's way. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { payload, program, run, tree, until } from '../lib.mjs';
import { fastcgiAsk, loginRequest } from './fastcgi.mjs';
import { checkAnswer, loginInstance, startLogin } from './login.mjs';

async function setUp(t, settings) {
    const made = loginInstance(t, settings);
    const login = await startLogin(t, made);
    const post = (way, fields, address = '192.0.2.7') => fastcgiAsk(t, made.socket, loginRequest({
        body: String(new URLSearchParams(fields)), params: { REQUEST_URI: way, REMOTE_ADDR: address } }));
    const search = (...words) => JSON.parse(made.cli(['audit', 'search', '--json', ...words]));
    const found = (n, ...words) => until(() => { const all = search(...words); return all.length >= n && all; }, `${n} events`);
    return { made, login, post, search, found };
}

const said = ({ event, result, user }) => `${event}: ${result}, ${user}`;

test('every login, refusal, refresh, logout and act is there with who, from where and why', async (t) => {
    const { made, post, found } = await setUp(t);
    const ann = { username: 'ann', password: 'correct horse' };
    const refresh = (token) => post('/token', { grant_type: 'refresh_token', refresh_token: token });
    const first = checkAnswer(await post('/login', ann), 200);
    checkAnswer(await post('/login', { username: 'ann', password: 'hunter2-secret' }), 401);
    checkAnswer(await post('/login', { username: 'hunter3/secret', password: 'x' }, '2001:db8::1'), 401);
    checkAnswer(await post('/login', { username: 'bob', password: 'correct horse' }), 401);
    const second = checkAnswer(await refresh(first.refresh_token), 200);
    checkAnswer(await refresh('x'.repeat(64)), 400);
    checkAnswer(await post('/logout', { refresh_token: second.refresh_token }), 200);
    checkAnswer(await refresh(second.refresh_token), 400);
    checkAnswer(await post('/password', { ...ann, new_password: 'battery staple' }), 200);
    checkAnswer(await post('/password', { ...ann, new_password: 'x' }), 401);
    await found(14); /* the service writes a little later, the command at once */
    made.cli(['session', 'revoke', 'ann']);
    const events = await found(15);
    assert.deepEqual(events.map(said), ['user add: ok, ann', 'user add: ok, bob', 'user disable: ok, bob', 'login: ok, ann',
        'login: wrong password, ann', 'login: unknown user, null', 'login: disabled, bob', 'refresh: ok, ann',
        'refresh: unknown token, null', 'logout: ok, ann', 'refresh: unknown token, null', 'password: ok, ann',
        'login: ok, ann', 'password: wrong password, ann', 'session revoke: ok, ann']);
    assert.match(events[0].by, /^\S+/);
    assert.equal(events[4].address, '192.0.2.7');
    assert.equal((await found(1, '--network', '2001:db8::/32')).length, 1);
    assert.equal((await found(1, '--user', 'hunter3/secret'))[0].id, events[5].id);
    assert.equal((await found(1, '--since', '1h', '--event', 'session')).length, 1);
    made.cli(['throttle', 'clear', 'hunter3/secret']);
    assert.deepEqual((await found(1, '--event', 'throttle')).map(({ detail }) => detail), [null]);
    for (const file of ['audit.db', 'audit.db-wal'].map((name) => path.join(made.dir, name)).filter(fs.existsSync))
        assert.doesNotMatch(fs.readFileSync(file, 'latin1'), /hunter|horse|staple/);
});

test('who follows the audit is told of each event once, when it happens', async (t) => {
    const { made, post } = await setUp(t);
    const follow = (...words) => {
        const child = spawn(program('sallyport'), ['-c', made.config, 'audit', 'tail', '--follow', ...words], { stdio: ['ignore', 'pipe', 'inherit'] });
        const following = { child, text: '' };
        child.stdout.on('data', (part) => { following.text += part; });
        t.after(() => child.kill('SIGKILL'));
        following.ended = new Promise((resolve) => child.on('exit', (code, signal) => resolve(signal ?? code)));
        return following;
    };
    const table = follow('-n', '1'), json = follow('-n', '1', '--json');
    await until(() => table.text.includes('user disable') && json.text.includes('\n'), 'what happened before');
    for (let i = 0; i < 3; i++) {
        const address = `192.0.2.${i + 1}`;
        assert.equal((await post('/login', { username: 'ann', password: 'wrong' }, address)).status, 401);
        await until(() => [table, json].every(({ text }) => text.includes(address)), `the guess from ${address}`);
    }
    made.cli(['user', 'roles', 'ann', '+admin']);
    await until(() => [table, json].every(({ text }) => text.includes('user roles')), 'the act');
    const lines = table.text.trimEnd().split('\n');
    assert.equal(lines.length, 6, table.text);
    assert.match(lines[0], /^TIME +EVENT +RESULT +USER +FROM$/);
    assert.deepEqual(json.text.trimEnd().split('\n').map((line) => said(JSON.parse(line))),
        ['user disable: ok, bob', ...Array(3).fill('login: wrong password, ann'), 'user roles: ok, ann']);
    table.child.kill('SIGINT');
    assert.equal(await table.ended, 'SIGINT');
    json.child.stdout.destroy(); /* who reads no more is written to once more */
    made.cli(['user', 'roles', 'ann', '-admin']);
    assert.notEqual(await json.ended, 0);
});

test('the filter in the manual page finds who guesses, and nobody else', async (t) => {
    const { made, login, post } = await setUp(t);
    const page = fs.readFileSync(path.join(tree, 'deploy/man/sallyport-login.8'), 'utf8');
    const text = page.match(/^failregex = (.+)$/m)[1].replaceAll('\\e', '\\').replace('<HOST>', '(?<host>\\S+)');
    const mean = 'wrong password, address 203.0.113.9';
    made.cli(['user', 'add', mean, '--password-stdin'], 'x\n');
    checkAnswer(await post('/login', { username: mean, password: 'x' }), 200);
    checkAnswer(await post('/login', { username: mean, password: 'y' }), 401);
    checkAnswer(await post('/login', { username: 'nobody', password: 'y' }, '192.0.2.8'), 401);
    await login.logged(/192\.0\.2\.8/);
    const hosts = login.lines.map((line) => line.match(new RegExp(text))?.groups.host).filter(Boolean);
    assert.deepEqual(hosts, ['192.0.2.7', '192.0.2.8']);
});

test('without a place for the audit users log in all the same, and it is said how much is lost', async (t) => {
    const folder = path.join('/tmp', `audit-${process.pid}`);
    t.after(() => fs.rmSync(folder, { recursive: true, force: true, maxRetries: 10 }));
    fs.mkdirSync(folder);
    const { made, login, post, found } = await setUp(t, { 'login.audit': path.join(folder, 'audit.db') });
    const right = { username: 'ann', password: 'correct horse' };
    fs.rmSync(folder, { recursive: true });
    for (let i = 0; i < 3; i++) checkAnswer(await post('/login', right), 200);
    await login.logged(/audit: [123] events are lost: .*its folder does not exist/);
    assert.equal(run(program('sallyport'), ['-c', made.config, 'user', 'disable', 'bob']).status, 0);
    fs.mkdirSync(folder);
    checkAnswer(await post('/login', right), 200);
    const [lost] = await found(1, '--event', 'audit');
    assert.match(lost.detail, /^[123] events$/);
    assert.equal(login.lines.filter((line) => /are lost/.test(line)).length, 1);
});

test('as CGI too, after the answer', async (t) => {
    const made = loginInstance(t);
    const body = 'username=ann&password=correct+horse';
    const child = spawn(program('sallyport-login'), ['-c', made.config], { stdio: ['pipe', 'pipe', 'ignore'], env: {
        REQUEST_METHOD: 'POST', REQUEST_URI: '/login', CONTENT_TYPE: 'application/x-www-form-urlencoded',
        CONTENT_LENGTH: String(body.length), REMOTE_ADDR: '192.0.2.9' } });
    child.stdin.end(body);
    await new Promise((resolve) => child.on('close', resolve));
    const events = JSON.parse(made.cli(['audit', 'search', '--json', '--network', '192.0.2.9']));
    assert.deepEqual(events.map(said), ['login: ok, ann']);
});

test('roles and claims are in the next token, and in the one after a refresh', async (t) => {
    const { made, post } = await setUp(t);
    made.cli(['user', 'roles', 'ann', '+admin', '+editor']);
    const first = checkAnswer(await post('/login', { username: 'ann', password: 'correct horse' }), 200);
    assert.deepEqual(payload(first.token).roles, ['admin', 'editor']);
    made.cli(['user', 'roles', 'ann', '-admin']);
    made.cli(['user', 'set', 'ann', 'plan=gold', 'level:=5', '-email']);
    const next = checkAnswer(await post('/token', { grant_type: 'refresh_token', refresh_token: first.refresh_token }), 200);
    const { roles, plan, level, email } = payload(next.token);
    assert.deepEqual({ roles, plan, level, email }, { roles: ['editor'], plan: 'gold', level: 5, email: undefined });
});
