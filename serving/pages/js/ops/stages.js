// Where the time of a page goes: a bar for each stage, by kind, with the candidates that go in and come out.

import { h } from "../dom.js";
import { keyed, setText } from "./updates.js";
import { count, milliseconds, text } from "./format.js";

const KINDS = ["hydrator", "source", "filter", "scorer", "selector", "effect"];
const TITLES = {
  hydrator: ["Hydrators", "what is known of the viewer"],
  source: ["Sources", "where candidates come from"],
  filter: ["Filters", "which may stay"],
  scorer: ["Scorers", "what each is worth"],
  selector: ["Selector", "the page"],
  effect: ["Effects", "what is recorded"],
};

export function stages(section) {
  const kinds = h("div", { class: "stage-kinds panel" });
  const none = h("p", { class: "empty panel" }, "No page was made in the last minute.");
  section.querySelector(".section-body").replaceChildren(kinds, none);
  return {
    update({ feed }) {
      const longest = Math.max(0.001, ...feed.stages.map((stage) => stage.mean_ms));
      const present = [...new Set([...KINDS, ...feed.stages.map((stage) => stage.kind)])]
        .map((kind) => ({ kind, longest, stages: feed.stages.filter((stage) => stage.kind === kind) }))
        .filter((group) => group.stages.length);
      none.hidden = present.length > 0;
      kinds.hidden = !present.length;
      keyed(kinds, present, (group) => group.kind, makeKind);
    },
  };
}

function makeKind({ kind }) {
  const [title, note] = TITLES[kind] ?? [kind, ""];
  const sum = h("span", { class: "stage-sum" });
  const list = h("ul", { class: "stages" });
  return {
    element: h("div", { class: "stage-kind" },
      h("h3", {}, title, " ", h("span", { class: "purpose" }, note), sum), list),
    update({ stages: found, longest }) {
      setText(sum, text(milliseconds(found.reduce((total, stage) => total + stage.mean_ms, 0))));
      keyed(list, found.map((stage) => ({ ...stage, longest })), (stage) => stage.name, makeStage);
    },
  };
}

function makeStage({ name }) {
  const fill = h("span", { class: "bar-fill" });
  const time = h("span", { class: "bar-label" });
  const flow = h("span", { class: "stage-flow" });
  return {
    element: h("li", {}, h("span", { class: "stage-name" }, name), h("span", { class: "bar", "aria-hidden": "true" }, fill), time, flow),
    update({ mean_ms: ms, longest, kind, candidates_in: into, candidates_out: out }) {
      fill.style.width = `${(ms / longest) * 100}%`;
      setText(time, text(milliseconds(ms)));
      setText(flow, kind === "hydrator" ? "" : kind === "source" ? `${text(count(out))} found` : `${text(count(into))} → ${text(count(out))}`);
    },
  };
}
