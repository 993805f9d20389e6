/*
 * The demo page in Chromium, by mouse and by keyboard, on a desk and on a phone, behind lighttpd.
 * What it looked like is in build/FLAVOUR/screenshots.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, afterEach, before, test } from 'node:test';
import { chromium } from 'playwright-core';
import { build, instance, rules, tree, until, within } from '../lib.mjs';

const screenshots = path.join(build, 'screenshots');
const bundle = path.join(tree, 'tests/node_modules/socket.io-client/dist/socket.io.min.js');
const patience_ms = 10_000;
const phone = { viewport: { width: 360, height: 640 }, isMobile: true, hasTouch: true };
const password = 'correct horse';

let browser;
before(async () => {
    fs.mkdirSync(screenshots, { recursive: true });
    browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage',
        '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'] });
});
after(() => browser?.close());

/* An instance behind lighttpd, and pages of it.  Whatever a page asks of anybody else is noted. */
let foreign = [];
afterEach(() => {
    assert.deepEqual(foreign, [], 'requests that leave the site');
    foreign = [];
});

async function site(t, settings = {}) {
    const contexts = [];
    t.after(() => Promise.all(contexts.map((context) => context.close()))); /* first, or lighttpd waits for their WebSockets */
    const sp = await instance(t, { rules: fs.readFileSync(rules.chat, 'utf8'), users: { ann: {}, bob: {} },
        settings: { 'gateway.client': bundle, ...settings } });
    const url = await sp.web();
    const open = async (options) => {
        const context = await browser.newContext(options);
        contexts.push(context);
        const page = await context.newPage();
        page.setDefaultTimeout(patience_ms);
        page.errors = [];
        page.on('pageerror', (error) => page.errors.push(error.message));
        page.on('request', (request) => {
            if (![url, url.replace('http', 'ws'), 'data:'].some((ours) => request.url().startsWith(ours))) foreign.push(request.url());
        });
        page.upgraded = new Promise((resolve) => page.on('websocket', (socket) => {
            if (!socket.url().startsWith(url.replace('http', 'ws'))) foreign.push(socket.url());
            socket.on('framesent', ({ payload }) => payload === '5' && resolve());
        }));
        await page.goto(url);
        return page;
    };
    return { sp, url, open };
}

const message = (page, text) => page.getByText(text, { exact: true }).waitFor();
const shot = (page, name) => page.screenshot({ path: path.join(screenshots, `${name}.png`) });
const focused = (page) => page.evaluate(() => document.activeElement.id || document.activeElement.textContent);

async function logIn(page, name, secret = password) {
    await page.getByLabel('Name').fill(name);
    await page.getByLabel('Password').fill(secret);
    await page.getByRole('button', { name: 'Log in' }).click();
}

async function enter(page, name) {
    await logIn(page, name);
    await message(page, `Welcome, ${name}.`);
}

async function say(page, text) {
    await page.getByLabel('Message', { exact: true }).fill(text);
    await page.getByRole('button', { name: 'Send' }).click();
}

/*
 * Nothing sticks out to the right, and the element can be seen without scrolling.  The screen's own
 * width counts: a phone's page that is too wide gets a window that is wider.
 */
async function fits(page, selector) {
    const screen = page.viewportSize();
    const { right, wide, bottom } = await page.evaluate((it) => ({
        right: Math.max(...[...document.body.querySelectorAll('*')].filter((one) => !one.matches('.unseen')).map((one) => one.getBoundingClientRect().right)),
        wide: document.documentElement.scrollWidth, bottom: document.querySelector(it).getBoundingClientRect().bottom }), selector);
    assert.ok(right <= screen.width && wide <= screen.width, `${Math.max(right, wide)} px wide on ${screen.width}`);
    assert.ok(bottom <= screen.height, `${selector} ends at ${bottom} px of ${screen.height}`);
}

test('two people log in, connect and chat; each sees who came, writes and leaves', async (t) => {
    const { open } = await site(t);
    const [ann, bob] = [await open({ viewport: { width: 1100, height: 760 } }), await open({ colorScheme: 'dark' })];
    await shot(ann, 'login');
    await enter(ann, 'ann');
    await message(ann, 'only you');
    await enter(bob, 'bob');
    await message(ann, 'bob joined');
    await message(bob, '2 here');

    await bob.getByLabel('Message', { exact: true }).pressSequentially('Hello');
    await message(ann, 'bob is typing…');
    await say(bob, 'Hello, Ann. <b>Is this bold?</b>');
    await message(ann, 'Hello, Ann. <b>Is this bold?</b>');
    await ann.getByText('bob is typing…').waitFor({ state: 'hidden' });
    await say(ann, 'No, it is text. But this is a longer message, which goes on for a while, so that one sees how lines are broken.');
    await bob.getByText('No, it is text.').waitFor();
    await shot(ann, 'chat');
    await shot(bob, 'chat-dark');

    await bob.getByRole('button', { name: 'Log out' }).click();
    await message(ann, 'bob left');
    assert.equal(await bob.getByLabel('Password').inputValue(), '');
    assert.deepEqual([...ann.errors, ...bob.errors], []);
});

test('one connection begins by long-polling and becomes a WebSocket, as stock clients do', async (t) => {
    const { open } = await site(t);
    const page = await open();
    const polls = [];
    page.on('request', (request) => request.url().includes('transport=polling') && polls.push(request.method()));
    await enter(page, 'ann');
    await within(page.upgraded, 'the upgrade');
    assert.equal(polls[0], 'GET');
});

test('a wrong password and an expired token are told in words', async (t) => {
    const { sp, open } = await site(t);
    const page = await open();
    await logIn(page, 'ann', 'a guess');
    const refusal = page.getByRole('alert');
    await refusal.filter({ hasText: 'That name and that password do not belong together.' }).waitFor();
    assert.equal(await focused(page), 'password');
    await shot(page, 'wrong-password');

    const token = sp.sign({ exp: Math.floor(Date.now() / 1000) - 60 });
    await page.route('**/login', (route) => route.fulfill({ json: { token } }));
    await logIn(page, 'ann');
    await refusal.filter({ hasText: 'Your token has expired. Log in again.' }).waitFor();

    await page.unroute('**/login');
    await enter(page, 'ann');
    assert.equal(await page.locator('#refusal').textContent(), '');
});

test('when a service is down, that is said; when it is back, all goes on', async (t) => {
    const { sp, open } = await site(t);
    const page = await open();
    await sp.login.stop();
    await logIn(page, 'ann');
    await page.getByRole('alert').filter({ hasText: 'The login service cannot be reached.' }).waitFor();
    await sp.startLogin();
    await page.getByRole('button', { name: 'Log in' }).click();
    await until(async () => {
        if (await page.getByText('Welcome, ann.').count()) return true;
        if (await page.getByRole('alert').filter({ hasText: /\S/ }).count()) await page.getByRole('button', { name: 'Log in' }).click();
        return false;
    }, 'lighttpd to find the login service again');
});

test('a gateway that restarts is found again by itself', async (t) => {
    const { sp, open } = await site(t);
    const [ann, bob] = [await open(), await open()];
    await enter(ann, 'ann');
    await enter(bob, 'bob');
    await sp.gateway.stop();
    const status = ann.getByRole('status');
    await status.filter({ hasText: 'trying again' }).waitFor();
    await say(ann, 'Is anybody there?');
    assert.equal(await ann.getByLabel('Message', { exact: true }).inputValue(), 'Is anybody there?', 'what cannot be sent is not lost');
    await shot(ann, 'lost');

    await sp.startGateway();
    for (const page of [ann, bob]) await until(async () => await page.locator('#status').textContent() === '', 'the page to be back');
    await until(async () => (await ann.getByText('2 here').count()) + (await bob.getByText('2 here').count()) > 0, 'both to be back');
    await ann.getByRole('button', { name: 'Send' }).click();
    await message(bob, 'Is anybody there?');
    assert.equal(await ann.getByText('not delivered').count(), 0);
});

test('on a phone nothing scrolls sideways, and what one needs can be seen', async (t) => {
    const { open } = await site(t);
    const [page, other] = [await open(phone), await open({ ...phone, viewport: { width: 320, height: 500 } })];
    for (const each of [page, other]) await fits(each, '#login button');
    await shot(page, 'phone-login');
    await enter(other, 'bob');
    await fits(other, '#composer'); /* alone, which takes more words */
    await enter(page, 'ann');
    for (let i = 0; i < 12; i++) await say(page, i % 3 ? `Message ${i}` : `https://example.org/${'a-long-path/'.repeat(12)}`);
    await message(other, 'Message 11');
    for (const each of [page, other]) await fits(each, '#composer');
    await message(other, 'Message 11');
    const inView = await other.getByText('Message 11', { exact: true }).evaluate((it) => it.getBoundingClientRect().bottom < innerHeight);
    assert.ok(inView, 'the last message is in view');
    await shot(page, 'phone-chat');
    await shot(other, 'phone-narrow');
});

test('without a mouse: log in, write, read back, log out', async (t) => {
    const { open } = await site(t);
    const page = await open();
    assert.equal(await focused(page), 'username');
    await page.keyboard.type('ann');
    await page.keyboard.press('Tab');
    await page.keyboard.type(password);
    await page.keyboard.press('Enter');
    await message(page, 'Welcome, ann.');
    assert.equal(await focused(page), 'message');
    await page.keyboard.type('By hand');
    await page.keyboard.press('Enter');
    await message(page, 'By hand');
    assert.equal(await focused(page), 'message');

    await page.keyboard.press('Shift+Tab');
    assert.equal(await focused(page), 'messages');
    const ring = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
    assert.equal(ring, 'solid', 'one sees where one is');
    await shot(page, 'keyboard');
    await page.keyboard.press('Shift+Tab');
    assert.equal(await focused(page), 'leave');
    await page.keyboard.press('Enter');
    await page.getByRole('button', { name: 'Log in' }).waitFor();
    assert.deepEqual(page.errors, []);
});

test('the page says what it needs when there is no gateway, and loads nothing but itself', async (t) => {
    const { sp, open, url } = await site(t);
    await sp.gateway.stop();
    const page = await open();
    await logIn(page, 'ann');
    await page.getByRole('alert').filter({ hasText: 'The gateway cannot be reached.' }).waitFor();
    const blocked = await page.evaluate(async () => {
        const seen = new Promise((resolve) => document.addEventListener('securitypolicyviolation', () => resolve(true), { once: true }));
        fetch('http://127.0.0.1:1/').catch(() => {});
        return seen;
    });
    assert.ok(blocked, `the page's policy lets nothing out of ${url}`);
    foreign = foreign.filter((one) => one !== 'http://127.0.0.1:1/');
});
