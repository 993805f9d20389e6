/* Without a good token nobody gets in, and the client is told why in socketio-jwt's words. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { instance, misSign, next } from '../lib.mjs';

const now_s = () => Math.floor(Date.now() / 1000);
const required = 'namespace "/" { authenticate required }';

const refusals = {
    'no token': [() => undefined, 'credentials_required', 'no token provided'],
    'an expired one': [(sp) => sp.sign({ exp: now_s() - 1 }), 'invalid_token', 'jwt expired'],
    'a forged signature': [(sp) => misSign(sp.token()), 'invalid_token', 'invalid signature'],
    'other claims under a good signature': [(sp) => {
        const [head, , signature] = sp.token().split('.');
        return [head, sp.sign({ sub: 'root' }).split('.')[1], signature].join('.');
    }, 'invalid_token', 'invalid signature'],
    'alg none': [(sp) => sp.sign({}, { alg: 'none' }), 'invalid_token', 'jwt signature is required'],
    'another algorithm': [(sp) => sp.sign({}, { alg: 'HS512' }), 'invalid_token', 'invalid algorithm'],
    'no JWT at all': [() => 'open sesame', 'invalid_token', 'jwt malformed'],
    'one for later': [(sp) => sp.sign({ nbf: now_s() + 600 }), 'invalid_token', 'jwt not active'],
    'one of another issuer': [(sp) => sp.sign({ iss: 'them' }), 'invalid_token', 'jwt issuer invalid. expected: us'],
    'one for another audience': [(sp) => sp.sign({ aud: 'them' }), 'invalid_token', 'jwt audience invalid. expected: sallyport'],
};

/* What the real client is told. */
async function refusal(sp, options) {
    const socket = sp.client(options);
    const [error] = await next(socket, 'connect_error');
    assert.equal(socket.active, false, 'a refused client does not try again');
    return error;
}

/* What is on the wire; it is the gateway that closes. */
async function refusalOnTheWire(sp, token, inQuery) {
    const raw = sp.raw(inQuery ? `&token=${encodeURIComponent(token)}` : '');
    assert.match(await raw.receive(), /^0\{/);
    raw.send(token === undefined || inQuery ? '40' : `40${JSON.stringify({ token })}`);
    const packet = await raw.receive();
    assert.match(packet, /^44\{/);
    assert.equal(await raw.receive(), null);
    return JSON.parse(packet.slice(2));
}

for (const [name, [make, code, message]] of Object.entries(refusals)) {
    test(`refused and closed: ${name}`, async (t) => {
        const sp = await instance(t, { rules: required, login: false, settings: { 'token.issuer': 'us' } });
        const token = make(sp);
        const data = { message, code, type: 'UnauthorizedError' };

        for (const inQuery of token === undefined ? [false] : [false, true]) {
            const error = await refusal(sp, inQuery ? { query: { token } } : { token });
            assert.equal(error.message, message);
            assert.deepEqual(error.data, data);
            assert.deepEqual(await refusalOnTheWire(sp, token, inQuery), { message, data });
        }
        assert.equal((await sp.connected({ token: sp.token() })).connected, true);
        if (token) assert.ok(!sp.gateway.output().includes(token), 'no token comes into the log');
    });
}

test('the token of CONNECT decides before the one of the query', async (t) => {
    const sp = await instance(t, { rules: required, login: false });
    const good = sp.token();

    assert.equal((await sp.connected({ token: good, query: { token: misSign(good) } })).connected, true);
    assert.equal((await refusal(sp, { token: misSign(good), query: { token: good } })).message, 'invalid signature');
});

test('a namespace that asks for no token lets a guest in', async (t) => {
    const sp = await instance(t, { login: false,
        rules: 'namespace "/" { authenticate required }\nnamespace "/lobby" { authenticate none; on "echo" { ack $1 } }' });

    const guest = await sp.connected({ namespace: '/lobby' });
    assert.equal(await guest.emitWithAck('echo', 'hello'), 'hello');
    assert.equal((await refusal(sp, {})).message, 'no token provided');
});
