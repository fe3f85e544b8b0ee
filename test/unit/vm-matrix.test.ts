// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// The matrix of kernels, as far as it needs no virtual machine: targets, verdicts, the table, qemu's arguments.

import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
process.chdir(ROOT);

/** A module of test/vm, which is JavaScript that runs before anything is compiled. */
function vmModule(name: string) {
  return import(join(ROOT, 'test/vm', name));
}

const { kernelRelease, knownKernels, debianTargets, suppliedTarget, targetToml } =
  await vmModule('targets.mjs');
const { judge } = await vmModule('machine.mjs');
const { recordResults, resultsTable } = await vmModule('results.mjs');

/** A file that begins as a bzImage of this release does. */
function bzImage(release: string): Buffer {
  const image = Buffer.alloc(0x4000);
  image.write('HdrS', 0x202);
  image.writeUInt16LE(0x3000, 0x20e);
  image.write(`${release} (builder@host) #1 SMP`, 0x3200);
  return image;
}

function results(kernel: string, passed: number, failed: number, facts = {}) {
  const files = [{ file: 'a.test.js', passed, failed, skipped: [], seconds: 1 }];
  return { kernel, facts, files, complete: true };
}

t.test('vmtest.toml has a target for each kernel, and no other', async (t) => {
  const text = readFileSync('vmtest.toml', 'utf8');
  const names: string[] = knownKernels().kernels.map((kernel: { name: string }) => kernel.name);

  for (const name of names) {
    const target = targetToml({ name, kernel: `.vm/${name}/vmlinuz`, initrd: `.vm/${name}/initrd.img` });
    t.ok(text.includes(target), name);
  }
  t.equal(text.match(/^\[\[target\]\]$/gm)?.length, names.length);
  t.ok(
    knownKernels().kernels.filter((kernel: { ci: boolean }) => kernel.ci).length >= 2,
    'CI has the oldest and the newest',
  );
});

t.test('a kernel is picked by name, and an unknown one is refused with those that there are', async (t) => {
  t.same(
    debianTargets(['6.1']).map((target: { name: string }) => target.name),
    ['6.1'],
  );
  t.equal(debianTargets([]).length, knownKernels().kernels.length);
  t.throws(() => debianTargets(['2.6']), {
    message: /there is no kernel 2\.6: there are 5\.10, .*VMTEST_KERNEL/,
  });
});

t.test('a supplied kernel is named after its release', async (t) => {
  const folder = t.testdir({ bzImage: bzImage('4.19.108-test+'), vmlinux: '', text: 'no kernel' });
  writeFileSync(join(folder, 'vmlinux'), `\x7fELF ... Linux version 5.4.286 (builder@host)\n`, 'latin1');

  t.equal(kernelRelease(join(folder, 'bzImage')), '4.19.108-test+');
  t.equal(kernelRelease(join(folder, 'vmlinux')), '5.4.286');
  t.throws(() => kernelRelease(join(folder, 'text')), { message: /is no x86 kernel/ });
  t.equal(suppliedTarget(join(folder, 'bzImage')).name, '4.19.108-test+');
  t.throws(() => suppliedTarget(join(folder, 'bzImage'), folder), { message: /is no modules folder/ });
});

t.test('a machine counts as failed unless its tests have run to the end', async (t) => {
  const log = ['[ 1.0] booting', '6.1 | ok 1 - a test', '[ 2.0] Kernel panic'];
  const whole = results('6.1.0', 3, 0);
  const cut = { ...whole, complete: false };

  t.same(judge('6.1', 0, undefined, whole, log), { passed: 3, failed: 0 });
  t.same(judge('6.1', 1, undefined, results('6.1.0', 3, 2), log), { passed: 3, failed: 2 });
  const failures = {
    'did not boot': judge('6.1', 69, undefined, undefined, log),
    'in the middle': judge('6.1', 69, undefined, cut, log),
    'was stopped': judge('6.1', 69, 'was stopped', cut, log),
    'status 3 though': judge('6.1', 3, undefined, whole, log),
    'for a success': judge('6.1', 0, undefined, results('6.1.0', 3, 2), log),
    'no test ran': judge('6.1', 0, undefined, results('6.1.0', 0, 0), log),
  };
  for (const [words, verdict] of Object.entries(failures)) {
    t.match(verdict.fault, words);
    t.ok(verdict.failed > 0, words);
    t.same(verdict.console, ['[ 1.0] booting', '[ 2.0] Kernel panic'], 'the console without the tests');
  }
});

t.test('results go into their rows of the table and leave the others', async (t) => {
  const marks = ['<!-- matrix: written by `test/vm/run --record` -->', '<!-- matrix: end -->'];
  const folder = t.testdir({
    'kernels.md': `# Kernels\n\n${marks.join('\n')}\n\nThe end.\n`,
    'none.md': '# No table\n',
  });
  const path = join(folder, 'kernels.md');
  const facts = {
    flavour: 'floor',
    hooks: ['clsact'],
    instructions: { ingress: 900, egress: 1100 },
    loadMs: 1234.5,
  };

  t.same(recordResults(path, [results('6.1.0-56-amd64', 5, 1), results('4.19.108', 7, 0, facts)]), []);
  t.notMatch(readFileSync(path, 'utf8'), /earlier run/);
  t.same(recordResults(path, [results('6.1.0-57-amd64', 6, 0)]), ['4.19.108'], 'the row that is kept');

  const text = readFileSync(path, 'utf8');
  t.same(
    text.split('\n').filter((line) => /^\| \d/.test(line)),
    [
      '| 4.19.108 | floor | clsact | 7 of 7 | 2 programs, at most 1100 (egress) | 1235 ms |',
      '| 6.1.0-57-amd64 | – | – | 6 of 6 | – | – |',
    ],
  );
  t.match(text, /^Of an earlier run than the others: 4\.19\.108\.$/m);
  t.match(text, /^# Kernels\n[\s\S]*\nThe end\.\n$/);
  t.match(resultsTable([results('5.10.0', 1, 1)]), /^kernel +flavour[\s\S]*\n5\.10\.0 .* 1 of 2/);
  t.throws(() => recordResults(join(folder, 'none.md'), []), { message: /has no place for the table/ });
});

t.test('qemu gets the root read-only, a folder for results, and KVM only where it works', async (t) => {
  const folder = t.testdir({ share: {}, bin: {} });
  const program = join(folder, 'bin/qemu-system-x86_64');
  writeFileSync(program, '#!/bin/sh\nprintf "%s\\n" "$@"\n');
  chmodSync(program, 0o755);
  const share = join(folder, 'share');
  mkdirSync(share, { recursive: true });
  const env = { ...process.env, PATH: `${join(folder, 'bin')}:${process.env.PATH}`, VM_SHARE: share };
  const given = ['-enable-kvm', '-cpu', 'host', '-virtfs', 'local,id=root,path=/,mount_tag=/dev/root'];
  given.push(
    '-virtfs',
    'local,id=shared,path=/elsewhere,mount_tag=vmtest-shared,security_model=none',
    '-m',
    '2G',
  );

  const output = execFileSync('test/vm/qemu', given, {
    encoding: 'utf8',
    env,
    stdio: ['ignore', 'pipe', 'ignore'],
  });

  const accel = execFileSync('test/vm/qemu', ['--accel'], { encoding: 'utf8' }).trim();
  const lines = output.trim().split('\n');
  t.equal(lines.includes('-enable-kvm'), false);
  t.match(lines[lines.indexOf('-accel') + 1], accel);
  t.equal(/emulating/.test(output), accel === 'tcg', 'it says when it emulates');
  t.ok(lines.includes('local,id=root,path=/,mount_tag=/dev/root,readonly=on'));
  t.ok(lines.includes(`local,id=shared,path=${share},mount_tag=vmtest-shared,security_model=none`));
  t.same(lines.slice(-2), ['-m', '2G']);
  t.equal(readFileSync(join(share, 'root'), 'utf8'), `${ROOT.replace(/\/$/, '')}\n`);
});
