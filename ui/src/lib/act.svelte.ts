/** What a person decides: sent to the program, told in a message that offers to take it back. */
import { ApiError, post } from './api';
import { i18n } from './i18n.svelte';
import { live } from './live.svelte';
import { toasts } from './toast.svelte';
import type { Alert, Assignment } from './types';

/** Runs it; where it fails, says why in a message. Whether it worked. */
export async function attempt(run: () => Promise<unknown>): Promise<boolean> {
  try {
    await run();
    return true;
  } catch (error) {
    const why = error instanceof ApiError ? [error.detail || error.title || i18n.m.errors[error.trouble === 'refused' ? 'unreadable' : error.trouble], error.hint].filter(Boolean).join(' ') : String(error);
    toasts.show(i18n.m.errors.action(why), 'failed');
    return false;
  }
}

export async function decide(customer: string, name: string, action: 'approve' | 'undo', then: (decided?: Assignment) => unknown, offerUndo = true): Promise<void> {
  let decided: Assignment | undefined;
  const done = await attempt(async () => (decided = await post<Assignment>(`/assignments/${encodeURIComponent(customer)}/${action}`, live.by)));
  if (done) {
    const q = i18n.m.queue;
    toasts.show(action === 'approve' ? q.approved(name) : q.undone(name), 'done', offerUndo && action === 'approve' ? () => decide(customer, name, 'undo', then, false) : undefined);
  }
  await then(decided);
}

export type AlertAction = 'acknowledge' | 'snooze' | 'resolve' | 'reopen';
const HOUR_MS = 3_600_000;

export async function handle(alert: Alert, who: string, action: AlertAction, then: (decided?: Alert) => unknown, offerUndo = true): Promise<void> {
  const body = action === 'snooze' ? { ...live.by, until: live.now + HOUR_MS } : live.by;
  let decided: Alert | undefined;
  const done = await attempt(async () => (decided = await post<Alert>(`/alerts/${encodeURIComponent(alert.id)}/${action}`, body)));
  if (done) toasts.show(i18n.m.alerts.done[action](who), 'done', offerUndo && action !== 'reopen' ? () => handle(alert, who, 'reopen', then, false) : undefined);
  await then(decided);
}
