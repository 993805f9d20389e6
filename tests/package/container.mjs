/*
 * A Debian that has booted from a root, of which nothing is changed: what is written goes with it.
 * It has a network of its own, where only it is; `inside` runs a command of its own in it, `beside`
 * one of this machine's on its network alone.
 */
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import { must, run, until } from '../lib.mjs';

const environment = ['env', '-i', 'PATH=/usr/sbin:/usr/bin:/sbin:/bin', 'HOME=/root', 'LANG=C.UTF-8', 'DEBIAN_FRONTEND=noninteractive'];

export function start(root) {
    const nspawn = spawn('setpriv', ['--pdeathsig', 'TERM', 'systemd-nspawn', '--quiet', '--directory', root, '--volatile=overlay',
        '--private-network', '--register=no', '--keep-unit', '--console=pipe', '--boot'], { stdio: ['ignore', 'pipe', 'pipe'] });
    const exited = new Promise((resolve) => nspawn.once('exit', resolve));
    const said = [];
    for (const stream of [nspawn.stdout, nspawn.stderr]) stream.on('data', (text) => said.push(text));

    /* Its init: until that runs, a child that prepares for it. */
    const leader = () => fs.readFileSync(`/proc/${nspawn.pid}/task/${nspawn.pid}/children`, 'utf8').trim();
    const spaces = ['-m', '-u', '-i', '-n', '-p', '-r', '-w'];
    const enter = (words) => ['nsenter', ['-t', leader(), ...spaces, ...environment, ...words]];
    const container = {
        inside: (...words) => must(...enter(words)),
        try: (...words) => run(...enter(words)),
        shell: (text) => must(...enter(['sh', '-ec', text])),
        beside: (...words) => must('nsenter', ['-t', leader(), '-n', ...words]),
        stop: () => nspawn.kill('SIGTERM') && exited,
    };
    container.booted = () => until(() => {
        if (nspawn.exitCode !== null) throw new Error(`systemd-nspawn has ended:\n${said.join('')}`);
        return /^\d+$/.test(leader()) && container.try('systemctl', 'is-system-running').stdout === 'running\n';
    }, 'the container to boot', 60_000);
    return container;
}
