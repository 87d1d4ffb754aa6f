// The images of a batch with their sizes; each opens as a comparison with its original.

import { listProducts, type BatchStatus, type Image, type Product } from './api.ts';
import { alertBox, fill, h } from './dom.ts';
import { bytes, savings, words } from './format.ts';
import { slider } from './slider.ts';

/** Returns the gallery of a batch. `refresh` reads again what is shown. */
export function gallery(status: () => BatchStatus): { element: HTMLElement; refresh: () => void } {
  const cards = h('ul', { class: 'cards' });
  const empty = h('p', { class: 'empty', hidden: true });
  const trouble = h('div', {});
  const more = h('button', { type: 'button', class: 'secondary', hidden: true, onclick: () => void further() }, 'Show more');
  const element = h('section', { class: 'view', 'aria-labelledby': 'images' }, h('h2', { id: 'images' }, 'Images'), cards, empty, trouble, more);
  /** Where each page that is shown starts. */
  const starts: (string | undefined)[] = [undefined];
  let next: string | undefined;
  /** What each card shows. */
  let shown = new Map<string, string>();
  let reading: Promise<void> | null = null;
  let again = false;

  async function read(): Promise<void> {
    const items: { product: Product; image: Image }[] = [];
    for (const start of starts) {
      const page = await listProducts(status(), undefined, start);
      items.push(...page.items.flatMap((product) => product.images.map((image) => ({ product, image }))));
      next = page.next;
    }
    const fresh = new Map<string, string>();
    items.forEach(({ product, image }, index) => {
      const key = `${product.row}.${image.position}`;
      const version = JSON.stringify(image);
      fresh.set(key, version);
      // What has not changed stays, with the focus that it may have.
      if (shown.get(key) === version) return;
      const made = card(product, image);
      const present = cards.children[index];
      if (present) present.replaceWith(made);
      else cards.append(made);
    });
    shown = fresh;
    empty.hidden = items.length > 0;
    empty.textContent = status().finished ? 'There are none.' : 'They appear here once the list is read.';
    more.hidden = !next;
    fill(trouble);
  }

  function load(): Promise<void> {
    again = reading !== null;
    reading ??= read()
      .catch((error: Error) => fill(trouble, alertBox('The images cannot be listed', error.message)))
      .finally(() => {
        reading = null;
        if (again) void load();
      });
    return reading;
  }

  async function further(): Promise<void> {
    const first = cards.children.length;
    await reading;
    if (!next) return;
    starts.push(next);
    await load();
    cards.children[first]?.querySelector('button')?.focus();
  }

  return { element, refresh: () => void load() };
}

function card(product: Product, image: Image): HTMLElement {
  const label = product.images.length > 1 ? `${product.name}, image ${image.position}` : product.name;
  const result = resultOf(image);
  const picture = result
    ? h(
        'button',
        { type: 'button', 'aria-label': `Compare ${label} with its original`, onclick: () => compare(label, image, result) },
        h('img', { src: result, alt: '', loading: 'lazy', decoding: 'async' }),
      )
    : h('div', { class: 'blank' }, image.outcome === 'Failed' ? words(image.reason ?? 'Failed') : 'Waiting');
  return h('li', { class: 'card' }, picture, h('div', { class: 'about' }, h('h3', {}, label), about(image)));
}

/** Returns where the result is shown from: the gateway, which the page may always ask. */
function resultOf(image: Image): string | undefined {
  return image.key ? `/images/${image.key.split('/').map(encodeURIComponent).join('/')}` : image.outputUrl;
}

function about(image: Image): HTMLElement {
  if (image.outcome === 'Failed') return h('p', { class: 'lost' }, 'Failed');
  if (image.outcome === 'Pending') return h('p', { class: 'dim' }, 'Not done yet');
  const { bytesIn = 0, bytesOut = 0 } = image;
  if (image.outcome === 'KeptOriginal') return h('p', { class: 'dim' }, `${bytes(bytesIn)}, kept as it was`);
  return h('p', {}, `${bytes(bytesIn)} → ${bytes(bytesOut)} `, h('span', { class: 'gain' }, savings(bytesIn, bytesOut)));
}

function compare(label: string, image: Image, result: string): void {
  const size = image.width && image.height ? `${image.width} × ${image.height}` : '';
  const quality = image.sourceQuality && image.quality ? `quality ${image.sourceQuality} → ${image.quality}` : '';
  const close = h('button', { type: 'button', class: 'secondary', onclick: () => dialog.close() }, 'Close');
  const dialog = h(
    'dialog',
    { 'aria-labelledby': 'compared', onclose: () => dialog.remove() },
    h('div', { class: 'dialog-body' },
      h('div', { class: 'dialog-head' }, h('h2', { id: 'compared' }, label), close),
      slider({ before: image.inputUrl, after: result, label }),
      about(image),
      h('p', { class: 'dim' }, [image.format, size, quality].filter(Boolean).join(', ')),
      h('div', { class: 'actions' }, h('a', { href: image.outputUrl ?? result, target: '_blank', rel: 'noopener' }, 'Open the compressed image'))),
  );
  document.body.append(dialog);
  // Focus moves into it, stays there, and goes back to the card when it is closed.
  dialog.showModal();
}
