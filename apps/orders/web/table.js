// The orders table: one behaviour over two views, the DataTables library and a plain table.

import { coalesce } from "./coalesce.js";
import { dataTable } from "./datatable.js";
import { oncePerFrame } from "./frame.js";
import { loadLibrary } from "./library.js";
import { plainTable } from "./plain-table.js";

/** How long a changed row stays marked. Milliseconds. */
const CHANGED_MS = 2_000;
/** The least time between two reloads: a burst of new orders makes two requests a second. Milliseconds. */
const RELOAD_INTERVAL_MS = 500;

/** @typedef {import("./protocol.js").Order} Order */
/** @typedef {import("./orders-api.js").OrdersApi} OrdersApi */

/**
 * What a view must be able to do. It shows one page of orders and makes a request only when the
 * user pages, sorts or searches, and on `reload`.
 * @typedef {object} TableView
 * @property {(id: number) => boolean} has whether the order is on the page that is shown
 * @property {(order: Order) => HTMLTableRowElement | null} replace shows new values in the order's row
 * @property {() => Promise<unknown>} reload reads the same page again; never rejects
 */

/**
 * What the rest of the page uses.
 * @typedef {object} OrdersTable
 * @property {(order: Order) => void} rowChanged an order has new values: no request, a mark if its row is visible
 * @property {() => void} reload orders came or went: the page that is shown is read again, soon
 */

/**
 * @param {HTMLTableElement} element
 * @param {OrdersApi} api
 * @returns {Promise<OrdersTable>}
 */
export async function ordersTable(element, api) {
  await loadLibrary();
  const DataTable = /** @type {any} */ (window).DataTable;
  const view = DataTable ? dataTable(DataTable, element, api) : plainTable(element, api);
  const mark = marker();
  /** The newest values of visible orders, until the next frame. @type {Map<number, Order>} */
  const changed = new Map();
  const show = () => {
    for (const order of changed.values()) if (view.has(order.id)) mark(view.replace(order));
    changed.clear();
  };
  const draw = oncePerFrame(show);
  return {
    rowChanged(order) {
      api.remember(order);
      if (!view.has(order.id)) return;
      changed.set(order.id, order);
      draw();
    },
    // A hidden page has no frames: what waits for one would be drawn over what is read now.
    reload: coalesce(() => {
      show();
      return view.reload();
    }, RELOAD_INTERVAL_MS),
  };
}

/** @returns {(row: HTMLTableRowElement | null) => void} marks a row for a moment, anew when it is marked already */
function marker() {
  /** @type {WeakMap<HTMLTableRowElement, number>} */
  const timers = new WeakMap();
  return (row) => {
    if (!row) return;
    clearTimeout(timers.get(row));
    row.classList.add("changed");
    timers.set(row, setTimeout(() => row.classList.remove("changed"), CHANGED_MS));
  };
}
