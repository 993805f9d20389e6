/*
 * Starts each server in turn, lets the load generator measure it, and interleaves the servers in
 * rounds: what the machine's other users do meanwhile falls on all alike, and ratios are taken
 * within a round.  What the figures mean for us is report.mjs's business.
 */
import { execFileSync, spawn } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { publish, write } from './report.mjs';

const tree = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');
const out = path.join(tree, 'build/bench');
const release = path.join(tree, 'build/release');
const peers = path.join(out, 'peers');
const bun = path.join(peers, 'node_modules/.bin/bun');
const rules = `namespace "/" {
    authenticate required
    when connection { join "hall" }
    on "msg"   { emit in "hall" }
    on "join"  { join "room:$1" }
    on "leave" { leave "room:$1" }
    on "say"   { emit in "room:$1" "msg" $2 }
    on "ping"  { ack $1 }
}
`;

/* ---- what is measured ---- */

const ceiling = (way) => ({
    command: (port) => [path.join(release, 'tests/bench/ceiling'), port, way],
});
const peer = (program) => ({
    command: (port) => [program, 'peer.mjs', port, key()],
});
const gateway = (workers) => ({
    command: () => [path.join(release, 'sallyport-gateway'), '-c', path.join(instance(workers), 'sallyport.conf')],
    workers,
});
const front = (backend) => `server.modules += ("mod_fastcgi", "mod_proxy")
server.bind = "127.0.0.1"
server.port = ${port}
server.document-root = "/nonexistent"
server.max-keep-alive-requests = 65535
${backend}
`;
const servers = {
    gateway: { label: 'Sallyport', ...gateway(1) },
    node: { label: `Socket.IO on Node ${process.versions.node.split('.')[0]}, ws`, ...peer(process.execPath) },
    bun: { label: 'Socket.IO on Bun, bun-engine', ...peer(bun) },
    each: { label: 'ceiling, one send each', ...ceiling('each') },
    coalesced: { label: 'ceiling, coalesced', ...ceiling('coalesced') },
    gateway_2: { label: 'Sallyport, 2 workers', ...gateway(2) },
    gateway_4: { label: 'Sallyport, 4 workers', ...gateway(4) },
    login: {
        label: 'sallyport-login, lighttpd',
        command: () => [path.join(release, 'sallyport-login'), '-c', path.join(loginInstance(), 'sallyport.conf')],
        front: () => `fastcgi.server = ("" => (("socket" => "${loginInstance()}/login.sock", "check-local" => "disable")))`,
    },
    express: {
        label: `Express on Node ${process.versions.node.split('.')[0]}, lighttpd`,
        command: () => [process.execPath, 'login-peer.mjs', behind],
        front: () => `proxy.server = ("" => (("host" => "127.0.0.1", "port" => ${behind})))`,
    },
    hashes: { label: 'libsodium, hashing alone' },
};
const tokens = ['gateway', 'node', 'bun']; /* those that look at one, and ping */
const single = [...tokens, 'each', 'coalesced'];
const workers = ['gateway_2', 'gateway_4'];
const logins = ['login', 'express'];

/* What `load` is told, and which servers it is put to. */
const whole = {
    rounds: 3,
    jobs: {
        idle: ['idle --first 2000 --clients 10000 --for 0', [...tokens, 'each', ...workers]],
        pinged: ['idle --first 2000 --clients 10000 --for 26', tokens],
        room_100: ['flood --clients 100', single],
        room_1000: ['flood --clients 1000', [...single, ...workers]],
        room_10000: ['flood --clients 10000', single],
        pace: ['pace --clients 1000 --rate 100 --for 5', single],
        ping: ['ping --clients 100', [...tokens, 'each', ...workers]],
        rooms_few: ['rooms --clients 10000 --rooms 1000 --senders 1000', ['gateway', 'node']],
        rooms_many: ['rooms --clients 10000 --rooms 100000 --senders 1000', ['gateway', 'node']],
        polls: ['idle --polling --first 2000 --clients 10000 --for 0', tokens],
        poll_ping: ['ping --polling --clients 100', tokens],
        poll_few: ['rooms --polling --clients 100 --rooms 10 --window 1', ['gateway']],
        poll_many: ['rooms --polling --clients 10000 --rooms 1000 --window 1', ['gateway']],
        login: ['posts --clients 8 --path /login --status 200', ['login', 'hashes']],
        login_early: ['posts --clients 16 --path /login --status 400', logins],
        login_throttled: ['posts --clients 16 --path /login --status 429', logins],
        login_refresh: ['posts --clients 256 --path /token --status 200', logins],
    },
};
const quick = {
    rounds: 1,
    jobs: {
        idle: ['idle --first 200 --clients 1000 --for 0', tokens],
        room_100: ['flood --clients 100 --warm 0.2 --for 0.5', single],
        room_1000: ['flood --clients 1000 --warm 0.2 --for 0.5', [...single, 'gateway_2']],
        pace: ['pace --clients 1000 --rate 50 --warm 0.2 --for 0.5', single],
        ping: ['ping --clients 100 --warm 0.2 --for 0.5', [...tokens, 'each']],
        rooms_many: ['rooms --clients 500 --rooms 5000 --warm 0.2 --for 0.5', ['gateway', 'node']],
        poll_ping: ['ping --polling --clients 100 --warm 0.2 --for 0.5', tokens],
        login: ['posts --clients 4 --path /login --status 200 --warm 0.1 --for 0.5', ['login', 'hashes']],
        login_throttled: ['posts --clients 4 --path /login --status 429 --warm 0.1 --for 0.5', logins],
        login_refresh: ['posts --clients 64 --path /token --status 200 --warm 0.1 --for 0.2', logins],
    },
};

/* ---- the machine ---- */

const cores = os.cpus().length;

/* A core for each of a server's threads, but half of them at most: with fewer for the crowd the server would not be
 * saturated.  The crowd has the others.  Behind a web server all have all. */
const own_cores = (server) => server.front ? 0 : Math.min(server.workers ?? 1, Math.floor(cores / 2));
const pinned = (command, first, last) => ['taskset', '-c', `${first}-${last}`, ...command];
const place_server = (command, own) => own > 0 ? pinned(command, 0, own - 1) : command;
const place_crowd = (command, own) => own > 0 ? pinned(command, own, cores - 1) : command;

const output = (...command) => execFileSync(command[0], command.slice(1), { encoding: 'utf8', cwd: tree }).trim();

function commit() {
    try {
        return output('git', 'describe', '--always', '--dirty');
    } catch {
        return 'unknown'; /* a tree without its history, or another user's */
    }
}

function machine() {
    return {
        processor: os.cpus()[0].model.trim(),
        cores,
        memory_gib: Math.round(os.totalmem() / 2 ** 30),
        kernel: os.release(),
        congestion_control: fs.readFileSync('/proc/sys/net/ipv4/tcp_congestion_control', 'utf8').trim(),
        system: fs.readFileSync('/etc/os-release', 'utf8').match(/PRETTY_NAME="(.*)"/)[1],
        node: process.versions.node,
        bun: fs.existsSync(bun) ? output(bun, '--version') : null,
        compiler: output('cc', '--version').split('\n')[0],
        load_average: os.loadavg().map((value) => Number(value.toFixed(1))),
    };
}

/* ---- one measurement ---- */

/* A whole instance for so many workers, made once a run; its limits do not concern us. */
const made = new Map();
function instance(count) {
    if (made.has(count)) return made.get(count);
    const dir = path.join(out, `instance-${count}`);
    fs.rmSync(dir, { recursive: true, force: true });
    const lifted = ['connections', 'per_address', 'per_user', 'events_per_second', 'rooms'];
    execFileSync(path.join(release, 'sallyport'), ['init', '--dir', dir, '--listen', `127.0.0.1:${port}`,
        '--set', `gateway.workers=${count}`, ...lifted.flatMap((name) => ['--set', `gateway.limits.${name}=0`])], { stdio: 'pipe' });
    fs.writeFileSync(path.join(dir, 'relay.rules'), rules);
    made.set(count, dir);
    return dir;
}

/* The secret of an instance, which its gateway verifies with; the peers use that of the first. */
function key(count = 1) {
    const keys = path.join(instance(count), 'keys');
    return path.join(keys, fs.readdirSync(keys).find((name) => name.endsWith('.jwk')));
}

/* Users and sessions enough that none has too many: access tokens end soon, of which a session may have so many at a time. */
const users = Array.from({ length: 64 }, (_, i) => `user${i}`), password = 'correct horse';
function loginInstance() {
    if (made.has('login')) return made.get('login');
    const dir = path.join(out, 'instance-login'), sallyport = path.join(release, 'sallyport');
    fs.rmSync(dir, { recursive: true, force: true });
    execFileSync(sallyport, ['init', '--dir', dir, '--set', 'token.lifetime=1s'], { stdio: 'pipe' });
    for (const name of users)
        execFileSync(sallyport, ['-c', path.join(dir, 'sallyport.conf'), 'user', 'add', name, '--password-stdin'],
            { input: `${password}\n`, stdio: 'pipe' });
    made.set('login', dir);
    return dir;
}

const posted = (url, fields) => fetch(`http://127.0.0.1:${port}${url}`, { method: 'POST', body: new URLSearchParams(fields) });

/* The forms of a job, a line each, and what has to happen before. */
const forms = {
    login: async () => users.map((username) => new URLSearchParams({ username, password })),
    login_early: async () => ['username=&password='],
    async login_throttled() {
        const wrong = (i) => new URLSearchParams({ username: users[0], password: `wrong ${i}` });
        for (let i = 0; (await posted('/login', wrong(i))).status !== 429; i++)
            if (i > 100) throw new Error('nobody is throttled');
        return [wrong('again')];
    },
    async login_refresh() {
        const sessions = [];
        for (let i = 0; i < 4; i++)
            sessions.push(...await Promise.all(users.map(async (username) => (await posted('/login', { username, password })).json())));
        return sessions.map(({ refresh_token }) => new URLSearchParams({ grant_type: 'refresh_token', refresh_token }));
    },
};

const running = new Set();
process.on('exit', () => running.forEach((child) => child.kill('SIGKILL')));
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1));

function start(command, options) {
    const child = spawn(command[0], command.slice(1).map(String), options);
    running.add(child);
    child.ended = new Promise((resolve) => child.on('close', (status) => {
        running.delete(child);
        resolve(status ?? 'killed');
    }));
    return child;
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

const answers = () => new Promise((resolve) => {
    const socket = net.connect(port, '127.0.0.1', () => resolve(true));
    socket.on('error', () => resolve(false)).on('connect', () => socket.destroy());
});

/* The web server, and the file of forms that `load` is told of. */
async function frontOf(server, name, job, log) {
    const config = path.join(out, `${name}.conf`), list = path.join(out, `${name}.forms`);
    fs.writeFileSync(config, front(server.front()));
    const web = start(['/usr/sbin/lighttpd', '-D', '-f', config], { stdio: ['ignore', log, log] });
    for (let tries = 0; (await posted('/login', {}).catch(() => ({ status: 503 }))).status >= 500; tries++) {
        if (tries > 100) throw new Error(`${name} did not start`);
        await pause(100);
    }
    fs.writeFileSync(list, (await forms[job]()).join('\n') + '\n');
    return [web, ['--forms', list]];
}

async function measure(name, job, words) {
    const server = servers[name];
    if (name === 'hashes') return JSON.parse(output(path.join(release, 'tests/bench/hashes'), words.match(/--for (\S+)/)?.[1] ?? '3'));
    const own = own_cores(server);
    let web;
    const log = path.join(out, `${name}.log`);
    const file = fs.openSync(log, 'w');
    const child = start(place_server(server.command(port), own), { cwd: peers, stdio: ['ignore', file, file] });
    try {
        for (let tries = 0; !server.front && !await answers(); tries++) {
            if (tries > 100 || child.exitCode !== null) throw new Error(`${name} did not start; see ${log}`);
            await pause(100);
        }
        let told;
        if (server.front) [web, told] = await frontOf(server, name, job, file);
        else told = ['--key', key(server.workers)];
        const crowd = start([...place_crowd([path.join(release, 'tests/bench/load')], own), ...words.split(' '),
            '--port', port, '--pid', child.pid, ...told, '--threads', Math.max(1, Math.min(3, cores - 1))],
        { stdio: ['ignore', 'pipe', 'pipe'] });
        let said = '';
        for (const stream of [crowd.stdout, crowd.stderr]) stream.on('data', (text) => { said += text; });
        const status = await crowd.ended;
        if (status !== 0) throw new Error(`${name}, ${job}: load ended with ${status}: ${said.trim()}`);
        return JSON.parse(said);
    } finally {
        for (const one of [web, child]) {
            one?.kill('SIGTERM');
            await Promise.race([one?.ended, pause(5000)]);
            one?.kill('SIGKILL');
            await one?.ended;
        }
        fs.closeSync(file);
    }
}

/* ---- all of them ---- */

function freePort() {
    return new Promise((resolve) => {
        const server = net.createServer().listen(0, '127.0.0.1', () => {
            const { port: free } = server.address();
            server.close(() => resolve(free));
        });
    });
}

/* Each round begins with another server. */
const rotated = (list, by) => list.map((_, i) => list[(i + by) % list.length]);

function usage(what) {
    console.error(`run: ${what}\nusage: tests/bench/run [--quick | --publish] [--rounds N] [--jobs a,b] [--servers a,b]`);
    process.exit(2);
}

function chosen(all, option, what) {
    const wrong = option?.split(',').find((name) => !all.includes(name));
    if (wrong !== undefined) usage(`there is no ${what} "${wrong}"; there are ${all.join(', ')}`);
    return option?.split(',') ?? all;
}

function readOptions() {
    try {
        return parseArgs({ options: {
            quick: { type: 'boolean' }, publish: { type: 'boolean' }, rounds: { type: 'string' }, jobs: { type: 'string' }, servers: { type: 'string' },
        } }).values;
    } catch (error) {
        return usage(error.message);
    }
}

const options = readOptions();
const plan = options.quick ? quick : whole;
const rounds = Number(options.rounds ?? plan.rounds);
if (!(rounds >= 1)) usage('--rounds is a number from 1');
const jobs = chosen(Object.keys(plan.jobs), options.jobs, 'job');
const all = [...new Set(Object.values(plan.jobs).flatMap(([, names]) => names))];
let names = Object.keys(servers).filter((name) => chosen(all, options.servers, 'server').includes(name));
if (!fs.existsSync(bun)) {
    console.log('no Bun: npm has none for this machine');
    names = names.filter((name) => name !== 'bun');
}

const port = await freePort(), behind = await freePort();
const results = {
    date: new Date().toISOString(),
    commit: commit(),
    quick: Boolean(options.quick),
    command: `tests/bench/run${process.argv.slice(2).map((word) => ' ' + word).join('')}`,
    machine: machine(),
    labels: Object.fromEntries(names.map((name) => [name, servers[name].label])),
    jobs: Object.fromEntries(jobs.map((job) => [job, plan.jobs[job][0]])),
    measurements: [],
};
for (let round = 0; round < rounds; round++) {
    for (const job of jobs) {
        const [words, able] = plan.jobs[job];
        for (const name of rotated(names.filter((one) => able.includes(one)), round)) {
            const figures = await measure(name, job, words);
            results.measurements.push({ round, job, server: name, ...figures });
            console.log(`round ${round + 1} of ${rounds}, ${job}, ${name}: ${JSON.stringify(figures)}`);
        }
    }
}
results.machine.load_average_after = os.loadavg().map((value) => Number(value.toFixed(1)));
if (options.publish) publish(results, tree);
console.log('\n' + write(results, out, options.quick ? 'quick' : 'results'));
