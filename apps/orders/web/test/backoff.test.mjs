// The waits between attempts to connect.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Backoff } from "../backoff.js";

const ALMOST_ONE = 1 - Number.EPSILON;
const shortest = () => new Backoff(() => 0);
const longest = () => new Backoff(() => ALMOST_ONE);
const rounded = (ms) => Math.round(ms);

test("the first wait is 0.5 to 1.5 s, and the jitter grows by 1.6", () => {
  const [low, high] = [shortest(), longest()];
  for (const expected of [1500, 2100, 3060, 4596]) {
    assert.equal(rounded(low.next()), 500);
    assert.equal(rounded(high.next()), expected);
  }
});

test("no wait is longer than 15 s, for ever", () => {
  const backoff = longest();
  for (let attempt = 0; attempt < 2_000; attempt += 1) assert.ok(backoff.next() <= 15_000);
  assert.equal(rounded(backoff.next()), 15_000);
});

test("a restarting server is tried sooner, once", () => {
  assert.equal(rounded(shortest().next({ restarting: true })), 200);
  const backoff = longest();
  assert.equal(rounded(backoff.next({ restarting: true })), 1000);
  assert.equal(rounded(backoff.next({ restarting: true })), 2100);
});

test("a success starts over", () => {
  const backoff = longest();
  for (let attempt = 0; attempt < 9; attempt += 1) backoff.next();
  backoff.reset();
  assert.equal(rounded(backoff.next()), 1500);
});

test("waits spread over the whole width", () => {
  const waits = Array.from({ length: 1_000 }, () => new Backoff().next());
  assert.ok(Math.min(...waits) >= 500 && Math.max(...waits) <= 1500);
  assert.ok(Math.min(...waits) < 600 && Math.max(...waits) > 1400);
});
