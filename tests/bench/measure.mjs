/*
 * Starts each server in turn, lets the load generator measure it, and interleaves the servers in
 * rounds: what the machine's other users do meanwhile falls on all alike, and ratios are taken
 * within a round.  What the figures mean for us is report.mjs's business.
 */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { write } from './report.mjs';

const tree = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');
const out = path.join(tree, 'build/bench');
const release = path.join(tree, 'build/release');
const peers = path.join(out, 'peers');
const bun = path.join(peers, 'node_modules/.bin/bun');
const rules = `namespace "/" {
    authenticate required
    when connection { join "hall" }
    on "msg"  { emit in "hall" }
    on "ping" { ack $1 }
}
`;

/* ---- what is measured ---- */

const whole = {
    rounds: 3,
    jobs: {
        idle: 'idle --first 2000 --clients 10000 --for 26',
        room_100: 'flood --clients 100',
        room_1000: 'flood --clients 1000',
        room_10000: 'flood --clients 10000',
        pace: 'pace --clients 1000 --rate 100 --for 5',
        ping: 'ping --clients 100',
    },
};
const quick = {
    rounds: 1,
    jobs: {
        idle: 'idle --first 200 --clients 1000 --for 0',
        room_100: 'flood --clients 100 --warm 0.3 --for 0.7',
        room_1000: 'flood --clients 1000 --warm 0.3 --for 0.7',
        pace: 'pace --clients 1000 --rate 50 --warm 0.3 --for 0.7',
        ping: 'ping --clients 100 --warm 0.3 --for 0.7',
    },
};

const ceiling = (way) => ({
    job: (name) => way === 'each' || name !== 'ping', /* an answer is one write either way */
    command: (port) => [path.join(release, 'tests/bench/ceiling'), port, way],
    pings: false,
});
const gateway = (workers) => ({
    cores: workers,
    command: () => [path.join(release, 'sallyport-gateway'), '-c', path.join(instance(workers), 'sallyport.conf')],
    workers,
});
const servers = {
    gateway: { label: 'Sallyport', ...gateway(1) },
    node: { label: `Socket.IO on Node ${process.versions.node.split('.')[0]}, ws`, command: (port) => [process.execPath, 'peer.mjs', port, key()] },
    bun: { label: 'Socket.IO on Bun, bun-engine', command: (port) => [bun, 'peer.mjs', port, key()] },
    each: { label: 'ceiling, one send each', ...ceiling('each') },
    coalesced: { label: 'ceiling, coalesced', ...ceiling('coalesced') },
    gateway_2: { label: 'Sallyport, 2 workers', ...gateway(2) },
    gateway_4: { label: 'Sallyport, 4 workers', ...gateway(4) },
};
const in_quick = ['gateway', 'node', 'bun', 'each', 'coalesced'];

/* ---- the machine ---- */

const cores = os.cpus().length;

/* One core for a server of one thread and the others for the crowd; else all for both. */
function pinned(command, first, last) {
    return cores < 2 || first > last ? command : ['taskset', '-c', `${first}-${last}`, ...command];
}
const place_server = (command, wanted) => wanted < cores ? pinned(command, 0, wanted - 1) : command;
const place_crowd = (command, wanted) => wanted < cores ? pinned(command, wanted, cores - 1) : command;

const output = (...command) => execFileSync(command[0], command.slice(1), { encoding: 'utf8', cwd: tree }).trim();

function machine() {
    return {
        processor: os.cpus()[0].model.trim(),
        cores,
        memory_gib: Math.round(os.totalmem() / 2 ** 30),
        kernel: os.release(),
        system: fs.readFileSync('/etc/os-release', 'utf8').match(/PRETTY_NAME="(.*)"/)[1],
        node: process.versions.node,
        bun: fs.existsSync(bun) ? output(bun, '--version') : null,
        compiler: output('cc', '--version').split('\n')[0],
        load_average: os.loadavg().map((value) => Number(value.toFixed(1))),
    };
}

/* ---- one measurement ---- */

const folder = (workers) => path.join(out, `instance-${workers}`);

/* A whole instance for so many workers, made once a run; its limits do not concern us. */
const made = new Map();
function instance(workers) {
    if (made.has(workers)) return made.get(workers);
    const dir = folder(workers);
    fs.rmSync(dir, { recursive: true, force: true });
    const lifted = ['connections', 'per_address', 'per_user', 'events_per_second'];
    execFileSync(path.join(release, 'sallyport'), ['init', '--dir', dir, '--listen', `127.0.0.1:${port}`,
        '--set', `gateway.workers=${workers}`, ...lifted.flatMap((name) => ['--set', `gateway.limits.${name}=0`])], { stdio: 'pipe' });
    fs.writeFileSync(path.join(dir, 'relay.rules'), rules);
    made.set(workers, dir);
    return dir;
}

/* The secret of an instance, which its gateway verifies with; the peers use that of the first. */
function key(workers = 1) {
    const keys = path.join(instance(workers), 'keys');
    return path.join(keys, fs.readdirSync(keys).find((name) => name.endsWith('.jwk')));
}

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

async function measure(name, job, words) {
    const server = servers[name];
    const wanted = server.cores ?? 1;
    const log = path.join(out, `${name}.log`);
    const file = fs.openSync(log, 'w');
    const child = start(place_server(server.command(port), wanted), { cwd: peers, stdio: ['ignore', file, file] });
    try {
        for (let tries = 0; !await answers(); tries++) {
            if (tries > 100 || child.exitCode !== null) throw new Error(`${name} did not start; see ${log}`);
            await pause(100);
        }
        const crowd = start([...place_crowd([path.join(release, 'tests/bench/load')], wanted), ...words.split(' '),
            '--port', port, '--pid', child.pid, '--key', key(server.workers), '--threads', Math.max(1, Math.min(3, cores - 1))],
        { stdio: ['ignore', 'pipe', 'pipe'] });
        let said = '';
        for (const stream of [crowd.stdout, crowd.stderr]) stream.on('data', (text) => { said += text; });
        const status = await crowd.ended;
        if (status !== 0) throw new Error(`${name}, ${job}: load ended with ${status}: ${said.trim()}`);
        return JSON.parse(said);
    } finally {
        child.kill('SIGTERM');
        await Promise.race([child.ended, pause(5000)]);
        child.kill('SIGKILL');
        await child.ended;
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

function chosen(all, option, what) {
    if (!option) return all;
    for (const name of option.split(',')) assert.ok(all.includes(name), `there is no ${what} "${name}"; there are ${all.join(', ')}`);
    return option.split(',');
}

const { values: options } = parseArgs({ options: {
    quick: { type: 'boolean' }, rounds: { type: 'string' }, jobs: { type: 'string' }, servers: { type: 'string' },
} });
const plan = options.quick ? quick : whole;
const rounds = Number(options.rounds ?? plan.rounds);
const jobs = chosen(Object.keys(plan.jobs), options.jobs, 'job');
let names = chosen(options.quick ? in_quick : Object.keys(servers), options.servers, 'server');
if (!fs.existsSync(bun)) {
    console.log('no Bun: npm has none for this machine');
    names = names.filter((name) => name !== 'bun');
}

const port = await freePort();
const results = {
    date: new Date().toISOString(),
    commit: output('git', 'describe', '--always', '--dirty'),
    quick: Boolean(options.quick),
    command: `tests/bench/run${process.argv.slice(2).map((word) => ' ' + word).join('')}`,
    machine: machine(),
    labels: Object.fromEntries(names.map((name) => [name, servers[name].label])),
    jobs: Object.fromEntries(jobs.map((job) => [job, plan.jobs[job]])),
    measurements: [],
};
for (let round = 0; round < rounds; round++) {
    for (const job of jobs) {
        for (const name of rotated(names, round)) {
            if (servers[name].job && !servers[name].job(job)) continue;
            const words = servers[name].pings === false ? plan.jobs[job].replace('--for 26', '--for 0') : plan.jobs[job];
            const figures = await measure(name, job, words);
            results.measurements.push({ round, job, server: name, ...figures });
            console.log(`round ${round + 1} of ${rounds}, ${job}, ${name}: ${JSON.stringify(figures)}`);
        }
    }
}
results.machine.load_average_after = os.loadavg().map((value) => Number(value.toFixed(1)));
console.log('\n' + write(results, out));
