// One browser window on the orders page, as the tests look at it.

import assert from "node:assert/strict";
import { format, parse } from "../../../orders/web/decimal.js";
import { logIn } from "./browser.mjs";

/** How long anything may take before the test fails. Milliseconds. */
const WAIT_MAX_MS = 8_000;

export class Window {
  /** What the server said over the socket of the orders, parsed. @type {any[]} */
  received = [];
  /** The requests since `forget`, as method and path. @type {string[]} */
  requests = [];
  /** Errors of the page: exceptions and what it wrote to the console as such. @type {string[]} */
  errors = [];

  /** @param {import("playwright-core").Page} page */
  constructor(page) {
    this.page = page;
    page.on("request", (request) => this.requests.push(`${request.method()} ${new URL(request.url()).pathname}`));
    page.on("pageerror", (error) => this.errors.push(String(error)));
    page.on("console", (message) => message.type() === "error" && this.errors.push(message.text()));
    page.on("websocket", (socket) => {
      if (!socket.url().endsWith("/ws/orders/")) return;
      socket.on("framereceived", ({ payload }) => this.received.push(JSON.parse(String(payload))));
    });
  }

  /**
   * Logs in and opens the page, with the watching in place.
   * @param {import("playwright-core").Browser} browser
   * @param {string} name
   * @param {(page: import("playwright-core").Page) => Promise<unknown>} [prepare] before the page is opened
   * @param {import("playwright-core").BrowserContextOptions} [options] see `logIn`
   */
  static async open(browser, name, prepare, options) {
    const { context, page } = await logIn(browser, name, options);
    await page.close();
    context.setDefaultTimeout(WAIT_MAX_MS);
    const watched = await context.newPage();
    const window = new Window(watched);
    await prepare?.(watched);
    await watched.goto("/");
    await watched.locator("#orders tbody tr[id]").first().waitFor();
    return window;
  }

  close() {
    return this.page.context().close();
  }

  /** Switches realtime on and waits until it runs and the page that it reloads is there. */
  async start() {
    const reloaded = this.page.waitForResponse((response) => response.url().includes("/api/data/"));
    await this.page.getByRole("button", { name: "Start realtime" }).click();
    await this.connection("live");
    await reloaded;
  }

  async stop() {
    await this.page.getByRole("button", { name: "Stop realtime" }).click();
    await this.connection("off");
  }

  /** @param {string} state */
  connection(state) {
    return this.page.locator(`#connection[data-state="${state}"]`).waitFor();
  }

  /** @param {number} id */
  row(id) {
    return this.page.locator(`#order-${id}`);
  }

  /** @param {number} id @returns {Promise<string[]>} */
  cells(id) {
    return this.row(id).locator("td").allTextContents();
  }

  /** @returns {Promise<string[]>} ids of the rows on the page that is shown */
  ids() {
    return this.page.locator("#orders tbody tr td:first-child").allTextContents();
  }

  /** Turns DataTables' pages. @param {string} label a number, "Next" or "Previous" */
  turnTo(label) {
    return this.page.locator(".dt-paging").getByRole("link", { name: label, exact: true }).click();
  }

  /** @returns {Promise<string[]>} the cells of the monitor's newest row about this order */
  async monitorRow(id) {
    const row = this.page.locator("#monitor tbody tr", { has: this.page.locator(`td:nth-child(3):text-is("${id}")`) });
    await row.first().waitFor();
    return row.first().locator("td").allTextContents();
  }

  /** Waits until the page's sum is this exact number. @param {string} expected */
  async sumIs(expected) {
    const wanted = format(parse(expected));
    const sum = this.page.locator("#sum");
    await eventually(async () => {
      const text = (await sum.getAttribute("data-value")) ?? "";
      assert.equal(format(parse(text)), wanted);
      assert.equal(((await sum.textContent()) ?? "").replaceAll(",", ""), text);
    });
  }

  /** Waits until an event about this order has come over the socket. @param {number} id @param {string} action */
  async event(id, action) {
    const find = () => this.received.findLast((message) => message.order?.id === id && message.action === action);
    await eventually(async () => assert.ok(find(), `${action} of order ${id} was received`));
    return find();
  }

  /** Starts to count requests anew. */
  forget() {
    this.requests.length = 0;
  }
}

/**
 * Repeats a check until it holds; its last failure is the test's failure.
 * @param {() => Promise<void>} check
 * @param {number} [withinMs]
 */
export async function eventually(check, withinMs = 5_000) {
  const deadline = Date.now() + withinMs;
  for (;;) {
    try {
      return await check();
    } catch (error) {
      if (Date.now() > deadline) throw error;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}
