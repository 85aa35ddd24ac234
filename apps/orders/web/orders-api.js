// The pages of the orders table, over DataTables' server-side protocol at /api/data/.

import { COLUMNS } from "./columns.js";

/** How long an answer may take. Milliseconds. */
const ANSWER_MAX_MS = 15_000;
/** How many changed orders are kept while a request is under way; beyond that the page is simply asked for again. */
const FRESH_MAX = 1_000;

/** @typedef {import("./protocol.js").Order} Order */
/** @typedef {import("./protocol.js").Page} Page */
/** @typedef {import("./protocol.js").PageRequest} PageRequest */

export class OrdersApi {
  /** Changes that arrived during a request: its answer may be older than they are. @type {Map<number, Order>} */
  #fresh = new Map();
  #underWay = 0;
  #draw = 0;

  /**
   * @param {(problem: string) => void} onProblem told what to show above the table, "" when all is well
   * @param {() => void} onLoggedOut
   */
  constructor(onProblem, onLoggedOut) {
    this.onProblem = onProblem;
    this.onLoggedOut = onLoggedOut;
  }

  /**
   * Reads one page. A search that no longer has this page gives its last one; see `start` of the answer.
   * @param {PageRequest} request
   * @returns {Promise<(Page & { start: number }) | null>} null when it failed, which was told
   */
  async read(request) {
    this.#underWay += 1;
    try {
      let page = await this.#fetch(request);
      let { start } = request;
      if (page.data.length === 0 && start > 0 && page.recordsFiltered > 0) {
        start = Math.floor((page.recordsFiltered - 1) / request.length) * request.length;
        page = await this.#fetch({ ...request, start });
      }
      if (this.#fresh.size >= FRESH_MAX) page = await this.#fetch({ ...request, start });
      this.onProblem("");
      return { ...page, start, data: page.data.map((order) => this.#fresh.get(order.id) ?? order) };
    } catch (error) {
      this.onProblem(`The orders could not be loaded: ${error instanceof Error ? error.message : error}`);
      return null;
    } finally {
      this.#underWay -= 1;
      if (this.#underWay === 0) this.#fresh.clear();
    }
  }

  /**
   * An order changed: answers that are under way must not undo it.
   * @param {Order} order
   */
  remember(order) {
    if (this.#underWay > 0 && this.#fresh.size < FRESH_MAX) this.#fresh.set(order.id, order);
  }

  /**
   * @param {PageRequest} request
   * @returns {Promise<Page>}
   */
  async #fetch(request) {
    this.#draw += 1;
    const response = await fetch(`/api/data/?${query(this.#draw, request)}`, {
      headers: { Accept: "application/json" },
      signal: AbortSignal.timeout(ANSWER_MAX_MS),
    });
    if (response.status === 401) this.onLoggedOut();
    const body = await response.json().catch(() => ({}));
    if (!response.ok || body.error) throw new Error(body.error ?? body.detail ?? `the server answered ${response.status}`);
    return body;
  }
}

/**
 * The part of DataTables' parameters that this table uses.
 * @param {number} draw
 * @param {PageRequest} request
 */
function query(draw, { start, length, search, order }) {
  const query = new URLSearchParams({
    format: "datatables",
    draw: String(draw),
    start: String(start),
    length: String(length),
    "search[value]": search,
    "search[regex]": "false",
  });
  COLUMNS.forEach(({ name }, index) => query.set(`columns[${index}][data]`, name));
  order.forEach(({ column, dir }, index) => {
    query.set(`order[${index}][column]`, String(column));
    query.set(`order[${index}][dir]`, dir);
  });
  return query;
}
