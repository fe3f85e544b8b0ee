// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/**
 * Tears flows down, by the programs ct_sweep4 and ct_sweep6 (bpf/sweep.h): they look at each deadline again when
 * they hold the flow, so that none is deleted that a packet has prolonged meanwhile. The counts are exact.
 */
import { type BpfProgram, SyscallError } from 'libbpf-ts';
import { inBackground } from './background.js';
import type { Datapath } from './datapath.js';
import {
  Counter,
  SWEEP_REQUEST,
  SweepMode,
  type SweepRequest,
  sweepRequestCodec,
} from './generated/layouts.gen.js';
import { LabelTable } from './label-table.js';
import type { SweepResult, SweptMap } from './product.js';
import { sweepSubscribers } from './subscribers.js';

const FAMILIES = [4, 6] as const;

/**
 * Runs in one system call, of 256 slots each at most: some milliseconds of a processor, after which signals and the event
 * loop get their turn. In the background of a busy machine that is up to a quarter of a second.
 */
const RUNS_PER_CALL = 128;

/** Tries to take a flow that another CPU holds for an instant. */
const TRIES_FOR_ONE = 5;

type Order = Pick<SweepRequest, 'slot' | 'gen'>;

export class Sweeper {
  readonly #datapath: Datapath;

  constructor(datapath: Datapath) {
    this.#datapath = datapath;
  }

  /** Removes what has expired, in both families. */
  sweep(): SweepResult {
    return finish(this.sweepSteps());
  }

  /** Like sweep(), in steps of some milliseconds between which the caller may do something else. */
  *sweepSteps(): Generator<void, SweepResult, undefined> {
    const begin = performance.now();
    const maps: SweptMap[] = [];
    for (const family of FAMILIES) maps.push(yield* this.#pass(family, SweepMode.EXPIRED));
    const labels = new LabelTable(this.#datapath).sweep();
    if (labels.looked > 0) maps.push(labels);
    const subscribers = sweepSubscribers(this.#datapath);
    if (subscribers.looked > 0) maps.push(subscribers);
    return { maps, durationMs: performance.now() - begin };
  }

  /**
   * Tears down every flow and returns how many. An endpoint goes with its last flow, or by the second pass if it
   * stood before them and had another's as well.
   */
  flush(): number {
    const passes: readonly (4 | 6)[] = this.#hasEndpoints() ? [...FAMILIES, ...FAMILIES] : FAMILIES;
    return passes.reduce((sum, family) => sum + finish(this.#pass(family, SweepMode.ALL)).deleted, 0);
  }

  #hasEndpoints(): boolean {
    return this.#count(Counter.ENDPOINTS_OPENED) !== this.#count(Counter.ENDPOINTS_CLOSED);
  }

  /**
   * Tears down the flow of a slot if the generation is still its, or closes the endpoint if no flow counts on it.
   * Returns whether this call did it.
   * @param why ADDRESS: its outside address is gone; a flow is counted and told as that
   */
  deleteOne(
    family: 4 | 6,
    slot: number,
    gen: number,
    why: typeof SweepMode.ONE | typeof SweepMode.ADDRESS = SweepMode.ONE,
  ): boolean {
    const program = this.#datapath.sweepProgram(family);
    const request = encode({ mode: why, family, cursor: slot, limit: slot + 1 }, { slot, gen });
    for (let i = 0; i < TRIES_FOR_ONE; i++) {
      const { live, deleted, endpoints } = runOnce(program, request, 1);
      if (deleted + endpoints > 0) return true;
      // alive, and so another flow's; else gone, or in another's hands who may put it back
      if (live > 0) return false;
    }
    return false;
  }

  *#pass(family: 4 | 6, mode: SweepMode): Generator<void, SweptMap, undefined> {
    const name = `flows${family}` as const;
    const limit = this.#datapath.maps[name].map.maxEntries;
    const program = this.#datapath.sweepProgram(family);
    const swept = { name, looked: 0, live: 0, deleted: 0 };
    let runs = RUNS_PER_CALL;
    for (let cursor = 0; cursor < limit; ) {
      const before = this.#torndown(mode);
      try {
        const request = encode({ mode, family, cursor, limit });
        const next = inBackground(() => runOnce(program, request, runs));
        swept.looked += next.looked;
        swept.live += next.live;
        swept.deleted += next.deleted;
        if (next.cursor === cursor) break; // the map is shorter than it says
        cursor = next.cursor;
      } catch (error) {
        if (!(error instanceof SyscallError && error.errnoName === 'EINTR')) throw error;
        // A signal came: what the runs before it did is done, but only the counters can tell how much.
        swept.deleted += this.#torndown(mode) - before;
        runs = Math.max(1, runs >> 1);
      }
      yield;
    }
    return swept;
  }

  /** What sweeps have torn down so far in this mode. */
  #torndown(mode: SweepMode): number {
    return this.#count(mode === SweepMode.EXPIRED ? Counter.EXPIRED : Counter.DELETED);
  }

  #count(counter: Counter): number {
    const cpus = this.#datapath.maps.counters.getPerCpu(counter) ?? [];
    return Number(cpus.reduce((sum, value) => sum + value, 0n));
  }
}

function finish<T>(steps: Generator<void, T, undefined>): T {
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value;
  }
}

function encode(
  range: Pick<SweepRequest, 'mode' | 'family' | 'cursor' | 'limit'>,
  order: Order = { slot: 0, gen: 0 },
): Buffer {
  const request = Buffer.alloc(SWEEP_REQUEST.size);
  sweepRequestCodec.write(new DataView(request.buffer, request.byteOffset, request.length), 0, {
    ether: new Array<number>(16).fill(0),
    looked: 0,
    live: 0,
    deleted: 0,
    endpoints: 0,
    ...range,
    ...order,
  });
  return request;
}

function runOnce(program: BpfProgram, data: Buffer, repeat: number): SweepRequest {
  const result = program.testRun({ data, dataOutSize: data.length, repeat, restart: false }).data;
  return sweepRequestCodec.read(new DataView(result.buffer, result.byteOffset, result.length), 0);
}
