// Takedowns and erasures, and what each store proved of them.

import { h, setAttribute } from "../dom.js";
import { request } from "../http.js";
import { icon, keyed, setIcon, setText } from "./updates.js";
import { clock, plural } from "./format.js";

const MOST = 50;
const STATUS = {
  purged: { icon: "check", tone: "good" },
  pending: { icon: "hourglass", tone: "warn" },
  expires: { icon: "clock", tone: "off" },
};

export function purges(section, { onFound }) {
  const list = h("ul", { class: "purges" });
  const none = h("p", { class: "empty panel" }, "Nothing was taken down and no viewer was erased in the last 30 days.");
  const failed = h("p", { class: "table-summary", role: "status", hidden: true });
  none.hidden = true;
  section.querySelector(".section-body").replaceChildren(failed, list, none);

  async function refresh() {
    const found = await request(`/v1/purges?limit=${MOST}`).catch((error) => error);
    setAttribute(section, "aria-busy", null);
    failed.hidden = !(found instanceof Error);
    if (found instanceof Error) {
      setText(failed, `Not up to date: ${found.message}.`);
      return;
    }
    none.hidden = found.length > 0;
    list.hidden = !found.length;
    keyed(list, found, (purge) => purge.cause, makePurge);
    onFound(found);
  }

  return { refresh };
}

function makePurge({ subject, subject_id: id, at }) {
  const sign = icon("check");
  const word = h("span");
  const chip = h("span", { class: "chip" }, sign, word);
  const stores = h("ul", { class: "stores", "aria-label": `Proofs for ${id}` });
  return {
    element: h("li", { class: "purge panel", "data-testid": "purge" },
      h("div", { class: "purge-head" },
        icon(subject === "video" ? "video-off" : "user-x"),
        h("h3", {}, subject === "video" ? "Takedown of " : "Erasure of ", h("code", {}, id)),
        chip,
        h("time", { datetime: new Date(at).toISOString() }, clock(at))),
      stores),
    update(purge) {
      const pending = purge.stores.filter((store) => store.status === "pending").length;
      setAttribute(chip, "data-tone", purge.complete ? "good" : "warn");
      setIcon(sign, purge.complete ? "check" : "hourglass");
      setText(word, purge.complete ? "proven" : pending ? `${plural(pending, "store")} pending` : "pending");
      keyed(stores, purge.stores, (store) => store.store, makeStore);
    },
  };
}

function makeStore({ store }) {
  const sign = icon("check");
  const state = h("span", { class: "store-state" });
  const detail = h("span", { class: "store-detail" });
  const element = h("li", {}, sign, h("span", { class: "store-name" }, store), state, detail);
  return {
    element,
    update({ status, purged, detail: words }) {
      setAttribute(element, "data-tone", STATUS[status].tone);
      setIcon(sign, STATUS[status].icon);
      setText(state, status === "purged" ? `purged, ${plural(purged, "entry", "entries")}` : status);
      setText(detail, words);
    },
  };
}
