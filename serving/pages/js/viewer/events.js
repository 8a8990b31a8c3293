/**
 * What the viewer did, on its way to the API. Events wait in a bounded queue that survives reloads and outages, go out in
 * batches every few seconds, and by beacon when the page is left. Each carries an id of its own and the stream drops
 * duplicates, so whatever may not have arrived is simply sent again.
 */

import { ApiError } from "../http.js";
import { interact } from "./api.js";
import { sessionId, storage, viewerId } from "./identity.js";

const FLUSH_EVERY_MS = 3_000;
const BATCH = 100;
// A day of one viewer's events, or an hour's outage of a busy one: 250 bytes each, well inside what browsers keep for a site.
const KEPT = 1_000;
// Browsers refuse beacons that together are past 64 KiB.
const BEACON_EVENTS = 180;
const LONGEST_WAIT_MS = 30_000;
const KEY = "headwater.queue.";

export class EventQueue {
  /** @param {(state: {waiting: number, error: ApiError | null}) => void} onState told after each attempt */
  constructor(onState) {
    this.onState = onState;
    this.key = KEY + crypto.randomUUID();
    this.events = this.#adopt();
    this.inFlight = new Set();
    this.failures = 0;
    this.notBefore = 0;
    this.dropped = 0;
    this.saving = 0;
    /** @type {string | undefined} the newest event of the last beacon */
    this.beaconed = undefined;
  }

  /** Send every few seconds from now on, and what is left when the page is hidden or left. */
  start() {
    setInterval(() => this.flush(), FLUSH_EVERY_MS);
    addEventListener("online", () => this.retry());
    this.flush();
  }

  /**
   * @param {string} action
   * @param {import("./feed.js").Card} card
   * @param {number | null} [watchMs]
   * @returns {object} the event, which is in the queue now
   */
  add(action, card, watchMs = null) {
    const event = {
      event_id: crypto.randomUUID(),
      user_id: viewerId(),
      session_id: sessionId(),
      video_id: card.item.video_id,
      action,
      occurred_at: Date.now(),
    };
    // A card that no page brought has no place that feedback could be joined to.
    if (card.requestId) Object.assign(event, { request_id: card.requestId, position: card.item.position });
    if (watchMs !== null) event.watch_ms = Math.round(watchMs);
    this.events.push(event);
    if (this.events.length > KEPT) {
      this.#forget([(this.events.find((each) => !DELIBERATE.has(each.action)) ?? this.events[0]).event_id]);
      this.dropped += 1;
    }
    this.#save();
    return event;
  }

  /**
   * Send one event by itself, at once, with its trace: a tap that the viewer waits for.
   * @param {object} event
   * @param {import("./api.js").Trace} trace
   * @throws {ApiError} it stays in the queue, and is sent later
   */
  async sendNow(event, trace) {
    await this.#send([event], { trace });
  }

  /** Send what waits, unless the API asked for a pause that is not over. */
  async flush() {
    const waiting = this.events.filter((event) => !this.inFlight.has(event.event_id)).slice(0, BATCH);
    if (!waiting.length || this.inFlight.size > BATCH || Date.now() < this.notBefore) return;
    try {
      await this.#send(waiting, {});
      if (waiting.length === BATCH) await this.flush();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
    }
  }

  /** Forget the pause: something says that the API is back. */
  retry() {
    this.notBefore = 0;
    this.flush();
  }

  /** Hand what waits to the browser, which sends it though the page goes away. It stays kept: nobody hears if it arrived. */
  beacon() {
    this.#write();
    const newest = this.events.slice(-BEACON_EVENTS);
    // A page that goes away is hidden first, and tells both.
    const last = newest.at(-1)?.event_id;
    if (!last || last === this.beaconed) return;
    this.beaconed = last;
    navigator.sendBeacon("/v1/interactions", new Blob([JSON.stringify(newest)], { type: "application/json" }));
  }

  /** Drop what waits for a viewer who was erased: sent, it would bring the viewer back. @param {string} userId */
  forgetViewer(userId) {
    this.#forget(this.events.filter((event) => event.user_id === userId).map((event) => event.event_id));
  }

  async #send(batch, options) {
    const ids = batch.map((event) => event.event_id);
    for (const id of ids) this.inFlight.add(id);
    try {
      await interact(batch, options);
      this.#forget(ids);
      this.failures = 0;
      this.notBefore = 0;
      this.onState({ waiting: this.events.length, error: null });
    } catch (error) {
      if (error instanceof ApiError) this.#refused(error, ids);
      throw error;
    } finally {
      for (const id of ids) this.inFlight.delete(id);
    }
  }

  /** @param {ApiError} error @param {string[]} ids */
  #refused(error, ids) {
    if (error.passing || error.status === 401 || error.status === 403) {
      // Doubling with chance in it: after an outage all viewers must not come back in the same second.
      const wait = Math.min(LONGEST_WAIT_MS, 1_000 * 2 ** this.failures) * (0.5 + Math.random() / 2);
      this.notBefore = Date.now() + Math.max(wait, error.retryAfterMs ?? 0);
      this.failures += 1;
    } else {
      // It would be refused for ever: a bad event must not hold up those behind it.
      const bad = error.index === undefined ? ids : [ids[error.index]];
      this.#forget(bad);
      this.dropped += bad.length;
    }
    this.onState({ waiting: this.events.length, error });
  }

  #forget(ids) {
    const gone = new Set(ids);
    this.events = this.events.filter((event) => !gone.has(event.event_id));
    this.#save();
  }

  #save() {
    // Written a moment later, with what follows at once: a card left writes three events.
    this.saving ||= setTimeout(() => this.#write(), 100);
  }

  #write() {
    clearTimeout(this.saving);
    this.saving = 0;
    if (this.events.length) storage.set(this.key, JSON.stringify(this.events));
    else storage.remove(this.key);
  }

  /** Take over what earlier pages left; another open page may send the same, which does no harm. */
  #adopt() {
    const found = [];
    for (const key of storage.keys(KEY)) {
      try {
        found.push(...JSON.parse(storage.get(key) ?? "[]"));
      } catch {
        /* not ours, or cut short by a full disk */
      }
      storage.remove(key);
    }
    if (found.length) storage.set(this.key, JSON.stringify(found.slice(-KEPT)));
    return found.slice(-KEPT);
  }
}

// What viewers meant to say; where the queue overflows, what they merely watched goes first.
const DELIBERATE = new Set(["like", "unlike", "share", "not_interested"]);
