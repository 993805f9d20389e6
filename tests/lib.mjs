/*
 * What every test on node stands on: a whole scratch instance of Sallyport (`instance`), real
 * processes (`start`), real clients, tokens good and forged, and lighttpd in front.  Whatever is
 * started through here is stopped, and its folder removed, when the test that started it ends,
 * however it ends.  Which build is tested says the environment variable FLAVOUR.
 */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import crypto from 'node:crypto';
import dgram from 'node:dgram';
import fs from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { io } from 'socket.io-client';
import { WebSocket } from 'ws';

export const tree = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
export const flavour = process.env.FLAVOUR ?? 'release';
export const build = path.join(tree, 'build', flavour);
export const program = (name) => path.join(build, name);

const patience_ms = 15_000; /* how long anything may take before the test has failed */

/* ---- ends: nothing outlives the test process ---- */

const children = new Set();
const folders = new Set();

process.on('exit', () => {
    for (const child of children) child.kill('SIGKILL');
    for (const folder of folders) fs.rmSync(folder, { recursive: true, force: true });
});
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'])
    process.on(signal, () => process.exit(128 + os.constants.signals[signal]));

/* What is left open when all tests have ended would let the whole run wait until its timeout. */
if (process.env.NODE_TEST_CONTEXT) {
    const { after } = await import('node:test'); /* which would report also where there is no test */
    after(() => setTimeout(() => {
        console.error(`${path.basename(process.argv[1])}: left open: ${process.getActiveResourcesInfo()}`);
        process.exit(1);
    }, patience_ms).unref());
}

const ends = new WeakMap();

/* What was begun last ends first; node would let a folder go before the service that writes there. */
export function atEnd(t, action) {
    if (!ends.has(t)) {
        const actions = [];
        ends.set(t, actions);
        t.after(() => endAll(actions));
    }
    ends.get(t).push(action);
}

/* All of them also when one ends badly: what is left open would keep the test process alive. */
async function endAll(actions) {
    const errors = [];
    for (const action of actions.reverse())
        await Promise.resolve().then(action).catch((error) => errors.push(error));
    if (errors.length > 0) throw errors[0];
}

/* A folder that goes with the test. */
export function folder(t) {
    const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'sallyport-'));
    folders.add(dir);
    if (t) atEnd(t, () => removeFolder(dir));
    return dir;
}

export function removeFolder(dir) {
    fs.rmSync(dir, { recursive: true, force: true });
    folders.delete(dir);
}

/* ---- waiting ---- */

export function within(promise, what, ms = patience_ms) {
    let timer;
    const late = new Promise((_, reject) => {
        timer = setTimeout(() => reject(new Error(`waited ${ms} ms for ${what}`)), ms);
    });
    return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/* Look until `check` gives something true. */
export async function until(check, what, ms = patience_ms) {
    const end = Date.now() + ms;
    for (;;) {
        const found = await check();
        if (found) return found;
        if (Date.now() > end) throw new Error(`waited ${ms} ms for ${what}`);
        await new Promise((resolve) => setTimeout(resolve, 10));
    }
}

/* Chance that a seed repeats (mulberry32): `random()` in [0, 1), `below(n)`, `one(list)`. */
export function dice(seed) {
    let state = seed;
    const random = () => {
        state = (state + 0x6d2b79f5) | 0;
        let t = Math.imul(state ^ (state >>> 15), 1 | state);
        t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
        return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
    };
    const below = (n) => Math.floor(random() * n);
    return { random, below, one: (list) => list[below(list.length)] };
}

/* The arguments of the next `event` of an emitter, be it node's or a client's. */
export function next(emitter, event, ms = patience_ms) {
    const arrived = new Promise((resolve) => emitter.once(event, (...args) => resolve(args)));
    return within(arrived, `"${event}"`, ms);
}

/* ---- processes ---- */

/*
 * Start a program that runs until it is told to stop.  `lines` is what it said so far on stdout
 * and stderr; `logged(pattern)` waits for a line (from line `from` on) and gives its match;
 * `exited` is {code, signal}; `stop` demands that it ends with 0 in time.  It dies with us.
 */
export function start(t, command, args = [], options = {}) {
    const child = spawn('setpriv', ['--pdeathsig', 'KILL', command, ...args],
        { stdio: ['ignore', 'pipe', 'pipe'], ...options });
    const name = path.basename(command);
    const lines = [];
    const running = { name, child, pid: child.pid, lines };
    children.add(child);
    for (const stream of [child.stdout, child.stderr]) collectLines(stream, lines);
    running.exited = new Promise((resolve) => child.on('close', (code, signal) => {
        children.delete(child);
        running.ended = { code, signal };
        resolve(running.ended);
    }));
    running.output = () => lines.map((line) => `  ${line}\n`).join('');
    running.logged = (pattern, { from = 0, ms = patience_ms } = {}) =>
        until(() => {
            for (const line of lines.slice(from)) {
                const match = line.match(pattern);
                if (match) return match;
            }
            assert.ok(!running.ended, `${name} has ended without saying ${pattern}; it said:\n${running.output()}`);
            return undefined;
        }, `${name} to say ${pattern}; it said:\n${running.output()}`, ms);
    running.stop = async (signal = 'SIGTERM', code = 0) => {
        if (!running.ended) child.kill(signal);
        try {
            await within(running.exited, `${name} to end on ${signal}`);
        } catch (error) {
            child.kill('SIGKILL');
            throw error;
        }
        assert.deepEqual(running.ended, { code, signal: null },
            `${name} ended with ${JSON.stringify(running.ended)}; it said:\n${running.output()}`);
    };
    if (t) atEnd(t, () => running.stop());
    return running;
}

function collectLines(stream, lines) {
    let rest = '';
    stream.setEncoding('utf8');
    stream.on('data', (text) => {
        const parts = (rest + text).split('\n');
        rest = parts.pop();
        lines.push(...parts);
    });
    stream.on('end', () => rest && lines.push(rest));
}

/* Run a program to its end: {status, stdout, stderr}. */
export function run(command, args = [], { input = '', env } = {}) {
    const done = spawnSync(command, args, { input, encoding: 'utf8', timeout: 60_000, maxBuffer: 1 << 26,
        env: { ...process.env, NODE_TEST_CONTEXT: undefined, ...env } }); /* a node that we start is no test of its own */
    if (done.error && done.error.code !== 'EPIPE') throw done.error; /* it ended without reading on */
    return done;
}

/* The same, for what has to succeed: its stdout. */
export function must(command, args, options) {
    const { status, signal, stdout, stderr } = run(command, args, options);
    assert.equal(status, 0, `${path.basename(command)} ${args.join(' ')}: ${status ?? signal}\n${stderr}`);
    return stdout;
}

const listens = (socket) => new Promise((resolve) => {
    socket.once('listening', () => resolve(true)).once('error', () => resolve(false));
});

/*
 * A free TCP port, outside the range that the kernel gives to clients.  Who has the UDP port of its
 * number has it, until this process ends: no other test takes it before our server listens.
 */
export async function freePort() {
    for (;;) {
        const port = 10_000 + crypto.randomInt(20_000);
        const held = dgram.createSocket('udp4').unref();
        if (await listens(held.bind({ port, address: '127.0.0.1', exclusive: true }))) {
            const server = net.createServer();
            if (await listens(server.listen(port, '127.0.0.1'))) {
                await new Promise((resolve) => server.close(resolve));
                return port;
            }
        }
        held.close();
    }
}

/* One HTTP request on a connection of its own: {status, headers, body}. */
export function request(url, { method = 'GET', headers = {}, body } = {}) {
    return within(new Promise((resolve, reject) => {
        const sent = http.request(url, { method, headers, agent: false }, (answer) => {
            let text = '';
            answer.setEncoding('utf8');
            answer.on('data', (part) => { text += part; });
            answer.on('end', () => resolve({ status: answer.statusCode, headers: answer.headers, body: text }));
            answer.on('error', reject);
        });
        sent.on('error', reject);
        sent.end(body);
    }), `an answer from ${url}`);
}

/* Wait until `url` answers 200; a server that has ended meanwhile is told with what it said. */
async function untilHealthy(server, url) {
    await until(async () => {
        if (server.ended) throw new Error(`${server.name} has ended:\n${server.output()}`);
        return (await request(url).catch(() => null))?.status === 200;
    }, `${url} to answer`);
}

/* ---- a whole instance ---- */

export const rules = {
    chat: path.join(tree, 'deploy/examples/chat.rules'),
};

/*
 * `settings` are those of the config file by name ({'gateway.workers': 4}); a list or a text is
 * written as on the command line; `config` is added to the file as it is.  `rules` is the text of
 * the relay rules.  `users` maps a name to its {password, claims}; without it there is `ann`, whose
 * password is `correct horse`.
 * `login: false` starts the gateway alone; `gateway` names another program in its place.
 */
export async function instance(t, { settings = {}, config = '', rules: text, users, login = true,
    gateway = 'sallyport-gateway' } = {}) {
    const dir = folder();
    const port = await freePort();
    const sp = { dir, port, url: `http://127.0.0.1:${port}`, config: path.join(dir, 'sallyport.conf') };
    const closers = [];

    closers.push(() => removeFolder(dir));
    sp.stop = once(() => endAll(closers));
    atEnd(t, sp.stop);

    sp.cli = (...args) => must(program('sallyport'), ['-c', sp.config, ...args]);
    const set = Object.entries(settings).flatMap(([name, value]) => ['--set', `${name}=${value}`]);
    must(program('sallyport'), ['init', '--dir', dir, '--listen', `127.0.0.1:${port}`, ...set]);
    fs.appendFileSync(sp.config, config);
    if (text !== undefined) fs.writeFileSync(path.join(dir, 'relay.rules'), text);
    for (const [name, { password = 'correct horse', claims = {} }] of Object.entries(users ?? { ann: {} })) {
        must(program('sallyport'), ['-c', sp.config, 'user', 'add', name, '--password-stdin', '--claims', JSON.stringify(claims)],
            { input: `${password}\n` });
    }

    sp.token = (user = 'ann', { lifetime } = {}) =>
        sp.cli('token', 'issue', user, ...(lifetime ? ['--lifetime', lifetime] : [])).trim();
    /* A token such as ours with other claims, properly signed. */
    sp.sign = (claims, header) => forge(signingKey(dir), { ...payload(sp.token()), ...claims }, header);

    sp.startGateway = async () => {
        sp.gateway = start(null, program(gateway), ['-c', sp.config]);
        await untilHealthy(sp.gateway, `${sp.url}/healthz`);
    };
    sp.startLogin = async () => {
        sp.loginSocket = path.join(dir, 'login.sock');
        sp.login = start(null, program('sallyport-login'), ['-c', sp.config]);
        await until(() => {
            if (sp.login.ended) throw new Error(`${sp.login.name} has ended:\n${sp.login.output()}`);
            return accepts(sp.loginSocket);
        }, `${sp.loginSocket} to accept`);
    };
    closers.push(() => sp.gateway?.stop());
    await sp.startGateway();
    if (login) {
        closers.push(() => sp.login?.stop());
        await sp.startLogin();
    }

    /* lighttpd in front, as deploy/ configures it, with the demo page: its address. */
    sp.web = async () => {
        const shipped = (part, value) => fs.readFileSync(path.join(tree, `deploy/lighttpd/sallyport-${part}.conf`), 'utf8')
            .replace(new RegExp(`^var.sallyport_${part} .*`, 'm'), `var.sallyport_${part} = ${value}`);
        const web = await lighttpd(null, `server.document-root = "${tree}/deploy/demo"
            index-file.names = ("index.html")
            mimetype.assign = (".html" => "text/html; charset=utf-8", ".css" => "text/css", ".js" => "text/javascript")
            ${shipped('login', `"${sp.loginSocket}"`)}
            ${shipped('gateway', `("host" => "127.0.0.1", "port" => ${port})`)}`);
        closers.push(web.stop);
        return web.url;
    };
    sp.client = ({ namespace = '/', token, url = sp.url, ...options } = {}) => {
        const socket = io(url + namespace, { transports: ['websocket'], forceNew: true, reconnection: false,
            ...(token === undefined ? {} : { auth: { token } }), ...options });
        closers.push(() => socket.disconnect());
        return socket;
    };
    sp.connected = async (options) => {
        const socket = sp.client(options);
        await within(new Promise((resolve, reject) => {
            socket.once('connect', resolve).once('connect_error', reject);
        }), 'a client to connect');
        return socket;
    };
    sp.raw = (query = '', options) => {
        const socket = rawClient(`${sp.url.replace('http', 'ws')}/socket.io/?EIO=4&transport=websocket${query}`, options);
        closers.push(() => socket.ws.terminate());
        return socket;
    };
    return sp;
}

function once(action) {
    let result;
    return () => (result ??= action());
}

function accepts(socketPath) {
    return new Promise((resolve) => {
        const socket = net.connect(socketPath);
        socket.once('connect', () => { socket.destroy(); resolve(true); });
        socket.once('error', () => resolve(false));
    });
}

/* lighttpd in the foreground on a free port of 127.0.0.1 with `config` added: {url, port, stop}. */
export async function lighttpd(t, config) {
    const dir = folder();
    const port = await freePort();
    const file = path.join(dir, 'lighttpd.conf');
    fs.writeFileSync(file, `server.bind = "127.0.0.1"\nserver.port = ${port}\n${config}\n`);
    const server = start(null, '/usr/sbin/lighttpd', ['-D', '-f', file], { cwd: dir });
    const web = { server, port, url: `http://127.0.0.1:${port}` };
    web.stop = once(async () => {
        try {
            await server.stop('SIGINT'); /* its graceful end; at SIGTERM it exits with 1 */
        } finally {
            removeFolder(dir);
        }
    });
    if (t) atEnd(t, web.stop);
    await until(async () => {
        if (server.ended) throw new Error(`lighttpd has ended:\n${server.output()}`);
        return request(web.url).then(() => true, () => false);
    }, 'lighttpd to answer');
    return web;
}

/*
 * A client one floor below: Engine.IO packets as they are on the wire.  `receive()` gives the next
 * message, or null when the connection is closed; `closed()` waits for its {code, reason}, `status()`
 * for the status of the handshake.
 */
export function rawClient(url, options) {
    const ws = new WebSocket(url, { perMessageDeflate: false, ...options });
    const waiting = [];
    const arrived = [];
    const give = (message) => (waiting.length ? waiting.shift()(message) : arrived.push(message));
    ws.on('message', (data, binary) => give(binary ? data : data.toString()));
    ws.on('error', () => {});
    const handshake = new Promise((resolve) => {
        ws.on('open', () => resolve(101));
        ws.on('unexpected-response', (_, response) => {
            resolve(response.statusCode);
            ws.terminate();
        });
    });
    const closed = new Promise((resolve) => ws.on('close', (code, reason) => {
        give(null);
        resolve({ code, reason: reason.toString() });
    }));
    return {
        ws,
        send: (message) => ws.send(message),
        receive: () => within(arrived.length ? Promise.resolve(arrived.shift())
            : new Promise((resolve) => waiting.push(resolve)), 'a message'),
        closed: (ms) => within(closed, 'the WebSocket to close', ms),
        status: () => within(handshake, 'an answer to the handshake'),
    };
}

/* ---- tokens ---- */

const base64url = (data) => Buffer.from(data).toString('base64url');

/* The instance's own HS256 secret, as the JWK file has it. */
export function signingKey(dir) {
    const file = fs.readdirSync(path.join(dir, 'keys'), { withFileTypes: true })
        .find((entry) => entry.isFile() && !entry.name.startsWith('.'));
    return JSON.parse(fs.readFileSync(path.join(dir, 'keys', file.name), 'utf8'));
}

/*
 * A token made by hand: `key` a JWK of type oct.  `header` replaces members of the right one; with
 * {alg: 'none'} there is no signature.
 */
export function forge(key, claims, header = {}) {
    const head = { alg: 'HS256', typ: 'JWT', kid: key.kid, ...header };
    const signed = `${base64url(JSON.stringify(head))}.${base64url(JSON.stringify(claims))}`;
    if (head.alg === 'none') return `${signed}.`;
    const hash = { HS256: 'sha256', HS384: 'sha384', HS512: 'sha512' }[head.alg];
    return `${signed}.${crypto.createHmac(hash, Buffer.from(key.k, 'base64url')).update(signed).digest('base64url')}`;
}

/* The same token with another signature of the right length. */
export function misSign(token) {
    const [head, claims, signature] = token.split('.');
    const bytes = Buffer.from(signature, 'base64url');
    bytes[0] ^= 1;
    return `${head}.${claims}.${bytes.toString('base64url')}`;
}

export const payload = (token) => JSON.parse(Buffer.from(token.split('.')[1], 'base64url'));
