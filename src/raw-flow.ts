// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/**
 * One slot of a flow map as bytes (struct flow4, flow6), copied to where no packet changes it any more. What is
 * read of it is read in place: a listing of a million flows decodes only what it shows.
 */
import { endianness } from 'node:os';
import type { Family } from './address.js';
import type { VerificationTags, ZoneDirection } from './flow.js';
import {
  CtDir,
  CtStatus,
  FLOW,
  FLOW_COUNT,
  FLOW_EXTRA,
  FLOW4,
  FLOW6,
  FlowFlags,
  FlowLock,
  NatLimit,
  SCTP_TRACK,
  TUPLE4,
  TUPLE6,
} from './generated/layouts.gen.js';

/** Fields that are no addresses or ports are in this machine's byte order. */
const LITTLE_ENDIAN = endianness() === 'LE';

const WORD = Int32Array.BYTES_PER_ELEMENT;
const LOW = LITTLE_ENDIAN ? 0 : 1;
const { offset: HEAD } = FLOW;
const { offset: EXTRA } = FLOW_EXTRA;

/** An association's track lies where a TCP connection has its own. */
const VTAGS = HEAD.tcp + SCTP_TRACK.offset.vtag;

export type FlowDir = typeof CtDir.ORIGINAL | typeof CtDir.REPLY;

/** Where a family's tuples are, in bytes from the beginning of the slot. */
export interface TuplePlaces {
  readonly saddr: number;
  readonly daddr: number;
  readonly sport: number;
  readonly dport: number;
}

function places(base: number, tuple: typeof TUPLE4 | typeof TUPLE6): readonly [TuplePlaces, TuplePlaces] {
  const at = (dir: FlowDir): TuplePlaces => {
    const start = base + dir * tuple.size;
    const { saddr, daddr, sport, dport } = tuple.offset;
    return { saddr: start + saddr, daddr: start + daddr, sport: start + sport, dport: start + dport };
  };
  return [at(CtDir.ORIGINAL), at(CtDir.REPLY)];
}

export const SLOT_LAYOUTS = {
  4: { size: FLOW4.size, addressSize: 4, tuple: places(FLOW4.offset.tuple, TUPLE4) },
  6: { size: FLOW6.size, addressSize: 16, tuple: places(FLOW6.offset.tuple, TUPLE6) },
} as const;

/** The word that holds generation and status: one load tells whether a slot is in use, and whose. */
export const USE_WORD = HEAD.gen / WORD;
export const DEADLINE_WORD = HEAD.deadline / WORD;
const STATUS_SHIFT = LITTLE_ENDIAN ? 16 : 0;
const GEN_SHIFT = LITTLE_ENDIAN ? 0 : 16;

/** What a slot may hold, as bits of its status. */
export const HOLDS = { flow: CtStatus.CONFIRMED, endpoint: CtStatus.ENDPOINT } as const;

/** Whether a slot holds a flow, or what `kinds` names (HOLDS). */
export function isUsed(useWord: number, kinds: number = HOLDS.flow): boolean {
  return ((useWord >>> STATUS_SHIFT) & kinds) !== 0;
}

export function genOf(useWord: number): number {
  return (useWord >>> GEN_SHIFT) & 0xffff;
}

/** A direction's counts in a slot, in bytes from its beginning: the replies' come first (bpf/slot.h, counts_of). */
export function countsAt(dir: FlowDir): number {
  return HEAD.counts + (dir ^ CtDir.REPLY) * FLOW_COUNT.size;
}

/** The first words of the counters of 64 bits. */
const COUNTER_WORDS = [CtDir.ORIGINAL, CtDir.REPLY]
  .flatMap((dir) => [FLOW_COUNT.offset.packets, FLOW_COUNT.offset.bytes].map((at) => countsAt(dir) + at))
  .map((at) => at / WORD);

/** Copies that a slot may spoil, by changing hands meanwhile, before it counts as free. */
const COPY_ATTEMPTS = 4;

export class RawFlow {
  readonly family: 4 | 6;
  /** Where the rest of what is known of the flow (struct flow_extra) lies, in bytes: behind the slot. */
  readonly extra: number;
  readonly familyName: Family;
  readonly tuple: readonly [TuplePlaces, TuplePlaces];
  readonly addressSize: 4 | 16;
  readonly words: Int32Array<ArrayBuffer>;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly view: DataView<ArrayBuffer>;
  /** Index in the map of what the bytes show. */
  slot = 0;

  constructor(family: 4 | 6) {
    const { size, addressSize, tuple } = SLOT_LAYOUTS[family];
    this.family = family;
    this.familyName = family === 4 ? 'ipv4' : 'ipv6';
    this.addressSize = addressSize;
    this.tuple = tuple;
    this.extra = size;
    this.words = new Int32Array((size + FLOW_EXTRA.size) / WORD);
    this.bytes = new Uint8Array(this.words.buffer);
    this.view = new DataView(this.words.buffer);
  }

  /**
   * Copies a slot that programs write to meanwhile. A teardown clears the status before it touches anything else,
   * and changes the generation before the slot can be claimed: a copy between two looks that agree on both is of
   * one flow, its extra with it, which lies in a map of its own. Its counters may still be from different packets.
   *
   * @param extras the words of that map, where the slot's begin at `extra`
   * @returns false if the slot holds nothing of these kinds
   */
  copyFrom(
    source: Int32Array,
    start: number,
    extras: Int32Array,
    extra: number,
    kinds: number = HOLDS.flow,
  ): boolean {
    const { words } = this;
    const own = this.extra / WORD;
    for (let attempt = 0; attempt < COPY_ATTEMPTS; attempt++) {
      const before = Atomics.load(source, start + USE_WORD);
      if (!isUsed(before, kinds)) return false;
      for (let i = 0; i < own; i++) words[i] = Atomics.load(source, start + i);
      for (let i = own; i < words.length; i++) words[i] = Atomics.load(extras, extra + i - own);
      const after = Atomics.load(source, start + USE_WORD);
      if (isUsed(after, kinds) && genOf(after) === genOf(before) && this.#countersAreWhole(source, start)) {
        return true;
      }
    }
    return false;
  }

  /** A counter whose lower word has run over since may have been read half before, half after. */
  #countersAreWhole(source: Int32Array, start: number): boolean {
    for (const word of COUNTER_WORDS) {
      const low = word + LOW;
      if (Atomics.load(source, start + low) >>> 0 < this.words[low]! >>> 0) return false;
    }
    return true;
  }

  /** Holds a flow or an endpoint, expired or not. */
  get isUsed(): boolean {
    return isUsed(this.words[USE_WORD]!, HOLDS.flow | HOLDS.endpoint);
  }

  /** Holds an endpoint-independent mapping. */
  get isEndpoint(): boolean {
    return isUsed(this.words[USE_WORD]!, HOLDS.endpoint);
  }

  /** Flows that count on the endpoint. */
  get endpointFlows(): number {
    return Math.max(0, (this.words[HEAD.lock / WORD]! & FlowLock.CLAIM_MASK) - 1);
  }

  get gen(): number {
    return genOf(this.words[USE_WORD]!);
  }

  get status(): number {
    return (this.words[USE_WORD]! >>> STATUS_SHIFT) & 0xffff;
  }

  /** Ticks until it expires; negative: it has. */
  ticksLeft(now: number): number {
    return (this.words[DEADLINE_WORD]! - now) | 0;
  }

  /** Ticks since its first packet; 0 if that came after `now` was read. */
  ticksOld(now: number): number {
    return Math.max(0, (now - this.words[HEAD.created / WORD]!) | 0);
  }

  get proto(): number {
    return this.bytes[HEAD.proto]!;
  }

  /** enum ct_tcp_state; of ICMP the request's type. */
  get state(): number {
    return this.bytes[HEAD.state]!;
  }

  /** enum nat_type. */
  get nat(): number {
    return this.bytes[HEAD.nat]! & NatLimit.TYPE_MASK;
  }

  /** How much of its source is the subscriber that it is counted for (enum nat_limit); 0: it is not counted. */
  get limit(): number {
    return this.bytes[HEAD.nat]! >> NatLimit.LIMIT_SHIFT;
  }

  /** enum flow_flags. */
  get flags(): number {
    return this.bytes[HEAD.flags]!;
  }

  /** Of both directions, or of the one that zoneDirection names. */
  get zone(): number {
    return this.view.getUint16(HEAD.zone, LITTLE_ENDIAN);
  }

  /** The direction that the zone is of, where the other one is in zone 0; undefined: it is of both. */
  get zoneDirection(): ZoneDirection | undefined {
    if (this.flags & FlowFlags.ZONE_ORIGINAL) return 'original';
    return this.flags & FlowFlags.ZONE_REPLY ? 'reply' : undefined;
  }

  /** In which one of its tuples is looked up. */
  zoneOf(dir: FlowDir): number {
    const { zoneDirection } = this;
    const isHere = zoneDirection === undefined || (zoneDirection === 'original') === (dir === CtDir.ORIGINAL);
    return isHere ? this.zone : 0;
  }

  get ifindex(): number {
    return this.words[(this.extra + EXTRA.ifindex) / WORD]!;
  }

  get mark(): number {
    return this.words[(this.extra + EXTRA.mark) / WORD]! >>> 0;
  }

  /** SCTP's verification tags, of each direction's packets; 0: not known. */
  get vtags(): VerificationTags {
    return [this.words[VTAGS / WORD]! >>> 0, this.words[VTAGS / WORD + 1]! >>> 0];
  }

  packets(dir: FlowDir): number {
    return this.#counter(countsAt(dir) + FLOW_COUNT.offset.packets);
  }

  bytesOf(dir: FlowDir): number {
    return this.#counter(countsAt(dir) + FLOW_COUNT.offset.bytes);
  }

  sport(dir: FlowDir): number {
    return this.view.getUint16(this.tuple[dir].sport);
  }

  dport(dir: FlowDir): number {
    return this.view.getUint16(this.tuple[dir].dport);
  }

  /** Exact up to 2^53, and without a bigint for each of four million counters. */
  #counter(at: number): number {
    const word = at / WORD;
    return (this.words[word + LOW]! >>> 0) + (this.words[word + 1 - LOW]! >>> 0) * 2 ** 32;
  }
}
