/* What has to hold behind each web server, with the files of deploy/ as they are shipped. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import path from 'node:path';
import { test } from 'node:test';
import { io } from 'socket.io-client';
import { instance, next, payload, program, rawClient, request, start, until, within } from '../lib.mjs';
import { rules as stockRules, suite as stockClients } from '../clients/stock.mjs';
import { loginAlone, loginWays, openSocket, webServer } from './webservers.mjs';

export const rules = `namespace "/" {
    authenticate required
    on "echo" { ack $1 }
    on "say" { emit others $1 }
}`;
const form = { 'Content-Type': 'application/x-www-form-urlencoded' };
const right = 'username=ann&password=correct+horse';

/* One request, over `agent` if there is one: {status, body, port}, the last ours, which tells connections apart. */
function ask(url, { agent = false, ...options }, body) {
    return within(new Promise((resolve, reject) => {
        const sent = (url.startsWith('https') ? https : http).request(url, { agent, ...options }, (answer) => {
            const port = answer.socket.localPort;
            let text = '';
            answer.on('data', (part) => { text += part; });
            answer.on('end', () => resolve({ status: answer.statusCode, body: text, port }));
            answer.on('error', reject);
        });
        sent.on('error', reject);
        sent.end(body);
    }), `an answer from ${url}`);
}

const login = (web, body = right, headers = {}, options = {}) =>
    ask(`${web.url}/login`, { method: 'POST', headers: { ...form, ...headers }, ...options }, body);

const paths = ['/login', '/token', '/logout', '/password', '/.well-known/jwks.json'];

/* Refresh, logout, another password: each by its path. */
async function sessionLives(web) {
    const post = async (name, fields, status = 200) => {
        const answer = await request(web.url + name, { method: 'POST', headers: form, body: String(new URLSearchParams(fields)) });
        assert.equal(answer.status, status, `${name}: ${answer.body}`);
        assert.equal(answer.headers['cache-control'], 'no-store');
        return JSON.parse(answer.body);
    };
    const refresh = (refresh_token, status) => post('/token', { grant_type: 'refresh_token', refresh_token }, status);
    const first = await post('/login', { username: 'ann', password: 'correct horse' });
    const second = await refresh(first.refresh_token);
    assert.equal(payload(second.token).sub, 'ann');
    assert.notEqual(second.refresh_token, first.refresh_token);
    assert.deepEqual(await post('/logout', { refresh_token: second.refresh_token }), { status: 'ok' });
    await refresh(second.refresh_token, 400);

    const another = { username: 'ann', password: 'correct horse', new_password: 'battery' };
    await post('/password', { ...another, password: 'wrong' }, 401);
    await refresh((await post('/password', another)).refresh_token);
    await post('/login', { username: 'ann', password: 'correct horse' }, 401);
    await post('/password', { username: 'ann', password: 'battery', new_password: 'correct horse' });
}

/* RFC 9110 §13.1.2: who has them already is told that they are the same. */
async function keysAreServed(web) {
    const keys = (method, headers) => request(`${web.url}/.well-known/jwks.json`, { method, headers });
    const { status, headers: { etag, ...headers }, body } = await keys('GET');
    assert.deepEqual([status, headers['content-type'], body], [200, 'application/json', '{"keys":[]}\n']);
    assert.match(etag, /^"[^"]+"$/);
    const kept = await keys('GET', { 'If-None-Match': etag });
    assert.deepEqual([kept.status, kept.body, kept.headers.etag], [304, '', etag]);
    assert.equal((await keys('GET', { 'If-None-Match': '"other"' })).status, 200);
    const head = await keys('HEAD');
    assert.deepEqual([head.status, head.body, head.headers.etag], [200, '', etag]);
}

async function tokenFrom(web) {
    const { status, body } = await login(web);
    assert.equal(status, 200, body);
    return JSON.parse(body).token;
}

/* The real client; without further options it polls first and then upgrades. */
function client(t, url, token, options = {}) {
    const socket = io(url, { forceNew: true, reconnectionDelay: 50, reconnectionDelayMax: 200, rejectUnauthorized: false,
        auth: { token }, ...options });
    t.after(() => socket.disconnect());
    return socket;
}

async function connected(t, url, token, options) {
    const socket = client(t, url, token, options);
    await next(socket, 'connect');
    if (!options?.transports && socket.io.engine.transport.name !== 'websocket') await next(socket.io.engine, 'upgrade');
    return socket;
}

async function raw(t, web, { query = '', ...options } = {}) {
    const { ws, receive, status, send } = rawClient(`${web.url.replace('http', 'ws')}/socket.io/?EIO=4&transport=websocket${query}`, options);
    t.after(() => ws.terminate());
    return { ws, receive, send, status: await status() };
}

const polling = (web, { query = '', ...options } = {}, body) =>
    ask(`${web.url}/socket.io/?EIO=4&transport=polling${query}`, { method: body === undefined ? 'GET' : 'POST', ...options }, body);

/* Exactly these are let in of three WebSockets and three polling clients from 127.0.0.5, then one from 127.0.0.6. */
async function admitted(t, web) {
    const headers = () => ({ 'X-Forwarded-For': `203.0.113.${Math.floor(Math.random() * 250)}` });
    const from = [];
    for (let i = 0; i < 2; i++) from.push((await raw(t, web, { localAddress: '127.0.0.5', headers: headers() })).status);
    from.push((await polling(web, { localAddress: '127.0.0.5', headers: headers() })).status);
    from.push((await raw(t, web, { localAddress: '127.0.0.5', headers: headers() })).status);
    from.push((await raw(t, web, { localAddress: '127.0.0.6' })).status);
    return from;
}

export function suite(kind) {
    for (const way of loginWays(kind)) {
        test(`${kind}: login by ${way}`, async (t) => {
            const sp = way === 'fastcgi' ? await instance(t, { rules }) : loginAlone(t);
            const web = await webServer(t, kind, sp, { way });
            const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
            t.after(() => agent.destroy());

            assert.equal(payload(await tokenFrom(web)).sub, 'ann');
            assert.equal((await login(web, 'username=ann&password=guess')).status, 401);
            assert.equal((await login(web, right, { 'Transfer-Encoding': 'chunked' })).status,
                kind === 'apache' && way === 'cgi' ? 411 : 200);

            /* The address is the peer's, whatever the peer says. */
            await login(web, right, { 'X-Forwarded-For': '203.0.113.7' }, { localAddress: '127.0.0.5' });
            const said = () => web.logs() + (sp.login?.output() ?? '');
            await until(() => said().includes('login accepted: address 127.0.0.5, user ann'), 'the login to be logged');
            assert.ok(!said().includes('from 203.0.113.7'));

            /* Too long, by the service's own measure: the connection lives, but for Apache, which ends it in good order. */
            const ports = new Set();
            for (const [body, status] of [[right, 200], ['x'.repeat(20_000), 413], ['x'.repeat(500_000), 413], [right, 200]]) {
                const answer = await login(web, body, {}, { agent });
                assert.equal(answer.status, status, answer.body);
                ports.add(answer.port);
                if (status === 413) assert.equal(JSON.parse(answer.body).error, 'content_too_large');
            }
            agent.destroy();
            assert.equal(ports.size, kind === 'apache' ? 3 : 1);
            assert.equal((await login(web, 'x'.repeat(3_000_000))).status, 413);

            await sessionLives(web);
            await keysAreServed(web);
            for (const name of paths)
                for (const other of [`${name}x`, `${name}/`, `${name}/x`, `/${name}`, `${name}%2f`, `${name}%0a`, name.toUpperCase()]) {
                    const { status, body } = await ask(web.url + other, { method: 'POST', headers: form }, right);
                    assert.ok(status >= 400 && !/"(access_token|status|keys)"/.test(body), `${other}: ${status} ${body}`);
                }
        });
    }

    test(`${kind}: 500 logins at once are each answered`, async (t) => {
        const sp = await instance(t, { rules });
        const web = await webServer(t, kind, sp, { sockets: 1000 });
        const answers = await Promise.all(Array.from({ length: 500 }, (_, i) =>
            login(web, right, {}, { localAddress: `127.${1 + (i >> 8)}.${i & 255}.1` })));
        for (const { status, body } of answers) {
            assert.ok([200, 503].includes(status), `${status} ${body}\n${web.logs().slice(-2000)}`);
            if (status === 503) assert.equal(JSON.parse(body).error, 'temporarily_unavailable');
        }
        assert.ok(answers.filter(({ status }) => status === 200).length >= 50);
    });

    /* 20,000 where there is time for them: GUESSES=20000. */
    const guesses = Number(process.env.GUESSES ?? 1000);
    test(`${kind}: ${guesses} wrong guesses from one network, and the owner logs in from another`, { timeout: 60_000 + guesses * 20 }, async (t) => {
        const sp = await instance(t, { rules });
        const web = await webServer(t, kind, sp, { sockets: 1000 });
        const kinds = {};
        let left = guesses, guessing = true;
        const guesser = async (n) => {
            while (left-- > 0) {
                const { status } = await login(web, `username=ann&password=guess+${left}`, {}, { localAddress: `127.0.0.${10 + n}` });
                kinds[status] = (kinds[status] ?? 0) + 1;
            }
        };
        const owner = async () => {
            const slowest = { n: 0, ms: 0 };
            for (; guessing; slowest.n++) {
                const start_ms = performance.now();
                const { status, body } = await login(web, right, {}, { localAddress: '127.0.1.1' });
                assert.equal(status, 200, body);
                slowest.ms = Math.max(slowest.ms, performance.now() - start_ms);
                await new Promise((resolve) => setTimeout(resolve, 20));
            }
            return slowest;
        };
        const owned = owner();
        await Promise.all(Array.from({ length: 16 }, (_, n) => guesser(n))).finally(() => { guessing = false; });
        const { n, ms } = await owned;
        t.diagnostic(`${JSON.stringify(kinds)}; ${n} logins of the owner, the slowest ${Math.round(ms)} ms`);
        assert.ok(n > 5);
        assert.deepEqual(Object.keys(kinds).sort(), ['401', '429']);
        assert.equal(kinds[401] + kinds[429], guesses);
        assert.ok(kinds[401] < 30, `${kinds[401]} were tried`);
    });

    stockClients(kind, async (t) => {
        const sp = await instance(t, { rules: stockRules, login: false,
            settings: { 'gateway.workers': 4, 'gateway.limits.per_user': 0, 'gateway.limits.per_address': 0 } });
        const web = await webServer(t, kind, sp);
        const token = sp.token();
        return { sp, sites: [{ name: '', url: web.url, token }, { name: ' and TLS', url: web.tlsUrl, token, ways: ['upgrade'], ca: web.ca }],
            whileDown: async () => assert.ok([502, 503].includes((await polling(web)).status)) };
    });

    test(`${kind}: long messages, polling and upgraded, plain and by TLS`, async (t) => {
        const sp = await instance(t, { rules });
        const web = await webServer(t, kind, sp);
        const token = await tokenFrom(web);
        const sockets = await Promise.all([web.url, web.tlsUrl].flatMap((url) => [
            connected(t, url, token), connected(t, url, token, { transports: ['polling'] }),
            connected(t, url, token, { transports: ['websocket'] })]));

        for (const [i, socket] of sockets.entries()) {
            const heard = sockets.filter((other) => other !== socket).map((other) => next(other, 'say'));
            socket.emit('say', { from: i, bytes: Buffer.alloc(70_000, i) });
            for (const [message] of await Promise.all(heard)) {
                assert.equal(message.from, i);
                assert.ok(Buffer.from(message.bytes).equals(Buffer.alloc(70_000, i)));
            }
            const long = 'x'.repeat(900_000);
            assert.equal(await socket.emitWithAck('echo', long), long);
        }
        assert.deepEqual(sockets.map((socket) => socket.io.engine.transport.name),
            ['websocket', 'polling', 'websocket', 'websocket', 'polling', 'websocket']);
    });

    test(`${kind}: a gateway on a Unix socket`, async (t) => {
        const sp = await instance(t, { rules });
        const gatewaySocket = path.join(sp.dir, 'gateway.sock');
        const config = path.join(sp.dir, 'unix.conf');
        const listen = /listen = "127\.0\.0\.1:\d+";/;
        assert.match(fs.readFileSync(sp.config, 'utf8'), listen);
        fs.writeFileSync(config, fs.readFileSync(sp.config, 'utf8').replace(listen, `listen = "${gatewaySocket}";`));
        const gateway = start(t, program('sallyport-gateway'), ['-c', config]);
        await gateway.logged(/listening on/);
        openSocket(gatewaySocket);

        const web = await webServer(t, kind, sp, { gatewaySocket });
        const token = await tokenFrom(web);
        for (const options of [{}, { transports: ['polling'] }, { transports: ['websocket'] }]) {
            const socket = await connected(t, web.url, token, options);
            assert.equal(await socket.emitWithAck('echo', 'by a file'), 'by a file');
        }
        await sp.gateway.stop();
        (await connected(t, web.tlsUrl, token)).disconnect();
    });

    test(`${kind}: a page's own origin is known behind TLS, and others are refused`, async (t) => {
        const sp = await instance(t, { rules: 'namespace "/" { authenticate required }',
            settings: { 'gateway.reject': 'upgrade', 'gateway.token_cookie': 'sp' } });
        const web = await webServer(t, kind, sp);
        const Cookie = `sp=${sp.token()}`;
        const from = async (url, Origin) =>
            (await raw(t, { url }, { headers: { Origin, Cookie }, rejectUnauthorized: false })).status;
        assert.equal(await from(web.tlsUrl, web.tlsUrl), 101);
        assert.equal(await from(web.url, web.url), 101);
        assert.equal(await from(web.tlsUrl, 'https://example.net'), 403);
        assert.equal(await from(web.tlsUrl, web.tlsUrl.replace('https', 'http')), 401, 'the cookie counts for the same scheme alone');
    });

    test(`${kind}: limits count the client's address, which it cannot choose`, async (t) => {
        const sp = await instance(t, { rules, login: false, settings: { 'gateway.limits.per_address': 3 } });
        const web = await webServer(t, kind, sp);
        assert.deepEqual(await admitted(t, web), [101, 101, 200, 403, 101]);
    });

    test(`${kind}: the log has the client's address, whatever it says of itself`, async (t) => {
        const sp = await instance(t, { rules, login: false, settings: { 'gateway.limits.per_address': 0, 'gateway.limits.per_user': 0 } });
        const web = await webServer(t, kind, sp);
        const packet = `40${JSON.stringify({ token: sp.token() })}`;
        const foreign = '203.0.113.7';
        const lies = [{ 'X-Forwarded-For': foreign }, { 'X-Forwarded-For': [foreign, '127.0.0.1'] },
            { 'X-Forwarded-For': `${foreign}, 127.0.0.1` }, { 'x-forwarded-for': '127.0.0.1' }, { 'X-Forwarded-For': ', ,' },
            { 'X-Forwarded-For': foreign, Connection: 'X-Forwarded-For, keep-alive' }, /* take it away again */
            { Forwarded: `for=${foreign}`, 'X-Real-IP': foreign, 'X-Forwarded': foreign, 'Client-IP': foreign, 'X_Forwarded_For': foreign }];
        let n = 0;
        for (const { url, tls } of [{ url: web.url }, { url: web.tlsUrl, tls: { ca: fs.readFileSync(web.ca) } }])
            for (const headers of lies) {
                const from = { localAddress: '127.0.0.5', headers, ...tls };
                const { body } = await polling({ url }, from);
                const query = `&sid=${JSON.parse(body.slice(1)).sid}`;
                assert.equal((await polling({ url }, { query, ...from }, packet)).body, 'ok');
                n++;
                if (headers.Connection) continue; /* a WebSocket needs that for itself */
                const { send, receive } = await raw(t, { url }, from);
                await receive();
                send(packet);
                assert.match(await receive(), /^40/);
                n++;
            }
        const addresses = () => sp.gateway.lines.flatMap((line) => line.match(/connected: ann .*address (\S+)\)/)?.[1] ?? []);
        await until(() => addresses().length === n, `${n} connects to be logged`);
        assert.deepEqual(addresses(), Array(n).fill('127.0.0.5'));
    });

    test(`${kind}: what a proxy says that is not configured is not believed`, async (t) => {
        const sp = await instance(t, { rules, login: false,
            settings: { 'gateway.limits.per_address': 3, 'gateway.trusted_proxies': '192.0.2.1' } });
        const web = await webServer(t, kind, sp);
        assert.deepEqual(await admitted(t, web), [101, 101, 200, 403, 403]);
    });

    test(`${kind}: bodies of long-polling, chunked and too long`, async (t) => {
        const sp = await instance(t, { rules, login: false });
        const web = await webServer(t, kind, sp);
        const { body } = await polling(web);
        const query = `&sid=${JSON.parse(body.slice(1)).sid}`;
        const chunked = { query, headers: { 'Transfer-Encoding': 'chunked' } };

        assert.equal((await polling(web, chunked, `40${JSON.stringify({ token: sp.token() })}`)).body, 'ok');
        assert.match((await polling(web, { query })).body, /^40\{"sid"/);
        assert.equal((await polling(web, chunked, '420["echo","chunked"]')).body, 'ok');
        assert.equal((await polling(web, { query })).body, '430["chunked"]');
        for (const options of [{ query }, chunked]) assert.equal((await polling(web, options, `4${'x'.repeat(1_040_000)}`)).status, 413);
        assert.equal((await polling(web)).status, 200);
    });

    test(`${kind}: a token in the query comes into no log`, async (t) => {
        const sp = await instance(t, { rules });
        const web = await webServer(t, kind, sp);
        const token = sp.token();
        const tries = async () => {
            for (const way of ['/socket.io/', '//socket.io/', '/x/../socket.io/', '/socket.io/../socket.io/'])
                await request(`${web.url}${way}?EIO=4&transport=polling&token=${token}`);
            await raw(t, web, { query: `&token=${token}` });
        };
        await connected(t, web.url, undefined, { query: { token }, reconnection: false });
        await tries();
        await sp.gateway.stop();
        assert.ok([502, 503].includes((await polling(web, { query: `&token=${token}` })).status));
        await tries();
        await request(`${web.url}/page.html?seen=1`);
        await web.stop();
        assert.match(web.logs(), /\/socket\.io\/ /);
        assert.match(web.logs(), /page\.html\?seen=1/);
        assert.ok(!web.logs().includes(token.slice(0, 40)), web.logs());
    });

    test(`${kind}: silence that only pings break ends nothing`, async (t) => {
        const sp = await instance(t, { rules, settings: { 'gateway.ping_interval': '2s', 'gateway.ping_timeout': '2s' } });
        const web = await webServer(t, kind, sp, { idle_s: 4, site_s: 1 });
        await stayConnected(t, web, await tokenFrom(web), 9000);
    });

    test(`${kind}: the time of silence is what the file says`, async (t) => {
        const sp = await instance(t, { rules });
        const web = await webServer(t, kind, sp, { idle_s: 1, site_s: kind === 'apache' ? 1 : 60 });
        const socket = await connected(t, web.url, await tokenFrom(web), { reconnection: false });
        const [reason] = await next(socket, 'disconnect');
        assert.equal(reason, 'transport close');
    });

    test(`${kind}: restarted or reloaded underneath, clients come back by themselves`, async (t) => {
        const sp = await instance(t, { rules });
        const web = await webServer(t, kind, sp);
        const token = await tokenFrom(web);
        const sockets = [await connected(t, web.url, token), await connected(t, web.url, token, { transports: ['polling'] }),
            await connected(t, web.tlsUrl, token)];
        const again = async (action) => {
            const back = sockets.map((socket) => next(socket, 'disconnect').then(() => next(socket, 'connect')));
            await action();
            await Promise.all(back);
            for (const socket of sockets) assert.equal(await socket.emitWithAck('echo', 'back'), 'back');
        };
        await again(async () => {
            await web.stop();
            await web.start();
        });
        await again(async () => {
            await sp.gateway.stop();
            await sp.startGateway();
        });
        await sp.login.stop();
        assert.ok([500, 502, 503].includes((await login(web)).status));
        await sp.startLogin();
        openSocket(sp.loginSocket);
        await until(async () => (await login(web)).status === 200, 'a login by the next service', 5000);
        web.reload();
        for (let i = 0; i < 40; i++) {
            await until(async () => (await login(web).catch(() => null))?.status === 200, 'a login after the reload', 8000);
            await new Promise((resolve) => setTimeout(resolve, 25));
        }
        await until(() => sockets.every(({ connected: is }) => is), 'everyone to be there');
        for (const socket of sockets) assert.equal(await socket.emitWithAck('echo', 'there'), 'there');
        await connected(t, web.url, token);
    });

    test(`${kind}: a thousand WebSockets, and logging in meanwhile`, async (t) => {
        const sp = await instance(t, { rules, settings: { 'gateway.limits.per_address': 0, 'gateway.limits.per_user': 0 } });
        const web = await webServer(t, kind, sp, { sockets: 1000 });
        const token = await tokenFrom(web);
        const agent = new http.Agent({ keepAlive: true, maxSockets: 1 }); /* a browser's connection */
        t.after(() => agent.destroy());
        const sockets = [];
        while (sockets.length < 1000) {
            sockets.push(...await open(t, web, 100));
            assert.equal((await login(web, right, {}, { agent })).status, 200);
        }
        const late = await connected(t, web.url, token);
        assert.equal(await late.emitWithAck('echo', 'late'), 'late');
        for (const { send } of sockets) send(`40${JSON.stringify({ token })}`);
        for (const { receive } of sockets) assert.match(await receive(), /^40\{/);
        late.emit('say', 'all');
        for (const { receive } of sockets) assert.equal(await receive(), '42["say","all"]');

        web.reload();
        await until(async () => (await login(web).catch(() => null))?.status === 200, 'a login after the reload');
        await connected(t, web.url, token);
    });
}

/* `n` WebSockets at rest, opened twenty at a time. */
export async function open(t, web, n) {
    const sockets = [];
    while (sockets.length < n) {
        const some = await Promise.all(Array.from({ length: 20 }, () => raw(t, web)));
        for (const { status, receive } of some) {
            assert.equal(status, 101);
            assert.match(await receive(), /^0\{/);
        }
        sockets.push(...some);
    }
    return sockets;
}

/* Nobody is disconnected in `ms`, upgraded, polling or by TLS, and all still answer after it. */
export async function stayConnected(t, web, token, ms) {
    const sockets = [await connected(t, web.url, token), await connected(t, web.url, token, { transports: ['polling'] }),
        await connected(t, web.tlsUrl, token)];
    const lost = sockets.map((socket) => new Promise((_, reject) => {
        socket.once('disconnect', (reason) => reject(new Error(`${socket.io.engine.transport.name}: ${reason}`)));
    }));
    await Promise.race([...lost, new Promise((resolve) => setTimeout(resolve, ms))]);
    for (const socket of sockets) assert.equal(await socket.emitWithAck('echo', 'still here'), 'still here');
    for (const promise of lost) promise.catch(() => {});
}
