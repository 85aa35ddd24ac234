// What is known about each instrument, and which of them have moved since they were last drawn.

/** How many prices of each instrument are kept. */
export const POINTS_MAX = 60;
/** How many instruments are kept; those beyond are not shown. */
const INSTRUMENTS_MAX = 200;

/**
 * One instrument; `price` and `change` are exact decimal texts, `points` its last prices, the oldest first.
 * @typedef {{ instrument: string, price: string, change: string, points: number[] }} Quote
 */

export class Board {
  /** @type {Map<string, Quote>} */
  #quotes = new Map();
  /** @type {Set<Quote>} */
  #moved = new Set();

  /** @param {import("./protocol.js").Tick} tick */
  tick({ instrument, price, change }) {
    let quote = this.#quotes.get(instrument);
    if (!quote) {
      if (this.#quotes.size >= INSTRUMENTS_MAX) return;
      quote = { instrument, price, change, points: [] };
      this.#quotes.set(instrument, quote);
    }
    quote.price = price;
    quote.change = change;
    quote.points.push(Number(price));
    if (quote.points.length > POINTS_MAX) quote.points.shift();
    this.#moved.add(quote);
  }

  /** @returns {Quote[]} what has moved since the last call */
  takeMoved() {
    const moved = [...this.#moved];
    this.#moved.clear();
    return moved;
  }
}

/**
 * @param {string} change
 * @returns {"up" | "down" | "same"}
 */
export function direction(change) {
  const number = Number(change);
  if (number === 0) return "same";
  return number > 0 ? "up" : "down";
}

/**
 * A change with its sign: "+0.5", "−0.5" with a minus as wide as the plus, or "0.00".
 * @param {string} change
 */
export function signed(change) {
  return { up: `+${change}`, down: change.replace("-", "−"), same: change }[direction(change)];
}
