/* Logging in through a real lighttpd, which reaches the same binary by FastCGI or by CGI. */
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { test } from 'node:test';
import { lighttpd, payload, program, request, run, signingKey } from '../lib.mjs';
import { checkAnswer, editConfig, loginInstance, startLogin } from './login.mjs';

const form = { 'Content-Type': 'application/x-www-form-urlencoded; charset=UTF-8' };
const json = { 'Content-Type': 'application/json' };
const right = 'username=ann&password=correct+horse';

/* lighttpd that hands every path on, so that what is not found is our own finding. */
const byFastcgi = (t, socket) => lighttpd(t, `
    server.document-root = "/nonexistent"
    server.modules = ("mod_fastcgi")
    fastcgi.server = ("/" => (("socket" => "${socket}", "check-local" => "disable")))`);

/* A script of two lines that names the config, as the documentation has it. */
function starter(made, config = made.config) {
    const script = path.join(made.dir, 'login.cgi');
    fs.writeFileSync(script, `#!/bin/sh\nexec '${program('sallyport-login')}' -c ${config}\n`, { mode: 0o755 });
    return script;
}

/* The same as CGI. */
function byCgi(t, made, { config } = {}) {
    const script = starter(made, config);
    return lighttpd(t, `
        server.document-root = "/nonexistent"
        server.modules = ("mod_alias", "mod_cgi")
        $HTTP["url"] =~ "^/(login|healthz)$" {
            alias.url = ("/login" => "${script}", "/healthz" => "${script}")
            cgi.assign = ("" => "")
        }`);
}

async function setUp(t, settings) {
    const made = loginInstance(t, settings);
    const login = await startLogin(t, made);
    const web = await byFastcgi(t, made.socket);
    const ask = (way, options) => request(web.url + way, options);
    return { made, login, web, ask,
        post: (body, headers = form) => ask('/login', { method: 'POST', headers, body }) };
}

function checkToken(made, answer) {
    const given = checkAnswer(answer, 200);
    assert.deepEqual(Object.keys(given), ['token', 'access_token', 'token_type', 'expires_in', 'refresh_token']);
    assert.equal(given.access_token, given.token);
    assert.equal(given.token_type, 'Bearer');
    const [head, claims, signature] = given.token.split('.');
    const key = signingKey(made.dir);
    assert.equal(signature, crypto.createHmac('sha256', Buffer.from(key.k, 'base64url'))
        .update(`${head}.${claims}`).digest('base64url'));
    return { ...given, claims: payload(given.token) };
}

test('the form a page posts gives a token with what is known of the user', async (t) => {
    const { made, post } = await setUp(t);
    const { claims, expires_in } = checkToken(made, await post(right));
    assert.equal(expires_in, 5 * 3600);
    assert.equal(claims.exp - claims.iat, expires_in);
    assert.ok(Math.abs(claims.iat - Date.now() / 1000) < 60);
    assert.equal(claims.sub, 'ann');
    assert.equal(claims.iss, 'sallyport');
    assert.equal(claims.email, 'ann@example.org');
    assert.equal(claims.id, 1);
    const again = checkToken(made, await post(right));
    assert.notEqual(again.claims.jti, claims.jti);
});

test('JSON does as well as a form', async (t) => {
    const { made, post } = await setUp(t);
    const body = JSON.stringify({ username: 'ann', password: 'correct horse', remember: true });
    assert.equal(checkToken(made, await post(body, json)).claims.sub, 'ann');
    assert.equal(checkToken(made, await post(body, { 'Content-Type': 'Application/JSON;charset=utf-8' })).claims.sub, 'ann');
});

test('unknown, wrong and disabled are refused with the same bytes', async (t) => {
    const { post } = await setUp(t);
    const bodies = ['username=ann&password=wrong', 'username=nobody&password=correct+horse',
        'username=bob&password=correct+horse', 'username=bob&password=wrong', 'username=+ann&password=x',
        `username=${'a'.repeat(500)}&password=x`, `username=ann&password=${'x'.repeat(2000)}`, 'username=ANN&password=correct+horse'];
    const answers = await Promise.all(bodies.map((body) => post(body)));
    for (const answer of answers) {
        assert.equal(checkAnswer(answer, 401).error, 'invalid_grant');
        assert.equal(answer.body, answers[0].body);
    }
});

/* Nanoseconds of processor time that all threads have used. */
function processorTime(pid) {
    const tasks = fs.readdirSync(`/proc/${pid}/task`);
    return tasks.reduce((sum, task) =>
        sum + Number(fs.readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'utf8').split(' ')[0]), 0);
}

test('every refusal costs one hash, as a login does, and a bad request none', async (t) => {
    const { login, post } = await setUp(t, { 'login.threads': 1 });
    const cost = async (body, status) => {
        const before = processorTime(login.pid);
        for (let i = 0; i < 12; i++) checkAnswer(await post(body), status);
        return processorTime(login.pid) - before;
    };
    await cost(right, 200);
    const one = await cost(right, 200);
    for (const body of ['username=ann&password=wrong', 'username=nobody&password=wrong',
        'username=bob&password=correct+horse', 'username=a%01b&password=x', `username=ann&password=${'x'.repeat(1025)}`]) {
        const ratio = await cost(body, 401) / one;
        assert.ok(ratio > 0.6 && ratio < 1.5, `${body.slice(0, 40)} cost ${ratio} of a login`);
    }
    const none = await cost('username=ann', 400) / one;
    assert.ok(none < 0.3, `a bad request cost ${none} of a login`);
});

test('what is not a login is refused by its kind', async (t) => {
    const { ask, post } = await setUp(t);
    for (const body of ['', 'username=ann', 'username=&password=x', 'username=ann&password=', `${right}&username=ann`,
        'username=ann&password=%', 'username=ann&password=%ff', 'username=ann&password=a%00b'])
        assert.equal(checkAnswer(await post(body), 400).error, 'invalid_request');
    for (const body of ['', '{', '[]', '{"username":"ann"}', '{"username":"ann","password":1}',
        '{"username":"ann","password":"x","password":"x"}', right])
        assert.equal(checkAnswer(await post(body, json), 400).error, 'invalid_request');
    for (const type of ['text/plain', 'multipart/form-data; boundary=x', 'application/x-www-form-urlencodedx'])
        assert.equal(checkAnswer(await post(right, { 'Content-Type': type }), 415).error, 'unsupported_media_type');
    assert.equal(checkAnswer(await post(right, {}), 415).error, 'unsupported_media_type');
    for (const [method, way, allow] of [['GET', '/login', 'POST'], ['PUT', '/login', 'POST'], ['DELETE', '/login', 'POST'],
        ['POST', '/healthz', 'GET, HEAD']]) {
        const answer = await ask(way, { method, headers: form });
        assert.equal(checkAnswer(answer, 405).error, 'method_not_allowed');
        assert.equal(answer.headers.allow, allow);
    }
});

test('only the exact path is served', async (t) => {
    const { made, ask } = await setUp(t);
    for (const way of ['/loginx', '/login/', '/login%2f', '//login', '/log%69n', '/LOGIN', '/', '/login;x', '/login%00', '/token/', '/.well-known',
        `/login${'x'.repeat(1000)}`, '/healthz/']) {
        const answer = await ask(way, { method: 'POST', headers: form, body: right });
        if (way === '/login%00') assert.equal(answer.status, 400); /* lighttpd's own */
        else assert.equal(checkAnswer(answer, 404).error, 'not_found', way);
    }
    checkToken(made, await ask('/login?next=/&x', { method: 'POST', headers: form, body: right }));
});

test('a body that is too long is refused, and the connection lives', async (t) => {
    const { made, web } = await setUp(t);
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    t.after(() => agent.destroy());
    const ports = new Set();
    const post = (body) => new Promise((resolve, reject) => {
        const sent = http.request(`${web.url}/login`, { method: 'POST', agent, headers: form }, (answer) => {
            let text = '';
            ports.add(answer.socket.localPort);
            answer.on('data', (part) => { text += part; });
            answer.on('end', () => resolve({ status: answer.statusCode, headers: answer.headers, body: text }));
        });
        sent.on('error', reject);
        sent.end(body);
    });
    const long = `username=ann&password=${'x'.repeat(16_384)}`;
    assert.equal(checkAnswer(await post(long), 413).error, 'content_too_large');
    checkAnswer(await post(long + 'x'.repeat(3_000_000)), 413);
    const most = `${right}&x=`;
    checkToken(made, await post(most + 'x'.repeat(16_384 - most.length)));
    checkAnswer(await post(most + 'x'.repeat(16_385 - most.length)), 413);
    assert.equal(ports.size, 1);
});

test('a chunked body is read', async (t) => {
    const { made, post } = await setUp(t);
    checkToken(made, await post(right, { ...form, 'Transfer-Encoding': 'chunked' }));
});

test('healthz says whether the database answers, and a failing one is never a wrong password', async (t) => {
    const { made, login, ask, post } = await setUp(t);
    assert.deepEqual(checkAnswer(await ask('/healthz'), 200), { status: 'ok' });
    const head = await ask('/healthz', { method: 'HEAD' });
    assert.equal(head.status, 200);
    assert.equal(head.body, '');
    assert.equal(head.headers['content-length'], '16');
    for (const file of [made.database, `${made.database}-wal`]) fs.truncateSync(file, 0);
    for (const answer of [await ask('/healthz'), await post(right), await post('username=nobody&password=x')])
        assert.equal(checkAnswer(answer, 503).error, 'temporarily_unavailable');
    await login.logged(/cannot look up a user: .+/);
    assert.equal((await ask('/healthz', { method: 'HEAD' })).body, '');
});

test('the log has who and where, and neither password nor unknown name', async (t) => {
    const { login, post } = await setUp(t);
    checkAnswer(await post(right), 200);
    checkAnswer(await post('username=ann&password=hunter2-secret'), 401);
    checkAnswer(await post('username=hunter3-secret&password=x'), 401);
    checkAnswer(await post('username=bob&password=correct+horse'), 401);
    checkAnswer(await post('username=hunter4-secret'), 400);
    await login.logged(/disabled/);
    assert.deepEqual(login.lines.slice(1), [
        'sallyport-login: login accepted: address 127.0.0.1, user ann',
        'sallyport-login: login refused: wrong password, address 127.0.0.1, user ann',
        'sallyport-login: login refused: unknown user, address 127.0.0.1',
        'sallyport-login: login refused: disabled, address 127.0.0.1, user bob']);
});

test('a changed password and a disabled user count at once', async (t) => {
    const { made, post } = await setUp(t);
    checkToken(made, await post(right));
    made.cli(['user', 'passwd', 'ann', '--password-stdin'], 'battery staple\n');
    checkAnswer(await post(right), 401);
    checkToken(made, await post('username=ann&password=battery+staple'));
    made.cli(['user', 'disable', 'ann']);
    checkAnswer(await post('username=ann&password=battery+staple'), 401);
    made.cli(['user', 'enable', 'ann']);
    checkToken(made, await post('username=ann&password=battery+staple'));
});

test('SIGHUP reads the config anew, or changes nothing and says why', async (t) => {
    const { made, login, post } = await setUp(t);
    const lifetime = async () => checkToken(made, await post(right)).expires_in;
    editConfig(made, /# lifetime = "5h";/, 'lifetime = "90s";');
    editConfig(made, /# threads = 8;/, 'threads = 3;');
    assert.equal(await lifetime(), 18_000);
    process.kill(login.pid, 'SIGHUP');
    await login.logged(/reload: only a restart changes login\.threads$/);
    await login.logged(/reload: .*sallyport\.conf is read/);
    assert.equal(await lifetime(), 90);
    editConfig(made, /lifetime = "90s";/, 'lifetime = "90s"; lifetime = "1h";');
    process.kill(login.pid, 'SIGHUP');
    await login.logged(/reload: .*sallyport\.conf:\d+: .*; nothing is changed/);
    assert.equal(await lifetime(), 90);
});

test('lighttpd may start it itself', async (t) => {
    const made = loginInstance(t);
    const web = await lighttpd(t, `
        server.document-root = "/nonexistent"
        server.modules = ("mod_fastcgi")
        fastcgi.server = ("/" => (("socket" => "${made.dir}/web.sock", "check-local" => "disable", "max-procs" => 2,
            "bin-path" => "${starter(made)}")))`);
    const ask = () => request(`${web.url}/login`, { method: 'POST', headers: form, body: right });
    for (const answer of await Promise.all(Array.from({ length: 8 }, ask))) checkToken(made, answer);
    assert.ok(!fs.existsSync(made.socket), 'its own socket was not made');
});

test('as CGI it answers the same', async (t) => {
    const made = loginInstance(t);
    const web = await byCgi(t, made);
    const post = (body, headers = form, way = '/login') => request(web.url + way, { method: 'POST', headers, body });
    assert.equal(checkToken(made, await post(right)).claims.email, 'ann@example.org');
    checkToken(made, await post(JSON.stringify({ username: 'ann', password: 'correct horse' }), json));
    checkToken(made, await post(right, { ...form, 'Transfer-Encoding': 'chunked' }));
    checkToken(made, await post(right, form, '/login?next=1'));
    checkAnswer(await post('username=ann&password=wrong'), 401);
    checkAnswer(await post('username=nobody&password=wrong'), 401);
    checkAnswer(await post('username=ann'), 400);
    checkAnswer(await post(right, {}), 415);
    checkAnswer(await post('x'.repeat(1_000_000)), 413);
    checkAnswer(await post(right, form, '//login'), 404);
    assert.equal((checkAnswer(await request(`${web.url}/login`), 405)).error, 'method_not_allowed');
    assert.deepEqual(checkAnswer(await request(`${web.url}/healthz`), 200), { status: 'ok' });
    assert.equal((await request(`${web.url}/healthz`, { method: 'HEAD' })).body, '');
    /* A query of words may have become arguments, as it does with Apache. */
    checkAnswer(await post(right, form, '/login?-c+/etc/passwd'), 400);
    await web.server.logged(/login accepted: address 127\.0\.0\.1, user ann/);
});

test('as CGI it says in the web server\'s log what it lacks, and nothing of it to the client', async (t) => {
    const made = loginInstance(t);
    const web = await byCgi(t, made, { config: '/nonexistent/sallyport.conf' });
    const answer = await request(`${web.url}/login`, { method: 'POST', headers: form, body: right });
    assert.equal(checkAnswer(answer, 500).error, 'server_error');
    assert.ok(!answer.body.includes('nonexistent'));
    await web.server.logged(/\/nonexistent\/sallyport\.conf/);
});

test('as CGI a query of words never becomes its arguments', () => {
    const env = { REQUEST_METHOD: 'POST', REQUEST_URI: '/login?-c+x', QUERY_STRING: '-c+x', CONTENT_LENGTH: '0' };
    for (const args of [['-c', 'x'], ['--version'], ['--help'], ['--check']]) {
        const { status, stdout } = run(program('sallyport-login'), args, { env });
        assert.equal(status, 0);
        assert.match(stdout, /^Status: 400 Bad Request\r\n/);
    }
});

test('as CGI it reads what CONTENT_LENGTH says and no more', async (t) => {
    const made = loginInstance(t, { 'login.timeout': '1s' });
    const env = { REQUEST_METHOD: 'POST', REQUEST_URI: '/login', CONTENT_TYPE: 'application/x-www-form-urlencoded' };
    const cgi = (input, length) => run(program('sallyport-login'), ['-c', made.config],
        { input, env: { ...env, ...(length === undefined ? {} : { CONTENT_LENGTH: String(length) }) } }).stdout;
    assert.match(cgi(right, right.length), /^Status: 200 OK\r\n/);
    assert.match(cgi(`${right}&username=bob`, right.length), /^Status: 200 OK\r\n/);
    assert.match(cgi(right, right.length + 1), /^Status: 400 Bad Request\r\n/);
    assert.match(cgi(right), /^Status: 411 Length Required\r\n/);
    assert.match(cgi(right, 'x'), /^Status: 400 Bad Request\r\n/);
});

test('--check says what is wrong and what is right', async (t) => {
    const made = loginInstance(t);
    const check = () => run(program('sallyport-login'), ['-c', made.config, '--check']);
    assert.deepEqual([check().status, check().stdout, check().stderr], [0, `sallyport-login: ${made.config}: OK\n`, '']);
    const refuses = (pattern) => {
        const { status, stdout, stderr } = check();
        assert.equal(status, 1);
        assert.equal(stdout, '');
        assert.match(stderr, pattern);
        assert.match(stderr, /^sallyport-login: [^\n]+\n$/);
    };
    editConfig(made, /# threads = 8;/, 'threads = 0;');
    refuses(/login\.threads/);
    editConfig(made, /threads = 0;/, 'timeout = "0s";');
    refuses(/login\.timeout/);
    editConfig(made, /timeout = "0s";/, 'listen = "nowhere";');
    refuses(/listen/);
    editConfig(made, /listen = "nowhere";/, '');
    assert.equal(check().status, 0);
    fs.renameSync(made.database, `${made.database}.away`);
    refuses(/sallyport\.db/);
    fs.renameSync(`${made.database}.away`, made.database);
    fs.rmSync(path.join(made.dir, 'keys/private/signing'));
    refuses(/signing/);
});

test('its arguments are understood or refused', () => {
    const login = (...args) => run(program('sallyport-login'), args);
    assert.match(login('--help').stdout, /^Usage: sallyport-login/);
    assert.match(login('--version').stdout, /^sallyport-login \d+\.\d+\.\d+\n$/);
    for (const args of [['--nonsense'], ['-c'], ['serve']]) {
        const { status, stderr } = login(...args);
        assert.equal(status, 2);
        assert.match(stderr, /^sallyport-login: .*--help\n$/);
    }
});
