// One dead letter, whole: where it came from, why it failed, its payload, and another try for it.

import { h } from "../dom.js";
import { request } from "../http.js";
import { icon, setText } from "./updates.js";
import { bytes, clock, text } from "./format.js";

export function letterDialog({ onReplayed }) {
  const title = h("h2", { id: "letter-title" });
  const body = h("div", { class: "letter-body" });
  const close = h("button", { type: "button", class: "button button-quiet icon-button", onclick: () => element.close() },
    icon("x"), h("span", { class: "visually-hidden" }, "Close"));
  const element = h("dialog", { class: "letter", "aria-labelledby": "letter-title" }, h("header", { class: "dialog-head" }, title, close), body);
  element.addEventListener("click", (event) => event.target === element && element.close());

  async function show(id, { confirm = false } = {}) {
    setText(title, "Dead letter");
    body.replaceChildren(h("div", { class: "skeleton skeleton-letter" }));
    if (!element.open) element.showModal();
    try {
      render(await request(path(id)), confirm);
    } catch (error) {
      body.replaceChildren(h("p", { class: "notice", "data-tone": "bad", role: "alert" }, icon("octagon-x"), `This letter cannot be read: ${error.message}.`));
    }
  }

  function render(letter, confirm) {
    const pretty = prettyPrinted(letter.payload);
    const payload = h("pre", { class: "code", tabindex: "0", role: "region", "aria-label": "Payload" }, h("code", {}, pretty ?? letter.payload));
    const copied = h("span", {}, "Copy");
    const copy = h("button", { type: "button", class: "button button-small", onclick: () => copyText(pretty ?? letter.payload, copied) }, icon("copy"), copied);
    const facts = [
      ["Reason", h("span", { class: "letter-reason" }, letter.reason)],
      ["Came from", `${letter.letter_id} (topic / partition / offset)`],
      letter.flow ? ["Failed in", `${letter.flow}, ${clock(letter.failed_at)}`] : ["Failed at", clock(letter.failed_at)],
      letter.key === null ? null : ["Key", h("code", {}, letter.key)],
      ["Size", text(bytes(letter.payload_bytes))],
    ].filter(Boolean);
    setText(title, `Dead letter from ${letter.origin}`);
    body.replaceChildren(
      h("dl", { class: "facts" }, facts.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))),
      h("div", { class: "payload-head" }, h("h3", {}, pretty ? "Payload, as JSON" : "Payload"), copy),
      payload,
      replay(letter, confirm));
  }

  function replay(letter, confirm) {
    const place = h("div", { class: "letter-replay" });
    const say = (tone, name, words) => h("p", { class: "notice", "data-tone": tone, role: "status" }, icon(name), h("span", {}, words));
    const again = h("button", { type: "button", class: "button button-primary", onclick: ask }, icon("rotate-ccw"), "Replay");

    function ask() {
      const send = h("button", { type: "button", class: "button button-primary", onclick: run }, "Send again");
      const leave = h("button", { type: "button", class: "button", onclick: begin }, "Cancel");
      place.replaceChildren(
        h("p", {}, "Its bytes go to the topic ", h("code", {}, letter.origin), " again, with the same key. If its cause is not fixed, a new letter will come. What was counted already counts once all the same."),
        h("div", { class: "button-row" }, send, leave));
      send.focus();
    }

    async function run(event) {
      event.currentTarget.disabled = true;
      try {
        const sent = await request(`${path(letter.letter_id)}/replay`, { method: "POST" });
        place.replaceChildren(say("good", "circle-check", `Sent to ${sent.origin} at ${clock(sent.replayed_at ?? Date.now())}.`));
        onReplayed();
      } catch (error) {
        place.replaceChildren(say("bad", "octagon-x", `Not sent: ${error.message}.`), again);
        again.focus();
      }
    }

    function begin() {
      place.replaceChildren(...(letter.replayed_at === null ? [] : [say("good", "circle-check", `Was replayed at ${clock(letter.replayed_at)}.`)]), again);
    }

    if (!letter.whole) place.replaceChildren(say("warn", "triangle-alert", "Only its beginning was kept, so it cannot be replayed: send the event again from its producer."));
    else if (confirm) ask();
    else begin();
    return place;
  }

  return { element, show };
}

const path = (id) => `/v1/dead-letters/${id.split("/").map(encodeURIComponent).join("/")}`;

function prettyPrinted(payload) {
  try {
    return JSON.stringify(JSON.parse(payload), null, 2);
  } catch {
    return null;
  }
}

async function copyText(words, label) {
  try {
    await navigator.clipboard.writeText(words);
    setText(label, "Copied");
  } catch {
    setText(label, "Select it and copy: the browser refused");
  }
}
