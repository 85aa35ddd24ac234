// Which events are news: the older of two writes may be heard of last.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Newest } from "../newest.js";

test("an older event about the same order is no news, about another it is", () => {
  const newest = new Newest();
  assert.equal(newest.isNews(1, 11), true);
  assert.equal(newest.isNews(1, 10), false);
  assert.equal(newest.isNews(1, 11), false);
  assert.equal(newest.isNews(2, 10), true);
  assert.equal(newest.isNews(1, 12), true);
});

test("a server whose clock is behind is believed after a start", () => {
  const newest = new Newest();
  newest.isNews(1, 901);
  newest.starting();
  assert.equal(newest.isNews(1, 1), true);
});

test("the order of which nothing was heard for longest is forgotten first", () => {
  const newest = new Newest(2);
  for (const [id, revision] of [[1, 1], [2, 2], [1, 3], [3, 4]]) newest.isNews(id, revision);
  assert.equal(newest.isNews(1, 2), false);
  assert.equal(newest.isNews(2, 1), true);
});
