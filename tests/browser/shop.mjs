// The one visit that all scenarios are part of, and what they share.
import assert from 'node:assert/strict';
import { after, test as scenario } from 'node:test';
import { PATIENCE, launch, screenshot, tab } from './browser.mjs';
import { good } from './lists.mjs';

const { GATEWAY_URL, ORIGIN_URL } = process.env;
export const NAME = `Spring catalogue ${Date.now().toString(36)}`;
export const GOOD = good(ORIGIN_URL);
/** Addresses of the page that later scenarios come back to: `batch`, the one after the first run. */
export const visited = {};

const browser = await launch();
const context = await browser.newContext({ baseURL: GATEWAY_URL, viewport: { width: 1180, height: 860 }, reducedMotion: 'reduce', ignoreHTTPSErrors: true });
export const page = await tab(context);
after(() => browser.close());

let failed = false;

/** Adds a scenario. The first that fails leaves a screenshot, and those behind it are not tried. */
export function test(name, run) {
  scenario(name, async (t) => {
    if (failed) return t.skip('an earlier one failed');
    try {
      return await run(t);
    } catch (error) {
      failed = true;
      await screenshot(page, 'failure', { fullPage: true });
      throw error;
    }
  });
}

export const file = (name, text) => ({ name, mimeType: 'text/csv', buffer: Buffer.from(text) });
export const heading = (name) => page.getByRole('heading', { level: 1, name });
export const figure = (name) => page.locator('.stats div', { has: page.getByText(name, { exact: true }) }).locator('dd');
export const finished = () => page.getByRole('link', { name: 'Download the list' }).waitFor({ timeout: 3 * PATIENCE });

/** Fails unless so many images are in the gallery, and the browser can show each. */
export async function checkImages(count) {
  await page.waitForFunction((count) => document.querySelectorAll('.card img').length === count, count);
  for (const card of await page.locator('.card', { has: page.locator('img') }).all()) {
    await card.scrollIntoViewIfNeeded();
    const size = await card.locator('img').evaluate((it) => it.decode().then(() => [it.naturalWidth, it.naturalHeight]));
    assert.ok(size.every((it) => it > 100), `${size}`);
    assert.match(await card.textContent(), /B → .*% smaller|kept as it was/);
  }
  await page.evaluate(() => scrollTo(0, 0));
}
