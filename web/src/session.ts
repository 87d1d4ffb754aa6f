// Who is signed in. The key or token goes to the gateway once, which gives a cookie that scripts cannot read.

import { Failed, onOldCsrfToken, request, SESSION, useCsrfToken } from './api.ts';
import { alertBox, fill, h } from './dom.ts';

export interface Session {
  authentication: string[];
  signedIn: boolean;
  user?: string;
  csrfToken?: string;
}

export async function readSession(): Promise<Session> {
  const session = await request<Session>('GET', SESSION);
  useCsrfToken(session.csrfToken ?? '');
  return session;
}

onOldCsrfToken(async () => {
  await readSession();
});

export async function signOut(): Promise<void> {
  await request('DELETE', SESSION);
  useCsrfToken('');
}

/** Returns the form; `done` follows once somebody is signed in. */
export function signInView(done: () => void): HTMLElement {
  const key = h('input', { type: 'password', autocomplete: 'current-password', required: true, spellcheck: 'false', 'aria-describedby': 'key-hint' });
  const failure = h('div', {});
  const form = h(
    'form',
    {
      class: 'panel',
      onsubmit: async (event) => {
        event.preventDefault();
        try {
          await request('POST', SESSION, { body: JSON.stringify({ token: key.value.trim() }), headers: { 'content-type': 'application/json' } });
          key.value = '';
          done();
        } catch (error) {
          const refused = error instanceof Failed && error.problem.status === 401;
          fill(failure, refused
            ? alertBox('This key is not valid', 'It may be mistyped, expired or revoked.')
            : alertBox('Signing in failed', error instanceof Error ? error.message : String(error)));
          key.focus();
          key.select();
        }
      },
    },
    h('label', {}, 'API key or token', key, h('small', { id: 'key-hint' }, 'This browser does not keep it. You stay signed in for eight hours at most.')),
    failure,
    h('div', { class: 'actions' }, h('button', { type: 'submit' }, 'Sign in')),
  );
  return h('div', { class: 'view narrow' }, h('div', { class: 'title' },
      h('h1', { tabindex: -1 }, 'Sign in'),
      h('p', { class: 'lead' }, 'With the key that you were given. Whoever runs ImageBatch for you makes one.')),
    form);
}
