// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// What the TCP headers cost where Linux 4.19 counts: instructions (4,096 a program), stack (512 bytes), no
// way back, no data section.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { run } from '../helpers/process.js';
import { ROOT, SOURCES } from '../helpers/tcp/compile.js';
import { Teardown } from '../helpers/teardown.js';

interface Program {
  instructions: number;
  /** Bytes of stack, as deep as it goes. */
  stack: number;
  /** Whether it can come to an instruction a second time. */
  loops: boolean;
}

/** Instructions of each may grow to this. */
const LIMITS = { track: 750, begin: 60, options: 500 };
const STACK_LIMIT = 120;

async function compileFloor(teardown: Teardown): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'ctnat-tcp-'));
  teardown.defer(folder, () => rm(folder, { recursive: true }));
  const object = join(folder, 'program.o');
  const { stdout: target } = await run(['gcc', '-print-multiarch']);
  await run([
    ...['clang-19', '-O2', '-g', '-Wall', '-Wextra', '-Werror', '-target', 'bpf', '-mcpu=v2'],
    ...[`-I${join(ROOT, 'bpf')}`, `-I/usr/include/${target.trim()}`],
    ...['-c', join(SOURCES, 'program.bpf.c'), '-o', object],
  ]);
  return object;
}

async function measure(object: string, name: string): Promise<Program> {
  const { stdout } = await run([
    'llvm-objdump-19',
    '-d',
    '--no-show-raw-insn',
    `--disassemble-symbols=${name}`,
    object,
  ]);
  const lines = stdout.split('\n').filter((line) => /^\s+\d+:\s/.test(line));
  const slots = stdout.matchAll(/r10 - 0x([0-9a-f]+)/g);
  return {
    // the one instruction of two words is counted as the kernel does
    instructions: lines.length + lines.filter((line) => / ll$/.test(line)).length,
    stack: Math.max(...[...slots].map(([, hex]) => Number.parseInt(hex!, 16))),
    loops: hasLoop(lines),
  };
}

/** Whether the program's jumps form a cycle. */
function hasLoop(lines: readonly string[]): boolean {
  const at = lines.map((line) => Number(/^\s+(\d+):/.exec(line)![1]));
  const index = new Map(at.map((number, i) => [number, i]));
  const next = lines.map((line, i): number[] => {
    const jump = /goto ([+-]0x[0-9a-f]+)/.exec(line);
    const falls = /^\s+\d+:\s+(goto|exit)/.test(line) ? [] : [i + 1];
    return jump ? [...falls, index.get(at[i]! + 1 + Number.parseInt(jump[1]!, 16))!] : falls;
  });
  const state = new Uint8Array(lines.length); // 1: on the way, 2: done
  const visit = (start: number): boolean => {
    const path: [number, number][] = [[start, 0]];
    while (path.length) {
      const top = path.at(-1)!;
      const [i, edge] = top;
      state[i] = 1;
      const to = next[i]![edge];
      if (to === undefined) {
        state[i] = 2;
        path.pop();
        continue;
      }
      top[1]++;
      if (state[to] === 1) return true;
      if (state[to] === 0) path.push([to, 0]);
    }
    return false;
  };
  return visit(0);
}

t.test('the TCP headers stay small enough for Linux 4.19', async (t) => {
  const object = await compileFloor(Teardown.of(t));
  const frame = await measure(object, 'frame');
  for (const [name, limit] of Object.entries(LIMITS)) {
    const { instructions, stack, loops } = await measure(object, name);
    const own = instructions - (name === 'options' ? 0 : frame.instructions);
    t.ok(own <= limit, `${name}: ${own} instructions, at most ${limit}`);
    t.ok(
      stack - frame.stack <= STACK_LIMIT,
      `${name}: ${stack - frame.stack} bytes of stack, at most ${STACK_LIMIT}`,
    );
    t.notOk(loops, `${name} never comes back to an instruction`);
  }
});

t.test('the TCP headers need no data section', async (t) => {
  const object = await compileFloor(Teardown.of(t));

  const { stdout } = await run(['llvm-objdump-19', '-h', object]);

  t.notMatch(stdout, /\.(data|rodata|bss)/);
});
