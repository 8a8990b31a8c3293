/** Keys, as people know them from players and feeds; they keep out of the way of fields, dialogs and buttons. */

/** @param {Record<string, () => void>} actions by key, as `KeyboardEvent.key` names it */
export function installKeys(actions) {
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    const target = /** @type {HTMLElement} */ (event.target);
    if (target.closest("input, textarea, select")) return;
    // A button with the focus is pressed by the space bar, and nothing else happens.
    if ((event.key === " " || event.key === "Enter") && target.closest("button, a")) return;
    const action = actions[event.key] ?? actions[event.key.toLowerCase()];
    if (!action) return;
    event.preventDefault();
    action();
  });
}
