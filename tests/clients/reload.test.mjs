/*
 * Keys, rules and config change while both services run: whole or not at all, and whoever is
 * connected, is connecting or talks meanwhile notices nothing but what has changed.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { instance, must, next, payload, program, request, until, within } from '../lib.mjs';

const file = (sp, ...names) => path.join(sp.dir, ...names);
const writeRules = (sp, text) => fs.writeFileSync(file(sp, 'relay.rules'), text);

/* Do something that a service has to take notice of, and wait until it says so. */
async function noticed(service, words, action) {
    const from = service.lines.length;
    action();
    return (await service.logged(words, { from }))[0];
}

const hangUp = (service) => process.kill(service.pid, 'SIGHUP');
const taken = /read anew/;
const reload = (sp, words = taken) => noticed(sp.gateway, words, () => hangUp(sp.gateway));

/* ---- under load ---- */

const rules = (version) => `
namespace "/" {
    authenticate required
    on "say"     { emit all }
    on "echo"    { ack $args }
    on "version" { ack ${version} }
    ${version % 2 ? 'on "odd" { require claim odd true; set odd $claims.odd }' : ''}
}`;

const form = { 'Content-Type': 'application/x-www-form-urlencoded' };

async function logIn(url) {
    const answer = await request(`${url}/login`,
        { method: 'POST', headers: form, body: 'username=ann&password=correct+horse' });
    if (answer.status === 429) { /* more logins of one user are under way than may be */
        await sleep(1000 * Number(answer.headers['retry-after']));
        return logIn(url);
    }
    assert.equal(answer.status, 200, answer.body);
    return JSON.parse(answer.body).token;
}

/* Somebody who stays, says numbers, and hears everybody's, each the next one. */
async function talker(load, number) {
    const client = await load.sp.connected({ token: load.firstToken });
    const self = { client, said: 0, heard: load.talkers.map(() => 0) };
    client.on('disconnect', (reason) => load.wrong.push(`talker ${number} was disconnected: ${reason}`));
    client.on('say', (from, n) => {
        const due = self.heard[from] ?? 0;
        if (n !== due) load.wrong.push(`talker ${number} heard ${n} of ${from}, ${due} was due`);
        self.heard[from] = n + 1;
    });
    return self;
}

/* Somebody who logs in, comes and goes, now by one transport, now by the other. */
async function comer(load, number) {
    for (let visit = 0; !load.ends; visit++) {
        const round = load.round;
        const token = await logIn(load.url);
        load.kids.add(JSON.parse(Buffer.from(token.split('.')[0], 'base64url')).kid);
        load.rounds[number] = round; /* what it holds was signed in this round or later */
        for (const transports of [['websocket'], ['polling']]) {
            const client = await load.sp.connected({ token, transports });
            assert.equal(await client.timeout(10_000).emitWithAck('echo', visit), visit);
            client.disconnect();
            load.visits++;
        }
    }
}

async function talk(load) {
    while (!load.ends) {
        load.talkers.forEach((self, number) => self.client.emit('say', number, self.said++));
        await sleep(10);
    }
}

/* A change of the keys, of which both services have to take notice. */
async function changed(sp, action) {
    const login = noticed(sp.login, taken, () => {});
    await noticed(sp.gateway, taken, action);
    await login;
}

/* Add, wait, move the link, wait, remove: here without waiting longer than has to be. */
async function changeKey(load, algorithm, old) {
    const { sp } = load;
    let fresh;
    await changed(sp, () => {
        fresh = sp.cli('key', 'generate', '--algorithm', algorithm).trim();
    });
    await changed(sp, () => sp.cli('key', 'activate', fresh));
    load.round++;
    await until(() => load.wrong.length > 0 || load.rounds.every((round) => round === load.round),
        'everybody to hold a new token', 60_000);
    assert.deepEqual(load.wrong, []);
    assert.ok(load.kids.has(fresh), `nothing was signed with ${fresh}`);
    await changed(sp, () => sp.cli('key', 'retire', old, '--force'));
    return fresh;
}

test('keys and rules change under load: no wrong refusal, no lost event', async (t) => {
    const sp = await instance(t, { rules: rules(0), settings: { 'gateway.workers': 4, 'gateway.limits.per_address': 0,
        'gateway.limits.per_user': 0, 'gateway.limits.events_per_second': 0 } });
    const load = { sp, url: await sp.web(), firstToken: sp.token(), wrong: [], kids: new Set(), round: 0, visits: 0,
        talkers: [], rounds: [0, 0, 0, 0] };
    t.after(() => { load.ends = true; });
    let key = JSON.parse(Buffer.from(load.firstToken.split('.')[0], 'base64url')).kid;
    for (let i = 0; i < 8; i++) load.talkers.push(await talker(load, i));
    const work = Promise.all([talk(load), ...load.rounds.map((_, number) => comer(load, number))])
        .catch((error) => load.wrong.push(error.stack));

    for (const [version, algorithm] of ['ES256', 'HS512', 'RS256'].entries()) {
        key = await changeKey(load, algorithm, key);
        writeRules(sp, rules(version + 1));
        await reload(sp);
        assert.equal(await load.talkers[version].client.timeout(10_000).emitWithAck('version'), version + 1);
        assert.deepEqual(load.wrong, []);
    }
    load.ends = true;
    await within(work, 'the load to end', 60_000);
    /* An answer comes after all that was sent before; each worker drains its letters first. */
    await Promise.all(load.talkers.map(({ client }) => client.timeout(30_000).emitWithAck('echo')));
    await until(() => load.talkers.every((self) =>
        self.heard.every((n, from) => n === load.talkers[from].said)), 'everybody to hear everything').catch(() => {});
    for (const self of load.talkers) assert.deepEqual(self.heard, load.talkers.map(({ said }) => said));
    assert.deepEqual(load.wrong, []);
    assert.ok(load.visits >= 24, `only ${load.visits} visits`);
    t.diagnostic(`${load.visits} visits, ${load.talkers[0].said * 64} events heard, keys ${[...load.kids].join(' ')}`);

    const [error] = await next(sp.client({ token: load.firstToken }), 'connect_error');
    assert.equal(error.message, 'invalid signature', 'the first key is gone');
    for (const service of [sp.gateway, sp.login]) assert.doesNotMatch(service.output(), /nothing is changed|stay as they were/);
});

/* ---- one thing at a time ---- */

test('what is wrong anywhere changes nothing, and is said', async (t) => {
    const sp = await instance(t, { rules: rules(1), login: false });
    const token = sp.token();
    const client = await sp.connected({ token });
    const config = fs.readFileSync(sp.config, 'utf8');
    const refused = async (action, words) => {
        action();
        assert.match(await reload(sp, /nothing is changed: .*/), words);
        assert.equal(await client.emitWithAck('version'), 1);
        await sp.connected({ token });
    };

    await refused(() => writeRules(sp, 'namespace "/" {\n  on "say" { emmit all } }'), /relay\.rules:2:14: .*emit/);
    writeRules(sp, rules(2));
    await refused(() => fs.writeFileSync(sp.config, `${config}\ncolour = "red";\n`), /sallyport\.conf:\d+: colour/);
    fs.writeFileSync(sp.config, config);
    const spoilt = file(sp, 'keys', 'spoilt.jwk');
    await noticed(sp.gateway, /the keys stay as they were: .*spoilt\.jwk/, () => fs.writeFileSync(spoilt, '{', { mode: 0o640 }));
    await refused(() => {}, /spoilt\.jwk/);
    await noticed(sp.gateway, taken, () => fs.rmSync(spoilt));
    assert.equal(await client.emitWithAck('version'), 1, 'changed keys are read alone');
    await reload(sp);
    assert.equal(await client.emitWithAck('version'), 2);
});

test('keys change while config and rules are half written', async (t) => {
    const sp = await instance(t, { rules: rules(1) });
    writeRules(sp, 'namespace "/" {');
    fs.appendFileSync(sp.config, 'gateway: {');
    const config = fs.readFileSync(sp.config, 'utf8');
    const own = file(sp, 'own.conf'); /* what the command reads */
    fs.writeFileSync(own, config.replace(/gateway: \{$/, ''));
    for (const service of [sp.gateway, sp.login])
        await noticed(service, taken, () => must(program('sallyport'), ['-c', own, 'key', 'generate', '--activate']));
    const token = must(program('sallyport'), ['-c', own, 'token', 'issue', 'ann']).trim();
    assert.equal(await (await sp.connected({ token })).emitWithAck('version'), 1);
});

test('what only a restart changes is said, the rest is changed', async (t) => {
    const sp = await instance(t, { rules: rules(1), login: false, settings: { 'gateway.workers': 2,
        'gateway.limits.max_payload': 5000 } });
    const config = fs.readFileSync(sp.config, 'utf8');
    fs.writeFileSync(sp.config, config.replace('workers = 2', 'workers = 3').replace('max_payload = 5000', 'max_payload = 6000'));
    await reload(sp, /only a restart changes gateway\.workers$/);
    await until(async () => JSON.parse((await sp.raw().receive()).slice(1)).maxPayload === 6000, 'the rest'); /* it is said first */
});

test('who is connected keeps variables and rooms, and is under the new rules at once', async (t) => {
    const page = (rest) => `namespace "/" { authenticate required
        on "sync" { ack true }
        ${rest} }`;
    const sp = await instance(t, { login: false, users: { ann: { claims: { first: 'one', second: 'two' } } },
        rules: page(`on "keep"  { set lost $1; set kept $2; join "hall"; ack $claims.first }
                     on "fast"  { limit 1 per 1h; ack true }`) });
    const client = await sp.connected({ token: sp.token() });
    const ask = (...event) => client.timeout(5000).emitWithAck(...event);
    assert.equal(await ask('keep', 1, { a: [2] }), 'one');
    assert.equal(await ask('fast'), true);
    assert.deepEqual(await ask('fast'), { error: 'limited' });

    writeRules(sp, page(`on "fresh" { set extra $1; ack $claims.second }
                         on "keep"  { set kept $1; join "hall" }
                         on "kept"  { require set kept; require unset extra; require in "hall"; ack $kept }
                         on "fast"  { limit 1 per 1h; ack true }`));
    await reload(sp);
    await ask('sync');
    assert.deepEqual(await ask('kept'), { a: [2] });
    assert.equal(await ask('fast'), true, 'buckets start anew');
    assert.equal(await ask('fresh', 1), 'two', 'a claim that the old rules did not name');
    assert.deepEqual(await ask('kept'), { error: 'denied' });
});

/* Their last words are the old rules', about the old rules' claims. */
test('a namespace that is gone disconnects its sockets and nobody else', async (t) => {
    const page = (rest) => `namespace "/" { authenticate required; on "secret" { ack $claims.secret } }\n${rest}`;
    const many = Array.from({ length: 30 }, (_, i) => `$claims.none${i}`);
    const sp = await instance(t, { login: false, users: { ann: { claims: { open: 'open', secret: 'secret' } } },
        settings: { 'gateway.workers': 1 },
        rules: `namespace "/gone" { authenticate required
            when disconnect { emit others "left" $claims.open }
            on "many" { ack ${many.join(', ')} }
            when disconnecting { require claim none29 true; emit others "never" }
        }\n${page('')}` });
    const token = sp.token();
    const stays = await sp.connected({ token });
    const clients = [await sp.connected({ token, namespace: '/gone' }), await sp.connected({ token, namespace: '/gone' })];
    const heard = [];
    for (const client of clients) client.onAny((...event) => heard.push(event));
    const gone = clients.map((client) => next(client, 'disconnect'));

    writeRules(sp, page(''));
    await reload(sp);
    for (const reason of await Promise.all(gone)) assert.equal(reason[0], 'io server disconnect');
    assert.deepEqual(heard, [['left', 'open']], 'the second to go heard the first');
    assert.equal(await stays.emitWithAck('secret'), 'secret');
    const [error] = await next(sp.client({ token, namespace: '/gone' }), 'connect_error');
    assert.equal(error.message, 'Invalid namespace');
});

/* Under `required` a `require user` is not even asked. */
test('where a token is wanted from now on, those who have shown none are disconnected', async (t) => {
    const page = (mode) => `namespace "/" { authenticate ${mode}
        on "vote" { ${mode === 'none' ? '' : 'require user; '}emit all "voted"; ack true }
        when disconnect { emit all "left" $id } }`;
    const sp = await instance(t, { login: false, rules: page('optional') });
    for (const [before, after] of [['optional', 'required'], ['none', 'required'], ['optional', 'later'], ['none', 'later']]) {
        writeRules(sp, page(before));
        await reload(sp);
        const user = before === 'none' ? null : await sp.connected({ token: sp.token() });
        const guest = await sp.connected();
        const end = next(guest, 'disconnect');
        writeRules(sp, page(after));
        await reload(sp);
        guest.emit('vote');
        assert.deepEqual((await end)[0], 'io server disconnect', `${before}, then ${after}`);
        if (user) assert.equal(await user.emitWithAck('vote'), true);
    }
    const late = await sp.connected(); /* not in yet, and may still show one */
    writeRules(sp, page('required'));
    await reload(sp);
    await late.emitWithAck('authenticate', { token: sp.token() });
    assert.equal(await late.emitWithAck('vote'), true);
});
