// What the page asks of the gateway, and nothing else: the public API.

/** A problem of a CSV: where it is, what is wrong and how to mend it. */
export interface Problem {
  line?: number;
  row?: number;
  column?: string;
  code: string;
  value?: string;
  message: string;
  hint: string;
}

/** A failure as RFC 9457 writes it, with the members that a refused CSV has. */
export interface ProblemDocument {
  status: number;
  title: string;
  detail: string;
  code: string;
  requestId?: string;
  errors?: Problem[];
  errorCount?: number;
  rows?: number;
  retriedBy?: string;
}

export interface Findings {
  rows: number;
  images: number;
  warnings: Problem[];
  warningCounts: Record<string, number>;
  skippedRows?: number;
  errors?: Problem[];
  errorCount?: number;
}

export interface BatchRef {
  id: string;
  namespace: string;
}

export interface BatchSummary extends BatchRef {
  displayName?: string;
  status: string;
  finished: boolean;
  images?: number;
  succeeded: number;
  failed: number;
  saved?: string;
  createdTime?: string;
  retryOf?: string;
}

export interface BatchStatus extends BatchSummary {
  rows?: number;
  keptOriginal: number;
  /** Of the succeeded, those that an earlier batch has stored. */
  reused?: number;
  bytesIn: number;
  bytesOut: number;
  imagesPerMinute?: number;
  estimatedCompletionTime?: string;
  startTime?: string;
  completionTime?: string;
  retriedBy?: string[];
  /** The first 20; a row that was not worked on has no image. */
  failures: { row: number; image?: number; reason: string; detail: string }[];
  conditions: { type: string; status: string; reason: string; message: string }[];
  links?: { outputCsv: string; failedCsv: string };
}

export interface Image {
  position: number;
  inputUrl: string;
  outcome: 'Pending' | 'Compressed' | 'KeptOriginal' | 'Failed';
  outputUrl?: string;
  /** Where the gateway has it, below `/images/`; `outputUrl` may be the CDN's. */
  key?: string;
  reason?: string;
  message?: string;
  httpStatus?: number;
  bytesIn?: number;
  bytesOut?: number;
  format?: string;
  width?: number;
  height?: number;
  sourceQuality?: number;
  quality?: number;
}

export interface Product {
  row: number;
  serialNumber: string;
  name: string;
  images: Image[];
}

/** A part of a list. It may be empty although there is a next one. */
export interface Page<T> {
  items: T[];
  next?: string;
}

/** Options of an upload; empty ones are left to the gateway. */
export type Options = Partial<Record<'displayName' | 'quality' | 'format' | 'maxWidth' | 'onInvalidRow', string>>;

/** An answer that is no success. */
export class Failed extends Error {
  constructor(readonly problem: ProblemDocument) {
    super(problem.requestId ? `${problem.detail} (request ${problem.requestId})` : problem.detail);
  }
}

const token = { csrf: '' };
let unauthorized = () => {};
let refreshToken = async () => {};

/** Gives the token that requests must carry which change something; the session has it. */
export function useCsrfToken(value: string): void {
  token.csrf = value;
}

/** Says what happens when a session is over. */
export function onUnauthorized(then: () => void): void {
  unauthorized = then;
}

/** Says how the token is read again, which another tab may have made an old one. */
export function onOldCsrfToken(then: () => Promise<void>): void {
  refreshToken = then;
}

/** Asks the gateway; a failure is a `Failed`. */
export async function request<T>(method: string, path: string, init: RequestInit = {}): Promise<T> {
  try {
    return await once(method, path, init);
  } catch (error) {
    if (!(error instanceof Failed) || error.problem.code !== 'CsrfRejected') throw error;
    await refreshToken();
    return once(method, path, init);
  }
}

async function once<T>(method: string, path: string, init: RequestInit): Promise<T> {
  const headers = new Headers(init.headers);
  headers.set('accept', 'application/json');
  if (method !== 'GET' && token.csrf) headers.set('x-csrf-token', token.csrf);
  let response: Response;
  try {
    response = await fetch(path, { ...init, method, headers, cache: 'no-store', credentials: 'same-origin' });
  } catch {
    throw new Error('The server cannot be reached. Is there a network?');
  }
  const json = /json/.test(response.headers.get('content-type') ?? '') ? await response.json() : undefined;
  if (response.ok) return json as T;
  if (response.status === 401 && path !== SESSION) unauthorized();
  const unexplained = { title: '', code: '', detail: `The server answered ${response.status}.` };
  throw new Failed({ ...unexplained, ...json, status: response.status });
}

export const SESSION = '/v1/session';

/** Returns the path of something below a batch. */
export function batchPath({ id, namespace }: BatchRef, below = '', query: Record<string, string> = {}): string {
  const all = namespace ? { ...query, namespace } : query;
  const text = new URLSearchParams(all).toString();
  return `/v1/batches/${encodeURIComponent(id)}${below}${text ? `?${text}` : ''}`;
}

function present(query: Record<string, string | undefined>): Record<string, string> {
  return Object.fromEntries(Object.entries(query).filter((it): it is [string, string] => Boolean(it[1])));
}

function upload<T>(csv: Blob, options: Options, extra: Record<string, string>, headers: Record<string, string>): Promise<T> {
  const query = new URLSearchParams({ ...present(options), ...extra });
  return request('POST', `/v1/batches?${query}`, { body: csv, headers: { 'content-type': 'text/csv', ...headers } });
}

/** Validates a CSV; nothing runs and nothing is kept. */
export function checkCsv(csv: Blob, options: Options): Promise<Findings> {
  return upload(csv, options, { dryRun: 'true' }, {});
}

export function submitCsv(csv: Blob, options: Options, key: string): Promise<BatchRef> {
  return upload(csv, options, {}, { 'idempotency-key': key });
}

export function readBatch(batch: BatchRef): Promise<BatchStatus> {
  return request('GET', batchPath(batch));
}

export function retryBatch(batch: BatchRef): Promise<BatchRef> {
  return request('POST', batchPath(batch, '/retry'));
}

export function cancelBatch(batch: BatchRef): Promise<unknown> {
  return request('POST', batchPath(batch, '/cancel'), { body: JSON.stringify({ reason: 'asked for on the web page' }) });
}

export function listBatches(asked: { name: string; state: string }, cursor?: string): Promise<Page<BatchSummary>> {
  return page(cursor, async (next) => {
    const query = new URLSearchParams(present({ ...asked, cursor: next }));
    const { batches, nextCursor } = await request<{ batches: BatchSummary[] } & Next>('GET', `/v1/batches?${query}`);
    return { items: batches, ...(nextCursor ? { next: nextCursor } : {}) };
  });
}

export function listProducts(batch: BatchRef, outcome?: string, cursor?: string): Promise<Page<Product>> {
  return page(cursor, async (next) => {
    const path = batchPath(batch, '/products', present({ outcome, limit: PRODUCTS, cursor: next }));
    const { products, nextCursor } = await request<{ products: Product[] } & Next>('GET', path);
    return { items: products, ...(nextCursor ? { next: nextCursor } : {}) };
  });
}

interface Next {
  nextCursor?: string;
}

/** Products of a page: their images are shown. */
const PRODUCTS = '60';

/** Returns the next part that is not empty. */
async function page<T>(cursor: string | undefined, read: (cursor: string | undefined) => Promise<Page<T>>): Promise<Page<T>> {
  for (let next = cursor; ; ) {
    const found = await read(next);
    if (found.items.length > 0 || !found.next) return found;
    next = found.next;
  }
}
