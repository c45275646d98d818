/** Asking the gateway: what it refuses, when to ask again, and its answers over HTTP. */

export const ANSWER_TIMEOUT_MS = 10_000; // for any answer that nothing but the network delays

const BACKOFF_MS = 500; // the first delay; doubled each time
const MAX_BACKOFF_MS = 30_000;
// How long, and how often, the same is asked for again: well within the 300 s for which a gateway remembers
// an idempotency key unless it is told otherwise, and as long as somebody may wait for an answer.
const PERSIST_MS = 60_000;
const MAX_ATTEMPTS = 10;

/**
 * What the gateway refused, or what kept a request from it.
 *
 * retry tells whether the same may succeed later, retryAfterMs how long to wait for that, where it is known.
 * epoch and offset are where the channel ends, where that is not what expectedOffset said.
 */
export class GatewayError extends Error {
  constructor({ code, message, retry = false, retry_after_ms: retryAfterMs = null, epoch = null, offset = null }) {
    super(message);
    Object.assign(this, { name: "GatewayError", code, retry, retryAfterMs, epoch, offset, channel: null });
  }
}

/** Milliseconds to wait, at random between half and all of a doubling span, so that clients do not return in step. */
export function backoff(attempt) {
  const span = Math.min(MAX_BACKOFF_MS, BACKOFF_MS * 2 ** attempt);
  return span * (0.5 + Math.random() / 2);
}

/** Milliseconds to wait where the gateway has named some: never less, up to half more. */
export function spread(askedMs) {
  return askedMs * (1 + Math.random() / 2);
}

/** Return what attempt returns, called again while it fails for what may pass; throw its last error. */
export async function persist(attempt) {
  const until = performance.now() + PERSIST_MS;
  for (let count = 1; ; count++) {
    try {
      return await attempt();
    } catch (error) {
      const delayMs = Math.max(spread(error.retryAfterMs ?? 0), backoff(count - 1));
      if (!error.retry || count === MAX_ATTEMPTS || performance.now() + delayMs > until) throw error;
      await new Promise((resolve) => setTimeout(resolve, delayMs));
    }
  }
}

/** Return the JSON that a URL answers, read by parse; throw a GatewayError where that is no success. */
export async function fetchJson(url, init, parse) {
  const response = await fetch(url, init).catch((error) => {
    const message = `the gateway cannot be reached (${error.message})`;
    throw new GatewayError({ code: "unreachable", message, retry: true });
  });
  const body = await response.text().then(parse).catch(() => null);
  const { ok, status } = response;
  if (ok && body !== null) return body;
  const retry = ok || status >= 500 || status === 408 || status === 429;
  const retryAfterMs = 1000 * response.headers.get("Retry-After") || null;
  const message = `the answer had status ${status} and was not the gateway's`;
  throw new GatewayError({ code: `http_${status}`, message, retry, retry_after_ms: retryAfterMs, ...body });
}
