// One number with its term, its unit and, where it is bad, a sign and a word: colour alone says nothing.

import { h, setAttribute } from "../dom.js";
import { icon, setText } from "./updates.js";
import { NONE } from "./format.js";
import { term } from "./help.js";

/** A value with its unit, to be put anywhere; `set(quantity, tone, why)` with tone "", "warn" or "bad". */
export function quantity() {
  const value = h("span", { class: "value" }, NONE);
  const unit = h("span", { class: "unit" });
  const sign = icon("triangle-alert");
  sign.hidden = true;
  const why = h("span", { class: "visually-hidden" });
  const element = h("span", { class: "quantity" }, sign, value, unit, why);
  return {
    element,
    set(shown, tone = "", reason = "") {
      setText(value, shown.value);
      // The space is part of the text, so that it is read and copied as "12 ms".
      setText(unit, shown.value === NONE || !shown.unit ? "" : /^[%/]/.test(shown.unit) ? shown.unit : ` ${shown.unit}`);
      setText(why, shown.value === NONE ? " not measured" : tone && ` (${reason})`);
      setAttribute(element, "data-tone", tone || null);
      sign.hidden = !tone;
    },
  };
}

/** A term over its value, for a `dl`. */
export function stat(id, label) {
  const shown = quantity();
  return { element: h("div", { class: "stat", "data-testid": `stat-${id}` }, h("dt", {}, term(id, label)), h("dd", {}, shown.element)), set: shown.set };
}
