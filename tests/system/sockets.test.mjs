/*
 * Where the gateway listens, whose address a client has, and how many there may be: also when the
 * system itself has no more descriptors to give.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import test from 'node:test';
import { io } from 'socket.io-client';
import { folder, freePort, must, next, program, rawClient, request, start, until, within } from '../lib.mjs';

const rules = 'namespace "/" { authenticate required; on "echo" { ack $args } }';

/* An instance in a folder of its own, made to listen at `where(dir)`; nothing runs yet. */
function make(t, where, settings = {}) {
    const dir = folder(t);
    const config = path.join(dir, 'sallyport.conf');
    const listen = where(dir);
    const set = Object.entries({ 'gateway.workers': 2, 'gateway.limits.per_user': 0, 'gateway.limits.per_address': 0,
        ...settings }).flatMap(([name, value]) => ['--set', `${name}=${value}`]);
    must(program('sallyport'), ['init', '--dir', dir, '--listen', listen, ...set]);
    fs.writeFileSync(path.join(dir, 'relay.rules'), rules);
    must(program('sallyport'), ['-c', config, 'user', 'add', 'ann', '--password-stdin'], { input: 'correct horse\n' });
    const token = must(program('sallyport'), ['-c', config, 'token', 'issue', 'ann']).trim();
    const gateway = (prefix = []) => start(null, ...command([...prefix, program('sallyport-gateway'), '-c', config]));
    return { dir, listen, token, gateway };
}

const command = ([first, ...rest]) => [first, rest];

async function run(t, made, prefix) {
    const gateway = made.gateway(prefix);
    t.after(() => gateway.ended ?? gateway.stop());
    await gateway.logged(/listening on/);
    return gateway;
}

async function onTcp(t, settings, prefix) {
    const port = await freePort();
    const made = make(t, () => `127.0.0.1:${port}`, settings);
    const gateway = await run(t, made, prefix);
    return { ...made, port, gateway, ws: `ws://127.0.0.1:${port}/socket.io/?EIO=4&transport=websocket` };
}

/*
 * A WebSocket that has joined "/"; or {refused}: the status of its handshake, 'dropped' when its
 * connection was closed without an answer, 'cut' when it was closed after the handshake.
 */
async function join({ ws, token }, headers = {}) {
    const raw = rawClient(ws, { headers });
    const dropped = new Promise((resolve) => raw.ws.once('close', () => setImmediate(resolve, 'dropped')));
    const status = await Promise.race([raw.status(), dropped]);
    if (status !== 101) return { refused: status };
    if (await raw.receive() === null) return { refused: 'cut' };
    raw.send(`40${JSON.stringify({ token })}`);
    assert.match(await raw.receive(), /^40\{/);
    return raw;
}

const isIn = async (server) => (await join(server)).refused === undefined;

async function echo(raw) {
    raw.send('421["echo","hello"]');
    for (;;) {
        const message = await raw.receive();
        if (message === '2') raw.send('3'); /* a ping */
        else return assert.equal(message, '431["hello"]');
    }
}

async function stockClientEchoes(t, url, token) {
    const client = io(url, { auth: { token }, forceNew: true, reconnection: false });
    t.after(() => client.disconnect());
    await next(client, 'connect');
    assert.equal(await client.timeout(5000).emitWithAck('echo', 'hello'), 'hello');
    await until(() => client.io.engine.transport.name === 'websocket', 'the upgrade');
}

/* A web server's part: from a port to a Unix socket. */
async function proxyTo(t, socketPath) {
    const server = net.createServer((client) => {
        const behind = net.connect(socketPath);
        client.pipe(behind).pipe(client);
        for (const [one, other] of [[client, behind], [behind, client]]) one.on('error', () => other.destroy());
    });
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
    t.after(() => server.close());
    return `http://127.0.0.1:${server.address().port}`;
}

/* ---- where it listens ---- */

test('on TCP', async (t) => {
    const { port, token, gateway } = await onTcp(t);
    await gateway.logged(new RegExp(`listening on 127\\.0\\.0\\.1:${port} with 2 workers`));
    await stockClientEchoes(t, `http://127.0.0.1:${port}`, token);
});

test('on IPv6, and there alone', async (t) => {
    const port = await freePort();
    const made = make(t, () => `[::1]:${port}`);
    if (!Object.values(os.networkInterfaces()).flat().some(({ address }) => address === '::1')) {
        const gateway = made.gateway(); /* where there is no IPv6, a container's network say, it tells */
        await gateway.logged(/cannot listen on \[::1\]:\d+: (Cannot assign requested address|Address family not supported)/);
        assert.notEqual((await gateway.exited).code, 0);
        return;
    }
    const gateway = await run(t, made);
    await gateway.logged(new RegExp(`listening on \\[::1\\]:${port} `));
    await stockClientEchoes(t, `http://[::1]:${port}`, made.token);
    await gateway.logged(/connected: ann .*address ::1\)/);
    await assert.rejects(request(`http://127.0.0.1:${port}/healthz`), /ECONNREFUSED/);
});

test('on a Unix socket, whose other end is believed about the client\'s address', async (t) => {
    const made = make(t, (dir) => path.join(dir, 'gateway.sock'));
    const gateway = await run(t, made);
    assert.equal(fs.statSync(made.listen).mode & 0o777, 0o660);
    await stockClientEchoes(t, await proxyTo(t, made.listen), made.token);
    const raw = await join({ ...made, ws: `ws+unix://${made.listen}:/socket.io/?EIO=4&transport=websocket` },
        { 'X-Forwarded-For': '203.0.113.7' });
    await gateway.logged(/connected: ann .*address 203\.0\.113\.7\)/);
    raw.ws.terminate();
    await gateway.stop();
    assert.ok(!fs.existsSync(made.listen), 'the socket goes with the gateway');
});

/* ---- one at a time ---- */

for (const [what, where] of Object.entries({ 'a port': async () => { const port = await freePort(); return () => `127.0.0.1:${port}`; },
    'a Unix socket': async () => (dir) => path.join(dir, 'gateway.sock') })) {
    test(`a second instance on ${what} does not start and says why; the first goes on`, async (t) => {
        const made = make(t, await where());
        const first = await run(t, made);
        const second = made.gateway();
        assert.deepEqual(await within(second.exited, 'the second to end'), { code: 1, signal: null });
        assert.match(second.output(), /sallyport-gateway: .*is another instance running\?/);
        assert.ok(second.output().includes(made.listen));
        const url = made.listen[0] === '/' ? await proxyTo(t, made.listen) : `http://${made.listen}`;
        await stockClientEchoes(t, url, made.token);
        assert.equal(first.ended, undefined);
    });
}

test('a socket that a killed gateway left behind is replaced', async (t) => {
    const made = make(t, (dir) => path.join(dir, 'gateway.sock'));
    const first = await run(t, made);
    first.child.kill('SIGKILL');
    await first.exited;
    assert.ok(fs.existsSync(made.listen));
    await run(t, made);
    await stockClientEchoes(t, await proxyTo(t, made.listen), made.token);
});

test('what is no socket is left alone', async (t) => {
    const made = make(t, (dir) => path.join(dir, 'gateway.sock'));
    fs.writeFileSync(made.listen, 'precious');
    const gateway = made.gateway();
    assert.deepEqual(await within(gateway.exited, 'its end'), { code: 1, signal: null });
    assert.match(gateway.output(), /gateway\.sock exists and is not a socket/);
    assert.equal(fs.readFileSync(made.listen, 'utf8'), 'precious');
});

/* ---- whose address ---- */

const addressOf = async (server, headers) => {
    const from = server.gateway.lines.length;
    const raw = await join(server, headers);
    const [, address] = await server.gateway.logged(/connected: ann .*address (.*)\)$/, { from });
    raw.ws.terminate();
    return address;
};

test('X-Forwarded-For counts from the right, up to the first hop that is no trusted proxy', async (t) => {
    const server = await onTcp(t, { 'gateway.trusted_proxies': '127.0.0.1,192.0.2.0/24' });
    const via = (forwarded) => addressOf(server, { 'X-Forwarded-For': forwarded });
    assert.equal(await addressOf(server, {}), '127.0.0.1');
    assert.equal(await via('203.0.113.7'), '203.0.113.7');
    assert.equal(await via('198.51.100.1, 203.0.113.7'), '203.0.113.7', 'what the client wrote itself');
    assert.equal(await via('203.0.113.7, 192.0.2.9'), '203.0.113.7');
    assert.equal(await via('2001:db8::7, 192.0.2.9'), '2001:db8::7');
    assert.equal(await via('nonsense, 192.0.2.9'), '192.0.2.9');
});

test('who is no trusted proxy is not believed', async (t) => {
    const server = await onTcp(t, { 'gateway.trusted_proxies': '192.0.2.1' });
    assert.equal(await addressOf(server, { 'X-Forwarded-For': '203.0.113.7' }), '127.0.0.1');
});

/* ---- how many ---- */

/* The status that refuses one more, whichever transport asks. */
async function refusals(server, headers) {
    const raw = await join(server, headers);
    const polling = await request(server.ws.replace('ws:', 'http:').replace('websocket', 'polling'), { headers });
    assert.deepEqual(JSON.parse(polling.body), { code: 4, message: 'Forbidden' });
    return [raw.refused, polling.status];
}

test('limits.connections, and room again when somebody leaves', async (t) => {
    const server = await onTcp(t, { 'gateway.limits.connections': 3 });
    const crowd = [await join(server), await join(server), await join(server)];
    assert.deepEqual(await refusals(server), [403, 403]);
    for (const raw of crowd) await echo(raw);
    assert.equal((await request(`http://127.0.0.1:${server.port}/healthz`)).status, 200, 'a full house can still be asked');
    crowd[0].ws.close();
    await until(() => isIn(server), 'room for one more');
    assert.deepEqual(await refusals(server), [403, 403]);
});

test('limits.per_address counts an IPv4 address, and an IPv6 /64', async (t) => {
    const server = await onTcp(t, { 'gateway.limits.per_address': 2 });
    const from = (address) => ({ 'X-Forwarded-For': address });
    for (const [first, second, third, other] of [['203.0.113.1', '203.0.113.1', '203.0.113.1', '203.0.113.2'],
        ['2001:db8:1:2::1', '2001:db8:1:2::2', '2001:db8:1:2:ffff:0:0:3', '2001:db8:1:3::1']]) {
        await echo(await join(server, from(first)));
        await echo(await join(server, from(second)));
        assert.deepEqual(await refusals(server, from(third)), [403, 403]);
        await echo(await join(server, from(other)));
    }
});

/* ---- no more descriptors ---- */

/* Seconds of processor time that the process has had. */
function processorTime({ pid }) {
    const fields = fs.readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ');
    return (Number(fields[11]) + Number(fields[12])) / 100;
}

async function staysIdle(gateway, ms = 1000) {
    const before = processorTime(gateway);
    await new Promise((resolve) => setTimeout(resolve, ms));
    const used = processorTime(gateway) - before;
    assert.ok(used < 0.3 * ms / 1000, `${used} s of processor time in ${ms} ms`);
}

const descriptorsOf = ({ pid }) => fs.readdirSync(`/proc/${pid}/fd`).length;

test('few descriptors: said at the start; the rest are refused in order, those inside live on', async (t) => {
    const server = await onTcp(t, {}, ['prlimit', '--nofile=160:160']);
    await server.gateway.logged(/gateway\.limits\.connections is 16000, but only \d+ descriptors can be had/);
    const crowd = await Promise.all(Array.from({ length: 200 }, () => join(server)));
    const inside = crowd.filter(({ refused }) => refused === undefined);
    /* Each that is let in holds two descriptors for a moment; who finds none for the second is told before the 101. */
    for (const { refused } of crowd) assert.ok([undefined, 403, 503, 'dropped'].includes(refused), refused);
    for (let raw; !(raw = await join(server)).refused;) inside.push(raw);
    assert.equal(inside.length, 84, 'of 160: 64 for other things, an eighth of the rest for requests');
    /* Until those of the crowd are closed that were refused, some more go unread. */
    await until(async () => (await join(server)).refused === 403, 'a refusal in words');
    assert.deepEqual(await refusals(server), [403, 403]);
    await staysIdle(server.gateway);
    for (const raw of inside) await echo(raw);
    for (const raw of inside.splice(0, 10)) raw.ws.close();
    await until(() => isIn(server), 'room again');
});

/* Connections that send nothing cannot be told anything: those beyond our own bound are closed. */
test('a flood of silent connections leaves descriptors for those inside', async (t) => {
    const server = await onTcp(t, { 'gateway.request_timeout': '1s' }, ['prlimit', '--nofile=160:160']);
    const inside = await join(server);
    const silent = Array.from({ length: 400 }, () => net.connect(server.port, '127.0.0.1').on('error', () => {}));
    t.after(() => silent.forEach((socket) => socket.destroy()));
    await until(() => silent.filter(({ closed }) => closed).length > 250, 'those beyond the bound to be closed');
    await staysIdle(server.gateway);
    await echo(inside);
    await until(() => isIn(server), 'the silent ones to be timed out');
});

/* The limit lowered to about what is open: whoever is accepted finds no descriptor for a WebSocket. */
test('EMFILE at an upgrade: nobody inside notices, nothing spins, and afterwards there is room again', async (t) => {
    const server = await onTcp(t, { 'gateway.request_timeout': '2s' });
    const limit = (soft) => assert.equal(spawnSync('prlimit', ['--pid', server.gateway.pid, `--nofile=${soft}:`]).status, 0);
    const before = fs.readFileSync(`/proc/${server.gateway.pid}/limits`, 'utf8').match(/open files +(\d+)/)[1];
    const inside = await Promise.all(Array.from({ length: 10 }, () => join(server)));

    limit(descriptorsOf(server.gateway));
    const late = Array.from({ length: 20 }, () => join(server));
    await staysIdle(server.gateway, 2000);
    for (const raw of inside) await echo(raw);
    limit(before);
    inside.pop().ws.close();
    await until(() => isIn(server), 'room again');
    t.diagnostic(`of those that came meanwhile: ${(await Promise.all(late)).map(({ refused }) => refused ?? 'in').join(' ')}`);
    for (const raw of inside) await echo(raw);
    await staysIdle(server.gateway);
});
