/**
 * One place of the feed as an element: the clip, or a title card where there is no media, with the words over it and the rail of
 * actions. It knows how to look; what happens on a tap is the feed's business, by `data-action`.
 *
 * @typedef {import("./api.js").Item} Item
 *
 * @typedef {object} Card
 * @property {Item} item
 * @property {string | null} requestId the page that brought it; null for one that the viewer asked to see
 * @property {Record<string, number>} parts what its score adds up from
 * @property {string[]} foundBy
 * @property {HTMLElement} element
 * @property {HTMLVideoElement | null} video there while its media is loaded
 * @property {string | null} cause the tap because of which it is here
 * @property {boolean} broken its media could not be played
 * @property {import("./watch.js").Seen} seen
 */

import { h } from "../dom.js";
import { icon } from "./icons.js";
import { unseen } from "./watch.js";

const HUES = 8; // as many as there are --series-N tokens
const ARTS = 4;
let made = 0;

/**
 * @param {Item} item
 * @param {{requestId?: string | null, parts?: Record<string, number>, foundBy?: string[], cause?: string | null}} [origin]
 * @returns {Card}
 */
export function makeCard(item, { requestId = null, parts = {}, foundBy = [], cause = null } = {}) {
  const titleId = `card-title-${(made += 1)}`;
  const element = h(
    "article",
    { class: "card", "data-hue": hue(item), "data-art": hash(item.video_id) % ARTS, "data-video": item.video_id, "aria-labelledby": titleId, tabindex: -1 },
    h("div", { class: "card-visual", "aria-hidden": "true" }, h("div", { class: "card-art" })),
    h("button", { class: "card-surface", type: "button", "data-action": "pause", "aria-label": "Pause" }, h("span", { class: "card-paused" }, icon("play"))),
    words(item, titleId, cause),
    rail(item),
    h("div", { class: "card-progress", "aria-hidden": "true" }, h("div", {})),
  );
  element.toggleAttribute("data-media", Boolean(item.media_url));
  return { item, requestId, parts, foundBy, element, video: null, cause, broken: false, seen: unseen() };
}

/**
 * @param {any} video as the catalogue knows it
 * @param {string} reason
 * @returns {Item} a place for a video that no page brought
 */
export function asked(video, reason) {
  return { ...video, position: 0, score: 0, propensity: 1, source: "asked", reason, new: false };
}

/** Turn a card whose media can't be played into a title card that says so. @param {Card} card */
export function showBroken(card) {
  card.broken = true;
  card.element.removeAttribute("data-media");
  card.element.querySelector(".card-words").append(h("p", { class: "card-broken", role: "status" }, icon("film"), "This clip can’t be played now"));
}

/** It may be playable after all. @param {Card} card */
export function mend(card) {
  card.broken = false;
  card.element.setAttribute("data-media", "");
  card.element.querySelector(".card-broken")?.remove();
}

/** @param {Card} card @param {boolean} liked */
export function showLiked(card, liked) {
  const button = card.element.querySelector('[data-action="like"]');
  button.setAttribute("aria-pressed", String(liked));
  button.querySelector(".rail-label").textContent = liked ? "Liked" : "Like";
}

function words(item, titleId, cause) {
  const live = item.kind === "live";
  return h(
    "div",
    { class: "card-words" },
    h("h2", { class: "card-title", id: titleId, "data-size": item.title.length > 70 ? "long" : item.title.length > 36 ? "medium" : "short" }, item.title),
    cause && h("p", { class: "card-mark" }, icon("sparkles"), cause),
    h(
      "p",
      { class: "card-author" },
      h("span", { class: "card-name" }, `@${item.author_id}`),
      live && h("span", { class: "badge badge-live" }, "Live"),
      item.new && h("span", { class: "badge" }, "New"),
    ),
    item.topics.length > 0 && h("ul", { class: "card-topics", "aria-label": "Topics" }, ...item.topics.slice(0, 3).map((topic) => h("li", {}, topic))),
    h("button", { class: "card-reason", type: "button", "data-action": "why" }, icon("sparkles"), h("span", {}, item.reason)),
  );
}

function rail(item) {
  const button = (action, symbol, label, attributes = {}) =>
    h("button", { class: "rail-button", type: "button", "data-action": action, ...attributes }, h("span", { class: "rail-icon" }, icon(symbol)), h("span", { class: "rail-label" }, label));
  return h(
    "div",
    { class: "rail", role: "group", "aria-label": `Actions for ${item.title}` },
    button("like", "heart", "Like", { "aria-pressed": "false" }),
    button("share", "share-2", "Share"),
    button("not_interested", "eye-off", "Less", { "aria-label": "Less of this: not interested" }),
    button("why", "circle-question-mark", "Why", { "aria-label": "Why is this here?", "aria-haspopup": "dialog" }),
    item.media_url && button("sound", "volume-x", "Sound", { "aria-pressed": "false" }),
  );
}

/** A topic has its colour everywhere; a video without topics has one of its own. */
function hue(item) {
  return (hash(item.topics[0] ?? item.video_id) % HUES) + 1;
}

/** FNV-1a: the same text gives the same colour on every visit. @param {string} text */
function hash(text) {
  let value = 0x811c9dc5;
  for (let index = 0; index < text.length; index += 1) value = Math.imul(value ^ text.charCodeAt(index), 0x01000193) >>> 0;
  return value;
}
