/** What a first visitor is told: one line on what this is, until something was liked or the line was waved away. */

import { byId } from "../dom.js";
import { storage } from "./identity.js";

const KEY = "headwater.hint";

export function installHint() {
  byId("hint").hidden = storage.get(KEY) === "seen";
  byId("hint-close").addEventListener("click", endHint);
}

/** It was understood. */
export function endHint() {
  storage.set(KEY, "seen");
  byId("hint").hidden = true;
}
