// Where in the page somebody is: the part of the address behind #, so that links and the back button work.

export interface Route {
  path: string;
  query: URLSearchParams;
}

export function current(): Route {
  const [path = '', query = ''] = location.hash.replace(/^#/, '').split('?');
  return { path: path || '/', query: new URLSearchParams(query) };
}

/** Returns the address of a view. */
export function href(path: string, query: Record<string, string> = {}): string {
  const text = new URLSearchParams(query).toString();
  return `#${path}${text ? `?${text}` : ''}`;
}

export function go(path: string, query: Record<string, string> = {}): void {
  location.hash = href(path, query);
}
