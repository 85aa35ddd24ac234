// The page at /: ties the socket, the sum, the header, the table and the monitor together.

import { group } from "./decimal.js";
import { byId, goToLogin } from "./dom.js";
import { Header } from "./header.js";
import { latencyMs } from "./latency.js";
import { Live, socketUrl } from "./live.js";
import { Monitor } from "./monitor.js";
import { Newest } from "./newest.js";
import { OrdersApi } from "./orders-api.js";
import { RunningSum } from "./sum.js";
import { ordersTable } from "./table.js";

/** @typedef {import("./protocol.js").OrderChanged} OrderChanged */
/** @typedef {import("./protocol.js").ServerMessage} ServerMessage */

const problem = byId("orders-problem", HTMLElement);
const sum = new RunningSum();
const newest = new Newest();
const header = new Header(sum);
const monitor = new Monitor(byId("monitor", HTMLTableElement), byId("monitor-count", HTMLElement));
const table = await ordersTable(byId("orders", HTMLTableElement), new OrdersApi(showProblem, goToLogin));
byId("orders-loading", HTMLElement).remove();
const live = new Live({
  url: socketUrl("/ws/orders/"),
  onOpen: askToStart,
  onMessage: (message) => (on || message.type === "realtime.started") && received(message),
  onState: connectionChanged,
  isLoggedIn,
  onLoggedOut: goToLogin,
});
let on = false;
header.onClick(toggle, () => live.reconnectNow());

function toggle() {
  on = !on;
  header.switched(on);
  if (on) return live.start();
  live.send({ type: "realtime.stop" });
  sum.stopped();
  live.stop();
}

function askToStart() {
  sum.starting();
  newest.starting();
  live.send({ type: "realtime.start" });
}

/** @param {import("./live.js").ConnectionState} state */
function connectionChanged(state) {
  header.connection(state);
  header.sumStale();
  if (state.kind === "connecting" || state.kind === "waiting") sum.disconnected();
}

/** @param {ServerMessage} message */
function received(message) {
  switch (message.type) {
    case "order.changed":
      return orderChanged(message);
    case "realtime.started":
      return started(message);
    case "realtime.missed":
      monitor.note(`${message.count ?? "Some"} events were missed; reading everything again.`, "warning");
      return live.start();
    case "error":
      return monitor.note(message.detail, "warning");
  }
}

/** @param {import("./protocol.js").Started} message */
function started(message) {
  if (!sum.started(message.sum)) return;
  live.confirm();
  header.connection({ kind: "live" });
  header.sumChanged();
  monitor.note(`Realtime started: sum ${group(message.sum)}.`);
  // Events were not received until now, so the page that is shown may be old.
  table.reload();
}

/** @param {OrderChanged} event */
function orderChanged(event) {
  const latency = latencyMs(event.sent_at);
  header.latency(latency);
  monitor.event(event, latency);
  if (sum.changed(event)) header.sumChanged();
  if (event.action !== "update") table.reload();
  else if (newest.isNews(event.order.id, event.revision)) table.rowChanged(event.order);
}

async function isLoggedIn() {
  const response = await fetch("/accounts/whoami/", { headers: { Accept: "application/json" } });
  if (response.status === 401) return false;
  if (response.ok) return true;
  throw new Error(`The server answered ${response.status}.`);
}

/** @param {string} text */
function showProblem(text) {
  problem.textContent = text;
  problem.hidden = text === "";
}
