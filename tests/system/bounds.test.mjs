/* What one who sends much can take from the others: hashes at once, and memory. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { test } from 'node:test';
import { program } from '../lib.mjs';
import { loginInstance } from './login.mjs';

const body = 'username=ann&password=correct+horse';

/* One process of CGI: its answer's status and header. */
function cgi(made, n) {
    const env = { REQUEST_METHOD: 'POST', REQUEST_URI: '/login', CONTENT_TYPE: 'application/x-www-form-urlencoded',
        CONTENT_LENGTH: String(body.length), REMOTE_ADDR: `192.0.${n}.1` };
    return new Promise((resolve) => {
        const child = spawn(program('sallyport-login'), ['-c', made.config], { env, stdio: ['pipe', 'pipe', 'ignore'] });
        let text = '';
        child.stdout.on('data', (part) => { text += part; });
        child.on('close', () => resolve({ status: Number(text.match(/^Status: (\d+)/)?.[1]), text }));
        child.stdin.end(body);
    });
}

test('of many processes at once those that find no place are told to come again', async (t) => {
    const made = loginInstance(t, { 'login.hashes': 1 });
    const answers = await Promise.all(Array.from({ length: 60 }, (_, n) => cgi(made, n)));
    const count = (status) => answers.filter((answer) => answer.status === status).length;
    assert.equal(count(200) + count(503), 60, answers.map(({ text }) => text).join('\n'));
    assert.ok(count(200) >= 9, 'one hashes, and eight wait');
    for (const { status, text } of answers) if (status === 503) assert.match(text, /\r\nRetry-After: 1\r\n/);
    assert.equal((await cgi(made, 1)).status, 200);
});
