/**
 * The way of an uploaded clip as a live stepper: accepted, title perceived, frames perceived, first impression, each with the
 * milliseconds since it was accepted, or the reason why it got no further.
 */

import { h } from "../dom.js";
import { icon } from "./icons.js";
import { duration } from "./words.js";

const STEPS = [
  ["accepted", "Accepted", "the stream has it"],
  ["title", "Title perceived", "it can be in the feed from now on"],
  ["frames", "Frames perceived", "the feed knows what is to be seen in it"],
  ["first_impression", "First impression", "somebody saw it"],
];

export class Steps {
  /**
   * @param {string} videoId
   * @param {boolean} media without any there are no frames to perceive
   * @param {(step: string, ms: number) => void} onStep
   */
  constructor(videoId, media, onStep) {
    this.reached = new Map();
    this.trouble = "";
    this.expected = STEPS.filter(([name]) => media || name !== "frames");
    this.element = h("ol", { class: "steps", "aria-label": "The way of your video" });
    this.onStep = onStep;
    this.#draw();
    this.source = new EventSource(`/v1/videos/${encodeURIComponent(videoId)}/progress`);
    this.source.addEventListener("step", (event) => this.#take(JSON.parse(event.data)));
    this.source.addEventListener("error", () => {
      if (this.source.readyState === EventSource.CLOSED && !this.done) this.#fail("Its way can’t be followed from here; it goes on all the same.");
    });
  }

  /** @returns {boolean} whether nothing more will come */
  get done() {
    return Boolean(this.trouble) || this.expected.every(([name]) => this.reached.has(name));
  }

  /** Follow it no longer. */
  close() {
    this.source.close();
  }

  #take({ step, since_accepted_ms: ms, detail }) {
    if (step === "failed") return this.#fail(detail || "It could not be perceived.");
    if (step === "gone") return this.#fail("It was taken down.");
    if (!this.reached.has(step)) {
      this.reached.set(step, ms);
      this.onStep(step, ms);
    }
    if (this.done) this.close();
    return this.#draw();
  }

  #fail(reason) {
    this.trouble = reason;
    this.close();
    this.#draw();
  }

  #draw() {
    const next = this.expected.find(([name]) => !this.reached.has(name));
    this.element.replaceChildren(
      ...this.expected.map(([name, title, meaning]) => {
        const there = this.reached.has(name);
        const state = there ? "done" : this.trouble && name === next?.[0] ? "failed" : name === next?.[0] ? "now" : "later";
        return h(
          "li",
          { "data-state": state, "data-step": name, "aria-current": state === "now" ? "step" : null },
          h("span", { class: "steps-mark" }, there ? icon("check") : state === "failed" ? icon("x") : ""),
          h("span", { class: "steps-title" }, title),
          h("span", { class: "steps-ms" }, there ? (name === "accepted" ? "now" : `+${duration(this.reached.get(name))}`) : state === "now" ? "…" : ""),
          h("span", { class: "steps-meaning" }, state === "failed" ? this.trouble : meaning),
        );
      }),
    );
  }
}
