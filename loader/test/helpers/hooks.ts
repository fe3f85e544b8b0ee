// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
import { BpfObject } from '../../src/object.js';
import type { BpfProgram } from '../../src/program.js';
import { compileFixture } from './compile-fixture.js';

/** The counting programs of fixtures/hooks.bpf.c, loaded. */
export interface Hooks {
  first: BpfProgram;
  second: BpfProgram;
  xdpFirst: BpfProgram;
  xdpSecond: BpfProgram;
  /** What each has counted since the last call, in the order above. */
  takeHits(): number[];
}

export function loadHooks(t: { teardown(handler: () => void): void }): Hooks {
  const object = BpfObject.open(compileFixture('hooks'));
  t.teardown(() => object.close());
  object.load();
  const hits = object.map('hits').map;
  const takeHits = (): number[] =>
    [0, 1, 2, 3].map((index) => {
      const key = Buffer.alloc(4);
      key.writeUInt32LE(index);
      const value = Number(hits.get(key)!.readBigUInt64LE());
      hits.set(key, Buffer.alloc(8));
      return value;
    });
  return {
    first: object.program('first'),
    second: object.program('second'),
    xdpFirst: object.program('xdp_first'),
    xdpSecond: object.program('xdp_second'),
    takeHits,
  };
}
