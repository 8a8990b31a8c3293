// Bringing elements up to date without rebuilding them: focus and open tips survive every second's news.

import { h, setAttribute } from "../dom.js";

export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** One of the vendored icons. It says nothing to a screen reader: words stand beside it. */
export function icon(name) {
  return h("span", { class: `icon icon-${name}`, "aria-hidden": "true" });
}

export function setIcon(element, name) {
  setAttribute(element, "class", `icon icon-${name}`);
}

/**
 * Make the children of `parent` those of `items`, in order: `make(item)` returns {element, update} for a new key,
 * `update(item)` is called for all.
 */
export function keyed(parent, items, key, make) {
  const known = (parent.keyed ??= new Map());
  const wanted = new Set(items.map(key));
  for (const [name, part] of known) {
    if (!wanted.has(name)) {
      part.element.remove();
      known.delete(name);
    }
  }
  items.forEach((item, position) => {
    const name = key(item);
    if (!known.has(name)) known.set(name, make(item));
    const { element, update } = known.get(name);
    if (parent.children[position] !== element) parent.insertBefore(element, parent.children[position] ?? null);
    update?.(item);
  });
}
