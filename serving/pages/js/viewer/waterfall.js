/**
 * A tap's spans in words and as a waterfall: event → flow → feature → next page, each with its milliseconds.
 *
 * @typedef {import("./loop.js").Round} Round
 */

import { h } from "../dom.js";
import { duration } from "./words.js";

const STEPS = {
  tap: ["Event", "Your tap reached the broker"],
  "profile.read": ["Flow", "The profile flow took it"],
  "profile.update": ["Flow", "Your features were computed"],
  "profile.write": ["Feature", "They could be read"],
  "rerank.plan": ["Flow", "A plan was made for you"],
  "plan.received": ["Feature", "The feed had the plan"],
  feed: ["Next page", "The next page was made"],
};

const NOUNS = { like: "like", unlike: "change of mind", share: "share", not_interested: "“not interested”", wish: "wish" };

/** @param {Round} round @returns {string} */
export function nounOf(round) {
  return NOUNS[round.kind];
}

const ORDER = Object.keys(STEPS);

/** @param {Round} round @returns {import("./spans.js").Span[]} the last of each name, in the order in which one leads to the next */
function steps(round) {
  const last = new Map();
  for (const span of round.spans) if (span.name in STEPS) last.set(span.name, span);
  // Not by time: the broker's is in whole milliseconds, and what it has at once would seem to come before the tap.
  return [...last.values()].sort((one, other) => ORDER.indexOf(one.name) - ORDER.indexOf(other.name));
}

/** @param {Round} round @returns {number | null} ms from the tap to features, or a plan, that the feed can read */
export function effectMs(round) {
  const spans = steps(round);
  const tap = spans.find((span) => span.name === "tap");
  const effect = spans.find((span) => span.name === (round.kind === "wish" ? "plan.received" : "profile.write"));
  return tap && effect ? effect.started_at + effect.took_ms - tap.started_at : null;
}

/** @param {Round} round @returns {{figure: string, words: string}} the round in one big number and one sentence */
export function told(round) {
  const effect = effectMs(round);
  const what = nounOf(round);
  if (round.trouble) return { figure: "Kept", words: `Your ${what} could not be sent: ${round.trouble}` };
  if (effect !== null) {
    const where = round.kind === "wish" ? "understood" : "in your features";
    const page = round.pageMs === null ? "; the next page is being built from them" : "; the next page was built from them";
    return { figure: duration(effect), words: `Your ${what} was ${where} ${duration(effect)} later${round.kind === "wish" ? page.replace("from them", "with it") : page}.` };
  }
  if (round.pageMs !== null) return { figure: duration(round.pageMs), words: `The page after your ${what} was here ${duration(round.pageMs)} later. The steps in between were not told.` };
  return { figure: "…", words: `Your ${what} is on its way.` };
}

/** @param {Round} round @returns {HTMLElement} */
export function waterfall(round) {
  const spans = steps(round);
  const from = Math.min(...spans.map((span) => span.started_at));
  const whole = Math.max(...spans.map((span) => span.started_at + span.took_ms)) - from || 1;
  return h(
    "ol",
    { class: "waterfall" },
    ...spans.map((span) => {
      const [stage, words] = STEPS[span.name];
      const bar = h("span", { class: "waterfall-bar" });
      bar.style.marginInlineStart = `${((span.started_at - from) / whole) * 100}%`;
      bar.style.width = `${Math.max(1.5, (span.took_ms / whole) * 100)}%`;
      return h(
        "li",
        { "data-stage": stage },
        h("span", { class: "waterfall-stage" }, stage),
        h("span", { class: "waterfall-words", title: `${span.name}, in ${span.process}` }, words),
        h("span", { class: "waterfall-ms" }, duration(span.took_ms)),
        h("span", { class: "waterfall-track", "aria-hidden": "true" }, bar),
      );
    }),
  );
}
