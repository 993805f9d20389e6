/* What is revoked ends at once, on every worker, and does not come back. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { instance, must, next, program, until } from '../lib.mjs';

const rules = 'namespace "/" { authenticate required; on "sync" { ack true } } namespace "/optional" { authenticate optional }';
const started = (t, settings = {}) => instance(t, { rules, login: false, users: { ann: {}, bob: {} },
    settings: { 'gateway.workers': 4, ...settings } });
const refusal = async (sp, token, namespace) => (await next(sp.client({ token, namespace }), 'connect_error'))[0];
const jti = (token) => JSON.parse(Buffer.from(token.split('.')[1], 'base64url')).jti;

test('user disable ends all sockets of the user, by whichever transport, and nobody else', async (t) => {
    const sp = await started(t);
    const token = sp.token('ann');
    const anns = [];

    for (let i = 0; i < 12; i++)
        anns.push(await sp.connected({ token, transports: [i % 3 ? 'websocket' : 'polling'] }));
    const bob = await sp.connected({ token: sp.token('bob') });
    const ends = Promise.all(anns.map((ann) => next(ann, 'disconnect')));

    sp.cli('user', 'disable', 'ann');
    const began = Date.now();
    for (const [why] of await ends) assert.equal(why, 'transport close');
    assert.ok(Date.now() - began < 1000, `${Date.now() - began} ms`);
    assert.equal(await bob.emitWithAck('sync'), true);
    assert.equal((await refusal(sp, token)).data.message, 'jwt revoked');
    assert.equal((await refusal(sp, token, '/optional')).data.message, 'jwt revoked');

    await sp.gateway.stop();
    await sp.startGateway();
    assert.equal((await refusal(sp, token)).data.message, 'jwt revoked', 'also after a restart');
    sp.cli('user', 'enable', 'ann');
    assert.equal((await refusal(sp, token)).data.message, 'jwt revoked', 'what was issued before stays dead');
    await sp.connected({ token: sp.token('ann') });
});

test('session revoke ends one token, and leaves the user the others', async (t) => {
    const sp = await started(t);
    const [one, other] = [sp.token('ann'), sp.token('ann')];
    const ends = await sp.connected({ token: one }), stays = await sp.connected({ token: other });
    const end = next(ends, 'disconnect');

    sp.cli('session', 'revoke', jti(one));
    await end;
    assert.equal(await stays.emitWithAck('sync'), true);
    assert.equal((await refusal(sp, one)).data.message, 'jwt revoked');
});

test('another password ends what the old one opened', async (t) => {
    const sp = await started(t);
    const token = sp.token('ann');
    const socket = await sp.connected({ token });
    const end = next(socket, 'disconnect');

    must(program('sallyport'), ['-c', sp.config, 'user', 'passwd', 'ann', '--password-stdin'], { input: 'another password\n' });
    await end;
    assert.equal((await refusal(sp, token)).data.message, 'jwt revoked');
    await sp.connected({ token: sp.token('ann') });
});

test('session revoke USER ends all of the user, who may log in again', async (t) => {
    const sp = await started(t);
    const tokens = [sp.token('ann'), sp.token('ann')];
    const sockets = [];

    for (const token of tokens) sockets.push(await sp.connected({ token }));
    const ends = sockets.map((socket) => next(socket, 'disconnect'));
    sp.cli('session', 'revoke', 'ann');
    await Promise.all(ends);
    for (const token of tokens) assert.equal((await refusal(sp, token)).data.message, 'jwt revoked');
    await sp.connected({ token: sp.token('ann') });
});

test('who is deleted and made anew has none of the old tokens back, nor after a restart', async (t) => {
    const sp = await started(t);
    const old = sp.token('ann');
    const socket = await sp.connected({ token: old });
    const end = next(socket, 'disconnect');

    sp.cli('user', 'delete', 'ann');
    await end;
    must(program('sallyport'), ['-c', sp.config, 'user', 'add', 'ann', '--password-stdin'], { input: 'correct horse\n' });
    const fresh = await sp.connected({ token: sp.token('ann') });
    for (const restarts of [false, true]) {
        if (restarts) {
            await sp.gateway.stop();
            await sp.startGateway();
        }
        assert.equal((await refusal(sp, old)).data.message, 'jwt revoked');
        const [error] = await next(sp.client({ query: { token: old } }), 'connect_error');
        assert.equal(error.data.message, 'jwt revoked', 'in the handshake too');
    }
    fresh.disconnect();
});

test('a revoked token renews nothing, and what is revoked between handshake and CONNECT does not connect', async (t) => {
    const sp = await started(t);
    const [first, second, third] = [1, 2, 3].map(() => sp.token('ann'));
    const socket = await sp.connected({ token: first });
    const raw = sp.raw(`&token=${third}`);
    await raw.receive();

    sp.cli('session', 'revoke', jti(second));
    sp.cli('session', 'revoke', jti(third));
    assert.equal(await raw.receive(), null, 'closed, although it had not connected yet');
    const unauthorized = next(socket, 'unauthorized');
    socket.emit('authenticate', { token: second });
    assert.equal((await unauthorized)[0].message, 'jwt revoked');
});

test('when the revocations cannot be read: what is known does for a while, then nobody new comes in', async (t) => {
    const sp = await started(t, { 'gateway.revocation_patience': '10m', 'gateway.authenticate_timeout': '100ms' });
    const file = path.join(path.dirname(sp.config), 'revocations.db');
    const token = sp.token('bob');
    const fresh = sp.token('ann');
    const inside = await sp.connected({ token: sp.token('ann') });

    fs.renameSync(file, `${file}.away`);
    fs.writeFileSync(file, 'this is no database, whatever its name says '.repeat(100));
    await sp.connected({ token });
    fs.writeFileSync(sp.config, fs.readFileSync(sp.config, 'utf8').replace('"10m"', '"1s"')); /* its end comes when we say so */
    sp.gateway.child.kill('SIGHUP');
    await until(async () => {
        const client = sp.client({ token });
        const refused = await new Promise((resolve) => client.once('connect', () => resolve(null))
            .once('connect_error', (error) => resolve(error.data.code)));
        client.disconnect();
        return refused === 'unavailable';
    }, 'the patience to end');
    const unauthorized = next(inside, 'unauthorized');
    inside.emit('authenticate', { token: fresh });
    const [why, acknowledge] = await unauthorized;
    assert.equal(why.data.code, 'unavailable');
    acknowledge();
    await new Promise((resolve) => setTimeout(resolve, 300));
    assert.equal(await inside.emitWithAck('sync'), true, 'those inside stay, although none is renewed');

    fs.renameSync(`${file}.away`, file);
    await until(() => sp.connected({ token }).then(() => true, () => false), 'the way back');
});
