/**
 * What the page says when it can't do all it should: quietly, on top of a feed that goes on. It knows two troubles, the feed that
 * can't be asked and taps that wait, and asks again with growing pauses until both are over.
 */

import { byId } from "../dom.js";
import { counted } from "./words.js";

const FIRST_AGAIN_MS = 1_000;
const LONGEST_AGAIN_MS = 15_000;

export class Status {
  /** @param {() => Promise<void>} again asks the feed again; resolves when it was asked */
  constructor(again) {
    this.again = again;
    this.away = false;
    this.waiting = 0;
    this.wait = FIRST_AGAIN_MS;
    this.timer = 0;
    addEventListener("online", () => this.#now());
    addEventListener("offline", () => this.failed(null));
  }

  /** The feed could not be asked. @param {import("../http.js").ApiError | null} error */
  failed(error) {
    this.away = true;
    clearTimeout(this.timer);
    const wait = Math.max(this.wait * (0.75 + Math.random() / 2), error?.retryAfterMs ?? 0);
    this.wait = Math.min(LONGEST_AGAIN_MS, this.wait * 2);
    this.timer = setTimeout(() => this.#now(), wait);
    this.#draw();
  }

  /** The feed answered. */
  reached() {
    clearTimeout(this.timer);
    this.away = false;
    this.wait = FIRST_AGAIN_MS;
    this.#draw();
  }

  /** @param {{waiting: number, error: import("../http.js").ApiError | null}} state of the queue after an attempt */
  queue({ waiting, error }) {
    this.waiting = error?.passing ? waiting : 0;
    this.#draw();
  }

  #now() {
    clearTimeout(this.timer);
    this.again();
  }

  #draw() {
    const banner = byId("banner");
    banner.hidden = !this.away && !this.waiting;
    if (banner.hidden) return;
    const taps = this.waiting ? ` ${counted(this.waiting, "event is", "events are")} kept and sent later.` : " Your taps are kept.";
    byId("banner-text").textContent = this.away ? `The feed can’t be reached; it goes on with what is here.${taps}` : `The stream takes a break.${taps}`;
  }
}
