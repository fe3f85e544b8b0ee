// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** The mappings that are promised, and since when they are whole; each change is in the journal before it is here. */
import type { Address } from '../address.js';
import type { AgentLog } from '../agent-log.js';
import { errorLine } from '../errors.js';
import type { Journal } from './journal.js';
import type { Inside } from './mapper.js';
import { mappingKey, type PcpMapping, subscriberOf } from './mapping.js';

export class Register {
  readonly #journal: Journal;
  readonly #log: AgentLog;
  readonly #nowMs: () => number;
  readonly #mappings = new Map<string, PcpMapping>();
  readonly #owned = new Map<string, number>();
  #epochMs: number;
  /** Something could not be written: the journal is to be written anew. */
  #isStale = false;

  /**
   * Reads the journal.
   * @param nowMs CLOCK_MONOTONIC
   * @throws CtnatError if it can not be read or written
   */
  constructor(journal: Journal, log: AgentLog, nowMs: () => number) {
    this.#journal = journal;
    this.#log = log;
    this.#nowMs = nowMs;
    const { epochMs, mappings } = journal.read();
    this.#epochMs = epochMs ?? nowMs();
    this.isNew = epochMs === undefined;
    for (const mapping of mappings) this.#set(mapping);
    journal.write(this.#epochMs, this.#mappings.values());
  }

  /** Nothing was remembered: clients must be told to ask again. */
  readonly isNew: boolean;

  /** Seconds since the mappings were whole (RFC 6887 section 8.5). */
  get epoch(): number {
    return Math.max(0, Math.floor((this.#nowMs() - this.#epochMs) / 1000));
  }

  get size(): number {
    return this.#mappings.size;
  }

  /** A copy: they may be changed meanwhile. */
  get all(): PcpMapping[] {
    return [...this.#mappings.values()];
  }

  find(inside: Inside): PcpMapping | undefined {
    return this.#mappings.get(mappingKey(inside));
  }

  /** How many this subscriber has. */
  ownedBy(address: Address): number {
    return this.#owned.get(subscriberOf(address)) ?? 0;
  }

  /** Adds a mapping or changes it; false: it can not be remembered, and nothing is changed. */
  put(mapping: PcpMapping): boolean {
    if (!this.#record(() => this.#journal.put(mapping))) return false;
    this.#set(mapping);
    return true;
  }

  /** Takes a mapping out; false: that can not be remembered, and it stays. */
  delete(mapping: PcpMapping): boolean {
    if (!this.#record(() => this.#journal.delete(mappingKey(mapping.inside)))) return false;
    this.#remove(mapping);
    return true;
  }

  /** Puts back what was taken out, whether that can be remembered or not. */
  restore(mapping: PcpMapping): void {
    this.#set(mapping);
    this.#record(() => this.#journal.put(mapping));
  }

  /** Takes a mapping out that has ended, whether that can be remembered or not: a restart sees it, too. */
  forget(mapping: PcpMapping): void {
    this.#remove(mapping);
    this.#record(() => this.#journal.delete(mappingKey(mapping.inside)));
  }

  /** The epoch begins anew. */
  begin(): void {
    this.#epochMs = this.#nowMs();
    this.#write();
  }

  /** Writes the journal anew if most of it is past, or if it lacks something. */
  tidy(): void {
    if (this.#isStale || this.#journal.isLong(this.#mappings.size)) this.#write();
  }

  #write(): void {
    this.#isStale = !this.#record(() => this.#journal.write(this.#epochMs, this.#mappings.values()));
  }

  /** Says in the log what can not be written. */
  #record(write: () => void): boolean {
    try {
      write();
      return true;
    } catch (error) {
      this.#isStale = true;
      this.#log.error(`pcp: ${errorLine(error)}`);
      return false;
    }
  }

  #set(mapping: PcpMapping): void {
    const key = mappingKey(mapping.inside);
    const owner = subscriberOf(mapping.inside.address);
    if (!this.#mappings.has(key)) this.#owned.set(owner, (this.#owned.get(owner) ?? 0) + 1);
    this.#mappings.set(key, mapping);
  }

  #remove({ inside }: PcpMapping): void {
    if (!this.#mappings.delete(mappingKey(inside))) return;
    const owner = subscriberOf(inside.address);
    const left = (this.#owned.get(owner) ?? 0) - 1;
    if (left > 0) this.#owned.set(owner, left);
    else this.#owned.delete(owner);
  }
}
