// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/**
 * The agent's sweeps, one after the other with a pause between them that fits what they find. Now and then one is
 * followed by a look for half pairs (table-repair.ts).
 */
import { setTimeout } from 'node:timers/promises';
import type { AgentLog } from './agent-log.js';
import { Datapath } from './datapath.js';
import { DEFAULT_GC } from './defaults.js';
import { clearDeadPlaces } from './events/places.js';
import type { SweptMap } from './product.js';
import { BESIDE_PACKETS, runSteps } from './steps.js';
import { SubscriberRepair } from './subscriber-check.js';
import { nextInterval, type SweepBounds, type SweepFindings } from './sweep-interval.js';
import { Sweeper } from './sweeper.js';
import { type TablePressure, tablePressure } from './table-pressure.js';
import { TableRepair } from './table-repair.js';

/** What is repaired is rare and harms one flow: a pass may cost a second of processor time with a full table. */
const REPAIR_INTERVAL_MS = 5 * 60_000;

export class AgentSweep {
  readonly #pinPath: string;
  readonly #log: AgentLog;
  #bounds: SweepBounds = DEFAULT_GC;
  #intervalMs: number = DEFAULT_GC.minIntervalMs;
  readonly #repair = new TableRepair();
  readonly #subscribers = new SubscriberRepair();
  #pressure: TablePressure | undefined;
  #repairAt = performance.now() + REPAIR_INTERVAL_MS;
  /** Ends the pause that goes on. */
  #wake = new AbortController();

  constructor(pinPath: string, log: AgentLog) {
    this.#pinPath = pinPath;
    this.#log = log;
  }

  /** Takes effect at once: the next sweep comes after the shortest pause. */
  setBounds(bounds: SweepBounds): void {
    this.#bounds = bounds;
    this.#intervalMs = bounds.minIntervalMs;
    this.#wake.abort();
    this.#wake = new AbortController();
  }

  /**
   * Sweeps until it is told to stop.
   * @throws NotAttachedError when somebody has purged what was to be swept
   */
  async run(stop: AbortSignal): Promise<void> {
    while (!stop.aborted) {
      if (!(await this.#pause(stop))) continue;
      const maps = await this.#sweep();
      const findings = total(maps);
      this.#intervalMs = nextInterval(this.#intervalMs, findings, this.#bounds);
      this.#log.debug({ ...findings, nextMs: this.#intervalMs }, 'swept');
    }
  }

  /** Returns whether it lasted to its end. */
  async #pause(stop: AbortSignal): Promise<boolean> {
    try {
      await setTimeout(this.#intervalMs, undefined, { signal: AbortSignal.any([stop, this.#wake.signal]) });
      return true;
    } catch (error) {
      if ((error as Error).name === 'AbortError') return false;
      throw error;
    }
  }

  async #sweep(): Promise<readonly SweptMap[]> {
    using datapath = Datapath.open(this.#pinPath);
    const dead = clearDeadPlaces(this.#pinPath, datapath);
    if (dead > 0) this.#log.info(`events: ${dead} readers had died`);
    const { maps } = await runSteps(new Sweeper(datapath).sweepSteps(), BESIDE_PACKETS);
    if (performance.now() >= this.#repairAt) await this.#repairTables(datapath);
    this.#tellPressure(tablePressure(datapath));
    return maps;
  }

  /** Says so once a sweep while the table is full, and costs flows. What was before the agent is no news. */
  #tellPressure(now: TablePressure): void {
    const before = this.#pressure ?? now;
    this.#pressure = now;
    const evicted = now.evicted - before.evicted;
    const refused = now.refused - before.refused;
    if (evicted + refused > 0) {
      this.#log.warn({ evicted, refused }, 'the flow table is full: raise tables.flows or shorten timeouts');
    }
  }

  async #repairTables(datapath: Datapath): Promise<void> {
    const repaired = await runSteps(this.#repair.steps(datapath), BESIDE_PACKETS);
    const counts = await runSteps(this.#subscribers.steps(datapath), BESIDE_PACKETS);
    if (counts > 0) this.#log.warn({ counts }, 'put right what subscribers are counted to have');
    this.#repairAt = performance.now() + REPAIR_INTERVAL_MS;
    if (repaired.keys + repaired.flows > 0) this.#log.warn(repaired, 'repaired half pairs');
  }
}

function total(maps: readonly SweptMap[]): SweepFindings {
  const sum = (key: 'looked' | 'live' | 'deleted') => maps.reduce((count, map) => count + map[key], 0);
  return { looked: sum('looked'), live: sum('live'), deleted: sum('deleted') };
}
