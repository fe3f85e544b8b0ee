// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/**
 * The mappings that inside hosts have asked for, by whichever protocol: made, renewed, deleted and let go by the rules
 * of RFC 6887 sections 11 and 15. The datapath ends each at its deadline by itself; the book knows whose they are.
 */
import { formatAddress, formatEndpoint } from '../address.js';
import type { AgentLog } from '../agent-log.js';
import type { PortRange } from '../port-range.js';
import { protocolName } from '../protocol.js';
import type { Journal } from './journal.js';
import type { Held, Inside, Mapper, Outside } from './mapper.js';
import type { PcpMapping } from './mapping.js';
import { externalPorts } from './ports.js';
import { Register } from './register.js';
import { PcpResult } from './result.js';
import { fits, type MapResult, type MapWish } from './wish.js';

export interface BookOptions {
  /** Seconds. */
  readonly lifetime: { readonly min: number; readonly max: number };
  /** Mappings of one subscriber. */
  readonly limit: number;
  /** External ports that may be asked for. */
  readonly ports: readonly PortRange[];
}

/** Of all subscribers: half of an address's ports. They are not evicted, and packets need some, too. */
const MAX_MAPPINGS = 32_768;

export class Book {
  readonly #register: Register;
  readonly #log: AgentLog;
  readonly #nowMs: () => number;
  readonly #onLoss: () => void;

  /**
   * @param nowMs CLOCK_MONOTONIC
   * @param onLoss is called when mappings have gone before their time, or the outside address has changed
   * @throws CtnatError if the journal can not be read or written
   */
  constructor(journal: Journal, log: AgentLog, nowMs: () => number, onLoss: () => void) {
    // also what has ended meanwhile: expire() lets it go
    this.#register = new Register(journal, log, nowMs);
    this.#log = log;
    this.#nowMs = nowMs;
    this.#onLoss = onLoss;
  }

  /** Nothing was remembered: clients must be told to ask again. */
  get isNew(): boolean {
    return this.#register.isNew;
  }

  /** Seconds since the mappings were whole (RFC 6887 section 8.5). */
  get epoch(): number {
    return this.#register.epoch;
  }

  get size(): number {
    return this.#register.size;
  }

  /** When the first mapping ends, in milliseconds of CLOCK_MONOTONIC. */
  get nextDeadlineMs(): number | undefined {
    let next: number | undefined;
    for (const { deadlineMs } of this.#register.all) next = Math.min(next ?? deadlineMs, deadlineMs);
    return next;
  }

  /** Makes or renews a mapping. */
  map(wish: MapWish, mapper: Mapper, options: BookOptions): MapResult {
    const { inside, nonce } = wish;
    if (!mapper.maps(inside.protocol)) return { result: PcpResult.UNSUPP_PROTOCOL };
    if (inside.port === 0) return { result: PcpResult.NOT_AUTHORIZED };
    const lifetime = Math.min(options.lifetime.max, Math.max(options.lifetime.min, wish.lifetime));
    this.expire(mapper);
    const outside = mapper.outside(inside);
    const known = this.#register.find(inside);
    if (known) {
      if (known.nonce !== nonce) return refuseFor(known, this.#nowMs());
      if (hasMoved(known, outside)) {
        if (!mapper.release(inside, known.held)) return { result: PcpResult.NO_RESOURCES };
      } else {
        if (!fits(wish, known.held.external)) return { result: PcpResult.CANNOT_PROVIDE_EXTERNAL };
        const kept = mapper.keep(inside, known.held, lifetime);
        if (kept === 'busy') return { result: PcpResult.NO_RESOURCES };
        if (kept === 'kept') return this.#keep(known, lifetime, mapper, known);
      }
      this.#lose([known]);
    }
    if (this.#register.ownedBy(inside.address) >= options.limit) return { result: PcpResult.USER_EX_QUOTA };
    if (this.size >= MAX_MAPPINGS) return { result: PcpResult.NO_RESOURCES };
    if (!outside) return { result: PcpResult.NETWORK_FAILURE };
    const held = this.#make(wish, outside, lifetime, mapper, options);
    if (typeof held === 'number') return { result: held };
    return this.#keep({ inside, nonce, held, deadlineMs: 0 }, lifetime, mapper);
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
      const kept = mapper.keep(inside, adopted, lifetime);
      if (kept === 'kept') return adopted;
      if (kept === 'busy') return PcpResult.NO_RESOURCES;
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
      if (opened === 'limit') return PcpResult.USER_EX_QUOTA;
      if (opened === 'known') {
        const other = mapper.find(inside, outside);
        if (!other) continue;
        if (!fits(wish, other.external)) return PcpResult.CANNOT_PROVIDE_EXTERNAL;
        const kept = mapper.keep(inside, other, lifetime);
        if (kept === 'kept') return other;
        if (kept === 'busy') return PcpResult.NO_RESOURCES;
      } else if (opened !== 'taken') {
        return opened;
      }
    }
    return isStrict && externalPort !== 0 ? PcpResult.CANNOT_PROVIDE_EXTERNAL : PcpResult.NO_RESOURCES;
  }

  /**
   * Remembers what the datapath has made or prolonged. What can not be remembered is not promised: after a restart it
   * would be nobody's, and its client could neither renew nor delete it.
   *
   * @param before what it was, if it was there
   */
  #keep(mapping: PcpMapping, lifetime: number, mapper: Mapper, before?: PcpMapping): MapResult {
    const { inside, held } = mapping;
    const kept = { ...mapping, deadlineMs: this.#nowMs() + lifetime * 1000 };
    if (!this.#register.put(kept)) {
      if (before) mapper.keep(inside, held, this.#secondsLeft(before));
      else mapper.release(inside, held);
      return { result: PcpResult.NO_RESOURCES };
    }
    this.#register.tidy();
    const text = before ? 'pcp: renewed' : 'pcp: mapped';
    this.#log[before ? 'debug' : 'info']({ ...describe(kept), lifetime }, text);
    return { result: PcpResult.SUCCESS, external: held.external, lifetime };
  }

  #secondsLeft({ deadlineMs }: PcpMapping): number {
    return Math.max(0, (deadlineMs - this.#nowMs()) / 1000);
  }

  /**
   * Deletes what is asked for and has this nonce; protocol and port 0 stand for all. What is not there is deleted
   * already; a single one with another nonce is refused, and what can not be deleted just now stays.
   */
  delete(inside: Inside, nonce: string, mapper: Mapper): MapResult {
    this.expire(mapper);
    const known = inside.port === 0 ? undefined : this.#register.find(inside);
    if (known && known.nonce !== nonce) return refuseFor(known, this.#nowMs());
    const victims = known ? [known] : inside.port === 0 ? this.#ownedBy(inside, nonce) : [];
    for (const victim of victims) {
      if (!this.#delete(victim, mapper)) return { result: PcpResult.NO_RESOURCES };
      this.#log.info(describe(victim), 'pcp: deleted');
    }
    this.#register.tidy();
    const external = known?.held.external ?? { address: inside.address, port: 0 };
    return { result: PcpResult.SUCCESS, external, lifetime: 0 };
  }

  /** Both in the journal and in the datapath, or in neither. */
  #delete(mapping: PcpMapping, mapper: Mapper): boolean {
    if (!this.#register.delete(mapping)) return false;
    if (mapper.release(mapping.inside, mapping.held)) return true;
    this.#register.restore(mapping);
    return false;
  }

  #ownedBy({ address, protocol }: Inside, nonce: string): PcpMapping[] {
    return this.#register.all.filter(
      (each) =>
        formatAddress(each.inside.address) === formatAddress(address) &&
        (protocol === 0 || each.inside.protocol === protocol) &&
        each.nonce === nonce,
    );
  }

  /** Lets go what is past its deadline: the datapath lets nobody new in by it any more. */
  expire(mapper: Mapper): void {
    const now = this.#nowMs();
    for (const mapping of this.#register.all) {
      if (mapping.deadlineMs > now) continue;
      mapper.release(mapping.inside, mapping.held);
      this.#register.forget(mapping);
      this.#log.info(describe(mapping), 'pcp: expired');
    }
    this.#register.tidy();
  }

  /**
   * Looks whether the datapath has all that was promised, as it was promised: a flush, or an address that is gone, may
   * have ended some; what packets have changed in the instant in which it was renewed is put right; and an inside host
   * that leaves with another address by now, as a rule was changed, has a mapping that is none.
   */
  check(mapper: Mapper): void {
    const live = this.#register.all.filter(({ deadlineMs }) => deadlineMs > this.#nowMs());
    const lost = live.filter((mapping) => !this.#isWhole(mapping, mapper));
    if (lost.length > 0) this.#lose(lost);
  }

  /** What is busy is whole: the next check sees to it. */
  #isWhole(mapping: PcpMapping, mapper: Mapper): boolean {
    const { inside, held } = mapping;
    if (hasMoved(mapping, mapper.outside(inside))) return !mapper.release(inside, held);
    const seconds = this.#secondsLeft(mapping);
    const found = mapper.look(inside, held, seconds);
    if (found !== 'changed') return found === 'held';
    const kept = mapper.keep(inside, held, seconds);
    if (kept === 'kept') this.#log.debug(describe(mapping), 'pcp: put right');
    return kept !== 'gone';
  }

  /** Promises are broken: the epoch begins anew, by which every client sees that it has to ask again. */
  #lose(mappings: readonly PcpMapping[]): void {
    for (const mapping of mappings) {
      this.#register.forget(mapping);
      this.#log.warn(describe(mapping), 'pcp: lost');
    }
    this.begin();
  }

  /** The epoch begins anew: mappings are lost, or the outside address is another one (RFC 6887 section 8.5). */
  begin(): void {
    this.#register.begin();
    this.#onLoss();
  }
}

/** Whether the inside host leaves with another address by now. None at all may be for a moment. */
function hasMoved({ held }: PcpMapping, outside: Outside | undefined): boolean {
  if (!outside) return false;
  const { family, bytes } = held.external.address;
  return outside.address.family !== family || Buffer.compare(outside.address.bytes, bytes) !== 0;
}

/** Somebody else's, until it ends. */
function refuseFor({ deadlineMs }: PcpMapping, nowMs: number): MapResult {
  return { result: PcpResult.NOT_AUTHORIZED, lifetime: Math.max(1, Math.ceil((deadlineMs - nowMs) / 1000)) };
}

function describe({ inside, held }: PcpMapping): Record<string, string> {
  return {
    proto: protocolName(inside.protocol),
    internal: formatEndpoint(formatAddress(inside.address), inside.port),
    external: formatEndpoint(formatAddress(held.external.address), held.external.port),
  };
}
