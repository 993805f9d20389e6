/*
 * What was measured, for people: a table of medians with ranges, the goals with what became of
 * them, and a plot.
 */
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

/* Job, figure, what it is called, its unit; `lower`: less is better. */
const rows = [
    ['idle', 'bytes_per_client', 'resident growth per idle authenticated client', 'B', { lower: true }],
    ['idle', 'connects_per_cpu_s', 'authenticated connects per CPU-second', ''],
    ['room_100', 'deliveries_per_cpu_s', 'deliveries per CPU-second, room of 100', 'k', { by: 1000 }],
    ['room_1000', 'deliveries_per_cpu_s', 'deliveries per CPU-second, room of 1,000', 'k', { by: 1000 }],
    ['room_10000', 'deliveries_per_cpu_s', 'deliveries per CPU-second, room of 10,000', 'k', { by: 1000 }],
    ['pace', 'delivered_per_s', 'fixed rate: delivered per second', 'k', { by: 1000 }],
    ['pace', 'median_ms', 'fixed rate: median latency', 'ms', { lower: true }],
    ['pace', 'p99_ms', 'fixed rate: p99 latency', 'ms', { lower: true }],
    ['ping', 'acks_per_cpu_s', 'acked round trips per CPU-second, 100 sockets', 'k', { by: 1000 }],
    ['pinged', 'idle_percent', 'CPU of 10,000 idle clients, pinged every 25 s', '% of a core', { lower: true }],
    ['rooms_few', 'deliveries_per_cpu_s', 'deliveries per CPU-second, few rooms of 10', 'k', { by: 1000 }],
    ['rooms_many', 'deliveries_per_cpu_s', 'deliveries per CPU-second, 100 times as many', 'k', { by: 1000 }],
    ['rooms_few', 'moves_per_cpu_s', 'leaves and joins per CPU-second, few rooms of 10', 'k', { by: 1000 }],
    ['rooms_many', 'moves_per_cpu_s', 'leaves and joins per CPU-second, 100 times as many', 'k', { by: 1000 }],
    ['polls', 'bytes_per_client', 'resident growth per waiting poll', 'B', { lower: true }],
    ['poll_ping', 'requests_per_cpu_s', 'polling requests per CPU-second', 'k', { by: 1000 }],
    ['poll_few', 'deliveries_per_cpu_s', 'deliveries to 10 polls per CPU-second, 100 waiting', 'k', { by: 1000 }],
    ['poll_many', 'deliveries_per_cpu_s', 'deliveries to 10 polls per CPU-second, 10,000 waiting', 'k', { by: 1000 }],
    ['login', 'answers_per_cpu_s', 'logins (hashes) per CPU-second', ''],
    ['login_early', 'answers_per_cpu_s', 'logins refused as incomplete per CPU-second', ''],
    ['login_throttled', 'answers_per_cpu_s', 'logins refused as too many per CPU-second', ''],
    ['login_throttled', 'answers_per_s', 'logins refused as too many per second', ''],
    ['login_refresh', 'answers_per_cpu_s', 'refreshes per CPU-second', ''],
    ['login_refresh', 'answers_per_s', 'refreshes per second', ''],
    ['login_early', 'resident_mb', 'resident when idle again', 'MB', { lower: true }],
];

/* What the gateway must reach: a figure of its own, or its ratio to another server's. */
const goals = [
    ['idle', 'bytes_per_client', null, '<=', 1024],
    ['idle', 'connects_per_cpu_s', 'node', '>=', 20],
    ['room_100', 'deliveries_per_cpu_s', 'coalesced', '>=', 0.8],
    ['room_1000', 'deliveries_per_cpu_s', 'coalesced', '>=', 0.8],
    ['room_10000', 'deliveries_per_cpu_s', 'coalesced', '>=', 0.8],
    ['pace', 'delivered_per_s', 'each', '>=', 0.99],
    ['pace', 'median_ms', 'each', '<=', 2],
    ['ping', 'acks_per_cpu_s', 'each', '>=', 0.75],
    ['pinged', 'idle_percent', null, '<=', 1],
    ['polls', 'bytes_per_client', null, '<=', 10240],
    ['poll_ping', 'requests_per_cpu_s', 'node', '>=', 5],
    ['login', 'answers_per_cpu_s', 'hashes', '>=', 0.95, 'login'],
    ['login_early', 'answers_per_cpu_s', 'express', '>=', 2, 'login'],
    ['login_throttled', 'answers_per_cpu_s', 'express', '>=', 2, 'login'],
    ['login_refresh', 'answers_per_cpu_s', 'express', '>=', 2, 'login'],
    ['login_early', 'resident_mb', null, '<=', 6, 'login'],
];
const workers_goals = ['gateway_2', 'gateway_4'].flatMap((server) => [
    ['idle', 'connects_per_cpu_s'], ['room_1000', 'deliveries_per_cpu_s'], ['ping', 'acks_per_cpu_s'],
].map(([job, figure]) => [job, figure, 'gateway', '>=', 0.8, server]));

const called = (job, figure) => rows.find((row) => row[0] === job && row[1] === figure)[2];

function spread(values) {
    const sorted = [...values].sort((a, b) => a - b);
    const middle = sorted.length >> 1;
    const median = sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
    return { median, low: sorted[0], high: sorted.at(-1) };
}

function short(value) {
    const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2;
    return value.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

const cell = ({ median, low, high }, unit = '') =>
    `${short(median)}${unit && ' ' + unit}${low === high ? '' : ` (${short(low)}–${short(high)})`}`;

class Figures {
    constructor({ measurements }) {
        this.measurements = measurements;
    }

    of(server, job, figure, by = 1) {
        const found = this.measurements.filter((m) => m.server === server && m.job === job && figure in m);
        return found.length ? spread(found.map((m) => m[figure] / by)) : null;
    }

    /* The median of the ratios within one round. */
    ratio(server, other, job, figure) {
        const ratios = [];
        for (const m of this.measurements) {
            const peer = this.measurements.find((p) => p.server === other && p.job === job && p.round === m.round);
            if (m.server === server && m.job === job && peer) ratios.push(m[figure] / peer[figure]);
        }
        return ratios.length ? spread(ratios) : null;
    }
}

/* The login service has a table of its own. */
const logins = ['login', 'express', 'hashes'];
const tables = [(server) => !logins.includes(server), (server) => logins.includes(server)];

function table(figures, labels, show) {
    const made = [];
    for (const belongs of tables) {
        const servers = Object.keys(labels).filter(belongs);
        const lines = [['', ...servers.map((server) => labels[server])], servers.map(() => '---').concat('---')];
        for (const [job, figure, what, unit, { by } = {}] of rows) {
            const found = servers.map((server) => figures.of(server, job, figure, by));
            if (found.some((one) => one))
                lines.push([`${what}${unit && `, ${unit}`}`, ...found.map((one) => one ? show(one) : '–')]);
        }
        if (lines.length > 2) made.push(lines.map((line) => `| ${line.join(' | ')} |`).join('\n'));
    }
    return made.join('\n\n');
}

function goalTable(figures) {
    const lines = ['| goal | measured | wanted | |', '| --- | --- | --- | --- |'];
    for (const [job, figure, other, relation, wanted, server = 'gateway'] of [...goals, ...workers_goals]) {
        const found = other ? figures.ratio(server, other, job, figure) : figures.of(server, job, figure);
        if (!found) continue;
        const reached = relation === '<=' ? found.median <= wanted : found.median >= wanted;
        lines.push(`| ${called(job, figure)}${other ? `, ${server} : ${other}` : ''} | ${cell(found)} | ` +
            `${relation === '<=' ? '≤' : '≥'} ${short(wanted)} | ${reached ? 'reached' : '**missed**'} |`);
    }
    for (const [what, found, wanted] of growths(figures))
        if (found) lines.push(`| ${what} | ${short(found)} | ≤ ${wanted} | ${found <= wanted ? 'reached' : '**missed**'} |`);
    return lines.join('\n');
}

/*
 * CPU per piece of work where there is much of something, by that where there is little.  Half as
 * much again is what caches may cost; work that grew with the crowd would show as ten or a hundred.
 */
function growths(figures) {
    const rate = (server, job, figure = 'deliveries_per_cpu_s') => figures.of(server, job, figure)?.median;
    const growth = (few, many, figure, server = 'gateway') => rate(server, few, figure) / rate(server, many, figure);
    return [
        ['CPU per delivery, room of 10,000 : room of 100; that by the coalesced ceiling\'s',
            growth('room_100', 'room_10000') / growth('room_100', 'room_10000', undefined, 'coalesced'), 1],
        ['CPU per delivery to 10 members, 100,000 rooms : 1,000 rooms', growth('rooms_few', 'rooms_many'), 1.5],
        ['CPU per leave and join, 100,000 rooms : 1,000 rooms', growth('rooms_few', 'rooms_many', 'moves_per_cpu_s'), 1.5],
        ['CPU per delivery to 10 polls, 10,000 waiting : 100 waiting', growth('poll_few', 'poll_many'), 1.5],
    ];
}

/* ---- the plot: a panel a figure, a bar a server, its range a line ---- */

const escaped = (text) => text.replace(/[&<>]/g, (letter) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;' })[letter]);
const ours = (server) => server === 'login' || server.startsWith('gateway');
const colour = (server) => ours(server) ? '#1f6f54' : ['each', 'coalesced', 'hashes'].includes(server) ? '#b9c2c9' : '#7b93b5';

function panel(figures, labels, [job, figure, what, unit, { by, lower } = {}], x, y) {
    const bars = Object.keys(labels).map((server) => ({ server, found: figures.of(server, job, figure, by) })).filter((bar) => bar.found);
    const full = Math.max(...bars.map((bar) => bar.found.high)) || 1;
    const at = (value) => (180 * Math.max(0, value) / full).toFixed(1);
    const lines = [`<text x="${x}" y="${y}" font-weight="bold">${escaped(what)}${unit && `, ${unit}`}${lower ? ' (less is better)' : ''}</text>`];
    bars.forEach(({ server, found }, i) => {
        const top = y + 10 + i * 20;
        lines.push(`<text x="${x + 165}" y="${top + 12}" text-anchor="end">${escaped(labels[server])}</text>`,
            `<rect x="${x + 172}" y="${top}" width="${at(found.median)}" height="15" fill="${colour(server)}"/>`,
            `<path d="M${x + 172 + Number(at(found.low))} ${top + 7.5}h${(at(found.high) - at(found.low)).toFixed(1)}" stroke="#222"/>`,
            `<text x="${x + 178 + Number(at(found.high))}" y="${top + 12}">${short(found.median)}</text>`);
    });
    return lines.join('\n');
}

function plot(figures, { labels, command, machine, commit }) {
    const shown = rows.filter(([job, figure]) => Object.keys(labels).some((server) => ours(server) && figures.of(server, job, figure)));
    const height = 50 + 20 * Object.keys(labels).length;
    const total = 50 + Math.ceil(shown.length / 2) * height;
    const panels = shown.map((row, i) => panel(figures, labels, row, 20 + (i % 2) * 450, 60 + (i >> 1) * height));
    return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 920 ${total}" font-family="sans-serif" font-size="11">
<rect width="920" height="${total}" fill="#fff"/>
<text x="20" y="24" font-size="12">${escaped(`${command}, commit ${commit}, ${machine.cores} × ${machine.processor}: median, the line is the range`)}</text>
${panels.join('\n')}
</svg>
`;
}

function circumstances({ command, commit, date, machine, measurements }) {
    const rounds = 1 + Math.max(...measurements.map((m) => m.round));
    return `Made by \`${command}\` at commit ${commit} on ${date.slice(0, 10)}: ${machine.cores} cores, ${machine.processor}, ` +
        `${machine.memory_gib} GiB, Linux ${machine.kernel} (TCP ${machine.congestion_control}), ${machine.system}, Node ${machine.node}, Bun ${machine.bun ?? 'absent'}, ${machine.compiler}; ` +
        `load average ${machine.load_average[0]} before, ${machine.load_average_after[0]} after. ` +
        (rounds > 1 ? `Medians of ${rounds} rounds.` : 'One round.');
}

/* Into `folder`: NAME.json, NAME.md, NAME.svg.  Returns the Markdown. */
export function write(results, folder, name) {
    const figures = new Figures(results);
    const text = [
        circumstances(results),
        'Everything on loopback; server and crowd on cores of their own, half of them the server\'s at most, but for logins; 64-byte payload; CPU is the server\'s, ' +
        'of logins without the web server\'s. The ceilings look at no token and ping nobody; Express keeps its users and refresh tokens in memory. In brackets: lowest and highest.',
        table(figures, results.labels, (one) => cell(one)),
        results.quick ? 'A quick run judges nothing.' : goalTable(figures),
    ].join('\n\n') + '\n';
    fs.writeFileSync(path.join(folder, `${name}.json`), JSON.stringify(results, null, 1) + '\n');
    fs.writeFileSync(path.join(folder, `${name}.md`), text);
    fs.writeFileSync(path.join(folder, `${name}.svg`), plot(figures, results));
    return text;
}

/* A whole run for everybody to see: beside the yardstick, and its medians between two marks in README.md. */
export function publish(results, tree) {
    const readme = path.join(tree, 'README.md'), text = fs.readFileSync(readme, 'utf8');
    const marks = /(?<=<!-- measured -->\n)[^]*(?=<!-- \/measured -->)/;
    if (!marks.test(text)) throw new Error('README.md has no <!-- measured --> and <!-- /measured -->');
    write(results, path.join(tree, 'tests/bench'), 'results');
    fs.writeFileSync(readme, text.replace(marks, () =>
        `${circumstances(results)}\n\n${table(new Figures(results), results.labels, ({ median }) => short(median))}\n`));
}

/* node tests/bench/report.mjs RESULTS.json: publish what was measured before. */
if (process.argv[1] === fileURLToPath(import.meta.url))
    publish(JSON.parse(fs.readFileSync(process.argv[2], 'utf8')), path.resolve(path.dirname(process.argv[1]), '../..'));
