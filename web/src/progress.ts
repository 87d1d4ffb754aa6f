// How far a batch is: the bar, the figures, and what a screen reader hears of them.

import type { BatchStatus } from './api.ts';
import { announce, fill, h } from './dom.ts';
import { bytes, count, savings, span, stateWords } from './format.ts';

/** Screen readers hear of each further quarter, not of each image. */
const STEP = 25;

/** States of which everything is said by their name and the figures. */
const PLAIN = new Set(['Pending', 'Ingesting', 'Running', 'Reporting', 'Stopping', 'ImagesFailed']);

/** Returns the panel and a function that shows a newer status in it. */
export function progressPanel(): { element: HTMLElement; update: (status: BatchStatus) => void } {
  const state = h('strong', {});
  const share = h('span', { class: 'dim' });
  const fillBar = h('span', {});
  const bar = h('div', { class: 'meter', role: 'progressbar', 'aria-label': 'Images done', 'aria-valuemin': 0, 'aria-valuemax': 100 }, fillBar);
  const stats = h('dl', { class: 'stats' });
  const reason = h('p', { class: 'dim' });
  const element = h('section', { class: 'panel', 'aria-label': 'Progress' }, h('div', { class: 'headline' }, state, share), bar, reason, stats);
  let heard = '';

  const update = (status: BatchStatus) => {
    const done = status.succeeded + status.failed;
    const percent = status.images ? Math.floor((done / status.images) * 100) : 0;
    state.textContent = stateWords(status.status);
    share.textContent = status.images == null ? 'Images are being counted' : `${count(done)} of ${count(status.images)} images`;
    fillBar.style.setProperty('--done', `${percent}%`);
    bar.setAttribute('aria-valuenow', String(percent));
    bar.setAttribute('aria-valuetext', `${percent}%, ${stateWords(status.status)}`);
    reason.textContent = PLAIN.has(status.status) ? '' : (status.conditions.find((it) => it.type === 'Succeeded')?.message ?? '');
    fill(stats, ...figures(status).map(([name, value]) => h('div', {}, h('dt', {}, name), h('dd', {}, value))));
    const step = status.finished ? stateWords(status.status) : `${stateWords(status.status)}, ${Math.floor(percent / STEP) * STEP}%`;
    if (step !== heard) announce(status.finished ? `${step}: ${count(status.succeeded)} images done, ${count(status.failed)} failed` : step);
    heard = step;
  };
  return { element, update };
}

function figures(status: BatchStatus): [string, string][] {
  const figures: [string, string][] = [
    ['Done', count(status.succeeded)],
    ['Failed', count(status.failed)],
  ];
  if (status.keptOriginal) figures.push(['Kept as they were', count(status.keptOriginal)]);
  if (status.imagesPerMinute != null) figures.push(['Images a minute', count(status.imagesPerMinute)]);
  if (!status.finished && status.status !== 'Stopping') figures.push(['Time left', timeLeft(status)]);
  if (status.finished && status.startTime && status.completionTime) {
    figures.push(['Took', span((Date.parse(status.completionTime) - Date.parse(status.startTime)) / 1000)]);
  }
  if (status.bytesIn > 0) {
    figures.push(['Before', bytes(status.bytesIn)], ['After', bytes(status.bytesOut)], ['Savings', savings(status.bytesIn, status.bytesOut)]);
  }
  return figures;
}

function timeLeft(status: BatchStatus): string {
  if (!status.estimatedCompletionTime) return 'Not known yet';
  const seconds = (Date.parse(status.estimatedCompletionTime) - Date.now()) / 1000;
  return seconds < 5 ? 'A few seconds' : `About ${span(seconds)}`;
}
