// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Waiting for a condition that no event announces. Where there is an event (a line of output, the end of a
// process, a packet), wait for that instead.

/** VM_SLOW: how many times slower than a usual machine this one may be; 1 or more. */
export const SLOW = Math.max(1, Number(process.env.VM_SLOW ?? 1) || 1);

/** Milliseconds, stretched for a slow machine. */
export function slowly(ms: number): number {
  return ms * SLOW;
}

/** Resolves after `ms`, which is the thing under test itself: a time-out that has to pass. */
export function elapse(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/**
 * Asks `condition` until it gives something other than undefined or false, and returns that.
 * Throws after `limitMs` (stretched by VM_SLOW) with `what` and the last error that the condition threw.
 */
export async function until<T>(
  what: string,
  condition: () => Promise<T | undefined | false> | T | undefined | false,
  limitMs = 10_000,
): Promise<T> {
  const end = performance.now() + slowly(limitMs);
  for (let pauseMs = 5; ; pauseMs = Math.min(pauseMs * 2, 100)) {
    let cause: unknown;
    try {
      const value = await condition();
      if (value !== undefined && value !== false) return value;
    } catch (error) {
      cause = error;
    }
    if (performance.now() > end) throw new Error(`waited ${slowly(limitMs)} ms in vain: ${what}`, { cause });
    await elapse(pauseMs);
  }
}

/** The promise's value, or an error that names `what` after `limitMs` (stretched by VM_SLOW). */
export async function within<T>(what: string, promise: Promise<T>, limitMs = 10_000): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not within ${slowly(limitMs)} ms: ${what}`)), slowly(limitMs));
  });
  try {
    return await Promise.race([promise, limit]);
  } finally {
    clearTimeout(timer);
  }
}
