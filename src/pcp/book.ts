// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/**
 * The mappings that inside hosts have asked for, by whichever protocol: made, renewed, deleted and let go by the rules
 * of RFC 6887 sections 11 and 15. The datapath ends each at its deadline by itself; the book knows whose they are.
 */
import { type Address, compareAddresses, formatAddress, formatEndpoint } from '../address.js';
import type { AgentLog } from '../agent-log.js';
import type { PortRange } from '../port-range.js';
import { protocolName } from '../protocol.js';
import type { Journal } from './journal.js';
import type { Held, Inside, Mapper, Outside } from './mapper.js';
import { mappingKey, type PcpMapping, subscriberOf } from './mapping.js';
import { externalPorts } from './ports.js';
import { PcpResult } from './result.js';

export interface BookOptions {
  /** Seconds. */
  readonly lifetime: { readonly min: number; readonly max: number };
  /** Mappings of one subscriber. */
  readonly limit: number;
  /** External ports that may be asked for. */
  readonly ports: readonly PortRange[];
}

export interface MapWish {
  readonly inside: Inside;
  readonly nonce: string;
  /** Seconds, not 0. */
  readonly lifetime: number;
  /** 0: any. */
  readonly externalPort: number;
  readonly externalAddress?: Address;
  /** The port and address that are named, or none. */
  readonly isStrict: boolean;
}

export type MapResult =
  | {
      readonly result: typeof PcpResult.SUCCESS;
      readonly external: Held['external'];
      readonly lifetime: number;
    }
  /** `lifetime`: seconds until it may be otherwise, where that is known. */
  | { readonly result: Exclude<PcpResult, typeof PcpResult.SUCCESS>; readonly lifetime?: number };

/** Of all subscribers: half of an address's ports. They are not evicted, and packets need some, too. */
const MAX_MAPPINGS = 32_768;

export class Book {
  readonly #journal: Journal;
  readonly #log: AgentLog;
  readonly #nowMs: () => number;
  readonly #onLoss: () => void;
  readonly #mappings = new Map<string, PcpMapping>();
  readonly #owned = new Map<string, number>();
  #epochMs: number;

  /**
   * @param nowMs CLOCK_MONOTONIC
   * @param onLoss is called when mappings have gone before their time
   */
  constructor(journal: Journal, log: AgentLog, nowMs: () => number, onLoss: () => void) {
    this.#journal = journal;
    this.#log = log;
    this.#nowMs = nowMs;
    this.#onLoss = onLoss;
    const { epochMs, mappings } = journal.read();
    this.#epochMs = epochMs ?? nowMs();
    this.isNew = epochMs === undefined;
    // also what has ended meanwhile: expire() lets it go
    for (const mapping of mappings) this.#remember(mapping);
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

  /** When the first mapping ends, in milliseconds of CLOCK_MONOTONIC. */
  get nextDeadlineMs(): number | undefined {
    let next: number | undefined;
    for (const { deadlineMs } of this.#mappings.values()) next = Math.min(next ?? deadlineMs, deadlineMs);
    return next;
  }

  /** Makes or renews a mapping. */
  map(wish: MapWish, mapper: Mapper, options: BookOptions): MapResult {
    const { inside, nonce } = wish;
    if (!mapper.maps(inside.protocol)) return { result: PcpResult.UNSUPP_PROTOCOL };
    if (inside.port === 0) return { result: PcpResult.NOT_AUTHORIZED };
    const lifetime = Math.min(options.lifetime.max, Math.max(options.lifetime.min, wish.lifetime));
    this.expire(mapper);
    const known = this.#find(inside);
    if (known) {
      if (known.nonce !== nonce) return refuseFor(known, this.#nowMs());
      if (!fits(wish, known.held.external)) return { result: PcpResult.CANNOT_PROVIDE_EXTERNAL };
      if (mapper.keep(inside, known.held, lifetime)) return this.#keep(known, lifetime);
      this.#lose([known]);
    }
    if ((this.#owned.get(subscriberOf(inside.address)) ?? 0) >= options.limit) {
      return { result: PcpResult.USER_EX_QUOTA };
    }
    if (this.size >= MAX_MAPPINGS) return { result: PcpResult.NO_RESOURCES };
    const outside = mapper.outside(inside);
    if (!outside) return { result: PcpResult.NETWORK_FAILURE };
    const held = this.#make(wish, outside, lifetime, mapper, options);
    if (typeof held === 'number') return { result: held };
    return this.#keep({ inside, nonce, held, deadlineMs: 0 }, lifetime);
  }

  /** A mapping that the inside endpoint's own packets have made becomes the one that is asked for. */
  #make(
    wish: MapWish,
    outside: Outside,
    lifetime: number,
    mapper: Mapper,
    options: BookOptions,
  ): Held | Exclude<PcpResult, typeof PcpResult.SUCCESS> {
    const { inside, externalPort, isStrict } = wish;
    const adopted = mapper.find(inside, outside);
    if (adopted) {
      if (!fits(wish, adopted.external)) return PcpResult.CANNOT_PROVIDE_EXTERNAL;
      if (mapper.keep(inside, adopted, lifetime)) return adopted;
    }
    if (!fits({ ...wish, externalPort: 0 }, { address: outside.address, port: 0 })) {
      return PcpResult.CANNOT_PROVIDE_EXTERNAL;
    }
    for (const port of externalPorts(inside, outside, {
      port: externalPort,
      isStrict,
      allowed: options.ports,
    })) {
      const opened = mapper.open(inside, outside, port, lifetime);
      if (opened === 'full') return PcpResult.NO_RESOURCES;
      if (opened === 'known') {
        const other = mapper.find(inside, outside);
        if (!other) continue;
        if (!fits(wish, other.external)) return PcpResult.CANNOT_PROVIDE_EXTERNAL;
        if (mapper.keep(inside, other, lifetime)) return other;
      } else if (opened !== 'taken') {
        return opened;
      }
    }
    return isStrict && externalPort !== 0 ? PcpResult.CANNOT_PROVIDE_EXTERNAL : PcpResult.NO_RESOURCES;
  }

  #keep(mapping: PcpMapping, lifetime: number): MapResult {
    const isNew = !this.#find(mapping.inside);
    const kept = { ...mapping, deadlineMs: this.#nowMs() + lifetime * 1000 };
    if (isNew) this.#remember(kept);
    else this.#mappings.set(mappingKey(kept.inside), kept);
    this.#journal.put(kept);
    this.#tidy();
    this.#log[isNew ? 'info' : 'debug'](
      { ...describe(kept), lifetime },
      isNew ? 'pcp: mapped' : 'pcp: renewed',
    );
    return { result: PcpResult.SUCCESS, external: kept.held.external, lifetime };
  }

  /**
   * Deletes what is asked for and has this nonce; protocol and port 0 stand for all. What is not there is deleted
   * already; a single one with another nonce is refused.
   */
  delete(inside: Inside, nonce: string, mapper: Mapper): MapResult {
    this.expire(mapper);
    const known = inside.port === 0 ? undefined : this.#find(inside);
    if (known && known.nonce !== nonce) return refuseFor(known, this.#nowMs());
    const victims = known ? [known] : inside.port === 0 ? this.#ownedBy(inside, nonce) : [];
    for (const victim of victims) {
      mapper.release(victim.inside, victim.held);
      this.#forget(victim);
      this.#log.info(describe(victim), 'pcp: deleted');
    }
    this.#tidy();
    const external = known?.held.external ?? { address: inside.address, port: 0 };
    return { result: PcpResult.SUCCESS, external, lifetime: 0 };
  }

  #ownedBy({ address, protocol }: Inside, nonce: string): PcpMapping[] {
    return [...this.#mappings.values()].filter(
      (each) =>
        formatAddress(each.inside.address) === formatAddress(address) &&
        (protocol === 0 || each.inside.protocol === protocol) &&
        each.nonce === nonce,
    );
  }

  /** Lets go what is past its deadline: the datapath lets nobody new in by it any more. */
  expire(mapper: Mapper): void {
    const now = this.#nowMs();
    for (const mapping of [...this.#mappings.values()]) {
      if (mapping.deadlineMs > now) continue;
      mapper.release(mapping.inside, mapping.held);
      this.#forget(mapping);
      this.#log.info(describe(mapping), 'pcp: expired');
    }
    this.#tidy();
  }

  /** Looks whether the datapath has all that was promised: a flush, or an address that is gone, may have ended some. */
  check(mapper: Mapper): void {
    const lost = [...this.#mappings.values()].filter(
      ({ inside, held, deadlineMs }) => deadlineMs > this.#nowMs() && !mapper.isHeld(inside, held),
    );
    if (lost.length > 0) this.#lose(lost);
  }

  /** Promises are broken: the epoch begins anew, by which every client sees that it has to ask again. */
  #lose(mappings: readonly PcpMapping[]): void {
    for (const mapping of mappings) {
      this.#forget(mapping);
      this.#log.warn(describe(mapping), 'pcp: lost');
    }
    this.#epochMs = this.#nowMs();
    this.#journal.write(this.#epochMs, this.#mappings.values());
    this.#onLoss();
  }

  #find(inside: Inside): PcpMapping | undefined {
    return this.#mappings.get(mappingKey(inside));
  }

  #remember(mapping: PcpMapping): void {
    const owner = subscriberOf(mapping.inside.address);
    this.#mappings.set(mappingKey(mapping.inside), mapping);
    this.#owned.set(owner, (this.#owned.get(owner) ?? 0) + 1);
  }

  #forget({ inside }: PcpMapping): void {
    const owner = subscriberOf(inside.address);
    const left = (this.#owned.get(owner) ?? 0) - 1;
    this.#mappings.delete(mappingKey(inside));
    if (left > 0) this.#owned.set(owner, left);
    else this.#owned.delete(owner);
    this.#journal.delete(mappingKey(inside));
  }

  #tidy(): void {
    if (this.#journal.isLong(this.#mappings.size))
      this.#journal.write(this.#epochMs, this.#mappings.values());
  }
}

/** Somebody else's, until it ends. */
function refuseFor({ deadlineMs }: PcpMapping, nowMs: number): MapResult {
  return { result: PcpResult.NOT_AUTHORIZED, lifetime: Math.max(1, Math.ceil((deadlineMs - nowMs) / 1000)) };
}

/** Whether a client that wants what it names gets that. */
function fits({ isStrict, externalPort, externalAddress }: MapWish, external: Held['external']): boolean {
  if (!isStrict) return true;
  if (externalPort !== 0 && externalPort !== external.port) return false;
  if (!externalAddress || isUnspecified(externalAddress)) return true;
  return (
    externalAddress.family === external.address.family &&
    compareAddresses(externalAddress, external.address) === 0
  );
}

function isUnspecified({ bytes }: Address): boolean {
  return bytes.every((byte) => byte === 0);
}

function describe({ inside, held }: PcpMapping): Record<string, string> {
  return {
    proto: protocolName(inside.protocol),
    internal: formatEndpoint(formatAddress(inside.address), inside.port),
    external: formatEndpoint(formatAddress(held.external.address), held.external.port),
  };
}
