// How long to wait before the next attempt to connect. The jitter is as wide as the delay itself, so
// that thousands of pages that lost one server do not come back in one instant.

/** The shortest wait. Milliseconds. */
const FLOOR_MS = 500;
/** The width of the jitter before the first attempt. Milliseconds. */
const FIRST_JITTER_MS = 1_000;
/** How much wider the jitter gets from one attempt to the next. */
const FACTOR = 1.6;
/** The longest wait. Milliseconds. */
const DELAY_MAX_MS = 15_000;
/** The shortest wait when the server said that it restarts. Milliseconds. */
const RESTART_FLOOR_MS = 200;
/** The width of the jitter in that case. Milliseconds. */
const RESTART_JITTER_MS = 800;

export class Backoff {
  #attempt = 0;

  /** @param {() => number} [random] from 0 up to, not including, 1 */
  constructor(random = Math.random) {
    this.random = random;
  }

  /**
   * The wait before the next attempt.
   * @param {{ restarting?: boolean }} [why] `restarting`: the server announced that it goes away and comes back
   * @returns {number} milliseconds
   */
  next({ restarting = false } = {}) {
    const attempt = this.#attempt;
    this.#attempt += 1;
    if (restarting && attempt === 0) return RESTART_FLOOR_MS + this.random() * RESTART_JITTER_MS;
    const width = Math.min(FIRST_JITTER_MS * FACTOR ** attempt, DELAY_MAX_MS - FLOOR_MS);
    return FLOOR_MS + this.random() * width;
  }

  /** The connection stands: the next wait is a first one again. */
  reset() {
    this.#attempt = 0;
  }
}
