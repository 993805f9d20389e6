/* What one who sends much can take from the others: hashes at once, and memory. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { flavour, must, program, start } from '../lib.mjs';
import { fastcgiConnect, loginRequest } from './fastcgi.mjs';
import { checkAnswer, loginInstance } from './login.mjs';

const body = 'username=ann&password=correct+horse';

/* One process of CGI: its answer's status and header. */
function cgi(made, n) {
    const env = { REQUEST_METHOD: 'POST', REQUEST_URI: '/login', CONTENT_TYPE: 'application/x-www-form-urlencoded',
        CONTENT_LENGTH: String(body.length), REMOTE_ADDR: `192.0.${n}.1` };
    return new Promise((resolve) => {
        const child = spawn(program('sallyport-login'), ['-c', made.config], { env, stdio: ['pipe', 'pipe', 'ignore'] });
        let text = '';
        child.stdout.on('data', (part) => { text += part; });
        child.on('close', () => resolve({ status: Number(text.match(/^Status: (\d+)/)?.[1]), text }));
        child.stdin.end(body);
    });
}

test('of many processes at once those that find no place are told to come again', async (t) => {
    const made = loginInstance(t, { 'login.hashes': 1 });
    const answers = await Promise.all(Array.from({ length: 60 }, (_, n) => cgi(made, n)));
    const count = (status) => answers.filter((answer) => answer.status === status).length;
    assert.equal(count(200) + count(503), 60, answers.map(({ text }) => text).join('\n'));
    assert.ok(count(200) >= 9, 'one hashes, and eight wait');
    for (const { status, text } of answers) if (status === 503) assert.match(text, /\r\nRetry-After: 1\r\n/);
    assert.equal((await cgi(made, 1)).status, 200);
});

/*
 * A control group of our own with that limit: the file that takes its processes; null where this
 * machine does not let us make one.  It goes with the test.
 */
function memoryGroup(t, bytes) {
    const lines = fs.readFileSync('/proc/self/cgroup', 'utf8').split('\n').map((line) => line.split(':'));
    for (const [root, limit, own] of [
        ['/sys/fs/cgroup', 'memory.max', lines.find(([id]) => id === '0')],
        ['/sys/fs/cgroup/memory', 'memory.limit_in_bytes', lines.find(([, kinds]) => kinds === 'memory')]]) {
        const dir = path.join(root, own?.[2] ?? '', `sallyport-test-${process.pid}`);
        if (!fs.existsSync(path.join(path.dirname(dir), limit))) continue;
        try {
            fs.mkdirSync(dir);
            t.after(() => fs.rmdirSync(dir));
            fs.writeFileSync(path.join(dir, limit), String(bytes));
            return path.join(dir, 'cgroup.procs');
        } catch (error) {
            t.diagnostic(`no control group: ${error.message}`);
        }
    }
    return null;
}

/* The service, in that much memory where this machine enforces it; what checks that it never had more. */
async function startBounded(t, made, bytes) {
    const group = flavour === 'release' ? memoryGroup(t, bytes) : null;
    const login = start(t, 'sh', ['-c', `${group ? `echo $$ >${group} && ` : ''}exec "$@"`, 'sh', program('sallyport-login'), '-c', made.config]);
    await login.logged(/listening on/);
    return () => {
        const peak = 1024 * Number(fs.readFileSync(`/proc/${login.pid}/status`, 'utf8').match(/VmHWM:\s+(\d+)/)[1]);
        t.diagnostic(`${peak >> 20} MiB at most, ${bytes >> 20} MiB said${group ? ' and enforced' : ''}`);
        if (flavour === 'release') assert.ok(peak <= bytes, `${peak} of ${bytes}`);
    };
}

/* {counts, took_ms}: how many of so many at once got which status; each got one. */
async function logInAtOnce(t, made, n) {
    const counts = { 200: 0, 503: 0 };
    const start_ms = performance.now();
    await Promise.all(Array.from({ length: n }, async (_, i) => {
        const { send, answer } = await fastcgiConnect(t, made.socket);
        send(loginRequest({ params: { REMOTE_ADDR: `10.${i >> 8}.${i & 255}.1` } }).all);
        const given = await answer();
        assert.ok(given?.status in counts, `${given?.status} ${given?.body}`);
        checkAnswer(given, given.status);
        assert.equal(given.headers['retry-after'], given.status === 503 ? '1' : undefined);
        counts[given.status]++;
    }));
    return { counts, took_ms: performance.now() - start_ms };
}

/* Ours alone, and the dearest that comes from elsewhere beside it. */
for (const setting of [null, '$y$jBT$']) {
    test(`500 logins at once are each answered, in the memory that is said${setting ? `, with a hash of ${setting}` : ''}`, async (t) => {
        const made = loginInstance(t);
        if (setting) {
            const hash = must('perl', ['-e', 'print crypt("another", $ARGV[0])', `${setting}0123456789abcdef01234.`]);
            made.cli(['import', 'htpasswd', '-'], `eve:${hash}\n`);
        }
        const bytes = Number(made.cli(['hash', 'memory']));
        assert.deepEqual(JSON.parse(made.cli(['hash', 'memory', '--json'])), { bytes });
        const checkPeak = await startBounded(t, made, bytes);
        const { counts, took_ms } = await logInAtOnce(t, made, 500);
        t.diagnostic(`${JSON.stringify(counts)} in ${Math.round(took_ms)} ms`);
        assert.ok(counts[200] >= 10, JSON.stringify(counts));
        assert.equal((await logInAtOnce(t, made, 1)).counts[200], 1);
        checkPeak();
    });
}

test('bodies that are large when they are read are in the memory that is said', async (t) => {
    const made = loginInstance(t, { 'login.max_body': '1MiB' });
    const checkPeak = await startBounded(t, made, Number(made.cli(['hash', 'memory'])));
    const body = `{"a":[${Array(349_000).fill('{}').join(',')}]}`;
    await Promise.all(Array.from({ length: 16 }, async () => {
        const { send, answer } = await fastcgiConnect(t, made.socket);
        send(loginRequest({ type: 'application/json', body }).all);
        checkAnswer(await answer(), 400);
    }));
    checkPeak();
});
