// What goes over the sockets and what the API answers. Types only: nothing here runs.

/**
 * One order; decimals are exact texts, times are RFC 3339.
 * @typedef {{ id: number, owner: string, instrument: string, quantity: string, price: string,
 *             created: string, updated: string }} Order
 */

/**
 * One committed write. `delta` is what it adds to the sum, `revision` grows from write to write, `sent_at` is in
 * microseconds since the epoch, a delete carries the last row, and what is told twice has the same `key`.
 * @typedef {{ type: "order.changed", action: "create" | "update" | "delete", order: Order, delta: string,
 *             revision: number, sent_at: number, key: string }} OrderChanged
 */

/** @typedef {{ type: "realtime.started", sum: string, revision: number }} Started */
/** @typedef {{ type: "realtime.stopped" }} Stopped */
/** Events were lost; `count` is null when nobody knows how many. @typedef {{ type: "realtime.missed", count: number | null }} Missed */
/** @typedef {{ type: "error", detail: string }} Problem */

/** Everything the server may say. @typedef {OrderChanged | Started | Stopped | Missed | Problem} ServerMessage */
/** Everything the page may say. @typedef {{ type: "realtime.start" } | { type: "realtime.stop" }} ClientMessage */

/**
 * A new price, over the socket at /ws/market/. `price` and `change`, which is since the market began, are decimal texts;
 * `sent_at` is in microseconds since the epoch.
 * @typedef {{ type: "market.tick", instrument: string, price: string, change: string, sent_at: number }} Tick
 */

/** DataTables' server-side answer. @typedef {{ recordsTotal: number, recordsFiltered: number, data: Order[] }} Page */
/** What of the table is asked for. @typedef {{ start: number, length: number, search: string, order: Sorting[] }} PageRequest */
/** @typedef {{ column: number, dir: "asc" | "desc" }} Sorting */

export {};
