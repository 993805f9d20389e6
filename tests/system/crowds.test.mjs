/*
 * Keys are changed and a user is revoked while a crowd is connected and more connect all the time.
 * SOCKETS and CONNECTS (a second) make it larger: SOCKETS=5000 CONNECTS=200 node --test tests/system/crowds.test.mjs
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import test from 'node:test';
import { forge, instance, lighttpd, payload, program, request, signingKey, until, within } from '../lib.mjs';
import { WebSocket } from 'ws';

const sockets = Number(process.env.SOCKETS ?? 500);
const connects = Number(process.env.CONNECTS ?? 100);
const rules = 'namespace "/" { authenticate required; when connection { join "hall" } }';
const settings = { 'gateway.workers': 4, 'gateway.limits.per_address': 0, 'gateway.limits.per_user': 0 };
const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const kid = (token) => JSON.parse(Buffer.from(token.split('.')[0], 'base64url')).kid;

/* The command, while the crowd goes on: its stdout, or its refusal. */
function command(sp, ...args) {
    const child = spawn(program('sallyport'), ['-c', sp.config, ...args]);
    let said = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => { said += text; });
    return within(new Promise((resolve) => child.on('close', (status) => resolve({ status, said: said.trim() }))), args.join(' '));
}

async function done(sp, ...args) {
    const { status, said } = await command(sp, ...args);
    assert.equal(status, 0, said);
    return said;
}

/* One socket: `settled` is null, or the packet that refused it; `ended` is when it was closed. */
function open(sp, user, token) {
    const ws = new WebSocket(`${sp.url.replace('http', 'ws')}/socket.io/?EIO=4&transport=websocket`, { perMessageDeflate: false });
    const self = { ws, user, token, began: Date.now() };
    self.settled = new Promise((resolve) => {
        ws.on('message', (data) => {
            const text = data.toString();
            if (text[0] === '0') ws.send(`40${JSON.stringify({ token })}`);
            else if (text === '2') ws.send('3');
            else if (text.startsWith('40')) { self.isIn = true; resolve(null); } else resolve(text);
        });
        ws.on('error', (error) => resolve(error.message));
        ws.on('close', (code) => { self.ended = Date.now(); resolve(`closed with ${code}`); });
    });
    return self;
}

/* A crowd that is in, made in bites that leave time for others. */
async function gather(sp, whose) {
    const crowd = [];
    for (let i = 0; i < sockets; i += 100) {
        const bite = Array.from({ length: Math.min(100, sockets - i) }, (_, n) => open(sp, ...whose(i + n)));
        for (const one of bite) assert.equal(await within(one.settled, 'the crowd', 60_000), null);
        crowd.push(...bite);
    }
    return crowd;
}

/* So many connects a second until `stop`, which gives all that were made. */
function stream(sp, whose, then = () => {}) {
    const made = [];
    const began = Date.now();
    const timer = setInterval(() => {
        for (const due = (Date.now() - began) * connects / 1000; made.length < due;) {
            const one = open(sp, ...whose());
            made.push(one);
            one.settled.then((refusal) => { one.refusal = refusal; then(one); });
        }
    }, 10);
    return async () => {
        clearInterval(timer);
        await within(Promise.all(made.map(({ settled }) => settled)), 'the last connects to be decided');
        return made;
    };
}

test(`keys change, ${sockets} sockets stay and ${connects} connects a second are let in`, { timeout: 300_000 }, async (t) => {
    const sp = await instance(t, { rules, settings: { ...settings, 'token.lifetime': '1h' } });
    const web = await lighttpd(t, `server.document-root = "/nonexistent"
        server.modules = ("mod_fastcgi")
        fastcgi.server = ("/" => (("socket" => "${sp.loginSocket}", "check-local" => "disable")))`);
    const jwks = async () => JSON.parse((await request(`${web.url}/.well-known/jwks.json`)).body).keys.map((key) => key.kid);
    const tokens = [];
    let isOver = false;
    const logIn = async () => {
        while (!isOver) {
            const { status, body } = await request(`${web.url}/login`, { method: 'POST', body: 'username=ann&password=correct+horse',
                headers: { 'Content-Type': 'application/x-www-form-urlencoded' } });
            assert.equal(status, 200, body);
            tokens.push(JSON.parse(body).token);
        }
    };
    tokens.push(sp.token());
    const crowd = await gather(sp, () => ['ann', tokens[0]]);
    const logins = logIn();
    /* By turns the newest token there is, and any other. */
    let turn = 0;
    const stop = stream(sp, () => ['ann', turn++ % 2 ? tokens.at(-1) : tokens[Math.floor(Math.random() * tokens.length)]],
        (one) => one.ws.close());
    const first = kid(tokens[0]);
    const made = [];

    for (const algorithm of ['ES256', 'HS384']) {
        const name = await done(sp, 'key', 'generate', '--algorithm', algorithm);
        await done(sp, 'key', 'activate', name);
        await until(() => kid(tokens.at(-1)) === name, 'the login service to sign with it');
        made.push(name);
        await wait(1000);
    }
    assert.deepEqual(await jwks(), [made[0]]);
    const { status, said } = await command(sp, 'key', 'retire', first);
    assert.equal(status, 1);
    assert.match(said, /may be alive for another 3\d\d\d s; --force/);
    isOver = true;
    await logins;
    const all = await stop();

    assert.deepEqual(all.map(({ refusal }) => refusal).filter((refusal) => refusal !== null), [], 'not one token is refused');
    assert.equal(crowd.filter((one) => one.ended).length, 0, 'nobody is thrown out');
    const used = new Set(all.map(({ token }) => kid(token)));
    assert.deepEqual([...used].sort(), [first, ...made].sort(), 'tokens of all three keys were shown');
    t.diagnostic(`${all.length} connects, ${tokens.length} logins`);

    await done(sp, 'key', 'retire', made[0], '--force');
    const old = tokens.find((token) => kid(token) === made[0]);
    await until(async () => /invalid signature/.test(await open(sp, 'ann', old).settled), 'its tokens to be refused');
    await until(async () => (await jwks()).length === 0, 'the JWKS to follow');
    assert.equal(await open(sp, 'ann', tokens[0]).settled, null);
    for (const { ws } of crowd) ws.terminate();
});

test(`one of ${sockets} sockets' users is revoked while ${connects} a second connect`, { timeout: 300_000 }, async (t) => {
    const sp = await instance(t, { rules, settings, login: false, users: { ann: {}, victim: {} } });
    const key = signingKey(sp.dir);
    const good = payload(sp.token());
    let serial = 0;
    const token = (user) => forge(key, { ...good, sub: user, jti: `${user}-${serial++}` });
    /* One in ten is the victim's, also of those who come all the time. */
    const whose = (n = serial) => (n % 10 === 0 ? ['victim', token('victim')] : [`user${n % 97}`, token(`user${n % 97}`)]);
    const crowd = await gather(sp, whose);
    const stop = stream(sp, () => whose());
    await wait(1000);

    const began = Date.now();
    await done(sp, 'user', 'disable', 'victim');
    const written = Date.now();
    await wait(2000);
    const all = [...crowd, ...await stop()];
    const victims = all.filter(({ user }) => user === 'victim');
    const inside = victims.filter(({ isIn }) => isIn);
    const last = Math.max(...inside.map(({ ended }) => ended ?? Infinity));

    t.diagnostic(`${inside.length} sockets of the victim; the last ended ${last - began} ms after the command began, ${last - written} ms after it had ended`);
    assert.ok(inside.length > sockets / 10, 'some came in later');
    assert.ok(last - written < 1000, `${last - written} ms`);
    for (const one of victims) {
        if (one.isIn) assert.ok(one.began < written + 1000, 'nobody comes in with an old token after that');
        else assert.match(one.refusal, /jwt revoked/);
    }
    assert.ok(victims.some(({ isIn }) => !isIn), 'some came too late');
    const others = all.filter(({ user }) => user !== 'victim');
    assert.deepEqual(others.filter((one) => !one.isIn || one.ended).map(({ refusal }) => refusal), [], 'of the others nobody is refused or ended');
    for (const { ws } of all) ws.terminate();
});
