// Exact decimal numbers, as the server writes them in text: a BigInt of units and a scale.
// Floats are never used: 0.1 + 0.2 must be 0.3, and a delta may carry 24 decimals.

/** The longest text that is read as a number; longer ones are refused. */
const LENGTH_MAX = 128;

/**
 * A decimal number: `units / 10 ** scale`.
 * @typedef {{ units: bigint, scale: number }} Decimal
 */

/** @type {Decimal} */
export const ZERO = { units: 0n, scale: 0 };

/**
 * Reads text such as "12", "-3.25" or "+0.10".
 * @param {string} text
 * @returns {Decimal}
 * @throws {RangeError} when the text is not a plain decimal number
 */
export function parse(text) {
  const match = text.length <= LENGTH_MAX ? /^([+-]?)(\d+)(?:\.(\d+))?$/.exec(text) : null;
  if (!match) throw new RangeError(`Not a decimal number: "${text.slice(0, LENGTH_MAX)}"`);
  const [, sign, whole, fraction = ""] = match;
  const units = BigInt(whole + fraction);
  return { units: sign === "-" ? -units : units, scale: fraction.length };
}

/**
 * @param {Decimal} a
 * @param {Decimal} b
 * @returns {Decimal}
 */
export function add(a, b) {
  const scale = Math.max(a.scale, b.scale);
  return { units: unitsAt(a, scale) + unitsAt(b, scale), scale };
}

/**
 * The shortest text of a number: no zeros at the end, never "-0".
 * @param {Decimal} number
 * @returns {string}
 */
export function format({ units, scale }) {
  const digits = (units < 0n ? -units : units).toString().padStart(scale + 1, "0");
  const whole = digits.slice(0, digits.length - scale);
  const fraction = digits.slice(digits.length - scale).replace(/0+$/, "");
  return (units < 0n ? "-" : "") + whole + (fraction && `.${fraction}`);
}

/**
 * Puts a comma between thousands, for people to read. Text that is no number comes back as it is.
 * @param {string} text
 * @returns {string}
 */
export function group(text) {
  const match = /^([+-]?\d+)(\.\d+)?$/.exec(text);
  if (!match) return text;
  return match[1].replace(/\B(?=(\d{3})+$)/g, ",") + (match[2] ?? "");
}

/**
 * @param {Decimal} number
 * @param {number} scale at least the number's own
 */
function unitsAt(number, scale) {
  return number.units * 10n ** BigInt(scale - number.scale);
}
