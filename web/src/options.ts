// What a batch does with its images, beside the defaults.

import type { Options } from './api.ts';
import { h } from './dom.ts';

/** Returns the fields and a function that reads what was chosen; what is left empty stays the gateway's default. */
export function optionFields(): { element: HTMLElement; read: () => Options } {
  const name = h('input', { maxlength: 120, autocomplete: 'off' });
  const quality = h('input', { autocomplete: 'off', placeholder: '50%', inputmode: 'text' });
  const width = h('input', { type: 'number', min: 1, max: 16384, inputmode: 'numeric' });
  const format = h('select', {}, ...['Keep', 'Jpeg', 'WebP', 'Avif', 'Png'].map((it) =>
    h('option', { value: it === 'Keep' ? '' : it }, it === 'Keep' ? 'As it is' : it)));
  const element = h(
    'details',
    {},
    h('summary', {}, 'Options'),
    h('div', { class: 'fields' },
      h('label', {}, 'Name', name, h('small', {}, 'To find the batch again.')),
      h('label', {}, 'Quality', quality, h('small', {}, '50% is half of each image’s own; a number from 1 to 100 is absolute.')),
      h('label', {}, 'Format', format, h('small', {}, 'Of the new images.')),
      h('label', {}, 'Largest width', width, h('small', {}, 'In pixels. Smaller images stay as they are.'))),
  );
  const read = (): Options => ({
    displayName: name.value.trim(),
    quality: quality.value.trim(),
    format: format.value,
    maxWidth: width.value.trim(),
  });
  return { element, read };
}
