// The running sum of quantity × price: a start value from the server, then one delta per event.
// The server sends after its answer what is not in the start value, and nothing else. After a crash it may tell a write
// again, with the same key, so that nothing counts twice.

import { ZERO, add, format, parse } from "./decimal.js";

/** How many counted writes are remembered; what is told again was told a moment before. */
const COUNTED_MAX = 10_000;

/** @typedef {{ delta: string, key: string }} Change */

export class RunningSum {
  #sum = ZERO;
  /** The keys of the writes that were counted last. @type {Set<string>} */
  #counted = new Set();
  #live = false;
  #wanted = false;
  /** Requests to start that the server has not answered yet; only the answer to the last one counts. */
  #unanswered = 0;

  /** @param {number} [countedMax] how many counted writes are remembered */
  constructor(countedMax = COUNTED_MAX) {
    this.countedMax = countedMax;
  }

  /** Whether the sum follows the database at this moment. */
  get live() {
    return this.#live;
  }

  /** The exact sum as text. */
  get text() {
    return format(this.#sum);
  }

  /** A start was requested: what arrives before the answer is in its sum already. */
  starting() {
    this.#unanswered += 1;
    this.#wanted = true;
    this.#live = false;
  }

  /**
   * The server answered: the sum of what came before this.
   * @param {string} sum
   * @returns {boolean} whether the sum is live; not when nobody wants it, or another answer is still to come
   */
  started(sum) {
    this.#unanswered = Math.max(0, this.#unanswered - 1);
    if (!this.#wanted || this.#unanswered > 0) return false;
    this.#sum = parse(sum);
    this.#counted.clear();
    this.#live = true;
    return true;
  }

  /**
   * Counts one event, unless it is in the sum already.
   * @param {Change} change
   * @returns {boolean} whether it was counted
   */
  changed(change) {
    if (!this.#live || this.#counted.has(change.key)) return false;
    this.#sum = add(this.#sum, parse(change.delta));
    this.#remember(change.key);
    return true;
  }

  /** Realtime ended: the sum stays as it was and no longer follows. */
  stopped() {
    this.#wanted = false;
    this.#live = false;
  }

  /** The socket is gone, and with it the answers that were on their way. */
  disconnected() {
    this.#unanswered = 0;
    this.#live = false;
  }

  /** @param {string} key */
  #remember(key) {
    this.#counted.add(key);
    if (this.#counted.size > this.countedMax) this.#counted.delete(this.#counted.values().next().value ?? key);
  }
}
