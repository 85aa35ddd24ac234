// The running sum: what is counted, what is in the start value already, what waits.

import assert from "node:assert/strict";
import { test } from "node:test";
import { RunningSum } from "../sum.js";

function live(sum = "10", revision = 5) {
  const running = new RunningSum();
  running.starting();
  running.started(sum, revision);
  return running;
}

test("each event adds its delta", () => {
  const sum = live();
  assert.equal(sum.changed({ delta: "2.5", revision: 6 }), true);
  assert.equal(sum.changed({ delta: "-0.25", revision: 9 }), true);
  assert.equal(sum.text, "12.25");
});

test("a revision that is counted already does not count again", () => {
  const sum = live();
  for (const revision of [3, 5]) assert.equal(sum.changed({ delta: "100", revision }), false);
  sum.changed({ delta: "1", revision: 6 });
  assert.equal(sum.changed({ delta: "1", revision: 6 }), false);
  assert.equal(sum.text, "11");
});

test("an event that another overtook counts, and once", () => {
  const sum = live();
  for (const revision of [8, 7, 6]) assert.equal(sum.changed({ delta: "1", revision }), true);
  for (const revision of [6, 7, 8, 5]) assert.equal(sum.changed({ delta: "1", revision }), false);
  assert.equal(sum.text, "13");
});

test("of counted revisions the last are remembered, those before them are below the floor", () => {
  const sum = new RunningSum(undefined, 2);
  sum.starting();
  sum.started("0", 5);
  for (const revision of [7, 8, 10]) sum.changed({ delta: "1", revision });
  for (const revision of [6, 7, 8, 10]) assert.equal(sum.changed({ delta: "1", revision }), false);
  assert.equal(sum.changed({ delta: "1", revision: 9 }), true);
  assert.equal(sum.text, "4");
});

test("events before the answer wait and follow the same rule", () => {
  const sum = new RunningSum();
  sum.starting();
  for (const revision of [4, 5, 6, 7]) assert.equal(sum.changed({ delta: "1", revision }), false);
  assert.equal(sum.live, false);
  sum.started("10", 5);
  assert.equal(sum.live, true);
  assert.equal(sum.text, "12");
});

test("of several starts only the last answer counts, and nothing that came before it is lost", () => {
  const sum = live();
  sum.starting();
  sum.starting();
  assert.equal(sum.started("10", 5), "later");
  assert.equal(sum.changed({ delta: "1", revision: 7 }), false);
  assert.equal(sum.started("20", 6), "live");
  assert.equal(sum.text, "21");
});

test("an answer that comes after a stop starts nothing, nor spoils the next start", () => {
  const sum = new RunningSum();
  sum.starting();
  sum.stopped();
  assert.equal(sum.started("10", 5), "later");
  assert.equal(sum.live, false);
  sum.starting();
  assert.equal(sum.started("11", 6), "live");
});

test("answers that a lost socket took with it are not waited for", () => {
  const sum = live();
  sum.starting();
  sum.disconnected();
  sum.starting();
  assert.equal(sum.started("11", 6), "live");
});

test("a new start forgets the old sum", () => {
  const sum = live();
  sum.changed({ delta: "1", revision: 6 });
  sum.starting();
  sum.started("3", 2);
  assert.equal(sum.text, "3");
  sum.changed({ delta: "1", revision: 3 });
  assert.equal(sum.text, "4");
});

test("a server that begins its revisions anew is believed", () => {
  const sum = live("10", 900);
  sum.starting();
  sum.started("7", 0);
  sum.changed({ delta: "1", revision: 1 });
  assert.equal(sum.text, "8");
});

test("stopped, the sum stays as it was", () => {
  const sum = live();
  sum.stopped();
  sum.changed({ delta: "1", revision: 6 });
  assert.equal(sum.live, false);
  assert.equal(sum.text, "10");
});

test("too much before the answer asks for another start", () => {
  const sum = new RunningSum(2);
  sum.starting();
  for (const revision of [6, 7, 8]) sum.changed({ delta: "1", revision });
  assert.equal(sum.started("10", 5), "again");
  assert.equal(sum.live, false);
  sum.starting();
  assert.equal(sum.started("13", 8), "live");
  assert.equal(sum.text, "13");
});
