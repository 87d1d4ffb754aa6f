// Elements without markup in strings: text stays text, whatever it contains.

type Child = Node | string | number | null | undefined | false;
type Listeners = { [K in keyof HTMLElementEventMap as `on${K}`]?: (event: HTMLElementEventMap[K]) => void };
export type Attributes = Listeners & { [name: string]: unknown };

/** Returns a new element. Attributes that are false or absent are left out; `onclick` and the like listen. */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value as EventListener);
    else if (value === true) element.setAttribute(name, '');
    else if (value !== false && value != null) element.setAttribute(name, String(value));
  }
  element.append(...present(children));
  return element;
}

/** Replaces what an element contains. */
export function fill(element: Element, ...children: Child[]): void {
  element.replaceChildren(...present(children));
}

function present(children: Child[]): (Node | string)[] {
  const kept = children.filter((it): it is Node | string | number => it != null && it !== false);
  return kept.map((it) => (typeof it === 'number' ? String(it) : it));
}

/** Says something to a screen reader, and to nobody else. */
export function announce(text: string): void {
  const region = document.getElementById('announcer');
  if (region && region.textContent !== text) region.textContent = text;
}

/** Returns a message that is read at once. */
export function alertBox(title: string, detail?: string): HTMLElement {
  return h('div', { class: 'note bad', role: 'alert' }, h('strong', {}, title), detail ? h('p', {}, detail) : null);
}
