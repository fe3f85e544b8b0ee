// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Where a packet enters the datapath: at its hooks as they are, or at hooks that never take the short way
// (bpf/test/long_way.bpf.c).
import { type BpfObject, TypedMap, u32 } from 'libbpf-ts';
import { Call, HookDir } from '../../../src/generated/layouts.gen.js';
import { openBuilt } from './load.js';

/** Which way packets go: as the hooks have it, as those of TC with redirect have it, or always the long one. */
export type Way = 'any' | 'redirect' | 'long';

export interface Hooks {
  /** Programs by enum hook_dir. */
  readonly fds: Readonly<Record<HookDir, number>>;
  close(): void;
}

/** The hooks of a loaded datapath. The caller closes them before it. */
export function openHooks(datapath: BpfObject, way: Way): Hooks {
  if (way !== 'long') {
    const fd = (name: string): number => datapath.program(name).fd;
    const fds = {
      [HookDir.INGRESS]: fd(way === 'any' ? 'ct_ingress' : 'ct_ingress_redirect'),
      [HookDir.EGRESS]: fd('ct_egress'),
    };
    return { fds: fds as Hooks['fds'], close: () => undefined };
  }
  const long = openBuilt('test/long_way.bpf.o');
  long.load();
  const programs = new TypedMap(long.map('long_way').map, u32, u32);
  for (const [call, name] of LONG_WAY) {
    programs.set(call, datapath.program(`${name}4`).fd);
    programs.set(call + 1, datapath.program(`${name}6`).fd);
  }
  closeShortBirth(datapath);
  const fds = {
    [HookDir.INGRESS]: long.program('long_ingress').fd,
    [HookDir.EGRESS]: long.program('long_egress').fd,
  };
  return { fds: fds as Hooks['fds'], close: () => long.close() };
}

/** New flows are made by one program after the other, on every flavour (bpf/birth.h). */
function closeShortBirth(datapath: BpfObject): void {
  const calls = new TypedMap(datapath.map('calls').map, u32, u32);
  for (const v6 of [0, 1]) calls.delete(Call.BIRTH + v6);
}

const LONG_WAY = [
  [Call.INGRESS, 'call_ingress'],
  [Call.EGRESS, 'call_egress'],
] as const;

/**
 * Takes the long way's programs away: what does not go the short way is dropped as DROP_INTERNAL.
 * @returns what puts them back
 */
export function closeLongWay(datapath: BpfObject): () => void {
  const calls = new TypedMap(datapath.map('calls').map, u32, u32);
  for (const [call] of LONG_WAY) {
    calls.delete(call);
    calls.delete(call + 1);
  }
  return () => {
    for (const [call, name] of LONG_WAY) {
      calls.set(call, datapath.program(`${name}4`).fd);
      calls.set(call + 1, datapath.program(`${name}6`).fd);
    }
  };
}
