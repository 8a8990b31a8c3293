// The plots over time: which series each shows, their common range and their restarts. Only plots in sight are drawn.

import { chart } from "./chart.js";
import { watch } from "./colours.js";
import { h, setAttribute } from "../dom.js";
import { bytes, count, index, milliseconds, percent, perSecond } from "./format.js";
import { FEED_BUDGET_MS, FRESHNESS_BUDGET_MS } from "./verdict.js";

const RANGES = [["5 min", 300_000], ["15 min", 900_000], ["1 h", 3_600_000]];
const LEAST_MS = 60_000;
const REMEMBERED = "headwater.ops.range";
// What the house says to itself is no traffic.
const INNER_TOPICS = new Set(["heartbeats", "spans"]);
const FIRST_TOPICS = ["interactions", "slates", "feedback", "video-stats", "uploads", "perceptions", "plans", "purges", "dead-letters"];

const fixed = (...lines) => () => lines.map(([name, label]) => ({ name, label }));
const each = (prefix) => (series) => series.under(prefix).map((name) => ({ name: prefix + name, label: plain(name) }));

const PLOTS = [
  { id: "events_per_s", lines: topics, format: (value) => perSecond(value) },
  {
    id: "freshness", lines: fixed(["freshness_p50_ms", "p50"], ["freshness_p99_ms", "p99"]), format: milliseconds,
    budgets: [{ at: FRESHNESS_BUDGET_MS.p50, label: "p50 budget 25 ms" }, { at: FRESHNESS_BUDGET_MS.p99, label: "p99 budget 100 ms" }], top: 115,
  },
  { id: "lag", lines: each("lag_events."), format: (value) => count(value, value === 1 ? "event" : "events"), top: 10 },
  {
    id: "feed_latency", lines: fixed(["feed_p50_ms", "p50"], ["feed_p99_ms", "p99"]), format: milliseconds,
    budgets: [{ at: FEED_BUDGET_MS, label: "p99 budget 25 ms" }], top: 30,
  },
  { id: "pages_per_s", lines: fixed(["pages_per_s", "pages"]), format: (value) => perSecond(value), top: 1 },
  { id: "catalogue_size", lines: fixed(["catalogue_videos", "all"], ["new_videos", "new"]), format: (value) => count(value), top: 10 },
  { id: "exposure_gini", lines: fixed(["exposure_gini", "of all nodes, days"], ["served_gini", "served here, lately"]), format: index, top: 1 },
  { id: "served_new_share", lines: fixed(["served_new_share", "new videos"]), format: percent, top: 1 },
  { id: "memory_by_process", lines: each("rss_bytes."), format: bytes, top: 1e8 },
];

export function plots(section, series) {
  const grid = h("div", { class: "charts" });
  const seen = new Set();
  const sight = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) seen[isIntersecting ? "add" : "delete"](target);
    draw();
  }, { rootMargin: "200px" });
  let drawn = new Map();
  let rangeMs = Number(localStorage.getItem(REMEMBERED)) || RANGES[1][1];

  const ranges = RANGES.map(([label, ms]) =>
    h("label", { class: "segment" }, h("input", {
      type: "radio", name: "range", value: ms, checked: ms === rangeMs,
      onchange: () => {
        rangeMs = ms;
        localStorage.setItem(REMEMBERED, String(ms));
        draw();
      },
    }), h("span", {}, label)));
  section.querySelector(".section-tools").replaceChildren(
    h("fieldset", { class: "segments" }, h("legend", { class: "visually-hidden" }, "Range of the plots"), ranges));
  section.querySelector(".section-body").replaceChildren(grid);
  watch(() => drawn.forEach(({ plot }) => plot.repaint()));

  /** Make the plots whose lines are known, and make those again whose lines became more. */
  function build() {
    const next = new Map();
    for (const { lines, ...options } of PLOTS) {
      const wanted = lines(series);
      const signature = wanted.map((line) => line.name).join();
      const before = drawn.get(options.id);
      if (before?.signature === signature) next.set(options.id, before);
      else {
        const plot = chart({ ...options, lines: wanted });
        next.set(options.id, { signature, plot, names: wanted.map((line) => line.name) });
        sight.observe(plot.element);
      }
    }
    if (![...next].some(([id, made]) => drawn.get(id) !== made)) return;
    for (const [id, { plot }] of drawn) {
      if (next.get(id)?.plot === plot) continue;
      sight.unobserve(plot.element);
      seen.delete(plot.element);
    }
    drawn = next;
    grid.replaceChildren(...[...drawn.values()].map(({ plot }) => plot.element));
  }

  function draw() {
    if (document.hidden || !series.at.length) return;
    const to = series.at.at(-1);
    // Just begun, the little that is known fills the plot.
    const from = Math.max(to - rangeMs, Math.min(series.at[0], to - LEAST_MS));
    const restarts = restartsOf(series).filter(({ at }) => at >= from);
    for (const { plot, names } of drawn.values()) {
      if (seen.has(plot.element)) plot.draw(series.since(from, names), { from, to, restarts });
    }
  }

  document.addEventListener("visibilitychange", draw);
  return {
    update() {
      build();
      draw();
      setAttribute(section, "aria-busy", null);
    },
  };
}

/** Every restart of the last hour, oldest first: {at, name, by}. */
export function restartsOf(series) {
  return series.under("restarts.")
    .flatMap((name) => series.increases(`restarts.${name}`).map((one) => ({ ...one, name: plain(name) })))
    .sort((one, other) => one.at - other.at);
}

function plain(name) {
  return name.replace(/^flow-/, "");
}

function topics(series) {
  const names = series.under("events_per_s.").filter((name) => !INNER_TOPICS.has(name));
  const place = (name) => (FIRST_TOPICS.indexOf(name) + 100) % 100;
  return names.toSorted((one, other) => place(one) - place(other))
    .map((name) => ({ name: `events_per_s.${name}`, label: name }));
}
