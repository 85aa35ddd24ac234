// Many wishes, few runs, on a mocked clock.

import assert from "node:assert/strict";
import { test } from "node:test";
import { coalesce } from "../coalesce.js";

/** Lets promises that are due run. */
async function settle() {
  for (let turn = 0; turn < 20; turn += 1) await Promise.resolve();
}

test("the first wish runs at once, a burst makes one run more", async (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  let runs = 0;
  const wish = coalesce(async () => void (runs += 1), 500);
  for (let n = 0; n < 50; n += 1) wish();
  assert.equal(runs, 1);
  await settle();
  wish();
  context.mock.timers.tick(499);
  await settle();
  assert.equal(runs, 1);
  context.mock.timers.tick(1);
  await settle();
  assert.equal(runs, 2);
  context.mock.timers.tick(500);
  await settle();
  assert.equal(runs, 2);
  wish();
  assert.equal(runs, 3);
});

test("runs never overlap, and a wish during a slow run is not lost", async (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  /** @type {(() => void)[]} */
  const finish = [];
  const wish = coalesce(() => new Promise((resolve) => finish.push(() => resolve(undefined))), 500);
  wish();
  wish();
  context.mock.timers.tick(5_000);
  await settle();
  assert.equal(finish.length, 1);
  wish();
  finish[0]();
  await settle();
  assert.equal(finish.length, 2);
});
