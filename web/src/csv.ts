// The rows of a CSV that problems speak of, to show them beside the problems. What a CSV means is decided by
// the gateway alone; this finds the lines it names.

export interface Rows {
  header: string[];
  /** Cells by the line that the row begins in, counted from 1. */
  at: Map<number, string[]>;
}

/** Larger files are not read into the page; their problems are shown with the value that the gateway names. */
export const MAX_SHOWN_BYTES = 32 * 1024 * 1024;

/** Returns the header and the rows that begin in these lines. */
export function rowsAt(text: string, lines: Set<number>): Rows {
  const rows: Rows = { header: [], at: new Map() };
  let position = text.charCodeAt(0) === 0xfeff ? 1 : 0;
  let line = 1;
  let delimiter = '';
  while (position < text.length && rows.at.size < lines.size) {
    const end = endOfRecord(text, position);
    const record = text.slice(position, end);
    if (record.trim() !== '') {
      if (!delimiter) {
        delimiter = delimiterOf(record);
        rows.header = cells(record, delimiter);
      } else if (lines.has(line)) {
        rows.at.set(line, cells(record, delimiter));
      }
    }
    const broken = text.startsWith('\r\n', end) ? 2 : 1;
    line += 1 + breaks(record);
    position = end + broken;
  }
  return rows;
}

function endOfRecord(text: string, from: number): number {
  let quoted = false;
  for (let at = from; at < text.length; at += 1) {
    const character = text[at];
    if (character === '"') quoted = !quoted;
    else if (!quoted && (character === '\n' || character === '\r')) return at;
  }
  return text.length;
}

function breaks(record: string): number {
  return record.match(/\r\n|\r|\n/g)?.length ?? 0;
}

/** The one that the header has most of, as the gateway decides. */
function delimiterOf(header: string): string {
  const outside = header.replace(/"[^"]*"/g, '');
  const occurrences = (it: string) => outside.split(it).length;
  return [',', ';', '\t'].reduce((best, it) => (occurrences(it) > occurrences(best) ? it : best));
}

function cells(record: string, delimiter: string): string[] {
  const found: string[] = [];
  let cell = '';
  let quoted = false;
  for (let at = 0; at < record.length; at += 1) {
    const character = record[at] as string;
    if (quoted) {
      if (character !== '"') cell += character;
      else if (record[at + 1] === '"') cell += record[(at += 1)];
      else quoted = false;
    } else if (character === '"' && cell.trim() === '') {
      cell = '';
      quoted = true;
    } else if (character === delimiter) {
      found.push(cell);
      cell = '';
    } else {
      cell += character;
    }
  }
  found.push(cell);
  return found;
}
