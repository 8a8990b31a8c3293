// Dead letters: a table that can be searched, and a dialog for each letter from which it is replayed.

import { h, setAttribute } from "../dom.js";
import { request } from "../http.js";
import { icon, setText } from "./updates.js";
import { clock, plural } from "./format.js";
import { letterDialog } from "./letter_dialog.js";
import { table } from "./table.js";

// A card on a narrow window takes the place of four rows.
const PAGE = matchMedia("(max-width: 62rem)").matches ? 6 : 20;
// Long enough that typing a word is one search.
const TYPING_MS = 250;

export function letters(section, { onFound }) {
  const dialog = letterDialog({ onReplayed: refresh });
  const origin = h("select", { class: "input", onchange: refresh }, h("option", { value: "" }, "All topics"));
  const reason = h("input", { class: "input", type: "search", placeholder: "Any reason", oninput: soon });
  const open = h("input", { type: "checkbox", checked: true, onchange: refresh });
  const summary = h("p", { class: "table-summary", role: "status" });
  const none = h("p", { class: "empty" });
  const more = h("button", { type: "button", class: "button", hidden: true, onclick: () => { limit += PAGE; refresh(); } }, "Show more");
  let limit = PAGE;
  let timer = 0;
  let asked = 0;

  const shown = table({
    caption: "Dead letters, newest first",
    key: (letter) => `${letter.letter_id} ${letter.failed_at}`,
    rowAttributes: () => ({ "data-testid": "letter" }),
    onRow: (row, letter) => setAttribute(row, "data-replayed", letter.replayed_at !== null),
    columns: [
      { label: "Failed at", class: "when", make: ({ failed_at: at }) => ({ element: h("time", { datetime: new Date(at).toISOString() }, clock(at)) }) },
      { label: "Origin", class: "origin", make: (letter) => ({ element: h("span", {}, letter.origin, letter.flow ? h("span", { class: "purpose" }, `in ${letter.flow}`) : null) }) },
      { label: "Reason", class: "reason", make: (letter) => ({ element: h("span", {}, letter.reason) }) },
      { label: "Payload", class: "payload", make: (letter) => ({ element: h("code", {}, letter.payload.slice(0, 120)) }) },
      { hiddenLabel: "State and replay", class: "actions", make: makeActions },
    ],
  });

  section.querySelector(".section-tools").replaceChildren(
    h("label", { class: "field" }, h("span", {}, "From"), origin),
    h("label", { class: "field" }, h("span", {}, "Reason contains"), reason),
    h("label", { class: "check" }, open, h("span", {}, "Open only")));
  section.querySelector(".section-body").replaceChildren(summary, h("div", { class: "panel panel-table" }, shown.element, none), more);
  document.body.append(dialog.element);

  function makeActions(letter) {
    const mark = h("span", { class: "chip", "data-tone": "good" }, icon("check"), h("span", {}, "replayed"));
    const details = h("button", { type: "button", class: "button button-small", onclick: () => dialog.show(letter.letter_id) },
      "Details", h("span", { class: "visually-hidden" }, ` of ${letter.letter_id}`));
    const replay = h("button", { type: "button", class: "button button-small", onclick: () => dialog.show(letter.letter_id, { confirm: true }) },
      icon("rotate-ccw"), "Replay", h("span", { class: "visually-hidden" }, ` ${letter.letter_id}`));
    return {
      element: h("span", { class: "button-row" }, mark, details, replay),
      update(newer) {
        mark.hidden = newer.replayed_at === null;
        replay.hidden = !newer.whole || newer.replayed_at !== null;
      },
    };
  }

  function soon() {
    clearTimeout(timer);
    timer = setTimeout(refresh, TYPING_MS);
  }

  async function refresh() {
    const mine = (asked += 1);
    const query = new URLSearchParams({ limit: String(limit + 1) });
    if (origin.value) query.set("origin", origin.value);
    if (reason.value.trim()) query.set("reason", reason.value.trim());
    if (open.checked) query.set("open", "true");
    const found = await request(`/v1/dead-letters?${query}`).catch((error) => error);
    // An answer that was overtaken by a newer question is of no use.
    if (mine !== asked) return;
    setAttribute(section, "aria-busy", null);
    if (found instanceof Error) {
      setText(summary, `Not up to date: ${found.message}.`);
      return;
    }
    addOrigins(found.letters);
    // One more than is shown was asked for, which tells whether there is more.
    const now = found.letters.slice(0, limit);
    shown.update(now);
    none.hidden = now.length > 0;
    const filtered = origin.value || reason.value.trim();
    setText(none, filtered ? "No dead letter matches." : found.total && open.checked
      ? "No open dead letter: all were replayed." : "No dead letter: all input could be used.");
    setText(summary, `${plural(found.open, "open letter")} of ${found.total.toLocaleString("en")} kept${now.length ? `, ${plural(now.length, "letter")} shown` : ""}`);
    more.hidden = found.letters.length <= limit;
    onFound(found);
  }

  function addOrigins(found) {
    const known = new Set([...origin.options].map((option) => option.value));
    for (const name of new Set(found.map((letter) => letter.origin))) {
      if (!known.has(name)) origin.append(h("option", { value: name }, name));
    }
  }

  return { refresh };
}
