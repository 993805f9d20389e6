/*
 * Random joins, leaves, emissions, reloads and disconnects on four workers, against a small model:
 * every delivery that it says happens, happens once, in each sender's order, and none else.
 *
 * Clients act at once, so the model has to know what they do to each other whatever the order: in a
 * round a room either keeps its members, and anybody sends to it, or it is one client's own, which
 * alone joins, leaves and sends there.  A user is online once with however many sockets, and offline
 * when the last has been gone for the grace; some come back before.  From time to time the rules do
 * not ask for presence, and nothing of it may be heard.  SEED=N repeats a run, ROUNDS=N is for a longer.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { dice, instance, rawClient, until, within } from '../lib.mjs';

const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 32));
const rounds = Number(process.env.ROUNDS ?? 60);
const rooms = ['a', 'b', 'c', 'd', 'e', 'f'];
const users = ['ann', 'bob', 'cleo', 'dora', 'emil', 'fay', 'gus', 'hal', 'ida', 'jo', 'kim', 'lea', 'max', 'nora'];
const grace_ms = 1000;

/* What the clients say: emit TARGET as sender $1 their event number $2. */
const rules = (version, asks) => `namespace "/" {
    authenticate required
    ${asks ? 'when user online { emit all "online" $user }\n    when user offline { emit all "offline" $user }' : ''}
    ${version % 2 ? 'on "odd" { set odd $1; set other $2 }' : ''}
    on "join"   { join "r:$3"; ack $count("r:$3") }
    on "leave"  { leave "r:$3"; ack $count("r:$3") }
    on "in"     { emit in "r:$3" "m" $1, $2; ack $sent }
    on "to"     { emit to "r:$3" "m" $1, $2; ack $sent }
    on "all"    { emit all "m" $1, $2; ack $sent }
    on "others" { emit others "m" $1, $2; ack $sent }
    on "self"   { emit self "m" $1, $2; ack $sent }
    on "id"     { emit in "id:$3" "m" $1, $2; ack $sent }
    on "user"   { emit to "user:$3" "m" $1, $2; ack $sent }
    on "set"    { set kept {"n": $2}; ack true }
    on "get"    { require set kept; ack $kept }
    on "get"    { ack null }
    on "who"    { ack $count("r:$3"), $members("r:$3") }
    on "sync"   { ack ${version} }
    when disconnect { emit all "bye" $id }
}`;

const { random, below, one } = dice(seed);
const chance = (part) => random() < part;

/* ---- the real thing ---- */

const names = new Map(); /* socket id → number */

async function connect(sp, number, user) {
    const raw = rawClient(`${sp.url.replace('http', 'ws')}/socket.io/?EIO=4&transport=websocket`);
    const client = { number, user, ws: raw.ws, acks: new Map(), asked: 0, said: 0, kept: null,
        rooms: new Set(), heard: new Map(), due: new Map(), presence: new Map(), presence_due: new Map() };
    const connected = new Promise((resolve) => { client.connected = resolve; });
    raw.ws.on('message', (data) => take(client, data.toString(), sp));
    raw.ws.on('close', () => { client.is_closed = true; });
    await within(connected, `client ${number} to connect`);
    return client;
}

function take(client, text, sp) {
    if (text[0] === '0') client.ws.send(`40${JSON.stringify({ token: sp.tokens[client.user] })}`);
    else if (text === '2') client.ws.send('3');
    else if (text.startsWith('40')) {
        client.id = JSON.parse(text.slice(2)).sid;
        names.set(client.id, client.number);
        client.connected();
    } else if (text.startsWith('43')) {
        const [, id, json] = text.match(/^43(\d+)(.*)$/s);
        assert.ok(client.acks.has(Number(id)), `an answer that nobody asked for: ${text}`);
        client.acks.get(Number(id))(JSON.parse(json));
        client.acks.delete(Number(id));
    } else {
        const [event, sender, number] = JSON.parse(text.slice(2));
        if (event === 'online' || event === 'offline') note(client.presence, sender, { event, at: Date.now() });
        else if (event === 'bye') note(client.heard, names.get(sender), 'bye');
        else note(client.heard, sender, number);
    }
}

function note(map, sender, number) {
    if (!map.has(sender)) map.set(sender, []);
    map.get(sender).push(number);
}

function ask(client, event, ...args) {
    const id = client.asked++;
    const answer = new Promise((resolve) => client.acks.set(id, resolve));
    client.ws.send(`42${id}${JSON.stringify([event, ...args])}`);
    return within(answer, `an answer to ${event} of client ${client.number}`);
}

/* ---- the model ---- */

const members = (world, room) => world.clients.filter((client) => client.rooms.has(room));

/* Everybody whom an emission reaches, which in this round is the same whenever it happens. */
function receivers(world, client, event, argument) {
    switch (event) {
    case 'in': return members(world, argument);
    case 'to': return members(world, argument).filter((other) => other !== client);
    case 'all': return world.clients;
    case 'others': return world.clients.filter((other) => other !== client);
    case 'self': return [client];
    case 'id': return world.clients.filter((other) => other.id === argument);
    case 'user': return world.clients.filter((other) => other.user === argument && other !== client);
    default: throw new Error(event);
    }
}

function emit(world, client, event, argument) {
    const reached = receivers(world, client, event, argument);
    const number = client.said++;
    for (const other of reached) note(other.due, client.number, number);
    return [event, client.number, number, argument, [reached.length]];
}

/* One thing that this client may do now: [event, $1, $2, $3, the answer]. */
function act(world, client, owner) {
    const quiet = rooms.filter((room) => !owner.has(room));
    const own = rooms.filter((room) => owner.get(room) === client);
    const room = own.length && chance(0.6) ? one(own) : quiet.length && one(quiet);
    const what = one(['room', 'room', 'room', 'all', 'others', 'self', 'id', 'user', 'set', 'get']);

    if (what === 'set') {
        client.kept = { n: client.said };
        return ['set', client.number, client.said++, 0, [true]];
    }
    if (what === 'get') return ['get', 0, 0, 0, [client.kept]];
    if (what === 'id') return emit(world, client, 'id', one(world.clients).id);
    if (what === 'user') return emit(world, client, 'user', one(users));
    if (what !== 'room' || !room) return emit(world, client, what === 'room' ? 'all' : what);
    if (own.includes(room) && chance(0.4)) {
        const event = chance(0.5) ? 'join' : 'leave';
        if (event === 'join') client.rooms.add(room);
        else client.rooms.delete(room);
        return [event, 0, 0, room, [members(world, room).length]];
    }
    return emit(world, client, one(['in', 'to']), room);
}

/* All that everybody does in a round, decided before any of it happens. */
function plan(world, leavers) {
    const owner = new Map();
    for (const room of rooms) if (chance(0.5)) owner.set(room, one(world.clients));
    for (const client of leavers) for (const room of client.rooms) owner.delete(room);
    const turns = new Map(world.clients.map((client) => [client, []]));
    for (let n = below(15) * world.clients.length; n > 0; n--) {
        const client = one(world.clients);
        turns.get(client).push(act(world, client, owner));
    }
    return turns;
}

/* ---- presence ---- */

const words = (list) => (list ?? []).map(({ event }) => event);
const hears = (client, user) => words(client.presence.get(user));

/* The gateway says it to all who are there now, and whoever comes later does not hear it. */
async function expect(world, user, event, hearer) {
    for (const client of world.clients) note(client.presence_due, user, { event });
    await until(() => hears(hearer, user).at(-1) === event, `client ${hearer.number} to hear that ${user} is ${event}`);
}

async function enter(world, sp, user) {
    const client = await connect(sp, world.number++, user);
    const is_new = world.asks && !world.online.has(user);
    world.clients.push(client);
    world.online.add(user);
    if (is_new) await expect(world, user, 'online', client);
}

/* The last sockets of these users have gone, not before `since`: somebody of theirs comes back in time, or nobody does. */
async function miss(world, sp, missing, since) {
    const back = new Set(missing.filter(() => chance(0.5)));
    for (const user of back) {
        await enter(world, sp, user);
        if (world.asks) world.returns++;
        if (Date.now() - since > grace_ms * 0.8) world.slow.add(user); /* it may have been too late, and then both are said */
    }
    for (const user of missing.filter((other) => !back.has(other))) {
        if (world.asks) await expect(world, user, 'offline', world.clients[0]);
        const early = world.clients.flatMap((client) => client.presence.get(user) ?? []).filter(({ event, at }) => event === 'offline' && at < since + grace_ms - 20);
        assert.deepEqual(early, [], `${user} is offline before the grace is over`);
        world.online.delete(user);
        world.losses++;
    }
}

/* New rules, while nobody comes or goes, begin or cease to ask. */
async function turn(world, sp) {
    world.asks = !world.asks;
    const from = sp.gateway.lines.length;
    writeRules(world, sp);
    process.kill(sp.gateway.pid, 'SIGHUP');
    await sp.gateway.logged(/read anew/, { from });
    world.online = new Set(world.clients.map(({ user }) => user));
    if (!world.asks) await new Promise((resolve) => setTimeout(resolve, grace_ms + 300)); /* nobody is forgotten before */
}

function comparePresence(world, client) {
    for (const user of users) {
        const heard = hears(client, user), due = words(client.presence_due.get(user));
        const also = world.slow.has(user) ? [[...due, 'offline', 'online'], ['online']] : [];
        if (!also.some((other) => heard.join() === other.join()))
            assert.deepEqual(heard, due, `what client ${client.number} heard of the presence of ${user}`);
    }
    client.presence.clear();
    client.presence_due.clear();
}

/* ---- rounds ---- */

function writeRules(world, sp) {
    const page = path.join(sp.dir, 'relay.rules');
    fs.writeFileSync(`${page}.new`, rules(++world.version, world.asks)); /* whole, also for a reload that is under way */
    fs.renameSync(`${page}.new`, page);
}

/* Whoever leaves does so behind all that they have said, in one way or the other. */
async function perform(client, actions, is_leaving, counts_hold) {
    const says_so = chance(0.5);
    const answers = [];
    for (const [event, first, second, third, answer] of actions) {
        answers.push(ask(client, event, first, second, third).then((got) => {
            if (counts_hold || event === 'get')
                assert.deepEqual(got, answer, `what client ${client.number} was answered to ${event} ${first} ${second} ${third}`);
        }));
        if (chance(0.1)) await new Promise(setImmediate);
    }
    if (is_leaving && says_so) client.ws.send('41');
    await Promise.all(answers);
    if (is_leaving && !says_so) client.ws.close();
}

/* From here on it is not there; those who leave with it may hear of it or not. */
function leave(world, client) {
    for (const other of world.clients) if (other !== client) note(other.due, client.number, 'bye');
}

function compare(client, is_whole) {
    const senders = new Set([...client.heard.keys(), ...client.due.keys()]);
    for (const sender of senders) {
        const heard = client.heard.get(sender) ?? [], due = client.due.get(sender) ?? [];
        assert.deepEqual(heard, is_whole ? due : due.slice(0, heard.length),
            `what client ${client.number} heard of client ${sender}`);
    }
}

async function check(world) {
    for (const turn of [1, 2]) await Promise.all(world.clients.map((client) => ask(client, 'sync', turn)));
    for (const client of world.clients) compare(client, true);
    await Promise.all(rooms.map(async (room) => {
        const there = members(world, room);
        const [count, list] = await ask(one(world.clients), 'who', 0, 0, room);
        assert.equal(count, there.length, `the count of ${room}`);
        assert.deepEqual(list.sort(), [...new Set(there.map(({ user }) => user))].sort(), `the members of ${room}`);
    }));
    for (const client of world.clients) {
        comparePresence(world, client);
        client.heard.clear();
        client.due.clear();
    }
    world.slow.clear();
}

async function round(world, sp) {
    if (chance(0.1)) await turn(world, sp);
    while (world.clients.length < 20 || (world.clients.length < 30 && chance(0.3))) await enter(world, sp, one(chance(0.5) ? users.slice(0, 4) : users));
    const alone = world.clients.filter(({ user }) => world.clients.filter((other) => other.user === user).length === 1);
    const leavers = chance(0.4) ? [...new Set([one(world.clients), one(alone.length ? alone : world.clients)])] : [];
    const turns = plan(world, leavers);
    const everybody = world.clients;
    for (const client of leavers) leave(world, client);
    world.clients = world.clients.filter((client) => !leavers.includes(client));
    if (chance(0.4)) { /* some time during the round */
        writeRules(world, sp);
        setTimeout(() => process.kill(sp.gateway.pid, 'SIGHUP'), below(10));
    }
    const since = Date.now();
    await Promise.all(everybody.map((client) =>
        perform(client, turns.get(client), leavers.includes(client), leavers.length === 0)));
    if (leavers.length) await until(() => world.clients.every((client) =>
        leavers.every(({ number }) => client.heard.get(number)?.at(-1) === 'bye')), 'everybody to hear who left');
    const missing = [...new Set(leavers.map((client) => client.user))].filter((user) => world.clients.every((client) => client.user !== user));
    await miss(world, sp, missing, since);
    await check(world);
    for (const client of leavers) {
        compare(client, false);
        client.ws.close();
    }
    for (const actions of turns.values()) world.actions += actions.length;
}

test(`4 workers, ${rounds} rounds of seed ${seed}`, async (t) => {
    t.diagnostic(`SEED=${seed}`);
    const sp = await instance(t, { rules: rules(0, true), login: false, users: { ann: {} }, settings: { 'gateway.workers': 4,
        'gateway.presence_grace': `${grace_ms}ms`, 'gateway.limits.per_address': 0, 'gateway.limits.events_per_second': 0 } });
    sp.tokens = Object.fromEntries(users.map((sub) => [sub, sp.sign({ sub })]));
    const world = { clients: [], number: 0, version: 0, actions: 0, asks: true, online: new Set(), slow: new Set(), returns: 0, losses: 0 };
    t.after(() => world.clients.forEach(({ ws }) => ws.terminate()));

    for (let i = 0; i < rounds; i++) {
        try {
            await round(world, sp);
        } catch (error) {
            error.message = `SEED=${seed}, round ${i}: ${error.message}`;
            throw error;
        }
    }
    assert.doesNotMatch(sp.gateway.output(), /nothing is changed/);
    if (world.version) assert.match(sp.gateway.output(), /read anew/);
    t.diagnostic(`${world.actions} actions of ${world.number} clients, ${world.version} reloads, ${world.losses} users went offline and ${world.returns} came back in time`);
});
