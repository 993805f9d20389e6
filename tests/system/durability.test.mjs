/*
 * What is left of what was promised when the disk is full, or can only be read, or a process is
 * killed: six times, or as often as the environment's KILLS says.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { atEnd, folder, must, payload, program, run, start, within } from '../lib.mjs';
import { fastcgiConnect, fastcgiRequest } from './fastcgi.mjs';
import { checkAnswer, loginInstance, startLogin } from './login.mjs';

const kills = Number(process.env.KILLS ?? 6);
const asRoot = process.getuid() === 0 ? [] : ['sudo', '-n'];
const root = (...words) => must(...((all) => [all[0], all.slice(1)])([...asRoot, ...words]));
const homes = new Map();

/* Each user's from the network where they are at home, for it is not the throttle that is tested;
 * null: the connection was lost. */
async function ask(t, made, uri, fields) {
    if (!homes.has(fields.username)) homes.set(fields.username, homes.size);
    const { send, answer, socket } = await fastcgiConnect(t, made.socket);
    send(fastcgiRequest({ uri, body: String(new URLSearchParams(fields)),
        params: { REMOTE_ADDR: `10.0.${homes.get(fields.username)}.1` } }).all);
    try {
        return await answer();
    } finally {
        socket.destroy();
    }
}

const login = (t, made, username, password) => ask(t, made, '/login', { username, password });
const refresh = (t, made, refresh_token) => ask(t, made, '/token', { grant_type: 'refresh_token', refresh_token });
const cli = (made, args, input) => run(program('sallyport'), ['-c', made.config, ...args], { input });

/* ---- a disk that takes nothing more ---- */

/* An instance on a file system of its own of two megabytes, which `fill` fills and `empty` empties again. */
function smallDisk(t) {
    const parent = folder(t);
    const dir = path.join(parent, 'disk');
    fs.mkdirSync(dir);
    root('mount', '-t', 'tmpfs', '-o', `size=2m,uid=${process.getuid()},gid=${process.getgid()},mode=0700`, 'sallyport', dir);
    atEnd(t, () => root('umount', dir));
    const socket = path.join(parent, 'login.sock');
    const made = Object.assign(loginInstance(t, { 'login.listen': socket }, dir), { socket });
    const ballast = path.join(dir, 'ballast');
    made.fill = () => {
        const file = fs.openSync(ballast, 'a');
        for (const bytes of [65_536, 4096, 1])
            try {
                for (;;) fs.writeSync(file, Buffer.alloc(bytes));
            } catch (error) {
                assert.equal(error.code, 'ENOSPC');
            }
        fs.closeSync(file);
    };
    made.empty = () => fs.rmSync(ballast);
    made.remount = (how) => root('mount', '-o', `remount,${how}`, dir);
    return made;
}

/* SQLite may still write where it has written before: what is answered 200 has to be there later. */
async function untilUnavailable(action) {
    for (let n = 0; n < 500; n++) {
        const answer = await action();
        assert.ok([200, 503].includes(answer?.status), `${answer?.status} ${answer?.body}`);
        const { error } = checkAnswer(answer, answer.status);
        if (answer.status === 200) continue;
        assert.deepEqual([error, answer.headers['retry-after']], ['temporarily_unavailable', '1']);
        return;
    }
    assert.fail('the disk never was full');
}

test('a full disk is said to be one, what was answered is there, and with room all goes on', async (t) => {
    const made = smallDisk(t);
    const service = await startLogin(t, made);
    const logIn = async (password = 'correct horse') => checkAnswer(await login(t, made, 'ann', password), 200).refresh_token;
    const alive = [await logIn()], ended = [];
    const sessions = [await logIn(), await logIn(), await logIn()];
    let [password, another] = ['correct horse', 'battery'];
    made.fill();

    const remember = (answer, action) => {
        if (answer?.status === 200) action(JSON.parse(answer.body));
        return answer;
    };
    await untilUnavailable(async () => remember(await login(t, made, 'ann', password), (given) => alive.push(given.refresh_token)));
    await untilUnavailable(async () => remember(await refresh(t, made, alive[0]), (given) => { alive[0] = given.refresh_token; }));
    await untilUnavailable(async () => {
        ended.push(sessions.shift() ?? alive.pop());
        return ask(t, made, '/logout', { refresh_token: ended.at(-1) });
    });
    await untilUnavailable(() => login(t, made, 'ann', password));
    for (const [name, wrong] of [['ann', 'wrong'], ['nobody', 'wrong'], ['bob', 'correct horse']])
        assert.ok([401, 503].includes((await login(t, made, name, wrong)).status));
    await service.logged(/database or disk is full/);
    checkAnswer(await ask(t, made, '/login', { username: 'ann' }), 400);

    made.empty();
    checkAnswer(await login(t, made, 'ann', 'wrong'), 401);
    checkAnswer(await ask(t, made, '/logout', { refresh_token: ended.at(-1) }), 200); /* begun or not, it is done now */
    for (const token of [...alive, ...sessions].slice(-90)) checkAnswer(await refresh(t, made, token), 200);
    for (const token of ended) checkAnswer(await refresh(t, made, token), 400);

    made.fill();
    await untilUnavailable(async () => remember(await ask(t, made, '/password', { username: 'ann', password, new_password: another }),
        () => { [password, another] = [another, password]; }));
    made.empty();
    /* What failed may have gone as far as the password: it is one of the two, and then the other is none. */
    if ((await login(t, made, 'ann', password)).status !== 200) [password, another] = [another, password];
    checkAnswer(await login(t, made, 'ann', another), 401);
    const token = await logIn(password);
    checkAnswer(await ask(t, made, '/logout', { refresh_token: token }), 200);
    checkAnswer(await refresh(t, made, token), 400);
    made.cli(['db', 'check']);
});

/* What writes, and what to look at before and after. */
const writes = [
    [['user', 'add', 'eve', '--password-stdin'], 'battery\n'],
    [['user', 'passwd', 'ann', '--password-stdin'], 'battery\n'],
    [['user', 'disable', 'ann']],
    [['user', 'enable', 'bob']],
    [['user', 'set', 'ann', 'email=other@example.org']],
    [['user', 'roles', 'ann', '+admin']],
    [['user', 'delete', 'ann', '--yes']],
    [['session', 'revoke', 'ann']],
    [['import', 'htpasswd', '-'], `eve:${'{SHA}qUqP5cyxm6YcTAhz05Hph5gvu9M='}\n`],
    [['key', 'generate', '--name', 'more']],
    [['key', 'generate', '--name', 'more', '--algorithm', 'RS256', '--activate']],
    [['db', 'backup', 'copy']],
];

function state(made) {
    const users = cli(made, ['export', '--hashes']);
    const keys = cli(made, ['key', 'list', '--json']);
    assert.deepEqual([users.status, keys.status], [0, 0], users.stderr + keys.stderr);
    return { users: users.stdout, keys: keys.stdout, files: fs.readdirSync(made.dir).filter((name) => !/-wal$|-shm$/.test(name)).sort() };
}

/* The command fails with a reason, and nothing is otherwise than it was. */
function failsWhole(made, [args, input], reason, before) {
    const words = args.map((word) => (word === 'copy' ? path.join(made.dir, word) : word));
    const { status, stderr } = cli(made, words, input);
    assert.equal(status, 1, `${args.join(' ')}: ${status} ${stderr}`);
    assert.match(stderr, /^sallyport: /, args.join(' '));
    assert.match(stderr, reason, args.join(' '));
    if (before) assert.deepEqual(state(made), before, args.join(' '));
}

test('with a full disk each command that writes fails whole and says why', async (t) => {
    const made = smallDisk(t);
    const { refresh_token } = await (async () => {
        const service = await startLogin(t, made);
        const given = checkAnswer(await login(t, made, 'ann', 'correct horse'), 200);
        await service.stop();
        return given;
    })();
    const before = state(made);
    for (const write of writes) {
        made.fill();
        failsWhole(made, write, /full|No space left/);
        made.empty();
        assert.deepEqual(state(made), before, write[0].join(' '));
        made.cli(['db', 'check']);
    }
    const another = path.join(made.dir, 'another');
    made.fill();
    failsWhole(made, [['init', '--dir', another]], /cannot write .*another\/sallyport.conf: No space left/);
    made.empty();
    fs.rmSync(another, { recursive: true });
    await startLogin(t, made);
    checkAnswer(await refresh(t, made, refresh_token), 200);
    for (const [args, input] of writes.slice(0, 2)) made.cli(args, input);
    checkAnswer(await login(t, made, 'eve', 'battery'), 200);
});

test('a disk that can only be read is no wrong password, and no command succeeds', async (t) => {
    const made = smallDisk(t);
    const before = state(made);
    made.remount('ro');
    for (const write of writes) failsWhole(made, write, /can only be read|Read-only file system/);
    for (const [uri, fields] of [['/login', { username: 'ann', password: 'correct horse' }], ['/login', { username: 'ann', password: 'wrong' }],
        ['/token', { grant_type: 'refresh_token', refresh_token: 'x'.repeat(64) }], ['/logout', { refresh_token: 'x'.repeat(64) }],
        ['/password', { username: 'ann', password: 'correct horse', new_password: 'battery' }]]) {
        const body = String(new URLSearchParams(fields));
        const { stdout } = run(program('sallyport-login'), ['-c', made.config], { input: body, env: { REQUEST_METHOD: 'POST', REQUEST_URI: uri,
            CONTENT_TYPE: 'application/x-www-form-urlencoded', CONTENT_LENGTH: String(body.length), REMOTE_ADDR: '192.0.2.1' } });
        assert.match(stdout, /^Status: 503 [^]*\r\nRetry-After: 1\r\n/, uri);
    }
    const service = start(null, program('sallyport-login'), ['-c', made.config]);
    assert.deepEqual(await within(service.exited, 'its end'), { code: 1, signal: null });
    assert.match(service.output(), /sallyport-login: .* can only be read\n/);
    made.remount('rw');
    assert.deepEqual(state(made), before);
    await startLogin(t, made);
    checkAnswer(await login(t, made, 'ann', 'correct horse'), 200);
});

/* ---- killed at any moment ---- */

/* The names that are revoked, of tokens and of users. */
const revoked = (made) => new Set(JSON.parse(must('python3', ['-c', 'import json, sqlite3, sys\n'
    + 'print(json.dumps([name for name, in sqlite3.connect(sys.argv[1]).execute("select name from revocations")]))',
    path.join(made.dir, 'revocations.db')])));

/*
 * What one user was promised: their password, the last refresh token of their session, `others`
 * what a request without an answer may have made of the password, `ended` the sessions that are
 * over.  Each turn asks for one change, and takes note before and after.
 */
class Promised {
    constructor(made, name) {
        Object.assign(this, { made, name, password: 'correct horse', others: [], token: null, jti: null, ended: [], n: 0, turns: 0 });
    }

    async ask(t, uri, fields) {
        const answer = await ask(t, this.made, uri, fields);
        if (answer) this.turns++;
        if (answer) assert.equal(answer.status, 200, answer.body);
        return answer && JSON.parse(answer.body);
    }

    /* Who does not hear of the next one has ten seconds in which the old one will do. */
    take(given, old) {
        this.token = given?.refresh_token ?? old;
        if (given) this.jti = payload(given.token).jti;
    }

    async turn(t) {
        const { name, password, token } = this;
        const step = this.n++ & 7;
        if (!token || step === 0 || step === 4) {
            this.take(await this.ask(t, '/login', { username: name, password }), null);
        } else if ([1, 2, 5, 6].includes(step)) {
            this.take(await this.ask(t, '/token', { grant_type: 'refresh_token', refresh_token: token }), token);
        } else if (step === 7) {
            this.token = null;
            if (await this.ask(t, '/logout', { refresh_token: token })) this.ended.push({ token, jti: this.jti });
        } else { /* 3 */
            const fresh = `password ${this.n}`;
            this.others = [fresh];
            this.token = null;
            if (await this.ask(t, '/password', { username: name, password, new_password: fresh })) {
                this.password = fresh;
                this.others = [];
                this.ended.push({ token, jti: this.jti });
            }
        }
    }

    /* Another password was asked for and nobody heard the answer: it is one of the two, from now on only that. */
    async check(t) {
        const right = [];
        for (const password of [this.password, ...this.others]) {
            const { status, body } = await login(t, this.made, this.name, password);
            assert.ok([200, 401].includes(status), `${this.name}: ${status} ${body}`);
            if (status === 200) right.push(password);
        }
        assert.equal(right.length, 1, `${this.name}: ${right.length} passwords`);
        [this.password, this.others] = [right[0], []];
        for (const { token, jti } of this.ended.splice(0)) {
            assert.ok(revoked(this.made).has(jti), `${this.name}: a token that was revoked`);
            checkAnswer(await refresh(t, this.made, token), 400);
        }
        if (this.token) this.token = checkAnswer(await refresh(t, this.made, this.token), 200).refresh_token;
    }
}

/* The command, killed too: what it said it did was done. */
class Administered {
    constructor(made) {
        Object.assign(this, { made, n: 0, turns: 0, is: {}, unsure: new Set() });
    }

    run(args, input) {
        this.child = spawn(program('sallyport'), ['-c', this.made.config, ...args], { stdio: ['pipe', 'ignore', 'pipe'] });
        let said = '';
        this.child.stderr.on('data', (text) => { said += text; });
        this.child.stdin.on('error', () => {}); /* it was killed before it read */
        this.child.stdin.end(input);
        return new Promise((resolve) => this.child.on('close', (code, signal) => {
            assert.ok(code === 0 || signal === 'SIGKILL', `${args.join(' ')}: ${code} ${said}`);
            if (code === 0) this.turns++;
            resolve(code === 0);
        }));
    }

    async turn() {
        const name = `user-${this.n >> 2}`;
        const step = this.n++ & 3;
        const state = ['enabled', 'disabled', 'enabled', 'gone'][step];
        if (step > 0 && (this.unsure.has(name) || !(name in this.is))) return; /* it may not be there */
        this.unsure.add(name);
        const done = await this.run(['user', ['add', 'disable', 'enable', 'delete'][step], name, ...step === 0 ? ['--password-stdin'] : ['--yes'].slice(step < 3)],
            'battery\n');
        if (!done) return;
        this.is[name] = state;
        this.unsure.delete(name);
    }

    check() {
        const users = Object.fromEntries(JSON.parse(this.made.cli(['user', 'list', '--json']))
            .map(({ name, disabled }) => [name, disabled ? 'disabled' : 'enabled']));
        for (const [name, state] of Object.entries(this.is))
            if (!this.unsure.has(name)) assert.equal(users[name] ?? 'gone', state, name);
    }
}

test(`killed ${kills} times, service and command, nothing that was answered is lost`, { timeout: 60_000 + kills * 10_000 }, async (t) => {
    const made = loginInstance(t, { 'login.threads': 8 });
    const users = Array.from({ length: 6 }, (_, i) => new Promised(made, `promised-${i}`));
    for (const { name } of users) made.cli(['user', 'add', name, '--password-stdin'], 'correct horse\n');
    const administered = new Administered(made);

    for (let n = 0; n < kills; n++) {
        const service = start(null, program('sallyport-login'), ['-c', made.config]);
        await service.logged(/listening on/);
        let running = true;
        const work = [...users, administered].map(async (one) => {
            while (running) await one.turn(t);
        });
        await new Promise((resolve) => setTimeout(resolve, 200 + Math.random() * 600));
        running = false;
        service.child.kill('SIGKILL');
        administered.child?.kill('SIGKILL');
        await within(Promise.all(work), 'those who were answered no more');
        await service.exited;

        made.cli(['db', 'check']);
        const again = await startLogin(t, made);
        await Promise.all(users.map((user) => user.check(t)));
        administered.check();
        await again.stop();
    }
    const answered = users.reduce((sum, { turns }) => sum + turns, 0);
    t.diagnostic(`${answered} answers and ${administered.turns} commands`);
    assert.ok(answered >= 10 * kills && administered.turns >= kills);
});
