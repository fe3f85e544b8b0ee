// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/**
 * Masqueraded flows, and endpoint-independent mappings, whose outside address this host has lost: nothing can answer them any more, and what keeps
 * sending would keep them alive for ever. A flow whose interface has no address at the moment is left: the same one
 * may come back.
 */
import { parseAddress } from './address.js';
import type { Datapath } from './datapath.js';
import { CtDir, FlowFlags, NatType, SweepMode } from './generated/layouts.gen.js';
import type { Network } from './network.js';
import { ownAddresses } from './own-address.js';
import type { RawFlow } from './raw-flow.js';
import { SlotReader } from './slot-reader.js';
import type { State } from './state.js';
import { Sweeper } from './sweeper.js';

const FLOWS_PER_STEP = 4096;

/** Addresses as hexadecimal text, by ifindex. */
type Owned = ReadonlyMap<number, ReadonlySet<string>>;

/** Tears these flows down, in steps between which the caller may do something else. Returns how many. */
export function* dropOrphans(
  datapath: Datapath,
  state: State,
  network: Network,
): Generator<void, number, undefined> {
  const sweeper = new Sweeper(datapath);
  let dropped = 0;
  for (const family of [4, 6] as const) {
    const owned = ownedAddresses(state, network, family);
    const anywhere = new Set([...owned.values()].flatMap((addresses) => [...addresses]));
    const endpoints: { slot: number; gen: number }[] = [];
    let seen = 0;
    for (const raw of new SlotReader(datapath.maps, family).held()) {
      if (++seen % FLOWS_PER_STEP === 0) yield;
      if (raw.nat !== NatType.MASQUERADE) continue;
      // an interface that came back has another index than its flows remember
      const addresses = owned.get(raw.ifindex) ?? anywhere;
      if (addresses.size === 0 || addresses.has(outsideAddress(raw))) continue;
      if (raw.isEndpoint) endpoints.push({ slot: raw.slot, gen: raw.gen });
      else if (sweeper.deleteOne(family, raw.slot, raw.gen, SweepMode.ADDRESS)) dropped++;
    }
    // its flows go first; what is no longer there closed with the last of them
    for (const { slot, gen } of endpoints) sweeper.deleteOne(family, slot, gen);
  }
  return dropped;
}

function ownedAddresses(state: State, { addresses }: Network, family: 4 | 6): Owned {
  return new Map(
    state.interfaces
      .filter(({ ifindex }) => ifindex !== 0)
      .map(({ ifindex }) => {
        const own = ownAddresses(addresses, ifindex, family === 4 ? 'ipv4' : 'ipv6');
        return [ifindex, new Set(own.map((text) => hex(parseAddress(text).bytes)))];
      }),
  );
}

/** What the outside sends to: of a flow that began there, by its first packet. */
function outsideAddress(raw: RawFlow): string {
  const cameIn =
    (raw.flags & (FlowFlags.DESTINATION_ENDPOINT | FlowFlags.SOURCE_ENDPOINT)) ===
    FlowFlags.DESTINATION_ENDPOINT;
  const at = raw.tuple[cameIn ? CtDir.ORIGINAL : CtDir.REPLY].daddr;
  return hex(raw.bytes.subarray(at, at + raw.addressSize));
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('hex');
}
