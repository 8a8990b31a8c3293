/** Keys, as people know them from players and feeds; they keep out of the way of fields, dialogs and buttons. */

/** @param {Record<string, () => void>} actions by key, as `KeyboardEvent.key` names it */
export function installKeys(actions) {
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    const target = /** @type {HTMLElement} */ (event.target);
    // What had the focus in a dialog that was just closed keeps it until the next frame, and is of no account.
    const focused = target.closest("dialog") ? document.body : target;
    if (focused.closest("input, textarea, select")) return;
    // A button with the focus is pressed by the space bar, and nothing else happens.
    if ((event.key === " " || event.key === "Enter") && focused.closest("button, a")) return;
    const action = actions[event.key] ?? actions[event.key.toLowerCase()];
    if (!action) return;
    event.preventDefault();
    action();
  });
}
