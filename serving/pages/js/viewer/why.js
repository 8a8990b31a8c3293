/** Why a video is in its place: the reason in words, who found it, what its score adds up from, and how sure the place was. */

import { byId, h } from "../dom.js";

const SOURCES = {
  "asked-for": "close to what you asked for in words",
  plan: "in the plan that was made for you",
  "wanted-next": "what goes with what you watched lately",
  "similar-to-recent": "close to a video you liked",
  "similar-to-interests": "close to your interests",
  followed: "by someone you follow",
  live: "live now",
  exploration: "new: it gets a chance to be found",
  popular: "popular right now",
  fresh: "uploaded just now",
  asked: "what was asked for by its name",
};

const PARTS = {
  interest: "Your interests",
  "wanted-next": "What you want next",
  engagement: "Others’ engagement",
  freshness: "Freshness",
  "followed-author": "Followed author",
  "live-room": "Live room",
  "plan-rank": "Your plan",
  steering: "Your wishes",
  again: "Seen before",
  "ranker-complete": "Likely watched to the end",
  "ranker-watch_share": "How much of it you would watch",
  "ranker-like": "Likely liked",
  "ranker-share": "Likely passed on",
  "ranker-follow": "Likely to make you follow",
  "ranker-skip": "Likely skipped",
  "ranker-report": "Likely reported",
};
const NOTHING = 0.005;
const SURE = 0.995;

/** @param {number} propensity @returns {string} */
function chance(propensity) {
  if (propensity === 1) return "No other could have won it.";
  if (propensity >= SURE) return "Several competed for it; this one was all but sure to win it.";
  return `Several competed for it; this one had a ${percent(propensity)} chance to win it.`;
}

/** @param {import("./card.js").Card} card @returns {Node[]} */
export function why({ item, parts, foundBy }) {
  const known = Object.entries(parts).filter(([, value]) => Math.abs(value) >= NOTHING);
  const largest = Math.max(...known.map(([, value]) => Math.abs(value)), NOTHING);
  return [
    h("p", { class: "why-reason" }, item.reason),
    h("p", { class: "why-title" }, item.title),
    item.new &&
      h("p", { class: "why-new" }, `This place is kept for new videos. ${chance(item.propensity)}`),
    h(
      "dl",
      { class: "why-facts" },
      h("dt", {}, "Found because it is"),
      h("dd", {}, [...new Set([item.source, ...foundBy])].map((name) => SOURCES[name] ?? name).join("; ")),
      h("dt", {}, "Seen in it"),
      h("dd", {}, item.topics.join(", ") || "no topic for sure"),
    ),
    known.length > 0 &&
      h(
        "section",
        { class: "why-score" },
        h("h3", {}, "Its score ", h("span", {}, item.score.toFixed(2))),
        h(
          "ul",
          {},
          ...known.map(([name, value]) => {
            const bar = h("span", { class: "why-bar", "data-sign": value < 0 ? "less" : "more" });
            bar.style.width = `${(Math.abs(value) / largest) * 100}%`;
            return h("li", {}, h("span", {}, PARTS[name] ?? name), h("span", { class: "why-value" }, signed(value)), h("span", { class: "why-track", "aria-hidden": "true" }, bar));
          }),
        ),
      ),
  ].filter(Boolean);
}

/** Open the sheet that says it. @param {import("./card.js").Card} card */
export function openWhy(card) {
  byId("why-body").replaceChildren(...why(card));
  byId("why").showModal();
}

function signed(value) {
  return value.toFixed(2).replace("-", "−");
}

function percent(share) {
  return `${share >= 0.1 ? Math.round(share * 100) : (share * 100).toFixed(1)} %`;
}
