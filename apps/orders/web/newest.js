// Which events about an order are news. Each process tells of its own writes, so that of two processes' writes to one
// order the older may be heard of last; what it says is no longer true.

/** How many orders are remembered, those that were heard of last. */
const ORDERS_MAX = 10_000;

export class Newest {
  /** The newest revision of each order. @type {Map<number, number>} */
  #heard = new Map();
  #known = -1;

  /** @param {number} [ordersMax] how many orders are remembered */
  constructor(ordersMax = ORDERS_MAX) {
    this.ordersMax = ordersMax;
  }

  /** A start was requested: the server may be one that numbers its writes anew. */
  starting() {
    this.#heard.clear();
    this.#known = -1;
  }

  /**
   * The server answered, and the table is read after that: events up to this revision are no news to it.
   * @param {number} revision
   */
  started(revision) {
    this.#known = revision;
  }

  /**
   * Whether an event is newer than all others about its order; if it is, it counts as heard.
   * @param {number} id
   * @param {number} revision
   */
  isNews(id, revision) {
    if (revision <= Math.max(this.#known, this.#heard.get(id) ?? -1)) return false;
    // Put at the end, so that the first one is always the one of which nothing was heard for longest.
    this.#heard.delete(id);
    this.#heard.set(id, revision);
    if (this.#heard.size > this.ordersMax) this.#heard.delete(this.#heard.keys().next().value ?? id);
    return true;
  }
}
