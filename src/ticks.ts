// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/**
 * The datapath's clock: ticks of 2^TICK_SHIFT ns (16.8 ms) of CLOCK_MONOTONIC, in 32 bits that wrap.
 * Two ticks are compared by the sign of their difference.
 */
import { Layout } from './generated/layouts.gen.js';

/** Milliseconds in a tick. */
export const TICK_MS = 2 ** Layout.TICK_SHIFT / 1e6;

/** The current tick. process.hrtime reads CLOCK_MONOTONIC, as bpf_ktime_get_ns() does. */
export function nowTicks(): number {
  return Number(BigInt.asUintN(32, process.hrtime.bigint() >> BigInt(Layout.TICK_SHIFT)));
}

/** The current tick for whoever asks a million times: nowTicks() makes bigints. */
export class TickClock {
  readonly #originMs = Number(process.hrtime.bigint()) / 1e6 - performance.now();

  now(): number {
    return Math.floor((this.#originMs + performance.now()) / TICK_MS) >>> 0;
  }
}

/** Ticks that are at least so many milliseconds, and at least one. */
export function ticksOfMs(ms: number): number {
  return Math.max(1, Math.ceil((ms * 1e6) / 2 ** Layout.TICK_SHIFT));
}

/** Milliseconds of a number of ticks; to the whole millisecond below, so that what ticksOfMs rounded up comes back. */
export function msOfTicks(ticks: number): number {
  return Math.floor(ticks * TICK_MS);
}

/** Ticks from `from` to `to`, negative if `to` is earlier. */
export function tickDifference(to: number, from: number): number {
  return (to - from) | 0;
}
