// The list of batches, newest first, and the search in it.

import { listBatches, type BatchSummary } from './api.ts';
import { alertBox, announce, fill, h } from './dom.ts';
import { counted, STATES, stateWords, time } from './format.ts';
import { current, href } from './route.ts';

/** Typing is over when nothing came for that long. */
const PAUSE = 300;

export function batchesView(): HTMLElement {
  const { query } = current();
  const name = h('input', { type: 'search', autocomplete: 'off', value: query.get('name') ?? '', oninput: () => later() });
  const state = h('select', { onchange: () => void load(false) },
    h('option', { value: '' }, 'All'),
    ...Object.entries(STATES).map(([it, text]) => h('option', { value: it, selected: it === query.get('state') }, text)));
  const list = h('ul', { class: 'batches' });
  const trouble = h('div', {});
  const more = h('button', { type: 'button', class: 'secondary', hidden: true, onclick: () => void load(true) }, 'Show more');
  let cursor: string | undefined;
  let turn = 0;
  let timer = 0;

  const later = () => {
    clearTimeout(timer);
    timer = setTimeout(() => void load(false), PAUSE);
  };

  async function load(further: boolean): Promise<void> {
    const mine = (turn += 1);
    const asked = { name: name.value.trim(), state: state.value };
    list.setAttribute('aria-busy', 'true');
    try {
      const page = await listBatches(asked, further ? cursor : undefined);
      if (mine !== turn) return;
      const items = page.items.map(item);
      if (further) list.append(...items);
      else fill(list, ...items);
      cursor = page.next;
      more.hidden = !cursor;
      const none = list.children.length === 0;
      fill(trouble, none ? h('p', { class: 'empty' }, asked.name || asked.state ? 'No batch is like that.' : 'There are no batches yet.') : null);
      if (further) items[0]?.querySelector('a')?.focus();
      else announce(none ? 'No batches' : counted(list.children.length, 'batch', 'batches'));
      // The search can be shared and come back to.
      const wanted = Object.fromEntries(Object.entries(asked).filter(([, value]) => value));
      if (!further) history.replaceState(null, '', href('/batches', wanted));
    } catch (error) {
      if (mine === turn) fill(trouble, alertBox('The batches cannot be listed', error instanceof Error ? error.message : String(error)));
    } finally {
      list.removeAttribute('aria-busy');
    }
  }
  void load(false);

  return h(
    'div',
    { class: 'view' },
    h('div', { class: 'title' }, h('h1', { tabindex: -1 }, 'Batches')),
    h('form', { class: 'fields', role: 'search', onsubmit: (event) => { event.preventDefault(); void load(false); } },
      h('label', {}, 'Name begins with', name),
      h('label', {}, 'State', state)),
    list,
    trouble,
    more,
  );
}

function item(batch: BatchSummary): HTMLElement {
  const done = batch.images == null ? '' : `${counted(batch.images, 'image')}, ${batch.succeeded} done, ${batch.failed} failed`;
  const mood = batch.finished ? (batch.failed === 0 && batch.status === 'Completed' ? 'state good' : 'state bad') : 'state';
  return h('li', {},
    h('a', { class: 'batch', href: href(`/batches/${batch.id}`, { namespace: batch.namespace }) },
      h('strong', {}, batch.displayName ?? batch.id),
      h('span', { class: mood }, stateWords(batch.status)),
      h('span', { class: 'dim' }, [time(batch.createdTime), done, batch.retryOf ? 'retry of an earlier batch' : ''].filter(Boolean).join(' · ')),
      h('span', { class: 'dim' }, batch.saved ? `${batch.saved} smaller` : '')));
}
