// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** Follows the network: addresses that change, interfaces that go, come back or are renamed. */
import type { NetworkEvent } from 'libbpf-ts';
import { formatAddress } from './address.js';
import type { AgentLog } from './agent-log.js';
import { Change } from './change.js';
import { Datapath } from './datapath.js';
import { Ledger } from './ledger.js';
import type { Network } from './network.js';
import { dropOrphans } from './orphans.js';
import type { AddressChange } from './settle.js';
import type { State } from './state.js';
import { runSteps } from './steps.js';
import { wordsAddress } from './words.js';

/** Makes what is attached fit the network as it is now. `isFirst`: nobody may have followed it until now. */
export async function followNetwork(
  pinPath: string,
  log: AgentLog,
  { isFirst = false }: { readonly isFirst?: boolean } = {},
): Promise<void> {
  const followed = await Change.ofLoaded(pinPath, 'follow the network', (change) => {
    const remembered = change.ledger.read();
    const { state, addressChanges } = change.settle(change.state);
    return { remembered, state, addressChanges, network: change.network };
  });
  const { remembered, state, addressChanges, network } = followed;
  const hasMoved = logMoves(remembered, state, log);
  for (const change of addressChanges) logAddresses(change, log);
  if (isFirst || hasMoved || addressChanges.length > 0) await drop(pinPath, state, network, log);
}

async function drop(pinPath: string, state: State, network: Network, log: AgentLog): Promise<void> {
  using datapath = Datapath.open(pinPath);
  const flows = await runSteps(dropOrphans(datapath, state, network));
  if (flows > 0) log.info({ flows }, 'ended flows of addresses that are gone');
}

/** Returns whether an interface has come back as another one. */
function logMoves(before: State, after: State, log: AgentLog): boolean {
  let hasMoved = false;
  for (const [i, { name, ifindex }] of after.interfaces.entries()) {
    const old = before.interfaces[i];
    if (!old) continue;
    if (old.name !== name) log.info(`${old.name} is called ${name} now`);
    if (old.ifindex === ifindex) continue;
    if (ifindex === 0) log.warn(`${name} has gone; it is attached again when it comes back`);
    else log.info(`attached ${name}, which has come back`);
    hasMoved ||= ifindex !== 0;
  }
  return hasMoved;
}

function logAddresses({ before, after }: AddressChange, log: AgentLog): void {
  const text = (family: 'ipv4' | 'ipv6', words: readonly number[]) =>
    words.every((word) => word === 0) ? 'none' : formatAddress(wordsAddress(words, family));
  for (const [family, old, next] of [
    ['ipv4', text('ipv4', [before.addr4]), text('ipv4', [after.addr4])],
    ['ipv6', text('ipv6', before.addr6), text('ipv6', after.addr6)],
  ] as const) {
    if (old !== next) log.info(`${after.name}: ${family} address ${old} -> ${next}`);
  }
}

/** Whether one of the events is about an interface that is attached, or shall be. */
export function concerns(events: readonly NetworkEvent[], { interfaces }: State): boolean {
  const indexes = new Set(interfaces.map(({ ifindex }) => ifindex));
  const names = new Set(interfaces.map(({ name }) => name));
  return events.some((event) => {
    if (event.type === 'resync') return true;
    if (event.type === 'link') return indexes.has(event.link.ifindex) || names.has(event.link.name);
    return event.type === 'address' && indexes.has(event.address.ifindex);
  });
}

/** The state as it is remembered. */
export function rememberedState(pinPath: string): State {
  using ledger = Ledger.open(pinPath);
  return ledger.read();
}
