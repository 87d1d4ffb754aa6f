// From a list to a batch: sign in, a bad list, a good one.
import assert from 'node:assert/strict';
import { checkAccessibility, screenshot } from './browser.mjs';
import { BAD, GOOD, NAME, figure, finished, heading, page, paste, press, test, type, visited } from './shop.mjs';

const { API_KEY } = process.env;

test('sign in', async (t) => {
  await page.goto('/');
  await page.locator('h1').waitFor();
  const asked = await heading('Sign in').isVisible();
  if (!asked) return t.skip('the gateway authenticates nobody');
  assert.ok(API_KEY, 'the gateway authenticates: API_KEY is needed');
  await checkAccessibility(page, 'the form');
  await screenshot(page, 'sign-in');
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
  const dragged = await page.evaluateHandle((text) => {
    const data = new DataTransfer();
    data.items.add(new File([text], 'bad.csv', { type: 'text/csv' }));
    return data;
  }, BAD);
  await page.locator('.drop').dispatchEvent('drop', { dataTransfer: dragged });
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

  await page.getByRole('button', { name: 'Start' }).click();
  await finished();
  assert.equal(await figure('Done').textContent(), '1');
  await page.getByText('3 rows were skipped').waitFor();
  assert.equal(await page.getByRole('region', { name: 'Rows with problems' }).getByRole('listitem').count(), 3);
  await page.getByRole('link', { name: 'Download failed rows' }).waitFor();
  await checkAccessibility(page, 'the rest, done');
});

test('a good list runs to its end with live progress, by keyboard alone', async () => {
  await paste(NAME, GOOD);
  await page.getByRole('heading', { name: 'Everything is fine' }).waitFor();
  // Another option is another check.
  await type('Quality', 'half');
  await press('Check the rows');
  await page.getByRole('alert').getByText('quality').waitFor();
  await type('Quality', '50%');
  await press('Check the rows');
  await page.getByRole('heading', { name: 'Everything is fine' }).waitFor();
  await page.getByText('9 products with 18 images').waitFor();
  await checkAccessibility(page, 'a checked list');

  // What is shown while it runs may be gone again when a slow machine comes to look.
  await page.evaluate(() => {
    window.figures = new Set();
    const note = () => document.querySelectorAll('.stats dt').forEach((it) => window.figures.add(it.textContent));
    new MutationObserver(note).observe(document.body, { subtree: true, childList: true });
  });
  const events = page.waitForResponse((it) => it.url().includes('/events'));
  await press('Start');
  await heading(NAME).waitFor();
  visited.batch = page.url();
  const bar = page.getByRole('progressbar', { name: 'Images done' });
  await bar.waitFor();
  assert.equal((await events).headers()['content-type']?.split(';')[0], 'text/event-stream');
  await screenshot(page, 'running');
  await checkAccessibility(page, 'a running batch');
  await finished();
  assert.ok(await page.evaluate(() => window.figures.has('Time left')), 'the time left is shown while it runs');
  assert.equal(await bar.getAttribute('aria-valuenow'), '100');
  assert.equal(await figure('Done').textContent(), '16');
  assert.equal(await figure('Failed').textContent(), '2');
  assert.ok(Number.parseInt(await figure('Images a minute').textContent(), 10) > 0);
  assert.match(await page.locator('#announcer').textContent(), /16 images done, 2 failed/);
});
