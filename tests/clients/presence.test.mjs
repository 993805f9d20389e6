/* Who is there: users, not sockets, across workers; and the lists of them. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { instance, next, until } from '../lib.mjs';

const names = ['ann', 'bob', 'cleo'];
const users = Object.fromEntries(names.map((name) => [name, {}]));
const settings = { 'gateway.workers': 4, 'gateway.presence_grace': '300ms' };

const page = (rest) => `namespace "/" {
    authenticate optional
    when connection { join "hall" }
    on "sync" { ack true }
    ${rest}
}`;
const presence = `
    when user online  { emit all "online" $user, $count("hall"); emit in "news" "came" $user }
    when user offline { emit all "offline" $user, $members("hall") }
    on "news" { join "news" }`;

/* Somebody who notes what is said of presence. */
async function watcher(sp, options) {
    const client = await sp.connected(options);
    client.said = [];
    for (const word of ['online', 'offline', 'came']) client.on(word, (...args) => client.said.push([word, ...args]));
    return client;
}

const settled = (ms = 1000) => new Promise((resolve) => setTimeout(resolve, ms)); /* a grace, and thrice that */

async function reload(sp, text) {
    const from = sp.gateway.lines.length;
    fs.writeFileSync(path.join(sp.dir, 'relay.rules'), text);
    process.kill(sp.gateway.pid, 'SIGHUP');
    await sp.gateway.logged(/read anew/, { from });
}

test('three tabs are one, and a page that is loaded anew is no event', async (t) => {
    const sp = await instance(t, { rules: page(presence), users, login: false, /* a slow machine loads a page slowly */
        settings: { ...settings, 'gateway.presence_grace': '2s' } });
    const guest = await watcher(sp);
    const token = sp.token('ann');
    await guest.emitWithAck('news');

    const tabs = [];
    for (let i = 0; i < 3; i++) tabs.push(await sp.connected({ token }));
    await until(() => guest.said.length >= 2, 'ann to be online');
    tabs[0].disconnect();
    for (let i = 0; i < 5; i++) { /* the page is loaded anew, with nothing else open */
        if (i === 2) tabs[2].disconnect();
        tabs[1].disconnect();
        tabs[1] = await sp.connected({ token });
    }
    await settled(2500);
    assert.deepEqual(guest.said.map(([word, who]) => [word, who]), [['online', 'ann'], ['came', 'ann']]);
    const before = Date.now();
    tabs[1].disconnect();
    await until(() => guest.said.length > 2, 'ann to be offline');
    assert.ok(Date.now() - before >= 1900, 'not before the grace is over');
    assert.deepEqual(guest.said.at(-1), ['offline', 'ann', []]);
    tabs[1] = await sp.connected({ token });
    await until(() => guest.said.length > 4, 'ann to be online again');
    assert.deepEqual(guest.said.slice(3).map(([word, who]) => [word, who]), [['online', 'ann'], ['came', 'ann']]);
});

test('many users who come and go at once: each event once, and right in the end', async (t) => {
    const many = Array.from({ length: 12 }, (_, i) => `user${i}`);
    const sp = await instance(t, { rules: page(presence), users: Object.fromEntries(many.map((name) => [name, {}])),
        settings, login: false });
    const guest = await watcher(sp);
    const tokens = many.map((name) => sp.token(name));
    const clients = await Promise.all([0, 1, 2].flatMap(() => tokens.map((token) => sp.connected({ token }))));
    await until(() => guest.said.length >= many.length, 'all to be online');
    clients.slice(12).forEach((client) => client.disconnect());
    clients.slice(0, 6).forEach((client) => client.disconnect());
    await until(() => guest.said.length >= many.length + 6, 'six to be offline');
    await settled();
    const of = (word) => guest.said.filter(([said]) => said === word).map(([, who]) => who).sort();
    assert.deepEqual(of('online'), [...many].sort());
    assert.deepEqual(of('offline'), many.slice(0, 6).sort());
});

test('rules that begin to ask are told nothing of those who were there', async (t) => {
    const sp = await instance(t, { rules: page(''), users, settings, login: false });
    const guest = await watcher(sp);
    const ann = await sp.connected({ token: sp.token('ann') });
    const bob = await sp.connected({ token: sp.token('bob') });
    await reload(sp, page(presence));
    for (const client of [guest, ann, bob]) await client.emitWithAck('sync'); /* each worker has them */
    ann.disconnect();
    await until(() => guest.said.length > 0, 'ann to be offline');
    assert.deepEqual(guest.said, [['offline', 'ann', ['bob']]]);
    await reload(sp, page(''));
    await guest.emitWithAck('sync');
    await bob.emitWithAck('sync');
    bob.disconnect();
    await settled();
    assert.equal(guest.said.length, 1);
});

/* ---- $members ---- */

const rooms = page(`
    on "join"  { require string $1; join "room:$1"; emit in "room:$1" "members" $members("room:$1"); ack true }
    on "leave" { leave "room:$1"; ack $members("room:$1") }
    on "who"   { ack $members("room:$1") }`);

test('members: each user once, in the order of coming, at once after an answer', async (t) => {
    const sp = await instance(t, { rules: rooms, users, settings, login: false });
    const clients = {};
    for (const name of names)
        clients[name] = await Promise.all([0, 1, 2].map(() => sp.connected({ token: sp.token(name) })));
    const guest = await sp.connected();
    const everybody = [...names.flatMap((name) => clients[name]), guest];

    await guest.emitWithAck('join', 'a');
    for (const [i, name] of names.entries()) {
        for (const client of clients[name]) await client.emitWithAck('join', 'a');
        for (const client of everybody) /* whichever worker is asked */
            assert.deepEqual(await client.emitWithAck('who', 'a'), names.slice(0, i + 1));
    }
    assert.deepEqual(await clients.bob[0].emitWithAck('leave', 'a'), names, 'two of his are left');
    await clients.bob[1].emitWithAck('leave', 'a');
    assert.deepEqual(await clients.bob[2].emitWithAck('leave', 'a'), ['ann', 'cleo']);
    assert.deepEqual(await guest.emitWithAck('who', 'nowhere'), []);
    for (const client of [...clients.ann, ...clients.cleo]) client.disconnect();
    await until(async () => (await guest.emitWithAck('who', 'a')).length === 0, 'the room to be without users');
});

test('members are right after rules that did not ask, and bounded', async (t) => {
    const sp = await instance(t, { rules: page('on "join" { join "room:$1"; ack true }'), users,
        settings: { ...settings, 'gateway.limits.members': 2 }, login: false });
    const ann = await sp.connected({ token: sp.token('ann') });
    const bob = await sp.connected({ token: sp.token('bob') });
    const cleo = await sp.connected({ token: sp.token('cleo') });
    for (const client of [ann, bob]) await client.emitWithAck('join', 'a');
    await reload(sp, rooms);
    for (const client of [ann, bob, cleo]) await client.emitWithAck('sync');
    assert.deepEqual((await cleo.emitWithAck('who', 'a')).sort(), ['ann', 'bob']);
    const [members] = await Promise.all([next(ann, 'members'), cleo.emitWithAck('join', 'a')]);
    assert.deepEqual(members, [null], 'three are too many for a list, not for a room');
    assert.equal(await cleo.emitWithAck('who', 'a'), null);
    await reload(sp, page(''));
    for (const client of [ann, bob, cleo]) await client.emitWithAck('sync');
    await reload(sp, rooms);
    for (const client of [ann, bob, cleo]) await client.emitWithAck('sync');
    assert.deepEqual((await bob.emitWithAck('leave', 'a')).sort(), ['ann', 'cleo']);
});

test('rules that begin to ask for members are never given a part of them', async (t) => {
    const many = Array.from({ length: 16 }, (_, i) => `user${String(i).padStart(2, '0')}`);
    const sp = await instance(t, { rules: page('on "join" { join "room:$1"; ack true }'), login: false,
        settings: { ...settings, 'gateway.limits.events_per_second': 0 } });
    const clients = await Promise.all(many.map((sub) => sp.connected({ token: sp.sign({ sub }) })));
    for (const client of clients) await client.emitWithAck('join', 'a');
    const seen = { whole: 0, none: 0 };
    let ends = false;
    const asking = Promise.all(clients.map(async (client) => {
        while (!ends) {
            const answer = await client.emitWithAck('who', 'a');
            if (answer.error) assert.deepEqual(answer, { error: 'no rule' });
            else assert.deepEqual(answer.sort(), many);
            seen[answer.error ? 'none' : 'whole']++;
        }
    }));
    for (let i = 0; i < 20; i++) {
        await Promise.race([asking, reload(sp, i % 2 ? page('') : rooms)]);
        await Promise.race([asking, new Promise((resolve) => setTimeout(resolve, 20))]);
    }
    ends = true;
    await asking;
    assert.ok(seen.whole > 100 && seen.none > 100, JSON.stringify(seen));
});
