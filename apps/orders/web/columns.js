// The columns of the orders table, and how their values are written for people.

import { group } from "./decimal.js";

/** @typedef {import("./protocol.js").Order} Order */
/** @typedef {{ name: keyof Order, number: boolean, show: (order: Order) => string }} Column */

/** @type {Column[]} */
export const COLUMNS = [
  { name: "id", number: false, show: (order) => String(order.id) },
  { name: "owner", number: false, show: (order) => order.owner },
  { name: "instrument", number: false, show: (order) => order.instrument },
  { name: "quantity", number: true, show: (order) => group(order.quantity) },
  { name: "price", number: true, show: (order) => group(order.price) },
  { name: "updated", number: false, show: (order) => dateTime(new Date(order.updated)) },
];

/** How the table is sorted at first: newest orders on top. @type {import("./protocol.js").Sorting[]} */
export const FIRST_ORDER = [{ column: 0, dir: "desc" }];

/** How many rows a page may have; the first is the default. */
export const PAGE_LENGTHS = [10, 25, 50, 100];

/**
 * The id of an order's row in the document.
 * @param {number} id
 */
export function rowId(id) {
  return `order-${id}`;
}

/**
 * @param {Date} date
 * @returns {string} local time, for example "2026-11-21 10:04:05"
 */
export function dateTime(date) {
  const day = [date.getFullYear(), two(date.getMonth() + 1), two(date.getDate())].join("-");
  return `${day} ${clock(date)}`;
}

/**
 * @param {Date} date
 * @returns {string} local time, for example "10:04:05"
 */
export function clock(date) {
  return [date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(":");
}

/** @param {number} number */
function two(number) {
  return String(number).padStart(2, "0");
}
