/** The menu: who watches, another viewer, and being forgotten, with the proofs store by store. */

import { byId, h } from "../dom.js";
import { ApiError } from "../http.js";
import * as api from "./api.js";
import { becomeViewer, newViewerId, viewerId } from "./identity.js";
import { may } from "./session.js";
import { counted } from "./words.js";

/**
 * @param {import("./events.js").EventQueue} queue
 * @param {() => void} onViewer told when somebody else watches
 */
export function installMenu(queue, onViewer) {
  const show = () => {
    for (const place of document.querySelectorAll("[data-viewer]")) place.textContent = viewerId();
    byId("menu-field").value = viewerId();
    byId("menu-erase").hidden = !may("admin");
  };
  const become = (id) => {
    becomeViewer(id);
    show();
    onViewer();
  };
  byId("menu").addEventListener("toggle", () => {
    show();
    byId("menu-proofs").replaceChildren();
  });
  byId("menu-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const id = byId("menu-field").value.trim();
    if (id && id !== viewerId()) become(id);
    byId("menu").close();
  });
  byId("menu-new").addEventListener("click", () => {
    become(newViewerId());
    byId("menu").close();
  });
  byId("menu-erase").addEventListener("click", async () => {
    const id = viewerId();
    const place = byId("menu-proofs");
    queue.forgetViewer(id);
    place.replaceChildren(h("p", {}, "Forgetting …"));
    try {
      const proofs = await api.erase(id);
      place.replaceChildren(...forgotten(id, proofs));
      become(newViewerId());
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      place.replaceChildren(h("p", { class: "trouble" }, `It could not be done: ${error.message}`));
    }
  });
  show();
}

function forgotten(id, { complete, stores }) {
  const purged = stores.filter((store) => store.status === "purged").length;
  return [
    h("p", {}, h("strong", {}, `${id} is forgotten`), complete ? `: ${counted(purged, "store")} gave proof. You are somebody new.` : "; some stores have not answered yet. You are somebody new."),
    h("ul", { class: "proofs" }, ...stores.map((store) => h("li", { "data-status": store.status }, h("span", {}, store.store), h("span", {}, told(store))))),
  ];
}

function told({ status, purged, detail }) {
  if (status === "purged") return counted(purged, "row");
  return detail || status;
}
