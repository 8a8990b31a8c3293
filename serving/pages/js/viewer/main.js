/** The viewer's page, put together: feed, player, watch, queue and the sheets around them. */

import { byId } from "../dom.js";
import { ApiError } from "../http.js";
import { videos } from "./api.js";
import { asked, makeCard, mend, showLiked } from "./card.js";
import { EventQueue } from "./events.js";
import { Feed } from "./feed.js";
import { watchForTakedowns } from "./gone.js";
import { endHint, installHint } from "./hint.js";
import { viewerId } from "./identity.js";
import { installAsk } from "./instruct.js";
import { installKeys } from "./keyboard.js";
import { Loop } from "./loop.js";
import { installMenu } from "./menu.js";
import { Panel } from "./panel.js";
import { Player } from "./player.js";
import { openSession } from "./session.js";
import { share } from "./share.js";
import { Spans } from "./spans.js";
import { Status } from "./status.js";
import { toast } from "./toast.js";
import { Upload } from "./upload.js";
import { Watch } from "./watch.js";
import { effectMs, nounOf } from "./waterfall.js";
import { openWhy, why } from "./why.js";
import { duration } from "./words.js";

// An empty catalogue is looked at again this often: the first upload shall be seen.
const EMPTY_AGAIN_MS = 2_000;

const root = byId("feed");
/** @type {import("./card.js").Card[]} cards whose clip could not be fetched while the API was away */
const unreachable = [];
const status = new Status(async () => {
  await feed.fill();
  queue.retry();
});
const queue = new EventQueue((state) => status.queue(state));
const feed = new Feed(root, {
  onCards: () => state("full"),
  onEmpty: () => {
    state("empty");
    setTimeout(() => feed.fill(), EMPTY_AGAIN_MS);
  },
  onError: (error) => {
    if (error.status === 401) return;
    status.failed(error);
    if (!feed.cards.length) state("away");
  },
  onReached: () => {
    status.reached();
    for (const card of unreachable.splice(0)) mend(card);
    if (feed.current) feed.play(feed.current);
  },
});
const spans = new Spans();
const loop = new Loop(feed, queue, spans);
const watch = new Watch(root, (action, card, watchMs) => queue.add(action, card, watchMs), reached);
const player = new Player(watch, unplayable);
feed.watch = watch;
feed.player = player;
const panel = new Panel(loop, spans);
const upload = new Upload(feed);

const actions = {
  pause: () => player.toggle(),
  like,
  share: async (card) => {
    if (await share(card.item)) followed("share", card);
  },
  not_interested: (card) => {
    const watched = watch.watchedMs(card);
    card.seen.judged = true;
    followed("not_interested", card, watched);
    if (!feed.go(1)) toast("Noted. Nothing else is here right now.");
  },
  why: (card) => openWhy(card),
  sound: () => toast(player.toggleSound() ? "Sound on" : "Sound off"),
};

async function like(card) {
  const id = card.item.video_id;
  const liked = !feed.liked.has(id);
  if (liked) feed.liked.add(id);
  else feed.liked.delete(id);
  for (const each of feed.cards) if (each.item.video_id === id) showLiked(each, liked);
  if (liked) {
    card.seen.judged = true;
    endHint();
  }
  await followed(liked ? "like" : "unlike", card);
}

/** Send a tap round the loop and say what came of it. */
async function followed(action, card, watchMs = null) {
  card.seen.judged = true;
  panel.follow();
  const round = await loop.tap(action, card, watchMs);
  if (round.trouble) return toast("Kept: it is sent as soon as the stream is back.");
  const effect = effectMs(round) ?? round.pageMs;
  const changed = round.changed.length ? `${round.changed.length} of the next ${round.next} changed.` : "What comes next stays the same.";
  return toast(`Your ${nounOf(round)} counted after ${duration(effect)}. ${changed}`, { label: "How", run: () => panel.open() });
}

/** A clip did not play: it was taken down, or the API is away and it may play later, or it is no clip for this browser. */
async function unplayable(card) {
  if (card === feed.current) look(card);
  try {
    const found = await videos([card.item.video_id]);
    if (!found.videos.length) feed.remove(card.item.video_id);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    unreachable.push(card);
  }
}

/** What lies over the feed goes with the card in front. */
function look(card) {
  byId("stage").dataset.look = card.element.hasAttribute("data-media") ? "clip" : "title";
}

/** Another card is in front. */
function reached(card) {
  const free = root.contains(document.activeElement) || document.activeElement === document.body;
  feed.reached(card);
  look(card);
  byId("why-here").replaceChildren(...why(card));
  // For those who use keys the focus comes along, unless it is elsewhere for a reason: Tab then reaches this card's buttons.
  if (byKeys && free) card.element.focus({ preventScroll: true });
}

/** @param {"loading" | "full" | "empty" | "away"} name what the stage shows */
function state(name) {
  document.body.dataset.state = name;
  byId("loading").hidden = name !== "loading";
  byId("empty").hidden = name !== "empty";
  byId("away").hidden = name !== "away";
}

async function begin() {
  spans.follow(viewerId());
  queue.retry();
  await showShared();
  feed.fill();
}

/** A link that somebody shared opens on its video. */
async function showShared() {
  const id = new URLSearchParams(location.search).get("video");
  if (!id) return;
  history.replaceState(null, "", location.pathname);
  const found = await videos([id]).catch(() => null);
  if (!found?.videos.length) return toast("The shared video is not here any more.");
  feed.insertNext(makeCard(asked(found.videos[0], "Somebody shared this with you")));
}

let byKeys = false;
addEventListener("keydown", () => (byKeys = true), { capture: true });
addEventListener("pointerdown", () => (byKeys = false), { capture: true });

let tapped = 0;
root.addEventListener("click", (event) => {
  const button = event.target.closest("[data-action]");
  const card = feed.current;
  if (!button || !card || !card.element.contains(button)) return;
  if (button.dataset.action === "pause" && event.detail) {
    // The second of two quick taps likes, and takes the first one's pause back.
    const twice = event.timeStamp - tapped < 300;
    tapped = event.timeStamp;
    if (twice && !feed.liked.has(card.item.video_id)) like(card);
  }
  actions[button.dataset.action](card);
});
root.addEventListener("scrollend", () => feed.trim());

const front = (action) => () => feed.current && actions[action](feed.current);
installKeys({
  arrowdown: () => feed.go(1),
  arrowup: () => feed.go(-1),
  pagedown: () => feed.go(1),
  pageup: () => feed.go(-1),
  j: () => feed.go(1),
  k: () => feed.go(-1),
  " ": front("pause"),
  l: front("like"),
  m: front("sound"),
  n: front("not_interested"),
  s: front("share"),
  w: front("why"),
  i: () => byId("ask").showModal(),
  u: () => upload.open(),
  p: () => panel.open(),
});

byId("next").addEventListener("click", () => feed.go(1));
byId("previous").addEventListener("click", () => feed.go(-1));
for (const button of document.querySelectorAll("[data-open]")) {
  button.addEventListener("click", () => {
    const name = button.dataset.open;
    if (name === "panel") panel.open();
    else if (name === "upload") upload.open();
    else byId(name).showModal();
  });
}
for (const dialog of document.querySelectorAll("dialog:not([data-firm])")) {
  // A tap beside a sheet closes it, as everywhere on phones.
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
}
for (const button of document.querySelectorAll("[data-close]")) button.addEventListener("click", () => button.closest("dialog").close());
byId("away-again").addEventListener("click", () => feed.fill());

document.addEventListener("visibilitychange", () => (document.hidden ? queue.beacon() : queue.retry()));
addEventListener("pagehide", () => queue.beacon());

installHint();
installAsk(loop, () => feed.go(1));
installMenu(queue, () => {
  loop.rounds = [];
  state("loading");
  spans.follow(viewerId());
  feed.restart();
});
state("loading");
queue.start();
watchForTakedowns(feed);
if (await openSession(begin)) begin();
