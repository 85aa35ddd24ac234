// Which events about an order are news. Writes to one order are told in their order, but after a crash some may be told
// again, and a proxy may hold one up; what an older one says is no longer true.

/** How many orders are remembered, those that were heard of last. */
const ORDERS_MAX = 10_000;

export class Newest {
  /** The newest revision of each order. @type {Map<number, number>} */
  #heard = new Map();

  /** @param {number} [ordersMax] how many orders are remembered */
  constructor(ordersMax = ORDERS_MAX) {
    this.ordersMax = ordersMax;
  }

  /** A start was requested: the server may be another one, with a clock of its own. */
  starting() {
    this.#heard.clear();
  }

  /**
   * Whether an event is newer than all others about its order; if it is, it counts as heard.
   * @param {number} id
   * @param {number} revision
   */
  isNews(id, revision) {
    if (revision <= (this.#heard.get(id) ?? -1)) return false;
    // Put at the end, so that the first one is always the one of which nothing was heard for longest.
    this.#heard.delete(id);
    this.#heard.set(id, revision);
    if (this.#heard.size > this.ordersMax) this.#heard.delete(this.#heard.keys().next().value ?? id);
    return true;
  }
}
