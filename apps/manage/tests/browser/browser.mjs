// What the browser tests and the screenshots share: the browser, logged-in windows, a third writer.
//
// SITE       a running server with the demo data (users admin/admin and demo/demo); http://127.0.0.1:8000 by default.
//            Several addresses, with a space between them, are processes that serve one site together: windows and
//            requests of writers are dealt out to them in turn, as a load balancer does.
// CHROMIUM   the browser to start; /usr/bin/chromium by default

import { chromium } from "playwright-core";
import { ZERO, add, format, parse } from "../../../orders/web/decimal.js";

/** The addresses of the site's processes. */
export const PROCESSES = (process.env.SITE ?? "http://127.0.0.1:8000").split(" ");

/** The flags keep the browser from calling home, which would fill a closed network with refused connections. */
const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

export function launch() {
  return chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: FLAGS });
}

/** @param {string[]} [urls] @returns {() => string} the processes, one after the other, without end */
function inTurn(urls = PROCESSES) {
  let turn = 0;
  return () => urls[turn++ % urls.length];
}

const nextForWindow = inTurn();

/**
 * A browser context of its own, logged in through the login form.
 * @param {import("playwright-core").Browser} browser
 * @param {string} name the user; the demo data's passwords equal the names
 * @param {import("playwright-core").BrowserContextOptions} [options] `baseURL` is the next process unless it is given
 */
export async function logIn(browser, name, options = {}) {
  const context = await browser.newContext({ baseURL: nextForWindow(), ...options });
  const page = await context.newPage();
  await page.goto("/accounts/login/");
  await page.getByLabel("Username").fill(name);
  await page.getByLabel("Password").fill(name);
  await page.getByRole("button", { name: "Log in" }).click();
  await page.waitForURL("/");
  return { context, page };
}

/** A writer over REST, by HTTP Basic, as a script would be. */
export class Writer {
  /** @param {string} name @param {string[]} [urls] the processes that it asks in turn */
  constructor(name, urls) {
    this.name = name;
    this.next = inTurn(urls);
    this.authorization = `Basic ${Buffer.from(`${name}:${name}`).toString("base64")}`;
  }

  /** @param {object} order */
  create(order) {
    return this.#ask("POST", "/api/data/", order);
  }

  /** @param {number} id */
  read(id) {
    return this.#ask("GET", `/api/data/${id}/`);
  }

  /** @param {number} id @param {object} change */
  patch(id, change) {
    return this.#ask("PATCH", `/api/data/${id}/`, change);
  }

  /** @param {number} id */
  delete(id) {
    return this.#ask("DELETE", `/api/data/${id}/`);
  }

  /** Σ quantity × price over everything that this user sees, exactly, from all pages of the API. */
  async sum() {
    let sum = ZERO;
    for (let next = "/api/data/"; next; ) {
      const page = await this.#ask("GET", next);
      for (const { quantity, price } of page.results) sum = add(sum, product(parse(quantity), parse(price)));
      next = page.next;
    }
    return format(sum);
  }

  async #ask(method, path, body) {
    const response = await fetch(new URL(path, this.next()), {
      method,
      headers: { Authorization: this.authorization, "Content-Type": "application/json", Accept: "application/json" },
      body: body && JSON.stringify(body),
    });
    if (!response.ok) throw new Error(`${method} ${path} as ${this.name}: ${response.status} ${await response.text()}`);
    return response.status === 204 ? null : response.json();
  }
}

/** @param {import("../../../orders/web/decimal.js").Decimal} a @param {import("../../../orders/web/decimal.js").Decimal} b */
function product(a, b) {
  return { units: a.units * b.units, scale: a.scale + b.scale };
}
