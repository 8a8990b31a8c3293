/** Icons out of the vendored sprite; they take the colour of the text around them. */

const SVG = "http://www.w3.org/2000/svg";
const SPRITE = "/static/vendor/lucide/sprite.svg";

/** @param {string} name the icon's id in the sprite @returns {SVGSVGElement} */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.classList.add("icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `${SPRITE}#${name}`);
  svg.append(use);
  return svg;
}

/** @param {Element} parent where an icon is @param {string} name what it becomes */
export function changeIcon(parent, name) {
  parent.querySelector("use").setAttribute("href", `${SPRITE}#${name}`);
}
