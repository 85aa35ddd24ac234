// The orders table by the DataTables library, with server-side data.

import { COLUMNS, FIRST_ORDER, PAGE_LENGTHS, rowId } from "./columns.js";

/** How long typing must rest before a search is sent. Milliseconds. */
const SEARCH_DELAY_MS = 300;

const WORDS = {
  emptyTable: "No orders yet.",
  info: "Showing _START_ to _END_ of _TOTAL_ orders",
  infoEmpty: "",
  infoFiltered: "(_MAX_ in all)",
  lengthMenu: "_MENU_ per page",
  search: "Search",
  zeroRecords: "No order matches.",
};

/** @typedef {import("./protocol.js").Order} Order */
/** @typedef {import("./orders-api.js").OrdersApi} OrdersApi */
/** @typedef {import("./table.js").TableView} TableView */

/**
 * @param {any} DataTable the library's constructor
 * @param {HTMLTableElement} element
 * @param {OrdersApi} api
 * @returns {TableView}
 */
export function dataTable(DataTable, element, api) {
  const table = new DataTable(element, {
    serverSide: true,
    deferRender: true,
    processing: true,
    searchDelay: SEARCH_DELAY_MS,
    ajax: async (/** @type {any} */ asked, /** @type {(answer: object) => void} */ answer) => {
      const { draw, start, length, order } = asked;
      const page = await api.read({ start, length, order, search: asked.search.value });
      // DataTables believes it is on the page that it asked for; the answer may be an earlier one.
      if (page && page.start !== start) table.page(page.start / length);
      answer({ draw, ...(page ?? shown(table)) });
    },
    columns: COLUMNS.map((column) => columnOf(DataTable, column)),
    order: FIRST_ORDER.map(({ column, dir }) => [column, dir]),
    rowId: (/** @type {Order} */ order) => rowId(order.id),
    pageLength: PAGE_LENGTHS[0],
    lengthMenu: PAGE_LENGTHS,
    autoWidth: false,
    language: WORDS,
  });
  const row = (/** @type {number} */ id) => table.row(`#${rowId(id)}`);
  return {
    has: (id) => row(id).any(),
    replace: (order) => row(order.id).data(order).node(),
    reload: () => new Promise((resolve) => table.ajax.reload(() => resolve(undefined), false)),
  };
}

/**
 * What the table shows already, as an answer: a request that failed changes nothing.
 * @param {any} table
 */
function shown(table) {
  const { recordsTotal, recordsDisplay } = table.page.info();
  return { recordsTotal, recordsFiltered: recordsDisplay, data: table.rows().data().toArray() };
}

/**
 * @param {any} DataTable
 * @param {import("./columns.js").Column} column
 */
function columnOf(DataTable, { name, number, show }) {
  const escape = DataTable.render.text().display;
  return {
    data: name,
    type: "string",
    className: number ? "number" : "",
    orderSequence: ["asc", "desc"],
    render: (/** @type {unknown} */ value, /** @type {string} */ kind, /** @type {Order} */ order) =>
      kind === "display" ? escape(show(order)) : value,
  };
}
