// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)

/** What `action` throws. Throws itself if `action` throws nothing, or no Error. */
export function catchError(action: () => unknown): Error {
  try {
    action();
  } catch (error) {
    if (error instanceof Error) return error;
    throw error;
  }
  throw new Error('Nothing was thrown');
}
