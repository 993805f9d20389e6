/*
 * Each attack of tests/token-vectors, tried on a running gateway: in CONNECT's auth and in the
 * handshake's query.  It is refused with socketio-jwt's words, then the transport is closed; what is
 * right gets in.  Vectors whose clock would have to stand elsewhere are left to token_test.c.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { folder, instance, program, run, tree } from '../lib.mjs';

const vectorFolder = path.join(tree, 'tests/token-vectors');
const vectors = fs.readdirSync(vectorFolder).filter((name) => name.endsWith('.json'))
    .map((name) => ({ name, ...JSON.parse(fs.readFileSync(path.join(vectorFolder, name), 'utf8')) }));
const shared = vectors.filter(({ gateway }) => gateway === 'shared');
const own = vectors.filter(({ gateway }) => gateway === 'own');

const rules = 'namespace "/" { authenticate required }';
const settings = ({ issuer, audiences }) => ({ 'gateway.workers': 2, 'gateway.limits.per_address': 0,
    'gateway.limits.per_user': 0, 'token.issuer': issuer, 'token.audience': audiences.join(',') });

const text = (token) => (typeof token === 'string' ? token : token.head + token.repeat.repeat(token.times) + token.tail);

/* The instance's own key gives way to those of the vectors. */
function writeKeys(dir, keys) {
    fs.rmSync(dir, { recursive: true });
    fs.mkdirSync(dir, { mode: 0o750 });
    for (const [name, key] of Object.entries(keys))
        fs.writeFileSync(path.join(dir, name), typeof key === 'string' ? key : JSON.stringify(key), { mode: 0o640 });
}

async function gateway(t, policy, keys) {
    const sp = await instance(t, { rules, settings: settings(policy), login: false, users: {} });
    const from = sp.gateway.lines.length;
    writeKeys(path.join(sp.dir, 'keys'), keys);
    process.kill(sp.gateway.pid, 'SIGHUP');
    await sp.gateway.logged(/read anew/, { from });
    return sp;
}

/* One attempt: "ok", or what the client is told before the gateway closes. */
async function attempt(sp, token, inQuery) {
    const raw = sp.raw(inQuery ? `&token=${encodeURIComponent(token)}` : '');
    const dropped = new Promise((resolve) => raw.ws.once('close', () => setImmediate(resolve, 'dropped')));
    const status = await Promise.race([raw.status(), dropped]);
    if (status !== 101) return status;
    assert.match(await raw.receive(), /^0\{/);
    raw.send(inQuery ? '40' : `40${JSON.stringify({ token })}`);
    const packet = await raw.receive();
    if (packet === null) return { closed: await raw.closed() };
    if (packet.startsWith('40')) {
        raw.ws.terminate();
        return 'ok';
    }
    assert.match(packet, /^44\{/);
    assert.equal(await raw.receive(), null, 'closed by the gateway');
    return JSON.parse(packet.slice(2));
}

function demand(vector, answer, where) {
    const said = `${vector.name} ${where}: ${vector.about}`;
    if (vector.expect === 'TOKEN_OK') {
        assert.equal(answer, 'ok', said);
        return;
    }
    const { message } = vector;
    assert.deepEqual(answer, { message, data: { message, code: 'invalid_token', type: 'UnauthorizedError' } }, said);
}

async function tryBoth(sp, vector) {
    const token = text(vector.token);
    const bytes = Buffer.byteLength(token);

    for (const inQuery of [false, true]) {
        const answer = await attempt(sp, token, inQuery);
        const where = inQuery ? 'in the query' : 'in CONNECT';
        if (bytes === 0) /* is none */
            assert.equal(answer.data.code, 'credentials_required', where);
        else if (!inQuery && bytes > 900_000) /* more than a message may have */
            assert.equal(answer.closed?.code, 1009, `${vector.name} ${where}`);
        else if (inQuery && encodeURIComponent(token).length > 30_000) /* more than a head may have */
            assert.ok(answer === 'dropped' || (answer >= 400 && answer < 500), `${vector.name} ${where}: ${answer}`);
        else if (inQuery && token.includes('\0'))
            assert.equal(answer, 400, `${vector.name} ${where}`);
        else
            demand(vector, answer, where);
    }
}

test(`${shared.length} tokens, beside the keys of all`, async (t) => {
    assert.ok(shared.length > 200);
    const { policy } = shared[0];
    for (const vector of shared) assert.deepEqual(vector.policy, policy);
    const sp = await gateway(t, policy, Object.assign({}, ...shared.map(({ keys }) => keys)));
    for (let i = 0; i < shared.length; i += 20)
        await Promise.all(shared.slice(i, i + 20).map((vector) => tryBoth(sp, vector)));
    for (const { token, expect } of shared)
        if (expect !== 'TOKEN_OK' && text(token).length > 60)
            assert.ok(!sp.gateway.output().includes(text(token)), 'no token comes into the log');
});

test('tokens that want a gateway of their own', async (t) => {
    for (const vector of own.filter(({ expect }) => expect !== 'KEYRING_REFUSED')) {
        const sp = await gateway(t, vector.policy, vector.keys);
        await tryBoth(sp, vector);
        await sp.stop();
    }
});

test('a folder that is refused stops the gateway from starting, and says which file', (t) => {
    const refused = own.filter(({ expect }) => expect === 'KEYRING_REFUSED');
    assert.ok(refused.length > 20);
    const dir = path.join(folder(t), 'made');
    const config = path.join(dir, 'sallyport.conf');
    assert.equal(run(program('sallyport'), ['init', '--dir', dir]).status, 0);
    for (const { name, keys, message } of refused) {
        writeKeys(path.join(dir, 'keys'), keys);
        const { status, stderr } = run(program('sallyport-gateway'), ['-c', config, '--check']);
        assert.equal(status, 1, name);
        assert.ok(stderr.startsWith('sallyport-gateway: ') && stderr.includes(message), `${name}: ${stderr}`);
        assert.match(stderr, /keys/, name);
    }
});
