/* One floor below the client: packets that no client sends, heartbeats, and the end of a gateway. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { instance, next } from '../lib.mjs';

const rules = `
namespace "/" {
    authenticate none
    on "sync" { ack true }
    on "all" { emit all }
}`;

async function connectRaw(sp) {
    const raw = sp.raw();
    const open = await raw.receive();
    assert.match(open, /^0\{/);
    raw.send('40');
    assert.match(await raw.receive(), /^40\{"sid":"[^"]+"\}$/);
    return { ...raw, open: JSON.parse(open.slice(1)) };
}

const malformed = {
    'no JSON in CONNECT': '40/other,{', 'text after a CONNECT': '40abc',
    'an object for an event': '42{}', 'letters before the array': '42abc["x"]',
    'no payload': '42', 'an empty array': '42[]', 'an object for a name': '42[{}]',
    'an array that does not end': '42["x"', 'bytes after the array': '42["x"]x',
    'an unknown packet type': '49', 'an unknown transport packet': '9', 'an empty message': '',
    'no Socket.IO packet': '4', 'a namespace it is not in': '42/other,["x"]',
    'a second CONNECT': '40', 'a CONNECT_ERROR': '44{"message":"x"}',
    'a bad number of attachments': '45x-["x"]', 'no attachment': '450-["x"]',
    'too many attachments': '4511-["x"]', 'text where an attachment is due': ['451-["x",{"_placeholder":true,"num":0}]', '42["sync"]'],
    'an attachment that nobody announced': Buffer.from('x'),
    'placeholders that do not match': ['451-["x",{"_placeholder":true,"num":1}]', Buffer.from('x')],
    'invalid UTF-8 in a string': { text: Buffer.from('42["\xff"]', 'latin1') },
};
for (const name of ['connect', 'connect_error', 'disconnect', 'disconnecting', 'newListener', 'removeListener'])
    malformed[`the reserved event ${name}`] = `42[${JSON.stringify(name)},1]`;
malformed['a reserved event in disguise'] = '42["\\u0063onnect"]';

test('a malformed packet ends the transport, and nobody else hears of it', async (t) => {
    const sp = await instance(t, { rules, login: false, settings: { 'gateway.limits.per_address': 0 } });
    const witness = await connectRaw(sp);

    for (const [name, messages] of Object.entries(malformed)) {
        const raw = await connectRaw(sp);
        for (const message of [messages].flat()) {
            if (message.text) raw.ws.send(message.text, { binary: false });
            else raw.send(message);
        }
        const { code } = await raw.closed().catch((error) => assert.fail(`${name}: ${error.message}`));
        assert.ok([1002, 1003, 1007].includes(code), `${name} was closed with ${code}`);
    }
    witness.send('420["sync"]');
    assert.equal(await witness.receive(), '430[true]');
});

test('an event before CONNECT ends the transport', async (t) => {
    const sp = await instance(t, { rules, login: false });
    const raw = sp.raw();
    raw.ws.once('open', () => raw.send('42["sync"]'));
    await raw.closed();
});

test('an unknown namespace is refused, with and without its comma', async (t) => {
    const sp = await instance(t, { rules, login: false });
    const raw = await connectRaw(sp);

    raw.send('40/random');
    assert.equal(await raw.receive(), '44/random,{"message":"Invalid namespace"}');
    raw.send('40/random,{"a":1}');
    assert.equal(await raw.receive(), '44/random,{"message":"Invalid namespace"}');
    raw.send('427["sync"]');
    assert.equal(await raw.receive(), '437[true]');
});

test('a client that answers pings stays', async (t) => {
    const sp = await instance(t, { rules, login: false,
        settings: { 'gateway.ping_interval': '50ms', 'gateway.ping_timeout': '3s' } });
    const client = await sp.connected();

    for (let pings = 0; pings < 10; pings++) await next(client.io, 'ping');
    assert.equal(await client.emitWithAck('sync'), true);
});

test('one that does not is closed, and it was told the terms', async (t) => {
    const sp = await instance(t, { rules, login: false,
        settings: { 'gateway.ping_interval': '50ms', 'gateway.ping_timeout': '150ms', 'gateway.limits.max_payload': 5000 } });
    const raw = await connectRaw(sp);

    assert.equal(raw.open.pingInterval, 50);
    assert.equal(raw.open.pingTimeout, 150);
    assert.equal(raw.open.maxPayload, 5000);
    assert.deepEqual(raw.open.upgrades, []);
    assert.equal(await raw.receive(), '2');
    assert.equal(await raw.receive(), null);
    await sp.gateway.logged(/ping timeout/);
});

test('a client that never connects to a namespace is closed', async (t) => {
    const sp = await instance(t, { rules, login: false, settings: { 'gateway.connect_timeout': '100ms' } });
    await sp.raw().closed();
});

test('a message longer than max_payload is answered with 1009', async (t) => {
    const sp = await instance(t, { rules, login: false, settings: { 'gateway.limits.max_payload': 5000 } });
    const raw = await connectRaw(sp);

    raw.send(`42["all","${'x'.repeat(4900)}"]`);
    assert.equal((await raw.receive()).length, '42["all",""]'.length + 4900);
    raw.send(`42["all","${'x'.repeat(5000)}"]`);
    assert.equal((await raw.closed()).code, 1009);
});

test('SIGTERM closes every socket with 1001, and the same clients come back to the next gateway', async (t) => {
    const sp = await instance(t, { rules, login: false, settings: { 'gateway.workers': 4 } });
    const raws = await Promise.all(Array.from({ length: 20 }, () => connectRaw(sp)));
    const client = await sp.connected({ reconnection: true, reconnectionDelay: 20, reconnectionDelayMax: 50 });
    const first = client.id;

    const parted = next(client, 'disconnect');
    await sp.gateway.stop();
    for (const raw of raws) assert.equal((await raw.closed()).code, 1001);
    assert.equal((await parted)[0], 'transport close');

    const back = next(client, 'connect');
    await sp.startGateway();
    await back;
    assert.notEqual(client.id, first);
    assert.equal(await client.emitWithAck('sync'), true);
});
