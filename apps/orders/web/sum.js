// The running sum of quantity × price: a start value from the server, then one delta per event.
// The server's revision decides what is already in the start value, so that nothing counts twice. Each process tells of
// its own writes, so revisions come about in order, but not quite; sums do not mind.

import { ZERO, add, format, parse } from "./decimal.js";

/** How many events may wait between the request to start and its answer. */
const PENDING_MAX = 10_000;
/** How many counted revisions are remembered; an event that comes so late is taken for one that came already. */
const COUNTED_MAX = 10_000;

/** @typedef {{ delta: string, revision: number }} Change */

export class RunningSum {
  #sum = ZERO;
  /** All revisions up to this one are in the sum, or came too late to know. */
  #floor = -1;
  /** Those above it that are in the sum, in the order in which they came. @type {Set<number>} */
  #counted = new Set();
  #live = false;
  #wanted = false;
  /** Requests to start that the server has not answered yet; only the answer to the last one counts. */
  #unanswered = 0;
  #overflowed = false;
  /** @type {Change[]} */
  #pending = [];

  /**
   * @param {number} [pendingMax] how many early events are kept
   * @param {number} [countedMax] how many counted revisions are remembered
   */
  constructor(pendingMax = PENDING_MAX, countedMax = COUNTED_MAX) {
    this.pendingMax = pendingMax;
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

  /** A start was requested: what arrives from now on waits for the answer. */
  starting() {
    this.#unanswered += 1;
    this.#wanted = true;
    this.#live = false;
    this.#overflowed = false;
    this.#pending = [];
  }

  /**
   * The server answered: its sum holds everything up to its revision.
   * @param {string} sum
   * @param {number} revision
   * @returns {"live" | "later" | "again"} `later`: nobody wants it, or another answer is still to come;
   *   `again`: too much arrived too early, so the start must be asked for again
   */
  started(sum, revision) {
    this.#unanswered = Math.max(0, this.#unanswered - 1);
    if (!this.#wanted || this.#unanswered > 0) return "later";
    if (this.#overflowed) return "again";
    this.#sum = parse(sum);
    this.#floor = revision;
    this.#counted.clear();
    this.#live = true;
    const pending = this.#pending;
    this.#pending = [];
    for (const change of pending) this.changed(change);
    return "live";
  }

  /**
   * Counts one event, unless its revision is in the sum already.
   * @param {Change} change
   * @returns {boolean} whether it was counted
   */
  changed(change) {
    if (!this.#live) {
      this.#keep(change);
      return false;
    }
    if (change.revision <= this.#floor || this.#counted.has(change.revision)) return false;
    this.#sum = add(this.#sum, parse(change.delta));
    this.#remember(change.revision);
    return true;
  }

  /** Realtime ended: the sum stays as it was and no longer follows. */
  stopped() {
    this.#wanted = false;
    this.#live = false;
    this.#pending = [];
  }

  /** The socket is gone, and with it the answers that were on their way. */
  disconnected() {
    this.#unanswered = 0;
    this.#live = false;
  }

  /** @param {number} revision */
  #remember(revision) {
    this.#counted.add(revision);
    if (this.#counted.size <= this.countedMax) return;
    const first = this.#counted.values().next().value ?? revision;
    this.#counted.delete(first);
    this.#floor = Math.max(this.#floor, first);
  }

  /** @param {Change} change */
  #keep(change) {
    if (this.#pending.length < this.pendingMax) this.#pending.push(change);
    else this.#overflowed = true;
  }
}
