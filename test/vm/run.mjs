// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Runs the tests on other kernels, in virtual machines driven by vmtest, and ends with the line
// "N passed, N failed". A kernel that does not boot is a failure.
import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { testHang } from './hang.mjs';
import { machines, runMachine } from './machine.mjs';
import { recordResults, resultsTable } from './results.mjs';
import { testFiles } from './suite.mjs';
import { debianTargets, knownKernels, suppliedTarget } from './targets.mjs';

const HELP = `usage: test/vm/run [option...] [KERNEL...]

Runs the tests in virtual machines, on all kernels of test/vm/kernels.json or those named.

  --ci             only the oldest and the newest of Debian's kernels, and of the tests the core
  --more           also what takes minutes: sweep and repair of the tables, the flow editor, the loader's own tests
  --match REGEXP   only test files whose path matches
  --debian         Debian's kernels too, where VMTEST_KERNEL names others
  --jobs N         so many machines at a time (default: one for each processor, at most 4)
  --limit SECONDS  for each machine (default 3000 emulated, 600 with KVM)
  --update         fetch the newest kernels, also where there are some
  --record         write the results into the table of docs/kernels.md
  --help

environment:
  KERNEL=NAME                 the same as naming it
  VMTEST_KERNEL=PATH[:PATH]   these kernels (bzImage or vmlinux) instead of Debian's
  VMTEST_MODULES=FOLDER       their modules (.../lib/modules/RELEASE), if not beside them or the host's own
  VM_SLOW=N                   stretches time limits inside (default 20 emulated, 1 with KVM)
`;

/** Objects of the loader's tests. */
const FIXTURES = 'build/vm/fixtures';

/** What a machine reads from the repository; a copy, so that a build meanwhile does not change it. */
const SNAPSHOT = ['dist', 'loader/dist', 'build/bpf', 'build/vm'];

function fail(message, status = 1) {
  process.stderr.write(`test/vm/run: ${message}\n`);
  process.exit(status);
}

function options() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        ci: { type: 'boolean', default: false },
        more: { type: 'boolean', default: false },
        match: { type: 'string' },
        debian: { type: 'boolean', default: false },
        jobs: { type: 'string' },
        limit: { type: 'string' },
        update: { type: 'boolean', default: false },
        record: { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
      },
    });
  } catch (error) {
    return fail(`${error.message}\n${HELP}`, 2);
  }
}

/** The targets of this run, and lines that say what is not run. */
function plan({ values, positionals }) {
  const { kernels, supplied } = knownKernels();
  const paths = (process.env.VMTEST_KERNEL ?? '').split(':').filter(Boolean);
  for (const path of paths) if (!existsSync(path)) fail(`VMTEST_KERNEL: there is no ${path}`, 2);
  const given = paths.map((path) => suppliedTarget(path, process.env.VMTEST_MODULES));
  if (given.length > 0) return { targets: values.debian ? [...given, ...debianTargets([], values)] : given, notes: [] };
  const notes = [`not run: ${supplied.join(' and ')}, of which Debian has no packages; VMTEST_KERNEL=/path/to/bzImage runs them`];
  let names = [...positionals, ...(process.env.KERNEL ?? '').split(/[\s,]+/).filter(Boolean)];
  if (values.ci && names.length === 0) {
    names = kernels.filter((kernel) => kernel.ci).map((kernel) => kernel.name);
    const left = kernels.filter((kernel) => !kernel.ci).map((kernel) => kernel.name);
    notes.unshift(`not run: ${left.join(' and ')}; \`make test-vm\` runs all`);
  }
  return { targets: debianTargets(names, values), notes };
}

/** vmtest, as scripts/setup-vm has installed it. */
function setUp() {
  const { status } = spawnSync('scripts/setup-vm', { stdio: 'inherit' });
  if (status !== 0) fail('the set-up failed: see above');
  return execFileSync('scripts/setup-vm', ['--print-vmtest'], { encoding: 'utf8' }).trim();
}

/** The objects of test/vm/, compiled here: clang is slow under emulation. */
async function compileObjects() {
  const { compileBpf } = await import('libbpf-ts');
  const { buildFixtures } = await import('../../loader/dist/test/helpers/compile-fixture.js');
  buildFixtures(resolve(FIXTURES));
  await compileBpf({ source: 'test/vm/smoke.bpf.c', flavour: { name: 'floor', cpu: 'v2' }, outDir: resolve('build/vm') });
}

function takeSnapshot() {
  rmSync('.vm/snapshot', { recursive: true, force: true });
  for (const folder of SNAPSHOT) {
    if (existsSync(folder)) cpSync(folder, `.vm/snapshot/${folder}`, { recursive: true, preserveTimestamps: true });
  }
}

async function runTarget(target, settings) {
  const say = (line) => console.log(line);
  try {
    say(`${target.name} | # ${target.prepare()}`);
  } catch (error) {
    const fault = `kernel ${target.name} could not be prepared: ${error.message}`;
    say(`${target.name} | not ok - ${fault}`);
    return { target, passed: 0, failed: 1, seconds: 0, fault };
  }
  const outcome = await runMachine(target, { ...settings, say });
  if (outcome.fault) {
    say(`${target.name} | not ok - ${outcome.fault}; the last lines of its console:`);
    for (const line of outcome.console) say(`${target.name} | #   ${line}`);
  }
  say(`${target.name} | # ${outcome.passed} passed, ${outcome.failed} failed in ${outcome.seconds.toFixed(0)} s`);
  return { target, ...outcome };
}

const completeResults = (outcomes) => outcomes.flatMap(({ results }) => (results?.complete ? [results] : []));

/** What a machine has found is kept as soon as it has: a run that is interrupted is not for nothing. */
function keep({ target, results }, outcomes, record) {
  mkdirSync('.vm/results', { recursive: true });
  writeFileSync(`.vm/results/${target.name}.json`, `${JSON.stringify(results, null, 1)}\n`);
  if (record) recordResults('docs/kernels.md', completeResults(outcomes));
}

async function main() {
  const given = options();
  if (given.values.help) return void console.log(HELP);
  if (given.values.record && (given.values.ci || given.values.match)) fail('--record wants all tests: leave out --ci and --match', 2);
  let planned;
  try {
    if (given.values.match) new RegExp(given.values.match);
    planned = plan(given);
  } catch (error) {
    fail(error.message, 2);
  }
  if (given.values.ci) process.env.VM_CORE = '1';
  if (given.values.more) process.env.VM_MORE = '1';
  if (given.values.match) process.env.VM_MATCH = given.values.match;
  const files = testFiles(given.values.match ? new RegExp(given.values.match) : undefined);
  if (files.length === 0) fail('there is no compiled test file to run: `make build` makes them');
  const vmtest = setUp();
  const accel = execFileSync('test/vm/qemu', ['--accel'], { encoding: 'utf8' }).trim();
  console.log(`# ${accel === 'kvm' ? 'KVM' : 'no KVM (neither kvm_intel nor kvm_amd can be used): the machines are emulated and slow'}`);
  console.log(`# kernels: ${planned.targets.map(({ name }) => name).join(', ')}; ${files.length} test files`);
  for (const note of planned.notes) console.log(`# ${note}`);
  await compileObjects();
  takeSnapshot();

  const limitSeconds = Number(given.values.limit ?? (accel === 'kvm' ? 600 : 3000));
  let interrupted = false;
  const interrupt = (cause) => {
    interrupted = true;
    for (const machine of machines) machine.stop(`was interrupted (${cause.message ?? cause})`);
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, interrupt);
  process.stdout.on('error', interrupt); // whoever read it has gone
  const outcomes = [];
  const queue = [...planned.targets];
  const worker = async () => {
    for (let target = queue.shift(); target && !interrupted; target = queue.shift()) {
      const outcome = await runTarget(target, { vmtest, limitSeconds });
      outcomes.push(outcome);
      if (outcome.results?.complete) keep(outcome, outcomes, given.values.record);
    }
  };
  const jobs = Math.max(1, Number(given.values.jobs) || Math.min(4, availableParallelism()));
  const workers = Array.from({ length: jobs }, worker);
  // it halts its processor: no machine beside it is slower for it
  const hang = given.values.match ? { passed: 0, failed: 0 } : await testHang({ vmtest, say: (line) => console.log(line) });
  await Promise.all(workers);

  const complete = completeResults(outcomes);
  console.log(resultsTable(complete));
  if (given.values.record && complete.length > 0) {
    const kept = recordResults('docs/kernels.md', complete);
    if (kept.length > 0) console.log(`# docs/kernels.md keeps the rows of an earlier run for ${kept.join(', ')}`);
  }
  const passed = outcomes.reduce((sum, outcome) => sum + outcome.passed, hang.passed);
  const failed = outcomes.reduce((sum, outcome) => sum + outcome.failed, hang.failed);
  for (const { fault } of outcomes) if (fault) console.log(`not ok - ${fault}`);
  for (const { target, results, seconds, passed, failed } of outcomes) {
    const kernel = results ? `kernel ${results.kernel}` : 'no kernel';
    console.log(`# ${target.name}: ${kernel}, ${passed} passed, ${failed} failed, ${(seconds / 60).toFixed(1)} min`);
  }
  if (interrupted) console.log('interrupted: not all kernels ran');
  console.log(`${passed} passed, ${failed} failed`);
  process.exitCode = interrupted || failed > 0 || passed === 0 ? 1 : 0;
}

await main();
