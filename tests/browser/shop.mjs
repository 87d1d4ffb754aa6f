// The one visit that all scenarios are part of, and what they share.
import { after, test as scenario } from 'node:test';
import { PATIENCE, launch, screenshot, tab } from './browser.mjs';
import { good } from './lists.mjs';

const { GATEWAY_URL, ORIGIN_URL } = process.env;
export const NAME = `Spring catalogue ${Date.now().toString(36)}`;
export const GOOD = good(ORIGIN_URL);
/** Addresses of the page that later scenarios come back to: `batch`, the one after the first run. */
export const visited = {};

const browser = await launch();
const context = await browser.newContext({ baseURL: GATEWAY_URL, viewport: { width: 1180, height: 860 }, reducedMotion: 'reduce' });
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
