/*
 * Logging in as one writes it with Express: who failed too often waits, a password is hashed by
 * Node's own scrypt, a token signed, and a refresh token is good once.  All of it is kept in memory.
 *
 *   node login-peer.mjs PORT
 */
import { randomBytes, scrypt } from 'node:crypto';
import { promisify } from 'node:util';
import express from 'express';
import jwt from 'jsonwebtoken';

const hash = promisify(scrypt), salt = randomBytes(16), secret = randomBytes(32);
const good = await hash('correct horse', salt, 32);
const failures = new Map(), refreshes = new Map();

const app = express().disable('x-powered-by').use(express.urlencoded({ extended: false }));

function grant(response, username) {
    const refresh = randomBytes(32).toString('base64url');
    const claims = { sub: username, iss: 'sallyport', aud: 'sallyport', jti: randomBytes(15).toString('base64url') };
    const token = jwt.sign(claims, secret, { algorithm: 'HS256', expiresIn: 1 });
    refreshes.set(refresh, username);
    response.set('Cache-Control', 'no-store')
        .json({ token, access_token: token, token_type: 'Bearer', expires_in: 1, refresh_token: refresh });
}

const refuse = (response, status, error) => response.status(status).set('Cache-Control', 'no-store')
    .json({ error, error_description: error });

app.post('/login', async (request, response) => {
    const { username, password } = request.body ?? {};
    const who = `${username} ${request.ip}`;
    if (!username || !password) return refuse(response, 400, 'invalid_request');
    if ((failures.get(who) ?? 0) > 10) return refuse(response.set('Retry-After', '60'), 429, 'slow_down');
    if (!(await hash(password, salt, 32)).equals(good)) {
        failures.set(who, (failures.get(who) ?? 0) + 1);
        return refuse(response, 401, 'invalid_grant');
    }
    return grant(response, username);
});

app.post('/token', (request, response) => {
    const username = refreshes.get(request.body?.refresh_token);
    if (!username) return refuse(response, 400, 'invalid_grant');
    refreshes.delete(request.body.refresh_token);
    return grant(response, username);
});

app.listen(Number(process.argv[2]), '127.0.0.1', 4096);
