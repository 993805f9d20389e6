/* node chat.mjs URL NAME PASSWORD: log in, connect twice, say "hello" on one, print what the other hears. */
import { io } from 'socket.io-client';
import { next, request } from '../lib.mjs';

const [url, name, password] = process.argv.slice(2);
const answer = await request(`${url}/login`, { method: 'POST', body: new URLSearchParams({ username: name, password }).toString(),
    headers: { 'content-type': 'application/x-www-form-urlencoded' } });
if (answer.status !== 200) {
    console.log(`login: ${answer.status}`);
    process.exit();
}
const sockets = [];
for (let i = 0; i < 2; i++) {
    const socket = io(url, { auth: { token: JSON.parse(answer.body).token }, transports: ['websocket'], forceNew: true });
    await next(socket, 'connect');
    socket.emit('add user', name);
    await next(socket, 'login');
    sockets.push(socket);
}
const heard = next(sockets[1], 'new message');
sockets[0].emit('new message', 'hello');
const [{ username, message }] = await heard;
console.log(`${username}: ${message}`);
for (const socket of sockets) socket.disconnect();
