// Tips on terms: each term is a button with its explanation as its description. Pointer, focus or touch show it, Escape hides it.

import { h } from "../dom.js";
import { TERMS } from "./glossary.js";

const SHOW_AFTER_MS = 120;
// Time for the pointer to cross from the term onto its tip.
const HIDE_AFTER_MS = 160;

const texts = h("div", { hidden: true });
const tip = h("div", { class: "tip", popover: "manual", id: "tip", "aria-hidden": "true" });
let shownFor = null;
let timer = 0;

/** A button that names a term and explains it; `label` where the place wants another word for it. */
export function term(id, label = TERMS[id].label) {
  return h("button", { type: "button", class: "term", "data-term": id, "aria-describedby": describe(id) }, label);
}

function describe(id) {
  const name = `about-${id}`;
  if (!texts.querySelector(`#${name}`)) {
    const { means, bad } = TERMS[id];
    texts.append(h("p", { id: name }, bad ? `${means} ${bad}` : means));
  }
  return name;
}

/** Listen for what shows and hides tips; once for the page. */
export function install() {
  document.body.append(texts, tip);
  document.addEventListener("pointerover", (event) => {
    if (event.pointerType === "touch") return;
    const button = event.target.closest?.(".term");
    if (button) later(() => show(button), SHOW_AFTER_MS);
    else if (tip.contains(event.target)) clearTimeout(timer);
    else if (shownFor && shownFor !== document.activeElement) later(hide, HIDE_AFTER_MS);
    else if (!shownFor) clearTimeout(timer);
  });
  document.addEventListener("focusin", (event) => {
    if (event.target.matches(".term:focus-visible")) show(event.target);
    else hide();
  });
  document.addEventListener("click", (event) => {
    const button = event.target.closest(".term");
    if (button) show(button);
    else if (!tip.contains(event.target)) hide();
  });
  // Before a dialog hears it: the first Escape hides the tip, the second closes the dialog.
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && shownFor) {
      event.preventDefault();
      event.stopPropagation();
      hide();
    }
  }, true);
  addEventListener("scroll", () => shownFor && (shownFor.isConnected ? place(shownFor) : hide()), { capture: true, passive: true });
}

function later(action, ms) {
  clearTimeout(timer);
  timer = setTimeout(action, ms);
}

function show(button) {
  clearTimeout(timer);
  if (!button.isConnected) return;
  const { label, means, bad } = TERMS[button.dataset.term];
  tip.replaceChildren(h("strong", {}, label), h("p", {}, means), ...(bad ? [h("p", { class: "tip-bad" }, bad)] : []));
  // Shown anew each time, so that it lies above a dialog opened since.
  if (tip.matches(":popover-open")) tip.hidePopover();
  tip.showPopover();
  shownFor = button;
  place(button);
}

function place(button) {
  const at = button.getBoundingClientRect();
  const { width, height } = tip.getBoundingClientRect();
  const left = Math.min(Math.max(8, at.left), innerWidth - width - 8);
  const below = at.bottom + 8;
  const top = below + height < innerHeight - 8 || at.top < height + 16 ? below : at.top - height - 8;
  tip.style.left = `${left}px`;
  tip.style.top = `${top}px`;
}

function hide() {
  clearTimeout(timer);
  if (tip.matches(":popover-open")) tip.hidePopover();
  shownFor = null;
}
