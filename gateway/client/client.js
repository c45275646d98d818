/**
 * The browser client of the gateway, without dependencies. (Above 400 lines, because the three
 * transports share the positions, which are private to one class.)
 *
 *     import { Gateway } from "/client.js";
 *
 *     const gateway = new Gateway();
 *     gateway.addEventListener("state", ({ detail }) => console.log(detail.state));
 *     gateway.subscribe("news", { onMessage: ({ offset, data }) => console.log(offset, data) });
 *     gateway.connect();
 *     await gateway.publish("news", { hello: "world" });
 *
 * The one rule: a subscription owns its position (epoch and offset) in its channel, and every transport only
 * moves it forward. So a reconnect or another transport goes on from there, what comes twice is recognised
 * by its offset, and what is missing is told as a gap.
 */

import { ANSWER_TIMEOUT_MS, GatewayError, backoff, fetchJson, persist, spread } from "./requests.js";

export { GatewayError };

export const TRANSPORTS = ["websocket", "sse", "longpoll"];

const STABLE_MS = 10_000; // a connection that lived this long starts the backoff anew
const WATCH_MS = 5_000;
const POLL_TIMEOUT_S = 25; // below the 60 s that common proxies let a request idle
const EMPTY_POLL_PAUSE_MS = 1_000;
const MAX_PUBLISHING = 1_000; // publications that wait for their answers; half of what a session may send at once

/**
 * One client. Nothing happens before `connect()`.
 *
 * Options: `url` (the gateway; default: this page's origin), `transport` (one of TRANSPORTS, or several in the
 * order in which to try them), `token` (sent as `auth` on WebSocket, else as a Bearer header; EventSource cannot
 * send headers, so SSE has cookies only), `apiKey` (for publishing over HTTP), `reviver` (given to JSON.parse).
 *
 * Events, each with a `detail`:
 * - `state`: {state, transport, reason, delayMs}; state is "idle" (SSE or long-poll without a channel),
 *   "connecting", "connected", "reconnecting" (delayMs is null while EventSource reconnects itself), "closed"
 * - `subscribed`: {channel, epoch, offset, recovered, overflow, retention: {count, bytes, age_s}}, the last two
 *   not from long-poll; `unsubscribed`: {channel, reason}
 * - `message`: {channel, offset, data, key, tags, time, transport}; `gap`: {channel, epoch, from, to, reason}
 * - `joined`, `left`: {channel, user, session, count}; `presence`: {channel, count}, after each of them and where
 *   others than those came and went; where the channel tells these at all, and not from long-poll
 * - `position`: {channel, epoch, offset, cursor}, each null while unknown
 * - `error`: a GatewayError, with the channel it is about where there is one
 */
export class Gateway extends EventTarget {
  apiKey;
  #base;
  #options;
  #transports;
  #index = 0; // of the transport in use
  #preferred = 0; // index of the one that last worked
  #subscriptions = new Map(); // by channel
  #isWanted = false;
  #state = "closed";
  #abort = null; // the AbortController of the connection in use
  #link = null; // what that can do besides, on WebSocket only: {subscribe, unsubscribe, ask}
  #timer = null;
  #attempts = 0;
  #publishingCount = 0;
  #connectedAt = 0;
  #refresh = () => this.reconnect();

  constructor({ url = globalThis.location?.origin, transport = TRANSPORTS, apiKey = null, ...options } = {}) {
    super();
    this.apiKey = apiKey;
    this.#base = new URL(url.replace(/^ws/, "http").replace(/\/?$/, "/"));
    this.#options = options;
    this.#transports = checkTransports(transport);
  }

  get state() {
    return this.#state;
  }

  get transport() {
    return this.#transports[this.#index];
  }

  /** The position in each subscribed channel, in the order of subscribing. */
  get positions() {
    return [...this.#subscriptions.values()].map(position);
  }

  connect() {
    if (this.#isWanted) return;
    this.#isWanted = true;
    // A network that changed leaves dead sockets behind, which nothing else would report for minutes.
    for (const change of ["online", "offline"]) globalThis.addEventListener?.(change, this.#refresh);
    this.#open();
  }

  /** End the connection but keep the positions: `connect()` goes on from them. */
  close(reason = "closed by this page") {
    this.#isWanted = false;
    for (const change of ["online", "offline"]) globalThis.removeEventListener?.(change, this.#refresh);
    this.#leave(reason);
    this.#setState("closed", { reason });
  }

  /** Connect anew at once, instead of waiting or to replace a connection that may be dead. */
  reconnect() {
    if (this.#isWanted) this.#open();
  }

  /** Cut the connection as a failing network would; reconnect after delayMs, or after the backoff. */
  drop(delayMs = null) {
    if (this.#abort) this.#lost({ reason: "dropped by this page", delayMs });
  }

  /** Go on from the positions reached over another transport, or an ordered list of them. */
  switchTransport(transport) {
    this.#transports = checkTransports(transport);
    this.#index = this.#preferred = this.#attempts = 0;
    this.reconnect();
  }

  /**
   * Receive a channel from now on, from its last `history` messages, or from an epoch and offset kept earlier.
   *
   * overflow ("gap", "latest", "disconnect") is what happens should this client fall behind all that is kept; the
   * channel's default unless given. SSE and long-poll have one for all channels: it is asked for there only where
   * all want the same. Long-poll has no "disconnect".
   * onMessage, onGap, onJoined, onLeft, onPresence, onSubscribed and onError get what the events of those names carry.
   */
  subscribe(channel, { epoch = null, offset = null, history = null, overflow = null, ...handlers } = {}) {
    if (this.#subscriptions.has(channel)) throw new Error(`already subscribed to ${channel}`);
    const place = { channel, epoch, offset, cursor: null };
    const own = { unechoed: new Set(), unansweredCount: 0 }; // offsets, of what is published without echo
    const subscription = { ...place, ...own, history, overflow, handlers, isEstablished: false };
    this.#subscriptions.set(channel, subscription);
    if (this.#link) this.#link.subscribe(subscription);
    else if (this.transport !== "websocket") this.reconnect(); // the channels are part of the address
  }

  unsubscribe(channel) {
    if (!this.#subscriptions.delete(channel)) return;
    if (this.#link) this.#link.unsubscribe(channel);
    else if (this.transport !== "websocket") this.reconnect();
    this.#emit("unsubscribed", { channel, reason: "as asked" });
  }

  /**
   * Publish data, any JSON value; returns its {channel, epoch, offset}, or throws a GatewayError.
   *
   * It goes over WebSocket where that is connected, else over HTTP. An answer that is lost, or says to try later, is
   * asked for again for up to a minute, with the same idempotency key, so that nothing is published twice; not with
   * `retry: false`, which spares the gateway the key. Where the channel remembers no keys it is sent once, too.
   * Who awaits each publication before the next has them in order.
   *
   * Options: key, tags, idempotencyKey (one of your own), expectedOffset (the channel must end there, or the error's
   * epoch and offset say where it does), echo (false: this client does not receive it itself; on WebSocket only).
   */
  async publish(channel, data, { key, tags, expectedOffset, echo = true, retry = true, idempotencyKey } = {}) {
    const write = (made) => {
      const conditions = { idempotency_key: idempotencyKey ?? made, expected_offset: expectedOffset };
      return JSON.stringify({ channel, data, key, tags, ...conditions });
    };
    const text = write(retry ? randomKey() : undefined);
    const textOnce = write(); // now, as the page may change data meanwhile
    if (this.#publishingCount === MAX_PUBLISHING) {
      const message = `${MAX_PUBLISHING} publications wait for their answers`;
      throw new GatewayError({ code: "overloaded", message, retry: true });
    }
    this.#publishingCount += 1;
    try {
      const attempt = () => this.#publishOnce(channel, text, echo);
      const { epoch, offset } = await (retry ? persist(attempt) : attempt()).catch((error) => {
        if (error.code !== "unsupported" || text === textOnce) throw error;
        return this.#publishOnce(channel, textOnce, echo);
      });
      return { channel, epoch, offset };
    } finally {
      this.#publishingCount -= 1;
    }
  }

  /** Who is subscribed to a channel: {channel, count, members, cursor}; limit 0 asks only how many. */
  presence(channel, { limit, cursor } = {}) {
    return this.#read("presence", channel, { limit, cursor });
  }

  /** What a channel retains after cursor, or with reverse before it: {epoch, publications, cursor, more, gap}. */
  history(channel, { limit, cursor, reverse } = {}) {
    return this.#read("history", channel, { limit, cursor, reverse });
  }

  // --- connecting ---------------------------------------------------------------------------------

  #open() {
    this.#leave("replaced by another");
    const subscriptions = [...this.#subscriptions.values()];
    if (this.transport !== "websocket" && subscriptions.length === 0) {
      return this.#setState("idle", { reason: "no channel to listen to" });
    }
    for (const subscription of subscriptions) subscription.isEstablished = false;
    const { signal } = (this.#abort = new AbortController());
    const open = { websocket: this.#openWebSocket, sse: this.#openSse, longpoll: this.#openLongPoll }[this.transport];
    open.call(this, signal, subscriptions).catch((error) => this.#failed(error, signal, subscriptions));
    this.#setState("connecting");
  }

  #leave(reason) {
    clearTimeout(this.#timer);
    this.#abort?.abort(reason);
    this.#abort = this.#link = null;
  }

  #connected() {
    if (this.#state === "connected") return;
    this.#preferred = this.#index;
    this.#connectedAt = performance.now();
    this.#setState("connected");
  }

  /** Go on after the end of the link: delayMs is when, atLeastMs only bounds the backoff. */
  #lost({ reason, code = null, reconnect = true, delayMs = null, atLeastMs = 0 }) {
    const hasWorked = this.#state === "connected";
    this.#leave(reason);
    if (!reconnect || (code >= 3500 && code <= 3999)) return this.close(reason);
    if (!hasWorked) this.#index = (this.#index + 1) % this.#transports.length;
    if (this.#index !== this.#preferred) return this.#open(); // each has one try before all wait
    if (hasWorked && performance.now() - this.#connectedAt > STABLE_MS) this.#attempts = 0;
    const delay = Math.round(delayMs ?? Math.max(atLeastMs, backoff(this.#attempts++)));
    this.#setState("reconnecting", { reason, delayMs: delay });
    this.#timer = setTimeout(() => this.#open(), delay);
  }

  // --- transports: each works until signal ends it ------------------------------------------------

  async #openWebSocket(signal) {
    const url = new URL("ws?ping=message", this.#base.href.replace(/^http/, "ws"));
    const socket = new WebSocket(url, ["gateway.v1.json"]);
    const pending = new Map(); // by command id: settle(reply), or refuse(error) also where none will come
    let lastId = 0;
    let isReady = false;
    let pingIntervalMs = 0; // until the welcome, which is waited for no longer than for any answer
    let quietSince = performance.now();

    const sendText = (type, text, settle = () => {}, refuse = () => {}) => {
      pending.set(++lastId, { settle, refuse });
      socket.send(`{"id":${lastId},"type":"${type}",${text.slice(1)}`);
    };
    const send = (type, fields, ...outcomes) => sendText(type, JSON.stringify(fields), ...outcomes);
    const subscribe = (subscription) => {
      const { channel, epoch, offset } = subscription;
      const isCurrent = () => isReady && this.#subscriptions.get(channel) === subscription;
      const refuse = (error) => {
        const delayMs = Math.max(spread(error.retryAfterMs ?? 0), backoff(2));
        if (isCurrent() && error.retry) setTimeout(subscribe, delayMs, subscription);
        else if (isCurrent()) this.#refuse(subscription, error);
      };
      if (!isCurrent()) return; // before the welcome, which subscribes to everything; or given up
      const start = epoch === null ? { history: subscription.history } : { epoch, offset };
      const fields = { channel, ...start, overflow: subscription.overflow };
      send("subscribe", fields, (reply) => isCurrent() && this.#receive(reply), refuse);
    };
    const begin = () => {
      isReady = true;
      for (const subscription of this.#subscriptions.values()) subscribe(subscription);
      this.#connected();
    };
    const welcome = ({ ping_interval: intervalS }) => {
      const { token } = this.#options;
      const refuse = ({ message, retry }) => signal.aborted || this.#lost({ reason: message, reconnect: retry });
      pingIntervalMs = 1000 * (intervalS || POLL_TIMEOUT_S);
      if (token) send("auth", { token }, begin, refuse);
      else begin();
    };
    const receive = ({ data }) => {
      quietSince = performance.now();
      const push = this.#parse(data);
      const command = pending.get(push.id);
      pending.delete(push.id);
      if (command && push.type === "error") command.refuse(new GatewayError(push));
      else if (command) command.settle(push);
      else if (push.type === "welcome") welcome(push);
      else if (push.type === "ping") socket.send('{"type":"ping"}'); // without an id, so that nothing comes back
      else this.#receive(push);
    };
    // Scripts do not see the pings of WebSocket, so the gateway was asked for pushes: one at every interval.
    const watch = setInterval(() => {
      const isDead = performance.now() - quietSince > pingIntervalMs + ANSWER_TIMEOUT_MS;
      if (isDead) this.#lost({ reason: "the gateway is silent" });
    }, WATCH_MS);
    const stop = () => {
      isReady = false;
      clearInterval(watch);
      socket.close();
      const message = `the connection ended before the reply: ${signal.reason}`;
      const error = new GatewayError({ code: "disconnected", message, retry: true });
      for (const { refuse } of pending.values()) refuse(error);
    };
    const end = ({ code, reason }) => this.#lost({ code, reason: reason || `the connection closed: code ${code}` });
    socket.addEventListener("message", receive, { signal });
    socket.addEventListener("close", end, { signal });
    signal.addEventListener("abort", stop);
    this.#link = {
      subscribe,
      unsubscribe: (channel) => isReady && send("unsubscribe", { channel }),
      ask: (type, text) => new Promise((resolve, reject) => sendText(type, text, resolve, reject)),
    };
  }

  async #openSse(signal, subscriptions) {
    await this.#locate(subscriptions, signal);
    if (signal.aborted) return;
    const source = new EventSource(new URL(`sse?${query(subscriptions)}`, this.#base));
    let hasOpened = false; // since it was made or last failed
    const receive = ({ type, data, lastEventId }) => {
      // A failure of the stream and an `error` the gateway sends are both events of this name; one has data.
      if (data === undefined) return fail().catch((error) => this.#failed(error, signal, subscriptions));
      if (type === "subscribed") this.#connected();
      this.#receive(this.#parse(data), lastEventId || null);
    };
    const fail = async () => {
      const isRetrying = source.readyState === EventSource.CONNECTING;
      if (isRetrying && hasOpened) {
        hasOpened = false; // it reconnects once with Last-Event-ID, after the delay the gateway chose by `retry:`
        for (const subscription of subscriptions) subscription.isEstablished = false;
        return this.#setState("reconnecting", { reason: "the stream broke off" });
      }
      // EventSource hides what a refusal says; a poll that answers at once has it said again.
      if (!isRetrying) await this.#poll(subscriptions, 0, signal);
      throw new GatewayError({ code: "no_stream", message: "the event stream cannot be opened", retry: true });
    };
    source.onopen = () => (hasOpened = true);
    for (const type of Object.keys(this.#pushes)) source.addEventListener(type, receive);
    signal.addEventListener("abort", () => source.close());
  }

  async #openLongPoll(signal, subscriptions) {
    await this.#locate(subscriptions, signal);
    // The first poll answers at once, which proves the connection.
    for (let timeoutS = 0; !signal.aborted; timeoutS = POLL_TIMEOUT_S) {
      const startedAt = performance.now();
      const answer = await this.#poll(subscriptions, timeoutS, signal);
      if (signal.aborted) return; // unread, so it will be asked for again
      this.#connected();
      this.#take(answer, subscriptions, signal);
      const isEarly = timeoutS > 0 && performance.now() - startedAt < EMPTY_POLL_PAUSE_MS;
      const isEmpty = answer.messages.length + answer.gaps.length === 0;
      if (isEarly && isEmpty) await new Promise((resolve) => setTimeout(resolve, EMPTY_POLL_PAUSE_MS));
    }
  }

  /** Give channels without a position one where others have theirs: a request holds them for all or for none. */
  async #locate(subscriptions, signal) {
    await Promise.all(subscriptions.map((one) => one.epoch === null && one.history && this.#lookBack(one, signal)));
    const added = subscriptions.filter(({ epoch }) => epoch === null);
    if (added.length === 0 || added.length === subscriptions.length) return;
    this.#take(await this.#poll(added, 0, signal), added, signal);
  }

  /** Begin a subscription at its last messages, as WebSocket does by itself: offsets have no holes. */
  async #lookBack(subscription, signal) {
    const read = (direction) => this.#get("history", subscription.channel, { limit: 1, ...direction }, signal);
    const ends = await Promise.all([read({ reverse: true }), read({})]);
    const [last, first] = ends.map(({ publications }) => publications[0]?.offset);
    if (signal.aborted || last === undefined || first === undefined || ends[0].epoch !== ends[1].epoch) return;
    const offset = Math.max(last - subscription.history, first - 1);
    Object.assign(subscription, { epoch: ends[0].epoch, offset });
  }

  /** Deal with a request that failed: over HTTP one refused channel fails it for all, so each is asked for. */
  async #failed(error, signal, subscriptions) {
    for (const subscription of error.retry ? [] : subscriptions) {
      const refusal = await this.#poll([subscription], 0, signal).catch((reason) => reason);
      if (signal.aborted) return;
      if (refusal.retry === false) this.#refuse(subscription, refusal);
    }
    if (signal.aborted) return;
    if (!error.retry) {
      if (this.#subscriptions.size < subscriptions.length) return this.#open(); // without those refused
      this.#emit("error", error); // about all of them together, such as too many
    }
    this.#lost({ reason: error.message, atLeastMs: error.retryAfterMs });
  }

  // --- receiving ----------------------------------------------------------------------------------

  #receive(push, cursor = null) {
    const subscription = this.#subscriptions.get(push.channel);
    if (subscription || push.channel === undefined) this.#pushes[push.type]?.(push, subscription, cursor);
  }

  #pushes = {
    subscribed: (push, subscription) => {
      const { epoch, offset, isEstablished } = subscription;
      Object.assign(subscription, { epoch: push.epoch, isEstablished: true });
      if (push.epoch !== epoch) subscription.unechoed.clear();
      if (push.epoch !== epoch) subscription.offset = push.offset;
      else if (push.offset > offset) this.#tellHole(subscription, push.offset);
      if (!isEstablished) this.#tell("subscribed", subscription, push);
      this.#tellPosition(subscription, push.cursor);
    },
    message: (push, subscription, cursor) => {
      const { offset, isEstablished, unechoed } = subscription;
      if (!isEstablished || push.offset <= offset) return; // meant for an earlier subscription, or repeated
      const isUnwanted = unechoed.has(push.offset); // published by this client's last session
      if (push.offset > offset + 1) this.#tellHole(subscription, push.offset - 1);
      advance(subscription, push.offset);
      if (!isUnwanted) this.#tell("message", subscription, { ...push, transport: this.transport });
      this.#tellPosition(subscription, cursor);
    },
    gap: (push, subscription, cursor) => {
      if (!subscription.isEstablished) return;
      const isNewLog = push.reason === "epoch" || push.epoch !== subscription.epoch;
      if (isNewLog) subscription.unechoed.clear();
      const reached = isNewLog ? 0 : subscription.offset; // in a new log offsets begin anew
      Object.assign(subscription, { epoch: push.epoch, offset: reached });
      advance(subscription, push.to);
      const detail = { ...push, from: Math.max(push.from, reached + 1) };
      if (isNewLog || push.to > reached) this.#tell("gap", subscription, detail);
      this.#tellPosition(subscription, cursor);
    },
    joined: (push, subscription) => this.#tellMember("joined", subscription, push),
    left: (push, subscription) => this.#tellMember("left", subscription, push),
    presence: ({ channel, count }, subscription) => this.#tell("presence", subscription, { channel, count }),
    unsubscribed: ({ channel, reason }) => {
      this.#subscriptions.delete(channel);
      this.#emit("unsubscribed", { channel, reason: reason ?? "by the gateway" });
    },
    error: (push) => this.#emit("error", new GatewayError(push)),
    closing: ({ code, reason, reconnect, retry_after_ms: delayMs = null }) =>
      this.#lost({ code, reason, reconnect, delayMs: delayMs === null ? null : spread(delayMs) }),
  };

  /** Receive the answer to a poll as the pushes that a connection would have brought. */
  #take({ cursor, positions, messages, gaps }, subscriptions, signal) {
    const pushes = [...messages];
    for (const gap of gaps.toReversed()) {
      const isLater = ({ channel, from, offset = from }) => channel === gap.channel && offset > gap.to;
      const at = pushes.findIndex(isLater);
      pushes.splice(at < 0 ? pushes.length : at, 0, gap);
    }
    const begun = subscriptions.filter(({ isEstablished }) => !isEstablished);
    const replies = begun.map(({ channel, epoch }) => {
      const first = pushes.find((push) => push.channel === channel);
      const offset = first ? (first.offset ?? first.from) - 1 : positions[channel].offset;
      const recovered = epoch !== null && first?.type !== "gap";
      return { type: "subscribed", ...positions[channel], channel, offset, recovered };
    });
    // Where a handler ends the connection, the rest will be asked for again.
    for (const push of [...replies, ...pushes]) if (!signal.aborted) this.#receive(push);
    for (const subscription of subscriptions) if (!signal.aborted) this.#tellPosition(subscription, cursor);
  }

  #refuse(subscription, error) {
    const { channel } = subscription;
    this.#subscriptions.delete(channel);
    this.#tell("error", subscription, Object.assign(error, { channel }));
    this.#emit("unsubscribed", { channel, reason: error.message });
  }

  // --- telling ------------------------------------------------------------------------------------

  #setState(state, { reason = null, delayMs = null } = {}) {
    this.#state = state;
    this.#emit("state", { state, transport: this.transport, reason, delayMs });
  }

  /**
   * The gateway promises to announce every gap. Should it ever fail to, the offsets tell.
   *
   * What it leaves out as published without echo is no gap, though its answer may come later than what follows it.
   */
  #tellHole(subscription, to) {
    const { channel, epoch, offset, unansweredCount } = subscription;
    const missing = to - offset - advance(subscription, to);
    if (missing <= unansweredCount) return;
    this.#tell("gap", subscription, { channel, epoch, from: offset + 1, to, reason: "unannounced" });
  }

  #tellMember(event, subscription, push) {
    const { channel, user = null, session, count } = push;
    this.#tell(event, subscription, { channel, user, session, count });
    this.#tell("presence", subscription, { channel, count });
  }

  #tellPosition(subscription, cursor = null) {
    subscription.cursor = cursor;
    this.#emit("position", position(subscription));
  }

  #tell(event, { handlers }, detail) {
    try {
      handlers[`on${event[0].toUpperCase()}${event.slice(1)}`]?.(detail);
    } catch (error) {
      reportError(error); // a faulty handler must not stop the stream
    }
    this.#emit(event, detail);
  }

  #emit(event, detail) {
    this.dispatchEvent(new CustomEvent(event, { detail }));
  }

  // --- HTTP ---------------------------------------------------------------------------------------

  #parse(text) {
    return JSON.parse(text, this.#options.reviver);
  }

  async #publishOnce(channel, text, echo) {
    if (!this.#isAskable) {
      const headers = { "Content-Type": "application/json", ...bearer(this.apiKey ?? this.#options.token) };
      return this.#fetch("publish", { method: "POST", body: text, headers });
    }
    if (echo) return this.#link.ask("publish", text);
    const subscription = this.#subscriptions.get(channel);
    if (subscription) subscription.unansweredCount += 1;
    try {
      const place = await this.#link.ask("publish", `${text.slice(0, -1)},"echo":false}`);
      if (subscription?.isEstablished && place.epoch === subscription.epoch && place.offset > subscription.offset) {
        subscription.unechoed.add(place.offset);
        if (advance(subscription, subscription.offset)) this.#tellPosition(subscription);
      }
      return place;
    } finally {
      if (subscription) subscription.unansweredCount -= 1;
    }
  }

  get #isAskable() {
    return this.#link !== null && this.#state === "connected";
  }

  #read(what, channel, options) {
    return persist(async () => {
      const ask = () => this.#link.ask(what, JSON.stringify({ channel, ...options }));
      const { id, type, ...page } = await (this.#isAskable ? ask() : this.#get(what, channel, options));
      return page;
    });
  }

  #get(what, channel, options, signal) {
    const given = Object.entries(options).filter(([, value]) => value !== undefined && value !== null);
    const path = `channels/${encodeURIComponent(channel)}/${what}?${new URLSearchParams(given)}`;
    return this.#fetch(path, { cache: "no-store", headers: bearer(this.#options.token), signal });
  }

  #poll(subscriptions, timeoutS, signal) {
    const init = { cache: "no-store", headers: bearer(this.#options.token), signal };
    return this.#fetch(`poll?${query(subscriptions, "disconnect")}&timeout=${timeoutS}`, init, timeoutS);
  }

  #fetch(path, { signal = null, ...init }, timeoutS = 0) {
    const limit = AbortSignal.timeout(1000 * timeoutS + ANSWER_TIMEOUT_MS);
    const both = signal ? AbortSignal.any([signal, limit]) : limit;
    return fetchJson(new URL(path, this.#base), { ...init, signal: both }, (text) => this.#parse(text));
  }
}

function checkTransports(transport) {
  const transports = [transport].flat();
  const unknown = transports.filter((name) => !TRANSPORTS.includes(name));
  if (unknown.length || !transports.length) throw new TypeError(`unknown transport ${unknown}; one of ${TRANSPORTS}`);
  return transports;
}

function position({ channel, epoch, offset, cursor }) {
  return { channel, epoch, offset, cursor };
}

/** Move a subscription to an offset, and over what it shall not hear behind that; return how much it shall not hear. */
function advance(subscription, to) {
  const { unechoed } = subscription;
  let count = 0;
  for (const offset of unechoed) if (offset <= to && unechoed.delete(offset)) count += 1;
  subscription.offset = Math.max(subscription.offset, to);
  for (; unechoed.delete(subscription.offset + 1); count++) subscription.offset += 1;
  return count;
}

/** Where to go on in the channels of subscriptions, of which all have a position or none has. */
function query(subscriptions, withoutOverflow = null) {
  const isLocated = subscriptions.every(({ epoch }) => epoch !== null);
  const names = isLocated ? ["channel", "epoch", "offset"] : ["channel"];
  const pairs = subscriptions.flatMap((one) => names.map((name) => [name, one[name]]));
  const [overflow, ...others] = new Set(subscriptions.map((one) => one.overflow));
  if (overflow && !others.length && overflow !== withoutOverflow) pairs.push(["overflow", overflow]);
  return new URLSearchParams(pairs);
}

function bearer(credential) {
  return credential ? { Authorization: `Bearer ${credential}` } : {};
}

/** 16 random bytes as text; crypto.randomUUID exists with HTTPS only. */
function randomKey() {
  return btoa(String.fromCharCode(...crypto.getRandomValues(new Uint8Array(16))));
}
