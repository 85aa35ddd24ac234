// The market on the page at /: ties its socket, the prices and the pulse together. While nobody can see them, because
// the tab is hidden or the panel closed, the socket is closed.

import { byId } from "./dom.js";
import { oncePerFrame } from "./frame.js";
import { LatencyHistogram, formatMs, latencyMs } from "./latency.js";
import { Live, sayState, socketUrl } from "./live.js";
import { Board } from "./market-board.js";
import { LatencyChart } from "./market-chart.js";
import { Pulse } from "./market-pulse.js";
import { MarketTable } from "./market-table.js";

const panel = byId("market-panel", HTMLDetailsElement);
const state = byId("market-state", HTMLElement);
const figures = { rate: byId("market-rate", HTMLElement), p50: byId("market-p50", HTMLElement), p99: byId("market-p99", HTMLElement) };
const board = new Board();
const pulse = new Pulse();
const histogram = new LatencyHistogram();
const table = new MarketTable(byId("market", HTMLTableElement));
const chart = new LatencyChart(byId("market-latency", HTMLElement));
const draw = oncePerFrame(() => board.takeMoved().forEach((quote) => table.show(quote)));
const live = new Live({
  url: socketUrl("/ws/market/"),
  onOpen: opened,
  onMessage: (message) => message.type === "market.tick" && ticked(message),
  onState: showState,
  // Everybody may listen, so there is no session that could have ended.
  isLoggedIn: async () => true,
  onLoggedOut: () => {},
});
/** Draws the pulse once a second while the panel is seen. @type {number | undefined} */
let timer;
panel.addEventListener("toggle", followOrPause);
document.addEventListener("visibilitychange", followOrPause);
followOrPause();

function followOrPause() {
  const seen = panel.open && document.visibilityState === "visible";
  if (seen === (timer !== undefined)) return;
  clearInterval(timer);
  timer = seen ? setInterval(showPulse, 1_000) : undefined;
  if (seen) return live.start();
  live.end();
  pulse.pause();
}

function opened() {
  // Prices come by themselves; nothing is asked for that could be answered.
  live.confirm();
  pulse.begin(performance.now());
  showState({ kind: "live" });
}

/** @param {import("./protocol.js").Tick} tick */
function ticked(tick) {
  const latency = latencyMs(tick.sent_at);
  histogram.record(latency);
  pulse.record(latency, performance.now());
  board.tick(tick);
  draw();
}

/** @param {import("./live.js").ConnectionState | { kind: "live" }} now */
function showState(now) {
  if (now.kind === "connecting" || now.kind === "waiting") pulse.pause();
  state.dataset.state = now.kind;
  state.textContent = now.kind === "off" ? "paused" : sayState(now);
}

function showPulse() {
  pulse.advance(performance.now());
  figures.rate.textContent = pulse.rate === null ? "–" : String(pulse.rate);
  figures.p50.textContent = formatMs(histogram.quantile(0.5));
  figures.p99.textContent = formatMs(histogram.quantile(0.99));
  chart.show(pulse.seconds);
}
