/* One booted Debian, from the installation on; started by tests/boot. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { io } from 'socket.io-client';
import { build, must, next, request, run, start, tree, until } from '../lib.mjs';

const root = path.join(tree, 'build/boot/booted');
const inside = (...parts) => path.join(root, ...parts);
const units = ['sallyport-login', 'sallyport-gateway'];
const url = 'http://127.0.0.1';
const rules = (word) => `namespace "/" { authenticate required\n on "echo" { ack "${word}" } }`;
let debian;
let socket;

/* ---- the machine ---- */

const leader = () => fs.readFileSync(`/proc/${debian.pid}/task/${debian.pid}/children`, 'utf8').trim();
const enter = (command, ...args) => ['nsenter', ['--target', leader(), '--mount', '--uts', '--ipc', '--pid', '--cgroup', '--', command, ...args]];
const tryIn = (...command) => run(...enter(...command));
const into = (...command) => must(...enter(...command));
const property = (unit, name) => into('systemctl', 'show', '--property', name, '--value', unit).trim();
const mainPid = (name) => property(`${name}.service`, 'MainPID');

/* The same process, as we number it. */
function pidHere(name) {
    const program = name === 'sallyport-login' ? 'sallyport-logi' : name; /* as the kernel cuts it */
    const pids = fs.readdirSync('/proc').filter((pid) => /^\d+$/.test(pid) && status(pid, 'Name')?.startsWith(program.slice(0, 15))
        && status(pid, 'NSpid')?.split(/\s+/).at(-1) === mainPid(name) && status(pid, 'NSpid').split(/\s+/).length > 1);
    assert.equal(pids.length, 1, `${name}: ${pids}`);
    return pids[0];
}

const kill = (name) => process.kill(Number(pidHere(name)), 'SIGKILL');

function status(pid, field) {
    try {
        return fs.readFileSync(`/proc/${pid}/status`, 'utf8').match(new RegExp(`^${field}:\\s+(.*)$`, 'm'))?.[1];
    } catch {
        return undefined; /* it has ended */
    }
}

async function boot() {
    debian = start(null, 'systemd-nspawn', ['--quiet', '--boot', '--register=no', '--keep-unit', '--link-journal=no',
        `--directory=${root}`, '--console=pipe']);
    await until(() => {
        if (debian.ended) throw new Error(`systemd-nspawn has ended:\n${debian.output()}`);
        return leader() && ['running', 'degraded'].includes(tryIn('systemctl', 'is-system-running').stdout.trim());
    }, 'Debian to have booted', 60_000);
    assert.equal(into('systemctl', '--failed', '--no-legend', '--plain'), '');
}

async function shutDown() {
    if (!debian || debian.ended) return;
    into('systemctl', 'poweroff');
    await until(() => debian.ended, 'Debian to shut down', 60_000);
}

/* ---- what is looked at ---- */

async function login() {
    const answer = await request(`${url}/login`, { method: 'POST', body: 'username=ann&password=correct+horse',
        headers: { 'content-type': 'application/x-www-form-urlencoded' } });
    assert.equal(answer.status, 200, answer.body);
    return JSON.parse(answer.body).token;
}

async function connect() {
    const token = await login();
    const made = io(url, { forceNew: true, reconnectionDelay: 50, reconnectionDelayMax: 200, auth: { token } });
    await next(made, 'connect');
    return made;
}

/* lighttpd answers, and reaches the login service. */
const webReaches = () => until(() => request(`${url}/login`).then((answer) => answer.status === 405, () => false),
    'lighttpd to reach the login service');
const write = (file, text) => fs.writeFileSync(inside(file), text);
const isActive = (unit) => tryIn('systemctl', 'is-active', unit).stdout.trim() === 'active';

/* Another process than `before` serves. */
const replaced = (name, before) => until(() => {
    const now = mainPid(name);
    return now !== '0' && now !== before && isActive(`${name}.service`);
}, `${name} to be back`);

/* ---- the days of an installation ---- */

before(async () => {
    fs.rmSync(root, { recursive: true, force: true });
    must('cp', ['-a', '--reflink=auto', path.join(tree, 'build/boot/root'), root]);
    await boot();
});
after(async () => {
    socket?.disconnect();
    try {
        await shutDown();
    } finally {
        debian?.child.kill('SIGKILL');
        fs.rmSync(root, { recursive: true, force: true });
    }
});

test('installed and started as the README says', async () => {
    must('make', ['-s', '-C', tree, 'install', `DESTDIR=${root}`, 'PREFIX=/usr']);
    into('systemd-sysusers');
    into('systemd-tmpfiles', '--create', 'sallyport.conf');
    into('sallyport', 'init');
    must(...enter('sallyport', 'user', 'add', 'ann', '--password-stdin'), { input: 'correct horse\n' });
    write('etc/sallyport/relay.rules', rules('first'));
    for (const part of ['login', 'gateway'])
        fs.copyFileSync(path.join(tree, `deploy/lighttpd/sallyport-${part}.conf`), inside(`etc/lighttpd/conf-enabled/50-sallyport-${part}.conf`));
    into('systemctl', 'daemon-reload');
    into('systemctl', 'enable', '--now', ...units);
    into('systemctl', 'restart', 'lighttpd');
    await webReaches();

    socket = await connect();
    assert.equal(await socket.emitWithAck('echo'), 'first');
    for (const name of units) {
        for (const unit of [`${name}.service`, `${name}.socket`]) assert.ok(isActive(unit), unit);
        assert.equal(property(name, 'User'), name);
        assert.equal(status(pidHere(name), 'NoNewPrivs'), '1');
        assert.equal(status(pidHere(name), 'CapBnd'), '0000000000000000');
        assert.equal(status(pidHere(name), 'Seccomp'), '2');
    }
    assert.equal(into('stat', '-c', '%a %U %G', '/run/sallyport/login.sock'), '660 root www-data\n');
});

test('the login service has the memory that its config and its users ask for', async () => {
    const said = () => into('sallyport', 'hash', 'memory').trim();
    const before = said();
    assert.equal(property('sallyport-login', 'MemoryMax'), before);
    const hash = must('perl', ['-e', 'print crypt("another", q($y$jBT$0123456789abcdef01234.))']);
    must(...enter('sallyport', 'import', 'htpasswd', '-'), { input: `eve:${hash}\n` });
    assert.ok(Number(said()) > Number(before));
    into('systemctl', 'reload', 'sallyport-login');
    assert.equal(property('sallyport-login', 'MemoryMax'), said());
    into('sallyport', 'user', 'delete', 'eve');
    into('systemctl', 'restart', 'sallyport-login');
    assert.equal(property('sallyport-login', 'MemoryMax'), before);
    assert.equal(into('systemctl', 'show', '-P', 'ExecMainPID', 'sallyport-login').trim(), mainPid('sallyport-login'));
    assert.doesNotMatch(into('journalctl', '-u', 'sallyport-login'), /Permission denied|Failed to set/);
    await login();
});

test('a reload changes the rules, not the process, and a mistake changes nothing', async () => {
    const pids = units.map(mainPid);
    const lost = next(socket, 'disconnect', 2000).then(() => assert.fail('the client was disconnected'), () => {});

    write('etc/sallyport/relay.rules', rules('second'));
    into('systemctl', 'reload', ...units);
    await until(async () => await socket.emitWithAck('echo') === 'second', 'the new rules');
    write('etc/sallyport/relay.rules', 'namespace');
    into('systemctl', 'reload', ...units);
    await until(() => into('journalctl', '-u', 'sallyport-gateway').includes('nothing is changed'), 'the complaint');
    assert.equal(await socket.emitWithAck('echo'), 'second');
    await until(() => units.every((name) => isActive(`${name}.service`)), 'the reload to be over');
    assert.deepEqual(units.map(mainPid), pids);
    write('etc/sallyport/relay.rules', rules('second'));
    await lost;
});

for (const name of units) {
    test(`${name}, killed, is back at once, and nobody is turned away meanwhile`, async () => {
        const before = mainPid(name);
        kill(name);
        const made = await connect(); /* it waits in the socket */
        assert.equal(await made.emitWithAck('echo'), 'second');
        made.disconnect();
        await replaced(name, before);
        await until(() => socket.connected, 'the old client to be back');
        assert.equal(await socket.emitWithAck('echo'), 'second');
    });
}

test('killed ten times in a row they still come back', async () => {
    for (const name of units) {
        for (let i = 0; i < 10; i++) {
            const before = mainPid(name);
            kill(name);
            await replaced(name, before);
        }
    }
    (await connect()).disconnect();
});

test('a worker of the gateway that hangs is seen, and the service started again', async () => {
    const [name, file] = ['sallyport-gateway', 'etc/systemd/system/sallyport-gateway.service.d/soon.conf'];
    fs.mkdirSync(path.dirname(inside(file)), { recursive: true });
    write(file, '[Service]\nWatchdogSec=4\n');
    into('systemctl', 'daemon-reload');
    into('systemctl', 'restart', name);
    await until(() => socket.connected, 'the client to be back');

    const [before, pid] = [mainPid(name), pidHere(name)];
    const worker = fs.readdirSync(`/proc/${pid}/task`).find((thread) => thread !== pid);
    const held = start(null, path.join(build, 'tests/system/hold_thread'), [worker]);
    await held.logged(/^held$/);
    await until(() => held.ended, 'systemd to lose patience', 60_000);
    await replaced(name, before);
    assert.match(into('journalctl', '-u', name), /Watchdog timeout/);
    (await connect()).disconnect();
    fs.rmSync(inside(file));
    into('systemctl', 'daemon-reload');
});

test('what cannot start for a while, with clients at the door, starts when it is mended', async () => {
    const config = fs.readFileSync(inside('etc/sallyport/sallyport.conf'), 'utf8');
    write('etc/sallyport/sallyport.conf', 'keys = ;');
    units.forEach(kill);
    const end = Date.now() + 8000;
    while (Date.now() < end) {
        const asked = [request(`${url}/login`, { method: 'POST' }), request(`${url}:9000/healthz`)];
        await Promise.race([Promise.allSettled(asked), new Promise((resolve) => setTimeout(resolve, 100))]);
    }
    write('etc/sallyport/sallyport.conf', config);
    for (const name of units) {
        assert.ok(isActive(`${name}.socket`), `${name}.socket`);
        await until(() => isActive(`${name}.service`), `${name} to start`);
    }
    await webReaches();
    (await connect()).disconnect();
});

test('sockets that are stopped are removed, and the services with them', async () => {
    into('systemctl', 'stop', ...units.map((name) => `${name}.socket`));
    for (const name of units) assert.ok(!isActive(`${name}.service`));
    assert.ok(!fs.existsSync(inside('run/sallyport/login.sock')));
    assert.notEqual(tryIn('test', '-e', '/run/sallyport/login.sock').status, 0);
    into('systemctl', 'start', ...units);
    await webReaches();
    (await connect()).disconnect();
});

test('after a reboot they serve by themselves', async () => {
    socket.disconnect();
    await shutDown();
    await boot();
    await webReaches();
    socket = await connect();
    assert.equal(await socket.emitWithAck('echo'), 'second');
    for (const name of units) assert.equal(property(name, 'NRestarts'), '0');
});
