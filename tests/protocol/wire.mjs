/* Long-polling request by request, and connections that send any bytes: neither knows what is right. */
import assert from 'node:assert/strict';
import net from 'node:net';
import { within } from '../lib.mjs';

/* One request: {status, headers, body}, the body as bytes. */
export async function ask(url, options) {
    const answer = await within(fetch(url, options), `an answer from ${url}`);
    return { status: answer.status, headers: answer.headers, body: Buffer.from(await answer.arrayBuffer()) };
}

/* The error that a refusal names. */
export const code = ({ body }) => JSON.parse(body).code;

/* Put into an Engine.IO 3 payload, the length in UTF-16 code units as a script's strings have it. */
export const counted = (...packets) => packets.map((packet) => `${packet.length}:${packet}`).join('');

/*
 * A session that polls: what its handshake said, and its requests.  `packet` is a text packet as
 * that version's payload has it.
 */
export async function polling(sp, { eio = 4, path = '/engine.io/', query = '' } = {}) {
    const url = `${sp.url}${path}?EIO=${eio}&transport=polling${query}`;
    const first = await ask(url);
    assert.equal(first.status, 200, first.body.toString());
    const text = first.body.toString();
    const opened = JSON.parse(text.slice(text.indexOf('{')));
    const own = `${url}&sid=${opened.sid}`;
    return {
        first, opened, url: own,
        sid: opened.sid,
        webSocket: `${sp.url.replace('http', 'ws')}${path}?EIO=${eio}&transport=websocket&sid=${opened.sid}`,
        packet: eio === 3 ? counted : (...packets) => packets.join('\x1e'),
        get: () => ask(own),
        post: (body, type = 'text/plain;charset=UTF-8') => ask(own, { method: 'POST', body, headers: { 'Content-Type': type } }),
    };
}

/*
 * A connection on which nothing was said yet.  `said(pattern)` waits until what came matches, `end()`
 * until the gateway closes, with all of it.
 */
export function dial(t, sp) {
    const socket = net.connect({ port: sp.port, host: '127.0.0.1', noDelay: true });
    let text = '';
    let look = () => {};
    t.after(() => socket.destroy());
    socket.setEncoding('latin1');
    socket.on('error', () => {});
    /* Not at each part: to look at megabytes for each of a thousand takes longer than anybody waits. */
    let due;
    socket.on('data', (part) => {
        text += part;
        due ??= setTimeout(() => { due = undefined; look(); }, 5);
    });
    const closed = new Promise((resolve) => socket.on('close', () => resolve(text)));
    return {
        socket,
        /* Resolves when the kernel has it. */
        send: (bytes) => new Promise((resolve) => socket.write(bytes, 'latin1', resolve)),
        said: (pattern) => within(new Promise((resolve) => {
            look = () => { if (pattern.test(text)) resolve(text); };
            look();
        }), `${pattern} on the wire`),
        end: () => within(closed, 'the gateway to close'),
    };
}
