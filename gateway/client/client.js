/**
 * The browser client of the gateway, without dependencies. (Above 400 lines, because a page shall need one import.)
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

export const TRANSPORTS = ["websocket", "sse", "longpoll"];

const BACKOFF_MS = 500; // the first delay; doubled each time
const MAX_BACKOFF_MS = 30_000;
const STABLE_MS = 10_000; // a connection that lived this long starts the backoff anew
const ANSWER_TIMEOUT_MS = 10_000; // for a handshake, a pong, and a poll beyond its own timeout
const WATCH_MS = 5_000;
const POLL_TIMEOUT_S = 25; // below the 60 s that common proxies let a request idle
const EMPTY_POLL_PAUSE_MS = 1_000;

/** What the gateway refused, or what kept a request from it; retry tells whether to try again. */
export class GatewayError extends Error {
  constructor({ code, message, retry = false, retryAfterMs = null }) {
    super(message);
    Object.assign(this, { name: "GatewayError", code, retry, retryAfterMs, channel: null });
  }
}

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
 * - `subscribed`: {channel, epoch, offset, recovered}; `unsubscribed`: {channel, reason}
 * - `message`: {channel, offset, data, ..., transport}; `gap`: {channel, epoch, from, to, reason}
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
  #tried = 0; // how many failed in this round
  #subscriptions = new Map(); // by channel
  #cursor = { text: null, channels: new Set() }; // the newest over several channels, and which
  #isWanted = false;
  #state = "closed";
  #link = null; // the connection in use: {stop}, on WebSocket also {subscribe, unsubscribe, publish}
  #timer = null;
  #attempts = 0;
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
  close() {
    this.#end("closed by this page");
  }

  /** Connect anew at once, instead of waiting or to replace a connection that may be dead. */
  reconnect() {
    if (this.#isWanted) this.#open();
  }

  /** Cut the connection as a failing network would; reconnect after delayMs, or after the backoff. */
  drop(delayMs = null) {
    if (this.#link) this.#lost({ reason: "dropped by this page", delayMs });
  }

  /** Go on from the positions reached over another transport, or an ordered list of them. */
  switchTransport(transport) {
    this.#transports = checkTransports(transport);
    this.#index = this.#preferred = this.#tried = this.#attempts = 0;
    this.reconnect();
  }

  /**
   * Receive a channel from now on, or from the epoch and offset that an earlier page kept.
   *
   * onMessage, onGap, onSubscribed and onError get what the events of those names carry.
   */
  subscribe(channel, { epoch = null, offset = null, ...handlers } = {}) {
    if (this.#subscriptions.has(channel)) throw new Error(`already subscribed to ${channel}`);
    const subscription = { channel, epoch, offset, cursor: null, handlers, isEstablished: false };
    this.#subscriptions.set(channel, subscription);
    if (this.#link?.subscribe) this.#link.subscribe(subscription);
    else if (this.transport !== "websocket") this.reconnect(); // the channels are part of the address
  }

  unsubscribe(channel) {
    if (!this.#forget(channel)) return;
    this.#emit("unsubscribed", { channel, reason: "as asked" });
    if (this.#link?.unsubscribe) this.#link.unsubscribe(channel);
    else if (this.transport !== "websocket") this.reconnect();
  }

  /** Publish data, any JSON value; returns its {channel, epoch, offset}, or throws a GatewayError. */
  async publish(channel, data, extra = {}) {
    const publication = { channel, data, ...extra };
    if (this.#link?.publish && this.#state === "connected") return this.#link.publish(publication);
    const headers = { "Content-Type": "application/json", ...bearer(this.apiKey ?? this.#options.token) };
    return this.#fetch("publish", { method: "POST", body: JSON.stringify(publication), headers });
  }

  // --- connecting ---------------------------------------------------------------------------------

  #open() {
    this.#leave();
    if (this.transport !== "websocket" && this.#subscriptions.size === 0) {
      return this.#setState("idle", { reason: "no channel to listen to" });
    }
    for (const subscription of this.#subscriptions.values()) subscription.isEstablished = false;
    this.#setState("connecting");
    this.#link = this.#links[this.transport]();
  }

  #leave(reason = "replaced by another") {
    clearTimeout(this.#timer);
    this.#link?.stop(reason);
    this.#link = null;
  }

  #end(reason) {
    this.#isWanted = false;
    for (const change of ["online", "offline"]) globalThis.removeEventListener?.(change, this.#refresh);
    this.#leave(reason);
    this.#setState("closed", { reason });
  }

  #connected() {
    if (this.#state === "connected") return;
    this.#preferred = this.#index;
    this.#tried = 0;
    this.#connectedAt = performance.now();
    this.#setState("connected");
  }

  /** Go on after the end of the link: delayMs is when, atLeastMs only bounds the backoff. */
  #lost({ reason, code = null, reconnect = true, delayMs = null, atLeastMs = 0 }) {
    const hasWorked = this.#state === "connected";
    this.#leave(reason);
    if (!reconnect || (code >= 3500 && code <= 3999)) return this.#end(reason);
    if (!hasWorked && ++this.#tried < this.#transports.length) {
      this.#index = (this.#index + 1) % this.#transports.length;
      return this.#open();
    }
    this.#tried = 0;
    this.#index = this.#preferred;
    if (hasWorked && performance.now() - this.#connectedAt > STABLE_MS) this.#attempts = 0;
    const delay = Math.round(delayMs ?? Math.max(atLeastMs, backoff(this.#attempts++)));
    this.#setState("reconnecting", { reason, delayMs: delay });
    this.#timer = setTimeout(() => this.#open(), delay);
  }

  #links = {
    websocket: () => this.#openWebSocket(),
    sse: () => this.#openSse(),
    longpoll: () => this.#openLongPoll(),
  };

  // --- transports: each returns the link that #link holds -----------------------------------------

  #openWebSocket() {
    const socket = new WebSocket(new URL("ws", this.#base.href.replace(/^http/, "ws")), ["gateway.v1.json"]);
    const pending = new Map(); // by command id: settle(reply), and abandon(error) for a reply that will not come
    let lastId = 0;
    let isReady = false;
    let pingIntervalMs = 0;
    let heardAt = 0;
    let awaitingSince = performance.now(); // the welcome, later a pong; null while nothing is owed

    const send = (command, settle = () => {}, abandon = () => {}) => {
      pending.set(++lastId, { settle, abandon });
      socket.send(JSON.stringify({ id: lastId, ...command }));
    };
    const subscribe = (subscription) => {
      const { channel } = subscription;
      const isCurrent = () => isReady && this.#subscriptions.get(channel) === subscription;
      if (!isCurrent()) return; // before the welcome, which subscribes to everything; or given up
      send({ type: "subscribe", channel, ...this.#resumeFields(subscription) }, (reply) => {
        if (!isCurrent()) return;
        if (reply.type !== "error") this.#receive(reply);
        else if (reply.retry) setTimeout(subscribe, backoff(2), subscription);
        else this.#refuse(subscription, new GatewayError(reply));
      });
    };
    const begin = () => {
      isReady = true;
      const subscriptions = [...this.#subscriptions.values()];
      this.#connected();
      subscriptions.forEach(subscribe);
    };
    const welcome = ({ ping_interval: intervalS }) => {
      const { token } = this.#options;
      pingIntervalMs = 1000 * (intervalS || POLL_TIMEOUT_S);
      if (!token) return begin();
      send({ type: "auth", token }, (reply) => {
        if (reply.type !== "error") begin();
        else this.#lost({ reason: reply.message, reconnect: reply.retry });
      });
    };
    socket.onmessage = ({ data }) => {
      heardAt = performance.now();
      awaitingSince = null;
      const push = this.#parse(data);
      const command = pending.get(push.id);
      pending.delete(push.id);
      if (command) command.settle(push);
      else if (push.type === "welcome") welcome(push);
      else this.#receive(push);
    };
    socket.onclose = ({ code, reason }) =>
      this.#lost({ code, reason: reason || `the connection closed with code ${code}` });
    // Scripts do not see the pings of WebSocket, so silence is answered with a ping of the client protocol.
    const watch = setInterval(() => {
      const now = performance.now();
      if (awaitingSince === null && now - heardAt > pingIntervalMs) {
        awaitingSince = now;
        send({ type: "ping" });
      } else if (awaitingSince !== null && now - awaitingSince > ANSWER_TIMEOUT_MS) {
        this.#lost({ reason: "the gateway does not answer" });
      }
    }, WATCH_MS);

    return {
      subscribe,
      unsubscribe: (channel) => isReady && send({ type: "unsubscribe", channel }),
      publish: (publication) =>
        new Promise((resolve, reject) => {
          const settle = (reply) => (reply.type === "error" ? reject(new GatewayError(reply)) : resolve(reply));
          send({ type: "publish", ...publication }, settle, reject);
        }),
      stop: (reason) => {
        isReady = false;
        clearInterval(watch);
        socket.onmessage = socket.onclose = null;
        socket.close();
        const message = `it may have been published, but the connection ended before the reply: ${reason}`;
        for (const { abandon } of pending.values()) {
          abandon(new GatewayError({ code: "disconnected", message, retry: true }));
        }
      },
    };
  }

  #openSse() {
    const abort = new AbortController();
    const { signal } = abort;
    const subscriptions = [...this.#subscriptions.values()];
    let source = null;
    let hasOpened = false; // since it was made or last failed
    const receive = ({ type, data, lastEventId }) => {
      if (type === "subscribed") this.#connected();
      this.#receive(this.#parse(data), lastEventId || null, subscriptions);
    };
    const fail = async () => {
      const isRetrying = source.readyState === EventSource.CONNECTING;
      if (isRetrying && hasOpened) {
        hasOpened = false; // it reconnects once with Last-Event-ID, after the delay the gateway chose by `retry:`
        return this.#setState("reconnecting", { reason: "the stream broke off" });
      }
      const failure = { code: "no_stream", message: "the event stream cannot be opened", retry: true };
      // EventSource hides what a refusal says; a poll that answers at once has it said again.
      const asked = isRetrying ? null : this.#poll(this.#query(subscriptions), 0, signal);
      const refusal = await asked?.then(() => null, (error) => error);
      this.#failed(refusal ?? new GatewayError(failure), signal);
    };
    const start = (query) => {
      if (signal.aborted) return;
      source = new EventSource(new URL(`sse?${query}`, this.#base));
      source.onopen = () => (hasOpened = true);
      for (const type of ["message", "subscribed", "gap", "unsubscribed", "closing"]) {
        source.addEventListener(type, receive);
      }
      // A failure of the stream and an `error` the gateway sends are both events of this name; one has data.
      source.addEventListener("error", (event) => (event.data === undefined ? fail() : receive(event)));
    };
    this.#resumeQuery(subscriptions, signal).then(start, (error) => this.#failed(error, signal));
    return {
      stop: () => {
        abort.abort();
        source?.close();
      },
    };
  }

  #openLongPoll() {
    const abort = new AbortController();
    const { signal } = abort;
    const subscriptions = [...this.#subscriptions.values()];
    const run = async () => {
      let timeoutS = 0; // the first answers at once: it proves the connection and brings a cursor
      while (!signal.aborted) {
        const startedAt = performance.now();
        const answer = await this.#poll(await this.#resumeQuery(subscriptions, signal), timeoutS, signal);
        if (signal.aborted) return; // unread, so it will be asked for again
        this.#connected();
        this.#answer(answer, subscriptions);
        const isEarly = timeoutS > 0 && performance.now() - startedAt < EMPTY_POLL_PAUSE_MS;
        const isEmpty = answer.messages.length + answer.gaps.length === 0;
        if (isEarly && isEmpty) await new Promise((resolve) => setTimeout(resolve, EMPTY_POLL_PAUSE_MS));
        timeoutS = POLL_TIMEOUT_S;
      }
    };
    run().catch((error) => this.#failed(error, signal));
    return { stop: () => abort.abort() };
  }

  /** Deal with a request that failed: over HTTP one refused channel fails it for all, so each is asked for. */
  async #failed(error, signal) {
    let isRefused = false;
    for (const subscription of error.retry ? [] : [...this.#subscriptions.values()]) {
      if (signal.aborted) return;
      const query = this.#query([subscription]);
      await this.#poll(query, 0, signal).catch((refusal) => {
        if (!signal.aborted && !refusal.retry) isRefused = this.#refuse(subscription, refusal) || isRefused;
      });
    }
    if (signal.aborted) return;
    if (isRefused) return this.#open();
    if (!error.retry) this.#emit("error", error); // about all of them together, such as too many
    this.#lost({ reason: error.message, atLeastMs: error.retryAfterMs });
  }

  // --- positions ----------------------------------------------------------------------------------

  #hasCursor({ channel }) {
    return this.#cursor.channels.has(channel);
  }

  /** Where to go on in one channel, as fields of `subscribe`. */
  #resumeFields(subscription) {
    const { epoch, offset } = subscription;
    if (epoch !== null) return { epoch, offset };
    return this.#hasCursor(subscription) ? { cursor: this.#cursor.text } : {};
  }

  /**
   * Where to go on in all channels, as a query: a position for each, or one cursor, which starts a channel that it does
   * not hold from now. So where new channels join known ones, a poll that answers at once exchanges the positions of
   * those for a cursor; unless there are channels that only the last cursor knows, because polls tell no epoch.
   */
  async #resumeQuery(subscriptions, signal) {
    const known = subscriptions.filter(({ epoch }) => epoch !== null);
    const isByCursor = subscriptions.some((one) => one.epoch === null && this.#hasCursor(one));
    if (!isByCursor && known.length > 0 && known.length < subscriptions.length) {
      this.#answer(await this.#poll(this.#query(known), 0, signal), known);
    }
    return this.#query(subscriptions);
  }

  #query(subscriptions) {
    const query = new URLSearchParams(subscriptions.map(({ channel }) => ["channel", channel]));
    if (subscriptions.every(({ epoch }) => epoch !== null)) {
      for (const { epoch, offset } of subscriptions) {
        query.append("epoch", epoch);
        query.append("offset", offset);
      }
    } else if (subscriptions.some((one) => this.#hasCursor(one))) {
      query.append("cursor", this.#cursor.text);
    }
    return query;
  }

  #keepCursor(text, subscriptions) {
    this.#cursor = { text, channels: new Set(subscriptions.map(({ channel }) => channel)) };
  }

  // --- receiving ----------------------------------------------------------------------------------

  #receive(push, cursor = null, subscriptions = []) {
    if (cursor) this.#keepCursor(cursor, subscriptions);
    const subscription = this.#subscriptions.get(push.channel);
    if (subscription || push.channel === undefined) this.#pushes[push.type]?.(push, subscription, cursor);
  }

  #pushes = {
    subscribed: (push, subscription) => {
      const { epoch, offset } = subscription;
      // One taken up by a cursor learns only here which epoch its offset belongs to.
      const isSameLog = epoch === null ? push.recovered : epoch === push.epoch;
      subscription.isEstablished = true;
      subscription.epoch = push.epoch;
      if (!isSameLog || offset === null) subscription.offset = push.offset;
      else if (push.offset > offset) this.#tellHole(subscription, push.offset);
      this.#tell("subscribed", subscription, push);
      this.#tellPosition(subscription, push.cursor);
    },
    message: (push, subscription, cursor) => {
      if (!subscription.isEstablished) return; // meant for an earlier subscription to the same channel
      const { offset } = subscription;
      if (offset !== null && push.offset <= offset) return; // repeated
      if (offset !== null && push.offset > offset + 1) this.#tellHole(subscription, push.offset - 1);
      subscription.offset = push.offset;
      this.#tell("message", subscription, { ...push, transport: this.transport });
      this.#tellPosition(subscription, cursor);
    },
    gap: (push, subscription, cursor) => {
      const reached = push.reason === "epoch" ? 0 : (subscription.offset ?? 0); // with a new epoch offsets begin anew
      const isNews = push.to > reached || push.reason === "epoch";
      subscription.epoch = push.epoch;
      subscription.offset = Math.max(reached, push.to);
      if (isNews) this.#tell("gap", subscription, { ...push, from: Math.max(push.from, reached + 1) });
      this.#tellPosition(subscription, cursor);
    },
    unsubscribed: ({ channel, reason }) => {
      this.#forget(channel);
      this.#emit("unsubscribed", { channel, reason: reason ?? "by the gateway" });
    },
    error: (push) => this.#emit("error", new GatewayError(push)),
    closing: ({ code, reason, reconnect, retry_after_ms: delayMs = null }) =>
      this.#lost({ code, reason, reconnect, delayMs }),
  };

  /** Take in the answer to a poll, whose messages and gaps come in two lists, in the order of offsets. */
  #answer({ cursor, messages, gaps }, subscriptions) {
    for (const subscription of subscriptions.filter(({ isEstablished }) => !isEstablished)) {
      subscription.isEstablished = true;
      this.#tell("subscribed", subscription, { ...position(subscription), recovered: null });
    }
    for (const gap of gaps.filter(({ reason }) => reason === "epoch")) this.#receive(gap);
    let waiting = gaps.filter(({ reason }) => reason !== "epoch");
    for (const message of messages) {
      const isDue = (gap) => gap.channel === message.channel && gap.from < message.offset;
      for (const gap of waiting.filter(isDue)) this.#receive(gap);
      waiting = waiting.filter((gap) => !isDue(gap));
      this.#receive(message);
    }
    for (const gap of waiting) this.#receive(gap);
    this.#keepCursor(cursor, subscriptions);
    for (const subscription of subscriptions) this.#tellPosition(subscription, cursor);
  }

  #refuse(subscription, error) {
    const { channel } = subscription;
    if (this.#subscriptions.get(channel) !== subscription) return false;
    this.#forget(channel);
    this.#tell("error", subscription, Object.assign(error, { channel }));
    this.#emit("unsubscribed", { channel, reason: error.message });
    return true;
  }

  #forget(channel) {
    this.#cursor.channels.delete(channel);
    return this.#subscriptions.delete(channel);
  }

  // --- telling ------------------------------------------------------------------------------------

  #setState(state, { reason = null, delayMs = null } = {}) {
    this.#state = state;
    this.#emit("state", { state, transport: this.transport, reason, delayMs });
  }

  /** The gateway promises to announce every gap. Should it ever fail to, the offsets tell. */
  #tellHole(subscription, to) {
    const { channel, epoch, offset } = subscription;
    subscription.offset = to;
    this.#tell("gap", subscription, { channel, epoch, from: offset + 1, to, reason: "unannounced" });
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

  #poll(query, timeoutS, signal) {
    const limit = AbortSignal.timeout(1000 * timeoutS + ANSWER_TIMEOUT_MS);
    const init = { cache: "no-store", headers: bearer(this.#options.token), signal: AbortSignal.any([signal, limit]) };
    return this.#fetch(`poll?${query}&timeout=${timeoutS}`, init);
  }

  async #fetch(path, init) {
    let response = null;
    let body = null;
    try {
      response = await fetch(new URL(path, this.#base), init);
      body = this.#parse(await response.text());
    } catch (error) {
      const message = `the gateway cannot be reached (${error.message})`;
      if (!response) throw new GatewayError({ code: "unreachable", message, retry: true });
    }
    if (response.ok && body !== null) return body;
    const { ok, status } = response;
    const retry = ok || status >= 500 || status === 408 || status === 429;
    const retryAfterMs = 1000 * response.headers.get("Retry-After") || null;
    const message = `the answer had status ${status} and was not the gateway's`;
    throw new GatewayError({ code: `http_${status}`, message, retry, ...body, retryAfterMs });
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

function bearer(credential) {
  return credential ? { Authorization: `Bearer ${credential}` } : {};
}

/** Milliseconds to wait, at random between half and all of a doubling span, so that clients do not return in step. */
function backoff(attempt) {
  const span = Math.min(MAX_BACKOFF_MS, BACKOFF_MS * 2 ** attempt);
  return span * (0.5 + Math.random() / 2);
}
