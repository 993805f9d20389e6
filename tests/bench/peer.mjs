/*
 * The job of crowd.h as one writes it with Socket.IO's own server: a token verified when a socket
 * connects, "msg" relayed to the hall and "say" to a room, "join", "leave" and "ping" acknowledged.
 * On Node with ws, its default; on Bun with the engine that the project offers for it.
 *
 *   node|bun peer.mjs PORT KEY.jwk
 */
import fs from 'node:fs';
import http from 'node:http';
import jwt from 'jsonwebtoken';
import { Server } from 'socket.io';

const port = Number(process.argv[2]);
const jwk = JSON.parse(fs.readFileSync(process.argv[3], 'utf8'));
const secret = Buffer.from(jwk.k, 'base64url');
const demanded = { algorithms: ['HS256'], issuer: 'sallyport', audience: 'sallyport' };

const io = new Server({ serveClient: false });

io.use((socket, next) => {
    jwt.verify(socket.handshake.auth.token, secret, demanded, (error, claims) => {
        socket.data.claims = claims;
        next(error);
    });
});

io.on('connection', (socket) => {
    socket.join('hall');
    socket.on('msg', (text) => io.to('hall').emit('msg', text));
    socket.on('join', (room, acknowledge) => {
        socket.join(`room:${room}`);
        acknowledge();
    });
    socket.on('leave', (room, acknowledge) => {
        socket.leave(`room:${room}`);
        acknowledge();
    });
    socket.on('say', (room, text) => io.to(`room:${room}`).emit('msg', text));
    socket.on('ping', (number, acknowledge) => acknowledge(number));
});

if (globalThis.Bun) {
    const { Server: Engine } = await import('@socket.io/bun-engine');
    const engine = new Engine({ path: '/socket.io/' });
    io.bind(engine);
    globalThis.Bun.serve({ hostname: '127.0.0.1', port, ...engine.handler() });
} else {
    const server = http.createServer();
    io.attach(server);
    server.listen(port, '127.0.0.1', 4096);
}
