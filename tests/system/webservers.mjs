/*
 * lighttpd, Apache and nginx as their packages leave them, with the files of deploy/ included: the
 * files themselves, but for the lines that they tell people to change.  Each serves on a port and,
 * with a certificate of its own making, on another by TLS.  Started by root they run as www-data,
 * as they would.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { folder, freePort, must, program, removeFolder, request, start, tree, until, within } from '../lib.mjs';

const isRoot = process.getuid() === 0;
const wwwData = isRoot && Object.fromEntries(['u', 'g'].map((id) => [id, Number(must('id', [`-${id}`, 'www-data']))]));
const asWwwData = isRoot
    ? ['setpriv', '--reuid', `${wwwData.u}`, '--regid', `${wwwData.g}`, '--clear-groups', 'setpriv', '--pdeathsig', 'KILL']
    : ['setpriv', '--pdeathsig', 'KILL'];

function give(...files) {
    if (isRoot) for (const file of files) fs.chownSync(file, wwwData.u, wwwData.g);
}

/* A copy of deploy/NAME in `dir`; each of [pattern, text] has to replace something. */
function shipped(dir, name, replacements = []) {
    const copy = path.join(dir, path.basename(name));
    let text = fs.readFileSync(path.join(tree, 'deploy', name), 'utf8');
    for (const [pattern, replacement] of replacements) {
        assert.match(text, pattern, `deploy/${name} has no such line`);
        text = text.replace(pattern, () => replacement);
    }
    fs.writeFileSync(copy, text);
    return copy;
}

/* For 127.0.0.1, by a CA of our own. */
function certificate(dir) {
    const made = Object.fromEntries(['ca', 'key', 'certificate'].map((name) => [name, path.join(dir, `${name}.pem`)]));
    const caKey = path.join(dir, 'ca-key.pem');
    const make = (name, key, certificate, ...options) => must('openssl', ['req', '-x509', '-newkey', 'ec',
        '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2', '-subj', `/CN=${name}`,
        '-keyout', key, '-out', certificate, ...options]);
    make('our CA', caKey, made.ca);
    make('localhost', made.key, made.certificate, '-CA', made.ca, '-CAkey', caKey,
        '-addext', 'subjectAltName=IP:127.0.0.1', '-addext', 'basicConstraints=critical,CA:FALSE');
    give(made.key);
    return made;
}

/*
 * How each is configured around the files of deploy/, run and told to reload.  `login` is how
 * the login service is reached (see `loginWays`), `idle_s` the time of silence after which a
 * connection is closed, `sockets` how many WebSockets there shall be room for.
 */
const servers = {
    lighttpd: {
        ways: ['fastcgi', 'spawned', 'cgi'],
        reload: 'SIGUSR1',
        stop: { signal: 'SIGTERM', codes: [0, 1] }, /* 1 where it left connections */
        command: (dir, config) => ['/usr/sbin/lighttpd', '-D', '-f', config],
        config(at) {
            const login = {
                fastcgi: () => shipped(at.dir, 'lighttpd/sallyport-login.conf',
                    [[/^var\.sallyport_login .*$/m, `var.sallyport_login = "${at.login.socket}"`]]),
                spawned: () => shipped(at.dir, 'lighttpd/sallyport-login-spawned.conf',
                    [[/^var\.sallyport_login_command .*$/m, `var.sallyport_login_command = "${at.login.program} -c ${at.login.config}"`],
                        [/^var\.sallyport_login_socket .*$/m, `var.sallyport_login_socket = "${at.dir}/login-spawned.sock"`]]),
                cgi: () => shipped(at.dir, 'lighttpd/sallyport-login-cgi.conf',
                    [[/^var\.sallyport_login_program .*$/m, `var.sallyport_login_program = "${at.login.script}"`]]),
            }[at.login.way];
            const gateway = shipped(at.dir, 'lighttpd/sallyport-gateway.conf', [
                [/^var\.sallyport_gateway .*$/m, `var.sallyport_gateway = ${at.gatewaySocket ? `("host" => "${at.gatewaySocket}")`
                    : `("host" => "127.0.0.1", "port" => ${at.gateway})`}`],
                ...(at.idle_s ? [[/max-read-idle = 60$/m, `max-read-idle = ${at.idle_s}`]] : [])]);
            return `
                server.bind = "127.0.0.1"
                server.port = ${at.port}
                server.document-root = "${at.page}"
                server.upload-dirs = ("${at.dir}")
                server.max-read-idle = ${at.site_s ?? 60}
                server.errorlog = "${at.dir}/error.log"
                accesslog.filename = "${at.dir}/access.log"
                server.modules = ("mod_openssl")
                $SERVER["socket"] == "127.0.0.1:${at.tlsPort}" {
                    ssl.engine = "enable"
                    ssl.pemfile = "${at.tls.certificate}"
                    ssl.privkey = "${at.tls.key}"
                }
                include "${login()}"
                include "${gateway}"`;
        },
    },

    apache: {
        ways: ['fastcgi', 'spawned', 'cgi'],
        reload: 'SIGUSR1',
        stop: { signal: 'SIGWINCH', codes: [0] }, /* graceful, as Debian's unit has it */
        command: (dir, config) => ['/usr/sbin/apache2', '-D', 'FOREGROUND', '-d', dir, '-f', config],
        config(at) {
            const modules = ['mpm_worker', 'authz_core', 'authz_host', 'alias', 'env', 'setenvif', 'headers', 'reqtimeout', 'socache_shmcb', 'ssl',
                'proxy', 'proxy_http', ...{ fastcgi: ['proxy_fcgi'], spawned: ['fcgid'], cgi: ['cgid'] }[at.login.way]];
            const login = { fastcgi: 'apache/sallyport-login.conf', spawned: 'apache/sallyport-login-spawned.conf',
                cgi: 'apache/sallyport-login-cgi.conf' }[at.login.way];
            return `
                ${modules.map((name) => `LoadModule ${name}_module /usr/lib/apache2/modules/mod_${name}.so`).join('\n')}
                ServerName localhost
                PidFile ${at.dir}/pid
                ErrorLog ${at.dir}/error.log
                Mutex file:${at.dir} default
                DefaultRuntimeDir ${at.dir}
                <IfModule cgid_module>
                    ScriptSock ${at.dir}/cgid.sock
                </IfModule>
                <IfModule fcgid_module>
                    FcgidIPCDir ${at.dir}/fcgid
                    FcgidProcessTableFile ${at.dir}/fcgid-table
                </IfModule>
                # Debian's apache2.conf, mpm_worker.conf and reqtimeout.conf
                Timeout ${at.site_s ?? 300}
                KeepAlive On
                MaxKeepAliveRequests 100
                KeepAliveTimeout 5
                StartServers 2
                MinSpareThreads 25
                MaxSpareThreads 75
                ThreadLimit 64
                ThreadsPerChild 25
                MaxRequestWorkers 150
                MaxConnectionsPerChild 0
                RequestReadTimeout header=20-40,minrate=500
                RequestReadTimeout body=10,minrate=500
                LogFormat "%v:%p %h %l %u %t \\"%r\\" %>s %O \\"%{Referer}i\\" \\"%{User-Agent}i\\"" vhost_combined
                LogFormat "%h %l %u %t \\"%r\\" %>s %O \\"%{Referer}i\\" \\"%{User-Agent}i\\"" combined
                LogFormat "%h %l %u %t \\"%r\\" %>s %O" common
                <Directory />
                    AllowOverride None
                    Require all denied
                </Directory>
                <Directory ${at.page}>
                    Require all granted
                </Directory>
                Listen 127.0.0.1:${at.port}
                Listen 127.0.0.1:${at.tlsPort}
                Define SALLYPORT_LOGIN ${at.login.socket}
                Define SALLYPORT_LOGIN_PROGRAM ${at.login.script}
                Define SALLYPORT_GATEWAY ${at.gatewaySocket ? `unix:${at.gatewaySocket}|http://localhost` : `http://127.0.0.1:${at.gateway}`}
                Include ${shipped(at.dir, login)}
                Include ${shipped(at.dir, 'apache/sallyport-gateway.conf', at.idle_s ? [[/timeout=60\b/, `timeout=${at.idle_s}`]] : [])}
                Include ${shipped(at.dir, 'apache/sallyport-workers.conf')}
                <VirtualHost 127.0.0.1:${at.port}>
                    DocumentRoot ${at.page}
                    CustomLog ${at.dir}/access.log combined
                </VirtualHost>
                <VirtualHost 127.0.0.1:${at.tlsPort}>
                    DocumentRoot ${at.page}
                    CustomLog ${at.dir}/access.log vhost_combined
                    SSLEngine on
                    SSLCertificateFile ${at.tls.certificate}
                    SSLCertificateKeyFile ${at.tls.key}
                </VirtualHost>`;
        },
    },

    nginx: {
        ways: ['fastcgi'],
        reload: 'SIGHUP',
        stop: { signal: 'SIGTERM', codes: [0] },
        command: (dir, config) => ['/usr/sbin/nginx', '-e', `${dir}/error.log`, '-p', dir, '-c', config, '-g', 'daemon off;'],
        config(at) {
            const http = shipped(at.dir, 'nginx/sallyport-http.conf', [
                [/server unix:\/run\/sallyport\/login\.sock;/, `server unix:${at.login.socket};`],
                [/server 127\.0\.0\.1:9000;/, `server ${at.gatewaySocket ? `unix:${at.gatewaySocket}` : `127.0.0.1:${at.gateway}`};`]]);
            const locations = shipped(at.dir, 'nginx/sallyport-locations.conf', [
                [/\/var\/log\/nginx\/access\.log/, `${at.dir}/access.log`], [/\/var\/log\/nginx\/error\.log/, `${at.dir}/error.log`],
                ...(at.idle_s ? [[/proxy_read_timeout 60s;/, `proxy_read_timeout ${at.idle_s}s;`],
                    [/proxy_send_timeout 60s;/, `proxy_send_timeout ${at.idle_s}s;`]] : [])]);
            fs.copyFileSync('/etc/nginx/fastcgi_params', path.join(at.dir, 'fastcgi_params'));
            return `
                worker_processes auto;
                pid ${at.dir}/pid;
                ${at.sockets ? 'worker_rlimit_nofile 20000;' : ''}
                events { worker_connections ${at.sockets ? 16384 : 768}; }
                http {
                    ${['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((kind) => `${kind}_temp_path ${at.dir}/${kind};`).join('\n')}
                    access_log ${at.dir}/access.log;
                    error_log ${at.dir}/error.log;
                    proxy_read_timeout ${at.site_s ?? 60}s;
                    include ${http};
                    server {
                        listen 127.0.0.1:${at.port};
                        listen 127.0.0.1:${at.tlsPort} ssl;
                        ssl_certificate ${at.tls.certificate};
                        ssl_certificate_key ${at.tls.key};
                        root ${at.page};
                        include ${locations};
                    }
                }`;
        },
    },
};

export const loginWays = (kind) => servers[kind].ways;

/*
 * The web server `kind` in front of an instance of lib.mjs, or of `loginAlone`'s:
 * {url, tlsUrl, ca, port, dir, server, logs(), stop(), start(), reload()}.
 */
export async function webServer(t, kind, sp, { way = 'fastcgi', ...options } = {}) {
    const { command, config, reload, stop } = servers[kind];
    const dir = folder();
    const at = { dir, page: path.join(dir, 'page'), tls: certificate(dir), gateway: sp.port, ...options,
        port: await freePort(), tlsPort: await freePort(), login: { way, ...reachLogin(sp, dir) } };
    const file = path.join(dir, `${kind}.conf`);
    const web = { dir, port: at.port, url: `http://127.0.0.1:${at.port}`, tlsUrl: `https://127.0.0.1:${at.tlsPort}`, ca: at.tls.ca };

    fs.mkdirSync(at.page);
    fs.chmodSync(dir, 0o755);
    fs.writeFileSync(path.join(at.page, 'page.html'), 'a page\n');
    fs.writeFileSync(file, config(at));
    give(dir, at.page);

    web.start = async () => {
        const [first, ...rest] = [...asWwwData, ...command(dir, file)];
        web.server = start(null, first, rest, { cwd: dir });
        web.server.name = kind;
        await until(async () => {
            if (web.server.ended) throw new Error(`${kind} has ended:\n${web.server.output()}${web.logs()}`);
            return (await request(`${web.url}/page.html`).catch(() => null))?.status === 200;
        }, `${kind} to answer`);
    };
    web.stop = async () => {
        web.server.child.kill(stop.signal);
        const { code } = await within(web.server.exited, `${kind} to end`);
        assert.ok(stop.codes.includes(code), `${kind} ended with ${code}:\n${web.logs()}`);
    };
    web.reload = () => web.server.child.kill(reload);
    web.logs = () => ['access.log', 'error.log'].map((name) => path.join(dir, name)).filter(fs.existsSync)
        .map((log) => fs.readFileSync(log, 'utf8')).join('') + web.server.output();
    t.after(async () => {
        try {
            if (!web.server.ended) await web.stop();
        } finally {
            removeFolder(dir);
        }
    });
    await web.start();
    return web;
}

/* As SocketGroup= does. */
export function openSocket(socket) {
    if (isRoot) fs.chownSync(socket, 0, wwwData.g);
}

/* What the web server needs to reach or start the login service of `sp`. */
function reachLogin(sp, dir) {
    const socket = sp.loginSocket ?? path.join(sp.dir, 'login.sock');
    if (fs.existsSync(socket)) {
        fs.chmodSync(sp.dir, 0o711);
        openSocket(socket);
    }
    const script = path.join(dir, 'login.cgi');
    const own = path.join(dir, 'sallyport-login');
    fs.copyFileSync(program('sallyport-login'), own); /* the checkout may lie where only root comes */
    fs.writeFileSync(script, `#!/bin/sh\nexec ${own} -c ${sp.config}\n`, { mode: 0o755 });
    return { socket, script, program: own, config: sp.config };
}

/* An instance that belongs to the web server, which is to start the login service itself. */
export function loginAlone(t) {
    const parent = folder(t);
    const dir = path.join(parent, 'instance');
    const made = { dir, config: path.join(dir, 'sallyport.conf'), port: 1 };

    fs.chmodSync(parent, 0o711);
    fs.mkdirSync(dir);
    give(dir);
    must(program('sallyport'), ['init', '--dir', dir]);
    must(program('sallyport'), ['-c', made.config, 'user', 'add', 'ann', '--password-stdin'], { input: 'correct horse\n' });
    return made;
}
