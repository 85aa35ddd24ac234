// Pictures of the pages for people to look at: node screenshots.mjs FOLDER
// Each at 1280 and 400 pixels, light and dark. Needs a running server with the demo data; see browser.mjs.

import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { PROCESSES, Writer, launch, logIn } from "./browser.mjs";

const folder = process.argv[2];
if (!folder) {
  console.error("usage: node screenshots.mjs FOLDER");
  process.exit(2);
}
await mkdir(folder, { recursive: true });
const browser = await launch();
for (const width of [1280, 400])
  for (const colorScheme of /** @type {const} */ (["light", "dark"])) await shoot(width, colorScheme);
await browser.close();

/**
 * @param {number} width
 * @param {"light" | "dark"} colorScheme
 */
async function shoot(width, colorScheme) {
  const options = { viewport: { width, height: width === 400 ? 800 : 900 }, colorScheme };
  const picture = (/** @type {import("playwright-core").Page} */ page, /** @type {string} */ name) =>
    page.screenshot({ path: join(folder, `${name}-${width}-${colorScheme}.png`), fullPage: true });

  const visitor = await browser.newContext({ baseURL: PROCESSES[0], ...options });
  const login = await visitor.newPage();
  await login.goto("/accounts/login/");
  await picture(login, "login");
  await visitor.close();

  const { context, page } = await logIn(browser, "admin", options);
  await page.getByRole("button", { name: "Start realtime" }).click();
  await page.locator('#connection[data-state="live"]').waitFor();
  await page.locator('#market-state[data-state="live"]').waitFor();
  const clear = await someEvents(page);
  await picture(page, "orders");
  await page.goto("/admin/orders/");
  await picture(page, "admin-list");
  await page.getByRole("link", { name: "Add order" }).click();
  await picture(page, "admin-form");
  await clear();
  await context.close();
}

/**
 * A few orders come, change and go, so that the monitor and the marks are to be seen.
 * @param {import("playwright-core").Page} page
 * @returns deletes what is left of them
 */
async function someEvents(page) {
  const writer = new Writer("demo");
  const orders = [];
  for (const instrument of ["EURUSD", "AAPL", "XAUUSD"])
    orders.push(await writer.create({ instrument, quantity: "1250.5", price: "3.1415" }));
  await page.locator(`#order-${orders[2].id}`).waitFor();
  await writer.delete(orders[2].id);
  await page.locator(`#order-${orders[2].id}`).waitFor({ state: "detached" });
  await writer.patch(orders[0].id, { price: "2.7182" });
  await writer.patch(orders[1].id, { quantity: "99" });
  await page.locator(`#order-${orders[1].id}.changed`).waitFor();
  return () => Promise.all(orders.slice(0, 2).map(({ id }) => writer.delete(id)));
}
