// How many messages came in each second, and how late they were.

import { LatencyHistogram } from "./latency.js";

/** How many seconds are kept. */
export const SECONDS_MAX = 60;
/** Milliseconds. */
const SECOND = 1_000;

/** One full second; there is no latency of no messages. @typedef {{ count: number, p50: number | null, p99: number | null }} Second */

export class Pulse {
  /** The last full seconds, the oldest first. @type {Second[]} */
  seconds = [];
  /** When the second began that runs; null while nothing is counted. @type {number | null} */
  #began = null;
  #count = 0;
  #histogram = new LatencyHistogram();

  /** @returns {number | null} messages in the last full second; null when there is none */
  get rate() {
    return this.#began === null ? null : (this.seconds.at(-1)?.count ?? null);
  }

  /**
   * Counts from now on.
   * @param {number} now milliseconds, as all times here
   */
  begin(now) {
    this.#began = now;
    this.#clear();
  }

  /** Counts no more; the second that runs is not a full one. */
  pause() {
    this.#began = null;
  }

  /**
   * @param {number} latency milliseconds
   * @param {number} now
   */
  record(latency, now) {
    this.advance(now);
    this.#count += 1;
    this.#histogram.record(latency);
  }

  /**
   * Ends the seconds that are over.
   * @param {number} now
   */
  advance(now) {
    if (this.#began === null) return;
    // Nobody needs the seconds in which the machine slept.
    if (now - this.#began >= SECOND * SECONDS_MAX) return this.begin(now);
    for (; now - this.#began >= SECOND; this.#began += SECOND) {
      this.seconds.push({ count: this.#count, p50: this.#histogram.quantile(0.5), p99: this.#histogram.quantile(0.99) });
      if (this.seconds.length > SECONDS_MAX) this.seconds.shift();
      this.#clear();
    }
  }

  #clear() {
    this.#count = 0;
    this.#histogram = new LatencyHistogram();
  }
}
