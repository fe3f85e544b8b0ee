// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/**
 * Mappings that are asked for, in the datapath: endpoint-independent ones like those that packets make (bpf/endpoint.h),
 * but with a deadline of their own (CT_FIXED_TIMEOUT). They are claimed, found and ended as those are.
 */
import { type Address, compareAddresses, formatAddress } from '../address.js';
import type { Datapath } from '../datapath.js';
import { addressWords, edit } from '../edit-request.js';
import { timeoutTicks } from '../flow-insert.js';
import { FreeSlots, type SlotPlace } from '../free-slots.js';
import {
  CtDir,
  CtStatus,
  EditOp,
  type EditRequest,
  EditResult,
  FLOW,
  FlowFlags,
  NatType,
} from '../generated/layouts.gen.js';
import { masquerades } from '../iface-entry.js';
import { TCP, UDP, UDPLITE } from '../protocol.js';
import { RawFlow } from '../raw-flow.js';
import { SlotReader } from '../slot-reader.js';
import type { Attachment, State } from '../state.js';
import { Sweeper } from '../sweeper.js';
import { nowTicks, ticksOfMs } from '../ticks.js';
import { tupleKeys } from '../tuple-keys.js';
import { TupleTable } from '../tuple-table.js';
import { wordsAddress } from '../words.js';
import { hostListens, socketsOnce } from './host-ports.js';
import type { Held, Inside, Mapper, NotOpened, Outside } from './mapper.js';
import { isForwarded, snatOutside, sourceRule } from './outside.js';

/** Other CPUs take slots, too, and hold an endpoint for an instant. */
const TRIES = 32;

/** A tick ago, in 32 bits. */
const AT_ONCE = 0xffff_ffff;

/** Slots that one request looks at one after the other, when none at random was free: the next one goes on behind. */
const WALK = 4096;

/** How far a deadline may be from the one that was promised. */
const TOLERANCE_TICKS = ticksOfMs(2000);

/** Where requests look for free slots, by family. */
export type SlotPlaces = Record<4 | 6, SlotPlace>;

export function slotPlaces(): SlotPlaces {
  return { 4: { next: 0, walked: 0 }, 6: { next: 0, walked: 0 } };
}

const NO_WORDS = [0, 0, 0, 0];

export class KernelMapper implements Mapper {
  readonly #datapath: Datapath;
  readonly #state: State;
  readonly #iface: Attachment | undefined;
  readonly #sockets = socketsOnce();
  readonly #places: SlotPlaces;
  readonly #outsides = new Map<string, Outside>();

  /**
   * @param outside name of the interface by which the inside hosts' packets leave
   * @param places where it looks for free slots, for the next one to go on
   */
  constructor(datapath: Datapath, state: State, outside: string, places = slotPlaces()) {
    this.#datapath = datapath;
    this.#places = places;
    this.#state = state;
    this.#iface = state.interfaces.find(({ name, ifindex }) => name === outside && ifindex !== 0);
  }

  maps(protocol: number): boolean {
    const mapping = this.#iface?.mapping;
    if (protocol === TCP) return mapping?.tcp === 'eim';
    return (protocol === UDP || protocol === UDPLITE) && mapping?.udp === 'eim';
  }

  outside(inside: Inside): Outside | undefined {
    const key = `${formatAddress(inside.address)} ${inside.protocol}`;
    const known = this.#outsides.get(key);
    const outside = known ?? this.#findOutside(inside);
    if (outside) this.#outsides.set(key, outside);
    return outside;
  }

  #findOutside(inside: Inside): Outside | undefined {
    const iface = this.#iface;
    if (!iface) return undefined;
    const rule = sourceRule(this.#state.rules, iface.name, inside);
    if (rule?.kind === 'netmap') return undefined;
    if (rule?.kind === 'snat') return snatOutside(rule, inside.address);
    if (!rule && !masquerades(iface.masquerade, familyOf(inside))) return undefined;
    const entry = this.#datapath.maps.ifaces.get(iface.ifindex);
    const words = inside.address.family === 'ipv4' ? [entry?.addr4 ?? 0] : (entry?.addr6 ?? NO_WORDS);
    if (words.every((word) => word === 0)) return undefined;
    const address = wordsAddress(words, inside.address.family);
    const ports = rule ? rule.toPorts && [rule.toPorts] : iface.ports;
    return { address, ranges: ports ?? [] };
  }

  find(inside: Inside, outside: Outside): Held | undefined {
    const family = familyOf(inside);
    const key = insideKey(inside, outside.address);
    const ref = new TupleTable(this.#datapath, family).find(key);
    if (!ref) return undefined;
    const { slot, gen } = ref;
    const raw = this.#slot(family, slot);
    if (!raw.isEndpoint || raw.gen !== gen) return undefined;
    return { slot, gen, external: { address: outside.address, port: raw.dport(CtDir.REPLY) } };
  }

  open(inside: Inside, outside: Outside, port: number, seconds: number): Held | NotOpened {
    const { protocol } = inside;
    const { address } = outside;
    const ifname = this.#iface?.name ?? '';
    if (isForwarded(this.#state.rules, ifname, protocol, address, port)) return 'taken';
    if (hostListens(protocol, address, port, this.#sockets)) return 'taken';
    const family = familyOf(inside);
    const request = this.#request(inside, outside, port, seconds);
    const { maps, settings } = this.#datapath;
    const place = this.#places[family];
    const free = new FreeSlots(maps[`flows${family}`].map, settings[`slots${family}`], WALK, place);
    for (let i = 0; i < TRIES; i++) {
      const slot = free.find();
      if (slot === undefined) return 'full';
      const done = edit(this.#datapath, family, { ...request, slot });
      switch (done.result) {
        case EditResult.DONE:
          return { slot, gen: done.gen, external: { address, port } };
        case EditResult.NO_ROOM:
          return 'full';
        case EditResult.LIMIT:
          return 'limit';
        case EditResult.EXISTS:
          if (this.#endExpired(family, done)) continue;
          return this.find(inside, outside) ? 'known' : 'taken';
      }
    }
    return 'full';
  }

  #request({ address, protocol, port }: Inside, outside: Outside, external: number, seconds: number) {
    const { rules } = this.#state;
    const rule = sourceRule(rules, this.#iface?.name ?? '', { address, protocol, port });
    const daddr = addressWords(outside.address);
    return {
      op: EditOp.OPEN,
      timeout: timeoutTicks(seconds),
      proto: protocol,
      nat: rule?.kind === 'snat' ? NatType.SNAT : NatType.MASQUERADE,
      flags: FlowFlags.ENDPOINT,
      status: CtStatus.FIXED_TIMEOUT,
      ifindex: this.#iface?.ifindex ?? 0,
      tuple: [
        { saddr: addressWords(address), daddr, sport: port, dport: 0 },
        { saddr: NO_WORDS, daddr, sport: 0, dport: external },
      ],
    } satisfies Partial<EditRequest>;
  }

  /** Closes a mapping without flows whose time is over and which no sweep has met yet. */
  #endExpired(family: 4 | 6, { heldSlot, heldGen }: EditRequest): boolean {
    const raw = this.#slot(family, heldSlot);
    if (!raw.isUsed || raw.gen !== heldGen) return true;
    if (raw.ticksLeft(nowTicks()) >= 0 || raw.endpointFlows > 0) return false;
    return new Sweeper(this.#datapath).deleteOne(family, heldSlot, heldGen);
  }

  /** A packet that has seen the mapping as it was may have the last word: then once more (bpf/edit.h). */
  keep(inside: Inside, held: Held, seconds: number): 'kept' | 'gone' | 'busy' {
    for (let i = 0; i < TRIES && this.look(inside, held, seconds) !== 'gone'; i++) {
      const { result } = this.#keep(inside, held, CtStatus.FIXED_TIMEOUT, timeoutTicks(seconds));
      if (result === EditResult.GONE) return 'gone';
      if (result === EditResult.DONE && this.look(inside, held, seconds) === 'held') return 'kept';
    }
    return this.look(inside, held, seconds) === 'gone' ? 'gone' : 'busy';
  }

  release(inside: Inside, held: Held): boolean {
    for (let i = 0; i < TRIES; i++) {
      const { result } = this.#keep(inside, held, 0, AT_ONCE);
      if (result === EditResult.BUSY) continue;
      if (result === EditResult.DONE) {
        new Sweeper(this.#datapath).deleteOne(familyOf(inside), held.slot, held.gen);
      }
      return true;
    }
    return false;
  }

  #keep(inside: Inside, { slot, gen }: Held, status: number, timeout: number): EditRequest {
    return edit(this.#datapath, familyOf(inside), { op: EditOp.KEEP, slot, gen, status, timeout });
  }

  look(inside: Inside, { slot, gen, external }: Held, seconds: number): 'held' | 'changed' | 'gone' {
    const raw = this.#slot(familyOf(inside), slot);
    const isThere =
      raw.isEndpoint &&
      raw.gen === gen &&
      raw.proto === inside.protocol &&
      raw.sport(CtDir.ORIGINAL) === inside.port &&
      raw.dport(CtDir.REPLY) === external.port &&
      compareAddresses(addressAt(raw, raw.tuple[CtDir.ORIGINAL].saddr), inside.address) === 0;
    if (!isThere) return 'gone';
    const isAskedFor = (raw.status & CtStatus.FIXED_TIMEOUT) !== 0;
    const differs = Math.abs(raw.ticksLeft(nowTicks()) - timeoutTicks(seconds));
    return isAskedFor && differs <= TOLERANCE_TICKS ? 'held' : 'changed';
  }

  #slot(family: 4 | 6, slot: number): RawFlow {
    return new SlotReader(this.#datapath.maps, family).get(slot);
  }
}

function familyOf({ address }: Inside): 4 | 6 {
  return address.family === 'ipv4' ? 4 : 6;
}

function addressAt(raw: RawFlow, at: number): Address {
  return { family: raw.familyName, bytes: raw.bytes.slice(at, at + raw.addressSize) };
}

/** The key by which the inside endpoint's flows find their mapping (bpf/endpoint.h, endpoint_inside()). */
function insideKey(inside: Inside, outside: Address): Uint8Array {
  const raw = new RawFlow(familyOf(inside));
  const { saddr, daddr, sport } = raw.tuple[CtDir.ORIGINAL];
  raw.bytes.set(inside.address.bytes, saddr);
  raw.bytes.set(outside.bytes, daddr);
  raw.view.setUint16(sport, inside.port);
  raw.bytes[FLOW.offset.proto] = inside.protocol;
  raw.bytes[FLOW.offset.nat] = NatType.MASQUERADE;
  raw.bytes[FLOW.offset.flags] = FlowFlags.ENDPOINT;
  return tupleKeys(raw)[0]!.bytes;
}
