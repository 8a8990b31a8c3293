// The last hour in memory: what the API remembers, then a value a second of each series.

const KEPT_MS = 3_600_000;
// Values come once a second; where none came for this long, a line must not be drawn.
const GAP_MS = 3500;

export class Series {
  constructor() {
    this.at = [];
    this.columns = new Map();
  }

  /** Take over the API's history. What it does not reach back to (it may have restarted) stays as it was seen here. */
  merge({ at, series }) {
    const cut = at.length ? this.at.findIndex((time) => time >= at[0]) : -1;
    const kept = cut < 0 ? this.at.length : cut;
    const names = new Set([...this.columns.keys(), ...Object.keys(series)]);
    this.columns = new Map([...names].map((name) => {
      const before = this.columns.get(name)?.slice(0, kept) ?? new Array(kept).fill(null);
      return [name, before.concat(series[name] ?? new Array(at.length).fill(null))];
    }));
    this.at = this.at.slice(0, kept).concat(at);
    this.#trim();
  }

  append(at, values) {
    if (this.at.length && at <= this.at.at(-1)) return;
    for (const name of Object.keys(values)) {
      if (!this.columns.has(name)) this.columns.set(name, new Array(this.at.length).fill(null));
    }
    this.at.push(at);
    for (const [name, column] of this.columns) column.push(values[name] ?? null);
    this.#trim();
  }

  /** The names that begin with `prefix`, without it. */
  under(prefix) {
    return [...this.columns.keys()].filter((name) => name.startsWith(prefix)).map((name) => name.slice(prefix.length));
  }

  /** The newest value of a series, null where it has none. */
  last(name) {
    return this.columns.get(name)?.at(-1) ?? null;
  }

  /** Columns as uPlot wants them, from `from` (Unix ms) on: seconds, then each of `names`; an empty row in every gap. */
  since(from, names) {
    const start = this.at.findIndex((time) => time >= from);
    const seconds = [];
    const columns = names.map(() => []);
    if (start < 0) return [seconds, ...columns];
    const sources = names.map((name) => this.columns.get(name));
    for (let row = start; row < this.at.length; row += 1) {
      if (row > start && this.at[row] - this.at[row - 1] > GAP_MS) {
        seconds.push((this.at[row - 1] + 1000) / 1000);
        columns.forEach((column) => column.push(null));
      }
      seconds.push(this.at[row] / 1000);
      sources.forEach((source, series) => columns[series].push(source?.[row] ?? null));
    }
    return [seconds, ...columns];
  }

  /** When a counter grew, by how much. A counter that begins anew does not count. */
  increases(name) {
    const found = [];
    let before = null;
    (this.columns.get(name) ?? []).forEach((value, row) => {
      if (value === null) return;
      if (before !== null && value > before) found.push({ at: this.at[row], by: value - before });
      before = value;
    });
    return found;
  }

  #trim() {
    const oldest = (this.at.at(-1) ?? 0) - KEPT_MS;
    const gone = this.at.findIndex((time) => time >= oldest);
    if (gone <= 0) return;
    this.at.splice(0, gone);
    for (const column of this.columns.values()) column.splice(0, gone);
  }
}
