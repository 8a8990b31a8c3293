/**
 * The feed: cards one below the other, more of them before the end is near, and the part not seen yet, which is asked for anew
 * when a tap changed what it should be. It goes on with what it has while the API is away.
 *
 * @typedef {import("./card.js").Card} Card
 */

import { ApiError } from "../http.js";
import * as api from "./api.js";
import { makeCard, showLiked } from "./card.js";
import { viewerId } from "./identity.js";
import { reducedMotion } from "./words.js";

const PAGE = 10;
// Asked for while so many are left: a page takes less long than swiping past one card.
const MORE_BELOW = 4;
// Behind the viewer; older cards are let go of, or a long evening fills the phone's memory.
const KEPT_BEHIND = 40;
// A swipe is over after this long.
const SETTLED_MS = 500;

export class Feed {
  /**
   * @param {HTMLElement} root
   * @param {{onCards: () => void, onError: (error: ApiError) => void, onEmpty: () => void, onReached: () => void}} told
   */
  constructor(root, told) {
    this.root = root;
    this.told = told;
    /** @type {Card[]} */
    this.cards = [];
    /** @type {Card | null} */
    this.current = null;
    /** @type {Set<string>} */
    this.liked = new Set();
    this.loading = false;
    this.generation = 0;
    /** @type {Card | null} on its way out of sight */
    this.takenDown = null;
    /** @type {import("./watch.js").Watch | null} */
    this.watch = null;
    /** @type {import("./player.js").Player | null} */
    this.player = null;
  }

  /** @returns {number} */
  get index() {
    return this.current ? this.cards.indexOf(this.current) : -1;
  }

  /** @returns {Card[]} what comes after the card in front */
  get upcoming() {
    return this.cards.slice(this.index + 1);
  }

  /** Ask for more where the end is near; `true` when something came. @returns {Promise<boolean>} */
  async fill() {
    if (this.loading || this.upcoming.length > MORE_BELOW) return false;
    this.loading = true;
    this.root.setAttribute("aria-busy", "true");
    const generation = this.generation;
    try {
      const page = await api.feed(viewerId(), { limit: PAGE });
      this.told.onReached();
      if (generation !== this.generation) return false;
      const there = new Set([this.current, ...this.upcoming].map((card) => card?.item.video_id));
      const cards = cardsOf(page).filter((card) => !there.has(card.item.video_id));
      this.#append(cards);
      if (!this.cards.length) this.told.onEmpty();
      return cards.length > 0;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.told.onError(error);
      return false;
    } finally {
      this.loading = false;
      this.root.removeAttribute("aria-busy");
    }
  }

  /**
   * Ask anew for what was not seen yet, and put it in its place.
   * @param {string} cause what to say on cards that were not coming before
   * @param {api.Trace} [trace]
   * @returns {Promise<{page: api.Page, changed: Card[]}>} `changed`: those that were not coming before
   * @throws {ApiError} the feed stays as it is
   */
  async renew(cause, trace) {
    const generation = (this.generation += 1);
    const before = new Set(this.#replaceable().map((card) => card.item.video_id));
    const page = await api.feed(viewerId(), { limit: PAGE, unshown: [...before], trace });
    this.told.onReached();
    const gone = this.#replaceable();
    const stays = new Set(this.cards.filter((card) => !gone.includes(card)).map((card) => card.item.video_id));
    const cards = cardsOf(page, (item) => (before.has(item.video_id) || item.new ? null : cause)).filter((card) => !stays.has(card.item.video_id));
    if (generation === this.generation && cards.length) {
      for (const card of gone) this.#drop(card);
      this.#append(cards);
    }
    return { page, changed: cards.filter((card) => !before.has(card.item.video_id)) };
  }

  /** @param {number} step 1 for the next card, -1 for the one before */
  go(step) {
    const target = this.cards[this.index + step];
    if (target) this.show(target);
    return Boolean(target);
  }

  /** @param {Card} card */
  show(card) {
    card.element.scrollIntoView({ behavior: reducedMotion() ? "auto" : "smooth", block: "start" });
  }

  /** Put a card right after the one in front. @param {Card} card */
  insertNext(card) {
    const at = this.index + 1;
    this.root.insertBefore(card.element, this.cards[at]?.element ?? null);
    this.cards.splice(at, 0, card);
    this.#added([card]);
  }

  /** Take a video out, wherever it waits; the card in front moves on instead, and is gone from what can be gone back to. */
  remove(videoId) {
    for (const card of this.cards.filter((each) => each.item.video_id === videoId)) {
      if (card === this.current && this.go(1)) this.takenDown = card;
      else this.#drop(card);
    }
    if (!this.cards.length) this.told.onEmpty();
    this.fill();
  }

  /** Another viewer, or the same after being forgotten: begin again. */
  async restart() {
    this.generation += 1;
    this.loading = false;
    this.liked.clear();
    for (const card of [...this.cards]) this.#drop(card);
    this.current = null;
    this.root.scrollTop = 0;
    await this.fill();
  }

  /** The card in front is another one now. @param {Card} card */
  reached(card) {
    this.current = card;
    for (const each of this.cards) each.element.inert = each !== card;
    this.play(card);
    this.#dropTakenDown();
    this.fill();
  }

  /** Let go of what is far behind; the card in front stays where it is. */
  trim() {
    const excess = this.index - KEPT_BEHIND;
    if (excess <= 0) return;
    for (const card of this.cards.slice(0, excess)) this.#drop(card);
    this.current?.element.scrollIntoView({ behavior: "instant", block: "start" });
  }

  /** What no viewer saw a bit of: while a swipe is on its way, the card it brings stays. */
  #replaceable() {
    const bottom = this.root.getBoundingClientRect().bottom;
    return this.upcoming.filter((card) => !card.seen.impression && card.element.getBoundingClientRect().top >= bottom - 1);
  }

  /** What was taken down while it was in front goes when it is out of sight, and what is in front stays where it is. */
  #dropTakenDown() {
    const card = this.takenDown;
    if (!card || card === this.current) return;
    this.takenDown = null;
    setTimeout(() => {
      this.#drop(card);
      this.current?.element.scrollIntoView({ behavior: "instant", block: "start" });
    }, SETTLED_MS);
  }

  /** Play it, with the cards before and after it ready. @param {Card} card */
  play(card) {
    const index = this.index;
    this.player?.show(card, this.cards.slice(Math.max(0, index - 1), index + 2).filter((each) => each !== card));
  }

  #append(cards) {
    this.root.append(...cards.map((card) => card.element));
    this.cards.push(...cards);
    this.#added(cards);
  }

  #added(cards) {
    for (const card of cards) {
      card.element.inert = card !== this.current;
      showLiked(card, this.liked.has(card.item.video_id));
      this.watch?.observe(card);
    }
    this.cards.forEach((card, index) => {
      card.element.setAttribute("aria-posinset", String(index + 1));
      card.element.setAttribute("aria-setsize", "-1");
    });
    if (this.current) this.play(this.current);
    this.told.onCards();
  }

  #drop(card) {
    this.player?.release(card);
    this.watch?.forget(card);
    card.element.remove();
    this.cards = this.cards.filter((each) => each !== card);
    if (card === this.current) this.current = null; // until the one that takes its place is seen
  }
}

/** @param {api.Page} page @param {(item: api.Item) => string | null} [cause] @returns {Card[]} */
function cardsOf(page, cause = () => null) {
  const traces = new Map((page.trace?.items ?? []).map((trace) => [trace.video_id, trace]));
  return page.items.map((item) => {
    const trace = traces.get(item.video_id);
    return makeCard(item, { requestId: page.request_id, parts: trace?.parts, foundBy: trace?.found_by, cause: cause(item) });
  });
}
