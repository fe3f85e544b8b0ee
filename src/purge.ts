// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/**
 * Takes everything below a pin path out of the kernel, whichever version made it. The hooks must be gone already.
 *
 * The kernel frees maps and programs some time after their last user has gone (RCU, and a worker that empties the
 * array of programs), and lists them until then. This waits for it, without opening anything by its id: what opens
 * and closes the array in that time (`bpftool map show` does) can make some kernels keep it for ever, because
 * prog_array_map_clear() of kernel/bpf/arraymap.c takes a reference each time and its worker gives back one.
 */
import { setTimeout } from 'node:timers/promises';
import { BpfMap, BpfProgram, isInKernel, listPins, removePinDirectory, SyscallError } from 'libbpf-ts';

const WAIT_MS = 5000;
const LONGEST_PAUSE_MS = 50;

interface ObjectId {
  readonly kind: 'map' | 'program';
  readonly id: number;
}

/** Removes the pins and returns when what they held is gone, or somebody else still holds it after some seconds. */
export async function purge(pinPath: string): Promise<void> {
  const objects = pinnedObjects(pinPath);
  removePinDirectory(pinPath);
  const end = performance.now() + WAIT_MS;
  for (
    let pause = 1;
    isAnyLeft(objects) && performance.now() < end;
    pause = Math.min(2 * pause, LONGEST_PAUSE_MS)
  ) {
    await setTimeout(pause);
  }
}

function pinnedObjects(pinPath: string): ObjectId[] {
  return listPins(pinPath).flatMap(({ path, kind }): ObjectId[] => {
    if (kind === 'program') {
      using program = BpfProgram.openPinned(path);
      return [{ kind, id: program.id }];
    }
    if (kind !== 'map') return [];
    using map = BpfMap.openPinned(path);
    return [{ kind, id: map.id }, ...programsIn(map)];
  });
}

/** Programs that nothing but an array of programs holds; reading one gives its id. */
function programsIn(map: BpfMap): ObjectId[] {
  if (map.type !== 'prog_array') return [];
  return Array.from({ length: map.maxEntries }, (_, index) =>
    map.get(new Uint8Array(Uint32Array.of(index).buffer)),
  )
    .filter((value) => value !== undefined)
    .map((value) => ({
      kind: 'program',
      id: new DataView(value.buffer, value.byteOffset).getUint32(0, LITTLE_ENDIAN),
    }));
}

const LITTLE_ENDIAN = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;

function isAnyLeft(objects: readonly ObjectId[]): boolean {
  try {
    return objects.some(({ kind, id }) => id > 0 && isInKernel(kind, id));
  } catch (error) {
    // only CAP_SYS_ADMIN may look; without it nobody can be told more than that the pins are gone
    if (error instanceof SyscallError && error.errnoName === 'EPERM') return false;
    throw error;
  }
}
