// The strip on top: the switch, the connection, the latencies and the sum.

import { clock, dateTime } from "./columns.js";
import { group } from "./decimal.js";
import { byId } from "./dom.js";
import { oncePerFrame } from "./frame.js";
import { LatencyHistogram, formatMs } from "./latency.js";
import { sayState } from "./live.js";

/** @typedef {import("./live.js").ConnectionState} ConnectionState */
/** @typedef {import("./sum.js").RunningSum} RunningSum */

export class Header {
  #button = byId("realtime", HTMLButtonElement);
  #connection = byId("connection", HTMLElement);
  #reconnect = byId("reconnect", HTMLButtonElement);
  #last = byId("latency-last", HTMLElement);
  #p50 = byId("latency-p50", HTMLElement);
  #p99 = byId("latency-p99", HTMLElement);
  #sum = byId("sum", HTMLElement);
  #note = byId("sum-note", HTMLElement);
  #histogram = new LatencyHistogram();
  /** @type {number | null} */
  #latest = null;
  #draw = oncePerFrame(() => this.#show());
  /** The sum moved and is not shown yet: a hidden page has no frames. */
  #isSumDue = false;

  /** @param {RunningSum} sum */
  constructor(sum) {
    this.sum = sum;
    this.#sum.textContent = group(this.#sum.textContent?.trim() ?? "");
    const time = this.#note.querySelector("time");
    if (time) time.textContent = dateTime(new Date(time.dateTime));
  }

  /**
   * @param {() => void} toggle
   * @param {() => void} reconnectNow
   */
  onClick(toggle, reconnectNow) {
    this.#button.onclick = toggle;
    this.#reconnect.onclick = reconnectNow;
    this.#button.disabled = false;
  }

  /** @param {boolean} on */
  switched(on) {
    this.#button.setAttribute("aria-pressed", String(on));
    this.#button.textContent = on ? "Stop realtime" : "Start realtime";
  }

  /** @param {ConnectionState | { kind: "live" }} state */
  connection(state) {
    this.#connection.dataset.state = state.kind;
    this.#connection.textContent = sayState(state);
    this.#reconnect.hidden = state.kind !== "waiting";
  }

  /** @param {number} ms */
  latency(ms) {
    this.#latest = ms;
    this.#histogram.record(ms);
    this.#draw();
  }

  /** The sum moved, or follows again. */
  sumChanged() {
    this.#isSumDue = true;
    this.#draw();
  }

  /** The sum no longer follows the database: it is shown as of now. */
  sumStale() {
    if (this.#isSumDue) this.#showSum();
    if (this.#sum.classList.contains("stale")) return;
    this.#sum.classList.add("stale");
    this.#note.textContent = `as of ${clock(new Date())}`;
  }

  #show() {
    this.#last.textContent = formatMs(this.#latest);
    this.#p50.textContent = formatMs(this.#histogram.quantile(0.5));
    this.#p99.textContent = formatMs(this.#histogram.quantile(0.99));
    if (!this.sum.live) return;
    this.#showSum();
  }

  #showSum() {
    this.#isSumDue = false;
    this.#sum.dataset.value = this.sum.text;
    this.#sum.textContent = group(this.sum.text);
    this.#sum.classList.remove("stale");
    this.#note.textContent = "live";
  }
}
