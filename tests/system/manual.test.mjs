/*
 * The manual pages against the programs: what `--help` and the tables know stands in the pages, what
 * stands in the pages is known, and every example of rules is one that the gateway takes.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { before, test } from 'node:test';
import { build, folder, must, program, run, tree } from '../lib.mjs';

const source = (name) => path.join(tree, 'deploy/man', name);
const pages = {
    'sallyport.1': source('sallyport.1'),
    'sallyport.conf.5': path.join(build, 'sallyport.conf.5'), /* made of sallyport.conf.5.in */
    'sallyport-rules.5': source('sallyport-rules.5'),
    'sallyport-login.8': source('sallyport-login.8'),
    'sallyport-gateway.8': source('sallyport-gateway.8'),
};
const read = (name) => fs.readFileSync(pages[name], 'utf8');
const help = (name, ...words) => must(program(name), [...words, '--help']);

/* As a reader sees it, without line breaks inside an entry. */
const shown = (name) => must('mandoc', ['-T', 'ascii', '-O', 'width=1000', pages[name]]).replace(/.\x08/g, '');

const optionsIn = (text) => [...new Set(text.match(/(?<![\w-])--?[a-z][a-z-]*/g))].sort();

test('every page is there, and nothing in it is wrong', () => {
    const sources = fs.readdirSync(source('.')).filter((name) => /\.\d(\.in)?$/.test(name)).map((name) => name.replace(/\.in$/, ''));
    assert.deepEqual(sources.sort(), Object.keys(pages).sort());
    for (const file of Object.values(pages)) {
        assert.equal(run('mandoc', ['-T', 'lint', '-W', 'warning', file]).stdout, '', file);
        const { status, stderr } = run('man', ['--warnings', '-E', 'UTF-8', '-l', '-Tutf8', '-Z', file]);
        assert.deepEqual({ status, stderr }, { status: 0, stderr: '' }, file);
    }
});

test('pages refer to pages that exist, and units to them too', () => {
    for (const name of Object.keys(pages))
        for (const [, page, section] of read(name).matchAll(/^\.Xr (\S+) (\d)/gm)) assert.ok(`${page}.${section}` in pages, `${name}: ${page}(${section})`);
    for (const unit of ['login', 'gateway']) {
        const text = fs.readFileSync(path.join(tree, `deploy/systemd/sallyport-${unit}.service`), 'utf8');
        for (const [, page, section] of text.matchAll(/man:([\w.-]+)\((\d)\)/g)) assert.ok(`${page}.${section}` in pages, page);
    }
});

test('sallyport(1) has every command with its options, and no others', () => {
    const commands = help('sallyport').split('\n').flatMap((line) => line.match(/^ {2}([a-z]+(?: [a-z]+)?)(?: [[A-Z]| {2})/)?.[1] ?? []);
    assert.ok(commands.length > 10);
    const page = shown('sallyport.1');
    const entry = (command) => page.split('\n').filter((line) => line.startsWith(`     ${command} `) || line === `     ${command}`
        || new RegExp(`^     ${command} {2,}`).test(line)).map((line) => line.trim().split(/ {2,}/)[0]);
    for (const command of commands) {
        const usage = help('sallyport', ...command.split(' ')).split('\n')[0];
        const wanted = optionsIn(usage.slice(usage.indexOf(` ${command}`))).filter((option) => option !== '--json');
        assert.deepEqual(optionsIn(entry(command).join(' ')), wanted, `sallyport ${command}`);
        assert.ok(entry(command).length > 0, `sallyport ${command} is not in the page`);
    }
    const inPage = [...read('sallyport.1').matchAll(/^\.It Ic ([a-z]+(?: [a-z]+)?)/gm)].map(([, words]) => words);
    for (const words of inPage) assert.ok(commands.includes(words), `there is no \`sallyport ${words}\``);
});

for (const name of ['sallyport-login', 'sallyport-gateway']) {
    test(`${name}(8) has the options of --help, and no others`, () => {
        const [, description] = shown(`${name}.8`).match(/^DESCRIPTION\n([\s\S]*?)^[A-Z]/m);
        const entries = description.split('\n').filter((line) => /^ {5}-/.test(line)).map((line) => line.trim().split(/ {2,}/)[0]);
        const known = optionsIn(help(name)).filter((option) => !option.startsWith('-fcgi'));
        assert.deepEqual(optionsIn(entries.join(' ')), known);
    });
}

test('sallyport.conf(5) has every setting with its default', (t) => {
    const file = path.join(folder(t), 'empty.conf');
    fs.writeFileSync(file, 'issuers = ( { issuer = "a"; audience = ["b"]; jwks = "/c"; prefix = "d:"; } );');
    const { issuers: [issuer], ...settings } = JSON.parse(must(program('sallyport'), ['-c', file, 'config', 'show', '--json']));
    const unset = { issuer: '""', audience: '[]', jwks: '""', prefix: '""' };
    for (const [name, { value }] of Object.entries(issuer)) settings[`issuers.${name}`] = { value: unset[name] ?? value, reloadable: true };
    const listed = [...shown('sallyport.conf.5').matchAll(/^ {5}([a-z_\d.]+)\s+(\S.*)\n +(.*); default (.*)$/gm)];
    assert.deepEqual(listed.map(([, name]) => name).sort(), Object.keys(settings).sort());
    for (const [, name, , type, standard] of listed) {
        assert.equal(standard, settings[name].value, name);
        assert.equal(/a change takes a restart/.test(type), !settings[name].reloadable, name);
    }
});

/* ---- rules ---- */

let config;
before(() => {
    const dir = folder();
    must(program('sallyport'), ['init', '--dir', dir]);
    config = path.join(dir, 'sallyport.conf');
});

function checkRules(text) {
    fs.writeFileSync(path.join(path.dirname(config), 'relay.rules'), text);
    return run(program('sallyport-gateway'), ['-c', config, '--check']);
}

/* The words that the parser would have taken in place of `zzzz`. */
function knownIn(text) {
    const { status, stderr } = checkRules(text);
    assert.equal(status, 1, text);
    const [, words] = stderr.match(/known here: (.*)/) ?? assert.fail(stderr);
    return words.match(/[a-z]+/g).filter((word) => word !== 'or');
}

test('sallyport-rules(5) has every word that the parser knows', () => {
    const rule = (statement) => `namespace "/" { on "a" { ${statement} } }`;
    const page = read('sallyport-rules.5');
    const words = ['zzzz', 'namespace "/" { zzzz }', 'namespace "/" { authenticate zzzz }', 'namespace "/" { when zzzz { } }', rule('zzzz'),
        rule('require zzzz'), rule('emit zzzz'), rule('limit 1 per 1zzzz')].flatMap(knownIn);
    assert.ok(words.length > 35, `${words}`);
    for (const word of words) assert.match(page, new RegExp(`(^|[^\\w$-])${word}\\b`, 'm'));
    for (const value of knownIn(rule('ack $zzzz'))) assert.match(page, new RegExp(`\\$${value}\\b`));
});

test('every example of rules in the pages is in order', () => {
    const examples = [...read('sallyport-rules.5').matchAll(/^\.Bd -literal.*\n([\s\S]*?)^\.Ed/gm)].map(([, text]) => text)
        .filter((text) => /^namespace /.test(text));
    assert.equal(examples.length, 3);
    for (const example of examples) {
        const { status, stderr } = checkRules(example);
        assert.deepEqual({ status, stderr }, { status: 0, stderr: '' }, example);
    }
});

test('the answers to an event that is refused are those of the page', () => {
    const relay = fs.readFileSync(path.join(tree, 'gateway/relay.c'), 'utf8');
    const [, table] = relay.match(/words\[\] = \{([\s\S]*?)\};/);
    const said = [...table.matchAll(/\\"([a-z ]+)\\"/g)].map(([, words]) => words);
    assert.deepEqual(said.sort(), [...read('sallyport-rules.5').matchAll(/^\.It Li ([a-z ]+)$/gm)].map(([, words]) => words).sort());
});
