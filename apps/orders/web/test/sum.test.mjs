// The running sum: what is counted, what is in the start value already, what was counted before.

import assert from "node:assert/strict";
import { test } from "node:test";
import { RunningSum } from "../sum.js";

function live(sum = "10") {
  const running = new RunningSum();
  running.starting();
  running.started(sum);
  return running;
}

test("each event adds its delta", () => {
  const sum = live();
  assert.equal(sum.changed({ delta: "2.5", key: "a" }), true);
  assert.equal(sum.changed({ delta: "-0.25", key: "b" }), true);
  assert.equal(sum.text, "12.25");
});

test("a write that is told again does not count again", () => {
  const sum = live();
  assert.equal(sum.changed({ delta: "1", key: "a" }), true);
  assert.equal(sum.changed({ delta: "1", key: "b" }), true);
  for (const key of ["a", "b"]) assert.equal(sum.changed({ delta: "1", key }), false);
  assert.equal(sum.text, "12");
});

test("of counted writes the last are remembered", () => {
  const sum = new RunningSum(2);
  sum.starting();
  sum.started("0");
  for (const key of ["a", "b", "c"]) sum.changed({ delta: "1", key });
  for (const key of ["b", "c"]) assert.equal(sum.changed({ delta: "1", key }), false);
  assert.equal(sum.text, "3");
});

test("what comes before the answer is in its sum", () => {
  const sum = new RunningSum();
  sum.starting();
  assert.equal(sum.changed({ delta: "1", key: "a" }), false);
  assert.equal(sum.live, false);
  assert.equal(sum.started("10"), true);
  assert.equal(sum.live, true);
  assert.equal(sum.text, "10");
});

test("of several starts only the last answer counts", () => {
  const sum = live();
  sum.starting();
  sum.starting();
  assert.equal(sum.started("10"), false);
  assert.equal(sum.changed({ delta: "1", key: "a" }), false);
  assert.equal(sum.started("20"), true);
  assert.equal(sum.text, "20");
});

test("an answer that comes after a stop starts nothing, nor spoils the next start", () => {
  const sum = new RunningSum();
  sum.starting();
  sum.stopped();
  assert.equal(sum.started("10"), false);
  assert.equal(sum.live, false);
  sum.starting();
  assert.equal(sum.started("11"), true);
});

test("answers that a lost socket took with it are not waited for", () => {
  const sum = live();
  sum.starting();
  sum.disconnected();
  sum.starting();
  assert.equal(sum.started("11"), true);
});

test("a new start forgets the old sum", () => {
  const sum = live();
  sum.changed({ delta: "1", key: "a" });
  sum.starting();
  sum.started("3");
  assert.equal(sum.text, "3");
  sum.changed({ delta: "1", key: "b" });
  assert.equal(sum.text, "4");
});

test("stopped, the sum stays as it was", () => {
  const sum = live();
  sum.stopped();
  assert.equal(sum.changed({ delta: "1", key: "a" }), false);
  assert.equal(sum.live, false);
  assert.equal(sum.text, "10");
});
