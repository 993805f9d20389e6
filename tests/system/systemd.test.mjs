/*
 * The units under systemd's own tools, and both programs as systemd runs them: with a socket passed
 * to them, and a socket that hears what they say of themselves.  A whole boot is tests/boot's.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { build, folder, freePort, must, program, rawClient, request, run, start, tree, until } from '../lib.mjs';
import { fastcgiAsk, loginRequest } from './fastcgi.mjs';
import { checkAnswer, editConfig, loginInstance } from './login.mjs';

const systemd = path.join(tree, 'deploy/systemd');
const services = ['sallyport-gateway', 'sallyport-login'];
const asRoot = process.getuid() === 0 ? [] : ['sudo', '-n'];
const root = (command, ...args) => run(...split([...asRoot, command, ...args]));
const mustRoot = (command, ...args) => must(...split([...asRoot, command, ...args]));

function split([command, ...args]) {
    return [command, args];
}

/* ---- the units ---- */

test('systemd finds nothing wrong with the units', (t) => {
    const dir = folder(t);
    const units = fs.readdirSync(systemd).filter((name) => /\.(service|socket)$/.test(name));
    assert.deepEqual(units.sort(), services.flatMap((name) => [`${name}.service`, `${name}.socket`]));
    for (const unit of units) fs.copyFileSync(path.join(systemd, unit), path.join(dir, unit));
    for (const name of services) { /* they are not where they will be installed */
        fs.mkdirSync(path.join(dir, `${name}.service.d`));
        fs.writeFileSync(path.join(dir, `${name}.service.d/here.conf`), `[Service]\nExecStart=\nExecStart="${program(name)}"\n`);
    }
    const { status, stdout, stderr } = run('systemd-analyze', ['verify', '--man=no', ...units.map((unit) => path.join(dir, unit))]);
    assert.deepEqual({ status, output: stdout + stderr }, { status: 0, output: '' });
});

for (const name of services) {
    test(`${name} is exposed below 1.5`, () => {
        const unit = path.join(systemd, `${name}.service`);
        const { stdout } = run('systemd-analyze', ['security', '--offline=true', '--no-pager', unit]);
        const [, exposure] = stdout.match(/Overall exposure level for \S+: ([\d.]+)/);
        assert.ok(Number(exposure) < 1.5, stdout);
    });

    test(`${name} comes back whatever happens`, () => {
        const service = fs.readFileSync(path.join(systemd, `${name}.service`), 'utf8');
        for (const line of ['Type=notify', 'Restart=always', 'StartLimitIntervalSec=0', 'WatchdogSec=30'])
            assert.match(service, new RegExp(`^${line}$`, 'm'));
        const socket = fs.readFileSync(path.join(systemd, `${name}.socket`), 'utf8');
        assert.match(socket, /^RemoveOnStop=yes$/m);
    });
}

/* ---- two users ---- */

/*
 * What sysusers and tmpfiles make, under a folder: {dir, login, gateway}, the last two as prefixes
 * of a command that is to run as that user.  `bin` is a program where both can reach it.
 */
function installedRoot(t) {
    const dir = folder();
    const file = (kind) => path.join(systemd, `${kind}.d/sallyport.conf`);

    t.after(() => mustRoot('rm', '-rf', dir));
    fs.chmodSync(dir, 0o755);
    fs.mkdirSync(path.join(dir, 'etc'));
    mustRoot('systemd-sysusers', `--root=${dir}`, file('sysusers'));
    mustRoot('systemd-tmpfiles', `--root=${dir}`, '--create', file('tmpfiles'));
    const ids = (name) => fs.readFileSync(path.join(dir, 'etc', name), 'utf8').trim().split('\n')
        .map((line) => line.split(':')).map(([entry, , id, members]) => [entry, { id, members }]);
    const users = Object.fromEntries(ids('passwd'));
    const groups = Object.fromEntries(ids('group'));
    const as = (name) => {
        const all = Object.values(groups).filter(({ members }) => members.split(',').includes(name)).map(({ id }) => id);
        return ['setpriv', '--reuid', users[name].id, '--regid', groups[name].id, `--groups=${all}`, '--no-new-privs'];
    };
    const bin = (name) => {
        const copy = path.join(dir, name); /* the checkout may lie where only root comes */
        if (!fs.existsSync(copy)) fs.copyFileSync(program(name), copy);
        return copy;
    };
    return { dir, bin, login: as('sallyport-login'), gateway: as('sallyport-gateway') };
}

test('the gateway reads what verifies, not what signs nor the users; neither changes the keys', async (t) => {
    const { dir, bin, login, gateway } = installedRoot(t);
    const config = path.join(dir, 'etc/sallyport/sallyport.conf');
    const database = path.join(dir, 'var/lib/sallyport/sallyport.db');
    const keys = path.join(dir, 'etc/sallyport/keys');
    const port = await freePort();
    const as = (user, ...command) => root(...user, ...command).status;

    mustRoot('cp', path.join(tree, 'deploy/examples/chat.rules'), path.join(dir, 'etc/sallyport/relay.rules'));
    fs.writeFileSync(path.join(dir, 'config'), `keys = "keys";
        token: { revocations = "${path.join(path.dirname(database), 'revocations.db')}"; };
        login: { database = "${database}"; listen = "${dir}/login.sock"; };
        gateway: { rules = "relay.rules"; listen = "127.0.0.1:${port}"; };`);
    mustRoot('mv', path.join(dir, 'config'), config);
    mustRoot(bin('sallyport'), '-c', config, 'init');

    for (const algorithm of ['HS256', 'ES256']) {
        const name = mustRoot(bin('sallyport'), '-c', config, 'key', 'generate', '--algorithm', algorithm, '--activate').trim();
        const half = path.join(keys, algorithm === 'HS256' ? `${name}.jwk` : `private/${name}.jwk`);
        assert.equal(as(login, 'cat', half), 0, half);
        assert.equal(as(gateway, 'cat', path.join(keys, `${name}.jwk`)), 0);
        if (algorithm === 'ES256') assert.notEqual(as(gateway, 'cat', half), 0);
        for (const user of [login, gateway]) {
            assert.equal(as(user, bin(user === login ? 'sallyport-login' : 'sallyport-gateway'), '-c', config, '--check'), 0);
            assert.notEqual(as(user, 'touch', path.join(keys, `${name}.jwk`)), 0);
            assert.notEqual(as(user, 'touch', path.join(keys, 'more.jwk')), 0);
        }
    }
    for (const folder of [path.join(keys, 'private'), path.dirname(database)])
        assert.notEqual(as(gateway, 'ls', `${folder}/`), 0, folder);
    for (const file of [path.join(keys, 'private/signing'), database])
        assert.notEqual(as(gateway, 'cat', file), 0, file);
});

/* ---- as systemd runs them ---- */

async function notifications(t, dir) {
    const where = path.join(dir, 'notify');
    const heard = start(null, path.join(build, 'tests/system/notify_listen'), [where]);
    t.after(() => heard.child.kill('SIGKILL'));
    await heard.logged(/^bound$/);
    return { where, lines: heard.lines, logged: heard.logged };
}

const kinds = {
    'sallyport-login': {
        listen: (made) => path.join(made.dir, 'activated.sock'),
        ask: async (t, where) => checkAnswer(await fastcgiAsk(t, where, loginRequest()), 200),
    },
    'sallyport-gateway': {
        listen: async () => `127.0.0.1:${await freePort()}`,
        ask: async (t, where) => {
            assert.equal((await request(`http://${where}/healthz`)).status, 200);
            const client = rawClient(`ws://${where}/socket.io/?EIO=4&transport=websocket`);
            t.after(() => client.ws.terminate());
            assert.match(await client.receive(), /^0\{/);
        },
    },
};

async function activated(t, name) {
    const made = loginInstance(t);
    const { listen, ask } = kinds[name];
    const where = await listen(made);
    const heard = await notifications(t, made.dir);
    const running = start(t, 'systemd-socket-activate', ['-l', where, '-E', `NOTIFY_SOCKET=${heard.where}`,
        '-E', 'WATCHDOG_USEC=300000', ...['ASAN_OPTIONS', 'UBSAN_OPTIONS'].flatMap((word) => ['-E', word]),
        program(name), '-c', made.config]);
    await running.logged(/Listening on/);
    return { made, running, heard, where, ask: () => ask(t, where) };
}

for (const name of services) {
    test(`${name} on a socket of systemd's: serves, reports itself, reloads, ends well`, async (t) => {
        const { made, running, heard, where, ask } = await activated(t, name);
        await ask();
        await heard.logged(/^READY=1$/);
        assert.equal(heard.lines[1], 'READY=1', 'nothing is said before');
        await running.logged(new RegExp(`listening on .*${path.basename(where)}`));

        for (const spoilt of [false, true]) {
            const from = heard.lines.length;
            if (spoilt) editConfig(made, /^keys = .*$/m, 'keys = ;');
            process.kill(running.pid, 'SIGHUP');
            await heard.logged(/^RELOADING=1 MONOTONIC_USEC=\d+$/, { from });
            await heard.logged(/^READY=1$/, { from });
            const said = heard.lines.slice(from).filter((line) => line !== 'WATCHDOG=1');
            assert.deepEqual(said.map((line) => line.split(' ')[0]), ['RELOADING=1', 'READY=1']);
            await running.logged(spoilt ? /nothing is changed/ : /(is|are) read/);
            await ask();
        }
        await running.stop();
        assert.equal(heard.lines.at(-1), 'STOPPING=1');
        if (where.startsWith('/')) assert.ok(fs.existsSync(where), 'the socket is not its own to remove');
    });

    test(`${name} feeds the watchdog, twice in its time`, async (t) => {
        const { heard, ask } = await activated(t, name);
        await ask();
        const fed = () => heard.lines.filter((line) => line === 'WATCHDOG=1').length;
        await until(() => fed() >= 2, 'the watchdog to be fed');
        const [before, started_ms] = [fed(), performance.now()];
        await until(() => fed() >= before + 10, 'ten more');
        const each_ms = (performance.now() - started_ms) / 10;
        assert.ok(each_ms < 250, `every ${each_ms} ms, where systemd's patience is 300 ms`);
    });
}
