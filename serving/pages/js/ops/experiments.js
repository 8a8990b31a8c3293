// Experiments: arms against control, by metric, each difference in an interval that holds however often one looks.

import { h, setAttribute } from "../dom.js";
import { keyed, icon, setIcon, setText } from "./updates.js";
import { quantity } from "./figure.js";
import { NONE, percent, plural } from "./format.js";
import { term } from "./help.js";
import { table } from "./table.js";

const ICONS = { good: "circle-check", warn: "triangle-alert", bad: "octagon-x", off: "hourglass" };
const GUARDRAILS = { open: "not known yet", kept: "kept", broken: "broken" };
const digits = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
const upTo = new Intl.NumberFormat("en", { style: "percent", maximumFractionDigits: 1 });
const signed = new Intl.NumberFormat("en", { style: "percent", signDisplay: "exceptZero", minimumFractionDigits: 1, maximumFractionDigits: 1 });

export function experiments(section) {
  const list = h("ul", { class: "experiments" });
  section.querySelector(".section-body").replaceChildren(list);
  return {
    update({ experiments: running }) {
      section.hidden = !running.length;
      keyed(list, running, (experiment) => experiment.name, makeExperiment);
    },
  };
}

function makeExperiment({ name }) {
  const facts = h("p", { class: "purpose" });
  const arms = h("ul", { class: "arms" });
  return {
    element: h("li", { class: "experiment panel", "data-testid": `experiment-${name}` }, h("h3", {}, name), facts, arms),
    update(experiment) {
      const [control, ...others] = experiment.arms;
      setText(facts, told(experiment));
      keyed(arms, others.map((arm) => ({ arm, control, decides: experiment.metric })), ({ arm }) => arm.name, makeArm);
    },
  };
}

/** Who counts, and who does not. */
function told({ arms, moved, left_out: leftOut }) {
  const sizes = arms.map((arm) => `${arm.name}: ${plural(arm.viewers, "viewer")}, ${plural(arm.impressions, "impression")}`);
  if (moved) sizes.push(`${plural(moved, "viewer")} changed arms and count in neither`);
  if (leftOut) sizes.push(`${plural(leftOut, "page")} of viewers beyond experiments.viewers_in_memory do not count`);
  return sizes.join(" · ");
}

function makeArm({ arm: { name } }) {
  const sign = icon("hourglass");
  const verdict = h("p", { class: "arm-verdict" }, sign, h("span"));
  const metrics = table({
    caption: `${name} against control, per impression`,
    key: ({ metric }) => metric,
    rowAttributes: ({ metric }) => ({ "data-testid": `metric-${name}-${metric}` }),
    columns: [
      { label: "Per impression", class: "metric-name", bare: true, make: makeName },
      { label: "Control", class: "number", make: () => mean(({ theirs }) => theirs) },
      { label: name, class: "number", make: () => mean(({ value }) => value) },
      { term: "experiment_difference", class: "metric-difference", make: makeDifference },
      { term: "guardrail", class: "metric-guardrail", make: makeGuardrail },
    ],
    onRow: (row, { guardrail }) => setAttribute(row, "data-tone", guardrail === "broken" ? "bad" : null),
  });
  return {
    element: h("li", {}, verdict, metrics.element),
    update({ arm, control, decides }) {
      setAttribute(verdict, "data-tone", arm.tone);
      setIcon(sign, ICONS[arm.tone]);
      setText(verdict.lastChild, arm.verdict);
      const rows = arm.metrics.map((measured, position) => ({ ...measured, theirs: control.metrics[position].value, decides: measured.metric === decides }));
      metrics.update(rows.map((row) => ({ ...row, widest: widestOf(rows) })));
    },
  };
}

/** The end of the scale: wide enough for what decides and for every difference; what is known badly may reach beyond it. */
function widestOf(rows) {
  const reach = ({ difference, low, high, theirs, decides }) => Math.max(Math.abs(difference), decides ? Math.max(-low, high) : 0) / (Math.abs(theirs) || 1);
  return 1.25 * Math.max(0.01, ...rows.map(reach));
}

function makeName({ metric, decides }) {
  return { element: h("span", {}, term(`metric_${metric}`), decides ? h("span", { class: "purpose" }, "decides") : null) };
}

function mean(read) {
  const shown = quantity();
  return {
    element: shown.element,
    update(row) {
      const value = read(row);
      const unit = row.metric === "watch_s" ? "s" : "";
      const share = !["reward", "watch_s"].includes(row.metric);
      shown.set(value === null ? { value: NONE, unit } : share ? rate(value) : { value: digits.format(value), unit });
    },
  };
}

/** A share, of which a small one keeps its digits: 0.04%. */
function rate(share) {
  return share > 0 && share < 0.01 ? { value: digits.format(share * 100), unit: "%" } : percent(share);
}

/** The interval on a scale that all metrics of the arm share, 0 in its middle, in per cent of control's mean. */
function makeDifference() {
  const line = h("span", { class: "interval-line" });
  const dot = h("span", { class: "interval-dot" });
  const words = h("span", { class: "interval-words" });
  const scale = h("span", { class: "interval", "aria-hidden": "true" }, h("span", { class: "interval-zero" }), line, dot);
  return {
    element: h("span", { class: "difference" }, scale, words),
    update({ difference, low, high, theirs, widest }) {
      const known = difference !== null;
      line.hidden = dot.hidden = !known;
      if (!known) {
        setText(words, "not known yet");
        return;
      }
      const unit = Math.abs(theirs) || 1;
      const place = (value) => Math.min(100, Math.max(0, 50 + 50 * (value / unit / widest)));
      line.style.left = `${place(low)}%`;
      line.style.width = `${place(high) - place(low)}%`;
      dot.style.left = `${place(difference)}%`;
      setAttribute(scale, "data-apart", low > 0 || high < 0);
      const say = theirs ? (value) => signed.format(value / unit) : (value) => digits.format(value);
      setText(words, `${say(difference)} (${say(low)} to ${say(high)})`);
    },
  };
}

function makeGuardrail() {
  const sign = icon("check");
  const words = h("span");
  const chip = h("span", { class: "chip" }, sign, words);
  const bound = h("span", { class: "purpose" });
  return {
    element: h("span", {}, chip, bound),
    update({ guardrail, worse_by: worseBy }) {
      chip.hidden = !guardrail;
      setText(bound, guardrail ? `at most ${upTo.format(worseBy)} worse` : NONE);
      if (!guardrail) return;
      setAttribute(chip, "data-tone", { open: null, kept: "good", broken: "bad" }[guardrail]);
      setIcon(sign, { open: "hourglass", kept: "check", broken: "octagon-x" }[guardrail]);
      setText(words, GUARDRAILS[guardrail]);
    },
  };
}
