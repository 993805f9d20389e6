/* Everybody receives everything: complete, in each sender's order, once. */
import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import path from 'node:path';
import test from 'node:test';
import { instance, next, tree, until, within } from '../lib.mjs';
import { open, versions } from './stock.mjs';

const rules = `
namespace "/" {
    authenticate none
    on "say" { emit all }
    on "sync" { ack true }
}`;
const settings = { 'gateway.workers': 4, 'gateway.limits.events_per_second': 0, 'gateway.limits.per_address': 0,
    'gateway.limits.queued_bytes': 0 };

/* The next message of a child; its end is an error. */
function told(child, ms = 120_000) {
    return within(new Promise((resolve, reject) => {
        child.once('message', resolve);
        child.once('exit', (code) => reject(new Error(`a crowd ended with ${code}`)));
    }), 'a crowd', ms);
}

test('4 workers, 200 sockets, 20 senders, 500 events each', async (t) => {
    const processes = 4, sockets = 50, senders = 5, events = 500;
    const sp = await instance(t, { rules, settings, login: false });
    const url = `${sp.url.replace('http', 'ws')}/socket.io/?EIO=4&transport=websocket`;
    const crowds = Array.from({ length: processes }, (_, i) => fork(path.join(tree, 'tests/clients/crowd.mjs'),
        [JSON.stringify({ url, first: i * sockets, sockets, senders, events, expected: processes * senders * events })],
        { execArgv: [] }));
    t.after(() => crowds.forEach((crowd) => crowd.kill('SIGKILL')));

    for (const word of ['connected', 'received']) {
        const words = crowds.map((crowd) => told(crowd));
        if (word === 'received') crowds.forEach((crowd) => crowd.send('send'));
        assert.deepEqual(await Promise.all(words), crowds.map(() => word));
    }
    const verdicts = crowds.map((crowd) => told(crowd));
    crowds.forEach((crowd) => crowd.send('finish'));
    assert.deepEqual(await Promise.all(verdicts), crowds.map(() => []));
});

test('the same with the real client, 16 of them', async (t) => {
    const n = 16, senders = 4, events = 100;
    const sp = await instance(t, { rules, settings, login: false });
    const clients = await Promise.all(Array.from({ length: n }, () => sp.connected()));
    for (const client of clients) {
        client.got = Array.from({ length: senders }, () => []);
        client.on('say', (sender, event) => client.got[sender].push(event));
    }

    for (let event = 0; event < events; event++) {
        for (let sender = 0; sender < senders; sender++) clients[sender].emit('say', sender, event);
        if (event % 10 === 0) await new Promise(setImmediate);
    }
    await Promise.all(clients.slice(0, senders).map((client) => client.emitWithAck('sync')));
    await Promise.all(clients.map((client) => client.emitWithAck('sync')));
    const all = Array.from({ length: events }, (_, event) => event);
    clients.forEach((client, i) => client.got.forEach((got, sender) =>
        assert.deepEqual(got, all, `what client ${i} has of sender ${sender}`)));
});

/* They say something all the while, from the first word by polling on, until all of them have a WebSocket. */
test('while clients of all versions change to their WebSocket nothing is lost, doubled or out of order', async (t) => {
    const sp = await instance(t, { rules, settings, login: false });
    const names = [...Object.keys(versions), ...Object.keys(versions), '4.8', '4.8'];
    const clients = names.map((version) => open(t, sp.url, version, undefined, { transports: ['polling', 'websocket'] }));
    const transportOf = (client) => client.io.engine.transport.name;
    let isOver = false, polled = 0; /* those who had not changed when they began: some are quick */
    t.after(() => { isOver = true; });
    const speaks = async (client, sender) => {
        await next(client, 'connect');
        polled += transportOf(client) === 'polling';
        for (let event = 0; !isOver; event++) {
            client.emit('say', sender, event);
            await new Promise((resolve) => setTimeout(resolve, 2));
        }
        await within(new Promise((resolve) => client.emit('sync', resolve)), 'an answer');
    };

    for (const client of clients) {
        client.got = clients.map(() => []);
        client.on('say', (sender, event) => client.got[sender].push(event));
    }
    const spoken = Promise.all(clients.map(speaks));
    await Promise.race([spoken, until(() => clients.every((client) => transportOf(client) === 'websocket'), 'all to have changed')]);
    isOver = true;
    await spoken;
    assert.ok(polled > 0, 'somebody speaks by polling first');
    await Promise.all(clients.map((client) => within(new Promise((resolve) => client.emit('sync', resolve)), 'an answer')));
    clients.forEach((client, i) => client.got.forEach((got, sender) => {
        assert.equal(got.at(-1), clients[0].got[sender].at(-1), `the end of what ${names[i]} has of ${names[sender]}`);
        assert.deepEqual(got, Array.from(got, (_, n) => got[0] + n), `what ${names[i]} has of ${names[sender]}`);
        if (i === sender) assert.equal(got[0], 0);
    }));
});

test('who was told of an answer finds that everybody else was told before', async (t) => {
    const sp = await instance(t, { rules, settings, login: false });
    const clients = await Promise.all(Array.from({ length: 12 }, () => sp.connected()));

    const heard = clients.map(() => 0);
    clients.forEach((client, i) => client.on('say', () => { heard[i]++; }));
    for (let round = 1; round <= 20; round++) {
        await new Promise((resolve) => clients[round % 12].emit('say', round, 0, resolve));
        await Promise.all(clients.map((client) => client.emitWithAck('sync')));
        assert.deepEqual(heard, clients.map(() => round));
    }
});

/* A socket without the client's library: what it heard and what is due, as packets. */
async function plain(sp) {
    const { ws, status, send } = sp.raw();
    const client = { ws, send, heard: [], due: [], rooms: new Set() };
    ws.on('message', (data) => client.heard.push(data.toString()));
    await status();
    send('40');
    await until(() => client.heard.length === 2, 'a CONNECT reply');
    client.id = JSON.parse(client.heard[1].slice(2)).sid;
    client.heard = [];
    return client;
}

/* What comes in one read is gathered for a room's members (gateway/batch.h); nobody may notice. */
test('what one client says to rooms, to some and to itself comes in this order to everybody', async (t) => {
    const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31));
    const sp = await instance(t, { login: false, settings: { ...settings, 'gateway.workers': 1 }, rules: `namespace "/" {
        authenticate none
        on "join"   { join "r:$1" }
        on "leave"  { leave "r:$1" }
        on "in"     { emit in "r:$1" "m" $2; ack $2 }
        on "to"     { emit to "r:$1" "m" $2 }
        on "others" { emit others "m" $2; emit self "m" $2 }
        on "all"    { emit volatile all "m" $2 }
        on "id"     { emit in "id:$1" "m" $2 }
        when disconnecting { emit others "m" "bye" }
    }` });
    let state = seed;
    const below = (limit) => Math.floor((state = (state * 1103515245 + 12345) % 2 ** 31) / 65536) % limit;
    const clients = [];
    for (let i = 0; i < 90; i++) clients.push(await plain(sp)); /* more than are served one by one */
    const [speaker] = clients;
    const message = (value) => `42${JSON.stringify(['m', value])}`;
    const members = (room) => clients.filter((client) => client.rooms.has(room));
    const move = (client, room) => {
        client.send(`42${JSON.stringify([client.rooms.has(room) ? 'leave' : 'join', room])}`);
        if (!client.rooms.delete(room)) client.rooms.add(room);
    };
    const receivers = { in: members, all: () => clients, others: () => clients,
        to: (room) => members(room).filter((client) => client !== speaker),
        id: (id) => clients.filter((client) => client.id === id) };
    const say = (event, to, value) => {
        const ack = event === 'in' ? value.length : '';
        speaker.send(`42${ack}${JSON.stringify([event, to, value])}`);
        for (const client of receivers[event](to)) client.due.push(message(value));
        if (event === 'in') speaker.due.push(`43${ack}${JSON.stringify([value])}`);
    };
    const at_once = (act) => {
        speaker.ws._socket.cork();
        act();
        speaker.ws._socket.uncork();
    };
    const heard = (what) => until(() => clients.every(({ heard, due }) => heard.length >= due.length), `${what}, seed ${seed}`);

    for (const [i, client] of clients.entries()) for (const room of ['a', 'b'].slice(i % 2)) move(client, room);
    for (const client of clients) { /* each after its own joins */
        client.send('420["in","none",0]');
        client.due.push('430[0]');
    }
    await heard('the joins');
    for (let burst = 0; burst < 12; burst++) {
        const mix = [['in'], ['in', 'id'], ['in', 'in', 'to', 'others'], ['in', 'in', 'to', 'others', 'all', 'id', 'move']][burst % 4];
        at_once(() => {
            for (let i = 0; i < 400; i++) {
                const what = mix[below(mix.length)], room = mix.length > 2 ? 'ab'[below(2)] : 'a';
                if (what === 'move') move(speaker, room);
                else say(what, what === 'id' ? clients[below(90)].id : room, `${burst} ${i} ${'x'.repeat(below(9) ? 9 : 2000)}`);
            }
        });
        await heard(`burst ${burst}`);
    }
    for (const [i, client] of clients.entries()) assert.deepEqual(client.heard, client.due, `client ${i}, seed ${seed}`);
    at_once(() => {
        say('all', '', 'last words');
        speaker.send('41');
    });
    for (const client of clients.slice(1)) client.due.push(message('bye'));
    await heard('the last words');
    for (const [i, client] of clients.entries()) assert.deepEqual(client.heard, client.due, `client ${i}, seed ${seed}`);
});
