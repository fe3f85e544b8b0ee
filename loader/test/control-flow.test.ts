// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
import t from 'tap';
import { walk } from '../src/control-flow.js';
import type { Instruction } from '../src/function-spec.js';
import { stackDepth } from '../src/stack-depth.js';

function instruction(code: number, fields: Partial<Instruction> = {}): Instruction {
  return { code, dst: 0, src: 0, off: 0, imm: 0, ...fields };
}

const exit = instruction(0x95);
const nothing = instruction(0xb7);
const call = instruction(0x85, { imm: 7 });
const jump = (off: number): Instruction => instruction(0x05, { off });
const jumpIf = (off: number): Instruction => instruction(0x15, { off });
const farJump = (imm: number): Instruction => instruction(0x06, { imm });
const load64 = [instruction(0x18), instruction(0x00)];
const clean = { backEdges: [], escapes: [], unreachable: [] };

t.test('a jump backwards is a loop only if it leads to where control has come from', async (t) => {
  t.strictSame(walk([nothing, jumpIf(1), nothing, exit]), clean, 'two ways that meet');
  t.match(walk([nothing, jumpIf(-2), exit]), { backEdges: [{ from: 1, to: 0 }] });
  t.match(walk([jump(-1)]), { backEdges: [{ from: 0, to: 0 }] }, 'onto itself');
  t.match(walk([nothing, farJump(-2)]), { backEdges: [{ from: 1, to: 0 }] }, 'a long jump');
  // 0 → 1 or 3; 1 → 2 → exit; 3 → 1: backwards to what is already done
  t.strictSame(walk([jumpIf(2), nothing, exit, jump(-3)]), clean, 'a jump backwards across');
  t.strictSame(walk([jump(2), nothing, exit, jump(-3)]), clean, 'a jump backwards to something new');
});

t.test('what nothing leads to and what leads out is found', async (t) => {
  t.match(walk([jump(1), nothing, exit]), { unreachable: [1], escapes: [] });
  t.match(walk([exit, nothing, nothing, exit]), { unreachable: [1] }, 'once for a run');
  t.match(walk([nothing]), { escapes: [0] }, 'no exit');
  t.match(walk([jump(5), exit]), { escapes: [0], unreachable: [1] });
  t.match(walk([jumpIf(-3), exit]), { escapes: [0] });
  t.strictSame(walk([...load64, call, exit]), clean, 'the second half of a load is not alone');
  t.match(walk([instruction(0x18)]), { escapes: [0] }, 'half a load');
  t.strictSame(walk([]), clean);
});

t.test('stackDepth follows the frame pointer through copies and constants', async (t) => {
  const copy = (dst: number, src: number): Instruction => instruction(0xbf, { dst, src });
  const add = (dst: number, imm: number): Instruction => instruction(0x07, { dst, imm });
  const subtract = (dst: number, imm: number): Instruction => instruction(0x17, { dst, imm });
  const store = (dst: number, off: number): Instruction => instruction(0x7b, { dst, off });
  const load = (src: number, off: number): Instruction => instruction(0x79, { src, off });

  t.strictSame(stackDepth([nothing, exit]), { bytes: 0, index: -1 });
  t.strictSame(stackDepth([store(10, -8), load(10, -24), exit]), { bytes: 24, index: 1 });
  t.match(stackDepth([copy(6, 10), add(6, -32), copy(7, 6), store(7, -8), exit]), { bytes: 40, index: 3 });
  t.match(stackDepth([copy(6, 10), subtract(6, 16), store(6, 0), exit]), { bytes: 16 });
  t.match(stackDepth([copy(2, 10), add(2, -64), call, exit]), { bytes: 64, index: 2 }, 'handed to a call');
  t.match(
    stackDepth([copy(2, 10), add(2, -64), call, store(2, 0), exit]),
    { bytes: 64 },
    'a call takes r2 away',
  );
  t.match(stackDepth([copy(6, 10), add(6, -64), exit]), { bytes: 0 }, 'an address alone uses nothing');
  t.match(stackDepth([copy(6, 10), load(6, 0), instruction(0xb7, { dst: 6 }), store(6, -99), exit]), {
    bytes: 0,
  });
  const either = [copy(6, 10), jumpIf(1), add(6, -64), store(6, -8), exit];
  t.match(stackDepth(either), { bytes: 72, index: 3 }, 'the deeper of two ways');
  const other = [copy(6, 10), jumpIf(1), instruction(0xb7, { dst: 6 }), store(6, -8), exit];
  t.match(stackDepth(other), { bytes: 8 }, 'a stack address on one way only');
  const loop = [copy(6, 10), add(6, -8), jumpIf(-2), store(6, 0), exit];
  t.match(stackDepth(loop), { bytes: 4096, index: 3 }, 'a loop ends');
});
