// A table on a wide window, a card for each row on a narrow one. Roles are written out, as display rules would take them away.

import { h } from "../dom.js";
import { keyed } from "./updates.js";
import { term } from "./help.js";

/**
 * `columns`: {term or label, class, make()} where make returns {element, update(item)} for a cell.
 * Returns {element, update(items)}.
 */
export function table({ caption, columns, key, rowAttributes = () => ({}), onRow }) {
  const name = (column) => (column.term ? term(column.term, column.label) : (column.label ?? ""));
  const heads = columns.map((column) =>
    h("th", { role: "columnheader", scope: "col", class: column.class },
      column.hiddenLabel ? h("span", { class: "visually-hidden" }, column.hiddenLabel) : name(column)));
  const body = h("tbody", { role: "rowgroup" });
  // A table without rows is none to a screen reader.
  const element = h("table", { role: "table", class: "table", hidden: true },
    h("caption", { class: "visually-hidden" }, caption),
    h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, heads)), body);

  function makeRow(item) {
    const cells = columns.map((column) => column.make(item));
    const row = h("tr", { role: "row", ...rowAttributes(item) }, cells.map((cell, position) =>
      h("td", { role: "cell", class: columns[position].class },
        columns[position].hiddenLabel || columns[position].bare ? null : h("span", { class: "cell-term" }, name(columns[position])),
        cell.element)));
    return {
      element: row,
      update(newer) {
        cells.forEach((cell) => cell.update?.(newer));
        onRow?.(row, newer);
      },
    };
  }

  return {
    element,
    update(items) {
      keyed(body, items, key, makeRow);
      element.hidden = !items.length;
    },
  };
}
