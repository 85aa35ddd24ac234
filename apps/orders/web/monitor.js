// The monitor: everything that came through the socket, newest first, bounded.

import { clock } from "./columns.js";
import { group } from "./decimal.js";
import { create } from "./dom.js";
import { oncePerFrame } from "./frame.js";
import { formatMs } from "./latency.js";

/** How many rows are kept. */
const ROWS_MAX = 200;
/** How many columns the template has. */
const COLUMNS = 9;

/** @typedef {import("./protocol.js").OrderChanged} OrderChanged */

export class Monitor {
  #total = 0;
  /** Rows that wait for the next frame, oldest first. @type {HTMLTableRowElement[]} */
  #waiting = [];
  #draw = oncePerFrame(() => this.#show());

  /**
   * @param {HTMLTableElement} table
   * @param {HTMLElement} count where the total is said
   */
  constructor(table, count) {
    this.body = table.tBodies[0];
    this.count = count;
  }

  /**
   * @param {OrderChanged} event
   * @param {number} latency milliseconds
   */
  event({ action, order, delta }, latency) {
    this.#total += 1;
    const number = (/** @type {string} */ text) => create("td", { className: "number" }, text);
    this.#add(
      create(
        "tr",
        { className: action },
        create("td", {}, timeNow()),
        create("td", { className: "action" }, action),
        create("td", {}, String(order.id)),
        create("td", {}, order.owner),
        create("td", {}, order.instrument),
        number(group(order.quantity)),
        number(group(order.price)),
        number(group(delta.startsWith("-") ? delta : `+${delta}`)),
        number(formatMs(latency)),
      ),
    );
  }

  /**
   * Something that is not about one order: lost events, a problem, a start.
   * @param {string} text
   * @param {"note" | "warning"} kind
   */
  note(text, kind = "note") {
    this.#add(create("tr", { className: kind }, create("td", {}, timeNow()), create("td", { colSpan: COLUMNS - 1 }, text)));
  }

  /** @param {HTMLTableRowElement} row */
  #add(row) {
    this.#waiting.push(row);
    if (this.#waiting.length > ROWS_MAX) this.#waiting.shift();
    this.#draw();
  }

  #show() {
    this.body.prepend(...this.#waiting.reverse());
    this.#waiting = [];
    while (this.body.rows.length > ROWS_MAX) this.body.deleteRow(-1);
    const kept = this.#total > ROWS_MAX ? `; the last ${ROWS_MAX} are kept` : "";
    const events = this.#total === 1 ? "event" : "events";
    this.count.textContent = `${group(String(this.#total))} ${events} received${kept}.`;
  }
}

/** The local time with milliseconds. */
function timeNow() {
  const now = new Date();
  return `${clock(now)}.${String(now.getMilliseconds()).padStart(3, "0")}`;
}
