// Latencies and their quantiles.

import assert from "node:assert/strict";
import { test } from "node:test";
import { LatencyHistogram, formatMs, latencyMs, nowMicros } from "../latency.js";

test("a latency is in milliseconds and never below 0", () => {
  assert.equal(latencyMs(1_000_000, 1_000_800), 0.8);
  assert.equal(latencyMs(1_000_000, 999_000), 0);
  assert.equal(formatMs(0.84), "0.8 ms");
  assert.equal(formatMs(null), "–");
});

test("now is the wall clock in microseconds", () => {
  assert.ok(Math.abs(nowMicros() / 1000 - Date.now()) < 10);
});

test("when the fine clock has lost the wall clock, the wall clock is used", (context) => {
  const tomorrow = Date.now() + 86_400_000;
  context.mock.method(Date, "now", () => tomorrow);
  assert.equal(nowMicros(), tomorrow * 1000);
});

test("quantiles are within 2.5 % of the exact ones", () => {
  const histogram = new LatencyHistogram();
  const values = Array.from({ length: 10_000 }, (_, n) => 0.1 * 1.001 ** n);
  for (const value of values) histogram.record(value);
  for (const q of [0.01, 0.5, 0.9, 0.99, 1]) {
    const exact = values[Math.ceil(q * values.length) - 1];
    const ratio = (histogram.quantile(q) ?? 0) / exact;
    assert.ok(ratio > 0.975 && ratio < 1.026, `quantile ${q}: ${ratio} of the exact one`);
  }
});

test("nothing recorded has no quantile; extremes fall into the outer buckets", () => {
  const histogram = new LatencyHistogram();
  assert.equal(histogram.quantile(0.5), null);
  histogram.record(0);
  assert.ok((histogram.quantile(0.5) ?? 1) <= 0.05);
  histogram.record(1e9);
  assert.ok((histogram.quantile(1) ?? 0) > 90_000);
});
