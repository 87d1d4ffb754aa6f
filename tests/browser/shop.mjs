// The one visit that all scenarios are part of, and what they share.
import assert from 'node:assert/strict';
import { after, test as scenario } from 'node:test';
import { PATIENCE, launch, screenshot, tab } from './browser.mjs';
import { bad, good } from './lists.mjs';

const { GATEWAY_URL, ORIGIN_URL, SCENARIOS } = process.env;
export const NAME = `Spring catalogue ${Date.now().toString(36)}`;
export const BAD = bad(ORIGIN_URL);
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
      await screenshot(page, `failure-${SCENARIOS}`, { fullPage: true });
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

/** Presses Tab until that has the focus, as somebody does who has no mouse. */
export async function tabTo(target) {
  await target.waitFor();
  for (let press = 0; press < 100; press += 1) {
    if (await target.evaluate((it) => it === document.activeElement)) return;
    await page.keyboard.press('Tab');
  }
  assert.fail(`Tab does not lead to ${target}`);
}

/** Fills a field by keyboard alone. */
export async function type(label, text) {
  await tabTo(page.getByLabel(label));
  await page.keyboard.press('ControlOrMeta+a');
  await page.keyboard.insertText(text);
}

/** Presses a button by keyboard alone. */
export async function press(name) {
  await tabTo(page.getByRole('button', { name }));
  await page.keyboard.press('Enter');
}

/** Checks a pasted list under a name, by keyboard alone. */
export async function paste(name, csv) {
  await page.goto('/#/');
  await tabTo(page.locator('summary', { hasText: 'Options' }));
  await page.keyboard.press('Enter');
  await type('Name', name);
  await type('Or paste rows', csv);
  await press('Check the rows');
}
