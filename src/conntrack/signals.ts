// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** What ends a command that goes on until it is told to end. */
import type { Session } from './session.js';

const SIGNALS: readonly NodeJS.Signals[] = ['SIGINT', 'SIGTERM'];

/** Aborted by the first of the signals; `release` gives the signals back. */
export function stopOnSignal({ signals }: Pick<Session, 'signals'>): {
  stop: AbortSignal;
  release: () => void;
} {
  const controller = new AbortController();
  const onSignal = () => controller.abort();
  for (const signal of SIGNALS) signals.on(signal, onSignal);
  return {
    stop: controller.signal,
    release: () => {
      for (const signal of SIGNALS) signals.off(signal, onSignal);
    },
  };
}

/** Resolves at the first of the signals. */
export async function untilSignal(session: Pick<Session, 'signals'>): Promise<void> {
  const { stop, release } = stopOnSignal(session);
  // listeners alone do not keep the process
  const alive = setInterval(() => {}, 0x7fff_ffff);
  try {
    await new Promise<void>((resolve) => stop.addEventListener('abort', () => resolve(), { once: true }));
  } finally {
    clearInterval(alive);
    release();
  }
}
