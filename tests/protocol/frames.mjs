/* A WebSocket client that sends what it is told to, broken or not, and shows the frames that come back. */
import crypto from 'node:crypto';
import net from 'node:net';
import { within } from '../lib.mjs';

/* One frame as bytes.  `length` lies about the payload's; `form` is 7, 16 or 64 bits of it. */
export function frame(opcode, payload = '', { fin = true, rsv = 0, mask = true, length, form } = {}) {
    const body = Buffer.from(payload);
    const n = length ?? body.length;
    const bits = form ?? (n < 126 ? 7 : n < 65536 ? 16 : 64);
    const head = Buffer.alloc(bits === 7 ? 2 : bits === 16 ? 4 : 10);
    head[0] = (fin ? 0x80 : 0) | (rsv << 4) | opcode;
    head[1] = (mask ? 0x80 : 0) | (bits === 7 ? n : bits === 16 ? 126 : 127);
    if (bits === 16) head.writeUInt16BE(n, 2);
    if (bits === 64) head.writeBigUInt64BE(BigInt(n), 2);
    if (!mask) return Buffer.concat([head, body]);
    const key = crypto.randomBytes(4);
    return Buffer.concat([head, key, body.map((byte, i) => byte ^ key[i % 4])]);
}

export const close = (code, reason = '') =>
    frame(8, Buffer.concat([Buffer.from([code >> 8, code & 255]), Buffer.from(reason)]));

/*
 * Connected, the 101 read (`head`); `headers` are further lines of the request.  `send(bytes)` and
 * `trickle(bytes, n)`, n at a time; `receive()` gives the next {opcode, payload} or null at the end of the
 * stream; `closeCode()` reads on to the close frame.
 */
export async function connect(t, port, path, headers = '') {
    const socket = net.connect({ port, host: '127.0.0.1', noDelay: true });
    const frames = [];
    const waiting = [];
    let rest = Buffer.alloc(0);
    let isOpen = false;
    let opened;
    const give = (item) => (waiting.length ? waiting.shift()(item) : frames.push(item));

    t.after(() => socket.destroy());
    socket.on('error', () => {});
    socket.on('close', () => give(null));
    socket.on('data', (data) => {
        rest = Buffer.concat([rest, data]);
        if (!isOpen) {
            const end = rest.indexOf('\r\n\r\n');
            if (end < 0) return;
            isOpen = true;
            opened(rest.subarray(0, end).toString());
            rest = rest.subarray(end + 4);
        }
        for (;;) {
            const bits = rest.length > 1 ? rest[1] & 127 : 0;
            const head = bits < 126 ? 2 : bits === 126 ? 4 : 10;
            if (rest.length < head) return;
            const n = bits < 126 ? bits : bits === 126 ? rest.readUInt16BE(2) : Number(rest.readBigUInt64BE(2));
            if (rest.length < head + n) return;
            give({ opcode: rest[0] & 15, rsv: (rest[0] >> 4) & 7, payload: Buffer.from(rest.subarray(head, head + n)) });
            rest = rest.subarray(head + n);
        }
    });
    const head = within(new Promise((resolve) => { opened = resolve; }), 'the 101');
    socket.write(`GET ${path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n`
        + `Sec-WebSocket-Key: ${crypto.randomBytes(16).toString('base64')}\r\nSec-WebSocket-Version: 13\r\n${headers}\r\n`);
    const raw = {
        socket,
        head: await head,
        send: (...bytes) => socket.write(Buffer.concat(bytes)),
        trickle: async (bytes, n = 1) => {
            for (let at = 0; at < bytes.length; at += n) {
                socket.write(bytes.subarray(at, at + n));
                await new Promise(setImmediate);
            }
        },
        receive: () => within(frames.length ? Promise.resolve(frames.shift())
            : new Promise((resolve) => waiting.push(resolve)), 'a frame'),
        closeCode: async () => {
            for (;;) {
                const got = await raw.receive();
                if (!got) return null;
                if (got.opcode === 8) return got.payload.length ? got.payload.readUInt16BE(0) : 1005;
            }
        },
    };
    return raw;
}
