// What a shop does with the page, in the order in which it does it. The scenarios build on each other.
import assert from 'node:assert/strict';
import { after, before, test as scenario } from 'node:test';
import { PATIENCE, checkAccessibility, checkWidth, launch, screenshot, tab } from './browser.mjs';
import { BAD, good } from './lists.mjs';

const { GATEWAY_URL, ORIGIN_URL, ORIGIN_ADDRESS, API_KEY } = process.env;
const NAME = `Spring catalogue ${Date.now().toString(36)}`;
const GOOD = good(ORIGIN_URL);
const file = (name, text) => ({ name, mimeType: 'text/csv', buffer: Buffer.from(text) });

let browser, page;
let failed = false;
/** Addresses of the page after the first run and after its retry. */
let batch, retry;

before(async () => {
  browser = await launch();
  const context = await browser.newContext({ baseURL: GATEWAY_URL, viewport: { width: 1180, height: 860 }, reducedMotion: 'reduce' });
  page = await tab(context);
});
after(async () => browser?.close());

/** Adds a scenario. The first that fails leaves a screenshot, and those behind it are not tried. */
function test(name, run) {
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

const heading = (name) => page.getByRole('heading', { level: 1, name });
const figure = (name) => page.locator('.stats div', { has: page.getByText(name, { exact: true }) }).locator('dd');
const finished = () => page.getByRole('link', { name: 'Download the list' }).waitFor({ timeout: 3 * PATIENCE });

test('sign in', async (t) => {
  await page.goto('/');
  await page.locator('h1').waitFor();
  const asked = await heading('Sign in').isVisible();
  if (!asked) return t.skip('the gateway authenticates nobody');
  assert.ok(API_KEY, 'the gateway authenticates: API_KEY is needed');
  await checkAccessibility(page, 'the form');
  const field = page.getByLabel('API key or token');
  await field.fill('ib_nobody_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA');
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByRole('alert').getByText('This key is not valid').waitFor();
  await checkAccessibility(page, 'a refused key');
  await field.fill(API_KEY);
  await field.press('Enter');
  await page.getByRole('button', { name: 'Sign out' }).waitFor();
  // Scripts cannot read what stands for the key, and the key is nowhere.
  const kept = await page.evaluate(() => [document.cookie, JSON.stringify(localStorage), JSON.stringify(sessionStorage), document.body.innerHTML].join());
  assert.ok(!kept.includes(API_KEY), 'the key is kept in the page');
  assert.equal(await page.evaluate(() => document.cookie), '');
  const cookies = await page.context().cookies();
  assert.ok(cookies.length > 0 && cookies.every((it) => it.httpOnly && it.sameSite === 'Strict'), JSON.stringify(cookies));
});

test('a bad list is shown row by row before anything runs', async () => {
  await page.goto('/');
  await heading('Make product images smaller').waitFor();
  await checkAccessibility(page, 'a new batch');
  await screenshot(page, 'new-batch');
  const uploads = [];
  const watch = (request) => request.method() === 'POST' && uploads.push(new URL(request.url()).searchParams.get('dryRun'));
  page.on('request', watch);
  await page.locator('input[type=file]').setInputFiles(file('bad.csv', BAD));
  await page.getByRole('heading', { name: '3 problems found' }).waitFor();
  const rows = page.locator('.rows > li');
  assert.equal(await rows.count(), 3);
  const [second, third, fourth] = await rows.all();
  for (const [row, texts] of [
    [second, ['Row 2', 'line 3', 'Clock', 'ftp://shop.example/2.jpg', 'InvalidUrl']],
    [third, ['Row 3', 'line 4', 'MissingProductName', 'https://shop.example/3.jpg']],
    [fourth, ['Row 4', 'line 5', 'MissingImageUrl', 'Two\nlines']],
  ]) {
    const text = await row.textContent();
    for (const it of texts) assert.ok(text.includes(it), `${it} in ${text}`);
  }
  assert.match(await second.locator('.cell.wrong').textContent(), /ftp:/);
  // The result has the focus, so that a screen reader is there.
  assert.equal(await page.evaluate(() => document.activeElement?.getAttribute('aria-label')), 'Result of the check');
  await checkAccessibility(page, 'problems of a list');
  await screenshot(page, 'problems', { fullPage: true });

  await page.getByRole('button', { name: 'Leave these rows out' }).click();
  await page.getByRole('heading', { name: 'The rest is ready' }).waitFor();
  await page.getByText('3 rows will be left out').click();
  assert.equal(await rows.count(), 3);
  await checkAccessibility(page, 'the rest of a list');
  page.off('request', watch);
  assert.deepEqual(uploads, ['true', 'true'], 'only checks were sent');
});

test('a good list runs to its end with live progress', async () => {
  await page.goto('/#/');
  await page.getByText('Options', { exact: true }).click();
  await page.getByLabel('Name').fill(NAME);
  await page.getByLabel('Or paste rows').fill(GOOD);
  await page.getByRole('button', { name: 'Check the rows' }).click();
  await page.getByRole('heading', { name: 'Everything is fine' }).waitFor();
  await page.getByText('9 products with 18 images').waitFor();
  await checkAccessibility(page, 'a checked list');

  const events = page.waitForResponse((it) => it.url().includes('/events'));
  await page.getByRole('button', { name: 'Start' }).click();
  await heading(NAME).waitFor();
  batch = page.url();
  const bar = page.getByRole('progressbar', { name: 'Images done' });
  await bar.waitFor();
  await figure('Time left').waitFor();
  assert.equal((await events).headers()['content-type']?.split(';')[0], 'text/event-stream');
  await checkAccessibility(page, 'a running batch');
  await finished();
  assert.equal(await bar.getAttribute('aria-valuenow'), '100');
  assert.equal(await figure('Done').textContent(), '16');
  assert.equal(await figure('Failed').textContent(), '2');
  assert.ok(Number.parseInt(await figure('Images a minute').textContent(), 10) > 0);
  assert.match(await page.locator('#announcer').textContent(), /16 images done, 2 failed/);
});

test('the gallery shows real images, each beside its original', async () => {
  const cards = page.locator('.card');
  await page.waitForFunction(() => document.querySelectorAll('.card img').length === 16);
  assert.equal(await cards.count(), 18);
  for (const card of await cards.filter({ has: page.locator('img') }).all()) {
    await card.scrollIntoViewIfNeeded();
    await card.locator('img').evaluate((image) => image.decode());
    const size = await card.locator('img').evaluate((image) => [image.naturalWidth, image.naturalHeight]);
    assert.ok(size.every((it) => it > 100), `${size}`);
    assert.match(await card.textContent(), /B → .*% smaller|kept as it was/);
  }
  await page.evaluate(() => scrollTo(0, 0));
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
  assert.ok(texts.some((it) => it.includes('ImageNotFound') && it.includes('The host answered 404 or 410.') && it.includes('Wall Clock')), texts.join());
  assert.ok(texts.some((it) => it.includes('NotAnImage') && it.includes('HTML page')), texts.join());

  // Without events the progress comes by asking.
  await page.route('**/events*', (route) => route.fulfill({ status: 503, body: '' }));
  await page.getByRole('button', { name: 'Try 2 images again' }).click();
  await page.getByText('Fetches again what failed in').waitFor();
  await finished();
  retry = page.url();
  assert.notEqual(retry, batch);
  assert.equal(await page.getByRole('progressbar').getAttribute('aria-valuenow'), '100');
  await page.unroute('**/events*');
  await page.getByRole('link', { name: 'another batch' }).first().click();
  await page.waitForURL(batch);
  await page.getByText('What failed was fetched again in').waitFor();
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

test('dark mode follows the system and the switch', async () => {
  const lightness = () => page.evaluate(() => {
    const [red, green, blue] = getComputedStyle(document.body).backgroundColor.match(/[\d.]+/g).map(Number);
    return red + green + blue;
  });
  await page.goto(batch);
  await finished();
  assert.ok(await lightness() > 600, 'light');
  await page.emulateMedia({ colorScheme: 'dark' });
  assert.ok(await lightness() < 150, 'dark with the system');
  for (const [path, where] of [[batch, 'a batch'], ['/#/', 'a new batch'], ['/#/batches', 'the list']]) {
    await page.goto(path);
    await page.locator('h1').waitFor();
    await checkAccessibility(page, `${where} in dark`);
  }
  const colours = page.getByRole('combobox', { name: 'Colours' });
  await colours.selectOption('light');
  assert.ok(await lightness() > 600, 'light by the switch');
  await page.reload();
  assert.ok(await lightness() > 600, 'light is remembered');
  await page.emulateMedia({ colorScheme: 'light' });
  await colours.selectOption('dark');
  assert.ok(await lightness() < 150, 'dark by the switch');
  await page.goto(batch);
  await finished();
  await page.locator('.group').nth(1).waitFor();
  await screenshot(page, 'dark');
  await colours.selectOption('auto');
});

test('everything fits 320 pixels', async () => {
  await page.setViewportSize({ width: 320, height: 640 });
  await page.goto('/#/');
  await page.locator('input[type=file]').setInputFiles(file('bad.csv', BAD));
  await page.getByRole('heading', { name: '3 problems found' }).waitFor();
  await checkWidth(page, 'problems of a list');
  await checkAccessibility(page, 'problems at 320 pixels');
  await page.goto('/#/batches');
  await page.locator('.batch').first().waitFor();
  await checkWidth(page, 'the list');
  await page.goto(batch);
  await finished();
  await page.locator('.card img').first().waitFor();
  await checkWidth(page, 'a batch');
  await checkAccessibility(page, 'a batch at 320 pixels');
  await screenshot(page, 'phone');
  await page.getByRole('button', { name: /^Compare Fig Bowl/ }).first().click();
  await page.getByRole('dialog').waitFor();
  await checkWidth(page, 'a comparison');
  await screenshot(page, 'phone-comparison');
  await page.keyboard.press('Escape');
});

test('the keyboard reaches everything, and the focus is seen', async () => {
  await page.setViewportSize({ width: 1180, height: 860 });
  await page.goto('/');
  await page.locator('h1').waitFor();
  const reached = [];
  for (let press = 0; ; press += 1) {
    await page.keyboard.press('Tab');
    const [name, outlined] = await page.evaluate(() => {
      const element = document.activeElement;
      // Behind the last one the browser itself has the focus.
      if (element === document.body) return [null];
      const seen = [element, element.closest('.drop')].filter(Boolean);
      return [element.getAttribute('aria-label') ?? element.labels?.[0]?.textContent ?? element.textContent,
        seen.some((it) => getComputedStyle(it).outlineStyle !== 'none')];
    });
    if (name === null) break;
    assert.ok(press < 30, `the focus goes in a circle: ${reached.join(', ')}`);
    reached.push(name.trim());
    assert.ok(outlined, `the focus on ${name} is seen`);
    if (press === 0) {
      await page.keyboard.press('Enter');
      assert.equal(await page.evaluate(() => document.activeElement?.id), 'main', 'the link skips to the content');
      await page.reload();
      await page.locator('h1').waitFor();
      await page.keyboard.press('Tab');
    }
  }
  for (const name of ['Skip to the content', 'New batch', 'Batches', 'Colours', 'Drop a CSV here', 'Or paste rows', 'Check the rows', 'Options']) {
    assert.ok(reached.some((it) => it.startsWith(name)), `${name} in ${reached.join(', ')}`);
  }
});

test('nothing else happened: no error, no violation of the policy', () => {
  assert.deepEqual(page.faults, []);
});
