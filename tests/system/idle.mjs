/*
 * The true times, behind each web server as it is shipped: pings every 25 s, nothing else for 110 s.
 * tests/run has the same with shorter times.
 */
import { describe, test } from 'node:test';
import { instance } from '../lib.mjs';
import { webServer } from './webservers.mjs';
import { rules, stayConnected } from './webservers_suite.mjs';

describe('110 s of silence', { concurrency: true }, () => {
    for (const kind of ['lighttpd', 'apache', 'nginx']) {
        test(`${kind}: silence that only pings break ends nothing`, async (t) => {
            const sp = await instance(t, { rules });
            await stayConnected(t, await webServer(t, kind, sp), sp.token(), 110_000);
        });
    }
});
