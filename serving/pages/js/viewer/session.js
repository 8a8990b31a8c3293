/**
 * The key, where the API asks for one: a dialog that trades it for a cookie, so that clips, beacons and event streams are let in
 * too. The page never keeps the key.
 */

import { byId } from "../dom.js";
import { ApiError } from "../http.js";
import * as api from "./api.js";

/** What this page may do; `admin` is what erasing a viewer needs. */
export const access = { open: true, scopes: /** @type {string[]} */ ([]) };

/** @param {string} scope @returns {boolean} */
export function may(scope) {
  return access.open || access.scopes.includes(scope) || access.scopes.includes("admin");
}

/**
 * Find out what is allowed, and ask for a key where there is none.
 * @param {() => void} onOpened told each time a key was accepted
 */
export async function openSession(onOpened) {
  api.hooks.keyNeeded = ask;
  byId("key-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    const field = byId("key-field");
    try {
      await api.openSession(field.value.trim());
      field.value = "";
      await look();
      byId("key").close();
      onOpened();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      byId("key-error").textContent = error.status === 401 ? "This key is not known here." : error.message;
      field.setAttribute("aria-invalid", "true");
      field.focus();
    }
  });
  try {
    await look();
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    return true; // whatever is wrong, the feed will say it
  }
  if (may("feed")) return true;
  ask();
  return false;
}

async function look() {
  Object.assign(access, await api.session());
}

function ask() {
  if (!byId("key").open) byId("key").showModal();
}
