// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
import { chmodSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { findAsmIncludes, findClang } from '../src/clang.js';
import { type CompileOptions, compileBpf } from '../src/compile.js';
import { findSection, parseElf } from '../src/elf.js';
import { CompileError } from '../src/errors.js';
import { scratchFolder } from './helpers/objects.js';

const SOURCE = `#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "answer.h"
SEC("tc") int answer(struct __sk_buff *skb) { return ANSWER + skb->len; }
`;

interface Project {
  folder: string;
  options: CompileOptions;
  write(name: string, text: string): void;
}

/** A source with a header in a folder of its own. */
function makeProject(): Project {
  const folder = scratchFolder();
  mkdirSync(join(folder, 'bpf'));
  const write = (name: string, text: string): void => writeFileSync(join(folder, 'bpf', name), text);
  write('answer.bpf.c', SOURCE);
  write('answer.h', '#define ANSWER 42\n');
  const source = join(folder, 'bpf/answer.bpf.c');
  return {
    folder,
    write,
    options: { source, flavour: { name: 'plain', cpu: 'v2' }, outDir: join(folder, 'out') },
  };
}

/** A file that runs as a command. */
function makeCommand(folder: string, name: string, script: string): string {
  const path = join(folder, name);
  writeFileSync(path, `#!/bin/sh\n${script}\n`);
  chmodSync(path, 0o755);
  return path;
}

t.test('compileBpf compiles once and then uses the object', async (t) => {
  const { folder, options } = makeProject();

  const first = await compileBpf(options);
  const again = await compileBpf(options);

  t.match(first, { object: join(folder, 'out/plain/answer.bpf.o'), cached: false, clang: /clang version/ });
  t.match(again, { ...first, cached: true });
  t.strictSame(Object.keys(first.instructions), ['answer']);
  t.ok((first.instructions.answer ?? 0) >= 3);
  const elf = parseElf(readFileSync(first.object));
  t.ok(findSection(elf, '.BTF') && findSection(elf, '.BTF.ext'), 'BTF is there');
  t.equal(findSection(elf, '.debug_info'), undefined, 'DWARF is not');
  t.notOk(readFileSync(first.object).includes(folder), 'the object does not say where it was built');
});

t.test('a change of source, header, macro, instruction set or compiler compiles again', async (t) => {
  const { folder, options, write } = makeProject();
  const { flavour } = options;
  const compile = async (change: Partial<CompileOptions> = {}) =>
    (await compileBpf({ ...options, ...change })).cached;
  await compile();

  write('answer.h', '#define ANSWER 43\n');
  t.notOk(await compile(), 'a header');
  write('answer.bpf.c', `${SOURCE}/* a comment */\n`);
  t.notOk(await compile(), 'a comment: BTF has the text of lines');
  t.ok(await compile(), 'nothing');
  t.notOk(await compile({ flavour: { ...flavour, defines: { EXTRA: 1 } } }), 'a macro');
  t.notOk(await compile({ flavour: { ...flavour, cpu: 'v3' } }), 'an instruction set');
  const clang = makeCommand(
    folder,
    'other-clang',
    `[ "$1" = --version ] && echo 'other clang version 15.0' || exec clang-19 "$@"`,
  );
  await compile();
  t.notOk(await compile({ clang }), 'a compiler');
});

t.test('flavours have their own folders and macros', async (t) => {
  const { options, write } = makeProject();
  write('answer.h', '#ifdef BIG\n#define ANSWER (1000 + STEP)\n#else\n#define ANSWER 1\n#endif\n');
  const big = { name: 'big', cpu: 'v3' as const, defines: { BIG: true as const, STEP: 5 } };

  const plain = await compileBpf(options);
  const other = await compileBpf({ ...options, flavour: big });

  t.not(plain.object, other.object);
  t.ok((await compileBpf(options)).cached, 'one flavour does not push the other out');
  t.notSame(readFileSync(plain.object), readFileSync(other.object));
});

t.test('headers are found in the folders given', async (t) => {
  const { folder, options } = makeProject();
  mkdirSync(join(folder, 'extra'));
  writeFileSync(join(folder, 'extra/more.h'), '#define MORE 1\n');
  writeFileSync(options.source, `#include <more.h>\n${SOURCE.replace('ANSWER', 'MORE')}`);

  await t.rejects(compileBpf(options), { message: /more\.h/ });
  t.match(await compileBpf({ ...options, includes: [join(folder, 'extra')] }), { cached: false });
});

t.test('an object that was damaged or replaced is compiled again', async (t) => {
  const { options } = makeProject();
  const { object } = await compileBpf(options);
  const good = readFileSync(object);

  writeFileSync(object, 'damaged');
  t.notOk((await compileBpf(options)).cached);
  t.strictSame(readFileSync(object), good, 'the same source makes the same object');
  writeFileSync(`${object}.key`, '{');
  t.notOk((await compileBpf(options)).cached);
  writeFileSync(`${object}.key`, 'null');
  t.notOk((await compileBpf(options)).cached);
});

t.test('builds at the same time do not disturb each other', async (t) => {
  const { folder, options } = makeProject();

  const results = await Promise.all(Array.from({ length: 4 }, async () => compileBpf(options)));

  for (const { object } of results) t.ok(parseElf(readFileSync(object)));
  t.strictSame(readdirSync(join(folder, 'out/plain')).sort(), ['answer.bpf.o', 'answer.bpf.o.key']);
  t.ok((await compileBpf(options)).cached);
});

t.test('a bad source gives the first errors and leaves the old object', async (t) => {
  const { folder, options, write } = makeProject();
  const { object } = await compileBpf(options);
  const { ino } = statSync(object);
  write('answer.h', '#define ANSWER (unknown_a + unknown_b + unknown_c + unknown_d)\n');

  const error = await compileBpf(options).catch((caught: unknown) => caught);

  t.type(error, CompileError);
  t.match(error, {
    code: 'ERR_BPF_COMPILE',
    message:
      /^Cannot compile .*answer\.bpf\.c \(plain\): bpf\/answer\.bpf\.c:4:\d+: error: .*unknown_a.*\(and 1 more\)$/,
    output: /unknown_d/,
  });
  t.equal(statSync(object).ino, ino);
  t.strictSame(readdirSync(join(folder, 'out/plain')).sort(), ['answer.bpf.o', 'answer.bpf.o.key']);
});

t.test('warnings are errors', async (t) => {
  const { options, write } = makeProject();
  write('answer.bpf.c', `${SOURCE}static int unused;\n`);

  await t.rejects(compileBpf(options), { message: /error: unused variable/ });
});

t.test('a missing source is said to be missing', async (t) => {
  const { options } = makeProject();

  await t.rejects(compileBpf({ ...options, source: 'nowhere.bpf.c' }), {
    message: 'Cannot compile nowhere.bpf.c (plain): the file is not there',
  });
});

t.test('findClang takes the wanted one, or clang-19, or the newest', async (t) => {
  const folder = scratchFolder();
  const fake = (name: string, version: string): string =>
    makeCommand(folder, name, `echo 'clang version ${version}.0.1'`);
  const { PATH } = process.env;
  t.teardown(() => {
    process.env.PATH = PATH;
  });
  process.env.PATH = folder;

  await t.rejects(findClang(''), {
    name: 'CompileError',
    message: /no clang is installed\. .*apt-get install clang/,
  });
  fake('clang', '13');
  await t.rejects(findClang(''), { message: /no clang is installed/ }, 'one too old is none');
  fake('clang-15', '15');
  fake('clang-18', '18');
  t.match(await findClang(''), { path: join(folder, 'clang-18'), major: 18 });
  fake('clang-21', '21');
  t.match(await findClang(''), { major: 21 });
  fake('clang-19', '19');
  t.match(await findClang(''), { path: join(folder, 'clang-19'), major: 19 });
  t.match(await findClang('clang-15'), { major: 15, version: 'clang version 15.0.1' });
  await t.rejects(findClang('clang'), { message: /clang is clang version 13\.0\.1/ });
  await t.rejects(findClang('clang-99'), { message: /there is no clang-99\. .*apt-get install/ });
  await t.rejects(findClang(makeCommand(folder, 'broken', 'exit 1')), { message: /broken does not run/ });
});

t.test('findAsmIncludes finds the folder of the machine, or says what to install', async (t) => {
  const root = scratchFolder();

  await t.rejects(findAsmIncludes(root), { message: /asm\/types\.h.*apt-get install linux-libc-dev/ });
  mkdirSync(join(root, 'strange-machine/asm'), { recursive: true });
  writeFileSync(join(root, 'strange-machine/asm/types.h'), '');
  t.equal(await findAsmIncludes(root), join(root, 'strange-machine'));
  mkdirSync(join(root, 'asm'));
  writeFileSync(join(root, 'asm/types.h'), '');
  t.equal(await findAsmIncludes(root), undefined);
});
