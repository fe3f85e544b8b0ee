// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** Detaches interfaces; with purge, takes everything out of the kernel. */
import { existsSync } from 'node:fs';
import { currentNetnsInode, isBpffs, listLinks, withNetns } from 'libbpf-ts';
import { Change } from './change.js';
import { Datapath } from './datapath.js';
import { CtnatError } from './errors.js';
import { closePort } from './forward-port.js';
import { Hooks } from './hooks.js';
import { Ledger } from './ledger.js';
import { withChangeLock } from './lock.js';
import { findNetns } from './network.js';
import { requireCapabilities } from './privileges.js';
import { purge } from './purge.js';
import { writeRules } from './rule-bank.js';
import type { State } from './state.js';

/** See Product.detach(). */
export async function detach(
  pinPath: string,
  names: readonly string[] | 'all',
  { purge: isPurge }: { readonly purge: boolean },
): Promise<string[]> {
  requireCapabilities(names === 'all' ? 'detach' : `detach ${names.join(' ')}`, 'CAP_BPF', 'CAP_NET_ADMIN');
  if (!existsSync(pinPath) || !isBpffs(pinPath)) return [];
  if (names === 'all') return await withChangeLock(pinPath, () => detachAll(pinPath, { isPurge }));
  if (!Datapath.isLoaded(pinPath)) return [];
  const detached = await Change.ofLoaded(pinPath, `detach ${names.join(' ')}`, (change) => {
    const { interfaces } = change.state;
    const leave = interfaces.filter(({ name }) => names.includes(name));
    const stay = interfaces.filter((each) => !leave.includes(each));
    if (isPurge && stay.length > 0) {
      const others = stay.map(({ name }) => name).join(', ');
      throw new CtnatError(
        `can not purge while ${others} would stay attached; use ctnat detach --all --purge, or leave out --purge`,
      );
    }
    change.settle({ ...change.state, interfaces: stay });
    return leave.map(({ name }) => name);
  });
  if (isPurge) await withChangeLock(pinPath, () => detachAll(pinPath, { isPurge }));
  return detached;
}

/**
 * Needs nothing of the maps, so that what another version has made can be removed as well; and works from any network
 * namespace.
 */
async function detachAll(pinPath: string, { isPurge }: { readonly isPurge: boolean }): Promise<string[]> {
  const state = readState(pinPath);
  inNetnsOf(state, () => removeHooks(pinPath, state));
  if (isPurge) await purge(pinPath);
  else if (Datapath.isLoaded(pinPath)) forget(pinPath, state);
  return state?.interfaces.map(({ name }) => name) ?? [];
}

/** What is remembered; undefined if it can't be read: then what is found must do. */
function readState(pinPath: string): State | undefined {
  if (!Ledger.isThere(pinPath)) return undefined;
  try {
    using ledger = Ledger.open(pinPath);
    return ledger.read();
  } catch {
    return undefined;
  }
}

/** Only filters need their own namespace: a link can be let go of from anywhere. */
function inNetnsOf(state: State | undefined, work: () => void): void {
  const hasFilters = state?.interfaces.some(({ hook }) => hook === 'clsact');
  const path =
    state && hasFilters && state.netns !== currentNetnsInode() ? findNetns(state.netns) : undefined;
  if (path === undefined) work();
  else withNetns(path, work);
}

function removeHooks(pinPath: string, state: State | undefined): void {
  using hooks = new Hooks(pinPath);
  const isHere = state === undefined || state.netns === currentNetnsInode();
  const links = isHere ? listLinks() : [];
  const remembered = state?.interfaces ?? [];
  const indexes = new Set([
    ...hooks.linkedInterfaces(),
    ...remembered.map(({ ifindex }) => ifindex),
    // without a memory every interface is looked at for filters
    ...(state ? [] : links.map(({ ifindex }) => ifindex)),
  ]);
  for (const ifindex of indexes) {
    hooks.detach(ifindex, {
      isThere: links.some((link) => link.ifindex === ifindex),
      withQdisc: remembered.some((each) => each.ifindex === ifindex && each.madeQdisc),
    });
  }
}

/** Leaves flows and rules for the next attach. */
function forget(pinPath: string, state: State | undefined): void {
  using datapath = Datapath.open(pinPath);
  for (const ifindex of datapath.maps.ifaces.keys()) closePort(datapath, ifindex);
  datapath.maps.ifaces.clear();
  writeRules(datapath, { entries: [], pool: [] });
  if (!state) return;
  using ledger = Ledger.open(pinPath);
  ledger.write({ ...state, netns: 0, interfaces: [] });
}
