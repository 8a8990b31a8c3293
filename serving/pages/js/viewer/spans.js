/**
 * The viewer's own taps as the stream saw them: spans of sampled traces, pushed by the API as they end. Only the traces that this
 * page began are kept, and only the last few.
 *
 * @typedef {object} Span
 * @property {string} trace_id
 * @property {string} name
 * @property {string} process
 * @property {number} started_at Unix ms with its fraction
 * @property {number} took_ms
 * @property {Record<string, string>} attributes
 */

const KEPT = 12;
const AGAIN_AFTER_MS = 10_000;

export class Spans extends EventTarget {
  constructor() {
    super();
    /** @type {Map<string, Span[]>} */
    this.traces = new Map();
    /** @type {EventSource | null} */
    this.source = null;
    this.timer = 0;
  }

  /** @returns {boolean} whether spans can arrive */
  get open() {
    return this.source?.readyState === EventSource.OPEN;
  }

  /** Follow a viewer, and no one else any more. @param {string} userId */
  follow(userId) {
    clearTimeout(this.timer);
    this.source?.close();
    this.source = new EventSource(`/v1/users/${encodeURIComponent(userId)}/spans`);
    this.source.addEventListener("span", (event) => this.#take(JSON.parse(event.data)));
    this.source.addEventListener("error", () => {
      // The browser tries again by itself after a lost connection, but not after an answer that was an error.
      if (this.source?.readyState === EventSource.CLOSED) this.timer = setTimeout(() => this.follow(userId), AGAIN_AFTER_MS);
    });
  }

  /** Keep what comes of this trace. @param {string} traceId @returns {Span[]} the list it is kept in */
  begin(traceId) {
    const spans = [];
    this.traces.set(traceId, spans);
    for (const oldest of [...this.traces.keys()].slice(0, -KEPT)) this.traces.delete(oldest);
    return spans;
  }

  /**
   * @param {string} traceId
   * @param {string} name
   * @param {number} timeoutMs
   * @returns {Promise<boolean>} whether such a span came in time
   */
  waitFor(traceId, name, timeoutMs) {
    const came = () => this.traces.get(traceId)?.some((span) => span.name === name) ?? false;
    if (came()) return Promise.resolve(true);
    return new Promise((resolve) => {
      const done = (value) => {
        clearTimeout(timer);
        this.removeEventListener("span", check);
        resolve(value);
      };
      const check = () => came() && done(true);
      const timer = setTimeout(() => done(false), timeoutMs);
      this.addEventListener("span", check);
    });
  }

  #take(span) {
    const spans = this.traces.get(span.trace_id);
    if (!spans) return;
    spans.push(span);
    this.dispatchEvent(new Event("span"));
  }
}
