// One short visit: the demonstration's list, from the drop to the images.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { screenshot } from './browser.mjs';
import { checkImages, figure, file, finished, heading, page, test } from './shop.mjs';

const { API_KEY, ORIGIN_URL } = process.env;
const sample = await readFile(new URL('../data/csv/sample.csv.in', import.meta.url), 'utf8');

test('the sample list becomes smaller images', async () => {
  await page.goto('/');
  if (API_KEY) {
    await page.getByLabel('API key or token').fill(API_KEY);
    await page.getByRole('button', { name: 'Sign in' }).click();
  }
  await heading('Make product images smaller').waitFor();
  await page.locator('input[type=file]').setInputFiles(file('sample.csv', sample.replaceAll('@ORIGIN@', ORIGIN_URL)));
  await page.getByText('14 products with 34 images').waitFor();
  await page.getByRole('button', { name: 'Start' }).click();
  await finished();
  assert.equal(await figure('Done').textContent(), '31');
  assert.equal(await figure('Failed').textContent(), '3');
  await checkImages(31);
  await page.getByRole('button', { name: /^Compare Dandelion Poster in Frame/ }).first().click();
  await page.getByRole('dialog').locator('.after').evaluate((image) => image.decode());
  await screenshot(page, 'visit');
  assert.deepEqual(page.faults, []);
});
