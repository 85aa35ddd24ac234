// The table of the market: a row for each instrument, in the order of their names.

import { group } from "./decimal.js";
import { create, createSvg } from "./dom.js";
import { line } from "./line.js";
import { POINTS_MAX, direction, signed } from "./market-board.js";

/** The sparkline's own units; the style says how large it is. */
const WIDTH = 120;
const HEIGHT = 24;

/** @typedef {import("./market-board.js").Quote} Quote */
/** @typedef {{ row: HTMLTableRowElement, price: HTMLElement, change: HTMLElement, spark: SVGElement }} Cells */

export class MarketTable {
  /** @type {Map<string, Cells>} */
  #rows = new Map();

  /** @param {HTMLTableElement} table */
  constructor(table) {
    this.body = table.tBodies[0];
  }

  /** @param {Quote} quote */
  show(quote) {
    const { price, change, spark } = this.#rows.get(quote.instrument) ?? this.#add(quote.instrument);
    price.textContent = group(quote.price);
    change.textContent = group(signed(quote.change));
    change.className = `number ${direction(quote.change)}`;
    // The newest price is always at the right end.
    const points = [...Array(POINTS_MAX - quote.points.length).fill(null), ...quote.points];
    spark.setAttribute("d", line(points, WIDTH, HEIGHT, Math.min(...quote.points), Math.max(...quote.points)));
  }

  /** @param {string} instrument */
  #add(instrument) {
    const price = create("td", { className: "number" });
    const change = create("td");
    const spark = createSvg("path");
    const drawing = createSvg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" }, spark);
    const name = create("th", { scope: "row" }, instrument);
    const row = create("tr", {}, name, price, change, create("td", { className: "spark" }, drawing));
    if (this.#rows.size === 0) this.body.replaceChildren();
    const next = [...this.#rows.keys()].filter((other) => other > instrument).sort()[0];
    this.body.insertBefore(row, this.#rows.get(next)?.row ?? null);
    const cells = { row, price, change, spark };
    this.#rows.set(instrument, cells);
    return cells;
  }
}
