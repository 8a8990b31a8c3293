/** One short confirmation at a time, seen for a moment and read out by screen readers. */

import { byId, h } from "../dom.js";

const SHOWN_MS = 5_000;
let timer = 0;

/**
 * @param {string} text
 * @param {{label: string, run: () => void}} [action] what can be done about it
 */
export function toast(text, action) {
  const place = byId("toast");
  clearTimeout(timer);
  const button = action && h("button", { type: "button", class: "toast-action" }, action.label);
  button?.addEventListener("click", () => {
    hide();
    action.run();
  });
  place.replaceChildren(h("p", {}, text), button ?? "");
  place.hidden = false;
  // A toast under the pointer, or with the focus in it, is being read.
  const again = () => (place.matches(":hover, :focus-within") ? (timer = setTimeout(again, SHOWN_MS)) : hide());
  timer = setTimeout(again, SHOWN_MS);
}

function hide() {
  byId("toast").hidden = true;
}
