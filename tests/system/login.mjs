/* An instance with the login service alone, and what every answer of it has to be. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { folder, must, program, start } from '../lib.mjs';

/*
 * {dir, config, socket, database} in `dir`, with the user ann, whose password is `correct horse`,
 * and bob, who has the same and is disabled.
 */
export function loginInstance(t, settings = {}, dir = folder(t)) {
    const made = { dir, config: path.join(dir, 'sallyport.conf'), socket: path.join(dir, 'login.sock'),
        database: path.join(dir, 'sallyport.db') };
    const set = Object.entries(settings).flatMap(([name, value]) => ['--set', `${name}=${value}`]);

    must(program('sallyport'), ['init', '--dir', dir, ...set]);
    made.cli = (args, input) => must(program('sallyport'), ['-c', made.config, ...args], { input });
    for (const name of ['ann', 'bob'])
        made.cli(['user', 'add', name, '--password-stdin', '--claim', `email=${name}@example.org`],
            'correct horse\n');
    made.cli(['user', 'disable', 'bob']);
    return made;
}

/* The service on the instance's own socket; it has to end well when the test does. */
export async function startLogin(t, made) {
    const login = start(t, program('sallyport-login'), ['-c', made.config]);
    await login.logged(/listening on/);
    return login;
}

/* Change the config file by a text replacement that has to fit. */
export function editConfig(made, pattern, replacement) {
    const text = fs.readFileSync(made.config, 'utf8');
    assert.match(text, pattern);
    fs.writeFileSync(made.config, text.replace(pattern, replacement));
}

/* What holds for every answer; its JSON. */
export function checkAnswer(answer, status) {
    assert.equal(answer.status, status, answer.body);
    assert.equal(answer.headers['content-type'], 'application/json');
    assert.equal(answer.headers['cache-control'], 'no-store');
    assert.equal(answer.headers['x-content-type-options'], 'nosniff');
    assert.equal(answer.headers['content-security-policy'], "default-src 'none'; frame-ancestors 'none'");
    assert.equal(answer.headers['referrer-policy'], 'no-referrer');
    assert.equal(answer.headers['content-length'], String(Buffer.byteLength(answer.body)));
    assert.match(answer.body, /^[^\n]+\n$/, 'one line');
    const json = JSON.parse(answer.body);
    if (status >= 400) {
        assert.deepEqual(Object.keys(json), ['error', 'error_description']);
        assert.ok(json.error_description.length > 0);
    }
    return json;
}
