/* Users from files of other programs, made here by those: they log in, and nobody notices. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { must, program, until } from '../lib.mjs';
import { fastcgiAsk, loginRequest } from './fastcgi.mjs';
import { checkAnswer, editConfig, loginInstance, startLogin } from './login.mjs';

const ours = '$argon2id$v=19$m=7168,t=5,p=1';
const password = 'correct horse';

/* A line each, of what the letter of the option stands for. */
const htpasswd = (letters) => [...letters].map((letter) => must('htpasswd', [`-nb${letter}`, `user-${letter}`, password]).trim());

async function setUp(t, settings) {
    const made = loginInstance(t, settings);
    let n = 0;
    return { ...made,
        write: (name, lines) => {
            const file = path.join(made.dir, name);
            fs.writeFileSync(file, lines.map((line) => `${line}\n`).join(''));
            return file;
        },
        run: (args, input) => spawnSync(program('sallyport'), ['-c', made.config, ...args], { input, encoding: 'utf8' }),
        json: (...args) => JSON.parse(made.cli([...args, '--json'])),
        /* From a network each, for it is not the throttle that is tested. */
        login: (username, text) => fastcgiAsk(t, made.socket, loginRequest({
            body: String(new URLSearchParams({ username, password: text })),
            params: { REMOTE_ADDR: `10.${++n >> 8}.${n & 255}.1` } })) };
}

test('users of htpasswd and of shadow log in with their passwords, and have ours from then on', async (t) => {
    const made = await setUp(t);
    const { login, json } = made;
    const crypted = ['-5', '-6', '-apr1'].map((kind) => must('openssl', ['passwd', kind, password]).trim());
    made.cli(['import', 'htpasswd', made.write('htpasswd', htpasswd('Bms25'))]);
    made.cli(['import', 'shadow', '-'], crypted.map((hash, i) => `shadow-${i}:${hash}:19000:0:99999:7:::\n`).join(''));
    await startLogin(t, made);
    const users = json('user', 'list').filter(({ name }) => name.includes('-'));
    assert.equal(users.length, 8);
    for (const { name, hash_kind } of users) {
        assert.notEqual(hash_kind, ours);
        checkAnswer(await login(name, 'wrong'), 401);
        assert.equal(json('user', 'show', name).hash_kind, hash_kind, 'a wrong password changes nothing');
        checkAnswer(await login(name, password), 200);
        assert.equal(json('user', 'show', name).hash_kind, ours);
        checkAnswer(await login(name, password), 200);
        checkAnswer(await login(name, 'wrong'), 401);
    }
});

test('each line that is not taken is said with its reason, and a dry run says the same', async (t) => {
    const made = await setUp(t);
    const [good, other] = htpasswd('Bs');
    const file = made.write('htpasswd', ['# a comment', '', good, `ann:${good.split(':')[1]}`, 'no colon', 'plain:secret-word',
        `slow:${good.split(':')[1].replace('$05$', '$15$')}`, 'x\u001by:z', other, 'x'.repeat(20_000), `${other}\0`]);
    const before = made.json('user', 'list');
    const dry = made.run(['import', 'htpasswd', file, '--dry-run']);
    assert.deepEqual(made.json('user', 'list'), before);
    const done = made.run(['import', 'htpasswd', file]);
    for (const { status, stdout, stderr } of [dry, done]) {
        assert.equal(status, 1);
        assert.match(stdout, /^2 (would be )?taken, 0 there already, 7 passed over\n/);
        for (const words of [':4: passed over ann: there is a user', ':5: passed over: there is no colon', ':6: passed over plain: the hash is none',
            ':7: passed over slow: a bcrypt hash of cost 15', ':8: passed over x\\x1by: a name is', ':10: passed over: it is longer',
            ':11: passed over: there is a NUL'])
            assert.ok(stderr.includes(`sallyport: ${file}${words}`), `${words}: ${stderr}`);
        assert.doesNotMatch(stderr, /secret-word|\$2y/, 'a hash is not repeated');
    }
    assert.equal(made.json('user', 'list').length, before.length + 2);
    const again = JSON.parse(made.run(['import', 'htpasswd', '-', '--json'], fs.readFileSync(file)).stdout);
    assert.deepEqual([again.taken, again.there_already, again.passed_over.length], [0, 2, 7]);
    assert.deepEqual(again.passed_over[0], { line: 4, name: 'ann', why: 'there is a user of that name already' });
    assert.equal(made.run(['import', 'htpasswd', made.write('none', [])]).status, 0);
    assert.match(made.run(['import', 'htpasswd', made.dir]).stderr, /^sallyport: cannot read .*Is a directory/);
});

test('of shadow only those who may log in are taken', async (t) => {
    const made = await setUp(t);
    const hash = must('openssl', ['passwd', '-6', password]).trim();
    const today = Math.floor(Date.now() / 86_400_000);
    const file = made.write('shadow', ['root:*:19000:0:99999:7:::', 'nobody:!:19000::::::', `locked:!${hash}:19000:0:99999:7:::`,
        'empty::19000:0:99999:7:::', `expired:${hash}:19000:0:99999:7::${today}:`, `good:${hash}:19000:0:99999:7::${today + 1}:`]);
    const { status, stdout, stderr } = made.run(['import', 'shadow', file]);
    assert.equal(status, 0, stderr);
    assert.match(stdout, /^1 taken, 0 there already, 5 passed over\n/);
    assert.equal(stderr.replaceAll(`sallyport: ${file}:`, '').replaceAll('passed over ', ''),
        '1: root: locked\n2: nobody: locked\n3: locked: locked\n4: empty: without a password\n5: expired: expired\n');
});

test('what is exported and read into another instance is the same users', async (t) => {
    const [made, other] = [await setUp(t), await setUp(t)];
    made.cli(['user', 'set', 'ann', 'plan=gold', 'level:=5']);
    made.cli(['user', 'roles', 'ann', '+editor', '+staff']);
    made.cli(['import', 'htpasswd', made.write('htpasswd', htpasswd('Bm'))]);
    for (const name of ['ann', 'bob']) other.cli(['user', 'delete', name, '--yes']);
    const lines = made.cli(['export', '--hashes']);
    assert.match(other.cli(['import', 'json', '-'], lines), /^4 taken/);
    assert.equal(other.cli(['export', '--hashes']), lines);
    assert.equal(lines.trim().split('\n').length, 4);
    assert.doesNotMatch(made.cli(['export']), /hash|\$/);
    await startLogin(t, other);
    const { token } = checkAnswer(await other.login('ann', password), 200);
    const claims = JSON.parse(Buffer.from(token.split('.')[1], 'base64url'));
    assert.deepEqual([claims.plan, claims.level, claims.roles], ['gold', 5, ['editor', 'staff']]);
    checkAnswer(await other.login('bob', password), 401);
    const bad = [made.cli(['export']), '{"name":"x","hash":"{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=","claims":{"sub":"root"}}', '{"name":"x","admin":true}',
        '{"name":"secret', '[]', '{"name":"y","hash":"{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=","created":-1}'].join('\n');
    const { status, stdout, stderr } = other.run(['import', 'json', '-'], bad);
    assert.equal(status, 1);
    assert.match(stdout, /^0 taken, 0 there already, 9 passed over/);
    assert.match(stderr, /stdin:1: passed over ann: there is no hash; .*export --hashes/);
    assert.doesNotMatch(stderr, /secret/);
    other.cli(['import', 'json', '-'], lines.replaceAll('"ann"', '"old"').replaceAll(/"created":\d+/g, '"created":9223372036854775807'));
    assert.match(other.cli(['user', 'list']) + other.cli(['user', 'show', 'old']), /old {2}.* 9223372036854775807 [^]*created {2}9223372036854775807/);
});

test('a password that changes while the old one is verified stays what it became', async (t) => {
    const made = await setUp(t);
    made.cli(['import', 'htpasswd', '-'], must('htpasswd', ['-nbBC', '14', 'slow', 'old']));
    await startLogin(t, made);
    const answer = made.login('slow', 'old');
    await new Promise((resolve) => setTimeout(resolve, 50));
    made.cli(['user', 'passwd', 'slow', '--password-stdin'], 'fresh\n');
    checkAnswer(await answer, 401);
    checkAnswer(await made.login('slow', 'old'), 401);
    checkAnswer(await made.login('slow', 'fresh'), 200);
});

test('more kinds of hashes than logins can bear are not taken', async (t) => {
    const made = await setUp(t);
    const salted = (n) => must('openssl', ['passwd', '-5', '-salt', 's'.repeat(n), password]).trim();
    const lines = Array.from({ length: 9 }, (_, n) => `user-${n}:${salted(n + 1)}`);
    const { status, stdout, stderr } = made.run(['import', 'htpasswd', '-'], lines.join('\n'));
    assert.equal(status, 1);
    assert.match(stdout, /^7 taken, 0 there already, 2 passed over/);
    assert.match(stderr, /stdin:8: passed over user-7: .*there are 8 kinds already/);
});

test('whoever has a hash of another setting gets one of the config at their next login', async (t) => {
    const made = await setUp(t);
    const login = await startLogin(t, made);
    editConfig(made, /# hash_memory = "7MiB"/, 'hash_memory = "19MiB"');
    editConfig(made, /# hash_passes = 5/, 'hash_passes = 2');
    process.kill(login.pid, 'SIGHUP');
    await login.logged(/reload: .*is read/);
    checkAnswer(await made.login('ann', password), 200);
    assert.equal(made.json('user', 'show', 'ann').hash_kind, '$argon2id$v=19$m=19456,t=2,p=1');
    checkAnswer(await made.login('bob', password), 401);
    assert.equal(made.json('user', 'show', 'bob').hash_kind, ours, 'who is disabled gets none');
    editConfig(made, /hash_passes = 2/, 'hash_passes = 1');
    assert.match(spawnSync(program('sallyport-login'), ['--check', '-c', made.config], { encoding: 'utf8' }).stderr,
        /login\.hash_memory must be at least "46MiB" where login\.hash_passes is 1/);
});

test('the bench names the fastest of settings that are alike, for the config', async (t) => {
    const made = await setUp(t);
    const { cores, measured, fastest } = made.json('hash', 'bench');
    assert.ok(cores >= 1);
    assert.equal(measured.length, 5);
    const best = measured.reduce((one, other) => (other.per_second > one.per_second ? other : one));
    assert.deepEqual(fastest, { memory_mib: best.memory_mib, passes: best.passes });
    for (const { us, per_second } of measured) assert.ok(us > 0 && per_second > 0);
});

const crowd = (n) => Array.from({ length: n }, (_, i) => `user-${i}:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=`);
const exit = (child) => new Promise((resolve) => child.on('exit', (code, signal) => resolve(code ?? signal)));

test('an import that is killed goes on when it is done again', async (t) => {
    const made = await setUp(t);
    const file = made.write('htpasswd', crowd(3000));
    const child = spawn(program('sallyport'), ['-c', made.config, 'import', 'htpasswd', file], { stdio: 'ignore' });
    const ended = exit(child);
    await until(() => made.json('user', 'list').length > 300, 'a part of the users');
    child.kill('SIGKILL');
    assert.equal(await ended, 'SIGKILL');
    const part = made.json('user', 'list').length - 2;
    assert.ok(part > 0 && part < 3000, `${part}`);
    const { status, stdout } = made.run(['import', 'htpasswd', file]);
    assert.equal(status, 0);
    assert.ok(stdout.startsWith(`${3000 - part} taken, ${part} there already, 0 passed over\n`), stdout);
});

test('whoever writes the lines slowly keeps nobody waiting', async (t) => {
    const made = await setUp(t);
    await startLogin(t, made);
    const child = spawn(program('sallyport'), ['-c', made.config, 'import', 'htpasswd', '-'], { stdio: ['pipe', 'ignore', 'inherit'] });
    const ended = exit(child);
    child.stdin.write(crowd(70).join('\n'));
    await until(() => made.json('user', 'list').length === 52, 'the first fifty');
    const before = performance.now();
    for (let i = 0; i < 3; i++) checkAnswer(await made.login('ann', password), 200);
    assert.ok(performance.now() - before < 2000, 'the logins waited for the lines');
    child.stdin.end();
    assert.equal(await ended, 0);
    assert.equal(made.json('user', 'list').length, 72);
});

/* SALLYPORT_CROWD=50000 is the size it was made for. */
test('two imports of the same users at once keep no login waiting', async (t) => {
    const n = Number(process.env.SALLYPORT_CROWD ?? 3000);
    const made = await setUp(t);
    const file = made.write('htpasswd', crowd(n));
    await startLogin(t, made);
    const start = performance.now();
    let running = 2;
    const outputs = [1, 2].map(() => {
        const child = spawn(program('sallyport'), ['-c', made.config, 'import', 'htpasswd', file, '--json'],
            { stdio: ['ignore', 'pipe', 'inherit'] });
        let text = '';
        child.stdout.on('data', (part) => { text += part; });
        return exit(child).then((code) => {
            running--;
            assert.equal(code, 0);
            return JSON.parse(text);
        });
    });
    const times = [];
    while (running > 0) {
        const before = performance.now();
        checkAnswer(await made.login('ann', password), 200);
        times.push(performance.now() - before);
    }
    const results = await Promise.all(outputs);
    const slowest = Math.max(...times);
    t.diagnostic(`${n} users in ${Math.round(performance.now() - start)} ms, ${times.length} logins, median `
        + `${times.sort((a, b) => a - b)[times.length >> 1].toFixed(0)} ms, slowest ${slowest.toFixed(0)} ms`);
    assert.equal(results[0].taken + results[1].taken, n);
    assert.equal(results[0].there_already + results[1].there_already, n);
    assert.ok(times.length > 5 && slowest < 3000, `the slowest login took ${slowest} ms`);
});
