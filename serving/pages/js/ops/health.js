// The top of the page: the verdict in a sentence, and each server with its state in words, its detail and its answer time.

import { h, setAttribute } from "../dom.js";
import { icon, keyed, setIcon, setText } from "./updates.js";
import { ago, milliseconds, plural, text } from "./format.js";
import { TERMS } from "./glossary.js";
import { term } from "./help.js";
import { verdict } from "./verdict.js";

const ICONS = { good: "circle-check", warn: "triangle-alert", bad: "octagon-x", off: "circle-off" };
// Above this, a server on the same machine or network is not itself.
const SLOW_ANSWER_MS = 250;

export function health(section) {
  const sign = icon("loader-circle");
  const sentence = h("p", { class: "verdict-sentence" }, "Asking the API…");
  const also = h("ul", { class: "verdict-also" });
  const verdictBox = h("div", { class: "verdict", role: "status", "data-testid": "verdict" }, sign, h("div", {}, sentence, also));
  const servers = h("ul", { class: "servers", "aria-label": "Servers" });
  const awaited = h("div", { class: "skeleton skeleton-strip" });
  section.replaceChildren(verdictBox, awaited);

  function say({ tone, sentence: words, also: more }) {
    setAttribute(verdictBox, "data-tone", tone);
    setIcon(sign, ICONS[tone]);
    setText(sentence, words);
    keyed(also, more, (line) => line, (line) => ({ element: h("li", {}, line) }));
  }

  function list(view) {
    awaited.replaceWith(servers);
    keyed(servers, listed(view), (server) => server.name, makeServer);
  }

  return {
    update(view) {
      say(verdict(view));
      list(view);
    },
    /** Say that the API is away; `heardAt` is when it last spoke and `view` what it said, null where it never did. */
    down(state, { heardAt, view, now }) {
      if (view) list({ ...view, servers: view.servers.map((server) => (server.name === "api" ? { ...server, ok: false, detail: state.reason, answered_ms: null } : server)) });
      const old = heardAt === null ? "Nothing was heard of it yet." : `What you see was last heard ${ago(heardAt, now)}.`;
      const next = Math.max(0, Math.ceil((state.retryAt - now) / 1000));
      say({
        tone: "bad",
        sentence: "The API does not answer: apps keep their events and send them again.",
        also: [`${old} ${next ? `Trying again in ${next} s` : "Trying again now"} (${state.reason}).`],
      });
    },
    locked() {
      say({ tone: "warn", sentence: "This page needs an admin key.", also: [] });
    },
  };
}

function listed(view) {
  if (view.servers.some((server) => server.name === "supervisor")) return view.servers;
  const detail = view.supervised ? "starts again what dies" : "nothing starts again by itself";
  return [...view.servers, { name: "supervisor", ok: view.supervised, optional: true, detail, restarts: null, answered_ms: null }];
}

function makeServer({ name }) {
  const sign = icon("circle-check");
  const word = h("strong", { class: "server-word" });
  const time = h("span", { class: "server-time" });
  const detail = h("span", { class: "server-detail" });
  // A model's canary is named after it: "ranker.canary".
  const [model, canary] = name.split(".");
  const title = canary && TERMS[model] ? term(model, `${TERMS[model].label}, ${canary}`) : TERMS[name] ? term(name) : h("span", {}, name);
  const element = h("li", { class: "server", "data-testid": `server-${name}` },
    sign, h("span", { class: "server-name" }, title), word, time, detail);
  return {
    element,
    update(server) {
      const slow = server.answered_ms !== null && server.answered_ms > SLOW_ANSWER_MS;
      const tone = server.ok ? (slow ? "warn" : "good") : server.optional ? "off" : "bad";
      setAttribute(element, "data-tone", tone);
      setIcon(sign, ICONS[tone]);
      setText(word, { good: "ok", warn: "slow", bad: "down", off: "none" }[tone]);
      setText(time, server.answered_ms === null ? "" : text(milliseconds(server.answered_ms)));
      setText(detail, server.restarts ? `${server.detail} · ${plural(server.restarts, "restart")}` : server.detail);
    },
  };
}
