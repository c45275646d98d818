/**
 * The console page: everything it knows comes from the client's events, and its choices live in the URL.
 * (Above 400 lines, because it is one page, and each part of it a few lines.)
 *
 * What arrives is drawn once per frame, so that a busy channel costs one update of the page however many messages
 * it brings; while the list is paused it waits.
 */

import { Gateway, TRANSPORTS } from "./client.js";

const KEPT_MESSAGES = 500; // enough to look back over; a page with more rows grows slow
const KEPT_EVENTS = 100;
const DROP_MS = 5_000; // long enough to publish something meanwhile
const SHOWN_CHARS = 20_000; // of one message's data
const INLINE_CHARS = 96; // longer JSON is broken into lines
const TINTS = 8;

const NAMES = { websocket: "WebSocket", sse: "SSE", longpoll: "Long-poll" };
const HINTS = {
  websocket: "One connection, both ways: commands out, messages in.",
  sse: "One HTTP response that never ends. Publishing is a POST.",
  longpoll: "A request that waits for news, again and again. Publishing is a POST.",
};
const STATES = {
  idle: "Waiting for a channel",
  connecting: "Connecting",
  connected: "Connected",
  reconnecting: "Reconnecting",
  closed: "Closed",
};
const REASONS = {
  slow: "this client was too slow",
  expired: "no longer retained",
  epoch: "the channel's log began anew",
  unannounced: "never arrived, and not announced",
};

const $ = (id) => document.getElementById(id);
const base = new URL(".", import.meta.url);
const chosen = new URLSearchParams(location.search);
const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "medium", hourCycle: "h23" });

const gateway = new Gateway({
  url: base.href,
  transport: TRANSPORTS.includes(chosen.get("transport")) ? chosen.get("transport") : TRANSPORTS[0],
  reviver: keepNumber,
});

// --- JSON -----------------------------------------------------------------------------------------

/** Keep a number that a double cannot hold as it was written, where the browser lets us. */
function keepNumber(_key, value, context) {
  const isLossy = typeof value === "number" && !Number.isSafeInteger(value) && !(value % 1);
  return isLossy && context && JSON.rawJSON ? JSON.rawJSON(context.source) : value;
}

/** What typed text would be published as: {data, words}; or {error}, with isBroken for what was meant as JSON. */
function readData(text) {
  const trimmed = text.trim();
  if (!trimmed) return { error: "Write the data to publish first." };
  try {
    return { data: JSON.parse(trimmed, keepNumber), words: "Valid JSON." };
  } catch (error) {
    if (/^[[{"]/.test(trimmed)) return { error: `Not valid JSON: ${error.message}`, isBroken: true };
    return { data: text, words: "Not JSON, so it is published as a JSON string." };
  }
}

/** Write data as coloured JSON into element. */
function writeData(element, data) {
  const inline = JSON.stringify(data);
  const whole = inline.length <= INLINE_CHARS ? inline : JSON.stringify(data, null, 2);
  const shown = whole.slice(0, SHOWN_CHARS);
  const token = /("(?:[^"\\]|\\.)*")(\s*:)?|-?\d[\d.eE+-]*|true|false|null/g;
  let end = 0;
  for (const match of shown.matchAll(token)) {
    const [text, string, colon] = match;
    const kind = colon ? "key" : string ? "string" : "number";
    element.append(shown.slice(end, match.index), span(kind, string ?? text), colon ?? "");
    end = match.index + text.length;
  }
  element.append(shown.slice(end));
  if (whole.length > SHOWN_CHARS) {
    element.append(span("more", ` … ${whole.length.toLocaleString()} characters in all`));
  }
}

function span(className, textContent) {
  return Object.assign(document.createElement("span"), { className, textContent });
}

// --- the choice of transport and channels -----------------------------------------------------------

function address(transport, channels) {
  const pairs = channels.map((channel) => ["channel", channel]);
  return `?${new URLSearchParams([["transport", transport], ...pairs])}`;
}

/** Put the transport and the channels wherever the page names them, above all into its address. */
function keepChoice() {
  const { transport } = gateway;
  const channels = [...rows.keys()];
  history.replaceState(null, "", address(transport, channels));
  document.title = `${channels.join(", ") || "no channel"} · ${NAMES[transport]} · Gateway console`;
  $("transport-hint").textContent = HINTS[transport];
  $("known-channels").replaceChildren(...channels.map((channel) => new Option(channel)));
  const [first, second] = TRANSPORTS.filter((name) => name !== transport);
  for (const [id, name] of Object.entries({ "other-first": first, "other-second": second })) {
    $(id).textContent = NAMES[name];
    $(id).href = address(name, channels);
  }
  const body = JSON.stringify({ channel: channels[0], data: { hello: "world" } }).replaceAll("'", "'\\''");
  $("curl").textContent = `curl -X POST ${new URL("publish", base)} \\\n  -d '${body}'`;
  showEmpty();
}

// --- state and activity -----------------------------------------------------------------------------

let countdown = null;

function showState({ state, transport, reason, delayMs }) {
  $("state").dataset.state = state;
  $("state-text").textContent = `${STATES[state]} · ${NAMES[transport]}`;
  // One button for all of these, as a button that vanished would take the keyboard's focus with it.
  $("interrupt").textContent = { reconnecting: "Reconnect now", closed: "Connect" }[state] ?? "Drop for 5 s";
  $("interrupt").disabled = state === "idle";
  clearInterval(countdown);
  const until = performance.now() + (delayMs ?? 0);
  const showCountdown = () => {
    const leftS = Math.ceil((until - performance.now()) / 1000);
    $("countdown").textContent = leftS > 0 ? `in ${leftS} s` : "";
  };
  showCountdown();
  if (delayMs) countdown = setInterval(showCountdown, 250);
  const when = delayMs ? `, next attempt in ${(delayMs / 1000).toFixed(1)} s` : "";
  note("state", `${STATES[state]} over ${NAMES[transport]}${reason ? `: ${reason}` : ""}${when}`);
}

function note(kind, words) {
  const item = stamp("event-template", new Date());
  item.dataset.kind = kind;
  item.querySelector(".words").textContent = words;
  $("events").prepend(item);
  while ($("events").childElementCount > KEPT_EVENTS) $("events").lastElementChild.remove();
}

const tallies = { gap: 0, error: 0 };

function tally(kind) {
  const element = $(`${kind}-tally`);
  element.textContent = count(++tallies[kind], kind);
  element.dataset.some = "";
}

function count(number, noun) {
  return `${number.toLocaleString()} ${noun}${number === 1 ? "" : "s"}`;
}

function showError(words) {
  tally("error");
  note("error", words);
  $("notice-text").textContent = words;
  $("notice").hidden = false;
}

function stamp(template, date) {
  const element = $(template).content.firstElementChild.cloneNode(true);
  const time = element.querySelector("time");
  time.dateTime = date.toISOString();
  time.textContent = `${clock.format(date)}.${String(date.getMilliseconds()).padStart(3, "0")}`;
  return element;
}

// --- channels -------------------------------------------------------------------------------------

const rows = new Map(); // by channel: {element, gaps, cursor, isRoom}
const tints = new Map(); // by channel; kept when it is unsubscribed, as its messages stay

function tint(channel) {
  if (!tints.has(channel)) tints.set(channel, tints.size % TINTS);
  return tints.get(channel);
}

function subscribe(channel) {
  if (rows.has(channel)) return note("state", `Already subscribed to ${channel}`);
  const element = $("channel-template").content.firstElementChild.cloneNode(true);
  element.dataset.channel = channel;
  element.dataset.tint = tint(channel);
  element.querySelector(".name").textContent = channel;
  element.querySelector(".position").textContent = "…";
  element.querySelector(".remove").ariaLabel = `Unsubscribe from ${channel}`;
  element.querySelector(".remove").addEventListener("click", () => gateway.unsubscribe(channel));
  const row = { element, gaps: 0, cursor: null, isRoom: false };
  element.querySelector(".copy").addEventListener("click", ({ target }) => copy(target, row.cursor));
  $("channels").append(element);
  rows.set(channel, row);
  gateway.subscribe(channel);
  $("publish-channel").value ||= channel;
  keepChoice();
}

function forget(channel, reason) {
  rows.get(channel)?.element.remove();
  rows.delete(channel);
  if ($("publish-channel").value === channel) $("publish-channel").value = [...rows.keys()][0] ?? "";
  note("state", `Unsubscribed from ${channel}: ${reason}`);
  keepChoice();
}

function showPosition({ channel, epoch, offset, cursor }) {
  const row = rows.get(channel);
  if (!row) return;
  row.cursor = cursor;
  row.element.dataset.position = `${epoch}:${offset}`;
  row.element.querySelector(".position").textContent = `${epoch}:${offset}`;
  row.element.querySelector(".cursor").textContent = cursor ? `cursor ${cursor}` : "";
  row.element.querySelector(".copy").hidden = !cursor;
  showMore(row);
}

function showMore({ element, cursor, gaps, isRoom }) {
  element.querySelector(".more").hidden = !cursor && gaps === 0 && !isRoom;
}

/** Say how many are in a channel that tells who comes and goes. */
function showPresence({ channel, count }) {
  const row = rows.get(channel);
  row.isRoom = true;
  row.element.querySelector(".present").textContent = `${count.toLocaleString()} here`;
  showMore(row);
}

async function copy(button, text) {
  const label = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Not allowed"; // without HTTPS a browser offers no clipboard
  }
  setTimeout(() => (button.textContent = label), 1500);
}

// --- messages -------------------------------------------------------------------------------------

let waiting = []; // entries not drawn yet, oldest first
let isPaused = false;
let received = 0;
let isDrawDue = false;

function arrive(entry) {
  waiting.push({ ...entry, date: new Date() });
  if (waiting.length > 2 * KEPT_MESSAGES) waiting = waiting.slice(-KEPT_MESSAGES);
  if (entry.kind === "message") received += 1;
  requestDraw();
}

function requestDraw() {
  if (!isDrawDue) requestAnimationFrame(draw);
  isDrawDue = true;
}

function draw() {
  isDrawDue = false;
  if (!isPaused && waiting.length) {
    const list = $("messages");
    list.prepend(...waiting.slice(-KEPT_MESSAGES).reverse().map(drawEntry));
    waiting = [];
    while (list.childElementCount > KEPT_MESSAGES) list.lastElementChild.remove();
  }
  const held = isPaused ? Math.min(waiting.length, KEPT_MESSAGES) : 0;
  $("pause").textContent = isPaused ? `Resume (${held} new)` : "Pause";
  $("message-count").textContent = received ? `${received.toLocaleString()} received` : "none yet";
  showEmpty();
}

function drawEntry({ kind, date, channel, ...entry }) {
  const element = stamp(`${kind}-template`, date);
  element.dataset.channel = channel;
  element.dataset.tint = tint(channel);
  element.querySelector(".name").textContent = channel;
  if (kind === "gap") {
    element.querySelector(".words").textContent = gapWords(entry);
    return element;
  }
  element.dataset.offset = entry.offset;
  element.dataset.transport = entry.transport;
  element.querySelector(".offset").textContent = `#${entry.offset}`;
  element.querySelector(".transport").textContent = NAMES[entry.transport];
  writeData(element.querySelector(".data"), entry.data);
  if (entry.encoding) element.querySelector(".data").append(span("more", ` (${entry.encoding})`));
  if (entry.key !== undefined) element.querySelector(".data").append(span("more", ` key ${entry.key}`));
  return element;
}

function gapWords({ from, to, reason }) {
  const missing = to - from + 1;
  const why = REASONS[reason] ?? reason;
  if (missing < 1) return `Nothing known to be missing: ${why}`;
  return `${missing.toLocaleString()} missing, #${from}${missing > 1 ? ` to #${to}` : ""}: ${why}`;
}

/** An empty list teaches what to do next. */
function showEmpty() {
  const isEmpty = $("messages").childElementCount === 0;
  $("messages").hidden = isEmpty;
  $("empty").hidden = !isEmpty;
  $("empty-start").hidden = rows.size > 0;
  $("empty-publish").hidden = rows.size === 0;
}

// --- publishing -------------------------------------------------------------------------------------

/** Say below the text what publishing it will do; an error only once it is plain, or asked for. */
function showHint({ isAsked = false } = {}) {
  const text = $("publish-data").value;
  const { words, error, isBroken = false } = readData(text);
  const isBad = isBroken || (isAsked && error !== undefined);
  const isHelp = !text.trim() && !isBad;
  $("publish-hint").textContent = isHelp ? "Any JSON value. Other text becomes a JSON string." : (error ?? words);
  $("publish-hint").classList.toggle("bad", isBad);
  $("publish-data").ariaInvalid = isBad;
  $("publish-text").hidden = !isBroken;
}

async function publish(data) {
  const channel = $("publish-channel").value;
  $("published").textContent = "";
  try {
    const [key, idempotencyKey] = ["publish-key", "idempotency-key"].map((id) => $(id).value || undefined);
    const { epoch, offset } = await gateway.publish(channel, data, { key, idempotencyKey });
    $("published").textContent = `Published at ${epoch}:${offset}`;
  } catch (error) {
    showError(`Not published: ${error.message}`);
  }
}

function submitData() {
  const { data, error } = readData($("publish-data").value);
  if (!error) return publish(data);
  showHint({ isAsked: true });
  $("publish-data").focus();
}

// --- wiring -----------------------------------------------------------------------------------------

const LISTENERS = {
  state: showState,
  position: showPosition,
  subscribed: ({ channel, recovered }) =>
    note("state", `Subscribed to ${channel}${recovered ? ", with everything since the last position" : ""}`),
  unsubscribed: ({ channel, reason }) => forget(channel, reason),
  message: (message) => arrive({ kind: "message", ...message }),
  gap: (gap) => {
    const row = rows.get(gap.channel);
    row.element.querySelector(".tally").textContent = count(++row.gaps, "gap");
    tally("gap");
    note("gap", `Gap in ${gap.channel}: ${gapWords(gap)}`);
    arrive({ kind: "gap", ...gap });
  },
  joined: ({ channel, user, session }) => note("state", `${user ?? session} joined ${channel}`),
  left: ({ channel, user, session }) => note("state", `${user ?? session} left ${channel}`),
  presence: showPresence,
  error: ({ channel, message }) => showError(channel === null ? message : `Not subscribed: ${message}`),
};
for (const [event, listener] of Object.entries(LISTENERS)) {
  gateway.addEventListener(event, ({ detail }) => listener(detail));
}

function on(id, event, listener) {
  $(id).addEventListener(event, (happening) => {
    if (event === "submit") happening.preventDefault();
    listener(happening);
  });
}

on("transports", "change", ({ target }) => {
  gateway.switchTransport(target.value);
  keepChoice();
});
on("interrupt", "click", () => {
  if (gateway.state === "closed") gateway.connect();
  else if (gateway.state === "reconnecting") gateway.reconnect();
  else gateway.drop(DROP_MS);
});
on("subscribe", "submit", () => {
  subscribe($("channel").value);
  $("channel").value = "";
});
on("subscribe-demo", "click", () => subscribe("demo"));
on("publish", "submit", submitData);
on("publish-text", "click", () => publish($("publish-data").value));
on("publish-data", "input", () => showHint());
on("publish-data", "keydown", (key) => {
  if (key.key === "Enter" && (key.ctrlKey || key.metaKey)) submitData();
});
on("api-key", "input", ({ target }) => (gateway.apiKey = target.value || null));
on("pause", "click", () => {
  isPaused = !isPaused;
  $("pause").ariaPressed = isPaused;
  requestDraw();
});
on("clear", "click", () => {
  $("messages").replaceChildren();
  waiting = [];
  received = 0;
  requestDraw();
});
on("copy-curl", "click", ({ target }) => copy(target, $("curl").textContent));
on("notice-close", "click", () => ($("notice").hidden = true));

document.querySelector(`[name=transport][value=${gateway.transport}]`).checked = true;
for (const channel of new Set(chosen.getAll("channel"))) subscribe(channel);
keepChoice();
showHint();
gateway.connect();
