/*
 * Every stock client: socket.io-client 1.7, 2.5, 3.1 and 4.8 (python3-socketio has a file of its own) by
 * each transport, and among one another.  1.x and 2.x speak Engine.IO 3.
 */
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import test from 'node:test';
import { instance, misSign, next, until, within } from '../lib.mjs';

const require = createRequire(import.meta.url);
const versions = {
    '1.7': { io: require('socket.io-client-1'), isOld: true },
    '2.5': { io: require('socket.io-client-2'), isOld: true },
    '3.1': { io: require('socket.io-client-3').io },
    '4.8': { io: require('socket.io-client').io },
};
const transports = {
    polling: ['polling'],
    websocket: ['websocket'],
    upgrade: ['polling', 'websocket'],
};

const rules = `
namespace "/" {
    authenticate required
    on "echo" { ack $args }
    on "back" { emit self "back" $args }
    on "enter" { join "room:$1"; ack true }
    on "leave" { leave "room:$1"; ack true }
    on "tell" { emit to "room:$1" "told" $user, $2, $3; ack $sent }
}
namespace "/other" {
    authenticate required
    on "who" { ack $user, $auth }
}
namespace "/open" { authenticate none; on "auth" { ack $auth } }`;

/* Old clients bring their token in the query, those of today in `auth`. */
function open(t, sp, version, token, { namespace = '/', query = {}, ...options } = {}) {
    const { io, isOld } = versions[version];
    const credentials = isOld ? { query: new URLSearchParams({ ...query, ...(token && { token }) }).toString() }
        : { auth: { ...query, ...(token && { token }) } };
    const socket = io(sp.url + namespace, { forceNew: true, reconnection: false, ...credentials, ...options });
    t.after(() => socket.disconnect());
    return socket;
}

async function connect(t, sp, version, options) {
    const socket = open(t, sp, version, sp.token(), options);
    await within(new Promise((resolve, reject) => {
        socket.on('connect', resolve);
        for (const event of ['error', 'connect_error'])
            socket.on(event, (error) => reject(new Error(`${event}: ${JSON.stringify(error)} ${error}`)));
    }), `client ${version} to connect`);
    return socket;
}

const ask = (socket, ...args) => within(new Promise((resolve) => {
    socket.emit(...args, (...answer) => resolve(answer));
}), `an answer to "${args[0]}"`);

const engine = (socket) => socket.io.engine;
const bytes = (...list) => Buffer.from(list);
const plain = (value) => JSON.parse(JSON.stringify(value, (_, v) =>
    (v?.type === 'Buffer' || v instanceof ArrayBuffer || ArrayBuffer.isView(v)
        ? [...(v.type ? v.data : new Uint8Array(v.buffer ?? v, v.byteOffset, v.byteLength))] : v)));

/*
 * Clients 1.x encode UTF-8 twice while they poll, and on Node decode it twice, as no server since 2.0 does;
 * they cannot be told from 2.x.  So they stay within ASCII there.
 */
const encodesTwice = (socket, version) => version === '1.7' && engine(socket).transport.name === 'polling';

async function converses(socket, version) {
    const words = encodesTwice(socket, version) ? 'nothing special' : 'ünï€ 🦀 ';
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

for (const version of Object.keys(versions)) {
    for (const [way, list] of Object.entries(transports)) {
        test(`client ${version} by ${way}: text and binary both ways, acks, joins`, async (t) => {
            const sp = await instance(t, { rules, login: false, settings: { 'gateway.workers': 4 } });
            const socket = await connect(t, sp, version, { transports: list });
            const second = await connect(t, sp, version, { transports: list });

            if (way === 'upgrade') await until(() => engine(socket).transport.name === 'websocket', 'the upgrade');
            assert.equal(engine(socket).transport.name, way === 'polling' ? 'polling' : 'websocket');
            await converses(socket, version);
            await ask(second, 'enter', 'blue');
            const told = next(second, 'told');
            assert.deepEqual(await ask(socket, 'tell', 'blue', bytes(1, 2), 'x'), [1]);
            assert.deepEqual(plain(await told), ['ann', [1, 2], 'x']);
        });

        test(`client ${version} by ${way} comes back by itself to the next gateway`, async (t) => {
            const sp = await instance(t, { rules, login: false });
            const socket = await connect(t, sp, version, { transports: list, reconnection: true,
                reconnectionDelay: 20, reconnectionDelayMax: 50 });
            socket.removeAllListeners?.('error').removeAllListeners?.('connect_error');

            const parted = next(socket, 'disconnect');
            await sp.gateway.stop();
            await parted;
            const back = next(socket, 'connect');
            await sp.startGateway();
            await back;
            await converses(socket, version);
        });
    }

    test(`client ${version} uses base64 where it is told to`, async (t) => {
        const sp = await instance(t, { rules, login: false });
        for (const list of Object.values(transports))
            await converses(await connect(t, sp, version, { transports: list, forceBase64: true }), version);
    });

    test(`client ${version} stays through many heartbeats`, async (t) => {
        const sp = await instance(t, { rules, login: false,
            settings: { 'gateway.ping_interval': '40ms', 'gateway.ping_timeout': '2s' } });
        const sockets = await Promise.all(Object.values(transports).map((list) => connect(t, sp, version, { transports: list })));
        let lost = 0;

        for (const socket of sockets) socket.on('disconnect', () => { lost++; });
        await new Promise((resolve) => setTimeout(resolve, 500));
        for (const socket of sockets) assert.deepEqual(await ask(socket, 'echo', 1), [1]);
        assert.equal(lost, 0);
    });

    test(`client ${version} is refused in socketio-jwt's words`, async (t) => {
        const sp = await instance(t, { rules, login: false });
        const { isOld } = versions[version];
        for (const [token, code, message] of [[undefined, 'credentials_required', 'no token provided'],
            [misSign(sp.token()), 'invalid_token', 'invalid signature']]) {
            const socket = open(t, sp, version, token);
            const [error] = await next(socket, isOld ? 'error' : 'connect_error');
            const data = { message, code, type: 'UnauthorizedError' };
            assert.deepEqual(isOld ? error : error.data, data);
            if (!isOld) assert.equal(error.message, message);
        }
    });

    test(`client ${version} brings its token to a namespace`, async (t) => {
        const sp = await instance(t, { rules, login: false });
        const a = version === '1.7' ? 'b c&d=e' : 'b c&d=é'; /* 1.7 reads UTF-8 twice while it polls */
        const socket = await connect(t, sp, version, { namespace: '/other', query: { a } });
        assert.deepEqual(await ask(socket, 'who'), ['ann', { a }]);
        const guest = open(t, sp, version, undefined, { namespace: '/open', query: { token: 'mine' } });
        assert.deepEqual(await ask(guest, 'auth'), [{ token: 'mine' }]);
        const lost = open(t, sp, version, undefined, { namespace: '/nowhere' });
        const refused = within(new Promise((resolve) => {
            lost.on(versions[version].isOld ? 'error' : 'connect_error', (error) => {
                if ((error.message ?? error) === 'Invalid namespace') resolve();
            });
        }), 'the refusal');
        await refused;
    });
}

for (const version of ['3.1', '4.8'])
    test(`client ${version} hears why it is refused, also in the midst of its upgrade`, async (t) => {
        const sp = await instance(t, { rules, login: false, settings: { 'gateway.workers': 4 } });
        const token = misSign(sp.token());
        for (let i = 0; i < 10; i++)
            await Promise.all(Array.from({ length: 10 }, async () => {
                const socket = open(t, sp, version, token);
                assert.equal((await next(socket, 'connect_error'))[0].message, 'invalid signature');
                socket.disconnect();
            }));
    });

test('an Engine.IO 3 client that was refused keeps its transport, one of Engine.IO 4 does not', async (t) => {
    const sp = await instance(t, { rules, login: false });
    const old = open(t, sp, '2.5', undefined, { transports: ['websocket'] });
    await next(old, 'error');
    const other = old.io.socket('/other', { query: `token=${sp.token()}` });
    t.after(() => other.disconnect());
    assert.deepEqual(await ask(other, 'who'), ['ann', {}]);
});

test('clients of all versions hear each other, by all transports, binary included', async (t) => {
    const sp = await instance(t, { rules, login: false, settings: { 'gateway.workers': 4 } });
    const crowd = [];
    const names = new Map();
    for (const version of Object.keys(versions))
        for (const [way, list] of Object.entries(transports)) {
            crowd.push(await connect(t, sp, version, { transports: list }));
            names.set(crowd.at(-1), `${version} by ${way}`);
        }
    for (const [i, socket] of crowd.entries())
        if (i % 3 === 2) await until(() => engine(socket).transport.name === 'websocket', 'the upgrade');
    for (const socket of crowd) await ask(socket, 'enter', 'all');

    const allSpeak = async (members, words) => {
        for (const speaker of members) {
            const heard = members.filter((socket) => socket !== speaker).map((socket) => next(socket, 'told').catch((error) =>
                assert.fail(`${names.get(socket)} did not hear ${names.get(speaker)}: ${error.message}`)));
            assert.deepEqual(await ask(speaker, 'tell', 'all', { b: bytes(9, 8, 4) }, words), [members.length - 1]);
            for (const args of await Promise.all(heard)) assert.deepEqual(plain(args), ['ann', { b: [9, 8, 4] }, words]);
        }
    };
    await allSpeak(crowd, 'plain');
    await ask(crowd[0], 'leave', 'all'); /* 1.7 which polls */
    await allSpeak(crowd.slice(1), 'grüße €');
});

test('gateway.eio3 = false: old clients are told that their protocol is not served', async (t) => {
    const sp = await instance(t, { rules, login: false, settings: { 'gateway.eio3': false } });
    const answer = await fetch(`${sp.url}/socket.io/?EIO=3&transport=polling`);
    assert.equal(answer.status, 400);
    assert.deepEqual(await answer.json(), { code: 5, message: 'Unsupported protocol version' });
    await connect(t, sp, '4.8');
});
