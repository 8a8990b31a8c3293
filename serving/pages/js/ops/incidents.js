// What happened, from what is known: restarts in the series, letters, purges, and the outages this page saw itself. Pure but for `Witness`.

import { ago, duration, plural, text } from "./format.js";
import { condition } from "./verdict.js";

const REMEMBERED = "headwater.ops.witnessed";
const MOST_WITNESSED = 100;
// Letters with one reason that came this close together are one incident.
const TOGETHER_MS = 60_000;

/** Watches views and notes what goes down and comes back. Kept for the browser tab, so that a reload forgets nothing. */
export class Witness {
  #before = new Map();
  #since = new Map();
  found = JSON.parse(sessionStorage.getItem(REMEMBERED) ?? "[]");

  see(view) {
    for (const server of view.servers) {
      this.#turn(`server ${server.name}`, server.ok ? "up" : "down", view.at, {
        down: [`${server.name} went down`, server.detail],
        up: [`${server.name} is back`, ""],
      });
    }
    for (const flow of view.flows) {
      const state = condition(flow);
      // A moment's quiet is no incident.
      this.#turn(`flow ${flow.name}`, state === "quiet" ? undefined : state === "running" ? "up" : "down", view.at, {
        down: [state === "restarting" ? `${flow.name} ended` : `${flow.name} fell silent`, "its events wait in the broker"],
        up: [`${flow.name} runs again`, ""],
      });
    }
    this.#turn("feed", view.feed.degraded ? "down" : "up", view.at, {
      down: ["Pages are made from memory", "the feature store does not answer in time"],
      up: ["Pages are made from features again", ""],
    });
  }

  /** Note whether this page reaches the API. */
  reach(reached, at, reason = "") {
    this.#turn("api", reached ? "up" : "down", at, {
      down: ["The API stopped answering", reason],
      up: ["The API answers again", ""],
    });
  }

  #turn(what, state, at, words) {
    if (state === undefined) return;
    const before = this.#before.get(what);
    this.#before.set(what, state);
    if (before === state || (before === undefined && state === "up")) return;
    const [title, detail] = words[state];
    const away = state === "up" && this.#since.has(what) ? `after ${text(duration(Math.round((at - this.#since.get(what)) / 1000)))}` : "";
    this.#since.set(what, at);
    this.found.push({ at, tone: state === "up" ? "good" : "bad", icon: state === "up" ? "circle-check" : "unplug", title, detail: away || detail });
    this.found = this.found.slice(-MOST_WITNESSED);
    sessionStorage.setItem(REMEMBERED, JSON.stringify(this.found));
  }
}

/** All incidents, newest first: {key, at, tone, icon, title, detail, link}. */
export function incidents({ witnessed, restarts, letters, purges }) {
  const found = [
    ...witnessed,
    ...restarts.map(({ at, name, by }) => ({
      at, tone: "warn", icon: "rotate-ccw", title: `${name} was started again`, detail: by > 1 ? `${by} times` : "by the supervisor",
    })),
    ...together(letters),
    ...letters.filter((letter) => letter.replayed_at !== null).map((letter) => ({
      at: letter.replayed_at, tone: "good", icon: "inbox", title: "A dead letter was replayed", detail: letter.letter_id, link: "#dead-letters",
    })),
    ...purges.map(purged),
  ];
  found.forEach((one) => (one.key = `${one.at} ${one.title} ${one.detail}`));
  return found.sort((one, other) => other.at - one.at);
}

function together(letters) {
  const groups = [];
  for (const letter of letters.toSorted((one, other) => one.failed_at - other.failed_at)) {
    const group = groups.findLast((one) => one.reason === letter.reason && one.origin === letter.origin);
    if (group && letter.failed_at - group.last < TOGETHER_MS) {
      group.count += 1;
      group.last = letter.failed_at;
    } else groups.push({ reason: letter.reason, origin: letter.origin, last: letter.failed_at, count: 1 });
  }
  return groups.map(({ reason, origin, last, count }) => ({
    at: last, tone: "warn", icon: "inbox", title: `${plural(count, "dead letter")} from ${origin}`, detail: reason, link: "#dead-letters",
  }));
}

function purged({ subject, subject_id: id, at, stores, complete }) {
  const gone = stores.filter((store) => store.status === "purged").length;
  const pending = stores.filter((store) => store.status === "pending").length;
  return {
    at,
    tone: complete ? "good" : "warn",
    icon: subject === "video" ? "video-off" : "user-x",
    title: subject === "video" ? `Takedown of ${id}` : `Erasure of ${id}`,
    detail: `${plural(gone, "store")} purged${pending ? `, ${pending} pending` : ""}`,
    link: "#purges",
  };
}

/** "12 s ago" within an hour, so that fresh is told from old at a glance. */
export const since = (at, now) => (now - at < 3_600_000 ? ago(at, now) : "");
