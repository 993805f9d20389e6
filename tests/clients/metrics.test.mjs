/* What the gateway says of itself: /healthz, /readyz, /metrics. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { instance, request, tree, until } from '../lib.mjs';

const rules = 'namespace "/" { authenticate required; on "say" { emit all; ack true } }';

/* name{labels} → number, and every line of the text is of the format. */
function read(text) {
    const values = new Map();

    for (const line of text.trimEnd().split('\n')) {
        if (/^# (HELP sallyport_\w+ .+|TYPE sallyport_\w+ (counter|gauge|summary))$/.test(line)) continue;
        const found = /^(sallyport_\w+(?:\{\w+="[^"]+"\})?) (\d+(?:\.\d+)?)$/.exec(line);
        assert.ok(found, `no line of the format: ${line}`);
        assert.ok(!values.has(found[1]), `${found[1]} stands twice`);
        values.set(found[1], Number(found[2]));
    }
    return values;
}

test('metrics are closed until they are opened', async (t) => {
    const sp = await instance(t, { rules, login: false });

    assert.equal((await request(`${sp.url}/metrics`)).status, 404);
    assert.equal((await request(`${sp.url}/healthz`)).status, 200);
    assert.equal((await request(`${sp.url}/healthz`, { method: 'POST' })).status, 405);
});

test('metrics count what happens, on all workers together', async (t) => {
    const sp = await instance(t, { rules, login: false, users: { ann: {} },
        settings: { 'gateway.metrics': true, 'gateway.workers': 4 } });
    const metrics = async () => {
        const answer = await request(`${sp.url}/metrics`);

        assert.equal(answer.status, 200);
        assert.match(answer.headers['content-type'], /^text\/plain; version=0\.0\.4/);
        return read(answer.body.toString());
    };
    const before = await metrics();
    const clients = [];

    for (let i = 0; i < 5; i++) clients.push(await sp.connected({ token: sp.token('ann') }));
    for (const client of clients) await client.emitWithAck('say', 'x');
    assert.equal(await sp.raw('', {}).status(), 101);
    /* A client has read its 101 before the gateway has counted it. */
    let after;
    await until(async () => (after = await metrics()).get('sallyport_sessions{state="websocket"}') === 6,
        'six WebSockets to be counted');

    const grown = (name) => after.get(name) - before.get(name);

    assert.equal(grown('sallyport_connects_total'), 5);
    assert.equal(grown('sallyport_events_total'), 5);
    assert.equal(grown('sallyport_events_relayed_total'), 5);
    assert.ok(grown('sallyport_deliveries_total') >= 25 + 5);
    assert.equal(after.get('sallyport_workers'), 4);
    assert.ok(grown('sallyport_turn_seconds_sum') > 0 && grown('sallyport_turn_seconds_count') > 0);
    for (const client of clients) client.disconnect();
    await until(async () => (await metrics()).get('sallyport_closed_total{reason="client_closed"}') >= 5,
        'the ends to be counted');
    await until(async () => (await metrics()).get('sallyport_queued_bytes') === 0, 'nothing to wait');
});

test('what becomes of an event is counted, also of those that nobody waits for', async (t) => {
    const sp = await instance(t, { login: false, settings: { 'gateway.metrics': true }, rules: `namespace "/" { authenticate none
        on "good" { ack true } on "never" { deny "no" } on "text" { require string $1 } on "once" { limit 1 per 1h } }` });
    const client = await sp.connected();
    for (const event of [['nobody'], ['nobody'], ['connection'], ['never'], ['text', 1], ['once'], ['once'], ['once']]) client.emit(...event);
    await client.emitWithAck('good');
    const counted = read((await request(`${sp.url}/metrics`)).body.toString());
    const of = (what) => counted.get(`sallyport_events_${what}_total`);
    assert.deepEqual(['without_rule', 'denied', 'bad_argument', 'limited', 'relayed'].map(of), [3, 1, 1, 2, 2]);
});

test('a message to a room costs one packet for each other worker that holds it, however many are in it', async (t) => {
    const sp = await instance(t, { login: false, settings: { 'gateway.metrics': true, 'gateway.workers': 4, 'gateway.limits.per_address': 0 },
        rules: 'namespace "/" { authenticate none; on "say" { emit all; ack true }; on "hall" { join "hall"; ack true }; on "in" { emit in "hall"; ack $sent } }' });
    const counted = async (name) => read((await request(`${sp.url}/metrics`)).body.toString()).get(`sallyport_${name}_total`);
    const clients = [];

    /* Until all four workers have somebody: then a message to everybody is posted three times. */
    await until(async () => {
        clients.push(...await Promise.all(Array.from({ length: 10 }, () => sp.connected()))); /* one by one they may all be one worker's */
        const before = await counted('posted');
        await clients[0].emitWithAck('say');
        return await counted('posted') - before === 3;
    }, 'clients on every worker');
    for (const client of clients) await client.emitWithAck('hall');
    const before = [await counted('posted'), await counted('deliveries')];
    for (let i = 0; i < 100; i++) assert.equal(await clients[i % clients.length].emitWithAck('in', i), clients.length);
    await until(async () => await counted('deliveries') - before[1] >= 100 * clients.length, 'all to be delivered');
    assert.equal(await counted('posted') - before[0], 300);
});

test('a full house is alive, but not ready', async (t) => {
    const sp = await instance(t, { rules, login: false, settings: { 'gateway.limits.connections': 1 } });

    assert.equal((await request(`${sp.url}/readyz`)).status, 200);
    const only = sp.raw();
    assert.equal(await only.status(), 101);
    assert.equal((await request(`${sp.url}/readyz`)).status, 503);
    assert.equal((await request(`${sp.url}/healthz`)).status, 200);
    only.ws.close();
    await only.closed();
    await until(async () => (await request(`${sp.url}/readyz`)).status === 200, 'room again');
});

test('the dashboard asks only for what is served', async (t) => {
    const sp = await instance(t, { rules, login: false, settings: { 'gateway.metrics': true } });
    const served = new Set([...read((await request(`${sp.url}/metrics`)).body.toString()).keys()]
        .map((name) => name.replace(/\{.*/, '')));
    const dashboard = fs.readFileSync(path.join(tree, 'deploy/grafana/sallyport-gateway.json'), 'utf8');
    const asked = new Set(dashboard.match(/sallyport_\w+/g));

    JSON.parse(dashboard);
    assert.ok(asked.size > 15);
    assert.deepEqual([...asked].filter((name) => !served.has(name)), []);
});
