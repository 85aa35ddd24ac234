// The orders page in two logged-in windows while a third party writes over REST.
// Needs a running server with the demo data; see browser.mjs.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Writer, launch } from "./browser.mjs";
import { Window, eventually } from "./window.mjs";

const adminWriter = new Writer("admin");
const demoWriter = new Writer("demo");
const ORDER = { instrument: "EURUSD", quantity: "10", price: "1.0842" };

/** @type {import("playwright-core").Browser} */
let browser;
/** @type {Window} */
let admin;
/** @type {Window} */
let demo;

before(async () => {
  browser = await launch();
  admin = await Window.open(browser, "admin");
  demo = await Window.open(browser, "demo");
});

after(() => browser?.close());

/** Both sums equal the database's, each as its user sees it. */
async function sumsAreRight() {
  await admin.sumIs(await adminWriter.sum());
  await demo.sumIs(await demoWriter.sum());
}

test("the page opens with one page of orders, realtime off and the sum of now", async () => {
  for (const window of [admin, demo]) {
    assert.equal((await window.ids()).length, 10);
    assert.equal(await window.page.locator("#realtime").getAttribute("aria-pressed"), "false");
    assert.equal(await window.page.locator("#connection").textContent(), "off");
    assert.match((await window.page.locator("#sum-note").textContent()) ?? "", /^as of \d{4}-\d\d-\d\d \d\d:\d\d:\d\d$/);
    assert.equal(await window.page.locator("#monitor tbody tr").count(), 0);
    assert.deepEqual(window.received, []);
  }
  await sumsAreRight();
});

test("the green button starts realtime and both sums follow", async () => {
  for (const window of [admin, demo]) {
    await window.start();
    assert.equal(await window.page.locator("#realtime").getAttribute("aria-pressed"), "true");
    assert.equal(await window.page.locator("#sum-note").textContent(), "live");
  }
  await sumsAreRight();
});

test("updates change a visible row in place, mark it, and make no request", async () => {
  const order = await demoWriter.create(ORDER);
  for (const window of [admin, demo]) await window.row(order.id).waitFor();
  await requestsRest();
  const rows = await demo.ids();
  for (let round = 1; round <= 20; round += 1) await demoWriter.patch(order.id, { price: `1.${round}5`, quantity: "1234" });
  for (const window of [admin, demo]) {
    await eventually(async () => assert.deepEqual((await window.cells(order.id)).slice(1, 5), ["demo", "EURUSD", "1,234", "1.205"]));
    assert.match((await window.row(order.id).getAttribute("class")) ?? "", /\bchanged\b/);
  }
  await sumsAreRight();
  assert.deepEqual(await demo.ids(), rows);
  for (const window of [admin, demo]) {
    assert.deepEqual(window.requests, []);
    await window.page.locator(`#order-${order.id}:not(.changed)`).waitFor({ timeout: 4_000 });
  }
  await demoWriter.delete(order.id);
  await demo.event(order.id, "delete");
});

test("the monitor lists what was received, newest first, with its latency", async () => {
  const { id } = await demoWriter.create({ ...ORDER, quantity: "2", price: "3" });
  await demoWriter.patch(id, { price: "2.5" });
  await demo.event(id, "update");
  for (const window of [admin, demo]) {
    await eventually(async () => assert.equal((await window.monitorRow(id))[1], "update"));
    const [time, , , owner, instrument, quantity, , delta, latency] = await window.monitorRow(id);
    assert.match(time, /^\d\d:\d\d:\d\d\.\d{3}$/);
    assert.deepEqual([owner, instrument], ["demo", "EURUSD"]);
    assert.equal(Number(quantity), 2);
    assert.equal(Number(delta), -1);
    assert.match(latency, /^\d+\.\d ms$/);
    for (const figure of ["last", "p50", "p99"])
      assert.match((await window.page.locator(`#latency-${figure}`).textContent()) ?? "", /^\d+\.\d ms$/);
    assert.match((await window.page.locator("#monitor-count").textContent()) ?? "", /^\d+ events received/);
  }
  await demoWriter.delete(id);
  await demo.event(id, "delete");
  await sumsAreRight();
});

test("an update of an order that is not on the page makes no request and changes no row", async () => {
  const { id } = await demoWriter.create(ORDER);
  await demo.row(id).waitFor();
  await demo.turnTo("Next");
  await demo.row(id).waitFor({ state: "detached" });
  await requestsRest();
  const rows = await demo.ids();
  await demoWriter.patch(id, { quantity: "11" });
  await eventually(async () => assert.equal(Number((await demo.monitorRow(id))[5]), 11));
  assert.deepEqual(await demo.ids(), rows);
  assert.deepEqual(demo.requests, []);
  await sumsAreRight();
  await demoWriter.delete(id);
  await demo.event(id, "delete");
  await requestsRest();
  await demo.turnTo("Previous");
});

test("a create or a delete reloads the page that is shown and keeps its place", async () => {
  await demo.turnTo("3");
  await eventually(async () => assert.match((await infoText(demo)) ?? "", /Showing 21 to 30/));
  await requestsRest();
  const rows = await demo.ids();
  const { id } = await demoWriter.create(ORDER);
  await eventually(async () => assert.deepEqual((await demo.ids()).slice(1), rows.slice(0, 9)));
  assert.match((await infoText(demo)) ?? "", /Showing 21 to 30/);
  await demoWriter.delete(id);
  await eventually(async () => assert.deepEqual(await demo.ids(), rows));
  assert.match((await infoText(demo)) ?? "", /Showing 21 to 30/);
  assert.deepEqual(demo.requests, ["GET /api/data/", "GET /api/data/"]);
});

test("when the last page becomes empty the page before it is shown", async () => {
  const instrument = `LAST${Date.now() % 100_000}`;
  const orders = [];
  for (let n = 0; n < 11; n += 1) orders.push(await demoWriter.create({ ...ORDER, instrument }));
  await demo.page.getByLabel("Search").fill(instrument);
  await eventually(async () => assert.match((await infoText(demo)) ?? "", /1 to 10 of 11/));
  await demo.turnTo("2");
  await eventually(async () => assert.deepEqual(await demo.ids(), [String(orders[0].id)]));
  await demoWriter.delete(orders[0].id);
  await eventually(async () => assert.equal((await demo.ids()).length, 10));
  assert.match((await infoText(demo)) ?? "", /1 to 10 of 10/);
  for (const { id } of orders.slice(1)) await demoWriter.delete(id);
  await demo.page.getByLabel("Search").fill("");
  await eventually(async () => assert.equal((await demo.ids()).length, 10));
});

test("a burst of new orders makes about two requests a second", async () => {
  await requestsRest();
  const begun = Date.now();
  const orders = await Promise.all(Array.from({ length: 40 }, () => demoWriter.create(ORDER)));
  const newest = Math.max(...orders.map(({ id }) => id));
  await demo.row(newest).waitFor();
  await requestsRest(false);
  const most = Math.ceil((Date.now() - begun) / 500) + 1;
  assert.ok(demo.requests.length <= most, `${demo.requests.length} requests, ${most} are allowed`);
  for (const { id } of orders) await demoWriter.delete(id);
  await demo.event(orders[39].id, "delete");
  await sumsAreRight();
});

test("a change of owner is a delete for the old owner and the sums stay exact", async () => {
  const { id } = await demoWriter.create({ ...ORDER, quantity: "7", price: "0.3" });
  await demo.row(id).waitFor();
  await adminWriter.patch(id, { owner: "admin" });
  const gone = await demo.event(id, "delete");
  assert.equal(Number(gone.delta), -2.1);
  await demo.row(id).waitFor({ state: "detached" });
  await eventually(async () => assert.equal((await admin.cells(id))[1], "admin"));
  await sumsAreRight();
  await adminWriter.patch(id, { owner: "demo" });
  await demo.event(id, "create");
  await demo.row(id).waitFor();
  await sumsAreRight();
  await demoWriter.delete(id);
  await demo.row(id).waitFor({ state: "detached" });
});

test("demo's socket never receives an order of admin, and admin's does", async () => {
  const { id } = await adminWriter.create({ ...ORDER, instrument: "XAUUSD" });
  await adminWriter.patch(id, { price: "2" });
  await adminWriter.delete(id);
  await admin.event(id, "delete");
  // One event of demo's own behind them: whatever was on its way to demo has arrived by then.
  const own = await demoWriter.create(ORDER);
  await demoWriter.delete(own.id);
  await demo.event(own.id, "delete");
  const foreign = demo.received.filter(({ order }) => order && order.owner !== "demo");
  assert.deepEqual(foreign, []);
  assert.equal(demo.received.filter(({ order }) => order?.id === id).length, 0);
});

test("stop ends it all, start catches up", async () => {
  const before = await demoWriter.sum();
  await demo.stop();
  const count = await demo.page.locator("#monitor-count").textContent();
  const { id } = await demoWriter.create({ ...ORDER, quantity: "3", price: "0.1" });
  await admin.event(id, "create");
  await demo.sumIs(before);
  assert.match((await demo.page.locator("#sum-note").textContent()) ?? "", /^as of /);
  assert.equal(await demo.page.locator("#monitor-count").textContent(), count);
  assert.equal(demo.received.filter(({ order }) => order?.id === id).length, 0);
  await demo.start();
  await demo.row(id).waitFor();
  await sumsAreRight();
  await demoWriter.delete(id);
  await demo.event(id, "delete");
  await sumsAreRight();
});

test("a lost socket comes back by itself: one reload, the right sum", async () => {
  const cut = cutter();
  const window = await Window.open(browser, "demo", cut.install);
  await window.start();
  await requestsRest(true, window);
  await cut.now();
  await window.connection("waiting");
  assert.match((await window.page.locator("#connection").textContent()) ?? "", /^reconnecting in \d+ s$/);
  const { id } = await demoWriter.create({ ...ORDER, quantity: "5", price: "0.7" });
  await window.connection("live");
  await window.row(id).waitFor();
  await window.sumIs(await demoWriter.sum());
  await requestsRest(false, window);
  assert.deepEqual(window.requests, ["GET /api/data/"]);
  await demoWriter.patch(id, { price: "0.8" });
  await window.sumIs(await demoWriter.sum());
  await demoWriter.delete(id);
  await window.close();
});

test("reconnect now does not wait", async () => {
  const cut = cutter();
  const window = await Window.open(browser, "demo", cut.install);
  await window.start();
  await cut.now();
  await window.page.getByRole("button", { name: "Reconnect now" }).click();
  await window.connection("live");
  await window.close();
});

test("when the session has ended the page goes to the login", async () => {
  const cut = cutter();
  const window = await Window.open(browser, "demo", cut.install);
  await window.start();
  await window.page.context().clearCookies();
  await cut.now();
  await window.page.waitForURL(/\/accounts\/login\/\?next=/, { timeout: 20_000 });
  await window.close();
});

test("without the library a plain table does the same", async () => {
  const window = await Window.open(browser, "demo", (page) => page.route(/dataTables/, (route) => route.abort()));
  assert.equal(await window.page.evaluate(() => "DataTable" in globalThis), false);
  await window.start();
  const { id } = await demoWriter.create(ORDER);
  await window.row(id).waitFor();
  await requestsRest(true, window);
  await demoWriter.patch(id, { quantity: "4321" });
  await eventually(async () => assert.equal((await window.cells(id))[3], "4,321"));
  assert.match((await window.row(id).getAttribute("class")) ?? "", /\bchanged\b/);
  assert.deepEqual(window.requests, []);
  await demoWriter.delete(id);
  await window.row(id).waitFor({ state: "detached" });
  await window.page.getByRole("button", { name: "Id" }).press("Enter");
  await eventually(async () => assert.equal(await window.page.locator("#orders th").first().getAttribute("aria-sort"), "ascending"));
  await window.page.getByRole("button", { name: "Next" }).click();
  await eventually(async () => assert.match((await window.page.getByText(/^Showing/).textContent()) ?? "", /11 to 20/));
  await window.close();
});

test("the table sorts by the keyboard", async () => {
  const id = demo.page.locator("#orders th").first();
  const before = await demo.ids();
  await id.getByRole("button").press("Enter");
  await eventually(async () => assert.equal(await id.getAttribute("aria-sort"), "ascending"));
  await eventually(async () => assert.notDeepEqual(await demo.ids(), before));
});

test("no window met an error", () => {
  assert.deepEqual([...admin.errors, ...demo.errors], []);
});

/** @param {Window} window */
function infoText(window) {
  return window.page.locator(".dt-info").textContent();
}

/**
 * Waits until reloads that are still due have been made, then counts from zero.
 * @param {boolean} [forget]
 * @param {Window[]} windows
 */
async function requestsRest(forget = true, ...windows) {
  const watched = windows.length > 0 ? windows : [admin, demo];
  // A reload may follow at most half a second after the event that asked for it.
  await new Promise((resolve) => setTimeout(resolve, 700));
  for (const window of watched) {
    await window.page.waitForLoadState("networkidle");
    if (forget) window.forget();
  }
}

/** Stands between a page and its socket to cut it, which leaves the page's own code as it is. */
function cutter() {
  /** @type {import("playwright-core").WebSocketRoute[]} */
  const ends = [];
  return {
    /** @param {import("playwright-core").Page} page */
    install: (page) =>
      page.routeWebSocket(/\/ws\/orders\//, (route) => {
        ends.push(route, route.connectToServer());
      }),
    now: () => Promise.all(ends.splice(0).map((end) => end.close({ code: 3000 }))),
  };
}
