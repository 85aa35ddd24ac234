// Exact decimals: reading, adding and writing.

import assert from "node:assert/strict";
import { test } from "node:test";
import { ZERO, add, format, group, parse } from "../decimal.js";

const sum = (...texts) => format(texts.map(parse).reduce(add, ZERO));

test("sums are exact where floats are not", () => {
  assert.equal(sum("0.1", "0.2"), "0.3");
  assert.equal(sum("9007199254740993", "0.000000000000000000000001"), "9007199254740993.000000000000000000000001");
  assert.equal(sum("123456789012345678.123456789012345678901234", "-0.000000000000000000000034"), "123456789012345678.1234567890123456789012");
});

test("signs, zeros and scales", () => {
  const table = [
    [["1", "-1"], "0"],
    [["-0.00"], "0"],
    [["-3.25", "3.2"], "-0.05"],
    [["+0.10"], "0.1"],
    [["007.50"], "7.5"],
    [["100"], "100"],
    [["-0.5", "-0.5"], "-1"],
    [[], "0"],
  ];
  for (const [texts, expected] of table) assert.equal(sum(...texts), expected, texts.join(" + "));
});

test("adding in any order and taking away again gives the same", () => {
  const texts = Array.from({ length: 500 }, (_, n) => `${n % 2 ? "-" : ""}${n * 7919}.${String(n * 104729).padStart(9, "0")}`);
  const negated = texts.map((text) => (text.startsWith("-") ? text.slice(1) : `-${text}`));
  assert.equal(sum(...texts), sum(...texts.toReversed()));
  assert.equal(sum(...texts, ...negated), "0");
});

test("what is not a plain decimal number is refused", () => {
  for (const text of ["", " 1", "1e3", "NaN", "1.", ".5", "--1", "1,000", "0x10", "9".repeat(129)])
    assert.throws(() => parse(text), RangeError, `"${text}"`);
});

test("thousands are grouped for reading, decimals are not", () => {
  const table = { 0: "0", 999: "999", 1000: "1,000", "-1234567.8901": "-1,234,567.8901", "+1000": "+1,000", "n/a": "n/a" };
  for (const [text, expected] of Object.entries(table)) assert.equal(group(text), expected);
});
