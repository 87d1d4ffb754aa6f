// Chromium, and what every scenario wants of it.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { chromium } from 'playwright-core';

const { CHROMIUM, SCREENSHOTS, ORIGIN_URL, ORIGIN_ADDRESS } = process.env;
const axe = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
/** Milliseconds until something that has to come is missed. */
export const PATIENCE = Number(process.env.PATIENCE ?? 60_000);

/** Starts Chromium. The origin's name is one of the cluster; a browser beside it is told where that is. */
export async function launch() {
  // Gateway and origin have addresses of networks that Chromium keeps apart, such as a node's and a cluster's.
  const args = ['--no-sandbox', '--disable-features=LocalNetworkAccessChecks'];
  if (ORIGIN_ADDRESS) args.push(`--host-resolver-rules=MAP ${new URL(ORIGIN_URL).host} ${ORIGIN_ADDRESS}`);
  return chromium.launch({ executablePath: CHROMIUM, args });
}

/** Opens a tab which remembers everything that it should not do. */
export async function tab(context) {
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE);
  page.faults = [];
  page.on('pageerror', (error) => page.faults.push(`error: ${error.message}`));
  page.on('console', (message) => {
    // Answers that are no success, such as 422 for a bad CSV, are logged as well; the page shows those.
    const answer = /Failed to load resource|ERR_/.test(message.text());
    if (message.type() === 'error' && !answer) page.faults.push(`console: ${message.text()}`);
  });
  await page.exposeFunction('reportViolation', (text) => page.faults.push(`policy: ${text}`));
  await page.addInitScript(() => {
    addEventListener('securitypolicyviolation', (event) => {
      window.reportViolation(`${event.effectiveDirective} ${event.blockedURI}`);
    });
  });
  return page;
}

/** Fails on any violation of WCAG 2.2 A and AA and of axe's best practices. */
export async function checkAccessibility(page, where) {
  await page.evaluate(axe);
  const { violations, passes } = await page.evaluate(() => window.axe.run(document, {
    runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'],
  }));
  const found = violations.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map((it) => it.html).join(' | ')}`);
  assert.deepEqual(found, [], `accessibility of ${where}`);
  assert.ok(passes.length > 10, `axe looked at ${where}`);
}

/** Fails when a view is wider than its window, or something in it is cut off. */
export async function checkWidth(page, where) {
  const { content, window: width } = await page.evaluate(() => ({
    content: document.documentElement.scrollWidth,
    window: document.documentElement.clientWidth,
  }));
  assert.ok(content <= width, `${where} is ${content} pixels wide in a window of ${width}`);
}

export async function screenshot(page, name, options = {}) {
  await page.screenshot({ path: `${SCREENSHOTS}/${name}.png`, ...options });
}
