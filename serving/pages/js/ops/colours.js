// The design tokens' colours for canvases, which know no CSS variables: read off the page, and again when the theme changes.

const NAMES = [
  "surface", "ink", "ink-2", "line", "bad",
  ...Array.from({ length: 8 }, (_, position) => `series-${position + 1}`),
];

export const colours = {};

/** Read the colours now and whenever light turns dark; `onChange` is for what was drawn with the old ones. */
export function watch(onChange) {
  const probe = document.createElement("span");
  probe.hidden = true;
  document.body.append(probe);
  const read = () => {
    for (const name of NAMES) {
      probe.style.color = `var(--${name})`;
      colours[name] = getComputedStyle(probe).color;
    }
  };
  read();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    read();
    onChange();
  });
}
