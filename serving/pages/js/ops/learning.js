// Learning: what serves of each model, how its canary does, what was decided and why, and the curves of the agent's newest run.

import { chart } from "./chart.js";
import { watch } from "./colours.js";
import { h, setAttribute } from "../dom.js";
import { request } from "../http.js";
import { icon, keyed, setText } from "./updates.js";
import { ago, clock, count, index, NONE, percent } from "./format.js";
import { term } from "./help.js";
import { table } from "./table.js";

const WHAT = {
  failed: { tone: "bad", icon: "circle-off", words: "failed" },
  refused: { tone: "off", icon: "circle-off", words: "refused" },
  held: { tone: "off", icon: "hourglass", words: "passed, held back" },
  released: { tone: "good", icon: "circle-check", words: "released" },
  canary: { tone: "warn", icon: "hourglass", words: "canary begun" },
  promoted: { tone: "good", icon: "circle-check", words: "promoted" },
  "rolled back": { tone: "bad", icon: "rotate-ccw", words: "rolled back" },
  pinned: { tone: "warn", icon: "key-round", words: "pinned" },
  unpinned: { tone: "off", icon: "key-round", words: "unpinned" },
};
const REWARD_PART = "rewards/";
const STAGES = { sft: "SFT", grpo: "GRPO" };
const signed = new Intl.NumberFormat("en", { signDisplay: "exceptZero", minimumFractionDigits: 3, maximumFractionDigits: 3 });
const small = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
const figure = (number) => (typeof number === "number" ? { value: small.format(number), unit: "" } : { value: NONE, unit: "" });

const PLOTS = [
  { id: "learning_reward", of: (name) => name === "reward" || name.startsWith(REWARD_PART), format: index },
  { id: "learning_loss", of: (name) => ["loss", "held_out"].includes(name), format: figure },
  { id: "learning_kl", of: (name) => name === "kl", format: figure },
  { id: "learning_length", of: (name) => name === "completion_length", format: (value) => count(value, "tokens"), top: 10 },
  { id: "learning_dropped", of: (name) => name === "dropped_share", format: percent, top: 1 },
];

export function learning(section) {
  const failed = h("p", { class: "table-summary", role: "status", hidden: true });
  const none = h("p", { class: "empty panel", hidden: true },
    "Nothing was decided yet. Models learn once enough feedback came (learning.least_places), or now, by ", h("code", {}, "headwater learn"), ".");
  const standing = h("ul", { class: "models" });
  const decisions = table({
    caption: "Decisions, newest first",
    key: ({ at, model, what, version }) => `${at} ${model} ${what} ${version}`,
    rowAttributes: ({ what }) => ({ "data-testid": `decision-${what.replace(" ", "-")}` }),
    columns: [
      { label: "When", class: "when", make: ({ at }) => ({ element: h("time", { datetime: new Date(at).toISOString() }, clock(at)) }) },
      { label: "Model", class: "decision-model", make: ({ model }) => ({ element: h("strong", {}, model) }) },
      { term: "decision", class: "decision-what", make: makeWhat },
      { label: "By", class: "decision-by", make: ({ by }) => ({ element: h("span", {}, by) }) },
      { label: "Version", class: "decision-version", make: ({ version, to }) => ({ element: makeVersion(version, to) }) },
      { label: "Why", class: "reason", make: ({ reason }) => ({ element: h("span", {}, reason) }) },
    ],
  });
  const list = h("div", { class: "panel panel-table decisions", tabindex: "0", role: "region", "aria-label": "Decisions, newest first" }, decisions.element);
  const run = curves();
  section.querySelector(".section-body").replaceChildren(failed, none, standing, list, run.element);

  async function refresh() {
    const found = await request("/v1/ops/learning").catch((error) => error);
    setAttribute(section, "aria-busy", null);
    failed.hidden = !(found instanceof Error);
    if (found instanceof Error) {
      setText(failed, `Not up to date: ${found.message}.`);
      return;
    }
    none.hidden = found.decisions.length > 0;
    list.hidden = !found.decisions.length;
    standing.hidden = !found.models.length;
    keyed(standing, found.models, ({ model }) => model, makeModel);
    decisions.update(found.decisions);
    run.update(found.run);
  }

  return { refresh };
}

function makeModel({ model }) {
  const version = h("code");
  const since = h("span", { class: "purpose" });
  const pinned = h("span", { class: "chip", "data-tone": "warn" }, icon("key-round"), term("pinned", "pinned"));
  const canary = makeCanary();
  return {
    element: h("li", { class: "panel model", "data-testid": `model-${model}` },
      h("div", { class: "model-head" }, h("h3", {}, model), pinned), version, since, canary.element),
    update(standing) {
      setText(version, standing.version || "none");
      setText(since, sinceWhen(standing));
      pinned.hidden = !standing.pinned;
      canary.update(standing.canary);
    },
  };
}

function sinceWhen({ version, since, canary }) {
  if (version) return `serves since ${clock(since)}, ${ago(since, Date.now())}`;
  return canary ? "serves everybody but the canary's viewers" : "nothing that was learned serves yet";
}

/** A canary: who gets it, and what their pages earned beside all others', on a scale with 0 in its middle. */
function makeCanary() {
  const words = h("span");
  const version = h("code");
  const rewards = h("p", { class: "canary-rewards" });
  const line = h("span", { class: "interval-line" });
  const dot = h("span", { class: "interval-dot" });
  const scale = h("span", { class: "interval", "aria-hidden": "true" }, h("span", { class: "interval-zero" }), line, dot);
  const difference = h("p", { class: "interval-words" });
  const reason = h("p", { class: "purpose" });
  const element = h("div", { class: "canary" },
    h("p", { class: "model-head" }, h("span", { class: "chip", "data-tone": "warn" }, icon("hourglass"), term("canary", "canary")), words),
    version, rewards, scale, difference, reason);
  return {
    element,
    update(canary) {
      element.hidden = !canary;
      if (!canary) return;
      const { look } = canary;
      setText(words, `${look ? `${small.format(look.share * 100)}% of viewers, ` : ""}since ${clock(canary.since)}`);
      setText(version, canary.version);
      setText(rewards, look ? `Reward ${told(look.reward)} of ${look.viewers} viewers, ${told(look.other_reward)} of ${look.other_viewers} others` : "Not looked at yet: the learner does so every minute.");
      setText(reason, look?.reason ?? "");
      const known = look !== null && look.difference !== null;
      scale.hidden = difference.hidden = !known;
      if (!known) return;
      const widest = 1.25 * Math.max(Math.abs(look.low), Math.abs(look.high));
      const place = (value) => 50 + 50 * (value / widest);
      line.style.left = `${place(look.low)}%`;
      line.style.width = `${place(look.high) - place(look.low)}%`;
      dot.style.left = `${place(look.difference)}%`;
      setAttribute(scale, "data-apart", look.low > 0 || look.high < 0);
      setText(difference, `Difference ${signed.format(look.difference)} (${signed.format(look.low)} to ${signed.format(look.high)})`);
    },
  };
}

const told = (reward) => (reward === null ? NONE : small.format(reward));

function makeWhat({ what }) {
  const { tone, icon: sign, words } = WHAT[what];
  return { element: h("span", { class: "chip", "data-tone": tone }, icon(sign), words) };
}

function makeVersion(version, to) {
  if (!version) return h("span", {}, NONE);
  return h("span", {}, h("code", {}, version), to ? h("span", { class: "purpose" }, "now ", h("code", {}, to)) : null);
}

/** The newest run of learning: its curves by stage, made again where a stage or a curve is new. */
function curves() {
  const facts = h("p", { class: "table-summary" });
  const grid = h("div", { class: "charts" });
  const element = h("div", { class: "run", hidden: true }, h("h3", {}, term("learning_run")), facts, grid);
  let drawn = [];
  let signature = "";
  let newest = null;
  watch(() => drawn.forEach(({ plot }) => plot.repaint()));
  // Only in sight: a plot that is drawn where nobody looks costs as much.
  const sight = new IntersectionObserver((entries) => entries.some((entry) => entry.isIntersecting) && draw(), { rootMargin: "200px" });

  function build(stages) {
    const wanted = stages.flatMap((stage) => PLOTS.map((plot) => ({ ...plot, stage, names: Object.keys(stage.curves).filter(plot.of) })).filter(({ names }) => names.length));
    const next = wanted.map(({ id, stage, names }) => `${stage.stage} ${id} ${names}`).join("; ");
    if (next === signature) return;
    signature = next;
    drawn.forEach(({ plot }) => sight.unobserve(plot.element));
    drawn = wanted.map(({ id, stage, names, format, top }) => {
      const lines = names.map((name) => ({ name, label: name.replace(REWARD_PART, "").replaceAll("_", " ") }));
      return { stage: stage.stage, names, plot: chart({ id, lines, format, top, by: "step", note: `by step of ${STAGES[stage.stage] ?? stage.stage}` }) };
    });
    grid.replaceChildren(...drawn.map(({ plot }) => plot.element));
    drawn.forEach(({ plot }) => sight.observe(plot.element));
  }

  function draw() {
    for (const { stage, names, plot } of drawn) {
      const { steps, curves: columns } = newest.stages.find((one) => one.stage === stage);
      plot.draw([steps, ...names.map((name) => columns[name])], { from: steps[0], to: Math.max(steps.at(-1), steps[0] + 1), restarts: [] });
    }
  }

  return {
    element,
    update(run) {
      newest = run;
      element.hidden = !run;
      if (!run) return;
      setText(facts, `${run.name}, begun ${clock(run.began)}, last step ${ago(run.at, Date.now())}`);
      build(run.stages);
      draw();
    },
  };
}
