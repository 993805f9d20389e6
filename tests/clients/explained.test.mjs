/*
 * Rules made by chance, events made by chance: what `--explain` says goes out is, byte for byte, what
 * a running gateway sends; and what it says is set, joined and left is what the next event is
 * explained with.  SEED=N repeats a run, STEPS=N is for a longer one.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { dice, flavour, instance, program, run, within } from '../lib.mjs';

const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 32));
const steps = Number(process.env.STEPS ?? (flavour === 'release' ? 90 : 45)); /* a sanitizer starts slowly */

const { random, below, one } = dice(seed);
const chance = (part) => random() < part;
const some = (most, make) => Array.from({ length: below(most + 1) }, make);

/* ---- rules ---- */

/* Whoever listens along would change the counts: they are asked only where the socket is alone. */
const values = (world) => ['$1', '$2', '$event', '$id', '$auth', '$auth.nick', '$auth["d e"].f', '$a', '$b', '1.5e3', '"text $$"', '"<$1>"',
    '"$auth.nick $b."', '{"k": $1, "l": [$2, null]}', ...(world.mode === 'none' ? [] : ['$user', '"$user!"', '$claims.roles', '$claims.level']),
    ...(world.is_alone ? ['$count("hall")', '"$count(\\"r:$1\\") of $sent"', '$sent', ...(world.mode === 'none' ? [] : ['$members("hall")', '$members("r:$1")'])] : [])];
const argued = /\$(\d|event|args)/;
const room = (world) => one(['"hall"', '"r:$1"', '"r:$b"', '"id:$id"', ...(world.mode === 'none' ? [] : ['"user:$user"', '"user:$1"'])]);
const type = () => one(['string', 'integer', 'number', 'boolean', 'object', 'array']);
const guard = (world) => one([`set ${one('ab')}`, `unset ${one('ab')}`, `in ${one(['"hall"', '"r:$1"', '"r:$b"'])}`,
    `${type()} ${one(['$1', '$2', '$a', '$auth.nick'])}`, `count ${below(3)}`,
    ...(world.mode === 'none' ? [] : [`claim roles ${one(['"admin"', '"team:*"', '$1', '"team:$1"'])}`, `claim level ${one(['3', '$1', 'true'])}`]),
    ...(world.mode === 'optional' ? ['user', 'guest'] : [])]);
const list = (world) => some(2, () => one(values(world))).join(', ');
function action(world, where) {
    const target = one(['self', 'others', 'all', 'volatile all', `in ${room(world)}`, `to ${room(world)}`]);
    if (chance(0.5)) return `emit ${target} ${where === 'on' && chance(0.3) ? '' : `"${one(['out', 'é', 'x y'])}"`} ${one(['', list(world), '$args'])}`;
    return one([() => `ack ${one([list(world) || '7', '$args'])}`, () => `set ${one('ab')} ${one(values(world))}`,
        () => `unset ${one('ab')}`, () => `join ${one(['"hall"', '"r:$1"', '"r:$b"'])}`, () => `leave ${one(['"hall"', '"r:$1"'])}`])();
}
function body(world, where) {
    const guards = some(chance(0.5) ? 0 : 2, () => `require ${guard(world)}`);
    if (chance(0.08)) /* the listener has no nick */
        return [...(where === 'on' ? guards : ['require integer $auth.nick']), 'deny "not \\u00e9"'];
    return [...guards, ...(where === 'on' && chance(0.2) ? ['limit 1000 per 1s'] : []), ...some(4, () => action(world, where)), action(world, where),
        ...(where === 'on' && chance(0.06) ? ['disconnect'] : [])];
}

/* The base lets every variable be set and every room be joined; what does not fit to it is not taken. */
const base = (world) => [`authenticate ${world.mode}`, 'on "enter" { set a $1; set b $2; join "hall"; join "r:$1"; join "r:$2" }', 'on "sync" { ack true }'];
const page = (world) => `namespace "${world.space}" {\n${world.rules.join('\n')}\n}\n`;
function makeRules(world, sp) {
    world.rules = base(world);
    const triggers = ['on "e1"', 'on "e1"', 'on "e2"', 'on "e2"', 'on "e2"', 'on "e3"', 'on "e*"', 'on "*"', 'when connection', 'when connection',
        'when disconnecting', 'when disconnect', 'when user online'].filter((name) => world.mode !== 'none' || !name.includes('user'));
    for (const trigger of triggers) {
        for (let tries = 0; tries < 8; tries++) {
            const rule = `${trigger} { ${body(world, trigger.slice(0, 2)).join('; ')} }`;
            if (trigger.startsWith('when') && argued.test(rule)) continue;
            world.rules.push(rule);
            fs.writeFileSync(path.join(sp.dir, 'relay.rules'), page(world));
            if (run(program('sallyport-gateway'), ['-c', sp.config, '--check']).status === 0) break;
            world.rules.pop();
        }
    }
    fs.writeFileSync(path.join(sp.dir, 'relay.rules'), page(world));
}

/* ---- what is said ---- */

function explain(world, args, input = '') {
    const self = world.self;
    const who = !self.user ? [] : self.by_token ? ['--token'] : ['--user', self.user, '--claims', JSON.stringify(self.claims)];
    const all = ['--explain', '-c', world.sp.config, '--namespace', world.space, ...who, ...(self.auth ? ['--auth', self.auth] : []),
        ...[...self.rooms].flatMap((name) => ['--room', name]), ...[...self.set].flatMap(([name, json]) => ['--set', `${name}=${json}`]), ...args];
    const { status, stdout, stderr } = run(program('sallyport-gateway'), all, { input: self.by_token ? self.token : input });
    assert.deepEqual({ status, stderr }, { status: 0, stderr: '' }, all.join(' '));
    return stdout;
}

/* The packets for the socket itself and for the other who listens; and what it has and is in then. */
function follow(world, text) {
    const self = world.self, mine = [], theirs = [];
    const named = (name) => name === `id:the-socket-that-asks` || (self.user && name === `user:${self.user}`);
    for (const line of text.slice(text.indexOf('\nthen') + 1).split('\n')) {
        const [, what, name, rest] = line.match(/^ {2}(to all in room|to all others in room|join|leave) ("(?:[^"\\]|\\.)*")(.*)$/) ?? [];
        const target = name && JSON.parse(name), packet = (rest ?? line).match(/: (4.*)$/)?.[1];
        const change = line.match(/^ {2}(set|unset) (\w+)(?: (.*))?$/);
        if (what === 'join') self.rooms.add(target);
        else if (what === 'leave') self.rooms.delete(target);
        else if (change?.[1] === 'set') self.set.set(change[2], change[3]);
        else if (change) self.set.delete(change[2]);
        if (!packet) continue;
        const to_me = what === 'to all in room' ? self.rooms.has(target) || named(target) : !/^ {2}to all others/.test(line);
        const to_them = what ? world.other?.rooms.includes(target) : /^ {2}to all /.test(line);
        if (to_me && !self.is_leaving) mine.push(packet);
        if (to_them && world.other) theirs.push(packet);
    }
    world.packets.mine += mine.length;
    world.packets.theirs += theirs.length;
    world.packets.errors += mine.filter((packet) => packet.includes('[{"error"')).length;
    return { mine, theirs };
}

/* ---- what is done ---- */

const prefix = (world) => (world.space === '/' ? '' : `${world.space},`);

async function connect(world, auth, from = []) {
    const raw = world.sp.raw();
    assert.match(await raw.receive(), /^0/);
    raw.id = null;
    raw.heard = from;
    raw.ask = async (count) => {
        while (raw.heard.length < count) {
            let message = await raw.receive();
            assert.ok(message !== null, 'the connection to be there');
            if (message === '2') { raw.send('3'); continue; }
            raw.id ??= message.match(/^40.*\{"sid":"([^"]*)"\}$/)?.[1];
            if (raw.id) message = message.replaceAll(raw.id, 'the-socket-that-asks');
            raw.heard.push(message);
        }
    };
    /* All that was sent before the answer. */
    raw.settle = async () => {
        const mark = `43${prefix(world)}99[true]`;
        raw.send(`42${prefix(world)}99["sync"]`);
        while (!raw.heard.includes(mark)) await raw.ask(raw.heard.length + 1);
        return raw.heard.splice(0).filter((message) => message !== mark);
    };
    raw.send(`40${prefix(world)}${auth}`);
    return raw;
}

async function listenAlong(world) {
    world.other = { rooms: ['hall', 'r:x', 'r:1', 'user:bob'] };
    if (world.mode === 'none') world.other.rooms.pop();
    world.other.raw = await connect(world, world.mode === 'none' ? '' : JSON.stringify({ token: world.sp.sign({ sub: 'bob' }) }));
    await world.other.raw.ask(1);
    assert.match(world.other.raw.heard[0], /^40/, 'the listener is let in');
    world.other.raw.send(`42${prefix(world)}["enter","x",1]`);
    await new Promise((resolve) => setTimeout(resolve, 100)); /* its own presence is over */
    await world.other.raw.settle();
}

/* Somebody new comes: the moments at which that is, and `--when` each of them. */
async function begin(world) {
    const is_guest = world.mode === 'none' || (world.mode === 'optional' && chance(0.4));
    const self = { rooms: new Set(), set: new Map(), user: is_guest ? null : `u${world.lives++}`, by_token: chance(0.5),
        claims: { roles: one([['admin', 'x'], 'admin', ['team:*'], [1, { a: [] }], 'x']), level: one([3, '3', true, null]) } };
    const auth = { ...(chance(0.5) ? { nick: one(['Nick', 5, 'x']) } : {}), ...(chance(0.3) ? { 'd e': { f: [1] } } : {}) };

    world.self = self;
    if (self.user) self.token = world.sp.sign({ sub: self.user, ...self.claims });
    self.auth = JSON.stringify({ ...(self.user ? { token: self.token } : {}), ...auth });
    if (is_guest) self.by_token = false;
    const due = follow(world, explain(world, ['--when', 'connection']));
    self.raw = await connect(world, self.auth);
    if (due.mine[0].startsWith('44')) {
        await self.raw.ask(1);
        assert.deepEqual(self.raw.heard.splice(0), due.mine);
        return false;
    }
    const online = self.user ? follow(world, explain(world, ['--when', 'user online'])) : { mine: [], theirs: [] };
    await self.raw.ask(due.mine.length + online.mine.length);
    assert.deepEqual(await self.raw.settle(), [...due.mine, ...online.mine], 'what a new socket hears');
    await compareOther(world, [...due.theirs, ...online.theirs]);
    return true;
}

async function compareOther(world, due) {
    if (!world.other) return;
    const id = world.self.raw.id;
    await world.other.raw.ask(due.length);
    assert.deepEqual((await world.other.raw.settle()).map((message) => (id ? message.replaceAll(id, 'the-socket-that-asks') : message)), due, 'what others hear');
}

/* Its last words; by then it hears nothing. */
async function end(world) {
    world.self.is_leaving = true;
    const { theirs } = follow(world, explain(world, ['--when', 'disconnecting']));
    world.self.rooms.clear();
    const last = follow(world, explain(world, ['--when', 'disconnect']));
    world.self.raw.send('1');
    await compareOther(world, [...theirs, ...last.theirs]);
    await within(world.self.raw.closed(), 'the end');
}

const plain = ['"x"', '1', '"hall"', '"bob"'];
const texts = ['"x"', '1', '"admin"', '"bob"', '-0', '1.5', 'true', 'null', '{}', '[1, {"d": "\\u00e9"}]', '"\\ud800"', '""', '12345678901234567890', '"a b"'];

async function step(world) {
    const self = world.self;
    const event = [self.set.size < 2 && chance(0.5) ? 'enter' : one(['e1', 'e2', 'e3', 'e4', 'other', 'disconnected']), 
        ...Array.from({ length: chance(0.8) ? 2 : below(4) }, () => (self.user && chance(0.1) ? `"${self.user}"` : one(chance(0.6) ? plain : texts)))];
    const text = explain(world, event);
    const { mine, theirs } = follow(world, text);
    const sent = text.match(/^event (.*)$/m)[1];
    const is_end = mine.at(-1) === `41${prefix(world)}`;

    self.raw.send(`42${prefix(world)}0${sent}`);
    if (is_end) {
        await self.raw.ask(mine.length);
        assert.deepEqual(self.raw.heard.splice(0), mine, text);
        self.is_leaving = true;
        theirs.push(...follow(world, explain(world, ['--when', 'disconnecting'])).theirs);
        self.rooms.clear();
        theirs.push(...follow(world, explain(world, ['--when', 'disconnect'])).theirs);
        self.raw.ws.close();
    } else {
        assert.deepEqual(await self.raw.settle(), mine, text);
    }
    await compareOther(world, theirs);
    return !is_end;
}

test(`${steps} events of seed ${seed} are sent as explained`, async (t) => {
    t.diagnostic(`SEED=${seed}`);
    const packets = { mine: 0, theirs: 0, errors: 0 };
    for (const mode of ['none', 'optional', 'required']) {
        for (const is_alone of flavour === 'release' ? [true, false] : [chance(0.5)]) {
            const sp = await instance(t, { rules: 'namespace "/" {}', login: false, settings: { 'gateway.workers': is_alone ? 1 : 4,
                'gateway.limits.events_per_second': 0, 'gateway.presence_grace': '1ms' } });
            const world = { sp, packets, mode, is_alone, lives: 0, space: one(['/', '/a']) };
            try {
                makeRules(world, sp);
                const from = sp.gateway.lines.length;
                process.kill(sp.gateway.pid, 'SIGHUP');
                await sp.gateway.logged(/read anew/, { from });
                if (!is_alone) await listenAlong(world);
                for (let n = 0; n < steps / 6; world.lives++) {
                    if (!await begin(world)) { n++; continue; }
                    let lives = true;
                    for (let here = 3 + below(8); lives && here > 0; here--, n++) lives = await step(world);
                    if (lives) await end(world);
                }
            } catch (error) {
                error.message = `SEED=${seed}, ${mode}, ${is_alone ? 'alone' : 'not alone'}: ${error.message}\n${page(world)}`;
                throw error;
            }
            await sp.stop();
        }
    }
    t.diagnostic(JSON.stringify(packets));
    assert.ok(packets.mine - packets.errors > steps / 4 && (flavour !== 'release' || packets.theirs > 0), 'there was something to compare');
});
