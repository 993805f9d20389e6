/* The pages of deploy/examples do what their prose says. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { instance, next, tree, until } from '../lib.mjs';

const read = (name) => fs.readFileSync(path.join(tree, 'deploy/examples', `${name}.rules`), 'utf8');
const settings = { 'gateway.workers': 4, 'gateway.presence_grace': '300ms' };
const site = (t, rules, users, more) => instance(t, { rules, settings: { ...settings, ...more }, users, login: false });

/* A client that is connected and notes all it hears; those that are due are waited for in order. */
async function listening(sp, options) {
    const client = sp.client(options);
    client.heard = [];
    client.onAny((...event) => client.heard.push(event));
    client.hears = async (...events) => {
        await until(() => client.heard.length >= events.length, `${JSON.stringify(events)}; there was ${JSON.stringify(client.heard)}`);
        assert.deepEqual(client.heard.splice(0, events.length), events);
    };
    await next(client, 'connect');
    return client;
}
const as = (sp, user) => listening(sp, { token: sp.token(user) });
/* All answers so far: after its own, nothing sent before is under way to a client. */
const nothingMore = async (...clients) => {
    for (const client of clients) await client.emitWithAck('no such event');
    for (const client of clients) assert.deepEqual(client.heard, []);
};

test('every example is tested here', () => {
    const there = fs.readdirSync(path.join(tree, 'deploy/examples')).filter((name) => name.endsWith('.rules'));
    assert.deepEqual(there.sort(), ['chat', 'direct', 'feed', 'presence', 'rooms', 'whiteboard'].map((name) => `${name}.rules`));
    for (const name of there) {
        const head = fs.readFileSync(path.join(tree, 'deploy/examples', name), 'utf8').split('\nnamespace')[0];
        assert.ok(head.split('\n').every((line) => line === '' || line.startsWith('#')), `${name} begins with its prose`);
    }
});

/* What the front end of examples/chat says and expects, with or without a login. */
async function chat(sp, people, options) {
    const clients = {};
    for (const [i, name] of people.entries()) {
        clients[name] = await listening(sp, options(name));
        clients[name].emit('add user', name);
        await clients[name].hears(['login', { numUsers: i + 1 }]);
        for (const other of people.slice(0, i))
            await clients[other].hears(['user joined', { username: name, numUsers: i + 1 }]);
    }
    const [first, second, ...rest] = people;
    clients[first].emit('typing');
    clients[first].emit('new message', 'h\u00e9llo <b>');
    clients[first].emit('stop typing');
    for (const name of [second, ...rest])
        await clients[name].hears(['typing', { username: first }],
            ['new message', { username: first, message: 'h\u00e9llo <b>' }], ['stop typing', { username: first }]);
    clients[second].emit('add user', 'again');
    const lurker = await listening(sp, options(first));
    lurker.emit('new message', 'not entered');
    await nothingMore(...Object.values(clients), lurker);
    lurker.disconnect();
    for (let left = people.length; left > 1; left--) {
        const name = people[left - 1];
        clients[name].disconnect();
        for (const other of people.slice(0, left - 1))
            await clients[other].hears(['user left', { username: name, numUsers: left - 1 }]);
    }
    await nothingMore(clients[first]);
}

test('chat', async (t) => {
    const people = ['ann', 'bob', 'cleo', 'dora', 'emil'];
    const sp = await site(t, read('chat'), Object.fromEntries(people.map((name) => [name, {}])));
    const [error] = await next(sp.client(), 'connect_error');
    assert.equal(error.message, 'no token provided');
    await chat(sp, people, (name) => ({ token: sp.token(name) }));
});

test('chat, with the two changes that its prose names for the front end as it is', async (t) => {
    const rules = read('chat').replace(/^( *)authenticate required$/m, '$1authenticate none')
        .replace(/^( *)set username \$user$/m, '$1set username $$1');
    assert.notEqual(rules, read('chat'));
    await chat(await site(t, rules), ['Ann', 'b\u00f6b', '<i>', 'd', '"'], () => ({}));
});

test('whiteboard', async (t) => {
    const sp = await site(t, read('whiteboard'));
    const [ann, bob, cleo] = await Promise.all([1, 2, 3].map(() => listening(sp)));
    const stroke = (x0) => ({ x0, y0: 0.25, x1: 0.5, y1: 1e-7, color: 'black' });
    for (let i = 0; i < 50; i++) ann.emit('drawing', stroke(i / 50));
    for (const other of [bob, cleo])
        await other.hears(...Array.from({ length: 50 }, (_, i) => ['drawing', stroke(i / 50)]));
    await nothingMore(ann);
    assert.deepEqual(await bob.emitWithAck('drawing'), { error: 'bad argument' });
    assert.deepEqual(await bob.emitWithAck('drawing', 'x'), { error: 'bad argument' });
    assert.deepEqual(await bob.emitWithAck('drawing', stroke(0), 1), { error: 'bad argument' });
    for (let i = 0; i < 200; i++) ann.emit('drawing', stroke(0));
    await until(() => bob.heard.length >= 40, 'some strokes');
    await ann.emitWithAck('drawing', stroke(0));
    assert.ok(bob.heard.length < 130, `${bob.heard.length} strokes in no time`);
});

test('rooms', async (t) => {
    const sp = await site(t, read('rooms'), {
        ann: { claims: {} }, bob: { claims: {} } });
    const member = (sub, rooms) => listening(sp, { token: sp.sign({ sub, ...(rooms ? { rooms } : {}) }) });
    const ann = await member('ann', ['kitchen', 'team:*']);
    const bob = await member('bob', 'kitchen');
    const bobs = await member('bob', ['kitchen']);
    const nobody = await member('nobody');

    assert.deepEqual(await ann.emitWithAck('join', 'kitchen'), { users: ['ann'] });
    assert.deepEqual(await bob.emitWithAck('join', 'kitchen'), { users: ['ann', 'bob'] });
    assert.deepEqual(await bobs.emitWithAck('join', 'kitchen'), { users: ['ann', 'bob'] });
    await ann.hears(['joined', 'kitchen', 'bob'], ['joined', 'kitchen', 'bob']);
    await bob.hears(['joined', 'kitchen', 'bob']);
    for (const room of ['team:red', 'team:x']) assert.deepEqual(await ann.emitWithAck('join', room), { users: ['ann'] });
    for (const room of ['team', 'team:red:secret', 'team:', '', 'hall', '*', 'team:*:x'])
        assert.ok('error' in await ann.emitWithAck('join', room), room);
    for (const room of ['kitchen', '*', 'team:red']) assert.deepEqual(await nobody.emitWithAck('join', room), { error: 'denied' });
    for (const room of [7, null, ['kitchen'], { a: 1 }])
        assert.deepEqual(await ann.emitWithAck('join', room), { error: 'bad argument' });

    assert.equal(await ann.emitWithAck('say', 'kitchen', { any: ['thing'] }), 2);
    for (const client of [bob, bobs]) await client.hears(['say', 'kitchen', 'ann', { any: ['thing'] }]);
    assert.deepEqual(await nobody.emitWithAck('say', 'kitchen', 'x'), { error: 'denied' });
    assert.deepEqual(await bob.emitWithAck('leave', 'kitchen'), undefined);
    for (const client of [ann, bobs]) await client.hears(['left', 'kitchen', 'bob']);
    assert.deepEqual(await bob.emitWithAck('say', 'kitchen', 'x'), { error: 'denied' });
    await nothingMore(ann, bob, bobs, nobody);
});

test('direct', async (t) => {
    const sp = await site(t, read('direct'), { ann: {}, bob: {} });
    const ann = await as(sp, 'ann'), anns = await as(sp, 'ann'), bob = await as(sp, 'bob'), bobs = await as(sp, 'bob');
    const message = { from: 'ann', to: 'bob', text: 'hello' };
    assert.deepEqual(await ann.emitWithAck('direct', 'bob', 'hello'), { sent: 2 });
    for (const client of [anns, bob, bobs]) await client.hears(['direct', message]);
    assert.deepEqual(await ann.emitWithAck('direct', 'nobody', 'hello'), { sent: 0 });
    await anns.hears(['direct', { ...message, to: 'nobody' }]);
    assert.deepEqual(await ann.emitWithAck('direct', 'bob', { html: 1 }), { error: 'bad argument' });
    ann.emit('typing', 'bob');
    for (const client of [bob, bobs]) await client.hears(['typing', 'ann']);
    bobs.disconnect();
    await until(async () => (await bob.emitWithAck('direct', 'bob', 'me')).sent === 1, 'the other tab to be gone');
    const answers = [];
    for (let i = 0; i < 25; i++) answers.push(await ann.emitWithAck('direct', 'x', 'x'));
    assert.deepEqual(answers.at(-1), { error: 'limited' });
});

test('presence', async (t) => {
    const sp = await site(t, read('presence'), { ann: {}, bob: {}, cleo: {} }, { 'gateway.presence_grace': '2s' });
    const ann = await as(sp, 'ann');
    await ann.hears(['people', ['ann']], ['online', 'ann']);
    const bob = await as(sp, 'bob');
    await bob.hears(['people', ['ann', 'bob']], ['online', 'bob']);
    await ann.hears(['online', 'bob']);
    const bobs = await as(sp, 'bob');
    await bobs.hears(['people', ['ann', 'bob']]);
    bob.emit('away', 'now');
    for (const client of [ann, bobs]) await client.hears(['away', 'bob']);
    for (const client of [bob, bobs]) client.disconnect();
    const again = await as(sp, 'bob');
    await again.hears(['people', ['ann', 'bob']]);
    await new Promise((resolve) => setTimeout(resolve, 2500));
    await nothingMore(ann, again);
    again.disconnect();
    await ann.hears(['offline', 'bob']);
    const cleo = await as(sp, 'cleo');
    await cleo.hears(['people', ['ann', 'cleo']], ['online', 'cleo']);
});

test('feed', async (t) => {
    const sp = await site(t, read('feed'), { ann: {}, bob: {} });
    const guest = await listening(sp), bob = await as(sp, 'bob');
    const ann = await listening(sp, { token: sp.sign({ sub: 'ann', roles: ['editor'] }) });
    await guest.hears(['hello', { guest: true }]);
    await bob.hears(['hello', { guest: false, user: 'bob' }]);
    await ann.hears(['hello', { guest: false, user: 'ann' }]);
    assert.equal(await guest.emitWithAck('follow', 'news'), 1);
    assert.equal(await bob.emitWithAck('follow', 'news'), 2);

    assert.equal(await ann.emitWithAck('publish', 'news', { text: 'first' }), 2);
    for (const client of [guest, bob]) {
        await until(() => client.heard.length > 0, 'what is published');
        const [[name, news]] = client.heard.splice(0, 1);
        assert.ok(Math.abs(news.at - Date.now() / 1000) < 60);
        assert.deepEqual([name, { ...news, at: 0 }], ['published',
            { topic: 'news', by: 'ann', at: 0, what: { text: 'first' }, listening: 2 }]);
    }
    for (const client of [guest, bob]) assert.match((await client.emitWithAck('publish', 'news', 'x')).error, /^only editors/);
    assert.deepEqual(await guest.emitWithAck('react', 'news', 'like'), { error: 'log in to react' });
    assert.deepEqual(await ann.emitWithAck('react', 'news', 'like'), { error: 'denied' }, 'who reacts follows');
    await bob.emitWithAck('react', 'news', 'like');
    for (const client of [guest, bob]) await client.hears(['reacted', 'news', 'bob', 'like']);

    await guest.emitWithAck('authenticate', { token: sp.token('ann') });
    await guest.hears(['authenticated'], ['hello', { guest: false, user: 'ann' }]);
    await guest.emitWithAck('react', 'news', 'me too');
    for (const client of [guest, bob]) await client.hears(['reacted', 'news', 'ann', 'me too']);
    await guest.emitWithAck('unfollow', 'news');
    await bob.emitWithAck('react', 'news', 'again');
    await nothingMore(guest, ann);
});
