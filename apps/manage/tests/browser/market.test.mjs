// The market's panel on the page at /: prices move, their pulse is shown, and nothing runs that nobody sees.
// Needs a running server with the demo data; see browser.mjs.
//
// WATERWAY_MARKET_RATE   ticks a second of the whole site, as its processes were told; 50 by default

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch } from "./browser.mjs";
import { Window, eventually } from "./window.mjs";

const RATE = Number(process.env.WATERWAY_MARKET_RATE ?? 50);
const INSTRUMENTS = 20;

/** @type {import("playwright-core").Browser} */
let browser;
/** @type {Window} */
let window;

before(async () => {
  browser = await launch();
  window = await Window.open(browser, "demo");
});

after(() => browser?.close());

/** @param {string} state @param {Window} [of] */
function market(state, of = window) {
  return of.page.locator(`#market-state[data-state="${state}"]`).waitFor();
}

/** The table as rows of instrument, price and change. @param {Window} [of] @returns {Promise<string[][]>} */
async function rows(of = window) {
  const texts = await of.page.locator("#market tbody tr").evaluateAll((rows) =>
    rows.map((row) => [...row.children].slice(0, 3).map((cell) => cell.textContent ?? "")),
  );
  return texts;
}

/** @param {string} figure "rate", "p50" or "p99" */
async function figure(figure) {
  return (await window.page.locator(`#market-${figure}`).textContent()) ?? "";
}

/** Waits until prices move. @param {Window} [of] */
async function pricesMove(of = window) {
  const before = await rows(of);
  await eventually(async () => assert.notDeepEqual(await rows(of), before));
}

/** Sees that prices stand still. What came before the pause may still be drawn, in the frame that was asked for. */
async function nothingMoves() {
  await window.page.evaluate(() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn))));
  const before = await rows();
  await new Promise((resolve) => setTimeout(resolve, 500));
  assert.deepEqual(await rows(), before);
}

test("all instruments have a row, in order, and every price moves", async () => {
  await market("live");
  await eventually(async () => assert.equal((await rows()).length, INSTRUMENTS));
  const first = await rows();
  const names = first.map(([instrument]) => instrument);
  assert.deepEqual(names, [...names].sort());
  await eventually(async () => {
    const now = await rows();
    assert.deepEqual(now.filter(([, price], n) => price === first[n][1]), []);
  }, 20_000);
});

test("a change says with a sign where it went, and a sparkline shows the way", async () => {
  for (const row of await window.page.locator("#market tbody tr").all()) {
    const change = row.locator("td").nth(1);
    // Both at once, for the next frame may change them.
    const [text, classes] = await change.evaluate((cell) => [cell.textContent ?? "", cell.className]);
    const direction = { "+": "up", "−": "down" }[text[0]] ?? "same";
    assert.equal(classes, `number ${direction}`);
    assert.match(text, direction === "same" ? /^0\.0+$/ : /^[+−][\d,]+\.\d+$/);
    assert.match((await row.locator("path").getAttribute("d")) ?? "", /^M[\d.]+ [\d.]+(L[\d.]+ [\d.]+)+$/);
  }
});

test("the rate is near what the server was told, however many processes it has", async () => {
  await eventually(async () => {
    const rate = Number(await figure("rate"));
    assert.ok(Math.abs(rate - RATE) <= 0.2 * RATE, `${rate} messages a second, ${RATE} are due`);
  }, 10_000);
});

test("latencies are shown, as figures and as a chart", async () => {
  for (const name of ["p50", "p99"]) assert.match(await figure(name), /^\d+\.\d ms$/);
  assert.ok(parseFloat(await figure("p50")) <= parseFloat(await figure("p99")));
  const chart = window.page.locator("#market-latency");
  assert.match((await chart.getByRole("img").getAttribute("aria-label")) ?? "", /p50 was \d+\.\d ms and p99 \d+\.\d ms/);
  assert.match((await chart.locator(".most").textContent()) ?? "", /^\d+ ms$/);
  for (const name of ["p50", "p99"]) assert.match((await chart.locator(`path.${name}`).getAttribute("d")) ?? "", /^M/);
});

test("the keyboard closes and opens the panel; while it is closed nothing comes", async () => {
  const summary = window.page.locator("#market-panel > summary");
  await summary.focus();
  await summary.press("Enter");
  await market("off");
  assert.equal(await window.page.locator("#market").isVisible(), false);
  await nothingMoves();
  await summary.press("Space");
  await market("live");
  assert.equal(await window.page.locator("#market").isVisible(), true);
  await pricesMove();
});

test("a hidden tab pauses, and goes on when it is seen again", async () => {
  const become = (/** @type {string} */ visibility) =>
    window.page.evaluate((visibility) => {
      Object.defineProperty(document, "visibilityState", { value: visibility, configurable: true });
      document.dispatchEvent(new Event("visibilitychange"));
    }, visibility);
  await become("hidden");
  await market("off");
  await nothingMoves();
  await become("visible");
  await market("live");
  await pricesMove();
});

test("a lost socket comes back by itself", async () => {
  /** @type {import("playwright-core").WebSocketRoute[]} */
  const ends = [];
  const cut = await Window.open(browser, "demo", (page) =>
    page.routeWebSocket(/\/ws\/market\//, (route) => {
      ends.push(route, route.connectToServer());
    }),
  );
  await market("live", cut);
  await Promise.all(ends.splice(0).map((end) => end.close({ code: 3000 })));
  await market("waiting", cut);
  await market("live", cut);
  await pricesMove(cut);
  await cut.close();
});

test("however many prices come, each frame draws a row once", async () => {
  /** @type {import("playwright-core").WebSocketRoute | undefined} */
  let server;
  const flooded = await Window.open(browser, "demo", (page) =>
    page.routeWebSocket(/\/ws\/market\//, (route) => {
      server = route;
    }),
  );
  await market("live", flooded);
  const tick = (/** @type {number} */ n) =>
    server?.send(JSON.stringify({ type: "market.tick", instrument: "SAP", price: `${n}.5`, change: "0.5", sent_at: Date.now() * 1000 }));
  tick(0);
  await eventually(async () => assert.deepEqual(await rows(flooded), [["SAP", "0.5", "+0.5"]]));
  await flooded.page.evaluate(() => {
    const counts = Object.assign(globalThis, { frames: 0, drawn: 0 });
    const frame = () => {
      counts.frames += 1;
      requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
    const price = document.querySelector("#market tbody td");
    new MutationObserver((changes) => (counts.drawn += changes.length)).observe(/** @type {Node} */ (price), { childList: true });
  });
  for (let n = 1; n <= 2_000; n += 1) tick(n);
  await eventually(async () => assert.equal((await rows(flooded))[0][1], "2,000.5"));
  const { frames, drawn } = await flooded.page.evaluate(() => /** @type {any} */ ({ frames: globalThis.frames, drawn: globalThis.drawn }));
  assert.ok(drawn > 0 && drawn <= frames + 1, `drawn ${drawn} times in ${frames} frames`);
  assert.ok(drawn < 1_000, `drawn ${drawn} times`);
  assert.deepEqual(flooded.errors, []);
  await flooded.close();
});

test("a narrow window shows all of it without scrolling sideways", async () => {
  for (const width of [1280, 400]) {
    await window.page.setViewportSize({ width, height: 800 });
    const [content, box] = await window.page.evaluate(() => {
      const box = document.querySelector("#market-panel .table-box");
      return [document.documentElement.scrollWidth, (box?.scrollWidth ?? 0) - (box?.clientWidth ?? 0)];
    });
    assert.ok(content <= width && box === 0, `${content} in ${width}, ${box} too wide`);
  }
});

test("the window met no error", () => {
  assert.deepEqual(window.errors, []);
});
