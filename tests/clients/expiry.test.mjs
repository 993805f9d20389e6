/* No socket outlives its token; a fresh one in time extends it in place. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { instance, next, within } from '../lib.mjs';

const rules = `namespace "/" {
    authenticate required
    on "call me" { set name $1; join "named"; ack true }
    on "who" { require in "named"; ack $name }
}
namespace "/other" { authenticate required; on "who" { ack $user } }`;
const started = (t, settings = {}) => instance(t, { rules, login: false, users: { ann: {}, bob: {} },
    settings: { 'gateway.workers': 2, ...settings } });
const seconds = (since) => (Date.now() - since) / 1000;

for (const transport of ['websocket', 'polling']) {
    test(`the transport ends with the token: ${transport}`, async (t) => {
        const sp = await started(t);
        const token = sp.token('ann', { lifetime: '3s' });
        const { exp } = JSON.parse(Buffer.from(token.split('.')[1], 'base64url'));
        const socket = await sp.connected({ token, transports: [transport] });
        const [why] = await next(socket, 'disconnect');

        assert.equal(why, 'transport close', 'so that the client comes back by itself');
        assert.ok(seconds(exp * 1000) >= 0 && seconds(exp * 1000) < 1, `${seconds(exp * 1000)} s after exp`);
    });
}

test('the grace is waited for', async (t) => {
    const sp = await started(t, { 'gateway.expiry_grace': '2s' });
    const token = sp.token('ann', { lifetime: '2s' });
    const { exp } = JSON.parse(Buffer.from(token.split('.')[1], 'base64url'));
    const socket = await sp.connected({ token });

    await next(socket, 'disconnect');
    assert.ok(seconds(exp * 1000) >= 2 && seconds(exp * 1000) < 3);
});

test('the client is told in time, and renews in place: rooms and variables stay', async (t) => {
    const sp = await started(t, { 'gateway.expiry_notice': '2s' });
    const socket = await sp.connected({ query: { token: sp.token('ann', { lifetime: '4s' }) } });
    const id = socket.id;

    await socket.emitWithAck('call me', 'queen');
    const [left] = await next(socket, 'token expiring');
    assert.ok(left >= 1 && left <= 2, `${left} s are left`);
    const authenticated = next(socket, 'authenticated');
    assert.equal(await socket.emitWithAck('authenticate', { token: sp.token('ann', { lifetime: '8s' }) }), undefined);
    await authenticated;
    await next(socket, 'token expiring'); /* of the fresh one: the old one's end has passed */
    assert.equal(socket.id, id);
    assert.equal(await socket.emitWithAck('who'), 'queen');

    const other = socket.io.socket('/other');
    await within(new Promise((resolve, reject) => other.once('connect', resolve).once('connect_error', reject)),
        'another namespace by the fresh token');
});

test("another user's token renews nothing", async (t) => {
    const sp = await started(t);
    const socket = await sp.connected({ token: sp.token('ann') });
    const unauthorized = next(socket, 'unauthorized');

    socket.emit('authenticate', { token: sp.token('bob') });
    const [reason] = await unauthorized;
    assert.match(reason.message, /another user/);
});

test('no notice is given where none is wanted', async (t) => {
    const sp = await started(t, { 'gateway.expiry_notice': '0s' });
    const socket = await sp.connected({ token: sp.token('ann', { lifetime: '2s' }) });
    let told = false;

    socket.on('token expiring', () => { told = true; });
    await next(socket, 'disconnect');
    assert.equal(told, false);
});
