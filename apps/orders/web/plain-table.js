// The orders table without a library: pages, search and sorting by the server, rows changed in place.

import { COLUMNS, FIRST_ORDER, PAGE_LENGTHS, rowId } from "./columns.js";
import { group } from "./decimal.js";
import { create } from "./dom.js";

/** How long typing must rest before a search is sent. Milliseconds. */
const SEARCH_DELAY_MS = 300;

/** @typedef {import("./protocol.js").Order} Order */
/** @typedef {import("./protocol.js").Sorting} Sorting */
/** @typedef {import("./orders-api.js").OrdersApi} OrdersApi */
/** @typedef {import("./table.js").TableView} TableView */

/**
 * @param {HTMLTableElement} element
 * @param {OrdersApi} api
 * @returns {TableView}
 */
export function plainTable(element, api) {
  const view = new PlainTable(element, api);
  void view.reload();
  return view;
}

/** @implements {TableView} */
class PlainTable {
  /** @type {Map<number, HTMLTableRowElement>} */
  #rows = new Map();
  /** @type {import("./protocol.js").PageRequest} */
  #request = { start: 0, length: PAGE_LENGTHS[0], search: "", order: FIRST_ORDER };
  #asked = 0;
  #found = 0;
  /** @type {number | undefined} */
  #typing;

  /**
   * @param {HTMLTableElement} element
   * @param {OrdersApi} api
   */
  constructor(element, api) {
    this.element = element;
    this.api = api;
    this.info = create("p", { className: "note" });
    this.info.setAttribute("role", "status");
    this.previous = this.#pageButton("Previous", -1);
    this.next = this.#pageButton("Next", 1);
    this.loading = create("p", { className: "loading", hidden: true, textContent: "Loading…" });
    this.headers = this.#sortHeaders();
    element.before(create("div", { className: "tools" }, this.#searchBox(), this.loading));
    element.after(create("div", { className: "tools" }, this.info, create("div", { className: "pages" }, this.previous, this.next)));
  }

  /** @param {number} id */
  has(id) {
    return this.#rows.has(id);
  }

  /** @param {Order} order */
  replace(order) {
    const row = this.#rows.get(order.id) ?? null;
    row?.replaceChildren(...cells(order));
    return row;
  }

  async reload() {
    this.#asked += 1;
    const asked = this.#asked;
    this.loading.hidden = false;
    const page = await this.api.read(this.#request);
    if (asked !== this.#asked) return;
    this.loading.hidden = true;
    if (page) this.#show(page);
  }

  /** @param {import("./protocol.js").Page & { start: number }} page */
  #show({ start, recordsFiltered, data }) {
    this.#request = { ...this.#request, start };
    this.#found = recordsFiltered;
    this.#rows = new Map(data.map((order) => [order.id, create("tr", { id: rowId(order.id) }, ...cells(order))]));
    const empty = create("tr", {}, create("td", { className: "empty", colSpan: COLUMNS.length }, "No order matches."));
    this.element.tBodies[0].replaceChildren(...(data.length > 0 ? this.#rows.values() : [empty]));
    const [first, last, all] = [start + 1, start + data.length, recordsFiltered].map((n) => group(String(n)));
    this.info.textContent = data.length > 0 ? `Showing ${first} to ${last} of ${all} orders` : "";
    this.previous.disabled = start === 0;
    this.next.disabled = start + data.length >= recordsFiltered;
  }

  /** @param {Partial<import("./protocol.js").PageRequest>} change */
  #ask(change) {
    this.#request = { ...this.#request, ...change };
    void this.reload();
  }

  /**
   * @param {string} text
   * @param {number} step in pages
   */
  #pageButton(text, step) {
    const button = create("button", { type: "button", textContent: text, disabled: true });
    button.onclick = () => {
      const start = this.#request.start + step * this.#request.length;
      if (start >= 0 && start < this.#found) this.#ask({ start });
    };
    return button;
  }

  #searchBox() {
    const input = create("input", { type: "search", maxLength: 100 });
    input.oninput = () => {
      clearTimeout(this.#typing);
      this.#typing = setTimeout(() => this.#ask({ search: input.value, start: 0 }), SEARCH_DELAY_MS);
    };
    return create("label", {}, "Search ", input);
  }

  #sortHeaders() {
    const headers = [...this.element.querySelectorAll("th")];
    headers.forEach((header, column) => {
      const button = create("button", { type: "button", className: "sort", textContent: header.textContent });
      button.title = "Sort by this column; with Shift, after the others";
      button.onclick = (event) => this.#sort(column, event.shiftKey);
      header.replaceChildren(button);
    });
    showSorting(headers, FIRST_ORDER);
    return headers;
  }

  /**
   * @param {number} column
   * @param {boolean} more beside the columns that sort already
   */
  #sort(column, more) {
    const { order } = this.#request;
    const turned = order.find((sorting) => sorting.column === column)?.dir === "asc";
    /** @type {Sorting} */
    const sorting = { column, dir: turned ? "desc" : "asc" };
    const others = more ? order.filter((other) => other.column !== column) : [];
    this.#ask({ order: [...others, sorting], start: 0 });
    showSorting(this.headers, this.#request.order);
  }
}

/**
 * @param {HTMLTableCellElement[]} headers
 * @param {Sorting[]} order
 */
function showSorting(headers, order) {
  headers.forEach((header, column) => {
    const sorting = order.find((sorting) => sorting.column === column);
    if (sorting) header.setAttribute("aria-sort", sorting.dir === "asc" ? "ascending" : "descending");
    else header.removeAttribute("aria-sort");
  });
}

/** @param {Order} order */
function cells(order) {
  return COLUMNS.map(({ number, show }) => create("td", { className: number ? "number" : "" }, show(order)));
}
