// What became of a batch: its images, its reports, its failures; and how it is found again.
import assert from 'node:assert/strict';
import { checkAccessibility, screenshot } from './browser.mjs';
import { GOOD, NAME, checkImages, finished, heading, page, paste, press, test, visited } from './shop.mjs';

const { ORIGIN_URL, ORIGIN_ADDRESS, HELD } = process.env;

test('the gallery shows real images, each beside its original', async () => {
  await checkImages(16);
  assert.equal(await page.locator('.card').count(), 18);
  await checkAccessibility(page, 'a finished batch');
  await screenshot(page, 'batch');

  // By keyboard alone.
  const opener = page.getByRole('button', { name: /^Compare Forest Stream/ }).first();
  await opener.focus();
  await page.keyboard.press('Enter');
  const dialog = page.getByRole('dialog', { name: /Forest Stream/ });
  await dialog.waitFor();
  await dialog.locator('.after').evaluate((image) => image.decode());
  const original = await dialog.locator('.before').evaluate((image) => image.decode().then(() => image.naturalWidth)).catch(() => 0);
  const reachable = ORIGIN_ADDRESS || /^http:\/\/(127\.|localhost)/.test(ORIGIN_URL);
  if (reachable) {
    assert.ok(original > 100, 'the original is shown');
    const divider = dialog.getByRole('slider');
    await divider.focus();
    const place = () => dialog.locator('.slider').evaluate((it) => it.style.getPropertyValue('--at'));
    assert.equal(await place(), '50%');
    for (let press = 0; press < 5; press += 1) await page.keyboard.press('ArrowRight');
    assert.equal(await place(), '55%');
    assert.equal(await divider.getAttribute('aria-valuetext'), 'original 55%, compressed 45%');
    await page.keyboard.press('Home');
    assert.equal(await place(), '0%');
    await page.keyboard.press('End');
    assert.equal(await place(), '100%');
    await divider.evaluate((it) => { it.value = '45'; it.dispatchEvent(new Event('input')); });
  } else {
    await dialog.getByText('The original cannot be shown here').waitFor();
  }
  await checkAccessibility(page, 'a comparison');
  await screenshot(page, 'comparison');
  await page.keyboard.press('Escape');
  await dialog.waitFor({ state: 'detached' });
  assert.ok(await opener.evaluate((it) => it === document.activeElement), 'the focus is back on the card');
});

test('the original that cannot be had is said to be missing', async () => {
  await page.route(`${ORIGIN_URL}/**`, (route) => route.abort());
  await page.reload();
  await page.getByRole('button', { name: /^Compare Fig Bowl/ }).first().click();
  const dialog = page.getByRole('dialog');
  await dialog.getByText('The original cannot be shown here').waitFor();
  assert.equal(await dialog.getByRole('slider').count(), 0);
  await dialog.getByRole('button', { name: 'Close' }).click();
  await page.unroute(`${ORIGIN_URL}/**`);
});

test('the reports are downloaded', async () => {
  for (const [link, lines, text] of [['Download the list', 10, 'Output Image Urls'], ['Download failed rows', 3, 'ImageNotFound']]) {
    const coming = page.waitForEvent('download');
    await page.getByRole('link', { name: link }).click();
    const download = await coming;
    assert.match(download.suggestedFilename(), /\.csv$/);
    const chunks = await (await download.createReadStream()).toArray();
    const csv = Buffer.concat(chunks).toString();
    assert.ok(csv.includes(text), csv);
    assert.equal(csv.trim().split('\n').length, lines, csv);
  }
});

test('failures are grouped, explained and tried again', async () => {
  const groups = page.locator('.group');
  await groups.nth(1).waitFor();
  const texts = await groups.allTextContents();
  assert.equal(texts.length, 2, texts.join());
  assert.ok(texts.some((it) => it.includes('ImageNotFound') && it.includes('The host has no such file') && it.includes('Wall Clock')), texts.join());
  assert.ok(texts.some((it) => it.includes('NotAnImage') && it.includes('HTML page')), texts.join());

  // Without events the progress comes by asking.
  await page.route('**/events*', (route) => route.fulfill({ status: 503, body: '' }));
  await page.getByRole('button', { name: 'Try 2 images again' }).click();
  await page.getByText('Tries again what failed in').waitFor();
  await finished();
  assert.notEqual(page.url(), visited.batch);
  assert.equal(await page.getByRole('progressbar').getAttribute('aria-valuenow'), '100');
  await page.unroute('**/events*');
  await page.getByRole('link', { name: 'an earlier batch' }).click();
  await page.waitForURL(visited.batch);
  await page.getByText('What failed was tried again in').waitFor();
});

test('a batch that does not get on says why, and is stopped', async (t) => {
  if (!HELD) return t.skip('batches do not wait here');
  // What the cluster has to say here would take a broken cluster; the rest of the answer is the gateway's.
  await page.route('**/events*', (route) => route.fulfill({ status: 503, body: '' }));
  await page.route(/\/v1\/batches\/[^/?]+(\?|$)/, async (route) => {
    const response = await route.fetch();
    const json = await response.json();
    const condition = { type: 'WorkersReady', status: 'False', reason: 'Unschedulable', message: 'no node has room' };
    json.conditions?.push(condition);
    await route.fulfill({ response, json });
  });
  await paste(`${HELD} ${NAME}`, GOOD);
  await press('Start');
  await heading(`${HELD} ${NAME}`).waitFor();
  await page.getByText('no node has room').waitFor();
  await checkAccessibility(page, 'a batch that does not get on');
  await page.unroute('**/events*');
  await page.unroute(/\/v1\/batches\/[^/?]+(\?|$)/);
  await page.reload();
  await press('Stop this batch');
  await page.getByText('Stopped', { exact: true }).waitFor();
  await page.getByText('asked for on the web page').waitFor();
  assert.equal(await page.getByRole('button', { name: 'Stop this batch' }).count(), 0);
});

test('batches are listed and found by their name', async () => {
  await page.getByRole('link', { name: 'Batches' }).click();
  await heading('Batches').waitFor();
  const found = page.locator('.batch');
  const search = page.getByRole('searchbox', { name: 'Name begins with' });
  await search.fill(NAME);
  // The batch and its retry.
  await page.waitForFunction((name) => {
    const texts = [...document.querySelectorAll('.batch strong')].map((it) => it.textContent);
    return texts.length === 2 && texts.every((it) => it === name);
  }, NAME);
  await checkAccessibility(page, 'the list of batches');
  await screenshot(page, 'batches');
  await search.fill('no batch has this name');
  await page.getByText('No batch is like that.').waitFor();
  await page.reload();
  assert.equal(await search.inputValue(), 'no batch has this name', 'a search can be shared');
  await search.fill(NAME);
  await page.getByLabel('State').selectOption('ImagesFailed');
  await found.last().waitFor();
  await found.last().click();
  await heading(NAME).waitFor();
});
