/*
 * Stock clients: socket.io-client 1.7, 2.5, 3.1 and 4.8, and python3-socketio, by each transport.
 * `suite` is what all of them have to do wherever the gateway is reached, directly or through a web
 * server.  1.x and 2.x speak Engine.IO 3.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import test from 'node:test';
import { inspect } from 'node:util';
import { next, start, tree, until, within } from '../lib.mjs';

const require = createRequire(import.meta.url);
export const versions = {
    '1.7': { io: require('socket.io-client-1'), isOld: true },
    '2.5': { io: require('socket.io-client-2'), isOld: true },
    '3.1': { io: require('socket.io-client-3').io },
    '4.8': { io: require('socket.io-client').io },
};
export const transports = {
    polling: ['polling'],
    websocket: ['websocket'],
    upgrade: ['polling', 'websocket'],
};

export const rules = `
namespace "/" {
    authenticate required
    on "echo" { ack $args }
    on "back" { emit self "back" $args }
    on "enter" { join "room:$1"; ack true }
    on "tell" { emit to "room:$1" "told" $user, $2, $3; ack $sent }
}`;

/* ---- socket.io-client ---- */

/* Old clients bring their token in the query, those of today in `auth`. */
export function open(t, url, version, token, { namespace = '/', query = {}, ...options } = {}) {
    const { io, isOld } = versions[version];
    const credentials = isOld ? { query: new URLSearchParams({ ...query, ...(token && { token }) }).toString() }
        : { auth: { ...query, ...(token && { token }) } };
    const socket = io(url + namespace, { forceNew: true, reconnection: false, ...credentials, ...options });
    t.after(() => socket.disconnect());
    return socket;
}

export async function connect(t, url, version, token, options) {
    const socket = open(t, url, version, token, options);
    await within(new Promise((resolve, reject) => {
        socket.on('connect', resolve);
        for (const event of ['error', 'connect_error'])
            socket.on(event, (error) => reject(new Error(`${event}: ${inspect(error, { depth: 1 })}`)));
    }), `client ${version} to connect`);
    return socket;
}

export const ask = (socket, ...args) => within(new Promise((resolve) => {
    socket.emit(...args, (...answer) => resolve(answer));
}), `an answer to "${args[0]}"`);

const transportOf = (socket) => socket.io.engine.transport.name;
const bytes = (...list) => Buffer.from(list);
const plain = (value) => JSON.parse(JSON.stringify(value, (_, v) =>
    (v?.type === 'Buffer' || v instanceof ArrayBuffer || ArrayBuffer.isView(v)
        ? [...(v.type ? v.data : new Uint8Array(v.buffer ?? v, v.byteOffset, v.byteLength))] : v)));

/*
 * Clients 1.x encode UTF-8 twice while they poll, and on Node decode it twice, as no server since 2.0 does;
 * they cannot be told from 2.x.  So they stay within ASCII there.
 */
export async function converses(socket, version) {
    const words = version === '1.7' && transportOf(socket) === 'polling' ? 'nothing special' : 'ünï€ 🦀 ';
    const text = ['plain', `${words}\u0000\n"\\`, { deep: [1, 2.5, null, true, {}] }, -7];
    assert.deepEqual(await ask(socket, 'echo', ...text), text);
    const binary = ['x', bytes(0, 1, 254, 255), { in: [bytes(4, 48, 98)] }, words];
    assert.deepEqual(plain(await ask(socket, 'echo', ...binary)), plain(binary));
    const event = next(socket, 'back');
    socket.emit('back', words, bytes(), bytes(7));
    assert.deepEqual(plain(await event), [words, [], [7]]);
    const large = Buffer.alloc(100_000, 'sallyport');
    const [same] = await ask(socket, 'echo', large);
    assert.ok(large.equals(Buffer.from(same)));
}

/* What `suite` asks of a client, whatever it is written in; it is connected. */
async function scripted(t, site, version, way) {
    const ca = site.ca && fs.readFileSync(site.ca);
    const socket = await connect(t, site.url, version, site.token, { transports: transports[way], ca,
        reconnection: true, reconnectionDelay: 20, reconnectionDelayMax: 100 });
    return {
        isAscii: version === '1.7' && way === 'polling',
        converses: async () => {
            if (way === 'upgrade') await until(() => transportOf(socket) === 'websocket', 'the upgrade');
            assert.equal(transportOf(socket), transports[way].at(-1));
            await converses(socket, version);
        },
        enter: async (room) => assert.deepEqual(await ask(socket, 'enter', room), [true]),
        tell: async (...args) => (await ask(socket, 'tell', ...args))[0],
        told: () => next(socket, 'told').then(plain),
        parted: () => next(socket, 'disconnect'),
        triedInVain: () => next(socket.io, 'reconnect_error'),
        cameBack: () => next(socket, 'connect'),
        leave: () => socket.disconnect(),
    };
}

/* ---- python3-socketio ---- */

/* client.py as a process; it says what it does, a line each. */
export function python(t, site, way) {
    const running = start(null, '/usr/bin/python3', ['-u', path.join(tree, 'tests/clients/client.py'), site.url,
        transports[way].join()], { stdio: ['pipe', 'pipe', 'pipe'],
        env: { ...process.env, TOKEN: site.token, CA: site.ca ?? '' } });
    running.leave = async () => {
        running.child.stdin.end();
        assert.deepEqual(await within(running.exited, 'python to end'), { code: 0, signal: null }, running.output());
    };
    t.after(running.leave);
    return running;
}

async function pythonic(t, site, _, way) {
    const running = python(t, site, way);
    const line = async (pattern) => (await running.logged(pattern, { from: running.lines.length }))[1];
    const order = (words, pattern) => {
        const answer = line(pattern);
        running.child.stdin.write(`${JSON.stringify(words)}\n`);
        return answer;
    };

    await running.logged(/^connected$/);
    return {
        isAscii: false,
        converses: () => order(['converse'], new RegExp(`^conversed by ${transports[way].at(-1)}$`)),
        enter: (room) => order(['enter', room], /^entered$/),
        tell: async (room, { b }, words) => Number(await order(['tell', room, [...b], words], /^sent (\d+)$/)),
        told: async () => JSON.parse(await line(/^told (.*)$/)),
        parted: () => line(/^parted$/),
        triedInVain: () => line(/^in vain$/),
        cameBack: () => line(/^connected$/),
        leave: running.leave,
    };
}

/* ---- all of them ---- */

const makers = [...Object.keys(versions).map((version) => [`client ${version}`, scripted, version]), ['python3-socketio', pythonic]];

async function everyoneSpeaks(crowd, room, words) {
    for (const speaker of crowd) {
        const heard = crowd.filter((member) => member !== speaker).map((member) => member.told().catch((error) =>
            assert.fail(`${member.name} did not hear ${speaker.name}: ${error.message}`)));
        assert.equal(await speaker.tell(room, { b: bytes(9, 8, 4) }, words), crowd.length - 1);
        for (const args of await Promise.all(heard)) assert.deepEqual(args, ['ann', { b: [9, 8, 4] }, words]);
    }
}

/*
 * Everybody in one crowd.  `begin(t)` gives the instance as `sp`, with these rules and no limits in
 * the way; its `sites` ({name, url, token, ways, ca}), by each of which all come, by each transport
 * or by `ways`; and `whileDown()`, which is called when the gateway is not there.
 */
export function suite(title, begin) {
    test(`${title}: every stock client`, { concurrency: true }, async (t) => {
        const { sp, sites, whileDown } = await begin(t);
        const crowd = await Promise.all(sites.flatMap((site) => makers.flatMap(([name, make, version]) =>
            (site.ways ?? Object.keys(transports)).map(async (way) =>
                ({ name: `${name} by ${way}${site.name}`, ...await make(t, site, version, way) })))));
        const wide = crowd.filter(({ isAscii }) => !isAscii);
        const each = (what, action) => Promise.all(crowd.map((member) => t.test(`${member.name} ${what}`, () => action(member))));
        const settle = async (member) => {
            await member.converses();
            await member.enter('all');
            if (!member.isAscii) await member.enter('wide');
        };

        await each('talks, text and binary, is answered and joins', settle);
        await t.test('each hears every other, binary included', async () => {
            await everyoneSpeaks(crowd, 'all', 'plain');
            await everyoneSpeaks(wide, 'wide', 'grüße €🦀');
        });

        const parted = Promise.all(crowd.flatMap((member) => [member.parted(), member.triedInVain()]));
        await sp.gateway.stop();
        await parted;
        await whileDown();
        for (const member of crowd) member.returned = member.cameBack();
        await sp.startGateway();
        await each('comes back by itself to the next gateway', async (member) => {
            await member.returned;
            await settle(member);
        });
        await t.test('and all of them hear each other again', () => everyoneSpeaks(crowd, 'all', 'again'));
        await Promise.all(crowd.map((member) => member.leave())); /* before the servers, or those wait for them */
    });
}
