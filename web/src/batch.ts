// One batch: progress while it runs; then downloads, failures and a retry; its images all the time.

import { batchPath, cancelBatch, Failed, readBatch, retryBatch, type BatchRef, type BatchStatus } from './api.ts';
import { alertBox, announce, fill, h } from './dom.ts';
import { badRowsSection, failuresSection } from './failures.ts';
import { counted, time } from './format.ts';
import { gallery } from './gallery.ts';
import { follow } from './live.ts';
import { progressPanel } from './progress.ts';
import { go, href } from './route.ts';

/** Conditions that something is wrong, and the status that says so. */
const HINDRANCES: Record<string, string> = { Reconciled: 'False', WorkersReady: 'False', WorkerStuck: 'True' };

export function batchView(batch: BatchRef, signal: AbortSignal): HTMLElement {
  const view = h('div', { class: 'view', 'aria-busy': 'true' }, h('h1', { tabindex: -1 }, 'Batch'));
  void readBatch(batch).then(
    (status) => !signal.aborted && open(view, status, signal),
    (error: Error) => {
      const missing = error instanceof Failed && error.problem.status === 404;
      view.append(alertBox(missing ? 'There is no such batch' : 'The batch cannot be shown', error.message));
    },
  ).finally(() => view.removeAttribute('aria-busy'));
  return view;
}

function open(view: HTMLElement, first: BatchStatus, signal: AbortSignal): void {
  let status = first;
  const progress = progressPanel();
  const actions = h('div', { class: 'actions' });
  const trouble = h('div', {});
  const lost = h('div', {});
  const hindered = h('div', {});
  const failures = h('div', {});
  const images = gallery(() => status);
  const about = [`Request ${first.id}`, time(first.createdTime ?? first.startTime)].filter(Boolean).join(' · ');
  const related = h('p', { class: 'dim' });
  const heading = view.querySelector('h1') as HTMLElement;
  heading.textContent = first.displayName ?? 'Batch';
  document.title = `${heading.textContent} – ImageBatch`;
  fill(view, h('div', { class: 'title' }, heading, h('p', { class: 'dim' }, about), related), progress.element, hindered, lost, actions, trouble, failures, images.element);

  let phase = '';
  let done = -1;
  const show = (next: BatchStatus) => {
    status = next;
    progress.update(next);
    fill(related, ...relatives(next));
    fill(hindered, hindranceBox(next));
    const before = phase;
    phase = next.finished ? 'ended' : next.status === 'Stopping' ? 'stopping' : 'running';
    if (done !== next.succeeded + next.failed || phase !== before) images.refresh();
    done = next.succeeded + next.failed;
    if (phase === before) return;
    const focused = actions.contains(document.activeElement);
    fill(actions, ...(phase === 'ended' ? downloads(next) : phase === 'running' ? [cancelButton(next, trouble)] : []));
    actions.hidden = actions.children.length === 0;
    if (focused) (actions.querySelector<HTMLElement>('a') ?? heading).focus();
    fill(trouble);
    if (next.finished) {
      fill(failures, badRowsSection(next), next.failed > 0 ? failuresSection(next, retryButton(next, trouble)) : null);
    }
  };
  show(first);
  if (!first.finished) follow(first, signal, show, (text) => fill(lost, text ? alertBox('The progress cannot be read', text) : null));
}

/** Says why a batch does not get on, which mostly those can mend who run the installation. */
function hindranceBox(status: BatchStatus): HTMLElement | null {
  const wrong = status.finished ? [] : status.conditions.filter((it) => it.status === HINDRANCES[it.type]);
  if (wrong.length === 0) return null;
  return h('div', { class: 'note bad' },
    h('strong', {}, 'The batch does not get on at the moment'),
    h('p', {}, 'It goes on by itself once this is mended. If it lasts, tell whoever runs ImageBatch:'),
    h('ul', {}, ...wrong.map((it) => h('li', {}, `${it.message} `, h('code', { class: 'code' }, it.reason)))));
}

function relatives(status: BatchStatus): (Node | string)[] {
  const link = (id: string, text: string) => h('a', { href: href(`/batches/${id}`, { namespace: status.namespace }) }, text);
  const parts: (Node | string)[] = [];
  const kept = status.reused ? `; ${counted(status.reused, 'image')} that it has done are taken over` : '';
  if (status.retryOf) parts.push('Tries again what failed in ', link(status.retryOf, 'an earlier batch'), `${kept}. `);
  const retry = status.retriedBy?.at(-1);
  if (retry) parts.push('What failed was tried again in ', link(retry, 'a later batch'), '.');
  return parts;
}

function downloads(status: BatchStatus): HTMLElement[] {
  if (!status.links) return [];
  const all = h('a', { class: 'button', href: batchPath(status, '/output.csv'), download: '' }, 'Download the list');
  const failed = h('a', { class: 'button secondary', href: batchPath(status, '/failed.csv'), download: '' }, 'Download failed rows');
  // Rows that were left out are in it as well.
  return status.failed > 0 || status.failures.length > 0 ? [all, failed] : [all];
}

function retryButton(status: BatchStatus, trouble: HTMLElement): HTMLElement {
  return actionButton(`Try ${counted(status.failed, 'image')} again`, 'The retry was not started', trouble, async () => {
    try {
      const retry = await retryBatch(status);
      go(`/batches/${retry.id}`, { namespace: retry.namespace });
    } catch (error) {
      const earlier = error instanceof Failed ? error.problem.retriedBy : undefined;
      if (!earlier) throw error;
      go(`/batches/${earlier}`, { namespace: status.namespace });
    }
  });
}

function cancelButton(status: BatchStatus, trouble: HTMLElement): HTMLElement {
  return actionButton('Stop this batch', 'The batch was not stopped', trouble, async () => {
    await cancelBatch(status);
    announce('The batch is being stopped');
  });
}

/** Returns a button that does something once at a time, and says why when it fails. */
function actionButton(label: string, failure: string, trouble: HTMLElement, act: () => Promise<unknown>): HTMLElement {
  const button = h('button', {
    type: 'button',
    class: 'secondary',
    onclick: async () => {
      if (button.getAttribute('aria-disabled') === 'true') return;
      button.setAttribute('aria-disabled', 'true');
      try {
        await act();
      } catch (error) {
        fill(trouble, alertBox(failure, error instanceof Error ? error.message : String(error)));
        button.setAttribute('aria-disabled', 'false');
      }
    },
  }, label);
  return button;
}
