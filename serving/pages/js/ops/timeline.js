// The list of what happened, beside everything else on a wide window.

import { h } from "../dom.js";
import { icon, keyed, setText } from "./updates.js";
import { clock } from "./format.js";
import { incidents, since } from "./incidents.js";

const MOST_SHOWN = 80;
// Long enough to catch the eye of someone who looked away.
const NEW_MS = 15_000;

export function timeline(section) {
  const list = h("ol", { class: "timeline" });
  const empty = h("p", { class: "empty" }, "Nothing happened in the last hour: no restart, no outage, no dead letter.");
  section.querySelector(".section-body").replaceChildren(list, empty);
  return {
    update(known, now) {
      const found = incidents(known).slice(0, MOST_SHOWN);
      empty.hidden = found.length > 0;
      list.hidden = !found.length;
      keyed(list, found.map((one) => ({ ...one, now })), (one) => one.key, make);
    },
  };
}

function make({ at, tone, icon: name, title, detail, link }) {
  const past = h("span", { class: "timeline-ago" });
  const element = h("li", { class: "timeline-item", "data-tone": tone },
    icon(name),
    h("div", {},
      h("p", { class: "timeline-title" }, link ? h("a", { href: link }, title) : title),
      detail ? h("p", { class: "timeline-detail" }, detail) : null,
      h("p", { class: "timeline-when" }, h("time", { datetime: new Date(at).toISOString() }, clock(at)), past)));
  return {
    element,
    update({ now }) {
      const words = since(at, now);
      setText(past, words && ` · ${words}`);
      element.classList.toggle("timeline-new", now - at < NEW_MS);
    },
  };
}
