/**
 * What was truly seen. An impression is a card at least half visible for half a second while the page itself is; a card flicked
 * past says nothing at all. From then on the time it played (or, for a title card, stood there) is counted by a clock that stops
 * when it pauses, stalls or is hidden.
 *
 * What a viewer leaves behind on a card, once it had its impression:
 * - `play` when its clip began to play, or its title to be read;
 * - `complete` once a clip ran through. A title card has no end, so nothing is ever "complete" by lying on a table;
 * - on leaving, `skip` if it was left early: before 3 s, or a quarter of a shorter clip than 12 s, without a word on it (like, share, not interested);
 *   else `progress` with the time watched;
 * - `leave`, once, when the page was hidden while it was on screen.
 *
 * @typedef {object} Seen
 * @property {boolean} impression
 * @property {boolean} played
 * @property {boolean} completed
 * @property {boolean} left
 * @property {boolean} judged the viewer said what they think of it: leaving it is no skip
 * @property {boolean} skipped
 * @property {number} watchedMs
 * @property {number} reportedMs
 * @property {number | null} since when the running stretch began, `performance.now()`
 */

const HALF = 0.5;
const IMPRESSION_MS = 500;
const EARLY_MS = 3_000;
const EARLY_SHARE = 0.25;
const THROUGH = 0.95; // the last frames are black, or credits
// Reported once along the way: a viewer who stays long on one clip tells it before leaving.
const REPORT_AFTER_MS = 10_000;

/** @returns {Seen} */
export function unseen() {
  return { impression: false, played: false, completed: false, left: false, judged: false, skipped: false, watchedMs: 0, reportedMs: 0, since: null };
}

export class Watch {
  /**
   * @param {HTMLElement} root the scrolling feed
   * @param {(action: string, card: import("./card.js").Card, watchMs?: number) => void} report
   * @param {(card: import("./card.js").Card) => void} onCurrent told when a card comes to fill more than half of the feed
   */
  constructor(root, report, onCurrent) {
    this.report = report;
    this.onCurrent = onCurrent;
    /** @type {WeakMap<Element, import("./card.js").Card>} */
    this.cards = new WeakMap();
    /** @type {import("./card.js").Card | null} */
    this.current = null;
    this.timer = 0;
    this.observer = new IntersectionObserver((entries) => this.#crossed(entries), { root, threshold: HALF });
    document.addEventListener("visibilitychange", () => (document.hidden ? this.hidden() : this.#await()));
    addEventListener("pagehide", () => this.hidden());
    setInterval(() => this.#look(), 250);
  }

  /** @param {import("./card.js").Card} card */
  observe(card) {
    this.cards.set(card.element, card);
    this.observer.observe(card.element);
  }

  /** @param {import("./card.js").Card} card */
  forget(card) {
    this.observer.unobserve(card.element);
    if (card === this.current) this.#leave();
  }

  /** The card's clip plays from now on, or its title can be read. @param {import("./card.js").Card} card */
  runs(card) {
    if (card !== this.current || document.hidden) return;
    card.seen.since ??= performance.now();
    this.#played(card);
  }

  /** It paused or waits for bytes. @param {import("./card.js").Card} card */
  stops(card) {
    const { seen } = card;
    if (seen.since !== null) seen.watchedMs += performance.now() - seen.since;
    seen.since = null;
  }

  /** @param {import("./card.js").Card} card @returns {number} ms watched so far */
  watchedMs(card) {
    return card.seen.watchedMs + (card.seen.since === null ? 0 : performance.now() - card.seen.since);
  }

  /** The page is not seen any more: say now what may be lost later. */
  hidden() {
    clearTimeout(this.timer);
    const card = this.current;
    if (!card) return;
    this.stops(card);
    if (card.seen.impression && !card.seen.left) {
      card.seen.left = true;
      this.report("leave", card, this.watchedMs(card));
    }
  }

  #crossed(entries) {
    for (const entry of entries) {
      const card = this.cards.get(entry.target);
      if (!card) continue;
      if (entry.isIntersecting && entry.intersectionRatio >= HALF) {
        if (card === this.current) continue;
        this.#leave();
        this.current = card;
        this.#await();
        this.onCurrent(card);
      } else if (card === this.current) {
        this.#leave();
      }
    }
  }

  #await() {
    clearTimeout(this.timer);
    const card = this.current;
    if (!card || card.seen.impression || document.hidden) return;
    this.timer = setTimeout(() => {
      card.seen.impression = true;
      this.report("impression", card);
      if (card.seen.since !== null) this.#played(card);
    }, IMPRESSION_MS);
  }

  #played(card) {
    if (!card.seen.impression || card.seen.played) return;
    card.seen.played = true;
    this.report("play", card);
  }

  #look() {
    const card = this.current;
    if (!card || !card.seen.impression) return;
    const watched = this.watchedMs(card);
    const length = card.broken || !card.item.media_url ? null : clipMs(card);
    if (length && !card.seen.completed && watched >= length * THROUGH) {
      card.seen.completed = true;
      card.seen.reportedMs = watched;
      this.report("complete", card, watched);
    } else if (!card.seen.reportedMs && watched >= REPORT_AFTER_MS) {
      card.seen.reportedMs = watched;
      this.report("progress", card, watched);
    }
  }

  #leave() {
    clearTimeout(this.timer);
    const card = this.current;
    this.current = null;
    if (!card) return;
    this.stops(card);
    const { seen } = card;
    if (!seen.impression) return;
    const early = Math.min(EARLY_MS, EARLY_SHARE * (clipMs(card) ?? Infinity));
    if (seen.watchedMs < early && !seen.judged && !seen.completed && !seen.skipped) {
      seen.skipped = true;
      this.report("skip", card, seen.watchedMs);
    } else if (seen.watchedMs > seen.reportedMs + 250 && seen.watchedMs >= early) {
      this.report("progress", card, seen.watchedMs);
    }
    seen.reportedMs = seen.watchedMs;
  }
}

function clipMs(card) {
  const loaded = card.video?.duration;
  return Number.isFinite(loaded) && loaded > 0 ? loaded * 1_000 : card.item.duration_ms;
}
