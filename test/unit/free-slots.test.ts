// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Looking for free slots of a flow table, of which one look is one system call.
import type { BpfMap } from 'libbpf-ts';
import { test } from 'tap';
import { FreeSlots } from '../../src/free-slots.js';
import { FLOW, FLOW4 } from '../../src/generated/layouts.gen.js';

const SLOTS = 100_000;
const WALK = 1000;
/** At random, and the one that is likely. */
const LOOKS_BEFORE = 513;

/** A table in which these slots are free. */
function table(...free: number[]) {
  const seen = { looks: 0 };
  const map = {
    valueSize: FLOW4.size,
    getInto(key: Uint8Array, value: Uint8Array): boolean {
      seen.looks++;
      const slot = new Uint32Array(key.buffer, key.byteOffset, 1)[0]!;
      new Uint32Array(value.buffer, value.byteOffset)[FLOW.offset.lock / 4] = free.includes(slot) ? 0 : 1;
      return true;
    },
  };
  return { map: map as unknown as BpfMap, seen };
}

test('free slots: a full table is walked as far as is said, and the next look goes on there', async (t) => {
  const { map, seen } = table(3500);
  const place = { next: 0, walked: 0 };
  let found: number | undefined;
  let looks = 0;
  for (; found === undefined && looks < 10; looks++) {
    seen.looks = 0;
    found = new FreeSlots(map, SLOTS, WALK, place).find();
    t.ok(seen.looks <= WALK + LOOKS_BEFORE, `${seen.looks} looks`);
  }
  t.equal(found, 3500);
  t.ok(looks <= 4);
  t.equal(place.next, 3501, 'the slot behind it is asked first');
});

test('free slots: without a limit every slot is looked at', async (t) => {
  const { map, seen } = table();
  t.equal(new FreeSlots(map, 5000).find(), undefined);
  t.equal(seen.looks, 5000 + LOOKS_BEFORE);
  t.equal(new FreeSlots(table(4711).map, 5000).find(), 4711);
});
