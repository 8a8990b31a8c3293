// The four flows, a row each: whether it runs, how far behind it is, and what it costs.

import { h, setAttribute } from "../dom.js";
import { icon, setIcon, setText } from "./updates.js";
import { quantity } from "./figure.js";
import { bytes, count, duration, milliseconds, perSecond, percent, text } from "./format.js";
import { table } from "./table.js";
import { condition, FRESHNESS_BUDGET_MS, isBehind } from "./verdict.js";

// A restart is said beside the state for this long; the timeline keeps it.
const RECENT_S = 60;

const PURPOSE = {
  perceive: "uploads to perceptions",
  profile: "taps to features",
  rerank: "triggers to plans",
  feedback: "slates to rewards",
};
// A new video must be servable within 300 ms of its upload; only taps have a budget for the half of them.
const BUDGETS_MS = { profile: FRESHNESS_BUDGET_MS, perceive: { p50: Infinity, p99: 300 } };
const STATES = {
  running: { icon: "circle-check", tone: "good" },
  quiet: { icon: "triangle-alert", tone: "warn" },
  silent: { icon: "octagon-x", tone: "bad" },
  restarting: { icon: "rotate-ccw", tone: "bad" },
};

export function flows(section) {
  const shown = table({
    caption: "Flows",
    key: (flow) => flow.name,
    rowAttributes: (flow) => ({ "data-testid": `flow-${flow.name}` }),
    onRow: (row, flow) => setAttribute(row, "data-tone", STATES[condition(flow)].tone),
    columns: [
      { label: "Flow", class: "flow-name", bare: true, make: makeName },
      { term: "state", class: "flow-state", bare: true, make: makeState },
      number("lag", (flow) => count(flow.lag_events, flow.lag_events === 1 ? "event" : "events"), (flow) => isBehind(flow) && "behind"),
      number("flow_events", (flow) => perSecond(flow.events_per_s)),
      number("freshness_p50", (flow) => milliseconds(flow.freshness_p50_ms), (flow) => flow.freshness_p50_ms > BUDGETS_MS[flow.name]?.p50 && "over budget"),
      number("freshness_p99", (flow) => milliseconds(flow.freshness_p99_ms), (flow) => flow.freshness_p99_ms > BUDGETS_MS[flow.name]?.p99 && "over budget"),
      number("restarts", (flow) => count(flow.restarts)),
      number("uptime", (flow) => duration(flow.up_s)),
      number("memory", (flow) => bytes(flow.rss_bytes)),
      number("cpu", (flow) => percent(flow.cpu_share)),
      number("flow_dead_letters", (flow) => count(flow.dead_letters)),
    ],
  });
  section.replaceChildren(h("div", { class: "panel panel-table" }, shown.element));
  return { update: (view) => shown.update(view.flows) };
}

function number(id, read, warning = () => "") {
  return {
    term: id,
    class: id === "lag" ? "number flow-lag" : "number",
    make() {
      const shown = quantity();
      return {
        element: shown.element,
        update(flow) {
          const why = warning(flow);
          shown.set(read(flow), why ? "warn" : "", why || "");
        },
      };
    },
  };
}

function makeName({ name }) {
  return { element: h("span", {}, h("strong", {}, name), h("span", { class: "purpose" }, PURPOSE[name] ?? "")) };
}

function makeState() {
  const sign = icon("circle-check");
  const word = h("span");
  const badge = h("span", { class: "badge", hidden: true });
  const element = h("span", { class: "chip" }, sign, word);
  return {
    element: h("span", { class: "state" }, element, badge),
    update(flow) {
      const state = condition(flow);
      setAttribute(element, "data-tone", STATES[state].tone);
      setIcon(sign, STATES[state].icon);
      setText(word, state === "running" || state === "restarting" ? state : `${state} ${Math.floor(flow.silent_s)} s`);
      const recent = state === "running" && flow.restarts > 0 && flow.up_s < RECENT_S;
      badge.hidden = !recent;
      if (recent) setText(badge, `restarted ${text(duration(flow.up_s))} ago`);
    },
  };
}
