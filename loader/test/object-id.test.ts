// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
import t from 'tap';
import { BpfMap, isInKernel } from '../src/index.js';

t.test('an id is known while somebody holds the map, and looking for it holds nothing', async (t) => {
  const map = BpfMap.create({ type: 'array', name: 'test_id', keySize: 4, valueSize: 4, maxEntries: 1 });
  const { id } = map;
  t.equal(isInKernel('map', id), true);
  map.close();

  const end = performance.now() + 10_000;
  while (isInKernel('map', id) && performance.now() < end) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  t.equal(isInKernel('map', id), false, 'the kernel frees it a moment later');
});

t.test('a program that never was, and an id that cannot be', async (t) => {
  t.equal(isInKernel('program', 0x7fff_fff0), false);
  t.throws(() => isInKernel('map', 0), RangeError);
  t.throws(() => isInKernel('map', 2 ** 31), RangeError);
});
