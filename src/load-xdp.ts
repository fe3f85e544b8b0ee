// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/**
 * Puts the programs of XDP mode beside those that are loaded, on the same maps. They are pinned in a folder of their
 * own, which is moved to its place when it is whole:
 *
 *   PINPATH/xdp/ct_xdp      what is attached
 *   PINPATH/xdp/xdp_calls   the programs that it goes on to, which go with this map
 */
import { existsSync, mkdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { BpfMap, BpfObject, removePinDirectory, TypedMap } from 'libbpf-ts';
import { bpfObject } from './bpf-object.js';
import type { FlavourName } from './flavours.js';
import { Call, maps } from './generated/layouts.gen.js';
import { XDP_PROGRAM } from './program-names.js';

const XDP_CALLS = 'xdp_calls';

/** Whether the programs of XDP mode are loaded. */
export function isXdpLoaded(pinPath: string): boolean {
  return existsSync(join(pinPath, 'xdp'));
}

/** Loads and pins, all or nothing. The caller holds the lock of the pin path, below which the datapath is loaded. */
export async function loadXdp(pinPath: string, flavour: FlavourName): Promise<void> {
  const object = BpfObject.open(await bpfObject(flavour, 'xdp'));
  const beside = join(pinPath, 'loading-xdp');
  const shared: BpfMap[] = [];
  try {
    removePinDirectory(beside);
    for (const [name, map] of object.maps) {
      const path = join(pinPath, 'maps', name);
      if (!existsSync(path)) continue; // its own
      const pinned = BpfMap.openPinned(path);
      shared.push(pinned);
      map.reuse(pinned);
    }
    object.load();
    fillCalls(object);
    mkdirSync(beside, { mode: 0o700 });
    object.map(XDP_CALLS).map.pin(join(beside, XDP_CALLS));
    object.program(XDP_PROGRAM).pin(join(beside, XDP_PROGRAM));
    renameSync(beside, join(pinPath, 'xdp'));
  } catch (error) {
    removePinDirectory(beside);
    throw error;
  } finally {
    for (const map of shared) map.close();
    object.close();
  }
}

/** Not every call has a program: XDP leaves some situations to TC. */
function fillCalls(object: BpfObject): void {
  const calls = new TypedMap(object.map(XDP_CALLS).map, maps.calls.key, maps.calls.value);
  for (const [name, index] of Object.entries(Call)) {
    for (const [i, family] of [4, 6].entries()) {
      const program = object.programs.get(`call_${name.toLowerCase()}${family}`);
      if (program) calls.set(index + i, program.fd);
    }
  }
}
