/* The limits of gateway.limits: what is too much is refused, and what is not goes on. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { instance, next, until } from '../lib.mjs';

const rules = 'namespace "/" { authenticate required; on "sync" { ack true } }';

test('per_address counts connections of one address, as the proxy in front tells it', async (t) => {
    const sp = await instance(t, { rules, login: false,
        settings: { 'gateway.limits.per_address': 3, 'gateway.workers': 4 } });
    const forwarded = (address) => ({ headers: { 'x-forwarded-for': address } });
    const here = [sp.raw(), sp.raw(), sp.raw()];

    for (const raw of here) assert.equal(await raw.status(), 101);
    assert.equal(await sp.raw().status(), 403);
    assert.equal(await sp.raw('', forwarded('192.0.2.1')).status(), 101);
    assert.equal(await sp.raw('', forwarded('192.0.2.1, 127.0.0.1')).status(), 101);
    assert.equal(await sp.raw('', forwarded('203.0.113.9, 192.0.2.1')).status(), 101, 'the rightmost hop counts');
    assert.equal(await sp.raw('', forwarded('203.0.113.8, 192.0.2.1')).status(), 403);

    here[0].ws.close();
    await here[0].closed();
    await until(async () => await sp.raw().status() === 101, 'room for one more');
    assert.equal(await sp.raw().status(), 403);
});

test('per_user counts the sockets of one user', async (t) => {
    const sp = await instance(t, { rules, login: false, users: { ann: {}, bob: {} },
        settings: { 'gateway.limits.per_user': 2, 'gateway.workers': 4 } });
    const token = sp.token('ann');
    const first = await sp.connected({ token });
    await sp.connected({ token });

    const [error] = await next(sp.client({ token }), 'connect_error');
    assert.match(error.message, /too many/);
    await sp.connected({ token: sp.token('bob') });
    first.disconnect();
    await until(() => sp.connected({ token }).then(() => true, () => false), 'room for one more');
});

test('events_per_second answers the rest with "limited"', async (t) => {
    const sp = await instance(t, { rules, login: false, settings: { 'gateway.limits.events_per_second': 10 } });
    const client = await sp.connected({ token: sp.token() });
    const other = await sp.connected({ token: sp.token() });

    const answers = await Promise.all(Array.from({ length: 40 }, () => client.emitWithAck('sync')));
    const good = answers.filter((answer) => answer === true).length;
    const limited = answers.filter((answer) => answer?.error === 'limited').length;
    assert.equal(good + limited, 40, JSON.stringify(answers));
    assert.ok(good >= 10 && good < 20, `${good} of 40 at once went through`);
    assert.equal(await other.emitWithAck('sync'), true, 'another client has its own measure');
    assert.equal(client.connected, true);
    await until(async () => await client.emitWithAck('sync') === true, 'the measure to fill again');
});

test('0 lifts a limit', async (t) => {
    const sp = await instance(t, { rules, login: false, settings: { 'gateway.limits.per_user': 0,
        'gateway.limits.per_address': 0, 'gateway.limits.events_per_second': 0 } });
    const token = sp.token();
    const clients = await Promise.all(Array.from({ length: 210 }, () => sp.connected({ token })));

    const answers = await Promise.all(Array.from({ length: 300 }, () => clients[0].emitWithAck('sync')));
    assert.ok(answers.every((answer) => answer === true));
});
