// What is wrong with a CSV, each problem beside the row that has it.

import type { Problem } from './api.ts';
import { MAX_SHOWN_BYTES, rowsAt, type Rows } from './csv.ts';
import { h } from './dom.ts';
import { count, counted } from './format.ts';

/** Rows that are shown at once. */
const PAGE = 50;

/** Returns the rows of the CSV that the problems speak of. */
export async function rowsOf(csv: Blob, problems: Problem[]): Promise<Rows> {
  const lines = new Set(problems.flatMap((it) => (it.row != null && it.line != null ? [it.line] : [])));
  if (csv.size > MAX_SHOWN_BYTES || lines.size === 0) return { header: [], at: new Map() };
  return rowsAt(await csv.text(), lines);
}

/** Returns a list of all problems, grouped by row. */
export function problemList(problems: Problem[], rows: Rows, total: number): HTMLElement {
  const groups = [...Map.groupBy(problems, (it) => it.row ?? 0)].map(([, group]) => group);
  const list = h('ol', { class: 'rows' });
  const more = h('button', { type: 'button', class: 'secondary', onclick: () => show() });
  let shown = 0;
  const show = () => {
    const next = groups.slice(shown, shown + PAGE).map((group) => item(group, rows));
    list.append(...next);
    if (shown > 0) next[0]?.focus();
    shown += next.length;
    const left = groups.length - shown;
    more.hidden = left === 0;
    more.textContent = `Show ${count(Math.min(left, PAGE))} more of ${counted(left, 'row')}`;
  };
  show();
  const hidden = total - problems.length;
  const note = hidden > 0 ? h('p', { class: 'dim' }, `${counted(hidden, 'further problem')} are not listed.`) : null;
  return h('div', {}, list, more, note ?? '');
}

function item(group: Problem[], rows: Rows): HTMLElement {
  const [first] = group as [Problem, ...Problem[]];
  const cells = first.line != null && first.row != null ? rows.at.get(first.line) : undefined;
  const place = first.row != null ? `Row ${count(first.row)}` : 'The file';
  return h(
    'li',
    { class: 'row', tabindex: -1 },
    h('h3', {}, place, first.line != null ? h('span', { class: 'dim' }, ` line ${count(first.line)}`) : null),
    cells ? cellList(cells, rows.header, group) : null,
    h('ul', { class: 'problems' }, ...group.map((it) => problem(it, cells !== undefined))),
  );
}

function cellList(cells: string[], header: string[], group: Problem[]): HTMLElement {
  const width = Math.max(cells.length, header.length);
  const pairs = Array.from({ length: width }, (_, index) => {
    const name = header[index] ?? `Cell ${index + 1}`;
    const bad = group.some((it) => it.column === name);
    const cell = cells[index] ?? '';
    const shown = cell.trim() === '' ? h('em', { class: 'dim' }, 'empty') : cell.slice(0, 300);
    return h('div', { class: bad ? 'cell wrong' : 'cell' }, h('dt', {}, name), h('dd', {}, shown));
  });
  return h('dl', { class: 'cells' }, ...pairs);
}

function problem(it: Problem, hasCells: boolean): HTMLElement {
  return h(
    'li',
    {},
    h('strong', {}, it.column ? `${it.column}: ${it.message}` : it.message),
    !hasCells && it.value ? h('code', { class: 'value' }, it.value) : null,
    h('span', { class: 'hint' }, it.hint),
    h('code', { class: 'code' }, it.code),
  );
}
