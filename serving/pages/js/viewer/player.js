/**
 * Plays the card in front and nothing else. The clip before stays loaded and the next is loaded ahead, both paused; all others
 * give their memory and connections back. Sound is off until asked for, as browsers demand, and then stays as chosen.
 */

import { h } from "../dom.js";
import { showBroken } from "./card.js";
import { changeIcon } from "./icons.js";
import { storage } from "./identity.js";

// How long the line under a title card takes to fill: about as long as reading it. It means nothing beyond that.
const READING_MS = 6_000;
// From this shape on little is lost when a clip fills a phone's screen: 4:5 and taller.
const UPRIGHT = 1.25;

export class Player {
  /**
   * @param {import("./watch.js").Watch} watch
   * @param {(card: import("./card.js").Card) => void} onBroken told when a clip can't be played
   */
  constructor(watch, onBroken) {
    this.watch = watch;
    this.onBroken = onBroken;
    this.muted = storage.get("headwater.sound") !== "on";
    this.paused = false;
    /** @type {import("./card.js").Card | null} */
    this.card = null;
    /** @type {Set<import("./card.js").Card>} */
    this.loaded = new Set();
    document.addEventListener("visibilitychange", () => (document.hidden ? this.#halt() : this.#run()));
    requestAnimationFrame(() => this.#draw());
  }

  /**
   * Play `card` and keep its neighbours ready.
   * @param {import("./card.js").Card} card
   * @param {import("./card.js").Card[]} neighbours
   */
  show(card, neighbours) {
    if (this.card !== card) {
      this.#halt();
      this.card = card;
      this.paused = false;
      card.element.removeAttribute("data-paused");
    }
    for (const each of this.loaded) if (each !== card && !neighbours.includes(each)) this.release(each);
    this.#load(card, "auto");
    for (const each of neighbours) this.#load(each, "auto");
    this.#showSound(card);
    this.#run();
  }

  /** Pause what plays, or go on. */
  toggle() {
    const { card } = this;
    if (!card) return;
    this.paused = !this.paused;
    card.element.toggleAttribute("data-paused", this.paused);
    card.element.querySelector(".card-surface").setAttribute("aria-label", this.paused ? "Play" : "Pause");
    if (this.paused) this.#halt();
    else this.#run();
  }

  /** @returns {boolean} whether there is sound now */
  toggleSound() {
    this.muted = !this.muted;
    storage.set("headwater.sound", this.muted ? "off" : "on");
    if (this.card) this.#showSound(this.card);
    return !this.muted;
  }

  /** Let a card's clip go. @param {import("./card.js").Card} card */
  release(card) {
    this.loaded.delete(card);
    const { video } = card;
    if (!video) return;
    card.video = null;
    video.pause();
    video.removeAttribute("src");
    video.load(); // without it the browser goes on downloading
    video.remove();
  }

  #load(card, preload) {
    if (!card.item.media_url || card.broken || card.video) return;
    const video = h("video", { playsinline: true, loop: true, preload, tabindex: -1, poster: card.item.poster_url });
    video.muted = true;
    video.src = card.item.media_url;
    video.addEventListener("loadedmetadata", () => card.element.toggleAttribute("data-upright", video.videoHeight > video.videoWidth * UPRIGHT));
    video.addEventListener("playing", () => this.watch.runs(card));
    for (const stop of ["pause", "waiting"]) video.addEventListener(stop, () => this.watch.stops(card));
    video.addEventListener("error", () => {
      if (card.video !== video) return;
      this.release(card);
      showBroken(card);
      this.onBroken(card);
      if (card === this.card) this.#run();
    });
    card.video = video;
    this.loaded.add(card);
    const place = card.element.querySelector(".card-visual");
    if (card.item.poster_url && !place.querySelector("img")) place.append(h("img", { class: "card-backdrop", src: card.item.poster_url, alt: "" }));
    place.append(video);
  }

  #run() {
    const { card } = this;
    if (!card || this.paused || document.hidden) return;
    if (!card.video) {
      this.watch.runs(card);
      return;
    }
    card.video.muted = this.muted;
    card.video.play().catch((error) => {
      if (error.name === "NotAllowedError" && !this.muted) {
        // Sound was wanted, but nobody has touched the page yet.
        this.muted = true;
        this.#showSound(card);
        this.#run();
      }
    });
  }

  #halt() {
    if (!this.card) return;
    this.watch.stops(this.card);
    this.card.video?.pause();
  }

  #showSound(card) {
    if (card.video) card.video.muted = this.muted;
    const button = card.element.querySelector('[data-action="sound"]');
    if (!button) return;
    button.setAttribute("aria-pressed", String(!this.muted));
    changeIcon(button, this.muted ? "volume-x" : "volume-2");
  }

  #draw() {
    const { card } = this;
    if (card) {
      const { video } = card;
      const share = video ? video.currentTime / video.duration || 0 : Math.min(1, this.watch.watchedMs(card) / READING_MS);
      card.element.querySelector(".card-progress > div").style.transform = `scaleX(${share.toFixed(4)})`;
    }
    requestAnimationFrame(() => this.#draw());
  }
}
