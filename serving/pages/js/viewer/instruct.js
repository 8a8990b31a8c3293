/** The box for wishes in words, with examples, and what became of the last one: read off the reasons of the next page. */

import { byId, h } from "../dom.js";
import { isAnswer } from "./loop.js";
import { counted } from "./words.js";

/** @param {import("./loop.js").Loop} loop @param {() => void} onSeen the viewer wants to see what changed */
export function installAsk(loop, onSeen) {
  const dialog = byId("ask");
  const field = byId("ask-field");
  for (const chip of dialog.querySelectorAll("[data-wish]")) {
    chip.addEventListener("click", () => {
      field.value = chip.textContent;
      byId("ask-form").requestSubmit();
    });
  }
  byId("ask-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    const text = field.value.trim();
    if (!text || dialog.hasAttribute("data-busy")) return;
    dialog.toggleAttribute("data-busy", true);
    answer(h("p", {}, `Sent: “${text}”. Waiting for the next page …`));
    const round = await loop.wish(text);
    dialog.removeAttribute("data-busy");
    if (round.trouble) {
      answer(h("p", { class: "ask-trouble" }, `It could not be sent: ${round.trouble}. Your words are still here.`));
      return;
    }
    field.value = "";
    answer(...understood(round), seeButton(dialog, onSeen));
  });
  dialog.addEventListener("close", () => answer());
}

/** @param {import("./loop.js").Round} round */
function understood(round) {
  const reasons = new Map();
  for (const reason of round.reasons.filter(isAnswer)) reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
  const changed = `${round.changed.length} of the next ${counted(round.next, "video")} changed.`;
  if (!reasons.size) return [h("p", {}, h("strong", {}, `Taken: “${round.about}”. `), changed)];
  return [
    h("p", {}, h("strong", {}, "Understood. "), changed),
    h("ul", { class: "ask-reasons" }, ...[...reasons].map(([reason, count]) => h("li", {}, h("span", {}, reason), h("span", {}, `${count} of ${round.next}`)))),
  ];
}

function seeButton(dialog, onSeen) {
  const button = h("button", { type: "button", class: "button button-primary" }, "Show me");
  button.addEventListener("click", () => {
    dialog.close();
    onSeen();
  });
  return button;
}

function answer(...nodes) {
  byId("ask-answer").replaceChildren(...nodes);
}
