/* Floors and libraries: the tree keeps the rules of floors.mjs, and breaking one is noticed. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { tree } from '../lib.mjs';
import { violations } from './floors.mjs';

function sources(folder) {
    return fs.readdirSync(path.join(tree, folder), { recursive: true })
        .filter((name) => /\.[ch]$/.test(name)).map((name) => `${folder}/${name}`);
}

test('every include of the tree goes down and through its door', () => {
    const files = Object.fromEntries(['common', 'db', 'login-fcgi', 'gateway'].flatMap(sources)
        .map((file) => [file, fs.readFileSync(path.join(tree, file), 'utf8')]));
    for (const must of ['common/token.c', 'db/users.c', 'db/admin/main.c', 'login-fcgi/main.c', 'gateway/main.c'])
        assert.ok(must in files, `${must} was not looked at`);
    assert.deepEqual(violations(files), []);
});

/* A small tree in which one file breaks one rule: [file, line, what is said]. */
const broken = [
    ['common/net.c', '#include "db/users.h"', /"db\/users\.h" is not below common/],
    ['common/net.c', '#include "gateway/rooms.h"', /is not below common/],
    ['db/users.c', '#include "gateway/rooms.h"', /is not below db/],
    ['db/users.c', '#include "db/admin/cli.h"', /is not below db/],
    ['gateway/rooms.c', '#include "login-fcgi/login.h"', /is not below gateway/],
    ['gateway/rooms.c', '#include "db/users.h"', /is not below gateway/],
    ['login-fcgi/login.c', '#include "gateway/rooms.h"', /is not below login-fcgi/],
    ['login-fcgi/login.c', '  #  include   "gateway/rooms.h"', /is not below login-fcgi/],
    ['gateway/rooms.c', '#include "rooms.h"', /no file of the tree/],
    ['gateway/rooms.c', '#include HEADER', /cannot tell/],
    ['gateway/rooms.c', '#include <microhttpd.h>', /enters through gateway\/http\.c/],
    ['gateway/http.h', '#include <microhttpd.h>', /enters through gateway\/http\.c/],
    ['gateway/http.c', '#include <wslay/wslay.h>', /enters through gateway\/websocket\.c/],
    ['gateway/rooms.c', '#include <jansson.h>', /enters through/],
    ['gateway/rooms.c', '#include <zlib.h>', /enters through/],
    ['common/keyring.c', '#include <jwt.h>', /enters through common\/token\.c/],
    ['common/token.c', '#include <openssl/evp.h>', /enters through common\/jwk\.c/],
    ['common/net.c', '#include <libconfig.h>', /enters through common\/config\.c/],
    ['common/net.c', '#include <systemd/sd-daemon.h>', /enters through common\/daemon\.c/],
    ['common/net.c', '#include <sqlite3.h>', /enters through db\//],
    ['login-fcgi/login.c', '#include <fcgiapp.h>', /enters through login-fcgi\/fcgi\.c/],
    ['db/users.c', '#include <crypt.h>', /enters through db\/password\.c/],
    ['db/users.c', 'int n = crypto_pwhash_str(a, b);', /called through db\/password\.c/],
    ['common/net.c', '#include <curl/curl.h>', /enters through gateway\/fetch\.c/],
    ['common/net.c', '#include <uv.h>', /has no door/],
    ['tools/net.c', '', /on no floor/],
];

for (const [file, line, said] of broken) {
    test(`${file} must not have ${line || 'a place of its own'}`, () => {
        const files = { 'db/users.h': '', 'db/admin/cli.h': '', 'gateway/rooms.h': '', 'login-fcgi/login.h': '' };
        const found = violations({ ...files, [file]: `/* first */\n${line}\n` });
        assert.equal(found.length, 1, found.join('\n'));
        assert.match(found[0], said);
    });
}

test('what is allowed is not complained of', () => {
    assert.deepEqual(violations({
        'common/token.h': '#include <stdint.h>\n#include <jansson.h>\n',
        'common/token.c': '#include "common/token.h"\n#include <jwt.h>\n#include <sodium.h>\n',
        'db/revocations.h': '#include "common/token.h"\n',
        'db/users.c': '#include <sqlite3.h>\n#include "common/token.h"\n',
        'db/admin/cli.h': '#include "common/token.h"\n',
        'db/admin/main.c': '#include "db/admin/cli.h"\n#include "db/revocations.h"\n',
        'db/password.c': '#include <crypt.h>\nint n = crypto_pwhash_str(a);\n',
        'gateway/http.c': '#include <microhttpd.h>\n#include <sys/epoll.h>\n#include "db/revocations.h"\n'
            + '/* never #include "login-fcgi/login.h" */\n/*\n#include <zlib.h>\n*/ // crypto_pwhash\n',
    }), []);
});

test('what the tests take from npm runs on Debian 12\'s node, which is 18', () => {
    const modules = path.join(tree, 'tests/node_modules');
    const files = fs.readdirSync(modules, { recursive: true }).filter((name) => path.basename(name) === 'package.json');
    const wants = files.map((name) => [name, JSON.parse(fs.readFileSync(path.join(modules, name), 'utf8')).engines?.node]);
    assert.ok(wants.some(([name]) => name === 'playwright-core/package.json'));
    assert.deepEqual(wants.filter(([, node]) => Number(node?.match(/\d+/)?.[0] ?? 0) > 18), []);
});
