/*
 * Tokens of other issuers: a real issuer here, a small HTTPS server with a CA of its own, whose keys
 * change, stay away, come slowly, or are not what they should be; and what may never be taken for a
 * good token, whoever it claims to be from.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import crypto from 'node:crypto';
import fs from 'node:fs';
import https from 'node:https';
import path from 'node:path';
import test, { before, describe } from 'node:test';
import { folder, forge, instance, misSign, must, next, payload, program, request, run, signingKey, until, within } from '../lib.mjs';

const rules = 'namespace "/" { authenticate required; on "me" { ack $user } on "sub" { ack $claims.sub } on "say" { emit in "user:$1" "said" $user } }';
const unavailable = 'unavailable: tokens cannot be checked now';
const badSignature = 'invalid_token: invalid signature';

/* ---- a CA, certificates, keys ---- */

let pki;
before(() => {
    pki = folder();
    const openssl = (...args) => must('openssl', args);
    const at = (name) => path.join(pki, name);
    for (const name of ['ca', 'other']) {
        openssl('req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', at(`${name}.key`),
            '-out', at(`${name}.pem`), '-days', '2', '-subj', `/CN=${name}`);
    }
    for (const [name, subject] of [['good', 'DNS:localhost,IP:127.0.0.1'], ['elsewhere', 'DNS:elsewhere.example']]) {
        fs.writeFileSync(at('ext'), `subjectAltName=${subject}\n`);
        openssl('req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', at(`${name}.key`), '-out', at('csr'),
            '-subj', `/CN=${name}`);
        openssl('x509', '-req', '-in', at('csr'), '-CA', at('ca.pem'), '-CAkey', at('ca.key'), '-CAcreateserial', '-days', '2',
            '-extfile', at('ext'), '-out', at(`${name}.pem`));
    }
});
const ca = (name = 'ca') => path.join(pki, `${name}.pem`);

/* By way of PEM: node 20 locks a key object while it exports it as a JWK, and waits for ever when just
   then it collects what had generated that object. */
function newKey(kid, alg = 'ES256') {
    const { privateKey } = crypto.generateKeyPairSync(alg === 'ES256' ? 'ec' : 'rsa', { namedCurve: 'P-256', modulusLength: 2048,
        publicKeyEncoding: { type: 'spki', format: 'pem' }, privateKeyEncoding: { type: 'pkcs8', format: 'pem' } });
    const own = crypto.createPrivateKey(privateKey), open = crypto.createPublicKey(privateKey);
    return { kid, alg, private: own, public: open, jwk: { ...open.export({ format: 'jwk' }), kid, alg, use: 'sig' } };
}

const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
function sign(key, claims, header = {}) {
    const text = `${part({ alg: key.alg, typ: 'JWT', kid: key.kid, ...header })}.${part(claims)}`;
    return `${text}.${crypto.sign('sha256', Buffer.from(text), { key: key.private, dsaEncoding: 'ieee-p1363' }).toString('base64url')}`;
}
const now = () => Math.floor(Date.now() / 1000);
const claimsOf = (issuer, more = {}) => ({ iss: issuer.name, aud: 'chat', sub: 'bob', iat: now(), exp: now() + 600, ...more });

/*
 * An issuer: {name, url, keys, asked}.  It answers with its `keys`, fresh for `maxAge` seconds, or as
 * `answer(request, response)` does.
 */
async function issuer(t, { keys = [], maxAge = 3600, answer, certificate = 'good', name } = {}) {
    const self = { keys, maxAge, answer, asked: 0 };
    const server = https.createServer({ key: fs.readFileSync(path.join(pki, `${certificate}.key`)), cert: fs.readFileSync(ca(certificate)) }, (query, response) => {
        self.asked++;
        if (self.answer) return self.answer(query, response, self);
        response.setHeader('Cache-Control', `public, max-age=${self.maxAge}`);
        return response.end(JSON.stringify({ keys: self.keys.map((key) => key.jwk ?? key) }));
    });
    server.on('tlsClientError', () => {});
    self.open = (port = 0) => new Promise((resolve) => server.listen(port, '127.0.0.1', resolve));
    self.close = () => new Promise((resolve) => {
        server.close(resolve);
        server.closeAllConnections();
    });
    await self.open();
    self.port = server.address().port;
    self.url = `https://localhost:${self.port}/jwks.json`;
    self.name = name ?? `https://localhost:${self.port}/`;
    t.after(() => server.listening && self.close());
    return self;
}

const group = (self, settings = {}) => {
    const all = { issuer: self.name, audience: ['chat'], jwks: self.url, ca: ca(), prefix: 'id:', ...settings };
    return `  { ${Object.entries(all).map(([name, value]) => `${name} = ${JSON.stringify(value)};`).join(' ')} }`;
};
const section = (...groups) => `\nissuers = (\n${groups.join(',\n')}\n);\n`;

const started = (t, config, options) => instance(t, { rules, login: false, config, settings: { 'gateway.metrics': true }, ...options });

/* Who the gateway takes the bearer for, or the words of its refusal. */
async function outcome(sp, token) {
    const socket = sp.client({ token });
    const heard = await within(new Promise((resolve) => {
        socket.once('connect', () => resolve(null)).once('connect_error', resolve);
    }), 'the gateway to decide');
    const said = heard ? `${heard.data.code}: ${heard.data.message}` : await within(socket.emitWithAck('me'), 'an answer');
    socket.disconnect();
    return said;
}
/* What --explain says of it; the issuer's server is this process, which must not stand still. */
function explained(sp, token) {
    return within(new Promise((resolve) => {
        const child = execFile(program('sallyport-gateway'), ['--explain', '-c', sp.config, '--token', 'me'],
            (error, stdout, stderr) => resolve(stdout + stderr));
        child.stdin.end(token);
    }), '--explain');
}
const comes = (sp, token, wanted, ms) => until(async () => (await outcome(sp, token())) === wanted, `"${wanted}"`, ms);

async function metric(sp, name) {
    const { body } = await request(`${sp.url}/metrics`);
    return Number(body.match(new RegExp(`^sallyport_${name} (\\d+)$`, 'm'))?.[1]);
}

/* ---- what works ---- */

test('users of other issuers come in under their prefix, and nobody takes one for another', async (t) => {
    const [rsa, ec] = [newKey('one', 'RS256'), newKey('two')];
    const one = await issuer(t, { keys: [rsa, ec, newKey('enc')] });
    const other = await issuer(t, { keys: [newKey('one', 'RS256')] });
    one.keys[2].jwk.use = 'enc';
    delete one.keys[0].jwk.alg;
    const sp = await started(t, section(group(one), group(other, { prefix: 'other.idp:', user: 'https://x/name', lifetime: '10m' })));
    await sp.gateway.logged(/issuer .*: 2 keys are fetched/);
    await sp.gateway.logged(/issuer .*: 1 keys are fetched/);
    const of = (key, claims, header) => sign(key, claimsOf(one, claims), header);

    assert.equal(await outcome(sp, of(rsa)), 'id:bob');
    assert.equal(await outcome(sp, of(ec)), 'id:bob');
    assert.equal(await outcome(sp, of(ec, {}, { typ: 'at+jwt' })), 'id:bob');
    assert.equal(await outcome(sp, of(ec, { sub: 'b"\\\u00e9\u{1f600}:x' })), 'id:b"\\\u00e9\u{1f600}:x');
    assert.equal(await outcome(sp, sign(other.keys[0], claimsOf(other, { 'https://x/name': 'eve' }))), 'other.idp:eve');
    assert.equal(await outcome(sp, sp.token()), 'ann', 'our own users as ever');
    assert.match(await explained(sp, of(ec)), /^ {2}answer.* 430\["id:bob"\]$/m);
    assert.match(await explained(sp, of(newKey('two'))), /the token is refused: "invalid signature"/);

    const bob = await sp.connected({ token: of(ec) });
    const ann = await sp.connected({ token: sp.token() });
    assert.equal(await bob.emitWithAck('sub'), 'bob', 'claims are as they came');
    ann.emit('say', 'id:bob');
    assert.deepEqual(await next(bob, 'said'), ['ann']);
    assert.equal(await metric(sp, 'issuer_keys\\{issuer="id"\\}'), 2);
    assert.equal(await metric(sp, 'issuer_fetches_total\\{issuer="other.idp"\\}'), 1);
    assert.ok(await metric(sp, 'issuer_age_seconds\\{issuer="id"\\}') < 20);
    assert.ok(sp.gateway.lines.some((line) => line.includes('id:bob')), 'the log names them with their prefix');

    const wrong = 'invalid_token: jwt ';
    const sub = { 'https://x/name': 'eve' };
    const rows = {
        'another audience': [of(ec, { aud: 'shop' }), `${wrong}audience invalid`],
        'ours as its audience': [of(ec, { aud: 'sallyport' }), `${wrong}audience invalid`],
        'an issuer nobody named': [of(ec, { iss: 'https://x/' }), badSignature],
        'a slash less': [of(ec, { iss: one.name.slice(0, -1) }), badSignature],
        'expired': [of(ec, { exp: now() - 1, iat: now() - 9 }), `${wrong}expired`],
        'not yet': [of(ec, { nbf: now() + 60 }), `${wrong}not active`],
        'without iat': [of(ec, { iat: undefined }), `${wrong}malformed`],
        'without exp': [of(ec, { exp: undefined }), `${wrong}malformed`],
        'without the claim that names the user': [sign(other.keys[0], claimsOf(other)), `${wrong}malformed`],
        'a user that is no text': [of(ec, { sub: 7 }), `${wrong}malformed`],
        'a user without a name': [of(ec, { sub: '' }), `${wrong}malformed`],
        'a name too long with its prefix': [of(ec, { sub: 'x'.repeat(253) }), `${wrong}malformed`],
        'without kid': [of(rsa, {}, { kid: undefined }), `${wrong}malformed`],
        'too long a life': [sign(other.keys[0], claimsOf(other, { ...sub, exp: now() + 900 })), `${wrong}lifetime too long`],
        'the key of the same kid of another issuer': [sign(other.keys[0], claimsOf(one)), badSignature],
        'and the other way round': [sign(rsa, claimsOf(other, sub)), badSignature],
        'a foreign key under our issuer': [sign(ec, { ...payload(sp.token()), jti: 'x' }), badSignature],
        'our key under a foreign issuer': [forge(signingKey(sp.dir), claimsOf(one)), badSignature],
        'our key and its kid under a foreign one\u2019s': [forge(signingKey(sp.dir), claimsOf(one), { kid: 'one' }), 'invalid_token: invalid algorithm'],
        'a MAC with the public key': [forge({ kid: 'one', k: Buffer.from(rsa.public.export({ type: 'spki', format: 'pem' })).toString('base64url') },
            claimsOf(one)), 'invalid_token: invalid algorithm'],
        'a key for encryption': [sign(one.keys[2], claimsOf(one)), badSignature],
        'unsigned': [forge({ kid: 'one' }, claimsOf(one), { alg: 'none' }), `${wrong}signature is required`],
        'a token of ours for a name of theirs': [sp.sign({ sub: 'id:bob' }), `${wrong}issuer invalid. expected: ${payload(sp.token()).iss}`],
    };
    for (const [what, [token, answer]] of Object.entries(rows)) assert.equal(await outcome(sp, token), answer, what);

    assert.match(run(program('sallyport'), ['-c', sp.config, 'user', 'add', 'id:bob', '--password-stdin']).stderr, /colons/);
    const gone = next(bob, 'disconnect');
    sp.cli('session', 'revoke', 'id:bob');
    await gone;
    assert.equal(await outcome(sp, of(ec, { iat: now() - 5 })), 'invalid_token: jwt revoked');
    assert.equal(ann.connected, true);
});

describe('an issuer over time', { concurrency: 3 }, () => {
    test('a new key is fetched when a token names it, a retired one goes, and nobody is dropped', async (t) => {
        const [first, second] = [newKey('first'), newKey('second')];
        const idp = await issuer(t, { keys: [first] });
        const sp = await started(t, section(group(idp, { refetch: '2s' })));
        await comes(sp, () => sign(first, claimsOf(idp)), 'id:bob');
        const bob = await sp.connected({ token: sign(first, claimsOf(idp)) });
        assert.equal(idp.asked, 1);

        idp.keys = [first, second];
        const answers = new Set();
        await until(async () => {
            answers.add(await outcome(sp, sign(second, claimsOf(idp))));
            return answers.has('id:bob');
        }, 'the new key');
        for (const answer of answers) assert.ok(['id:bob', unavailable, badSignature].includes(answer), answer);
        assert.equal(idp.asked, 2);

        idp.keys = [second];
        const begun = Date.now();
        while (Date.now() - begun < 5000) {
            await Promise.all(Array.from({ length: 20 }, (_, i) => outcome(sp, sign(newKey(`never ${i}`), claimsOf(idp)))));
            await new Promise((resolve) => setTimeout(resolve, 50));
        }
        assert.ok(idp.asked >= 3 && idp.asked <= 5, `asked ${idp.asked} times; at most every 2 s`);
        await comes(sp, () => sign(first, claimsOf(idp)), badSignature);
        assert.equal(await outcome(sp, sign(second, claimsOf(idp))), 'id:bob');
        assert.equal(bob.connected, true);
        assert.ok(!sp.gateway.lines.some((line) => /no keys/.test(line)));
    });

    test('a gateway that starts has the keys before it lets anybody in, or does without those of an issuer that is slow', async (t) => {
        const key = newKey('a');
        const slowly = (ms) => (query, response, self) => setTimeout(() => response.end(JSON.stringify({ keys: [self.keys[0].jwk] })), ms);
        const [idp, slow] = [await issuer(t, { keys: [key], answer: slowly(500) }), await issuer(t, { keys: [key], answer: slowly(6000) })];
        const sp = await started(t, section(group(idp), group(slow, { prefix: 'slow:' })));
        for (let i = 0; i < 2; i++) {
            assert.equal(await outcome(sp, sign(key, claimsOf(idp))), 'id:bob', 'the first who comes');
            assert.equal(await outcome(sp, sign(key, claimsOf(slow))), unavailable);
            await sp.gateway.stop();
            await sp.startGateway();
        }
        await comes(sp, () => sign(key, claimsOf(slow)), 'slow:bob');
    });

    test('while an issuer is down its last keys do for a while, then its tokens are refused until it is back', async (t) => {
        const key = newKey('a');
        const idp = await issuer(t, { keys: [key], maxAge: 1 });
        const sp = await started(t, section(group(idp, { refetch: '1s', patience: '4s' })));
        await comes(sp, () => sign(key, claimsOf(idp)), 'id:bob');
        await until(() => idp.asked >= 3, 'it to be fetched when its max-age is over');
        await idp.close();
        await sp.gateway.logged(/issuer .*: no keys from https:.*, those known will do for a while: /);
        assert.equal(await outcome(sp, sign(key, claimsOf(idp))), 'id:bob');
        const bob = await sp.connected({ token: sign(key, claimsOf(idp)) });
        await sp.gateway.logged(/issuer .*: its keys have not been to be had for too long/);
        assert.equal(await outcome(sp, sign(key, claimsOf(idp))), unavailable);
        assert.equal(await outcome(sp, sp.token()), 'ann');
        assert.ok(await metric(sp, 'issuer_failures_total\\{issuer="id"\\}') >= 2);
        assert.equal(await metric(sp, 'issuer_keys\\{issuer="id"\\}'), 0);
        await idp.open(idp.port);
        await comes(sp, () => sign(key, claimsOf(idp)), 'id:bob');
        assert.equal(bob.connected, true, 'who was in has stayed');
        assert.equal(sp.gateway.lines.filter((line) => /no keys from/.test(line)).length, 1, 'said once');
    });
});

test('no token of another issuer renews a connection of ours, nor the other way round', async (t) => {
    const key = newKey('a');
    const [one, other] = [await issuer(t, { keys: [key] }), await issuer(t, { keys: [key] })];
    const sp = await started(t, section(group(one), group(other, { prefix: 'other:' })),
        { settings: { 'gateway.metrics': true, log_level: 'debug' }, users: { ann: {}, bob: {} } });
    const of = (self, claims) => sign(key, claimsOf(self, claims));
    await comes(sp, () => of(one), 'id:bob');
    await comes(sp, () => of(other), 'other:bob');
    const tokens = { ours: sp.token('bob'), one: of(one), other: of(other) };
    const shown = Object.values(tokens);
    for (const [mine, theirs] of [['ours', 'one'], ['one', 'ours'], ['one', 'other'], ['other', 'one']]) {
        const socket = await sp.connected({ token: tokens[mine] });
        const refused = next(socket, 'unauthorized');
        socket.emit('authenticate', { token: tokens[theirs] });
        assert.equal((await refused)[0].message, "the token is another user's", `${theirs} renews ${mine}`);
    }
    const socket = await sp.connected({ token: of(one, { exp: now() + 3 }) });
    const fresh = of(one, { jti: 'fresh', exp: now() + 60 });
    await within(socket.emitWithAck('authenticate', { token: fresh }), 'the renewal');
    for (const bad of [of(one, { aud: 'x' }), sign(newKey('a'), claimsOf(one)), sign(newKey('new'), claimsOf(one))]) {
        shown.push(bad);
        await outcome(sp, bad);
    }
    await new Promise((resolve) => setTimeout(resolve, 4000));
    assert.equal(await within(socket.emitWithAck('me'), 'an answer'), 'id:bob', 'its own issuer\u2019s does');
    await sp.gateway.stop();
    for (const token of [...shown, fresh])
        for (const piece of token.split('.').slice(1)) assert.ok(!sp.gateway.output().includes(piece), 'no token comes into the log');
});

test('whatever an issuer calls its keys, each token is judged by the key that it names', async (t) => {
    const kids = ['', ' ', '*', '..', '../keys', '%00', '\u00e9\u{1f511}', '"\\', '\n\u001b[31m', 'x'.repeat(3000), '0', '__proto__'];
    const keys = kids.map((kid) => newKey(kid));
    const [first, second] = [newKey('twice'), newKey('twice')];
    const odd = [{ ...newKey('no').jwk, kid: 7 }, { ...newKey('no').jwk, kid: null }, { ...newKey('no').jwk, kid: ['a'] }, 'a', null, [], {},
        { ...newKey('no').jwk, key_ops: ['encrypt'] }, { ...newKey('no').jwk, x: 'AA' }, { ...newKey('RS').jwk, alg: 'RS256' }];
    const idp = await issuer(t, { keys: [...odd.map((jwk) => ({ jwk })), ...keys, first, second] });
    const sp = await started(t, section(group(idp)));
    await sp.gateway.logged(new RegExp(`issuer .*: ${kids.length + 1} keys are fetched`));
    for (const key of keys) {
        assert.equal(await outcome(sp, sign(key, claimsOf(idp))), 'id:bob', JSON.stringify(key.kid).slice(0, 40));
        assert.equal(await outcome(sp, sign(newKey(key.kid), claimsOf(idp))), badSignature);
    }
    assert.equal(await outcome(sp, sign(first, claimsOf(idp))), 'id:bob');
    assert.equal(await outcome(sp, sign(second, claimsOf(idp))), badSignature, 'of a name that stands twice the first is meant');
    for (const kid of [null, 7, {}, ['twice']]) assert.match(await outcome(sp, sign(first, claimsOf(idp), { kid })), /malformed/);
    for (const head of [{ crit: ['exp'] }, { crit: [] }, { b64: false }, { crit: ['b64'], b64: true }])
        assert.match(await outcome(sp, sign(first, claimsOf(idp), head)), /malformed/, JSON.stringify(head));
    for (const head of [{ jwk: second.jwk }, { jku: 'https://localhost:1/' }, { x5u: 'https://localhost:1/' }])
        assert.equal(await outcome(sp, sign(second, claimsOf(idp), head)), badSignature, 'no key comes with the token');
    assert.match(await outcome(sp, sign(first, claimsOf(idp), { kid: 'x'.repeat(9000) })), /malformed/);
});

/* ---- what must not work ---- */

const json = (value) => (query, response) => response.end(JSON.stringify(value));
const huge = Buffer.alloc(1 << 20, ' ');
const bad = {
    'a redirect': { reason: /redirect \(302\)/, answer: (query, response, self) => {
        if (query.url === '/elsewhere') self.strayed = true;
        response.writeHead(302, { Location: '/elsewhere' }).end();
    } },
    'an error': { reason: /the answer is 500/, answer: (query, response) => response.writeHead(500).end('{"keys":[]}') },
    '100 MB': { reason: /larger than 256 KiB/, answer: (query, response, self) => {
        let left = 100;
        const more = () => {
            while (left-- > 0) if (!response.write(huge)) return response.once('drain', more);
            self.whole = true;
            return response.end();
        };
        more();
    } },
    '100 MB announced': { reason: /larger than 256 KiB|[Mm]aximum file size/, answer: (query, response) => response.writeHead(200, { 'Content-Length': 100 << 20 }).write('{') },
    'a drip': { reason: /timed out/i, answer: (query, response) => {
        const drip = setInterval(() => response.write(' '), 100);
        response.on('close', () => clearInterval(drip));
    } },
    'silence': { reason: /timed out/i, answer: () => {} },
    'garbage': { reason: /is not JSON/, answer: (query, response) => response.end(crypto.randomBytes(5000)) },
    'a page': { reason: /is not JSON/, answer: (query, response) => response.end('<html>') },
    'a deep one': { reason: /is not JSON/, answer: (query, response) => response.end('['.repeat(200_000)) },
    'no list': { reason: /no list "keys"/, answer: json({ keys: {} }) },
    'no keys': { reason: /no key that can be used/, answer: json({ keys: [] }) },
    'a secret': { reason: /no key that can be used/, answer: json({ keys: [{ kty: 'oct', alg: 'HS256', kid: 'a', k: 'x'.repeat(43) }] }) },
    'private members': { reason: /no key that can be used/, answer: (query, response, self) =>
        response.end(JSON.stringify({ keys: [{ ...self.key.private.export({ format: 'jwk' }), kid: 'a', alg: 'ES256' }] })) },
    '10,000 keys': { reason: /has 10000 keys|larger than/, answer: json({ keys: Array.from({ length: 10_000 }, (_, i) => ({ kty: 'EC', kid: `${i}` })) }) },
    'another\u2019s name': { reason: /SSL|certificate/i, certificate: 'elsewhere' },
    'another CA': { reason: /SSL|certificate/i, settings: () => ({ ca: ca('other') }) },
};

test('an issuer that answers wrongly is not believed, and nobody else notices', { timeout: 60_000 }, async (t) => {
    const issuers = await Promise.all(Object.entries(bad).map(async ([name, { answer, certificate }]) =>
        Object.assign(await issuer(t, { answer, certificate, name }), { key: newKey('a') })));
    for (const self of issuers) self.keys = [self.key];
    const groups = issuers.map((self, i) => group(self, { prefix: `p${i}:`, ...bad[self.name].settings?.() }));
    const sp = await started(t, section(...groups), { users: { ann: {}, eve: {} } });
    const [one, two] = [await sp.connected({ token: sp.token() }), await sp.connected({ token: sp.token('eve') })];

    /* Meanwhile: how long do others wait, for an answer and to come in? */
    let done = false, longest_ms = 0, rounds = 0;
    const meanwhile = (async () => {
        while (!done) {
            const begun = performance.now();
            await within(one.emitWithAck('me'), 'an answer');
            longest_ms = Math.max(longest_ms, performance.now() - begun);
            if (++rounds % 20 === 0) assert.equal(await outcome(sp, sp.token()), 'ann');
            await new Promise((resolve) => setTimeout(resolve, 5));
        }
    })();
    for (const self of issuers) {
        const literal = self.name.replace(/[^\w ]/g, '.');
        const [line] = await sp.gateway.logged(new RegExp(`issuer ${literal}: no keys from .*`), { ms: 25_000 });
        assert.match(line, bad[self.name].reason);
        assert.equal(await outcome(sp, sign(self.key, claimsOf(self))), unavailable, self.name);
    }
    /* Revocation is the main thread's as the fetches are: it comes in time. */
    const begun = performance.now();
    const gone = next(two, 'disconnect');
    sp.cli('session', 'revoke', 'eve');
    await gone;
    const revoked_ms = performance.now() - begun;
    done = true;
    await meanwhile;
    assert.ok(rounds > 100);
    t.diagnostic(`longest wait for an answer ${longest_ms.toFixed(1)} ms in ${rounds}; revoked within ${revoked_ms.toFixed(0)} ms`);
    assert.ok(longest_ms < 1000, `somebody waited ${longest_ms} ms`);
    assert.ok(!issuers.some((self) => self.strayed || self.whole));
});

test('keys from a file are read with the config, and a config that is wrong changes nothing', async (t) => {
    const [key, later] = [newKey('a'), newKey('b')];
    const dir = folder(t);
    const file = path.join(dir, 'idp.jwks');
    const write = (...keys) => fs.writeFileSync(file, JSON.stringify({ keys: keys.map(({ jwk }) => jwk) }), { mode: 0o644 });
    write(key);
    const idp = { name: 'https://idp.example/', url: file };
    const sp = await started(t, section(group(idp)));
    const check = () => run(program('sallyport-gateway'), ['-c', sp.config, '--check']);
    assert.equal(await outcome(sp, sign(key, claimsOf(idp))), 'id:bob');
    assert.equal(await outcome(sp, sign(later, claimsOf(idp))), badSignature);
    write(later);
    sp.gateway.child.kill('SIGHUP');
    await comes(sp, () => sign(later, claimsOf(idp)), 'id:bob');
    assert.equal(await outcome(sp, sign(key, claimsOf(idp))), badSignature);
    assert.equal(check().status, 0);

    fs.writeFileSync(file, '{"keys":[]}');
    assert.match(check().stderr, /idp\.jwks: has no key that can be used/);
    fs.chmodSync(file, 0o666);
    assert.match(check().stderr, /idp\.jwks/);
    fs.rmSync(file);
    assert.match(check().stderr, /idp\.jwks/);
    sp.gateway.child.kill('SIGHUP');
    await sp.gateway.logged(/nothing is changed: .*idp\.jwks/);
    assert.equal(await outcome(sp, sign(later, claimsOf(idp))), 'id:bob');

    const config = fs.readFileSync(sp.config, 'utf8');
    fs.writeFileSync(sp.config, config.replace('prefix =', 'prefic ='));
    assert.match(check().stderr, /sallyport\.conf:\d+: issuers\.prefic is not a setting; did you mean issuers\.prefix\?/);
    fs.writeFileSync(sp.config, config.slice(0, config.indexOf('\nissuers')));
    sp.gateway.child.kill('SIGHUP');
    await comes(sp, () => sign(later, claimsOf(idp)), badSignature);
});

test('the command judges tokens of other issuers as the gateway does, or says that it cannot', async (t) => {
    const key = newKey('a');
    const dir = folder(t);
    const file = path.join(dir, 'idp.jwks');
    const padding = Array.from({ length: 12 }, (_, i) => ({ ...key.jwk, kid: `${i}`, x5c: ['x'.repeat(2000)] })); /* as the large ones have */
    fs.writeFileSync(file, JSON.stringify({ keys: [...padding, key.jwk] }), { mode: 0o644 });
    const [near, far] = [{ name: 'https://near.example/', url: file }, { name: 'https://far.example/', url: 'https://far.example/jwks' }];
    const sp = await started(t, section(group(near), group(far, { prefix: 'far:', audience: ['ours'] })));
    const inspect = (token, ...options) => {
        const { status, stdout, stderr } = run(program('sallyport'), ['-c', sp.config, 'token', 'inspect', '--json', ...options], { input: token });
        const { verifies, user, message } = stdout ? JSON.parse(stdout) : {};
        return { status, verifies, user, message, stderr };
    };
    const good = (user) => ({ status: 0, verifies: true, user, message: null, stderr: '' });
    const no = (message) => ({ status: 1, verifies: false, user: null, message, stderr: '' });
    const open = (message) => ({ status: 1, verifies: null, user: null, message, stderr: '' });
    const of = (claims, header) => sign(key, claimsOf(near, claims), header);
    const elsewhere = { iss: far.name, aud: 'ours' };

    assert.deepEqual(inspect(sp.token()), good('ann'));
    assert.deepEqual(inspect(of()), good('id:bob'));
    assert.equal(await outcome(sp, of()), 'id:bob', 'as the gateway does');
    assert.deepEqual(inspect(of({ aud: 'sallyport' })), no('jwt audience invalid'));
    assert.deepEqual(inspect(of({ exp: now() - 1, iat: now() - 9 })), no('jwt expired'));
    assert.deepEqual(inspect(sign(newKey('a'), claimsOf(near))), no('invalid signature'));
    assert.deepEqual(inspect(of({}, { kid: 'later' })), open(`${file} has no key of "${near.name}" with its \`kid\``));
    assert.deepEqual(inspect(of({ iss: 'https://x/' })), no('invalid signature; the config has no such issuer'));
    assert.deepEqual(inspect(of({ iss: '\u00e9'.repeat(2000) })), no('invalid signature; the config has no such issuer'));
    assert.deepEqual(inspect(sp.sign({ sub: 'id:bob' })), no('jwt issuer invalid. expected: sallyport'));
    const unknown = open(`the keys of "${far.name}" only the gateway fetches; save ${far.url} and say --jwks FILE`);
    assert.deepEqual(inspect(of(elsewhere)), unknown);
    assert.deepEqual(inspect(misSign(of(elsewhere))), unknown);
    assert.deepEqual(inspect(of(elsewhere), '--jwks', file), good('far:bob'));
    assert.deepEqual(inspect(misSign(of(elsewhere)), '--jwks', file), no('invalid signature'));
    assert.deepEqual(inspect(forge({ kid: 'a' }, claimsOf(near, elsewhere), { alg: 'none' })), no('jwt signature is required'));
    assert.match(inspect(of(elsewhere), '--jwks', `${file}.not`).stderr, /^sallyport: .*idp\.jwks\.not/);
    assert.match(run(program('sallyport'), ['-c', sp.config, 'token', 'inspect'], { input: of(elsewhere) }).stdout, /^verifies +not known: the keys of/m);
});
