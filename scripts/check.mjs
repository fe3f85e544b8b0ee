// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Everything about the sources that is judged without running them, as TAP: a test point each.
import { spawnSync } from 'node:child_process';
import { closeSync, existsSync, openSync, readSync } from 'node:fs';

/** Files that git knows or would add. */
function sources(...patterns) {
  const { stdout } = spawnSync('git', ['ls-files', '-co', '--exclude-standard', '--', ...patterns], { encoding: 'utf8' });
  return stdout.split('\n').filter((path) => path && existsSync(path));
}

/** Whether a file is a shell script, by its first line. */
function isShellScript(path) {
  const start = Buffer.alloc(32);
  const fd = openSync(path, 'r');
  readSync(fd, start, 0, start.length, 0);
  closeSync(fd);
  return /^#!\/(usr\/)?bin\/(env )?(ba|da)?sh\b/.test(start.toString('latin1'));
}

const checks = [
  { name: 'types', argv: ['node_modules/.bin/tsc', '-b'] },
  { name: 'lint and format of TypeScript', argv: ['node_modules/.bin/biome', 'check', '--error-on-warnings', '.'] },
  { name: 'format of C', argv: ['clang-format-19', '--dry-run', '-Werror'], files: sources('*.c', '*.h') },
  {
    name: 'the C programs of the tests compile',
    argv: ['clang-19', '-fsyntax-only', '-Wall', '-Wextra', '-Werror', '-Wno-unknown-pragmas', '-Ibpf'],
    files: sources('test/helpers/**/*.c').filter((path) => !path.endsWith('.bpf.c')),
  },
  { name: 'shell scripts', argv: ['shellcheck'], files: sources().filter(isShellScript) },
  { name: 'generated layouts are those of the C headers', argv: ['node', 'scripts/layouts.mjs', '--check'] },
  {
    name: 'the floor flavour is what Linux 4.19 takes',
    argv: ['node', 'loader/dist/src/floor-gate.js', 'build/bpf/floor/ctnat.bpf.o'],
  },
  { name: 'the compliance table names tests that exist', argv: ['node', 'scripts/compliance.mjs'] },
];

let failed = 0;
console.log('TAP version 14');
checks.forEach(({ name, argv, files = [] }, index) => {
  const [command, ...args] = argv;
  const { status, error, stdout, stderr } = spawnSync(command, [...args, ...files], { encoding: 'utf8', maxBuffer: 1e8 });
  const good = status === 0;
  console.log(`${good ? 'ok' : 'not ok'} ${index + 1} - ${name}`);
  if (good) return;
  failed++;
  const output = error ? `${command}: ${error.message}` : `${stdout}${stderr}`.trimEnd();
  console.log(`  ---\n  output: |\n${output.replace(/^/gm, '    ')}\n  ...`);
});
console.log(`1..${checks.length}`);
process.exitCode = failed ? 1 : 0;
