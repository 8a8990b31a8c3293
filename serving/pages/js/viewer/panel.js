/**
 * "What just happened": the last tap followed through the loop, live, what it changed in the feed, and the taps before it.
 * Beside the feed where there is room, else in a sheet.
 *
 * @typedef {import("./loop.js").Round} Round
 */

import { byId, h } from "../dom.js";
import { effectMs, nounOf, told, waterfall } from "./waterfall.js";
import { counted, duration } from "./words.js";

const CHANGES_SHOWN = 3;

export class Panel {
  /**
   * @param {import("./loop.js").Loop} loop
   * @param {import("./spans.js").Spans} spans
   */
  constructor(loop, spans) {
    this.loop = loop;
    this.body = byId("panel-body");
    /** @type {Round | null} the round on show; null shows the newest */
    this.chosen = null;
    this.wide = matchMedia("(min-width: 64rem)");
    this.wide.addEventListener("change", () => this.#place());
    this.#place();
    loop.addEventListener("round", () => {
      if (this.chosen && !loop.rounds.includes(this.chosen)) this.chosen = null;
      this.#draw();
    });
    spans.addEventListener("span", () => this.#draw());
    this.#draw();
  }

  /** Show it: the sheet opens where there is no room beside the feed. */
  open() {
    this.chosen = null;
    this.#draw();
    if (!this.wide.matches) byId("panel-sheet").showModal();
  }

  /** The newest tap is on show again. */
  follow() {
    this.chosen = null;
  }

  #place() {
    const sheet = byId("panel-sheet");
    if (this.wide.matches) {
      if (sheet.open) sheet.close();
      byId("panel-home").append(this.body);
    } else {
      byId("panel-sheet-body").append(this.body);
    }
  }

  #draw() {
    const round = this.chosen ?? this.loop.rounds[0];
    if (!round) return;
    const { figure, words } = told(round);
    this.body.replaceChildren(
      h("p", { class: "panel-about" }, h("strong", {}, `Your ${nounOf(round)}`), " ", round.about),
      h("p", { class: "panel-figure", "data-testid": "figure" }, figure),
      h("p", { class: "panel-words" }, words),
      round.spans.length ? waterfall(round) : "",
      timesHere(round),
      changes(round),
      this.#history(round),
    );
  }

  #history(shown) {
    if (this.loop.rounds.length < 2) return "";
    return h(
      "section",
      { class: "panel-history", "aria-labelledby": "panel-history-title" },
      h("h3", { id: "panel-history-title" }, "Your last taps"),
      h(
        "ul",
        {},
        ...this.loop.rounds.map((round) => {
          const effect = effectMs(round) ?? round.pageMs;
          const button = h(
            "button",
            { type: "button", "aria-pressed": String(round === shown) },
            h("span", {}, h("strong", {}, capital(nounOf(round))), " ", round.about),
            h("span", { class: "panel-history-ms" }, round.trouble ? "kept" : effect === null ? "…" : duration(effect)),
          );
          button.addEventListener("click", () => {
            this.chosen = round;
            this.#draw();
          });
          return h("li", {}, button);
        }),
      ),
    );
  }
}

function timesHere(round) {
  if (round.acceptedMs === null) return "";
  const page = round.pageMs === null ? "" : `, the new page ${duration(round.pageMs)}`;
  return h("p", { class: "panel-here" }, `Seen from this device: accepted ${duration(round.acceptedMs)} after the tap${page}.`);
}

function changes(round) {
  if (round.pageMs === null) return "";
  if (!round.changed.length) return h("p", { class: "panel-here" }, "The videos that come next stayed the same.");
  const more = round.changed.length - CHANGES_SHOWN;
  return h(
    "section",
    { class: "panel-changes" },
    h("h3", {}, `${round.changed.length} of the next ${counted(round.next, "video")} changed`),
    h(
      "ul",
      {},
      ...round.changed.slice(0, CHANGES_SHOWN).map(({ item }) => h("li", {}, h("strong", {}, item.title), h("span", {}, item.reason))),
      more > 0 && h("li", {}, h("span", {}, `and ${more} more`)),
    ),
  );
}

function capital(text) {
  return text.replace(/^“?./, (start) => start.toUpperCase());
}
