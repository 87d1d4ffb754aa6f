// A new batch: a CSV dropped, chosen or pasted; checked without running anything; then started.

import { checkCsv, submitCsv, Failed, type Findings, type Options } from './api.ts';
import { alertBox, announce, fill, h } from './dom.ts';
import { problemList, rowsOf } from './errors.ts';
import { count, counted } from './format.ts';
import { optionFields } from './options.ts';
import { go } from './route.ts';

const EXAMPLE = 'S. No.,Product Name,Input Image Urls\n1,Fig bowl,"https://shop.example/bowl.jpg, https://shop.example/side.jpg"';

/** `crypto.randomUUID` is there over HTTPS only. */
function randomKey(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (it) => it.toString(16).padStart(2, '0')).join('');
}

export function uploadView(): HTMLElement {
  const outcome = h('section', { 'aria-label': 'Result of the check', tabindex: -1, hidden: true, class: 'panel' });
  const options = optionFields();
  let csv: Blob | null = null;
  // Answers of checks that were overtaken by another are dropped.
  let turn = 0;

  const file = h('input', {
    type: 'file',
    accept: '.csv,.tsv,.txt,text/csv',
    'aria-describedby': 'columns',
    onchange: () => {
      take(file.files?.[0]);
      // The same file, corrected, can be chosen again.
      file.value = '';
    },
  });
  const chosen = h('span', { class: 'dim' }, 'or press to choose a file');
  const drop = h(
    'label',
    {
      class: 'drop',
      ondragover: (event) => {
        event.preventDefault();
        drop.classList.add('over');
      },
      ondragleave: () => drop.classList.remove('over'),
      ondrop: (event) => {
        event.preventDefault();
        drop.classList.remove('over');
        take(event.dataTransfer?.files[0]);
      },
    },
    h('strong', {}, 'Drop a CSV here'),
    chosen,
    file,
  );
  const rows = h('textarea', { rows: 6, spellcheck: 'false', autocomplete: 'off', placeholder: EXAMPLE });
  const paste = h(
    'form',
    {
      class: 'view',
      onsubmit: (event) => {
        event.preventDefault();
        if (rows.value.trim()) take(new File([rows.value], 'pasted rows', { type: 'text/csv' }));
        else rows.focus();
      },
    },
    h('label', {}, 'Or paste rows, the header first', rows),
    h('div', { class: 'actions' }, h('button', { type: 'submit', class: 'secondary' }, 'Check the rows')),
  );

  function take(given: File | undefined): void {
    if (!given) return;
    csv = given;
    chosen.textContent = given.name;
    void check(given, options.read());
  }

  // What is started is what was checked.
  options.element.addEventListener('change', () => {
    if (csv) void check(csv, options.read(), false);
  });

  async function check(given: Blob, wanted: Options, focus = true): Promise<void> {
    const mine = (turn += 1);
    show(h('p', {}, 'Checking every row …'));
    announce('Checking every row');
    try {
      const findings = await checkCsv(given, wanted);
      const left = findings.errors?.length ? await rowsOf(given, findings.errors) : null;
      if (mine !== turn) return;
      show(...valid(given, wanted, findings, left));
    } catch (error) {
      const refused = error instanceof Failed ? error : null;
      // Options that are wrong are errors too, but of no row.
      const problems = refused?.problem.code === 'InvalidSource' ? refused.problem.errors : undefined;
      const shown = problems ? await rowsOf(given, problems) : null;
      if (mine !== turn) return;
      if (refused && problems && shown) show(...invalid(refused, wanted, shown));
      else show(alertBox('The CSV could not be checked', String(refused?.message ?? error)));
    }
    if (focus) outcome.focus();
  }

  function show(...content: (HTMLElement | null)[]): void {
    outcome.hidden = false;
    fill(outcome, ...content);
  }

  function valid(given: Blob, wanted: Options, found: Findings, rows: Awaited<ReturnType<typeof rowsOf>> | null) {
    const failure = h('div', {});
    const skipped = found.skippedRows ?? 0;
    // The same key for each press: a repeat of a request that got lost starts nothing twice.
    const key = randomKey();
    const start = h('button', {
      type: 'button',
      onclick: async () => {
        if (start.getAttribute('aria-disabled') === 'true') return;
        start.setAttribute('aria-disabled', 'true');
        start.textContent = 'Starting …';
        try {
          const batch = await submitCsv(given, wanted, key);
          go(`/batches/${batch.id}`, { namespace: batch.namespace });
        } catch (error) {
          fill(failure, alertBox('The batch was not started', error instanceof Error ? error.message : String(error)));
          start.setAttribute('aria-disabled', 'false');
          start.textContent = 'Try again';
        }
      },
    }, 'Start');
    const warnings = found.warnings;
    const warned = Object.values(found.warningCounts).reduce((sum, it) => sum + it, 0);
    return [
      h('h2', {}, skipped ? 'The rest is ready' : 'Everything is fine'),
      h('p', {}, `${counted(found.rows - skipped, 'product')} with ${counted(found.images, 'image')}. Nothing runs yet.`),
      h('div', { class: 'actions' }, start),
      failure,
      skipped && found.errors && rows
        ? h('details', {},
            h('summary', {}, `${counted(skipped, 'row')} will be left out`),
            problemList(found.errors, rows, found.errorCount ?? found.errors.length))
        : null,
      warnings.length
        ? h('details', {},
            h('summary', {}, counted(warned, 'remark')),
            h('ul', { class: 'problems' }, ...warnings.map((it) =>
              h('li', {}, it.row != null ? `Row ${count(it.row)}: ${it.message}` : it.message,
                h('span', { class: 'hint' }, it.hint)))))
        : null,
    ];
  }

  function invalid(refused: Failed, wanted: Options, rows: Awaited<ReturnType<typeof rowsOf>>) {
    const { errors = [], errorCount = errors.length, rows: all = 0 } = refused.problem;
    const bad = new Set(errors.flatMap((it) => (it.row != null ? [it.row] : []))).size;
    const skippable = errors.every((it) => it.row != null) && bad < all;
    announce(`${counted(errorCount, 'problem')} found`);
    return [
      h('h2', {}, `${counted(errorCount, 'problem')} found`),
      h('p', {}, `Nothing runs until ${errorCount === 1 ? 'it is' : 'they are'} corrected: change the CSV and drop it again${skippable ? ', or leave these rows out' : ''}.`),
      skippable
        ? h('div', { class: 'actions' },
            h('button', { type: 'button', class: 'secondary', onclick: () => csv && void check(csv, { ...wanted, onInvalidRow: 'skip' }) }, 'Leave these rows out'))
        : null,
      problemList(errors, rows, errorCount),
    ];
  }

  return h(
    'div',
    { class: 'view' },
    h('div', { class: 'title' },
      h('h1', { tabindex: -1 }, 'Make product images smaller'),
      h('p', { class: 'lead' }, 'Give a list of products with image addresses. Each image is fetched, compressed and stored, and you get the list back with the new addresses.')),
    h('section', { class: 'panel', 'aria-label': 'Product list' },
      drop,
      h('p', { id: 'columns', class: 'dim' }, 'Needed columns: S. No., Product Name, Input Image Urls. Several addresses in a cell are separated by commas.'),
      paste,
      options.element),
    outcome,
  );
}
