/*
 * Hostile clients, all at once, on four workers, while rules good and bad are read anew: whoever stays
 * within the rules hears nothing that those forbid, and loses nothing.  SEED=N repeats what is sent,
 * SECONDS=N is for a longer siege.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { dice, instance, misSign, request, until } from '../lib.mjs';

const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 32));
const seconds = Number(process.env.SECONDS ?? 4);

const { random, below, one } = dice(seed);

/* What differs from version to version must not matter to anybody. */
const rules = (version) => `namespace "/" {
    authenticate optional
    when connection { require user; join "hall" }
    when authenticated { join "hall" }
    on "vault" { require claim roles "admin"; join "vault"; ack true }
    on "leak"  { require claim roles "admin"; emit in "vault" "leak" $1 }
    on "leak"  { require in "vault"; emit all "leak" $1 }
    on "join"  { require string $1; require claim rooms $1; join "room:$1"; ack $count("room:$1") }
    on "in"    { require in "room:$1"; emit to "room:$1" "in" $user, $2; ack $members("room:$1") }
    on "leave" { leave "room:$1" }
    on "say"   { require user; limit 50 per 1s; emit others "said" {"by": $user, "id": $id, "text": $1} }
    on "name"  { require string $1; set name $1; emit others "named" $name, $claims.roles }
    on "user"  { set name "gateway"; set user_${version} $1; ack $name }
    on "bin"   { require binary $1; emit volatile all "bin" $1 }
    on "obj"   { require object $1; emit others "obj" $1 }
    on "here"  { ack $count("hall"), $members("hall") }
    on "steady" { ack $1 }
    on "*"     { emit self; ack ${version % 2 ? '$args' : '$event, $auth'} }
    when disconnecting { emit in "vault" "gone" $id, $reason }
    when user online  { emit in "hall" "online" $user, $members("hall") }
    when user offline { emit in "hall" "offline" $user }
}
namespace "/open" { authenticate none; on "leak" { emit all "leak" $1 } on "join" { join "room:$1"; join "vault" } }
${version % 3 ? 'namespace "/sometimes" { authenticate later; on "x" { ack $user } }' : ''}`;

const wrong = ['', '{', 'namespace "/" { on "x" { emit } }', '\0'.repeat(100), '\ufeff#', 'x'.repeat(2 << 20), '{"a":'.repeat(1000),
    'namespace "/" { on "x" { require set never } }', `namespace "/" { on "x" { ack ${'['.repeat(5000)} } }`];

/* ---- what they send ---- */

const placeholder = (n) => `{"_placeholder":true,"num":${n}}`;
const payloads = ['1', '"x"', '"kitchen"', '"vault"', '"__proto__"', '"constructor"', '"*"', '"own:*"', '"own:7"', '"\\u0000"', '""', '"user:warden"', 'null', '{}', '[]', '-0', '1e999',
    '"\\ud800"', '{"__proto__":{"by":"warden"}}', '{"by":"warden"}', placeholder(0), placeholder(1), '{"_placeholder":true,"num":"0"}', `[${placeholder(0)}]`,
    '{"_placeholder":true,"num":0,"num":0}', '9'.repeat(400), `"${'é'.repeat(3000)}"`, '['.repeat(63) + ']'.repeat(63), '['.repeat(70) + ']'.repeat(70),
    `{${Array.from({ length: 500 }, (_, i) => `"k${i}":${i}`).join()}}`];
const events = ['vault', 'leak', 'join', 'in', 'leave', 'say', 'name', 'user', 'bin', 'obj', 'here', '__proto__', 'constructor', 'toString', '', 'connection', 'user online',
    'user offline', 'authenticated', 'unauthorized', 'token expiring', 'join\\u0000', '\\u0076ault', 'x'.repeat(128), 'steady'];
const ends = ['connect', 'disconnect', 'disconnecting', 'newListener', 'x'.repeat(129), '\\ud800']; /* what ends a connection */
const args = () => Array.from({ length: below(5) }, () => `,${one(payloads)}`).join('');
const space = () => one(['', '', '', '/open,', '/sometimes,', '/nowhere,']);
const id = () => one(['', '', '0', '7', '18446744073709551615', '99999999999999999999', '00']);
function nastiness(siege, self) {
    const own = self.user ? siege.tokens[self.user] : siege.tokens.eve;
    return one([
        () => [`42${space()}${id()}["${one(events)}"${args()}]`], () => [`42${id()}["${one(events)}"${args()}]`], () => [`42["${one(events)}"${args()}]`],
        () => [`42${id()}["authenticate",{"token":"${one([own, siege.tokens.mallory, misSign(siege.tokens.warden), 'a.b.c', ''])}"}]`],
        () => ['42["name","x"]', '42["obj",{"a":[1]}]'], () => [`42["authenticate"${args()}]`], () => [`43${space()}${id()}[${one(payloads)}]`], () => [`461-${id()}[${placeholder(0)}]`, Buffer.alloc(below(100))],
        () => [`451-${id()}["${one(['bin', 'obj', 'say', 'leak', 'x'])}",${placeholder(0)}]`, Buffer.alloc(below(2000))],
        () => [`452-["bin",${placeholder(1)},${placeholder(0)}]`, Buffer.from('a'), Buffer.from('b')],
        () => [`40${space()}${one(['', '{}', `{"token":"${own}","by":"warden"}`, '[]', '"x"'])}`], () => [`41${space()}`],
        () => Array.from({ length: 300 }, (_, i) => `42["join","own:${i}"]`), () => Array.from({ length: 60 }, () => '42["say","flood"]'),
        () => (random() < 0.2 ? [one([`42["${one(ends)}"]`, '42[1', '42{}', '42[]', '4', '9', '5', 'b4AAA', '451-["bin"]', '459-[1]', '4599999999999-[]', Buffer.alloc(3), '42["x",\u0001]', '1'])] : ['3']),
    ])();
}

/* One after the other, each as long as it lives. */
async function besiege(siege) {
    while (!siege.ends) {
        const self = { user: one([null, 'eve', 'mallory']) };
        const raw = siege.sp.raw();
        const how_long = 5 + below(60);
        if (await raw.status() !== 101) continue;
        raw.send(`40${self.user ? JSON.stringify({ token: siege.tokens[self.user], by: 'warden' }) : ''}`);
        for (let n = 0; n < how_long && !siege.ends && raw.ws.readyState === 1; n++) {
            for (const message of nastiness(siege, self)) raw.ws.send(message);
            siege.sent++;
            if (random() < 0.3) await sleep(below(10));
        }
        if (random() < 0.5) raw.ws.close();
        else raw.ws.terminate();
        siege.sockets++;
        await sleep(below(5));
    }
}

async function reloads(siege) {
    const page = path.join(siege.sp.dir, 'relay.rules');
    for (let version = 1; !siege.ends; version++) {
        const text = random() < 0.5 ? rules(version) : one(wrong);
        fs.rmSync(page, { recursive: true, force: true });
        if (random() < 0.1) {
            if (random() < 0.5) fs.mkdirSync(page);
        } else {
            fs.writeFileSync(page, text);
        }
        process.kill(siege.sp.gateway.pid, 'SIGHUP');
        await sleep(20 + below(60));
    }
    fs.rmSync(page, { recursive: true, force: true });
    fs.writeFileSync(page, rules(0));
    const from = siege.sp.gateway.lines.length;
    process.kill(siege.sp.gateway.pid, 'SIGHUP');
    await siege.sp.gateway.logged(/read anew/, { from });
}

/* Somebody who may be where the others may not. */
async function warden(siege) {
    const client = await siege.sp.connected({ token: siege.tokens.warden });
    const is_hostile = (name) => name === 'eve' || name === 'mallory';
    const complain = (...what) => siege.wrong.push(JSON.stringify(what));
    client.on('disconnect', (reason) => complain('disconnected', reason));
    client.onAny((event, ...said) => {
        siege.heard[event] = (siege.heard[event] ?? 0) + 1;
        const [first] = said;
        if (!['said', 'named', 'bin', 'obj', 'gone', 'online', 'offline'].includes(event)) complain(event, said);
        if (event === 'said' && !(is_hostile(first.by) && Object.keys(first).join() === 'by,id,text' && /^[\w-]{20}$/.test(first.id))) complain(event, said);
        if (event === 'named' && (said.length !== 2 || typeof first !== 'string' || said[1].join() !== 'none')) complain(event, said);
        if (event === 'bin' && !Buffer.isBuffer(first)) complain(event, said);
        if (event === 'obj' && (Buffer.isBuffer(first) || typeof first !== 'object' || Array.isArray(first))) complain(event, said);
        if (/line$/.test(event) && (!is_hostile(first) && first !== 'warden' || (event === 'online' && !said[1].includes('warden')))) complain(event, said);
    });
    assert.equal(await client.emitWithAck('vault'), true);
    assert.equal(await client.emitWithAck('join', 'kitchen'), 1);
    while (!siege.ends) {
        const n = below(2 ** 30);
        const answer = await client.timeout(10_000).emitWithAck('steady', n);
        if (answer !== n) complain('answer', answer, n);
        siege.asked++;
        await sleep(5);
    }
    return client;
}

test(`${seconds} seconds of seed ${seed}`, async (t) => {
    t.diagnostic(`SEED=${seed}`);
    const sp = await instance(t, { rules: rules(0), login: false, settings: { 'gateway.workers': 4, 'gateway.metrics': true, 'gateway.presence_grace': '50ms',
        'gateway.limits.per_address': 0, 'gateway.limits.events_per_second': 2000, 'gateway.limits.rooms': 1000 } });
    const claims = { warden: { roles: ['admin'], rooms: ['kitchen'] }, eve: { roles: ['none'], rooms: ['own:*'] }, mallory: { roles: ['none'], rooms: ['own:*'] } };
    const tokens = Object.fromEntries(Object.entries(claims).map(([sub, more]) => [sub, sp.sign({ sub, ...more })]));
    const siege = { sp, tokens, wrong: [], heard: {}, sent: 0, sockets: 0, asked: 0, ends: false };
    setTimeout(() => { siege.ends = true; }, seconds * 1000);
    const [client] = await Promise.all([warden(siege), reloads(siege), ...Array.from({ length: 24 }, () => besiege(siege))]);

    assert.deepEqual(siege.wrong, []);
    await until(async () => (await client.emitWithAck('steady', 1)) === 1, 'an answer');
    const here = () => new Promise((resolve) => client.emit('here', (...answer) => resolve(answer)));
    await until(async () => (await here())[0] === 1, 'all others to be gone');
    assert.deepEqual(await here(), [1, ['warden']]);
    assert.deepEqual(await client.emitWithAck('in', 'kitchen', 1), ['warden'], 'rooms are kept');
    assert.equal((await request(`${sp.url}/healthz`)).status, 200);
    await until(async () => {
        await sleep(100); /* longer than the grace, in which they have not gone */
        (await sp.connected({ token: tokens.eve })).disconnect();
        return siege.heard.online > 0;
    }, 'a user who comes after all have gone to be told of');
    t.diagnostic(JSON.stringify({ sent: siege.sent, sockets: siege.sockets, asked: siege.asked, ...siege.heard }));
    for (const event of ['said', 'named', 'bin', 'obj', 'gone']) assert.ok(siege.heard[event] > 0, event);
});
