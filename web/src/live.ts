// A batch's status as it changes: by server-sent events, or by asking again where these do not come through.

import { batchPath, Failed, readBatch, type BatchRef, type BatchStatus } from './api.ts';

/** Milliseconds between two questions, and the longest that a mute stream is waited for. */
const ASK = 2_000;
const MUTE = 10_000;

/** Follows a batch to its end, or until the signal. */
export function follow(batch: BatchRef, signal: AbortSignal, update: (status: BatchStatus) => void, trouble: (text: string) => void): void {
  const events = new EventSource(batchPath(batch, '/events'));
  let timer = setTimeout(() => poll(), MUTE);
  const stop = () => {
    events.close();
    clearTimeout(timer);
  };
  signal.addEventListener('abort', stop);

  const receive = (status: BatchStatus) => {
    if (signal.aborted) return;
    trouble('');
    update(status);
    if (status.finished) stop();
  };
  for (const name of ['status', 'finished']) {
    events.addEventListener(name, (event) => {
      clearTimeout(timer);
      receive(JSON.parse((event as MessageEvent<string>).data));
    });
  }
  events.addEventListener('deleted', () => {
    stop();
    trouble('The batch was deleted.');
  });
  events.addEventListener('error', () => {
    // The browser connects again by itself, unless the answer was no stream.
    if (events.readyState === EventSource.CLOSED) poll();
  });

  function poll(): void {
    stop();
    const again = async () => {
      if (signal.aborted) return;
      let finished = false;
      try {
        const status = await readBatch(batch);
        finished = status.finished;
        receive(status);
      } catch (error) {
        if (signal.aborted) return;
        trouble(error instanceof Error ? error.message : String(error));
        finished = error instanceof Failed && [401, 403, 404].includes(error.problem.status);
      }
      if (!finished && !signal.aborted) timer = setTimeout(again, ASK);
    };
    void again();
  }
}
