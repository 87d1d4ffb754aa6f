// Numbers, sizes and times as people read them.

const number = new Intl.NumberFormat('en');
const short = new Intl.NumberFormat('en', { maximumSignificantDigits: 3 });
const moment = new Intl.DateTimeFormat('en', { dateStyle: 'medium', timeStyle: 'short' });

export function count(value: number): string {
  return number.format(value);
}

/** `3 images`, `1 image`. */
export function counted(value: number, one: string, many = `${one}s`): string {
  return `${count(value)} ${value === 1 ? one : many}`;
}

export function bytes(value: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let unit = 0;
  while (Math.abs(value) >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${short.format(value)} ${units[unit]}`;
}

/** The share of bytes that was saved; `74% smaller`. */
export function savings(before: number, after: number): string {
  const percent = before > 0 ? Math.round(((before - after) / before) * 100) : 0;
  if (percent === 0) return 'same size';
  return percent > 0 ? `${percent}% smaller` : `${-percent}% larger`;
}

export function time(value: string | undefined): string {
  return value ? moment.format(new Date(value)) : '';
}

/** A span of seconds in its two largest units. */
export function span(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return counted(whole, 'second');
  const minutes = Math.round(whole / 60);
  if (minutes < 60) return counted(minutes, 'minute');
  const rest = minutes % 60;
  return counted(Math.floor(minutes / 60), 'hour') + (rest ? ` ${counted(rest, 'minute')}` : '');
}

/** What the states of a batch are to those who wait for it. */
export const STATES: Record<string, string> = {
  Pending: 'Waiting to start',
  Queued: 'Waiting for its turn',
  Ingesting: 'Reading the list',
  Running: 'Making images smaller',
  Reporting: 'Writing the new list',
  Suspended: 'Paused',
  Stopping: 'Stopping',
  Completed: 'Finished',
  ImagesFailed: 'Finished, some images failed',
  InvalidSource: 'The list cannot be used',
  Cancelled: 'Stopped',
  DeadlineExceeded: 'Stopped, it took too long',
  TooManyFailures: 'Stopped, too many images failed',
};

export function stateWords(state: string): string {
  return STATES[state] ?? words(state);
}

/** The words of a code, such as `ImageNotFound`. */
export function words(code: string): string {
  const text = code.replace(/([a-z])([A-Z])/g, '$1 $2').toLowerCase();
  return text.charAt(0).toUpperCase() + text.slice(1);
}
