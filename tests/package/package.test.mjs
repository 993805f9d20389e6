/*
 * The life of the packages in one Debian, in order: each test goes on where the last one ended.
 * tests/package/run makes the root (ROOT) with both versions in /srv/debs.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { after, before, test } from 'node:test';
import path from 'node:path';
import { tree, until } from '../lib.mjs';
import { start } from './container.mjs';

const packages = ['sallyport', 'sallyport-login', 'sallyport-gateway'];
const services = packages.slice(1);
const keys = '/etc/sallyport/keys';
const database = '/var/lib/sallyport/sallyport.db';
const revocations = '/var/lib/sallyport/revocations.db';

const debian = start(process.env.ROOT);
before(debian.booted);
after(debian.stop);

/* There is no network: apt has what the first version's Depends named when it was looked up, and no more. */
const apt = (...words) => debian.inside('apt-get', '-q', '-y', '--no-install-recommends', ...words);
const install = (version) => apt('install', ...packages.map((name) => debian.inside('sh', '-c', `echo /srv/debs/${version}/${name}_*.deb`).trim()));
const property = (unit, name) => debian.inside('systemctl', 'show', '--value', '-p', name, unit).trim();
const states = () => services.flatMap((name) => ['service', 'socket'].map((kind) => property(`${name}.${kind}`, 'ActiveState')));
const exists = (file) => debian.try('test', '-e', file).status === 0;
const listed = (folder) => debian.inside('ls', '-A', folder).trim().split('\n');
const as = (user, ...words) => debian.try('runuser', '-u', user, '--', ...words).status;
const secret = () => JSON.parse(debian.shell(`cat ${keys}/*.jwk`)).k;

/* What a page does, by lighttpd: the name and the text of one message that came back, or an error. */
function chat(name, password) {
    return debian.beside('node', path.join(tree, 'tests/package/chat.mjs'), 'http://127.0.0.1', name, password).trim();
}

test('installed from nothing, both services run, each as its own user', () => {
    install('0.1.0');
    assert.deepEqual(states(), ['active', 'active', 'active', 'active']);
    for (const name of services) {
        assert.equal(property(name, 'NRestarts'), '0');
        assert.equal(debian.inside('stat', '-c', '%U', `/proc/${property(name, 'MainPID')}`).trim(), name);
        assert.equal(debian.inside('systemctl', 'is-enabled', `${name}.service`, `${name}.socket`), 'enabled\nenabled\n');
    }
    assert.equal(debian.inside('systemctl', '--failed', '--plain', '--no-legend'), '');
});

test('the key and the database were made here, and belong to whom they should', () => {
    assert.match(secret(), /^[\w-]{43,}$/);
    assert.equal(debian.shell(`stat -c '%a %U %G' ${keys} ${keys}/private ${keys}/*.jwk ${database} ${revocations}`),
        '750 root sallyport\n700 sallyport-login sallyport-login\n640 root sallyport\n600 sallyport-login sallyport-login\n640 sallyport-login sallyport\n');
    const [key] = listed(keys).filter((name) => name.endsWith('.jwk'));
    for (const file of [`${keys}/${key}`, revocations]) assert.equal(as('sallyport-gateway', 'cat', file), 0);
    for (const file of [database, `${keys}/private/signing`]) assert.notEqual(as('sallyport-gateway', 'cat', file), 0);
    for (const user of services) assert.notEqual(as(user, 'touch', `${keys}/${key}`), 0);
    assert.notEqual(as('nobody', 'cat', `${keys}/${key}`), 0);
    for (const name of services) debian.inside(name, '--check');
});

test('behind lighttpd, as the examples have it: a user logs in, connects and is heard', () => {
    debian.shell(`
        cp /usr/share/doc/sallyport/examples/lighttpd/sallyport-login.conf /etc/lighttpd/conf-available/50-sallyport-login.conf
        cp /usr/share/doc/sallyport/examples/lighttpd/sallyport-gateway.conf /etc/lighttpd/conf-available/50-sallyport-gateway.conf
        lighty-enable-mod sallyport-login sallyport-gateway
        systemctl restart lighttpd
        echo 'correct horse' | sallyport user add ann --password-stdin`);
    assert.equal(chat('ann', 'correct horse'), 'ann: hello');
    assert.equal(chat('ann', 'a guess'), 'login: 401');
});

test('reload reads the config; a service that is killed comes back, and nobody is refused meanwhile', async () => {
    debian.shell('printf \'%s\\n\' \'token: { issuer = "https://example.org"; };\' >/etc/sallyport/sallyport.conf');
    debian.inside('systemctl', 'reload', ...services);
    assert.equal(chat('ann', 'correct horse'), 'ann: hello');
    for (const name of services) {
        const pid = property(name, 'MainPID');
        debian.inside('kill', '-KILL', pid);
        assert.equal(chat('ann', 'correct horse'), 'ann: hello');
        await until(() => property(name, 'SubState') === 'running', `${name} to run`);
        assert.notEqual(property(name, 'MainPID'), pid);
    }
});

test('an upgrade keeps config, key and users, restarts the services, and leaves the sockets open', () => {
    debian.shell('echo "# ours" >>/etc/sallyport/relay.rules');
    const before = { secret: secret(), pids: services.map((name) => property(name, 'MainPID')),
        sockets: services.map((name) => property(`${name}.socket`, 'ActiveEnterTimestampMonotonic')) };
    install('0.1.1');
    assert.equal(debian.inside('sallyport-gateway', '--version'), 'sallyport-gateway 0.1.1\n');
    assert.deepEqual(states(), ['active', 'active', 'active', 'active']);
    assert.deepEqual(services.map((name) => property(`${name}.socket`, 'ActiveEnterTimestampMonotonic')), before.sockets);
    services.forEach((name, i) => assert.notEqual(property(name, 'MainPID'), before.pids[i], name));
    assert.equal(secret(), before.secret);
    assert.match(debian.inside('tail', '-n', '1', '/etc/sallyport/relay.rules'), /^# ours$/m);
    assert.match(debian.inside('cat', '/etc/sallyport/sallyport.conf'), /^token: \{ issuer/);
    assert.equal(chat('ann', 'correct horse'), 'ann: hello');
});

test('removed, nothing of it runs, and what is the owner\'s stays', () => {
    apt('remove', ...packages);
    for (const name of services) {
        assert.equal(property(`${name}.service`, 'LoadState'), 'not-found');
        assert.equal(debian.shell(`grep -sl '[s]${name.slice(1)}' /proc/[0-9]*/cmdline || true`), '');
    }
    assert.equal(exists('/run/sallyport/login.sock'), false);
    assert.equal(exists('/usr/bin/sallyport'), false);
    for (const file of ['/etc/sallyport/sallyport.conf', '/etc/sallyport/relay.rules', keys, database]) assert.ok(exists(file), file);
});

test('installed again it is as it was, and what it lacks is made', () => {
    debian.shell(`rm ${revocations}*`);
    install('0.1.1');
    assert.ok(exists(revocations));
    assert.equal(chat('ann', 'correct horse'), 'ann: hello');
});

test('purged, nothing of it is left; the next one has another secret', () => {
    const first = secret();
    apt('purge', ...packages);
    for (const folder of ['/etc/sallyport', '/var/lib/sallyport', '/run/sallyport']) assert.equal(exists(folder), false, folder);
    assert.equal(debian.shell("find / -xdev -path /srv -prune -o -path /proc -prune -o -path /sys -prune -o -name '*sallyport*' -print"
        + " | grep -v -e ^/etc/lighttpd -e ^/var/cache/apt -e ^/var/log || true"), '');
    install('0.1.1');
    assert.deepEqual(states(), ['active', 'active', 'active', 'active']);
    assert.notEqual(secret(), first);
});

test('the gateway alone, or the login service alone', () => {
    for (const name of services) {
        apt('purge', ...packages);
        apt('install', ...['sallyport', name].map((one) => debian.shell(`echo /srv/debs/0.1.1/${one}_*.deb`).trim()));
        assert.equal(property(name, 'ActiveState'), 'active');
    }
});

test('a config that is wrong does not break the installation, and it is said', () => {
    apt('purge', ...packages);
    debian.shell('mkdir /etc/sallyport && echo "keys = ;" >/etc/sallyport/sallyport.conf');
    const said = debian.shell('apt-get -q -y --no-install-recommends -o Dpkg::Options::=--force-confold install /srv/debs/0.1.1/sallyport_*.deb 2>&1');
    assert.match(said, /sallyport: \/etc\/sallyport\/sallyport\.conf:1: /);
    assert.match(said, /sallyport: once that is mended, run `sallyport init`/);
    debian.shell('echo >/etc/sallyport/sallyport.conf; sallyport init');
    assert.ok(secret());
});

test('the container leaves no trace in its root', () => {
    assert.equal(fs.existsSync(path.join(process.env.ROOT, 'usr/bin/sallyport')), false);
});
