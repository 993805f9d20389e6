/* What a hostile client found once, and must not find again. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import net from 'node:net';
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { constants, deflateRawSync } from 'node:zlib';
import { connect, frame } from '../protocol/frames.mjs';
import { dial, polling } from '../protocol/wire.mjs';
import { instance, must, until } from '../lib.mjs';

const rules = 'namespace "/" { authenticate required; on "join" { join "r$1"; ack true } on "say" { ack true } }';

test('a token that expires between the handshake and CONNECT is an expired one', async (t) => {
    const sp = await instance(t, { rules, login: false, users: { ann: {} } });
    const raw = sp.raw(`&token=${sp.token('ann', { lifetime: '1s' })}`);

    assert.equal(await raw.status(), 101);
    await sleep(2100);
    raw.send('40');
    assert.match(await raw.receive(), /^0/);
    assert.match(await raw.receive(), /^44.*jwt expired/);
});

test('rooms without a limit: more than a short number counts', async (t) => {
    const sp = await instance(t, { rules, login: false, users: { ann: {} },
        settings: { 'gateway.limits.rooms': 0, 'gateway.limits.events_per_second': 0 } });
    const raw = sp.raw(`&token=${sp.token('ann')}`);

    assert.equal(await raw.status(), 101);
    raw.send('40');
    for (let i = 1; i <= 33000; i++) {
        raw.send(`42["join",${i}]`);
        if (i % 1000) continue;
        raw.send('421["say"]');
        while (await raw.receive() !== '431[true]');
    }
});

test('whoever only comes and goes is closed', async (t) => {
    const sp = await instance(t, { rules, login: false, users: { ann: {} } });
    const raw = sp.raw(`&token=${sp.token('ann')}`);

    assert.equal(await raw.status(), 101);
    for (let i = 0; i < 300; i++) { raw.send('40'); raw.send('41'); }
    assert.equal((await raw.closed()).code, 1008);
});

test('nothing is gathered for whoever is not in a namespace', async (t) => {
    const sp = await instance(t, { rules, login: false, users: { ann: {} } });
    const raw = sp.raw();

    assert.equal(await raw.status(), 101);
    raw.send('452-["say",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]');
    assert.equal((await raw.closed()).code, 1002);
});

test('whoever is in no namespace may not begin a long message', async (t) => {
    const sp = await instance(t, { rules, login: false, users: { ann: {} }, settings: { 'gateway.deflate': true } });
    const open = () => connect(t, sp.port, '/socket.io/?EIO=4&transport=websocket', 'Sec-WebSocket-Extensions: permessage-deflate\r\n');
    const token = JSON.stringify({ token: sp.token(), more: 'x'.repeat(60_000) });
    const bomb = deflateRawSync(Buffer.alloc(500_000, '4'), { finishFlush: constants.Z_SYNC_FLUSH }).subarray(0, -4);

    for (const bytes of [frame(1, '4', { length: 100_000 }), frame(2, '4', { length: 100_000 }), frame(1, bomb, { rsv: 4 })]) {
        const raw = await open();
        raw.send(bytes);
        assert.equal(await raw.closeCode(), 1009);
    }
    const raw = await open();
    raw.send(frame(1, `40${token}`), frame(1, `421["say","${'x'.repeat(900_000)}"]`), frame(1, '41'), frame(1, '4', { length: 100_000 }));
    for (const word of [/^0/, /^40/, /^431\[true\]/]) assert.match((await raw.receive()).payload.toString(), word);
    assert.equal(await raw.closeCode(), 1009);
});

test('bodies that are still arriving are bounded together', async (t) => {
    const sp = await instance(t, { rules, login: false, settings: { 'gateway.limits.body_bytes': '210KiB' } });
    const { hostname, port } = new URL(sp.url);
    const head = `POST /socket.io/?EIO=4&transport=polling&sid=${'A'.repeat(20)} HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\nConnection: close\r\n\r\n`;
    const post = (bytes) => {
        const socket = net.connect(Number(port), hostname);

        t.after(() => socket.destroy());
        socket.on('error', () => {});
        socket.write(head);
        socket.write(Buffer.alloc(bytes, 0x34));
        return socket;
    };
    const status = () => new Promise((resolve) => {
        let heard = '';
        post(100000).on('data', (data) => { heard += data; }).on('close', () => resolve(heard.slice(9, 12)));
    });
    const unfinished = [];

    /* What a body takes lies between its length and twice that. */
    await until(async () => unfinished.push(post(99000)) && await status() === '503', 'one more body to be too much');
    for (const socket of unfinished) socket.destroy();
    await until(async () => await status() === '400', 'room for it, whose session is unknown');
});

test('no descriptor left: nothing spins, those inside are served, and afterwards there is room again', async (t) => {
    const sp = await instance(t, { rules, login: false, users: { ann: {} }, settings: { 'gateway.workers': 2 } });
    const inside = await sp.connected({ token: sp.token('ann') });
    const limit = (n) => must('prlimit', ['--pid', String(sp.gateway.pid), `--nofile=${n}:1000`]);
    const cpu_ms = () => {
        const fields = fs.readFileSync(`/proc/${sp.gateway.pid}/stat`, 'utf8').split(') ')[1].split(' ');
        return (Number(fields[11]) + Number(fields[12])) * 10;
    };
    const { hostname, port } = new URL(sp.url);

    limit(8);
    const outside = net.connect(Number(port), hostname);
    outside.on('error', () => {});
    await sleep(300);
    const before = cpu_ms();
    await sleep(1500);
    assert.ok(cpu_ms() - before < 300, `${cpu_ms() - before} ms of CPU in 1.5 s`);
    assert.equal(await inside.emitWithAck('say'), true);
    outside.destroy();
    limit(1000);
    await sp.connected({ token: sp.token('ann') });
});

test('an answer to a poll counts until its client has taken it, and no other is begun before', async (t) => {
    const sp = await instance(t, { login: false, rules: 'namespace "/" { authenticate none; on "say" { emit others } }',
        settings: { 'gateway.workers': 4, 'gateway.metrics': true, 'gateway.limits.max_payload': '16MiB', 'gateway.limits.queued_bytes': '32MiB' } });
    const speaker = await sp.connected();
    const session = await polling(sp, { path: '/socket.io/' });
    await session.post('40');
    assert.match((await session.get()).body.toString(), /^40/);
    const queued = async () => Number((await (await fetch(`${sp.url}/metrics`)).text()).match(/^sallyport_queued_bytes (\d+)$/m)[1]);
    const get = async () => { /* on a connection of its own, of which nothing is read */
        const wire = dial(t, sp);
        wire.socket.pause();
        await wire.send(`GET ${session.url.slice(sp.url.length)} HTTP/1.1\r\nHost: x\r\n\r\n`);
        return wire;
    };
    const long = 'x'.repeat(12 << 20); /* more than the kernel takes */

    const first = await get();
    speaker.emit('say', 1, long);
    const held = await until(async () => await queued() > long.length && queued(), 'the answer to be on its way');
    const second = await get();
    speaker.emit('say', 2);
    await until(async () => await queued() > held, 'what comes next to wait');
    await first.send('GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n');
    second.socket.resume();
    first.socket.resume();
    assert.match(await first.said(/"ready"\}$/), /42\["say",1,"x+"\]HTTP[^]*"ready"\}$/);
    await second.said(/42\["say",2\]$/);
    await until(async () => await queued() === 0, 'nothing to wait');

    const third = await get();
    third.socket.resume();
    speaker.emit('say', 3);
    await third.said(/42\["say",3\]$/);
    await until(async () => await queued() === 0, 'it to be taken');
    const lost = await get();
    speaker.emit('say', 4, long);
    await until(async () => await queued() > long.length, 'the answer to be on its way');
    lost.socket.destroy();
    await until(async () => (await session.post('6')).status === 400, 'the session that has lost a packet to end');
    assert.equal(await queued(), 0);
});

test('who takes nothing of an answer for request_timeout is closed', async (t) => {
    const sp = await instance(t, { login: false, rules: 'namespace "/" { authenticate none; on "say" { emit others } }',
        settings: { 'gateway.limits.max_payload': '16MiB', 'gateway.limits.queued_bytes': '32MiB', 'gateway.request_timeout': '1s' } });
    const speaker = await sp.connected();
    const session = await polling(sp, { path: '/socket.io/' });
    await session.post('40');
    await session.get();
    const wire = dial(t, sp);
    wire.socket.pause();
    await wire.send(`GET ${session.url.slice(sp.url.length)} HTTP/1.1\r\nHost: x\r\n\r\n`);
    speaker.emit('say', 'x'.repeat(12 << 20));
    await until(async () => (await session.post('6').catch(() => ({}))).status === 400, 'the session to end');
    wire.socket.resume();
    assert.doesNotMatch(await wire.end(), /x"\]$/);
});
