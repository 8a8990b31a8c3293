// Building elements: a line for one, with its attributes and children; text is always text, never markup.

/**
 * @param {string} tag
 * @param {Record<string, string | boolean | number | null | undefined | ((event: any) => void)>} [properties] attributes; functions
 *   listen (`onclick`); false, null and undefined leave one out
 * @param {...(Node | string | null | undefined | false | (Node | string)[])} children
 * @returns {any}
 */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) setAttribute(element, name, value);
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Set one attribute, or listen; null, undefined and false remove it. Nothing is touched where nothing changes. */
export function setAttribute(element, name, value) {
  if (typeof value === "function") element.addEventListener(name.slice(2), value);
  else if (value === null || value === undefined || value === false) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value === true ? "" : String(value));
}

/** @param {string} id @returns {any} */
export function byId(id) {
  return document.getElementById(id);
}
