// The chart of the market's latency: p50 and p99 of each of the last seconds.

import { create, createSvg } from "./dom.js";
import { formatMs } from "./latency.js";
import { ceiling, line } from "./line.js";
import { SECONDS_MAX } from "./market-pulse.js";

/** The chart's own units; the style says how large it is. */
const WIDTH = 300;
const HEIGHT = 100;

/** @typedef {import("./market-pulse.js").Second} Second */

export class LatencyChart {
  #most = create("span", { className: "most" }, "–");
  #p50 = createSvg("path", { class: "p50" });
  #p99 = createSvg("path", { class: "p99" });
  #drawing;

  /** @param {HTMLElement} figure */
  constructor(figure) {
    const options = { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": "No latencies yet." };
    this.#drawing = createSvg("svg", options, this.#p99, this.#p50);
    const scale = create("div", { className: "scale", ariaHidden: "true" }, this.#most, create("span", {}, "0 ms"));
    figure.append(create("div", { className: "plot" }, scale, this.#drawing));
  }

  /** @param {Second[]} seconds full ones, the oldest first */
  show(seconds) {
    const missing = Array(Math.max(0, SECONDS_MAX - seconds.length)).fill(null);
    const most = ceiling(Math.max(0, ...seconds.map(({ p99 }) => p99 ?? 0)));
    this.#most.textContent = `${most} ms`;
    this.#p50.setAttribute("d", line([...missing, ...seconds.map(({ p50 }) => p50)], WIDTH, HEIGHT, 0, most));
    this.#p99.setAttribute("d", line([...missing, ...seconds.map(({ p99 }) => p99)], WIDTH, HEIGHT, 0, most));
    const last = seconds.at(-1);
    if (last) this.#drawing.setAttribute("aria-label", `In the last second p50 was ${formatMs(last.p50)} and p99 ${formatMs(last.p99)}.`);
  }
}
