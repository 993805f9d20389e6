/* Everybody receives everything: complete, in each sender's order, once. */
import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import path from 'node:path';
import test from 'node:test';
import { instance, tree, within } from '../lib.mjs';

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
