// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { checkFloor, programSizes } from '../src/floor.js';
import { allowsHelper, LAST_HELPER, LAST_MAP_TYPE, sectionProgramType } from '../src/floor-facts.js';
import { newerInstruction, newerReference } from '../src/floor-instructions.js';
import type { FloorRule, Violation } from '../src/floor-report.js';
import { helperId, helperName } from '../src/helpers.js';
import { fixtureBytes, fixtureElf, fixturePath, scratchFolder } from './helpers/objects.js';

/** The line of a fixture's source that says HERE. */
function lineOf(name: string): number | undefined {
  const lines = readFileSync(fixturePath(`floor/${name}.bpf.c`), 'utf8').split('\n');
  const index = lines.findIndex((line) => line.includes('/* HERE */'));
  return index < 0 ? undefined : index + 1;
}

interface Case {
  fixture: string;
  rule: FloorRule;
  program: string;
  function?: string;
  message: RegExp;
  cpu?: 'v2' | 'v3';
  /** Other rules that the fixture cannot help breaking. */
  besides?: FloorRule[];
}

const CASES: Case[] = [
  { fixture: 'size', rule: 'size', program: 'too_long', message: /^4\d\d\d instructions, at most 4096/ },
  { fixture: 'loop', rule: 'loop', program: 'loops', message: /is a loop/ },
  {
    fixture: 'unreachable',
    rule: 'unreachable',
    program: 'jumps_over',
    message: /nothing leads to instruction 1/,
  },
  {
    fixture: 'recursion',
    rule: 'recursion',
    program: 'recurses',
    function: 'odd',
    message: /recurses → even → odd → even/,
  },
  {
    fixture: 'call-depth',
    rule: 'call-depth',
    program: 'calls_deep',
    function: 'frame8',
    message: /calls_deep → frame2 → .* → frame9 are 9 frames, 8 exist/,
  },
  { fixture: 'stack', rule: 'stack', program: 'one_frame', message: /600 bytes of stack, 512 exist/ },
  {
    fixture: 'stack-chain',
    rule: 'stack',
    program: 'two_frames',
    function: 'lower',
    message: /two_frames → upper → lower take 544 bytes of stack, 512 exist/,
  },
  {
    fixture: 'helper',
    rule: 'helper',
    program: 'sends',
    message: /bpf_redirect_neigh \(152\) is not in Linux 4\.19.*\(83\)/,
  },
  {
    fixture: 'helper-type',
    rule: 'helper',
    program: 'reads',
    message: /bpf_skb_load_bytes \(26\) is not for programs of type xdp/,
  },
  { fixture: 'tail-call', rule: 'tail-call', program: 'both', message: /tail calls/ },
  {
    fixture: 'instruction-jump',
    rule: 'instruction',
    program: 'compares',
    message: /32-bit compare/,
    cpu: 'v3',
  },
  { fixture: 'instruction-atomic', rule: 'instruction', program: 'fetches', message: /atomic/, cpu: 'v3' },
  {
    fixture: 'global-data',
    rule: 'global-data',
    program: 'counts',
    message: /in \.bss: global data, since Linux 5\.2/,
  },
  { fixture: 'extern-variable', rule: 'extern', program: 'asks', message: /LINUX_KERNEL_VERSION is outside/ },
  {
    fixture: 'extern-function',
    rule: 'extern',
    program: 'calls_kernel',
    message: /bpf_ct_change_status is outside/,
  },
  {
    fixture: 'reference',
    rule: 'reference',
    program: 'passes',
    message: /address of a function, since Linux 5\.13/,
  },
  { fixture: 'core-relocation', rule: 'core-relocation', program: 'reads_kernel', message: /CO-RE/ },
];

for (const { fixture, rule, program, message, cpu = 'v2', besides = [], ...rest } of CASES) {
  t.test(`the gate finds ${rule} in ${fixture}.bpf.c, with function and line`, async (t) => {
    const violations = checkFloor(await fixtureElf(`floor/${fixture}`, cpu));

    const found = violations.filter(
      (violation) => violation.rule === rule && message.test(violation.message),
    );
    const line = lineOf(fixture);
    t.match(found[0], { program, function: rest.function ?? program, file: `floor/${fixture}.bpf.c` });
    if (line !== undefined) t.equal(found[0]?.line, line, 'the line that says HERE');
    const others = violations.filter(
      (violation) => violation.rule !== rule && !besides.includes(violation.rule),
    );
    t.strictSame(others, [], 'and nothing else');
  });
}

t.test('the gate takes an object of what 4.19 knows', async (t) => {
  t.strictSame(checkFloor(await fixtureElf('floor/good')), []);
});

t.test('a subprogram counts once for a program, however often it is called', async (t) => {
  const sizes = programSizes(await fixtureElf('floor/size'));

  t.match(sizes, [
    { program: 'just_short', section: 'tc', instructions: 4096 },
    { program: 'too_long', section: 'tc' },
  ]);
  t.ok((sizes[1]?.instructions ?? 0) < 4200);
});

t.test('maps of later types and flags are found, with their first use', async (t) => {
  const named = (violations: Violation[]) => violations.map(({ rule, map, message }) => [rule, map, message]);

  const types = checkFloor(await fixtureElf('floor/map-type'));
  t.strictSame(named(types), [
    ['map-type', 'events', 'maps of type ringbuf (27) are not in Linux 4.19, whose last type is 20'],
    ['map-type', 'queue', 'maps of type queue (22) are not in Linux 4.19, whose last type is 20'],
  ]);
  t.match(types[0], { program: 'uses', file: 'floor/map-type.bpf.c', line: lineOf('map-type') });
  t.equal(types[1]?.program, undefined, 'nothing uses the queue');

  t.strictSame(named(checkFloor(await fixtureElf('floor/map-flags'))), [
    ['map-flags', 'mapped', 'flags 0x400 are not for array in Linux 4.19'],
    ['map-flags', 'prefixes', 'an lpm_trie needs BPF_F_NO_PREALLOC'],
    ['map-flags', 'recent', 'flags 0x1 are not for lru_hash in Linux 4.19'],
  ]);
});

t.test('kinds of BTF that came later are found, with the type', async (t) => {
  const violations = checkFloor(await fixtureElf('floor/btf-kind'));

  t.strictSame(
    violations.map(({ rule, message }) => [rule, message]),
    [
      ['btf-kind', 'type "float" is of the BTF kind float, since Linux 5.13'],
      ['btf-kind', 'type "told" is of the BTF kind decl_tag, since Linux 5.16'],
      ['btf-kind', 'type "pointed" is of the BTF kind type_tag, since Linux 5.17'],
      ['btf-kind', 'type "wide" is of the BTF kind enum64, since Linux 6.0'],
    ],
  );
});

t.test('the facts of 4.19 are those of its headers', async (t) => {
  t.equal(LAST_HELPER, 83);
  t.equal(helperName(83), 'bpf_skb_ancestor_cgroup_id (83)');
  t.equal(helperName(9999), 'helper 9999');
  t.equal(helperId('ktime_get_coarse_ns'), 160);
  t.throws(() => helperId('nothing'), RangeError);
  t.equal(LAST_MAP_TYPE, 20);
  t.ok(allowsHelper('sched_cls', helperId('fib_lookup')) && allowsHelper('xdp', helperId('fib_lookup')));
  t.notOk(allowsHelper('sched_cls', helperId('skb_change_head')), 'only for LWT before 5.8');
  t.notOk(allowsHelper('xdp', helperId('csum_update')));
  t.strictSame(
    ['tc', 'tc/ingress', 'tcx/egress', 'classifier', '?tc', 'action', 'xdp', 'xdp.frags', 'kprobe/x'].map(
      sectionProgramType,
    ),
    ['sched_cls', 'sched_cls', 'sched_cls', 'sched_cls', 'sched_cls', 'sched_act', 'xdp', 'xdp', 'unspec'],
  );
});

t.test('instructions are judged by class, operation and operands', async (t) => {
  const judge = (code: number, fields: { off?: number; imm?: number; src?: number } = {}) => {
    const instruction = { code, dst: 0, src: 0, off: 0, imm: 0, ...fields };
    return newerInstruction(instruction) ?? newerReference(instruction);
  };

  for (const code of [
    0xb7, 0xbf, 0x07, 0x0f, 0xc7, 0x61, 0x7b, 0x62, 0x05, 0x15, 0xd5, 0x95, 0x85, 0xdc, 0xd4, 0xbc, 0x20,
  ]) {
    t.equal(judge(code), undefined, `0x${code.toString(16)} is in 4.19`);
  }
  t.equal(judge(0xdb), undefined, 'atomic add without result');
  t.equal(judge(0x18, { src: 1 }), undefined, 'a map');
  t.match(judge(0xdb, { imm: 1 }), /atomic/);
  t.match(judge(0xdb, { imm: 0xf1 }), /atomic/);
  t.match(judge(0x16), /32-bit compare/);
  t.match(judge(0x06), /long jump/);
  t.match(judge(0xc4), /32-bit arithmetic shift/);
  t.match(judge(0xd7), /byte swap/);
  t.match(judge(0xbf, { off: 8 }), /sign-extending move/);
  t.match(judge(0x3f, { off: 1 }), /signed division/);
  t.match(judge(0x81), /sign-extending load/);
  t.match(judge(0xe5), /jump that is not in 4\.19/);
  t.match(judge(0x18, { src: 2 }), /map value, since Linux 5\.2/);
  t.match(judge(0x18, { src: 4 }), /address of a function/);
  t.match(judge(0x85, { src: 2 }), /kernel function/);
});

t.test('the command prints sizes, and fails with a line for each violation', async (t) => {
  const tool = fileURLToPath(new URL('../src/floor-gate.js', import.meta.url));
  const gate = (...args: string[]) => spawnSync(process.execPath, [tool, ...args], { encoding: 'utf8' });
  const folder = scratchFolder();
  const object = async (name: string): Promise<string> => {
    const path = join(folder, `${name}.o`);
    writeFileSync(path, await fixtureBytes(`floor/${name}`));
    return path;
  };

  t.match(gate(await object('good')), { status: 0, stderr: '', stdout: /on_packet +\d+ +\d+ % {2}tc\n/ });
  const bad = gate(await object('loop'));
  t.match(bad, { status: 1, stdout: /1 programs/ });
  t.match(
    bad.stderr,
    new RegExp(`^floor/loop.bpf.c:${lineOf('loop')}: \\[loop\\] loops: jump from instruction`),
  );
  t.match(gate(fixturePath('layouts.h')), { status: 1, stderr: /layouts\.h: Cannot read ELF/ });
  t.match(gate('nowhere.o'), { status: 1, stderr: /nowhere\.o/ });
  t.match(gate(), { status: 2, stderr: /Usage/ });
});
