/* python3-socketio of Debian: by each transport, with a token, text and binary both ways, acks. */
import assert from 'node:assert/strict';
import path from 'node:path';
import test from 'node:test';
import { instance, misSign, next, start, tree } from '../lib.mjs';

const rules = `
namespace "/" {
    authenticate required
    on "echo" { ack $args }
    on "back" { emit self "back" $args }
    on "enter" { join "room:$1"; ack true }
    on "tell" { emit to "room:$1" "told" $user, $2, $3; ack $sent }
}`;

/* The client as a process; it says what it hears, a line of JSON each. */
function client(t, sp, token, transports) {
    return start(t, '/usr/bin/python3', ['-u', path.join(tree, 'tests/clients/client.py'), sp.url, transports.join()],
        { env: { ...process.env, TOKEN: token } });
}

for (const [way, transports] of Object.entries({ polling: ['polling'], websocket: ['websocket'], upgrade: ['polling', 'websocket'] })) {
    test(`python3-socketio by ${way}: text and binary both ways, acks, and another client`, async (t) => {
        const sp = await instance(t, { rules, login: false, settings: { 'gateway.workers': 4 } });
        const other = await sp.connected({ token: sp.token() });
        await other.emitWithAck('enter', 'blue');
        const told = next(other, 'told');
        const python = client(t, sp, sp.token(), transports);

        await python.logged(new RegExp(`^transport ${transports.at(-1)}$`));
        await python.logged(/^conversed$/);
        assert.deepEqual(await told, ['ann', 'grüße €🦀', Buffer.from([0, 4, 98, 255])]);
        assert.deepEqual(await other.emitWithAck('tell', 'green', 'für dich', Buffer.from([9, 8])), 1);
        await python.logged(/^told ann für dich 0908$/);
        assert.deepEqual(await python.exited, { code: 0, signal: null }, python.output());
    });
}

test('python3-socketio comes back by itself to the next gateway', async (t) => {
    const sp = await instance(t, { rules, login: false });
    const python = client(t, sp, sp.token(), ['websocket']);
    await python.logged(/^conversed$/);
    const from = python.lines.length;
    await sp.gateway.stop();
    await python.logged(/^parted$/);
    await sp.startGateway();
    await python.logged(/^conversed$/, { from });
    const other = await sp.connected({ token: sp.token() });
    await other.emitWithAck('tell', 'green', 'x', Buffer.from([1]));
    await python.logged(/^told ann x 01$/);
    assert.deepEqual(await python.exited, { code: 0, signal: null }, python.output());
});

test('python3-socketio is told why it is refused', async (t) => {
    const sp = await instance(t, { rules, login: false });
    const python = client(t, sp, misSign(sp.token()), ['websocket']);
    await python.logged(/^refused invalid signature invalid_token$/);
    assert.deepEqual(await python.exited, { code: 0, signal: null }, python.output());
});
