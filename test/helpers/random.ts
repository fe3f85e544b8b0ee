// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Numbers that look random and are the same again for the same seed.

/** A generator of numbers from 0 up to but not 1 (xorshift32). */
export function random(seed: number): () => number {
  let state = seed >>> 0 || 0x9e3779b9;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state / 0x1_0000_0000;
  };
}
