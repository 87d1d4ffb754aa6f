// The images that failed, grouped by their code, with what the code means.

import explanations from 'codes:failures';
import { listProducts, type BatchStatus, type Image, type Product } from './api.ts';
import { fill, h } from './dom.ts';
import { count, counted, words } from './format.ts';

/** Images that are named in a group; the failed CSV has all of them. */
const NAMED = 5;
/** Products that are read to group their failures. */
const MAX_PRODUCTS = 1000;

/** Returns the section, empty where nothing failed. */
export function failuresSection(status: BatchStatus, retry: HTMLElement | null): HTMLElement {
  const groups = h('ul', { class: 'groups', 'aria-busy': 'true' });
  const note = h('p', { class: 'dim' });
  const section = h(
    'section',
    { class: 'panel', 'aria-labelledby': 'failures' },
    h('div', { class: 'headline' }, h('h2', { id: 'failures' }, `${counted(status.failed, 'image')} failed`), retry),
    groups,
    note,
  );
  void failed(status).then(
    (found) => {
      const byCode = Map.groupBy(found, ({ image }) => image.reason ?? 'NotProcessed');
      const sorted = [...byCode].sort(([, a], [, b]) => b.length - a.length);
      fill(groups, ...sorted.map(([code, list]) => group(code, list)));
      if (found.length < status.failed) note.textContent = `The first ${count(found.length)} are grouped here; the CSV of failed rows has all.`;
    },
    (error: Error) => (note.textContent = `The failures cannot be listed: ${error.message}`),
  ).finally(() => groups.removeAttribute('aria-busy'));
  return section;
}

/** Returns the rows that were not worked on, or null where all were. */
export function badRowsSection(status: BatchStatus): HTMLElement | null {
  const rows = status.failures.filter((it) => it.image == null);
  if (rows.length === 0) return null;
  const items = rows.map((it) => h('li', {}, `Row ${count(it.row)}: ${it.detail} `, h('code', { class: 'code' }, it.reason)));
  return h('section', { class: 'panel', 'aria-label': 'Rows with problems' }, h('h2', {}, 'Rows with problems'), h('ul', { class: 'problems' }, ...items));
}

interface FailedImage {
  product: Product;
  image: Image;
}

async function failed(status: BatchStatus): Promise<FailedImage[]> {
  const found: FailedImage[] = [];
  let cursor: string | undefined;
  let read = 0;
  do {
    const page = await listProducts(status, 'Failed', cursor);
    for (const product of page.items) {
      for (const image of product.images) if (image.outcome === 'Failed') found.push({ product, image });
    }
    read += page.items.length;
    cursor = page.next;
  } while (cursor && read < MAX_PRODUCTS);
  return found;
}

function group(code: string, list: FailedImage[]): HTMLElement {
  const explanation = explanations[code];
  const named = list.slice(0, NAMED).map(({ product, image }) =>
    h('li', {}, `${product.name}: `, h('span', { class: 'dim' }, image.inputUrl), image.httpStatus ? h('span', { class: 'dim' }, ` (HTTP ${image.httpStatus})`) : null));
  return h(
    'li',
    { class: 'group' },
    h('h3', {}, `${words(code)} `, h('span', { class: 'dim' }, `× ${count(list.length)} `), h('code', { class: 'code' }, code)),
    explanation ? h('p', {}, explanation) : null,
    h('ul', {}, ...named, list.length > NAMED ? h('li', { class: 'dim' }, `and ${count(list.length - NAMED)} more`) : null),
  );
}
