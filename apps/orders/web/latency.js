// How long an event took from the server's commit to this page, and the quantiles of that.

/** The first bucket ends here; everything faster falls into it. Milliseconds. */
const FIRST_MS = 0.05;
/** Each bucket is 5 % wider than the one before, so a quantile is off by 2.5 % at most. */
const GROWTH = 1.05;
/** The last bucket starts near 100 s and takes everything slower. */
const BUCKETS = 300;
/** Above this difference the fine clock has lost the wall clock (a sleep, a corrected clock). Milliseconds. */
const DRIFT_MAX = 5;

/**
 * The wall clock now, as finely as the browser tells it.
 * @returns {number} microseconds since the epoch
 */
export function nowMicros() {
  const fine = performance.timeOrigin + performance.now();
  const coarse = Date.now();
  return 1000 * (Math.abs(fine - coarse) <= DRIFT_MAX ? fine : coarse);
}

/**
 * @param {number} sentAt microseconds since the epoch
 * @param {number} [now] the same
 * @returns {number} milliseconds, never below 0 (the clocks of two machines differ)
 */
export function latencyMs(sentAt, now = nowMicros()) {
  return Math.max(0, (now - sentAt) / 1000);
}

/**
 * @param {number | null} ms
 * @returns {string} for example "0.8 ms"
 */
export function formatMs(ms) {
  return ms === null ? "–" : `${ms.toFixed(1)} ms`;
}

/** Quantiles of any number of latencies in a fixed amount of memory. */
export class LatencyHistogram {
  #counts = new Uint32Array(BUCKETS);
  #total = 0;

  /** @param {number} ms */
  record(ms) {
    const steps = Math.ceil(Math.log(Math.max(ms, FIRST_MS) / FIRST_MS) / Math.log(GROWTH));
    this.#counts[Math.min(steps, BUCKETS - 1)] += 1;
    this.#total += 1;
  }

  /**
   * @param {number} q between 0 and 1, for example 0.99
   * @returns {number | null} milliseconds, null when nothing was recorded
   */
  quantile(q) {
    let left = Math.max(1, Math.ceil(this.#total * q));
    for (let bucket = 0; bucket < BUCKETS; bucket += 1) {
      left -= this.#counts[bucket];
      if (left <= 0) return FIRST_MS * GROWTH ** (bucket - 0.5);
    }
    return null;
  }
}
