// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// After a million instructions the kernel's verifier gives up a program. Another kernel's walks through more of the same
// one: what is near the limit here is refused there, and the host gets an older flavour, or no XDP mode, without a word
// from any other test.
import { existsSync } from 'node:fs';
import { type BpfObject, feature } from 'libbpf-ts';
import t, { type Test } from 'tap';
import { sizeTables } from '../../src/table-sizes.js';
import { flavours, OBJECTS, openBuilt } from '../helpers/datapath/load.js';

/**
 * Chosen, not found: BIRTH is at 570,473 on 6.18. Between 6.1 and 6.18 one program was 2.5 times as many
 * instructions (docs/decisions/0013), so loading on the kernels themselves is what proves it; this tells of growth.
 */
const MOST = 700_000;
/** Slots: the verifier does not care how many. */
const FLOWS = 16;

/** The helper came with 5.17, a release behind the count. */
const skip =
  !feature('loop-helper').available && 'a kernel before 5.16 does not tell what its verifier walked through';

t.setTimeout(0); // scripts/run-tests.mjs has a limit for the file
for (const flavour of flavours()) {
  for (const name of ['ctnat', 'xdp']) {
    const file = `${flavour}/${name}.bpf.o`;
    if (existsSync(`${OBJECTS}/${file}`))
      t.test(file, { skip }, async (t) => farFromTheLimit(t, openBuilt(file)));
  }
}

function farFromTheLimit(t: Test, object: BpfObject): void {
  t.teardown(() => object.close());
  sizeTables(object, FLOWS, FLOWS);
  object.load();
  const walked = [...object.programs.values()].map(({ name, info }) => ({
    name,
    instructions: info.verifiedInstructions,
  }));
  walked.sort((a, b) => b.instructions - a.instructions);
  const most = walked[0]!;
  t.ok(walked.at(-1)!.instructions > 0, 'the kernel has told of each program');
  t.comment(
    walked
      .slice(0, 5)
      .map(({ name, instructions }) => `${name} ${instructions}`)
      .join(', '),
  );
  t.ok(most.instructions <= MOST, `${most.name}: ${most.instructions} of at most ${MOST}`);
}
