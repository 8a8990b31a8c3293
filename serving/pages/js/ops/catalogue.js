// What can be shown: how much of it, how old it is, and how new videos spend their exploration budget.

import { h } from "../dom.js";
import { keyed, setText } from "./updates.js";
import { quantity, stat } from "./figure.js";
import { count, duration, hours, index, percent, plural, text } from "./format.js";
import { term } from "./help.js";
import { table } from "./table.js";

// The newest of the new: those that are explored now.
const MOST_SHOWN = 8;

export function catalogue(section) {
  const stats = {
    videos: stat("videos"),
    live_rooms: stat("live_rooms"),
    authors: stat("authors"),
    new_videos: stat("new_videos"),
    exposure_gini: stat("exposure_gini"),
    served_gini: stat("served_gini"),
    served_new_share: stat("served_new_share"),
    kept_places: stat("kept_places"),
    author_weight: stat("author_weight"),
  };
  const ages = h("ul", { class: "ages" });
  const newest = table({
    caption: "New videos and their exploration",
    key: (video) => video.video_id,
    columns: [
      { label: "New video", class: "video-title", bare: true, make: makeTitle },
      { term: "exploration", class: "exploration", make: makeBudget },
      { term: "stage", make: () => words((video) => video.stage) },
      { term: "success", class: "number", make: () => figure((video) => percent(video.success)) },
      { term: "age", class: "number", make: () => figure((video, now) => duration((now - video.uploaded_at) / 1000)) },
    ],
  });
  const none = h("p", { class: "empty" }, "No video is new: all have spent their exploration budget, or nothing was uploaded.");
  section.querySelector(".section-body").replaceChildren(
    h("div", { class: "catalogue-now panel" },
      h("dl", { class: "stats" }, Object.values(stats).map((one) => one.element)),
      h("h3", {}, term("ages")), ages),
    h("div", { class: "panel panel-table" }, newest.element, none));

  return {
    update({ catalogue: view, fairness, at }) {
      stats.videos.set(count(view.videos));
      stats.live_rooms.set(count(view.live_rooms));
      stats.authors.set(count(view.authors));
      stats.new_videos.set(count(view.new_videos));
      stats.exposure_gini.set(index(view.exposure_gini));
      stats.served_gini.set(besideTarget(index, fairness.author_gini, fairness.author_gini_target, "at most"));
      stats.served_new_share.set(besideTarget(percent, fairness.new_share, fairness.new_share_target, "target"));
      stats.kept_places.set({ ...index(fairness.places), unit: "of 10" });
      stats.author_weight.set(index(fairness.author_weight));
      const most = Math.max(1, ...view.ages.map((bucket) => bucket.videos));
      keyed(ages, view.ages.map((bucket, position) => ({ ...bucket, most, from: view.ages[position - 1]?.up_to_h })), (bucket) => bucket.up_to_h, makeAge);
      none.hidden = view.newest.length > 0;
      newest.update(view.newest.slice(0, MOST_SHOWN).map((video) => ({ ...video, now: at })));
    },
  };
}

/** A figure whose unit names its target, where it has one. */
function besideTarget(format, value, target, word) {
  const shown = format(value);
  return typeof target === "number" ? { value: shown.value, unit: `${shown.unit && `${shown.unit} `}(${word} ${text(format(target))})`.trim() } : shown;
}

function words(read) {
  const element = h("span");
  return { element, update: (video) => setText(element, read(video)) };
}

function figure(read) {
  const shown = quantity();
  return { element: shown.element, update: (video) => shown.set(read(video, video.now)) };
}

function makeTitle({ title, video_id: id, author_id: author }) {
  return { element: h("span", { class: "video" }, h("strong", {}, title || id), h("span", { class: "purpose" }, `${id} by ${author}`)) };
}

function makeBudget() {
  const fill = h("span", { class: "bar-fill" });
  const label = h("span", { class: "bar-label" });
  return {
    element: h("span", { class: "budget" }, h("span", { class: "bar", "aria-hidden": "true" }, fill), label),
    update({ impressions, budget }) {
      fill.style.width = `${budget ? Math.min(100, (impressions / budget) * 100) : 0}%`;
      setText(label, `${text(count(impressions))} of ${plural(budget, "impression")}`);
    },
  };
}

function makeAge({ up_to_h: upTo, from }) {
  const fill = h("span", { class: "bar-fill" });
  const number = h("span", { class: "bar-label" });
  const label = upTo > 1e6 ? `over ${hours(from)}` : from ? `${hours(from)} to ${hours(upTo)}` : `up to ${hours(upTo)}`;
  return {
    element: h("li", {}, h("span", {}, label), h("span", { class: "bar", "aria-hidden": "true" }, fill), number),
    update({ videos, most }) {
      fill.style.width = `${(videos / most) * 100}%`;
      setText(number, plural(videos, "video"));
    },
  };
}
