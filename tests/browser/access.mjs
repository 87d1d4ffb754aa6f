// Everybody's use of the page: dark, small, by keyboard; and what must not have happened meanwhile.
import assert from 'node:assert/strict';
import { checkAccessibility, checkWidth, screenshot } from './browser.mjs';
import { BAD, file, finished, heading, page, test, visited } from './shop.mjs';

test('dark mode follows the system and the switch', async () => {
  const lightness = () => page.evaluate(() => {
    const [red, green, blue] = getComputedStyle(document.body).backgroundColor.match(/[\d.]+/g).map(Number);
    return red + green + blue;
  });
  await page.goto(visited.batch);
  await finished();
  assert.ok(await lightness() > 600, 'light');
  await page.emulateMedia({ colorScheme: 'dark' });
  assert.ok(await lightness() < 150, 'dark with the system');
  for (const [path, where] of [[visited.batch, 'a batch'], ['/#/', 'a new batch'], ['/#/batches', 'the list']]) {
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
  await page.goto(visited.batch);
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
  await page.goto(visited.batch);
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

test('sign out', async (t) => {
  const button = page.getByRole('button', { name: 'Sign out' });
  if (!await button.isVisible()) return t.skip('nobody had to sign in');
  await page.goto(visited.batch);
  await button.click();
  await heading('Sign in').waitFor();
  await page.reload();
  await heading('Sign in').waitFor();
  assert.equal(await page.locator('.card').count(), 0);
});

test('nothing else happened: no error, no violation of the policy', () => {
  assert.deepEqual(page.faults, []);
});
