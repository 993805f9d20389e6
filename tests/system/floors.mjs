/*
 * Which file may include what.  Arrows go down only: gateway and login-fcgi stand on db, all stand
 * on common, neither program includes the other, and of db the gateway takes revocations alone.
 * An outside library enters through the one file that is named here.
 */

/* Folder → folders below it, or single headers there. */
const below = {
    'common': [],
    'db': ['common'],
    'db/admin': ['db', 'common'],
    'login-fcgi': ['db', 'common'],
    'gateway': ['db/revocations.h', 'common'],
};

/* Library header → where it may be included: a file, or a folder. */
const doors = [
    [/^microhttpd\.h$/, ['gateway/http.c']],
    [/^wslay\//, ['gateway/websocket.c']],
    [/^zlib\.h$/, ['gateway/deflate.c']],
    [/^curl\//, ['gateway/fetch.c']],
    [/^jwt\.h$/, ['common/token.c']],
    [/^openssl\//, ['common/jwk.c', 'common/digest.c']], // keys; and the digests of RFC 6455 and htpasswd, which no other library here has
    [/^libconfig\.h$/, ['common/config.c']],
    [/^systemd\//, ['common/daemon.c']],
    [/^crypt\.h$/, ['db/password.c']],
    [/^sqlite3\.h$/, ['db/']],
    [/^(fcgi\w*|fastcgi)\.h$/, ['login-fcgi/fcgi.c']],
    /* Its random, constant time, base64 and wiping are anyone's; see `hashing`. */
    [/^sodium(\.h$|\/)/, ['']],
    /* Common ground, except on the gateway's event path. */
    [/^jansson\.h$/, ['common/', 'db/', 'login-fcgi/', 'gateway/gate.', 'gateway/snapshot.', 'gateway/explain.']],
];

/* libsodium's password hashing, by its functions. */
const hashing = { word: /\bcrypto_pwhash\w*/, door: 'db/password.c' };

/* Headers of the C library, of Linux, of the compiler. */
const system = new Set(`alloca arpa/inet assert ctype dirent endian err errno fcntl float fnmatch getopt grp inttypes libgen limits link locale malloc
    math netdb netinet/in netinet/tcp poll pthread pwd sched setjmp signal stdalign stdarg stdatomic stdbool stddef stdint
    stdio stdlib stdnoreturn string strings sysexits termios threads time unistd wchar`.split(/\s+/).map((name) => `${name}.h`));
const isSystem = (header) => system.has(header) || /^(sys|linux)\//.test(header);

const comments = /\/\*[\s\S]*?\*\/|\/\/.*/g;
const blank = (text) => text.replace(/[^\n]/g, ' ');

function may(file, folder, target) {
    const own = folder + '/';
    if (target.startsWith(own) && !target.slice(own.length).includes('/')) return true;
    return below[folder].some((way) => way.endsWith('.h') ? target === way
        : target.startsWith(way + '/') && !target.slice(way.length + 1).includes('/'));
}

/* `files` maps a path to its text; the answer is what is wrong, a sentence each. */
export function violations(files) {
    const found = [];
    for (const [file, text] of Object.entries(files)) {
        const folder = file.slice(0, file.lastIndexOf('/'));
        if (!(folder in below)) {
            found.push(`${file}: the folder is on no floor`);
            continue;
        }
        const code = text.replace(comments, blank);
        code.split('\n').forEach((line, index) => {
            const say = (words) => found.push(`${file}:${index + 1}: ${words}`);
            const include = line.match(/^\s*#\s*include\b\s*(.*?)\s*$/);
            if (include) {
                const [, own, library] = include[1].match(/^(?:"(.*)"|<(.*)>)$/) ?? [];
                if (own !== undefined) {
                    if (!(own in files)) say(`"${own}" is no file of the tree; write its path from the top`);
                    else if (!may(file, folder, own)) say(`"${own}" is not below ${folder}`);
                } else if (library !== undefined) {
                    if (isSystem(library)) return;
                    const door = doors.find(([pattern]) => pattern.test(library));
                    if (!door) say(`<${library}> has no door`);
                    else if (!door[1].some((place) => file.startsWith(place))) say(`<${library}> enters through ${door[1].join(', ')}`);
                } else {
                    say(`cannot tell what ${include[1]} includes`);
                }
            }
            const hash = file !== hashing.door && line.match(hashing.word);
            if (hash) say(`${hash[0]} is called through ${hashing.door}`);
        });
    }
    return found;
}
