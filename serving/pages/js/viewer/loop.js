/**
 * A tap's way round: sent at once with a trace of its own, followed through the stream, and then the part of the feed that was
 * not seen yet asked for anew under the same trace, so that the next swipe shows what the tap did.
 *
 * @typedef {import("./card.js").Card} Card
 *
 * @typedef {object} Round one tap, and what came of it so far
 * @property {string} traceId
 * @property {"like" | "unlike" | "share" | "not_interested" | "wish"} kind
 * @property {string} about the video's title, or the wish
 * @property {import("./spans.js").Span[]} spans
 * @property {number | null} acceptedMs from the tap to the API's answer, by this device's clock
 * @property {number | null} pageMs from the tap to the renewed page
 * @property {Card[]} changed cards that come because of it
 * @property {number} next how many videos the renewed page has
 * @property {string[]} reasons what the renewed page says of its videos
 * @property {string} trouble why it got no further
 */

import { ApiError } from "../http.js";
import * as api from "./api.js";
import { viewerId } from "./identity.js";

// The profile flow needs 10 to 30 ms; where no span tells, this is long enough for nearly all.
const FEATURES_WITHIN_MS = 300;
// A plan is made off the request path, within about a second.
const PLAN_WITHIN_MS = 1_500;
const ROUNDS_KEPT = 6;

const CAUSES = {
  like: "New since your like",
  unlike: "New since you took a like back",
  share: "New since you shared",
  not_interested: "New since you said no",
  wish: "New since your wish",
};

export class Loop extends EventTarget {
  /**
   * @param {import("./feed.js").Feed} feed
   * @param {import("./events.js").EventQueue} queue
   * @param {import("./spans.js").Spans} spans
   */
  constructor(feed, queue, spans) {
    super();
    this.feed = feed;
    this.queue = queue;
    this.spans = spans;
    /** @type {Round[]} newest first */
    this.rounds = [];
  }

  /**
   * @param {"like" | "unlike" | "share" | "not_interested"} action
   * @param {Card} card
   * @param {number | null} watchMs
   * @returns {Promise<Round>}
   */
  async tap(action, card, watchMs = null) {
    const event = this.queue.add(action, card, watchMs);
    return this.#round(action, card.item.title, async (round, trace) => {
      await this.queue.sendNow(event, trace);
      this.#accepted(round);
      await this.spans.waitFor(trace.id, "profile.write", FEATURES_WITHIN_MS);
      await this.#renew(round, trace);
    });
  }

  /** @param {string} text what the viewer wants, in words @returns {Promise<Round>} */
  async wish(text) {
    const instruction = { event_id: crypto.randomUUID(), user_id: viewerId(), text, occurred_at: Date.now() };
    return this.#round("wish", text, async (round, trace) => {
      await api.instruct(instruction, trace);
      this.#accepted(round);
      const planned = await this.spans.waitFor(trace.id, "plan.received", PLAN_WITHIN_MS);
      await this.#renew(round, trace);
      if (!planned && !round.reasons.some(isAnswer)) {
        await this.spans.waitFor(trace.id, "plan.received", PLAN_WITHIN_MS);
        await this.#renew(round, trace);
      }
    });
  }

  async #round(kind, about, run) {
    const trace = api.newTrace();
    const round = {
      traceId: trace.id, kind, about, spans: this.spans.begin(trace.id), began: performance.now(),
      acceptedMs: null, pageMs: null, changed: [], next: 0, reasons: [], trouble: "",
    };
    this.rounds = [round, ...this.rounds].slice(0, ROUNDS_KEPT);
    this.#tell(round);
    try {
      await run(round, trace);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      round.trouble = error.message;
    }
    this.#tell(round);
    return round;
  }

  async #renew(round, trace) {
    const { page, changed } = await this.feed.renew(CAUSES[round.kind], trace);
    round.pageMs = performance.now() - round.began;
    round.changed = changed;
    round.next = page.items.length;
    round.reasons = page.items.map((item) => item.reason);
    this.#tell(round);
  }

  #accepted(round) {
    round.acceptedMs = performance.now() - round.began;
    this.#tell(round);
  }

  #tell(round) {
    this.dispatchEvent(new CustomEvent("round", { detail: round }));
  }
}

/** @param {string} reason @returns {boolean} whether it speaks of what the viewer asked for in words */
export function isAnswer(reason) {
  return reason.startsWith("You asked for");
}
