/* deploy/quickstart as a newcomer uses it: start, log in, chat, Ctrl-C, start again. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import test from 'node:test';
import { io } from 'socket.io-client';
import { folder, freePort, next, request, run, start, tree, until } from '../lib.mjs';

const quickstart = path.join(tree, 'deploy/quickstart');

/* Where `nobody` can reach it. */
function openFolder(t) {
    const dir = folder(t);
    fs.chmodSync(dir, 0o755);
    fs.mkdirSync(path.join(dir, 'tmp'), { mode: 0o1777 });
    return dir;
}

async function begin(t, parent, port) {
    const running = start(t, quickstart, ['--port', port, '--dir', path.join(parent, 'qs')],
        { detached: true, env: { ...process.env, TMPDIR: path.join(parent, 'tmp') } });
    const [, url, password] = await running.logged(/(http:\S+)\/ +log in as +demo +with +(\S+)$/, { ms: 300_000 });
    assert.equal(url, `http://127.0.0.1:${port}`);
    return { running, url, password };
}

async function login(url, password) {
    const answer = await request(`${url}/login`, { method: 'POST', body: `username=demo&password=${encodeURIComponent(password)}`,
        headers: { 'content-type': 'application/x-www-form-urlencoded' } });
    return { status: answer.status, ...JSON.parse(answer.body) };
}

async function enter(t, url, token) {
    const socket = io.connect(url, { query: 'token=' + token, transports: ['websocket'], forceNew: true, reconnection: false });
    t.after(() => socket.disconnect());
    await next(socket, 'connect');
    return socket;
}

function processesWith(word) {
    return fs.readdirSync('/proc').filter((pid) => /^\d+$/.test(pid)).flatMap((pid) => {
        try {
            const command = fs.readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
            const uid = fs.readFileSync(`/proc/${pid}/status`, 'utf8').match(/^Uid:\s+(\d+)/m)[1];
            return command.includes(word) ? [{ pid: Number(pid), uid: Number(uid), command }] : [];
        } catch {
            return []; /* it has ended meanwhile */
        }
    });
}

function nothingIsLeft(parent, port) {
    assert.deepEqual(processesWith(`${parent}/qs`), []);
    const inside = fs.readdirSync(path.join(parent, 'qs'), { recursive: true, withFileTypes: true });
    assert.deepEqual(inside.filter((entry) => entry.isSocket()).map((entry) => entry.name), []);
    assert.deepEqual(inside.filter((entry) => /-(wal|shm|journal)$/.test(entry.name)).map((entry) => entry.name), []);
    assert.deepEqual(fs.readdirSync(path.join(parent, 'tmp')), []);
    return new Promise((resolve, reject) => {
        net.connect(port, '127.0.0.1').on('error', resolve).on('connect', () => reject(new Error('the port is still open')));
    });
}

test('start, log in, chat, Ctrl-C, and again', async (t) => {
    const parent = openFolder(t);
    const port = await freePort();
    const first = await begin(t, parent, port);

    const page = await request(`${first.url}/`);
    assert.match(page.headers['content-type'], /^text\/html/);
    for (const file of ['chat.css', 'chat.js']) {
        assert.ok(page.body.includes(`"${file}"`));
        const { status, body } = await request(`${first.url}/${file}`);
        assert.equal(status, 200);
        assert.doesNotMatch(page.body + body, /https?:\/\//, 'no request leaves this machine');
    }
    assert.match((await request(`${first.url}/socket.io/socket.io.js`)).body, /Socket\.IO v4/);

    assert.equal((await login(first.url, 'guess')).status, 401);
    const { token } = await login(first.url, first.password);
    const one = await enter(t, first.url, token);
    const two = await enter(t, first.url, token);
    one.emit('add user', 'demo');
    await next(one, 'login');
    two.emit('add user', 'demo');
    await next(two, 'login');
    const heard = next(two, 'new message');
    one.emit('new message', 'hello');
    assert.equal((await heard)[0].message, 'hello');
    await first.running.logged(/sallyport-gateway: connected: demo/);

    const running = processesWith(`${parent}/qs`).filter(({ command }) => !command.includes('quickstart'));
    assert.equal(running.length, 3, JSON.stringify(running));
    assert.ok(running.every(({ uid }) => uid !== 0), 'none of the servers runs as root');
    const secret = fs.statSync(path.join(parent, 'qs/demo-password'));
    assert.equal(secret.mode & 0o777, 0o600);

    process.kill(-first.running.pid, 'SIGINT'); /* as a terminal does, to all of them */
    await until(() => first.running.ended, 'quickstart to end');
    assert.equal(first.running.ended.code, 0);
    await nothingIsLeft(parent, port);

    const second = await begin(t, parent, port);
    assert.equal(second.password, first.password);
    assert.equal((await login(second.url, second.password)).status, 200);
    await second.running.stop('SIGTERM');
    await nothingIsLeft(parent, port);
});

test('from the background of a script it still ends at SIGINT', async (t) => {
    const parent = openFolder(t);
    const port = await freePort();
    const script = start(t, '/bin/sh', ['-c', `'${quickstart}' --port ${port} --dir ${parent}/qs & echo "pid $!"; wait`]);

    const [, pid] = await script.logged(/^pid (\d+)$/);
    await script.logged(/Ctrl-C stops everything/, { ms: 300_000 });
    process.kill(Number(pid), 'SIGINT');
    await until(() => script.ended, 'quickstart to end');
    await nothingIsLeft(parent, port);
});

test('when one server ends, all do, and it says so', async (t) => {
    const parent = openFolder(t);
    const port = await freePort();
    const { running } = await begin(null, parent, port);

    process.kill(processesWith(`${parent}/qs/bin/sallyport-login`)[0].pid, 'SIGKILL');
    await until(() => running.ended, 'quickstart to end');
    assert.equal(running.ended.code, 1);
    assert.match(running.output(), /quickstart: sallyport-login has ended/);
    assert.deepEqual(processesWith(`${parent}/qs`), []);
});

test('a port that is taken is told before anything is done', async (t) => {
    const parent = openFolder(t);
    const holder = net.createServer().listen(0, '127.0.0.1');
    await next(holder, 'listening');
    t.after(() => holder.close());

    const { status, stderr } = run(quickstart, ['--port', `${holder.address().port}`, '--dir', path.join(parent, 'qs')]);
    assert.equal(status, 1);
    assert.match(stderr, /^quickstart: port \d+ is taken; choose another with --port N\n$/);
    assert.equal(fs.existsSync(path.join(parent, 'qs')), false);
});

test('what cannot be meant is a usage error; what is not its own it leaves alone', (t) => {
    for (const args of [['--port', 'http'], ['--port', '80'], ['--port'], ['--dri', '/tmp/x'], ['now']]) {
        const { status, stderr } = run(quickstart, args);
        assert.equal(status, 2, args.join(' '));
        assert.match(stderr, /^quickstart: .*\nusage: /);
    }
    const theirs = folder(t);
    fs.writeFileSync(path.join(theirs, 'thesis.txt'), 'x');
    const { status, stderr } = run(quickstart, ['--port', '19999', '--dir', theirs]);
    assert.equal(status, 1);
    assert.match(stderr, /is not a quickstart of yours/);
    assert.deepEqual(fs.readdirSync(theirs), ['thesis.txt']);
});
