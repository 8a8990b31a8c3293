// One plot over time, or over steps: uPlot with the page's type and colours, budgets as dashed lines, restarts as marks, and a legend with live values.

import uPlot from "/static/vendor/uplot/uPlot.esm.js";

import { colours } from "./colours.js";
import { h, setAttribute } from "../dom.js";
import { setText } from "./updates.js";
import { clock, NONE, text } from "./format.js";
import { TERMS } from "./glossary.js";
import { term } from "./help.js";

const HEIGHT = 168;
// Past eight lines colours come again, dashed.
const DASHES = [[], [6, 3], [2, 3]];
// A value older than this is no longer "now".
const STALE_S = 10;
// Two names nearer than this, one above or beside the other, would lie over each other.
const LABEL_HEIGHT_PX = 14;
const LABEL_GAP_PX = 70;
const AXIS_PX = 58;

// What a plot is drawn over: time in seconds, of which views tell in ms, or steps, of which the newest value never ages.
const TIME = {
  sync: "ops", words: "over time", unit: 1000, stale: STALE_S, at: (second) => clock(second * 1000),
  tick: (second, { from, to }) => clock(second * 1000).slice(-8, to - from > 400_000 ? -3 : undefined),
};
const STEPS = { sync: "steps", words: "by step", unit: 1, stale: Infinity, at: (step) => `step ${step}`, tick: (step) => (Number.isInteger(step) ? String(step) : "") };

const colourOf = (position) => colours[`series-${(position % 8) + 1}`];
const dashOf = (position) => DASHES[Math.floor(position / 8) % DASHES.length];

/**
 * A plot of `lines` ({name, label}). `budgets`: {at, label}; `top`: the least upper end of the y axis; `by`: "time" or "step".
 * Returns {element, draw(data, {from, to, restarts}), repaint()}; times are Unix ms, `data` is uPlot's.
 */
export function chart({ id, lines, format, budgets = [], top = 0, note = "", by = "time" }) {
  const over = by === "time" ? TIME : STEPS;
  const at = h("span", { class: "chart-at" });
  const canvas = h("div", { class: "chart-canvas", role: "img", tabindex: "0", "aria-label": `${TERMS[id].label} ${over.words}` });
  const values = lines.map(() => h("span", { class: "legend-value" }, NONE));
  const shown = lines.map(() => true);
  let view = { from: 0, to: 1, restarts: [] };
  let plot = null;
  let data = null;

  const legend = lines.map((line, position) => {
    const button = h("button", {
      type: "button",
      class: "legend-item",
      "aria-pressed": String(shown[position]),
      onclick: () => {
        shown[position] = !shown[position];
        setAttribute(button, "aria-pressed", String(shown[position]));
        plot?.setSeries(position + 1, { show: shown[position] });
      },
    }, h("span", { class: `swatch swatch-${(position % 8) + 1}`, "data-dashed": position >= 8 }), line.label, values[position]);
    return h("li", {}, button);
  });
  const element = h("figure", { class: "panel chart", "data-testid": `chart-${id}` },
    h("figcaption", { class: "chart-head" }, h("h3", {}, term(id)), at),
    canvas,
    h("ul", { class: "legend", "aria-label": "Lines, shown or hidden" }, legend),
    note ? h("p", { class: "chart-note" }, note) : null);

  function build() {
    const axis = { stroke: () => colours["ink-2"], font: "11px Inter, sans-serif", ticks: { show: false }, gap: 6 };
    const grid = { stroke: () => colours.line, width: 1 };
    const options = {
      width: canvas.clientWidth,
      height: HEIGHT,
      padding: [10, 20, 0, 0],
      legend: { show: false },
      cursor: { sync: { key: over.sync }, drag: { x: false, y: false }, y: false, points: { size: 7 } },
      scales: {
        x: { time: by === "time", range: () => [view.from / over.unit, view.to / over.unit] },
        y: { range: (_, least, most) => [Math.min(0, (least ?? 0) * 1.12), Math.max(top, (most ?? 0) * 1.12) || 1] },
      },
      axes: [
        { ...axis, size: 26, space: 64, grid: { show: false }, values: (_, ticks) => ticks.map((tick) => over.tick(tick, view)) },
        { ...axis, size: widthOf, space: 34, grid, values: (_, ticks) => ticks.map((tick) => text(format(tick))) },
      ],
      series: [{}, ...lines.map((line, position) => ({
        label: line.label,
        show: shown[position],
        stroke: () => colourOf(position),
        dash: dashOf(position),
        width: 1.5,
        points: { show: false },
      }))],
      hooks: { draw: [(self) => drawBudgets(self, budgets), (self) => drawRestarts(self, view.restarts)], setCursor: [tell] },
    };
    plot = new uPlot(options, data, canvas);
  }

  function tell() {
    const row = plot?.cursor.idx ?? null;
    const pointed = row !== null && plot.cursor.left >= 0;
    setText(at, pointed ? over.at(data[0][row]) : "");
    lines.forEach((_, position) => {
      const value = pointed ? data[position + 1][row] : newest(data[0], data[position + 1], view.to / over.unit - over.stale);
      setText(values[position], text(format(value ?? null)));
    });
  }

  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step || !plot || !data[0].length) return;
    event.preventDefault();
    const from = plot.cursor.left >= 0 && plot.cursor.idx !== null ? plot.cursor.idx : data[0].length - 1 - step;
    // A tenth of an hour in a dozen presses, or second by second with the smallest range.
    const row = Math.min(data[0].length - 1, Math.max(0, from + step * Math.max(1, Math.round(data[0].length / 120))));
    plot.setCursor({ left: plot.valToPos(data[0][row], "x"), top: 1 });
  });
  canvas.addEventListener("blur", () => plot?.setCursor({ left: -10, top: -10 }));
  new ResizeObserver(() => {
    if (plot && canvas.clientWidth && canvas.clientWidth !== plot.width) plot.setSize({ width: canvas.clientWidth, height: HEIGHT });
  }).observe(canvas);

  return {
    element,
    draw(newer, window) {
      [data, view] = [newer, window];
      if (plot) plot.setData(data);
      else if (canvas.clientWidth) build();
      tell();
      const now = lines.map((line, position) => `${line.label} ${values[position].textContent}`).join(", ");
      setAttribute(canvas, "aria-label", `${TERMS[id].label} ${over.words}; now ${now}. Arrow keys read earlier values.`);
    },
    repaint: () => plot?.redraw(),
  };
}

function newest(places, column, since) {
  for (let row = column.length - 1; row >= 0 && places[row] > since; row -= 1) {
    if (column[row] !== null) return column[row];
  }
  return null;
}

function drawBudgets(plot, budgets) {
  const { ctx, bbox } = plot;
  const right = bbox.left + bbox.width;
  // From the lowest up: where two lines are close, the label of the upper one goes above that of the lower.
  let free = Infinity;
  for (const { at, label } of [...budgets].sort((one, other) => one.at - other.at)) {
    const y = plot.valToPos(at, "y", true);
    if (y < bbox.top) continue;
    ctx.save();
    line(plot, [bbox.left, y], [right, y], colours["ink-2"], [4, 4]);
    const bottom = Math.min(y - 3 * devicePixelRatio, free);
    write(plot, label, right - 4 * devicePixelRatio, bottom, colours["ink-2"], "right", "bottom");
    free = bottom - LABEL_HEIGHT_PX * devicePixelRatio;
    ctx.restore();
  }
}

function drawRestarts(plot, restarts) {
  const { ctx, bbox } = plot;
  let labelledTo = -Infinity;
  for (const { at, name } of restarts) {
    const x = plot.valToPos(at / 1000, "x", true);
    if (x < bbox.left || x > bbox.left + bbox.width) continue;
    ctx.save();
    line(plot, [x, bbox.top], [x, bbox.top + bbox.height], colours.bad, [2, 3]);
    const ratio = devicePixelRatio;
    ctx.fillStyle = colours.bad;
    ctx.beginPath();
    ctx.moveTo(x - 4 * ratio, bbox.top);
    ctx.lineTo(x + 4 * ratio, bbox.top);
    ctx.lineTo(x, bbox.top + 6 * ratio);
    ctx.fill();
    if (x - labelledTo > LABEL_GAP_PX * ratio) {
      const right = x + LABEL_GAP_PX * ratio > bbox.left + bbox.width;
      write(plot, name, x + (right ? -6 : 6) * ratio, bbox.top, colours.bad, right ? "right" : "left", "top");
      labelledTo = x;
    }
    ctx.restore();
  }
}

/** The y axis' width for these labels, px: the usual one, so that plots below each other begin at one line, or what they need. */
function widthOf({ ctx, axes }, labels, index) {
  const { font, gap } = axes[index];
  ctx.font = font[0];
  const longest = Math.max(0, ...(labels ?? []).map((label) => ctx.measureText(label).width / devicePixelRatio));
  return Math.max(AXIS_PX, Math.ceil(longest) + gap + 4);
}

function line({ ctx }, from, to, colour, dash) {
  ctx.beginPath();
  ctx.setLineDash(dash.map((length) => length * devicePixelRatio));
  ctx.strokeStyle = colour;
  ctx.lineWidth = devicePixelRatio;
  ctx.moveTo(...from);
  ctx.lineTo(...to);
  ctx.stroke();
}

/** Text on a ground of its own, so that it is read over lines. */
function write({ ctx }, words, x, y, colour, align, baseline) {
  ctx.font = `${10.5 * devicePixelRatio}px Inter, sans-serif`;
  ctx.textAlign = align;
  ctx.textBaseline = baseline;
  ctx.lineJoin = "round";
  ctx.setLineDash([]);
  ctx.lineWidth = 4 * devicePixelRatio;
  ctx.strokeStyle = colours.surface;
  ctx.strokeText(words, x, y);
  ctx.fillStyle = colour;
  ctx.fillText(words, x, y);
}
