/* `make install` and `make uninstall` into a folder; Debian's packages, which use it, are tests/package's. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { flavour, folder, must, program, run, tree } from '../lib.mjs';

const make = (target, dir, prefix) => must('make', ['-s', '-C', tree, target, `FLAVOUR=${flavour}`, `DESTDIR=${dir}`, `PREFIX=${prefix}`]);
const filesIn = (dir) => fs.readdirSync(dir, { recursive: true, withFileTypes: true }).filter((entry) => !entry.isDirectory())
    .map((entry) => path.relative(dir, path.join(entry.parentPath ?? entry.path, entry.name))).sort();
const read = (...names) => fs.readFileSync(path.join(...names), 'utf8');

test('what is installed is whole, and finds itself', (t) => {
    const dir = folder(t);
    make('install', dir, '/opt/sp');
    const files = filesIn(dir);
    for (const name of ['bin/sallyport', 'sbin/sallyport-login', 'sbin/sallyport-gateway', 'share/man/man5/sallyport.conf.5',
        'lib/sysusers.d/sallyport.conf', 'lib/tmpfiles.d/sallyport.conf', 'share/doc/sallyport/examples/demo/index.html'])
        assert.ok(files.includes(`opt/sp/${name}`), name);
    for (const name of files) {
        const mode = fs.statSync(path.join(dir, name)).mode & 0o777;
        assert.equal(mode, /\/s?bin\//.test(name) ? 0o755 : 0o644, name);
    }
    for (const kind of ['demo', 'lighttpd', 'apache', 'nginx', 'grafana'])
        for (const name of filesIn(path.join(tree, 'deploy', kind))) assert.ok(files.includes(`opt/sp/share/doc/sallyport/examples/${kind}/${name}`), name);
    for (const name of ['login', 'gateway']) {
        const [, command] = read(dir, `opt/sp/lib/systemd/system/sallyport-${name}.service`).match(/^ExecStart=(\S+)$/m);
        assert.equal(command, `/opt/sp/sbin/sallyport-${name}`);
        must(path.join(dir, command), ['--version']);
        assert.ok(files.includes(`opt/sp/lib/systemd/system/sallyport-${name}.socket`));
    }
    for (const name of files.filter((name) => /examples\/(lighttpd|apache|nginx)\//.test(name)))
        assert.doesNotMatch(read(dir, name), /\/usr\/sbin\/sallyport/, name);
});

test('the config that is installed is in order, also with every comment taken away', (t) => {
    const dir = folder(t);
    const file = path.join(dir, 'etc/sallyport/sallyport.conf');
    make('install', dir, '/usr');
    must(program('sallyport'), ['-c', file, 'config', 'show']);
    fs.writeFileSync(file, read(file).replace(/^#( +[a-z_]+ +=)/gm, '$1'));
    const shown = JSON.parse(must(program('sallyport'), ['-c', file, 'config', 'show', '--json']));
    const given = Object.entries(shown).filter(([, { from }]) => from !== 'default').map(([name]) => name);
    assert.deepEqual(given, ['token.issuer', 'token.lifetime', 'gateway.client', 'gateway.origins', 'gateway.trusted_proxies',
        'gateway.limits.connections', 'gateway.limits.per_address', 'gateway.limits.per_user']);
});

test('what is in /etc/sallyport stays, whatever comes', (t) => {
    const dir = folder(t);
    make('install', dir, '/usr');
    assert.equal(read(dir, 'etc/sallyport/relay.rules'), read(tree, 'deploy/examples/chat.rules'));
    for (const name of ['sallyport.conf', 'relay.rules']) fs.appendFileSync(path.join(dir, 'etc/sallyport', name), '# ours\n');
    make('install', dir, '/usr');
    make('uninstall', dir, '/usr');
    assert.deepEqual(filesIn(dir), ['etc/sallyport/relay.rules', 'etc/sallyport/sallyport.conf']);
    for (const name of filesIn(dir)) assert.match(read(dir, name), /# ours\n$/);
});

test('a folder that cannot be written is a failure', () => {
    assert.notEqual(run('make', ['-s', '-C', tree, 'install', `FLAVOUR=${flavour}`, 'DESTDIR=/proc']).status, 0);
});
