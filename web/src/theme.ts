// Light or dark: as the system has it, until somebody chooses.

import { h } from './dom.ts';

const KEY = 'theme';
const ORDER = ['auto', 'light', 'dark'] as const;
type Theme = (typeof ORDER)[number];
const LABELS: Record<Theme, string> = { auto: 'Auto', light: 'Light', dark: 'Dark' };

function chosen(): Theme {
  try {
    const value = localStorage.getItem(KEY);
    return ORDER.find((it) => it === value) ?? 'auto';
  } catch {
    // A browser that keeps nothing has the system's theme.
    return 'auto';
  }
}

function apply(theme: Theme): void {
  if (theme === 'auto') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}

/** Applies the theme and returns the switch. */
export function themeSwitch(): HTMLElement {
  const current = chosen();
  apply(current);
  const select = h(
    'select',
    {
      class: 'quiet',
      'aria-label': 'Colours',
      onchange: () => {
        const theme = ORDER.find((it) => it === select.value) ?? 'auto';
        apply(theme);
        try {
          localStorage.setItem(KEY, theme);
        } catch {
          // Then it is chosen for this visit.
        }
      },
    },
    ...ORDER.map((it) => h('option', { value: it, selected: it === current }, LABELS[it])),
  );
  return select;
}
