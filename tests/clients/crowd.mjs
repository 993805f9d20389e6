/*
 * A process of order.test.mjs: `sockets` lean clients, the first `senders` of which send `events`
 * each.  Every socket counts, for each sender, whether the next event is the next one.
 */
import { rawClient } from '../lib.mjs';

const { url, first, sockets, senders, events, expected } = JSON.parse(process.argv[2]);
const crowd = [];
const wrong = [];
let waiting = sockets;
const say = (message) => new Promise((resolve) => process.send(message, resolve));

function complain(text) {
    if (wrong.length < 10) wrong.push(text);
}

function member(number) {
    const { ws } = rawClient(url);
    const self = { ws, number, received: 0, next: new Map() };
    let connected;
    self.connected = new Promise((resolve) => { connected = resolve; });
    ws.on('close', (code) => complain(`socket ${number} was closed with ${code}`));
    ws.on('message', (data) => {
        const text = data.toString();
        if (text[0] === '0') ws.send('40');
        else if (text[0] === '2') ws.send('3');
        else if (text.startsWith('40')) connected();
        else if (text.startsWith('43')) self.synchronised();
        else if (text.startsWith('42')) take(self, text);
        else complain(`socket ${number} received ${text}`);
    });
    return self;
}

function take(self, text) {
    const [, sender, event] = JSON.parse(text.slice(2));
    const due = self.next.get(sender) ?? 0;
    if (event !== due) complain(`socket ${self.number} received ${event} of sender ${sender}, ${due} was due`);
    self.next.set(sender, event + 1);
    if (++self.received === expected && --waiting === 0) say('received');
}

async function send(self) {
    for (let event = 0; event < events; event++) {
        self.ws.send(`42["say",${self.number},${event}]`);
        if (event % 5 === 4) await new Promise(setImmediate);
    }
}

/* After an answer of the gateway nothing sent before it can still be under way to that socket. */
async function finish() {
    await Promise.all(crowd.map((self) => new Promise((resolve) => {
        self.synchronised = resolve;
        self.ws.send('420["sync"]');
    })));
    for (const self of crowd)
        if (self.received !== expected) complain(`socket ${self.number} received ${self.received} of ${expected} events`);
    await say(wrong);
    process.exit();
}

process.on('disconnect', () => process.exit(1));
process.on('message', (message) => {
    if (message === 'send') crowd.slice(0, senders).forEach(send);
    else finish();
});
for (let number = first; number < first + sockets; number++) crowd.push(member(number));
await Promise.all(crowd.map((self) => self.connected));
await say('connected');
