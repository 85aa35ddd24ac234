// The market's pure parts: what is known of each instrument, the pulse, and the lines that are drawn.

import assert from "node:assert/strict";
import { test } from "node:test";
import { ceiling, line } from "../line.js";
import { Board, POINTS_MAX, direction, signed } from "../market-board.js";
import { Pulse, SECONDS_MAX } from "../market-pulse.js";

const tick = (instrument, price, change = "0") => ({ type: "market.tick", instrument, price, change, sent_at: 0 });

test("the board knows the last of each instrument, and which have moved", () => {
  const board = new Board();
  for (const [instrument, price] of [["B", "1.10"], ["A", "2"], ["B", "1.20"]]) board.tick(tick(instrument, price, "0.20"));
  assert.deepEqual(board.takeMoved(), [
    { instrument: "B", price: "1.20", change: "0.20", points: [1.1, 1.2] },
    { instrument: "A", price: "2", change: "0.20", points: [2] },
  ]);
  assert.deepEqual(board.takeMoved(), []);
  board.tick(tick("A", "3"));
  assert.deepEqual(board.takeMoved().map(({ instrument, points }) => [instrument, points]), [["A", [2, 3]]]);
});

test("the board keeps so many points and instruments and no more", () => {
  const board = new Board();
  for (let n = 0; n < 1_000; n += 1) board.tick(tick("A", String(n)));
  for (let n = 0; n < 1_000; n += 1) board.tick(tick(`I${n}`, "1"));
  const moved = board.takeMoved();
  assert.equal(moved[0].points.length, POINTS_MAX);
  assert.equal(moved[0].points.at(-1), 999);
  assert.equal(moved.length, 200);
});

test("a change says by its sign where it went", () => {
  assert.deepEqual(["0.0012", "-0.0012", "0.0000"].map(signed), ["+0.0012", "−0.0012", "0.0000"]);
  assert.deepEqual(["0.0012", "-0.0012", "0.0000"].map(direction), ["up", "down", "same"]);
});

test("the pulse counts full seconds and knows their latencies", () => {
  const pulse = new Pulse();
  pulse.record(5, 0);
  assert.equal(pulse.rate, null, "it has not begun");
  pulse.begin(500);
  for (let now = 500; now < 2_500; now += 10) pulse.record(now < 1_500 ? 1 : 8, now);
  assert.equal(pulse.rate, 100);
  pulse.advance(2_500);
  assert.deepEqual(pulse.seconds.map(({ count }) => count), [100, 100]);
  const near = (actual, expected) => assert.ok(Math.abs(actual / expected - 1) < 0.05, `${actual} is not about ${expected}`);
  near(pulse.seconds[0].p50, 1);
  near(pulse.seconds[1].p99, 8);
  pulse.advance(4_600);
  assert.deepEqual(pulse.seconds.slice(2), [{ count: 0, p50: null, p99: null }, { count: 0, p50: null, p99: null }]);
  assert.equal(pulse.rate, 0);
});

test("a pause leaves no second behind that was not full", () => {
  const pulse = new Pulse();
  pulse.begin(0);
  pulse.record(1, 100);
  pulse.record(1, 1_100);
  pulse.pause();
  assert.equal(pulse.rate, null);
  pulse.advance(50_000);
  pulse.begin(60_000);
  pulse.advance(61_000);
  assert.deepEqual(pulse.seconds.map(({ count }) => count), [1, 0]);
});

test("the pulse keeps the last minute, and forgets the time that a machine slept", () => {
  const pulse = new Pulse();
  pulse.begin(0);
  for (let now = 0; now <= 100_000; now += 1_000) pulse.record(1, now);
  assert.equal(pulse.seconds.length, SECONDS_MAX);
  pulse.record(1, 9_000_000);
  assert.equal(pulse.seconds.length, SECONDS_MAX);
  assert.ok(pulse.seconds.every(({ count }) => count === 1));
});

test("a line goes from edge to edge, over gaps, and is flat in the middle", () => {
  assert.equal(line([0, 5, 10], 100, 23, 0, 10), "M0 21.5L0 21.5L50 11.5L100 1.5");
  assert.equal(line([1, null, 1], 10, 23, 0, 2), "M0 11.5L0 11.5M10 11.5L10 11.5");
  assert.equal(line([7, 7], 10, 23, 7, 7), "M0 11.5L0 11.5L10 11.5");
  assert.equal(line([], 10, 23, 0, 1), "");
  assert.equal(line([null], 10, 23, 0, 1), "");
});

test("a scale ends with a round number", () => {
  assert.deepEqual([0, 0.3, 1, 1.1, 2, 4.9, 7, 10, 11, 480, 501].map(ceiling), [1, 1, 1, 2, 2, 5, 10, 10, 20, 500, 1000]);
});
