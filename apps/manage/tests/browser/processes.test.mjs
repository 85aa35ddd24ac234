// What the processes of one site are to each other, seen from their windows.
// Needs two processes that share a channel layer and a database with the demo data; see browser.mjs and process.mjs.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { format, parse } from "../../../orders/web/decimal.js";
import { PROCESSES, Writer, launch } from "./browser.mjs";
import { Process } from "./process.mjs";
import { Window, eventually } from "./window.mjs";

const ORDER = { instrument: "EURUSD", quantity: "10", price: "1.0842" };
const writer = new Writer("demo");

/** @type {import("playwright-core").Browser} */
let browser;
/** One window on each process. @type {Window[]} */
let windows;

before(async () => {
  assert.equal(PROCESSES.length, 2, "two processes are tested");
  browser = await launch();
  windows = await Promise.all(PROCESSES.map((url) => openAt(url)));
  for (const window of windows) await window.start();
});

after(() => browser?.close());

/** @param {string} baseURL */
function openAt(baseURL) {
  return Window.open(browser, "demo", undefined, { baseURL });
}

/** A number's shortest text, without what groups its digits. @param {string} text */
function plain(text) {
  return format(parse(text.replaceAll(",", "")));
}

/** Stands between a page and its socket: of two events it lets the second one overtake the first. */
function swapper() {
  /** How many are still to be held back. */
  let hold = 0;
  /** @type {(string | Buffer)[]} */
  const held = [];
  return {
    /** @param {import("playwright-core").Page} page */
    install: (page) =>
      page.routeWebSocket(/\/ws\/orders\//, (route) => {
        route.connectToServer().onMessage((message) => {
          if (hold-- > 0) return held.push(message);
          route.send(message);
          for (const late of held.splice(0)) route.send(late);
        });
      }),
    next: () => (hold = 1),
  };
}

/** Each window shows in the order's row what the database has. @param {any} order */
async function rowsAreRight(order) {
  for (const window of windows) {
    await eventually(async () => {
      const [id, owner, instrument, quantity, price] = await window.cells(order.id);
      assert.deepEqual([Number(id), owner, instrument], [order.id, order.owner, order.instrument]);
      assert.deepEqual([quantity, price].map(plain), [order.quantity, order.price].map(plain));
    });
  }
}

/** Each window shows the sum of the database. */
async function sumsAreRight() {
  const sum = await writer.sum();
  for (const window of windows) await window.sumIs(sum);
}

test("what either process writes, the windows of both show", async () => {
  for (const url of PROCESSES) {
    const alone = new Writer("demo", [url]);
    const { id } = await alone.create(ORDER);
    for (const window of windows) await window.row(id).waitFor();
    await rowsAreRight(await alone.patch(id, { price: "2.5" }));
    await sumsAreRight();
    await alone.delete(id);
    for (const window of windows) await window.row(id).waitFor({ state: "detached" });
    await sumsAreRight();
  }
});

test("writes of both processes to one order at the same time leave all windows with what the database has", async () => {
  const { id } = await writer.create(ORDER);
  for (const window of windows) await window.row(id).waitFor();
  for (let round = 1; round <= 20; round += 1) {
    const changes = Array.from({ length: 10 }, (_, nth) => ({ quantity: String(100 * round + nth) }));
    await Promise.all(changes.map((change) => writer.patch(id, change)));
    await rowsAreRight(await writer.read(id));
  }
  await sumsAreRight();
  await writer.delete(id);
});

test("an event that another overtook still counts, and does not bring old values back", async () => {
  const swap = swapper();
  const window = await Window.open(browser, "demo", swap.install);
  await window.start();
  const { id } = await writer.create(ORDER);
  await window.row(id).waitFor();
  swap.next();
  await writer.patch(id, { quantity: "111" });
  const newer = await writer.patch(id, { quantity: "222" });
  await eventually(async () => assert.equal((await window.monitorRow(id))[5], "111"));
  await window.sumIs(await writer.sum());
  assert.equal((await window.cells(id))[3], newer.quantity);
  await writer.delete(id);
  await window.close();
});

test("one login serves both processes, and so does one logout", async () => {
  const window = await openAt(PROCESSES[0]);
  await window.page.goto(PROCESSES[1]);
  await window.start();
  await window.page.goto(PROCESSES[0]);
  await window.page.getByRole("button", { name: "Log out" }).click();
  await window.page.waitForURL(/\/accounts\/logout\//);
  await window.page.goto(PROCESSES[1]);
  await window.page.waitForURL(({ origin, pathname }) => origin === PROCESSES[1] && pathname === "/accounts/login/");
  await window.close();
});

test("a page of one process cannot open a socket of the other, whose cookie it has", async () => {
  const opens = (/** @type {string} */ url) =>
    windows[0].page.evaluate((url) => {
      const socket = new WebSocket(url);
      return new Promise((resolve) => {
        socket.onopen = () => resolve(true);
        socket.onerror = () => resolve(false);
      });
    }, `${url.replace("http", "ws")}/ws/orders/`);
  assert.equal(await opens(PROCESSES[0]), true);
  assert.equal(await opens(PROCESSES[1]), false);
});

test("a process that stops leaves the windows of the others alone, and its own come back with it", async (t) => {
  const third = await Process.start();
  t.after(() => third.stop());
  const window = await openAt(third.url);
  await window.start();
  await third.stop();
  await window.connection("waiting");
  const order = await writer.create(ORDER);
  for (const other of windows) await other.row(order.id).waitFor();
  await rowsAreRight(await writer.patch(order.id, { price: "3" }));
  await sumsAreRight();
  for (const other of windows) await other.connection("live");
  assert.equal(await window.row(order.id).count(), 0);
  await third.start();
  await window.connection("live");
  await window.row(order.id).waitFor();
  await window.sumIs(await writer.sum());
  await window.close();
  await writer.delete(order.id);
});
