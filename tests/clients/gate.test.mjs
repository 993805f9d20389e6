/* The gate as a hostile client finds it, and a connection between two of its tokens. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import test, { describe } from 'node:test';
import { flavour, forge, instance, misSign, must, next, payload, request, signingKey, until, within } from '../lib.mjs';
import { polling } from '../protocol/wire.mjs';

const rules = `namespace "/" { authenticate required; on "me" { ack $user } on "role" { ack $claims.role } }
namespace "/other" { authenticate required; on "me" { ack $user } on "role" { ack $claims.role } }`;
const users = { ann: {}, bob: {} };
const started = (t, settings = {}) => instance(t, { rules, login: false, users,
    settings: { 'gateway.workers': 2, 'gateway.limits.events_per_second': 0, ...settings } });
const now_s = () => Math.floor(Date.now() / 1000);
const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/* Tokens of ann made here, each with a jti of its own: ('one', {exp: …}). */
function mint(sp) {
    const key = signingKey(sp.dir), good = payload(sp.token());
    return (jti, claims = {}) => forge(key, { ...good, jti, ...claims });
}

/* One more namespace on the connection of `socket`, by a token of its own. */
async function also(socket, token) {
    const other = socket.io.socket('/other', { auth: { token } });
    await within(new Promise((resolve, reject) => other.once('connect', resolve).once('connect_error', reject)), 'the other namespace');
    return other;
}

/* ---- one token after the other ---- */

describe('between two tokens', { concurrency: 3 }, () => {
    for (const transport of ['websocket', 'polling'])
        test(`a fresh token extends the connection, all that was opened by the same old one: ${transport}`, async (t) => {
            const sp = await started(t);
            const token = mint(sp);
            const exp = now_s() + 4;
            const old = token('old', { exp });
            const socket = await sp.connected({ token: old, transports: [transport] });
            const other = await also(socket, old);
            await socket.emitWithAck('authenticate', { token: token('fresh', { role: 'new' }) });
            await wait(exp * 1000 + 1500 - Date.now());
            for (const each of [socket, other]) assert.equal(await each.emitWithAck('role'), 'new');
            const end = next(other, 'disconnect');
            sp.cli('session', 'revoke', 'ann');
            assert.equal((await end)[0], 'transport close');
        });

    test('what another token opened ends with that', async (t) => {
        const sp = await started(t);
        const token = mint(sp);
        const exp = now_s() + 3;
        const socket = await sp.connected({ token: token('one', { exp: exp + 60 }) });
        const other = await also(socket, token('two', { exp, role: 'admin' }));
        const end = next(other, 'disconnect');
        await socket.emitWithAck('authenticate', { token: token('three', { exp: exp + 90 }) });
        assert.equal(await other.emitWithAck('role'), 'admin', 'with its own claims until then');
        await end;
        assert.ok(Date.now() >= exp * 1000 && Date.now() < exp * 1000 + 1500);
    });
});

test('renewals without an end leave nothing behind, and do not outrun a revocation', async (t) => {
    const sp = await started(t);
    const token = mint(sp);
    const rss = () => Number(fs.readFileSync(`/proc/${sp.gateway.pid}/status`, 'utf8').match(/VmRSS:\s+(\d+)/)[1]);
    const socket = await sp.connected({ token: token('first') });
    const end = next(socket, 'disconnect');
    let serial = 0, answered = 0, isOver = false;
    socket.on('authenticated', () => answered++);
    const renew = async (n) => {
        for (let i = 0; i < n && !isOver; i += 50) {
            for (let k = 0; k < 50; k++) socket.emit('authenticate', { token: token(`${serial++}`) });
            await until(() => isOver || answered === serial, 'all to be answered');
        }
    };
    await renew(1000);
    const before = rss();
    await renew(4000);
    assert.ok(flavour !== 'release' || rss() - before < 1024, `${rss() - before} KiB more`); /* ASan keeps what is freed */
    const going = renew(Infinity);
    sp.cli('session', 'revoke', 'ann');
    const began = Date.now();
    await end;
    assert.ok(Date.now() - began < 1000);
    isOver = true;
    await going;
});

/* ---- what a client may send ---- */

/* Who is let in, or the words of the refusal, or the close code: of one WebSocket and its CONNECT. */
async function knock(sp, query, headers, connect) {
    const raw = sp.raw(query, { headers });
    assert.match(await raw.receive(), /^0\{/);
    raw.send(connect);
    let answer = await raw.receive();
    if (answer?.startsWith('44')) return JSON.parse(answer.slice(2)).data.message;
    if (answer !== null) {
        raw.send('420["me"]');
        answer = await raw.receive(); /* null too, when a revocation comes between */
    }
    if (answer === null) return (await raw.closed()).code;
    const [, user] = answer.match(/^430\["(.*)"\]$/);
    raw.ws.terminate();
    return user;
}

test('of the same source twice the first decides', async (t) => {
    const sp = await started(t, { 'gateway.token_cookie': 'sp' });
    const [ann, bob] = [sp.token('ann'), sp.token('bob')];
    for (const [first, second, who] of [[ann, bob, 'ann'], [bob, ann, 'bob'], ['x', ann, 'jwt malformed'], [misSign(ann), bob, 'invalid signature']]) {
        assert.equal(await knock(sp, '', { Authorization: [`Bearer ${first}`, `Bearer ${second}`] }, '40'), who, 'headers');
        assert.equal(await knock(sp, '', { Cookie: `sp=${first}; sp=${second}` }, '40'), who, 'one cookie header');
        assert.equal(await knock(sp, '', { Cookie: [`sp=${first}`, `sp=${second}`] }, '40'), who, 'two cookie headers');
        assert.equal(await knock(sp, `&token=${first}&token=${second}`, {}, '40'), who, 'queries');
    }
    const all = [`&token=${bob}&token=${bob}`, { Authorization: [`Bearer ${bob}`, 'Bearer x'], Cookie: `sp=${bob}` }];
    assert.equal(await knock(sp, ...all, `40{"token":"${ann}"}`), 'ann');
});

test('what CONNECT brings is read as a script would', async (t) => {
    const sp = await started(t);
    const token = sp.token();
    for (const [payload, said] of Object.entries({
        [`{"token":"${token}"}`]: 'ann',
        [`{"token":"x","token":"${token}"}`]: 'ann', /* JSON.parse takes the last */
        [`{"token":"${token}","token":"x"}`]: 'jwt malformed',
        [`{"token":"${token}","token":null}`]: 'no token provided',
        [`{"\\u0074oken":"${token}"}`]: 'ann',
        [`{"token":"\\u0065${token.slice(1)}"}`]: 'ann',
        [`{"Token":"${token}"}`]: 'no token provided',
        [`{"token":"${token}","n":123456789012345678901234567890,"s":"\\ud800"}`]: 'ann',
        [`{"a":{"token":"${token}"}}`]: 'no token provided',
        '{"token":""}': 'no token provided',
        '{"token":null}': 'no token provided',
        [`{"token":["${token}"]}`]: 'jwt malformed',
        '{"token":{}}': 'jwt malformed',
        '{"token":0}': 'jwt malformed',
        '{"token":false}': 'jwt malformed',
        [`{"token":"${token}\\u0000"}`]: 'jwt malformed',
        [`{"token":" ${token}"}`]: 'jwt malformed',
        [`{"token":"${token}\\n"}`]: 'jwt malformed',
        [`{"token":"${'\\u0061'.repeat(10_000)}"}`]: 'jwt malformed',
        [`{"token":"${'a'.repeat(60_000)}"}`]: 'jwt malformed',
        [`{"token":"${'a'.repeat(900_000)}"}`]: 1009, /* more than whoever is in no namespace may say */
        [`{"token":"\\ud800"}`]: 'jwt malformed',
        '{}': 'no token provided',
        '': 'no token provided',
        '[]': 1002, [`"${token}"`]: 1002, [`{"token":"${token}"`]: 1002, [`{"token":"${token}"}}`]: 1002, '{"token":undefined}': 1002,
    })) assert.equal(await knock(sp, '', {}, `40${payload}`), said, payload.slice(0, 60));
    await sp.gateway.stop();
    assert.ok(!sp.gateway.output().includes(token.split('.')[1]));
});

test('who polls and has no GET waiting hears of the end by the next one', async (t) => {
    const sp = await started(t, { 'gateway.metrics': true, 'gateway.expiry_notice': '0s' });
    const token = mint(sp);
    const closed = async (why) => new RegExp(`^sallyport_closed_total\\{reason="${why}"\\} 1$`, 'm').test((await request(`${sp.url}/metrics`)).body);
    for (const [why, claims, act] of [['expired', { exp: now_s() + 2 }, () => {}], ['revoked', {}, () => sp.cli('session', 'revoke', 'ann')]]) {
        const session = await polling(sp, { path: '/socket.io/', query: `&token=${token(why, claims)}` });
        await session.post('40');
        assert.match((await session.get()).body.toString(), /^40\{/);
        act();
        await until(() => closed(why), `it to be ${why}`);
        await session.post('420["me"]');
        const answer = await session.get();
        assert.deepEqual([answer.status, answer.body.toString()], [200, '1']);
        assert.equal((await session.get()).status, 400);
    }
});

test('a token that is revoked while its connection is upgraded does nothing more', async (t) => {
    const sp = await started(t);
    const token = sp.token();
    const session = await polling(sp, { path: '/socket.io/', query: `&token=${token}` });
    await session.post('40');
    assert.match((await session.get()).body.toString(), /^40\{/);
    const raw = sp.raw(`&sid=${session.sid}`);
    await raw.status();
    raw.send('2probe');
    assert.equal(await raw.receive(), '3probe');
    sp.cli('session', 'revoke', 'ann');
    await wait(200);
    raw.send('5');
    raw.send('420["me"]');
    assert.notEqual(await raw.receive(), '430["ann"]');
    assert.equal((await raw.closed()).code, 1008);
});

/* ---- the revocations, while the gateway runs ---- */

/* Holds the file's lock against everybody until it is told to end. */
async function lock(file) {
    const child = spawn('python3', ['-c', `import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.read()`, file], { stdio: ['pipe', 'pipe', 'inherit'] });
    await next(child.stdout, 'data');
    return async () => {
        const end = next(child, 'close');
        child.stdin.end();
        await end;
    };
}

const away = (file, put) => {
    fs.renameSync(file, `${file}.away`);
    put();
    return () => {
        fs.rmSync(file, { force: true, recursive: true });
        fs.renameSync(`${file}.away`, file);
    };
};
const over = (file, bytes) => {
    const before = fs.readFileSync(file);
    fs.writeFileSync(file, bytes(before));
    return () => fs.writeFileSync(file, before);
};
/* What is done to the file; the answer undoes it. */
const troubles = {
    'removed': (file) => away(file, () => {}),
    'a folder': (file) => away(file, () => fs.mkdirSync(file)),
    'a pipe': (file) => away(file, () => must('mkfifo', [file])),
    'emptied': (file) => over(file, () => ''),
    'overwritten': (file) => over(file, () => 'this is no database, whatever its name says '.repeat(400)),
    'corrupt inside': (file) => over(file, (bytes) => Buffer.concat([bytes.subarray(0, 28), Buffer.alloc(bytes.length - 28, 0xff)])),
    'cut short': (file) => over(file, (bytes) => bytes.subarray(0, 4096)),
    'locked': lock,
};

describe('what is known does for a while, then nobody new comes in until they are back', { concurrency: 4 }, () => {
    for (const [trouble, make] of Object.entries(troubles)) test(`revocations that are ${trouble}`, async (t) => {
        const sp = await started(t, { 'gateway.revocation_patience': '10m' });
        const file = path.join(sp.dir, 'revocations.db');
        const [ann, bob] = [sp.token('ann'), sp.token('bob')];
        const inside = await sp.connected({ token: bob });
        const who = (token) => knock(sp, '', {}, `40{"token":"${token}"}`);
        sp.cli('session', 'revoke', 'ann');
        await until(async () => await who(ann) === 'jwt revoked', 'ann to be revoked');

        const undo = await make(file);
        assert.equal(await who(ann), 'jwt revoked', 'what is known is not forgotten');
        await sp.gateway.logged(/revocations cannot be read/);
        assert.equal(await who(bob), 'bob');
        fs.writeFileSync(sp.config, fs.readFileSync(sp.config, 'utf8').replace('"10m"', '"1s"')); /* its end comes when we say so */
        sp.gateway.child.kill('SIGHUP');
        await sp.gateway.logged(/nobody new is let in/);
        for (const token of [ann, bob]) assert.equal(await who(token), 'tokens cannot be checked now');
        assert.equal(await inside.emitWithAck('me'), 'bob');
        await undo();
        await sp.gateway.logged(/revocations can be read again/);
        await until(async () => await who(bob) === 'bob', 'the way back');
        assert.equal(await who(ann), 'jwt revoked');
        sp.cli('session', 'revoke', 'bob');
        await next(inside, 'disconnect');
    });
});
