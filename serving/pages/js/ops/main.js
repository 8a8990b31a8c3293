// The operator's page: what the API tells every second, shown by the parts of the page, each in a module of its own.

import { catalogue } from "./catalogue.js";
import { follow } from "./connection.js";
import { h, setAttribute } from "../dom.js";
import { icon, setIcon, setText } from "./updates.js";
import { experiments } from "./experiments.js";
import { flows } from "./flows.js";
import { ago } from "./format.js";
import { health } from "./health.js";
import * as help from "./help.js";
import { Witness } from "./incidents.js";
import { learning } from "./learning.js";
import { letters } from "./letters.js";
import { now } from "./now.js";
import { plots, restartsOf } from "./plots.js";
import { purges } from "./purges.js";
import { Series } from "./series.js";
import { session } from "./session.js";
import { stages } from "./stages.js";
import { timeline } from "./timeline.js";

// Lists are asked for again when their topic moved, and this often in any case: another node may have changed them.
const LISTS_EVERY_MS = 15_000;
// A pending proof is worth asking for sooner.
const PENDING_EVERY_MS = 2000;

const part = (id) => document.getElementById(id);

help.install();
document.querySelectorAll("[data-help]").forEach((place) => place.replaceWith(help.term(place.dataset.help, place.textContent)));

const series = new Series();
const witness = new Witness();
const known = { letters: [], purges: [] };
const connection = { name: "loading" };
let heardAt = null;
let view = null;
let asked = { at: 0, moved: "" };

const gate = session(part("sign-out"));
const top = health(part("health").querySelector(".health"));
// Made once there is something to show: until then their places are skeletons.
let shown = null;
const lamp = { element: part("connection"), sign: icon("loader-circle"), words: h("span", {}, "Connecting") };
lamp.element.replaceChildren(lamp.sign, lamp.words);

function makeParts() {
  return {
    now: now(part("now")),
    flows: flows(part("flows").querySelector(".section-body")),
    timeline: timeline(part("timeline")),
    plots: plots(part("plots"), series),
    catalogue: catalogue(part("catalogue")),
    stages: stages(part("feed")),
    experiments: experiments(part("experiments")),
    learning: learning(part("learning")),
    letters: letters(part("dead-letters"), { onFound: (found) => (known.letters = found.letters) }),
    purges: purges(part("purges"), { onFound: (found) => (known.purges = found) }),
  };
}

function onSample(sample) {
  shown ??= makeParts();
  view = sample.view;
  heardAt = Date.now();
  witness.reach(true, heardAt);
  witness.see(view);
  if (sample.values) series.append(view.at, sample.values);
  if (!document.hidden) render();
  refreshLists();
}

function render() {
  setAttribute(document.body, "data-state", connection.name === "down" ? "down" : "live");
  top.update(view);
  for (const name of ["now", "flows", "plots", "catalogue", "stages", "experiments"]) shown[name].update(view);
  document.querySelectorAll("[aria-busy]").forEach((section) => !section.matches("#learning, #dead-letters, #purges") && setAttribute(section, "aria-busy", null));
  document.querySelector('.top-nav [href="#experiments"]').hidden = !view.experiments.length;
  part("quiet").hidden = view.events_accepted > 0 || view.catalogue.videos > 0;
  setText(part("version"), `Headwater ${view.version} · policy ${view.policy_version}`);
}

function onState(state) {
  const was = connection.name;
  Object.assign(connection, { reason: "", retryAt: 0 }, state);
  if (state.name === "down") witness.reach(false, heardAt ?? Date.now(), state.reason);
  if (state.name === "live" && was !== "live") {
    gate.offerSignOut();
    asked.at = 0;
  }
  tell();
}

/** Say how the connection is; while it is down, every second anew. */
function tell() {
  const present = Date.now();
  const down = connection.name === "down";
  setAttribute(lamp.element, "data-tone", { live: "good", down: "bad", locked: "warn" }[connection.name] ?? null);
  setIcon(lamp.sign, { live: "circle-check", down: "unplug", locked: "key-round" }[connection.name] ?? "loader-circle");
  setText(lamp.words, down ? (heardAt ? `Last heard ${ago(heardAt, present)}` : "No answer") : { live: "Live", locked: "Locked" }[connection.name] ?? "Connecting");
  if (down) {
    setAttribute(document.body, "data-state", "down");
    top.down(connection, { heardAt, view, now: present });
  }
  if (connection.name === "locked") top.locked();
  shown?.timeline.update({ witnessed: witness.found, restarts: restartsOf(series), ...known }, present);
}

function refreshLists() {
  const moved = view.topics.filter((topic) => ["dead-letters", "purges", "releases"].includes(topic.name)).map((topic) => topic.events).join() + `,${view.dead_letters_open}`;
  const every = known.purges.some((purge) => !purge.complete) ? PENDING_EVERY_MS : LISTS_EVERY_MS;
  if (moved === asked.moved && Date.now() - asked.at < every) return;
  asked = { at: Date.now(), moved };
  shown.learning.refresh();
  shown.letters.refresh();
  shown.purges.refresh();
}

setInterval(tell, 1000);
document.addEventListener("visibilitychange", () => view && !document.hidden && render());

follow({
  onSample,
  onState,
  onHistory: (history) => {
    series.merge(history);
    shown?.plots.update();
  },
  unlock: (error) => gate.unlock(error),
});
