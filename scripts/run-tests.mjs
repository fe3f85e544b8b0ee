#!/usr/bin/env node
// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Runs compiled test files, each in a process group of its own and with a time limit, and ends with the
// line "N passed, N failed". What a file leaves behind (processes, network namespaces, pins) is removed
// and counts as a failure of that file.
//
//   scripts/run-tests.mjs [--jobs N] [--timeout SECONDS] [--match REGEXP] [--verbose] [SUITE|FILE...]
//
// Without a suite or file, all suites run. VM_SLOW=N (default 1) multiplies the time limits.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { basename, dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { readTap } from './tap.mjs';

process.chdir(join(dirname(fileURLToPath(import.meta.url)), '..'));

/** Of the end-to-end files those about what happens to packets: they also run in the modes that forward past the stack. */
const IN_EVERY_MODE = [
  ...['masquerade', 'forward', 'icmp-error', 'fragment', 'once', 'mss', 'checksum', 'nat-rules', 'no-leak', 'clash'],
  ...['exhaustion', 'throughput'],
];
/** What XDP mode refuses by name. */
const NOT_AT_XDP = ['full-cone', 'zones'];
const inMode = (names) => names.map((name) => `dist/test/e2e/${name}.test.js`);

/** End-to-end files run one at a time: they measure time-outs and fill both processors by themselves. Those of the modes
 * measure none, and load many programs. */
const SUITES = {
  check: { files: ['scripts/check.mjs'], jobs: 1, timeout: 300 },
  loader: { folder: 'loader/dist/test', jobs: 1, timeout: 300 },
  unit: { folder: 'dist/test/unit', jobs: 2, timeout: 120 },
  prog: { folder: 'dist/test/prog', jobs: 1, timeout: 300 },
  e2e: { folder: 'dist/test/e2e', jobs: 1, timeout: 300 },
  redirect: { files: inMode([...IN_EVERY_MODE, ...NOT_AT_XDP]), jobs: 2, timeout: 300, mode: 'redirect' },
  xdp: { files: inMode(IN_EVERY_MODE), jobs: 2, timeout: 600, mode: 'xdp' },
  // behind the others, whose results it reads
  compliance: { files: ['scripts/compliance-passed.mjs'], jobs: 1, timeout: 60 },
};

const RESULTS = 'build/test-results';
const GRACE_MS = 10_000; // between SIGTERM, which lets a test tear down, and SIGKILL
const slow = Math.max(1, Number(process.env.VM_SLOW ?? 1) || 1);

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    jobs: { type: 'string' },
    timeout: { type: 'string' },
    match: { type: 'string' },
    verbose: { type: 'boolean', default: false },
  },
});

const running = new Set();
const total = { passed: 0, failed: 0, skipped: [] };
let interrupted = false;

/** Every *.test.js below a folder, sorted, so that a run is like the last one. */
function testFiles(folder) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true })
    .map((name) => join(folder, name))
    .filter((name) => name.endsWith('.test.js') && existsSync(sourceOf(name)))
    .sort();
}

/** A compiled test whose source is gone is a leftover of an earlier build, not a test. */
function sourceOf(file) {
  return file.replace(/(^|\/)dist\/test\//, '$1test/').replace(/\.js$/, '.ts');
}

/** What to run: the named suites, or one suite of the named files and folders. */
function selection(names) {
  if (names.length === 0) return Object.entries(SUITES).map(([name, suite]) => planned(name, suite));
  return names.map((name) => {
    const suite = SUITES[name];
    if (suite) return planned(name, suite);
    if (!existsSync(name)) fail(`no suite and no file is called ${name}: suites are ${Object.keys(SUITES).join(', ')}`);
    const files = statSync(name).isDirectory() ? testFiles(name) : [name];
    return { name, jobs: 1, timeout: 300, files };
  });
}

function planned(name, suite) {
  const { jobs, timeout, mode } = suite;
  return { name, jobs, timeout, mode, files: suite.files ?? testFiles(suite.folder) };
}

function fail(message) {
  process.stderr.write(`run-tests: ${message}\n`);
  process.exit(2);
}

/** Sends a signal to a whole process group; a group that is gone is fine. */
function signalGroup(pid, signal) {
  try {
    process.kill(-pid, signal);
    return true;
  } catch {
    return false;
  }
}

/** Runs one file to its end or its time limit; `mode`: with CTNAT_MODE, as test/helpers/ctnat.ts has it. */
function runFile(file, timeoutSeconds, mode) {
  const started = performance.now();
  // tap's own limit for a whole file would come first; this one knows how slow the machine is
  const env = { ...process.env, TAP_TIMEOUT: '0', ...(mode && { CTNAT_MODE: mode }) };
  const child = spawn(process.execPath, [file], { env, detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
  const out = [];
  const err = [];
  let timedOut = false;
  let killTimer;
  child.stdout.on('data', (chunk) => out.push(chunk));
  child.stderr.on('data', (chunk) => err.push(chunk));

  const entry = {
    stop() {
      signalGroup(child.pid, 'SIGTERM');
      killTimer ??= setTimeout(() => signalGroup(child.pid, 'SIGKILL'), GRACE_MS);
    },
  };
  running.add(entry);
  const limit = setTimeout(() => {
    timedOut = true;
    entry.stop();
  }, timeoutSeconds * slow * 1000);

  return new Promise((resolve) => {
    // 'exit', then what is left of the group: a grandchild that holds the pipes open would delay 'close' for ever.
    child.on('exit', (code, signal) => {
      clearTimeout(limit);
      clearTimeout(killTimer);
      const orphans = signalGroup(child.pid, 'SIGKILL');
      child.once('close', () => {
        running.delete(entry);
        resolve({
          code,
          signal,
          orphans,
          timedOut,
          leftovers: sweep(child.pid),
          seconds: (performance.now() - started) / 1000,
          stdout: Buffer.concat(out).toString(),
          stderr: Buffer.concat(err).toString(),
        });
      });
    });
  });
}

/** Removes the namespaces and pins named after a test process that has ended; returns their names. */
function sweep(pid) {
  const mine = new RegExp(`^ctn${pid}-`);
  const removed = [];
  for (const name of listed('/run/netns').filter((n) => mine.test(n))) {
    const pids = spawnSync('ip', ['netns', 'pids', name], { encoding: 'utf8' }).stdout ?? '';
    for (const inside of pids.split('\n').filter(Boolean)) process.kill(Number(inside), 'SIGKILL');
    spawnSync('ip', ['netns', 'delete', name]);
    removed.push(`namespace ${name}`);
  }
  for (const name of listed('/sys/fs/bpf').filter((n) => mine.test(n))) {
    rmSync(join('/sys/fs/bpf', name), { recursive: true, force: true });
    removed.push(`pins /sys/fs/bpf/${name}`);
  }
  return removed;
}

function listed(folder) {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

/** Why a file failed that the TAP itself does not show; each counts as one failure. */
function faults(result, tap, timeoutSeconds) {
  const found = [];
  if (result.timedOut) found.push(`did not end within ${timeoutSeconds * slow} s and was stopped`);
  else if (result.signal) found.push(`ended by ${result.signal}`);
  else if (result.code !== 0 && tap.failed === 0) found.push(`exited with status ${result.code}`);
  if (!result.timedOut && !tap.complete) found.push('its plan and its test points do not agree, or it ran none');
  // A stopped or crashed test had no chance to clean up: one failure is enough for it.
  if (!result.timedOut && !result.signal) {
    if (result.orphans) found.push('left processes running');
    for (const leftover of result.leftovers) found.push(`left ${leftover} behind`);
  }
  return found;
}

function report(file, result, timeoutSeconds, mode) {
  const tap = readTap(result.stdout);
  const wrong = faults(result, tap, timeoutSeconds);
  const failed = tap.failed + wrong.length;
  total.passed += tap.passed;
  total.failed += failed;
  total.skipped.push(...tap.skipped.map((name) => `${relative('.', file)}: ${name}`));

  // results of another mode are not those that scripts/compliance-passed.mjs reads
  const log = join(RESULTS, `${mode ? `${mode}_` : ''}${file.replaceAll('/', '_')}.tap`);
  writeFileSync(log, `${result.stdout}\n# stderr\n${result.stderr.replace(/^/gm, '# ')}`);
  const counts = `${tap.passed} passed, ${failed} failed${tap.skipped.length ? `, ${tap.skipped.length} skipped` : ''}`;
  const name = `${mode ? `${mode} ` : ''}${file.replace(/dist\/test\//, '').replace(/\.js$/, '')}`;
  console.log(`${failed ? 'FAIL' : 'ok  '} ${name}: ${counts} (${result.seconds.toFixed(1)} s)`);
  if (!failed) {
    if (options.verbose) console.log(result.stdout);
    return;
  }
  for (const fault of wrong) console.log(`  ${basename(file)} ${fault}`);
  for (const failure of tap.failures) console.log(failure.replace(/^/gm, '  '));
  if (result.stderr.trim()) console.log(`  stderr:\n${lastLines(result.stderr, 60).replace(/^/gm, '    ')}`);
  if (tap.failures.length === 0) console.log(`  stdout:\n${lastLines(result.stdout, 40).replace(/^/gm, '    ')}`);
  console.log(`  whole output: ${log}`);
}

function lastLines(text, count) {
  return text.trimEnd().split('\n').slice(-count).join('\n');
}

/** Runs a suite's files, `jobs` at a time. */
async function runSuite(suite) {
  const files = suite.files.filter((file) => !options.match || new RegExp(options.match).test(file));
  if (files.length === 0) return;
  console.log(`# ${suite.name}`);
  const timeout = Number(options.timeout ?? suite.timeout);
  const queue = [...files];
  const worker = async () => {
    for (let file = queue.shift(); file !== undefined && !interrupted; file = queue.shift()) {
      report(file, await runFile(file, timeout, suite.mode), timeout, suite.mode);
    }
  };
  await Promise.all(Array.from({ length: Number(options.jobs ?? suite.jobs) }, worker));
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.on(signal, () => {
    interrupted = true;
    for (const entry of running) entry.stop();
  });
}

mkdirSync(RESULTS, { recursive: true });
for (const suite of selection(positionals)) {
  if (!interrupted) await runSuite(suite);
}
for (const name of total.skipped) console.log(`skipped: ${name}`);
if (interrupted) console.log('interrupted: not all tests ran');
console.log(`${total.passed} passed, ${total.failed} failed`);
process.exitCode = interrupted || total.failed > 0 || total.passed === 0 ? 1 : 0;
