/* The administrator's command: claims and roles, what it asks, what it shows on a terminal, and that its acts stand in the audit. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { must, program, run } from '../lib.mjs';
import { loginInstance } from './login.mjs';

const sallyport = (made, args, options) => run(program('sallyport'), ['-c', made.config, ...args], options);

/* On a terminal of so many columns, where `typed` is typed; without the carriage returns. */
const onTerminal = (made, columns, words, { typed = '', env } = {}) => run('script', ['-qec',
    `stty cols ${columns} -echo; '${program('sallyport')}' -c ${made.config} ${words}`, '/dev/null'],
{ input: typed, env: { TERM: 'xterm', NO_COLOR: '', ...env } }).stdout.replaceAll('\r', '');

const user = (made, name) => JSON.parse(made.cli(['user', 'show', name, '--json']));
const acts = (made) => JSON.parse(made.cli(['audit', 'search', '--json'])).map(({ event, detail }) => [event, detail].filter(Boolean).join(' '));

test('claims are set, as texts or JSON, and removed', (t) => {
    const made = loginInstance(t);
    const { claims } = JSON.parse(made.cli(['user', 'set', 'ann', 'plan=gold', 'level:=5', 'deep:={"a":[1]}', 'zip=01234', 'empty=', '-email', '--json']));
    assert.deepEqual(claims, { plan: 'gold', level: 5, deep: { a: [1] }, zip: '01234', empty: '' });
    assert.deepEqual(user(made, 'ann').claims, claims);
});

test('claims that Sallyport sets, and what is no claim, are refused and nothing is changed', (t) => {
    const made = loginInstance(t);
    const before = user(made, 'ann');
    for (const word of ['iss', 'sub', 'aud', 'exp', 'nbf', 'iat', 'jti', 'kid', 'id', 'token', 'roles'].map((name) => `${name}=x`)
        .concat('plan', '=x', 'a:=', 'a:={', 'a:={"b":1,"b":2}', `a=${'x'.repeat(4097)}`)) {
        const { status, stderr } = sallyport(made, ['user', 'set', 'ann', 'good=1', word]);
        assert.equal(status, 2, word);
        assert.match(stderr, /^sallyport: .+\n$/);
    }
    assert.equal(sallyport(made, ['user', 'set', 'ann']).status, 2);
    assert.equal(sallyport(made, ['user', 'set', 'nobody', 'a=1']).status, 3);
    assert.equal(sallyport(made, ['user', 'add', 'eve', '--password-stdin', '--claims', '{"roles":"admin"}'], { input: 'x\n' }).status, 2);
    assert.deepEqual(user(made, 'ann'), before);
});

test('the longest claims still fit a token', (t) => {
    const made = loginInstance(t);
    made.cli(['user', 'set', 'ann', '-email', `a=${'x'.repeat(4087)}`]);
    const token = made.cli(['token', 'issue', 'ann']).trim();
    assert.ok(token.length < 8192, `${token.length} bytes`);
    must(program('sallyport'), ['-c', made.config, 'token', 'inspect'], { input: token });
});

test('roles are given once, and taken', (t) => {
    const made = loginInstance(t);
    const roles = (...words) => JSON.parse(made.cli(['user', 'roles', 'ann', ...words, '--json'])).claims.roles;
    assert.deepEqual(roles('+admin', '+editor', '+admin'), ['admin', 'editor']);
    assert.deepEqual(roles('-admin', '-nothing'), ['editor']);
    assert.deepEqual(roles(), ['editor']);
    assert.equal(roles('-editor'), undefined);
    for (const word of ['admin', '+', '+a b', `+${'x'.repeat(65)}`, '+ä'])
        assert.equal(sallyport(made, ['user', 'roles', 'ann', word]).status, 2, word);
    assert.ok(!acts(made).includes('user roles'), 'to look is no act');
});

test('a dry run says what would be, and does and records nothing', (t) => {
    const made = loginInstance(t);
    const before = [acts(made), user(made, 'ann')];
    const { stdout, stderr } = sallyport(made, ['user', 'set', 'ann', 'plan=gold', '--dry-run', '--json']);
    assert.equal(JSON.parse(stdout).claims.plan, 'gold');
    assert.equal(stderr, 'nothing was changed: --dry-run\n');
    made.cli(['user', 'delete', 'ann', '--dry-run']);
    assert.match(made.cli(['audit', 'prune', '--older-than', '1s', '--dry-run']), /^\d+ events would be deleted\n$/);
    assert.deepEqual([acts(made), user(made, 'ann')], before);
});

test('a dry run of what ends, forgets or retires says the same as doing it, and leaves all there', (t) => {
    const made = loginInstance(t);
    const dry = (...words) => {
        const { status, stdout, stderr } = sallyport(made, [...words, '--dry-run']);
        assert.match(stderr, status ? /^sallyport: / : /^nothing was changed: --dry-run\n$/);
        return status || stdout;
    };
    const login = (password) => {
        const input = JSON.stringify({ username: 'ann', password });
        const env = { REQUEST_METHOD: 'POST', REQUEST_URI: '/login', CONTENT_TYPE: 'application/json', REMOTE_ADDR: '192.0.2.7',
            CONTENT_LENGTH: String(input.length) };
        return JSON.parse(must(program('sallyport-login'), ['-c', made.config], { env, input }).split('\r\n\r\n')[1]);
    };
    const { token } = login('correct horse');
    login('wrong');
    const jti = JSON.parse(Buffer.from(token.split('.')[1], 'base64url')).jti;
    const other = `${jti[0] === 'A' ? 'B' : 'A'}${jti.slice(1)}`;
    made.cli(['key', 'generate', '--name', 'k2']);
    made.cli(['key', 'generate', '--name', 'k3', '--activate']);
    const shown = () => ['session list', 'throttle list', 'key list', 'audit search'].map((words) => made.cli([...words.split(' '), '--json']));
    const before = shown();

    assert.equal(dry('session', 'revoke', 'ann'), 'of ann 1 sessions would end, and every token issued until now be refused\n');
    assert.equal(dry('session', 'revoke', jti), 'the session 1 would end\n');
    assert.equal(dry('session', 'revoke', other), `the token ${other} would be refused\n`);
    assert.deepEqual(JSON.parse(dry('session', 'revoke', jti, '--json')), { jti });
    assert.equal(dry('session', 'revoke', 'no'), 3);
    assert.equal(dry('throttle', 'clear'), '3 counts would be forgotten\n');
    assert.equal(dry('throttle', 'clear', 'ann'), '2 counts would be forgotten\n');
    assert.equal(dry('throttle', 'clear', '192.0.2.0/24'), '2 counts would be forgotten\n');
    assert.equal(dry('throttle', 'clear', 'no'), 3);
    assert.equal(dry('throttle', 'clear', '192.0.3.0/24'), 3);
    assert.equal(dry('key', 'retire', 'k2', '--force'), 'the key k2 would be removed\n');
    assert.equal(dry('key', 'retire', 'k2'), 1, 'its tokens may be alive');
    assert.equal(dry('key', 'retire', 'k3', '--force'), 1, 'it signs');
    assert.equal(dry('key', 'retire', 'no'), 3);
    assert.deepEqual(shown(), before);
});

test('one who exists is left alone where that is asked for', (t) => {
    const made = loginInstance(t);
    const add = (...words) => sallyport(made, ['user', 'add', 'ann', '--password-stdin', ...words], { input: 'x\n' }).status;
    const before = user(made, 'ann');
    assert.equal(add(), 4);
    assert.equal(add('--if-not-exists', '--claim', 'a=b'), 0);
    assert.deepEqual(user(made, 'ann'), before);
});

test('what cannot be undone is asked for on a terminal, and only there', (t) => {
    const made = loginInstance(t);
    for (const typed of ['n\n', '\n', 'yesno\n', '\x04'])
        assert.match(onTerminal(made, 80, 'user delete bob', { typed }), /Delete the user bob for good\? \[y\/N\] [^]*nothing was changed/);
    assert.ok(!acts(made).includes('user delete'));
    user(made, 'bob');
    assert.match(onTerminal(made, 80, 'throttle clear', { typed: 'n\n' }), /Forget all/);
    assert.match(onTerminal(made, 80, 'user delete bob', { typed: 'y\n' }), /name/);
    assert.equal(sallyport(made, ['user', 'show', 'bob']).status, 3);
    assert.doesNotMatch(onTerminal(made, 80, 'user delete ann --yes'), /for good/);
    assert.deepEqual(acts(made).filter((act) => /delete/.test(act)), ['user delete', 'user delete --yes']);
});

test('a table fits the terminal, and is whole in a pipe', (t) => {
    const made = loginInstance(t);
    made.cli(['user', 'set', 'ann', `long=${'ä'.repeat(200)}`]);
    const lines = (columns, env) => onTerminal(made, columns, 'user list', { env: { NO_COLOR: '1', ...env } }).trimEnd().split('\n');
    for (const columns of [60, 80, 100]) {
        const shown = lines(columns);
        assert.equal(Math.max(...shown.map((line) => [...line].length)), columns);
        assert.match(shown[1], /ann.*\d\d:\d\d:\d\dZ.*…$/);
    }
    assert.match(lines(40).join('\n'), /^ID {7}1\nNAME {5}ann\n[^…]*CLAIMS {3}.*ä{200}/);
    assert.match(onTerminal(made, 80, 'user list'), /^\x1b\[1mID\x1b\[0m/);
    assert.doesNotMatch(lines(80, { NO_COLOR: '', TERM: 'dumb' }).join(''), /\x1b/);
    assert.match(made.cli(['user', 'list']), /^ID {2}NAME[^…\x1b]*ä{200}[^…\x1b]*$/);
});

test('help is broken between words', (t) => {
    const made = loginInstance(t);
    for (const columns of [40, 80])
        for (const line of onTerminal(made, columns, 'audit search --help').split('\n').filter((each) => /^ {3}/.test(each)))
            assert.ok(line.length <= columns, line);
});

test('an audit that cannot be written is said, and the act is done', (t) => {
    const made = loginInstance(t, { 'login.audit': '/nonexistent/audit.db' });
    const { status, stderr } = sallyport(made, ['user', 'disable', 'ann']);
    assert.equal(status, 0);
    assert.match(stderr, /^sallyport: done, but it is not in the audit: .*\/nonexistent\/audit\.db.*\n$/);
    assert.equal(user(made, 'ann').disabled, true);
    assert.equal(sallyport(made, ['audit', 'tail']).status, 1);
});

/* Each command with words that succeed, of ann, bob and the key k2, in an order in which they do; `hash bench` is
 * tried with the imports. */
const succeeds = `init --dir DIR/another
    user add eve --password-stdin | user list | user show ann | user set ann a=b | user roles ann +admin | user passwd ann --password-stdin
    user disable ann | user enable ann | user delete bob
    import htpasswd - | import shadow - | import json - | export
    token issue ann | token inspect | session list | session list ann | session revoke ann
    throttle list | throttle clear | audit tail | audit search | audit prune --older-than 1d
    db check | db backup DIR/copy | db migrate
    key generate --name k2 | key import SECRET --algorithm HS256 --name k3 | key activate k2 | key retire k3 --force | key list | key show k2
    hash memory | config show | config show login.threads`.split(/[|\n]/).map((line) => line.trim().split(' '));

/* What nobody or nothing of that name is, and what is there already. */
const unknown = `user show no | user set no a=b | user roles no +x | user passwd no --password-stdin | user disable no | user enable no | user delete no
    token issue no | session list no | session revoke no | throttle clear no | key activate no | key retire no | key show no | key show ../sallyport
    config show login.thread`.split(/[|\n]/).map((line) => line.trim().split(' '));
const there = `init --dir DIR | user add ann --password-stdin | key generate --name k2 | key import SECRET --algorithm HS256 --name k2`
    .split('|').map((line) => line.trim().split(' '));
const verbs = () => must(program('sallyport'), ['--help']).split('\n\n')[2].split('\n')
    .map((line) => line.match(/^ {2}([a-z]+(?: [a-z]+)?)/)[1]);

test('every command exits with 0, 1, 2, 3 or 4 as is said, and what it prints is JSON where asked', (t) => {
    const made = loginInstance(t);
    const secret = path.join(made.dir, 'secret');
    fs.writeFileSync(secret, `${Buffer.alloc(32, 7).toString('base64url')}\n`, { mode: 0o600 });
    const words = (line) => line.map((word) => word.replace('DIR', made.dir).replace('SECRET', secret));
    const token = made.cli(['token', 'issue', 'ann']);
    const input = (line) => (line.includes('inspect') ? token : line.includes('--password-stdin') ? 'battery\n' : '');
    const exits = (status, line, more = []) => {
        const done = sallyport(made, [...words(line), ...more], { input: input(line) });
        assert.equal(done.status, status, `${line.join(' ')}: ${done.stderr}`);
        if (status > 0) assert.match(done.stderr, /^sallyport: /, line.join(' '));
        return done;
    };
    const all = verbs();
    const begins = (line) => all.find((verb) => line.join(' ').startsWith(verb));
    assert.deepEqual(all.filter((verb) => !succeeds.some((line) => begins(line) === verb)), ['hash bench'], 'commands that are not tried');

    for (const line of succeeds) {
        const asJson = must(program('sallyport'), [...begins(line).split(' '), '--help']).includes('--json');
        const { stdout } = exits(0, line, asJson ? ['--json'] : []);
        if (asJson) JSON.parse(stdout);
        else if (line[0] === 'export') stdout.trim().split('\n').forEach(JSON.parse);
        else assert.equal(stdout, '', `${line.join(' ')} prints`);
    }
    for (const line of unknown) exits(3, line);
    for (const line of there) exits(4, line);
    for (const verb of all) assert.equal(sallyport(made, [...verb.split(' '), '--bogus']).status, 2, verb);

    /* With databases and keys that are none nothing can be done, but for what needs none and for new keys. */
    for (const name of ['sallyport.db', 'audit.db', 'revocations.db']) fs.writeFileSync(path.join(made.dir, name), 'no database\n');
    const keys = path.join(made.dir, 'keys');
    for (const name of fs.readdirSync(keys)) if (name.endsWith('.jwk')) fs.writeFileSync(path.join(keys, name), 'no key\n');
    for (const line of succeeds)
        if (!['init', 'config', 'key generate', 'key import'].some((verb) => begins(line).startsWith(verb)))
            exits(1, line);
});
