/*
 * Does the yardstick measure?  A server that loses, doubles or swaps one delivery in a thousand is
 * found out, one that does not passes, and a quick run measures every server at every job it is up to.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import test from 'node:test';
import { publish } from './report.mjs';
import { folder, freePort, must, program, run, start, tree } from '../lib.mjs';

must('make', ['-s', '-j', String(os.cpus().length), '-C', tree, 'bench']);

/* Anybody's secret: the ceiling looks at no token. */
function key(t) {
    const file = path.join(folder(t), 'any.jwk');
    fs.writeFileSync(file, JSON.stringify({ kty: 'oct', kid: 'any', alg: 'HS256', k: 'A'.repeat(43) }));
    return file;
}

async function measured(t, way, ...words) {
    const port = await freePort();
    const ceiling = start(null, program('tests/bench/ceiling'), [String(port), way]);
    t.after(() => ceiling.child.kill('SIGKILL') && ceiling.exited);
    await ceiling.logged(/listening/);
    return run(program('tests/bench/load'), [...words, '--port', String(port), '--pid', String(ceiling.pid), '--key', key(t)]);
}

const flood = ['flood', '--clients', '50', '--warm', '0.1', '--for', '0.3'];

for (const [way, complaint] of [['lose', /lost [1-9]\d*, doubled 0, out of order 0/],
    ['double', /lost 0, doubled [1-9]\d*, out of order 0/], ['swap', /out of order [1-9]/]]) {
    test(`a server that may ${way} a message is found out`, async (t) => {
        const { status, stdout, stderr } = await measured(t, way, ...flood);
        assert.equal(status, 1);
        assert.match(stderr, complaint);
        assert.equal(stdout, '');
    });
}

for (const way of ['each', 'coalesced']) {
    test(`the ceiling, ${way}, is found right`, async (t) => {
        const { status, stdout, stderr } = await measured(t, way, ...flood);
        assert.equal(status, 0, stderr);
        const figures = JSON.parse(stdout);
        assert.ok(figures.sent > 0);
        assert.equal(figures.deliveries, figures.sent * 50);
        assert.ok(figures.deliveries_per_cpu_s > 0);
    });
}

test('a quick run leaves figures, a table and a plot', () => {
    execFileSync(path.join(tree, 'tests/bench/run'), ['--quick'], { stdio: 'pipe', timeout: 300_000 });
    const made = (name) => fs.readFileSync(path.join(tree, 'build/bench', name), 'utf8');
    const { measurements, labels, jobs } = JSON.parse(made('quick.json'));
    for (const job of Object.keys(jobs)) {
        const servers = measurements.filter((one) => one.job === job).map((one) => one.server);
        for (const server of job === 'login' ? ['login', 'hashes'] : job.startsWith('login') ? ['login', 'express'] : ['gateway', 'node'])
            assert.ok(servers.includes(server), `${server} was not put to ${job}`);
    }
    assert.deepEqual([...new Set(measurements.map((one) => one.server))].sort(), Object.keys(labels).sort());
    for (const label of Object.values(labels)) {
        assert.ok(made('quick.md').includes(`| ${label} `));
        assert.ok(made('quick.svg').includes(`>${label}<`));
    }
});

test('what was measured is published between the marks of README.md, and nothing else is changed', (t) => {
    const dir = folder(t), readme = path.join(dir, 'README.md');
    const results = JSON.parse(fs.readFileSync(path.join(tree, 'build/bench/quick.json'), 'utf8'));
    const published = () => {
        publish(results, dir);
        return fs.readFileSync(readme, 'utf8');
    };

    fs.mkdirSync(path.join(dir, 'tests/bench'), { recursive: true });
    fs.writeFileSync(readme, 'no marks\n');
    assert.throws(published, /README.md has no <!-- measured -->/);
    fs.writeFileSync(readme, 'before\n<!-- measured -->\n<!-- /measured -->\nafter\n');
    const first = published();
    assert.match(first, /^before\n<!-- measured -->\nMade by [^]*\|\n<!-- .measured -->\nafter\n$/);
    assert.match(first, /\| authenticated connects per CPU-second \| [\d,]+ \| [\d,]+ \|/);
    assert.equal(published(), first);
});
