// Starts the page: the session first, then the view that the address names.

import { onUnauthorized } from './api.ts';
import { batchView } from './batch.ts';
import { batchesView } from './batches.ts';
import { alertBox, fill, h } from './dom.ts';
import { current } from './route.ts';
import { readSession, signInView, signOut, type Session } from './session.ts';
import { themeSwitch } from './theme.ts';
import { uploadView } from './upload.ts';

const main = document.getElementById('main') as HTMLElement;
const corner = document.getElementById('corner') as HTMLElement;
const theme = themeSwitch();
/** Ends what the view before still does. */
let leaving = new AbortController();
let session: Session | null = null;

function show(view: HTMLElement, title: string, focus: boolean): void {
  fill(main, view);
  document.title = `${title} – ImageBatch`;
  if (focus) {
    scrollTo(0, 0);
    view.querySelector('h1')?.focus();
  }
}

function render(focus = true): void {
  leaving.abort();
  leaving = new AbortController();
  for (const dialog of document.querySelectorAll('dialog')) dialog.close();
  const { path, query } = current();
  for (const link of document.querySelectorAll('nav a')) {
    if (link.getAttribute('href') === `#${path}`) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  const id = /^\/batches\/([^/]+)$/.exec(path)?.[1];
  if (!session?.signedIn) show(signInView(() => void start(true)), 'Sign in', focus);
  else if (id) show(batchView({ id, namespace: query.get('namespace') ?? '' }, leaving.signal), 'Batch', focus);
  else if (path === '/batches') show(batchesView(), 'Batches', focus);
  else show(uploadView(), 'New batch', focus);
}

function showCorner(): void {
  const out = h('button', { type: 'button', class: 'quiet', onclick: async () => {
    try {
      await signOut();
      void start(true);
    } catch (error) {
      main.prepend(alertBox('Signing out failed', error instanceof Error ? error.message : String(error)));
    }
  } }, 'Sign out');
  const signed = session?.signedIn && !session.authentication.includes('none');
  fill(corner, ...(signed ? [h('span', { class: 'user dim', title: session?.user }, session?.user ?? ''), out] : []), theme);
}

async function start(focus = false): Promise<void> {
  try {
    session = await readSession();
    showCorner();
    render(focus);
  } catch (error) {
    fill(corner, theme);
    fill(main, alertBox('The page cannot start', error instanceof Error ? error.message : String(error)));
  }
}

onUnauthorized(() => {
  if (!session?.signedIn) return;
  session = { ...session, signedIn: false };
  showCorner();
  render();
});
// Its address would name a view.
document.querySelector('.skip')?.addEventListener('click', (event) => {
  event.preventDefault();
  main.focus();
});
// A file that misses its place would else replace the page.
for (const name of ['dragover', 'drop']) addEventListener(name, (event) => event.preventDefault());
addEventListener('hashchange', () => render());
void start();
