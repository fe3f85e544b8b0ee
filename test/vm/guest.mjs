// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Runs the test files inside the virtual machine, one after the other, and prints their outermost test points as
// TAP with the kernel's name in front. The whole output of each file and results.json go to /mnt/vmtest/results.
//
//   node test/vm/guest.mjs NAME
//
// VM_SLOW stretches time limits, VM_MATCH (a regular expression) picks files. A test tells the table in
// docs/kernels.md a fact with a TAP comment: `# vm: {"flavour":"floor"}`.
import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { release } from 'node:os';
import { basename } from 'node:path';
import { createInterface } from 'node:readline';
import { readTap } from '../../scripts/tap.mjs';
import { testFiles } from './suite.mjs';

/** A file's limit on a machine as fast as the host. */
const FILE_SECONDS = 30;
/** The gateway's runs every command, each a process of its own; that of packets runs most of test/prog. */
const LONG_SECONDS = { 'gateway.test.js': 90, 'packets.test.js': 60 };
const limitOf = (file) => (LONG_SECONDS[basename(file)] ?? FILE_SECONDS) * slow;
const GRACE_MS = 10_000; // between SIGTERM, which lets a test tear down, and SIGKILL
/** An emulated machine is about 35 times slower at JavaScript, and 5 to 10 times at everything else. */
const SLOW_EMULATED = 20;
const SHOWN_LINES = 60; // of a failure
const RESULTS = '/mnt/vmtest/results';
/** Bits of /proc/sys/kernel/tainted that a test must not set: the kernel hit a BUG or an oops, or a WARN. */
const TAINTS = { oops: 1 << 7, warning: 1 << 9 };

const name = process.argv[2] ?? release();
const match = process.env.VM_MATCH ? new RegExp(process.env.VM_MATCH) : undefined;
const emulated = /QEMU TCG/.test(readFileSync('/proc/cpuinfo', 'utf8'));
const slow = Math.max(1, Number(process.env.VM_SLOW) || (emulated ? SLOW_EMULATED : 1));

function say(text) {
  for (const line of text.split('\n')) console.log(`${name} | ${line}`);
}

function taints() {
  const bits = Number(readFileSync('/proc/sys/kernel/tainted', 'utf8'));
  return Object.keys(TAINTS).filter((taint) => bits & TAINTS[taint]);
}

/** Runs one file to its end or its limit; its outermost test points are shown as they come. */
async function runFile(file) {
  const started = performance.now();
  const env = { ...process.env, VM_SLOW: String(slow), TAP_TIMEOUT: String(limitOf(file)) };
  const child = spawn(process.execPath, [file], { detached: true, stdio: ['ignore', 'pipe', 'pipe'], env });
  const lines = [];
  const errors = [];
  let timedOut = false;
  child.stderr.on('data', (chunk) => errors.push(chunk));
  const signalGroup = (signal) => {
    try {
      return process.kill(-child.pid, signal);
    } catch {
      return false; // the group is gone
    }
  };
  let killTimer;
  const limit = setTimeout(() => {
    timedOut = true;
    signalGroup('SIGTERM');
    killTimer = setTimeout(() => signalGroup('SIGKILL'), GRACE_MS);
  }, limitOf(file) * 1000);
  createInterface({ input: child.stdout }).on('line', (line) => {
    lines.push(line);
    if (/^(not )?ok\b|^Bail out!/.test(line)) say(line.replace(/ \{$/, ''));
  });

  return new Promise((resolve) => {
    let code;
    let signal;
    let orphans;
    child.on('exit', (exitCode, exitSignal) => {
      clearTimeout(limit);
      clearTimeout(killTimer);
      [code, signal] = [exitCode, exitSignal];
      orphans = signalGroup('SIGKILL'); // a grandchild that holds the pipes open would delay 'close' for ever
    });
    child.on('close', () => {
      const seconds = (performance.now() - started) / 1000;
      resolve({ code, signal, orphans, timedOut, limit: limitOf(file), seconds, lines, stderr: Buffer.concat(errors).toString() });
    });
  });
}

/** Its first and last lines: a verifier's log has hundreds. The whole is in the file's own output. */
function shortened(text) {
  const lines = text.split('\n').filter((line) => line.trim());
  const left = lines.length - SHOWN_LINES;
  if (left <= 0) return lines.join('\n');
  return [...lines.slice(0, SHOWN_LINES / 2), `(${left} lines left out)`, ...lines.slice(-SHOWN_LINES / 2)].join('\n');
}

/** What is wrong with a run that its TAP does not show. */
function faults(run, tap, newTaints) {
  const found = newTaints.map((taint) => `the kernel has logged a${taint === 'oops' ? 'n oops' : ' warning'}:\n${kernelLog()}`);
  if (run.timedOut) return [...found, `did not end within ${run.limit} s and was stopped`];
  if (run.signal) return [...found, `ended by ${run.signal}`];
  if (run.code !== 0 && tap.failed === 0) found.push(`exited with status ${run.code}`);
  if (!tap.complete) found.push('its plan and its test points do not agree, or it ran none');
  if (run.orphans) found.push('left processes running');
  return found;
}

function kernelLog() {
  const { stdout } = spawnSync('dmesg', { encoding: 'utf8' });
  return (stdout ?? '').trimEnd().split('\n').slice(-60).join('\n');
}

/** The facts that tests have told, later ones over earlier ones. */
function factsIn(lines) {
  const facts = {};
  for (const line of lines) {
    const fact = /^ *# vm: (\{.*\})$/.exec(line)?.[1];
    if (fact) Object.assign(facts, JSON.parse(fact));
  }
  return facts;
}

/** The flavour of the datapath that this kernel gets; the others are loaded on the kernels that get them. */
async function usedFlavour() {
  const { bestFlavour } = await import('../../dist/src/flavours.js');
  const { feature } = await import('libbpf-ts');
  return bestFlavour((name) => feature(name).available);
}

const files = testFiles(match);
process.env.CTNAT_FLAVOURS ??= await usedFlavour();
mkdirSync(RESULTS, { recursive: true });
const results = { name, kernel: release(), emulated, slow, complete: false, facts: {}, files: [] };
const save = () => writeFileSync(`${RESULTS}/results.json`, `${JSON.stringify(results, null, 1)}\n`);
save();

say(`# kernel ${results.kernel}, ${files.length} test files, time limits x${slow}, flavour ${process.env.CTNAT_FLAVOURS}`);
let before = taints();
for (const file of files) {
  say(`# Subtest: ${file}`);
  const run = await runFile(file);
  const tap = readTap(run.lines.join('\n'));
  const after = taints();
  const wrong = faults(run, tap, after.filter((taint) => !before.includes(taint)));
  before = after;
  const result = { file, passed: tap.passed, failed: tap.failed + wrong.length, skipped: tap.skipped, seconds: run.seconds };
  results.files.push(result);
  Object.assign(results.facts, factsIn(run.lines));
  for (const failure of tap.failures) say(shortened(failure).replace(/^/gm, '#   '));
  for (const fault of wrong) say(`not ok - ${file} ${fault}`.replace(/\n/g, '\n#   '));
  if (result.failed && run.stderr.trim()) say(run.stderr.trimEnd().split('\n').slice(-40).join('\n').replace(/^/gm, '#   stderr: '));
  say(`# ${file}: ${result.passed} passed, ${result.failed} failed (${run.seconds.toFixed(1)} s)`);
  writeFileSync(`${RESULTS}/${file.replaceAll('/', '_')}.tap`, `${run.lines.join('\n')}\n# stderr\n${run.stderr.replace(/^/gm, '# ')}`);
  save();
}

const passed = results.files.reduce((sum, file) => sum + file.passed, 0);
const failed = results.files.reduce((sum, file) => sum + file.failed, 0) + (files.length === 0 ? 1 : 0);
if (files.length === 0) say('not ok - there are no compiled test files: run `make build` first');
results.complete = true;
save();
const flavour = results.facts.flavour ? `flavour ${results.facts.flavour}, ` : '';
say(`kernel ${results.kernel}: ${flavour}${passed} passed, ${failed} failed`);
process.exitCode = failed ? 1 : 0;
