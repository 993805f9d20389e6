/*
 * Log in, connect with the token, chat.  What is relayed to whom is decided by the gateway's rules
 * (deploy/examples/chat.rules), who sent it by the token.  The token lives in this page's memory only.
 */
'use strict';

const $ = (id) => document.getElementById(id);
const typing_ms = 1500;

let socket = null;
let me = '';
let typingTimer = null;
const typists = new Set();

/* ---- what is shown ---- */

function show(chatting) {
  $('login').hidden = chatting;
  $('chat').hidden = $('leave').hidden = $('presence').hidden = !chatting;
  $(chatting ? 'message' : 'password').focus();
}

function element(name, className, text) {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = text;
  return made;
}

function append(item) {
  const list = $('messages');
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 80;
  list.append(item);
  if (atEnd) list.scrollTop = list.scrollHeight;
}

function note(text) {
  append(element('li', 'note', text));
}

function said(name, text, mine) {
  const item = element('li', mine ? 'said mine' : 'said', '');
  const by = element('p', 'by', '');
  const time = element('time', '', new Date().toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' }));
  by.append(element('b', '', name), ' ', time);
  item.append(by, element('div', 'text', text));
  append(item);
  return item;
}

function count(n) {
  $('presence').textContent = n === 1 ? 'only you' : `${n} here`;
}

function showTypists() {
  const names = [...typists];
  $('typing').textContent = names.length === 0 ? ''
    : names.length === 1 ? `${names[0]} is typing…`
    : `${names.slice(0, -1).join(', ')} and ${names.at(-1)} are typing…`;
}

/* ---- the first door ---- */

async function login(event) {
  event.preventDefault();
  const form = $('login');
  const button = form.querySelector('button');
  button.disabled = true;
  $('refusal').textContent = '';
  try {
    const answer = await fetch('/login', { method: 'POST', body: new URLSearchParams(new FormData(form)) });
    const body = await answer.json().catch(() => ({}));
    if (answer.ok && body.token) enter(body.token, form.elements.username.value);
    else $('refusal').textContent = inWords(answer.status, body);
  } catch {
    $('refusal').textContent = 'The login service cannot be reached. Is it running?';
  }
  button.disabled = false;
  if ($('refusal').textContent) form.elements.password.select();
}

function inWords(status, body) {
  switch (status) {
  case 401: return 'That name and that password do not belong together.';
  case 429: return 'Too many attempts. Wait a moment, then try again.';
  case 502:
  case 503:
  case 504: return 'The login service cannot be reached. Is it running?';
  default: return `The login service answered ${status}${body.error_description ? `: ${body.error_description}` : '.'}`;
  }
}

/* ---- the second door ---- */

function enter(token, name) {
  if (typeof io === 'undefined') {
    $('refusal').textContent = 'The gateway cannot be reached. Is it running? Then load this page again.';
    return;
  }
  socket?.disconnect();
  me = name;
  $('password').value = '';
  $('messages').textContent = '';
  socket = io.connect(location.origin, { query: 'token=' + token });
  socket.on('connect', () => {
    $('status').textContent = '';
    if ($('chat').hidden) show(true);
    socket.emit('add user', me);
  });
  socket.on('connect_error', refused);
  socket.on('disconnect', parted);

  socket.on('login', (data) => {
    count(data.numUsers);
    note(`Welcome, ${me}.`);
  });
  socket.on('new message', (data) => said(data.username, data.message, false));
  socket.on('user joined', (data) => {
    count(data.numUsers);
    note(`${data.username} joined`);
  });
  socket.on('user left', (data) => {
    count(data.numUsers);
    note(`${data.username} left`);
    typists.delete(data.username);
    showTypists();
  });
  socket.on('typing', (data) => { typists.add(data.username); showTypists(); });
  socket.on('stop typing', (data) => { typists.delete(data.username); showTypists(); });
}

/* A refusal with data is about the token; without, the gateway was not reached and the client tries again. */
function refused(error) {
  if (!error.data) {
    const words = 'The gateway cannot be reached; trying again…';
    $($('chat').hidden ? 'refusal' : 'status').textContent = words;
    return;
  }
  leave(error.message === 'jwt expired' ? 'Your token has expired. Log in again.'
    : `The gateway does not let this token in (${error.message}). Log in again.`);
}

function parted(reason) {
  typists.clear();
  showTypists();
  if (reason === 'io server disconnect') leave('The gateway has ended this connection.');
  else if (reason !== 'io client disconnect') $('status').textContent = 'The connection is lost; trying again…';
}

function leave(words) {
  socket.disconnect();
  $('status').textContent = '';
  $('refusal').textContent = words;
  show(false);
}

/* ---- talking ---- */

function send(event) {
  event.preventDefault();
  const text = $('message').value.trim();
  if (!text || !socket.connected) return;
  $('message').value = '';
  stopTyping();
  const item = said(me, text, true);
  socket.timeout(10000).emit('new message', text, (late, answer) => {
    const failure = late ? 'no answer' : answer && answer.error;
    if (!failure) return;
    item.classList.add('unsent');
    item.append(element('p', 'failure', `not delivered: ${failure}`));
  });
}

function nowTyping() {
  if (!socket.connected) return;
  if (!typingTimer) socket.emit('typing');
  clearTimeout(typingTimer);
  typingTimer = setTimeout(stopTyping, typing_ms);
}

function stopTyping() {
  if (!typingTimer) return;
  clearTimeout(typingTimer);
  typingTimer = null;
  socket.emit('stop typing');
}

$('login').addEventListener('submit', login);
$('leave').addEventListener('click', () => leave(''));
$('composer').addEventListener('submit', send);
$('message').addEventListener('input', nowTyping);
