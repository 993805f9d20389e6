/*
 * A web server's side of FastCGI 1.0 (responder), byte by byte, so that it can stall, be cut short
 * or send what no web server sends.
 */
import net from 'node:net';
import { within } from '../lib.mjs';

const BEGIN = 1, END = 3, PARAMS = 4, STDIN = 5, STDOUT = 6;

export function record(type, content, id = 1) {
    const bytes = Buffer.from(content);
    return Buffer.concat([Buffer.from([1, type, id >> 8, id & 255, bytes.length >> 8, bytes.length & 255, 0, 0]), bytes]);
}

function pair(name, value) {
    const length = (n) => (n < 128 ? [n] : [128 | (n >> 24), (n >> 16) & 255, (n >> 8) & 255, n & 255]);
    const [key, text] = [Buffer.from(name), Buffer.from(value)];
    return Buffer.concat([Buffer.from([...length(key.length), ...length(text.length)]), key, text]);
}

function records(type, bytes) {
    const parts = [];
    for (let at = 0; at < bytes.length; at += 32_768) parts.push(record(type, bytes.subarray(at, at + 32_768)));
    return Buffer.concat([...parts, record(type, '')]);
}

/* One request whole: {begin, params, stdin, all}. */
export function fastcgiRequest({ method = 'POST', uri = '/login', type = 'application/x-www-form-urlencoded',
    body = '', length, keep = false, params = {} } = {}) {
    const bytes = Buffer.from(body);
    const given = { REQUEST_METHOD: method, REQUEST_URI: uri, CONTENT_TYPE: type, REMOTE_ADDR: '192.0.2.1',
        CONTENT_LENGTH: String(length ?? bytes.length), ...params };
    const request = {
        begin: record(BEGIN, [0, 1, keep ? 1 : 0, 0, 0, 0, 0, 0]),
        params: records(PARAMS, Buffer.concat(Object.entries(given).map(([name, value]) => pair(name, value)))),
        stdin: records(STDIN, bytes),
    };
    request.all = Buffer.concat([request.begin, request.params, request.stdin]);
    return request;
}

export const loginRequest = (options) =>
    fastcgiRequest({ body: 'username=ann&password=correct+horse', ...options });

/* The records of `bytes` that are whole, and what is left. */
function split(bytes) {
    const found = [];
    while (bytes.length >= 8) {
        const size = 8 + bytes.readUInt16BE(4) + bytes[6];
        if (bytes.length < size) break;
        found.push({ type: bytes[1], content: bytes.subarray(8, 8 + bytes.readUInt16BE(4)) });
        bytes = bytes.subarray(size);
    }
    return [found, bytes];
}

function parse(text) {
    const end = text.indexOf('\r\n\r\n');
    const headers = Object.fromEntries(text.slice(0, end).split('\r\n').map((line) => {
        const colon = line.indexOf(': ');
        return [line.slice(0, colon).toLowerCase(), line.slice(colon + 2)];
    }));
    return { status: Number.parseInt(headers.status, 10), headers, body: text.slice(end + 4) };
}

/*
 * A connection to the FastCGI socket `where` (a path, or a port of 127.0.0.1).  `answer()` is the
 * next {status, headers, body}, or null when the connection ends first; `closed()` waits for that
 * end and gives the milliseconds since it was opened.  With {allowHalfOpen: true} it stays open when
 * the other side has closed.
 */
export async function fastcgiConnect(t, where, options = {}) {
    const address = typeof where === 'number' ? { host: '127.0.0.1', port: where } : { path: where };
    const socket = net.connect({ ...address, ...options });
    const waiting = [];
    const answers = [];
    const opened_ms = performance.now();
    let rest = Buffer.alloc(0), stdout = '', found;
    const give = (answer) => (waiting.length ? waiting.shift()(answer) : answers.push(answer));

    t.after(() => socket.destroy());
    socket.on('error', () => {});
    socket.on('data', (data) => {
        [found, rest] = split(Buffer.concat([rest, data]));
        for (const { type, content } of found) {
            if (type === STDOUT) stdout += content;
            if (type !== END) continue;
            give(parse(stdout));
            stdout = '';
        }
    });
    const closed = new Promise((resolve) => socket.on('close', () => {
        resolve(performance.now() - opened_ms);
        while (waiting.length) waiting.shift()(null);
        answers.push(null);
    }));
    await within(new Promise((resolve, reject) => socket.once('connect', resolve).once('error', reject)),
        `a connection to ${where}`);
    return {
        socket,
        send: (bytes) => socket.write(bytes),
        answer: () => within(answers.length ? Promise.resolve(answers.shift())
            : new Promise((resolve) => waiting.push(resolve)), 'an answer'),
        closed: () => within(closed, 'the connection to be closed'),
    };
}

/* One request on a connection of its own. */
export async function fastcgiAsk(t, where, request) {
    const connection = await fastcgiConnect(t, where);
    connection.send(request.all);
    const answer = await connection.answer();
    connection.socket.destroy();
    return answer;
}
