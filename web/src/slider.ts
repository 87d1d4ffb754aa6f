// Two pictures on top of each other with a divider. The divider is a range input, so arrow keys, Home and End,
// touch and screen readers work as they do everywhere.

import { h } from './dom.ts';

export interface Pictures {
  /** Where the original is, at somebody else's host. */
  before: string;
  after: string;
  label: string;
}

/** Returns the comparison of an image before and after compression. */
export function slider({ before, after, label }: Pictures): HTMLElement {
  const status = h('p', { class: 'slider-note', role: 'status' });
  const original = h('img', { class: 'before', src: before, alt: `${label}, original`, referrerpolicy: 'no-referrer' });
  const result = h('img', { class: 'after', src: after, alt: `${label}, compressed` });
  const range = h('input', {
    type: 'range',
    min: 0,
    max: 100,
    value: 50,
    step: 1,
    'aria-label': 'Divider between original and compressed',
    oninput: () => move(),
  });
  const frame = h(
    'div',
    { class: 'slider' },
    result,
    original,
    h('span', { class: 'tag left', 'aria-hidden': 'true' }, 'Original'),
    h('span', { class: 'tag right', 'aria-hidden': 'true' }, 'Compressed'),
    h('span', { class: 'divider', 'aria-hidden': 'true' }),
    range,
  );
  const move = () => {
    frame.style.setProperty('--at', `${range.value}%`);
    range.setAttribute('aria-valuetext', `original ${range.value}%, compressed ${100 - Number(range.value)}%`);
  };
  move();

  // The original is fetched from its own host, which may forbid it, need https, or not be reachable from here.
  original.addEventListener('error', () => {
    frame.classList.add('alone');
    original.remove();
    range.remove();
    status.textContent =
      'The original cannot be shown here: its host does not let this browser have it. Only the compressed image is shown.';
  });
  result.addEventListener('error', () => {
    status.textContent = 'The compressed image cannot be loaded.';
  });
  return h('div', { class: 'slider-box' }, frame, status);
}
