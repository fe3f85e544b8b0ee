// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// One run of vmtest: boots a target, passes its test lines on, keeps the console, ends it at its limit.
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';

const CONSOLE_LINES = 60;
const GRACE_MS = 15_000; // for vmtest to see that its machine is gone, and clean up
const QUIET_MS = 60_000; // without a line for so long, say that it goes on

/** What the guest may know of the environment. */
const PASSED_ON = ['PATH', 'HOME', 'LANG', 'VM_SLOW', 'VM_MATCH', 'VM_CORE', 'VM_MORE', 'VM_NICE', 'CTNAT_FLAVOURS', 'CLANG', 'RUST_LOG'];

/**
 * @typedef {object} Outcome
 * @property {number} passed
 * @property {number} failed the machine's own failure counts as one
 * @property {string} [fault] why the run is a failure whatever the tests say
 * @property {string[]} [console] with a fault: the last lines of the machine's console
 * @property {object} [results] the guest's results.json
 * @property {number} seconds
 */

/** Virtual machines that are running; stop() ends one, and its run ends with a fault. */
export const machines = new Set();

/**
 * Boots a target and runs the tests in it.
 *
 * @param {import('./targets.mjs').Target} target
 * @param {{vmtest: string, limitSeconds: number, say: (line: string) => void}} options
 * @returns {Promise<Outcome>}
 */
export async function runMachine(target, { vmtest, limitSeconds, say }) {
  const share = resolve('.vm/run', target.name);
  rmSync(share, { recursive: true, force: true });
  mkdirSync(share, { recursive: true });
  const started = performance.now();
  const seconds = () => (performance.now() - started) / 1000;
  const env = { VM_SHARE: share, VM_SNAPSHOT: resolve('.vm/snapshot'), VMTEST_NO_UI: '1' };
  for (const key of PASSED_ON) if (process.env[key]) env[key] = process.env[key];
  const filter = `^${target.name.replaceAll(/[^\w]/g, '\\$&')}$`;
  // If this process is killed, vmtest goes too, and its machine with it (test/vm/qemu does the same).
  const argv = ['--pdeathsig', 'TERM', '--', vmtest, '--config', target.config, '--filter', filter];
  const child = spawn('setpriv', argv, { detached: true, stdio: ['ignore', 'pipe', 'pipe'], env });

  const log = [];
  const machine = { stopped: undefined, stop };
  machines.add(machine);
  let killTimer;
  function stop(reason) {
    if (machine.stopped) return;
    machine.stopped = reason;
    killMachine(child.pid);
    killTimer = setTimeout(() => killGroup(child.pid), GRACE_MS);
  }
  const limit = setTimeout(() => stop(`did not end within ${limitSeconds} s and was stopped`), limitSeconds * 1000);
  let lastLine = performance.now();
  let doing = 'booting';
  const quiet = setInterval(() => {
    if (performance.now() - lastLine >= QUIET_MS - 1000) say(`${target.name} | # ${seconds().toFixed(0)} s: still ${doing}`);
  }, QUIET_MS);
  const onLine = (line) => {
    log.push(line);
    if (!line.startsWith(`${target.name} | `)) return;
    lastLine = performance.now();
    doing = /# Subtest: (.*)/.exec(line)?.[1] ?? doing;
    say(line.trimEnd());
  };
  createInterface({ input: child.stdout }).on('line', onLine);
  createInterface({ input: child.stderr }).on('line', onLine);
  const status = await new Promise((done) => {
    child.on('error', (error) => done(error.message));
    child.on('close', (code, signal) => done(signal ?? code));
  });
  clearTimeout(limit);
  clearTimeout(killTimer);
  clearInterval(quiet);
  machines.delete(machine);

  writeFileSync(join(share, 'console.log'), `${log.join('\n')}\n`);
  const results = readResults(join(share, 'results/results.json'));
  return { ...judge(target.name, status, machine.stopped, results, log), results, seconds: seconds() };
}

/** What the outcome is, from vmtest's exit status and what the guest has written. */
export function judge(name, status, stopped, results, log) {
  const files = results?.files ?? [];
  const passed = files.reduce((sum, file) => sum + file.passed, 0);
  const failed = files.reduce((sum, file) => sum + file.failed, 0);
  let fault;
  if (!results) fault = `kernel ${name} ${stopped ?? 'did not boot, or not as far as the tests'}`;
  else if (!results.complete) fault = `kernel ${name} ${stopped ?? 'ended in the middle of the tests'}`;
  else if (stopped) fault = `kernel ${name} ${stopped}`;
  else if (status !== 0 && failed === 0) fault = `vmtest ended with status ${status} though no test failed in kernel ${name}`;
  else if (status === 0 && failed > 0) fault = `vmtest took ${failed} failures in kernel ${name} for a success`;
  else if (passed + failed === 0) fault = `no test ran in kernel ${name}`;
  if (!fault) return { passed, failed };
  const console = log.filter((line) => !line.startsWith(`${name} | `)).slice(-CONSOLE_LINES);
  return { passed, failed: failed + 1, fault: `${fault} (status ${status})`, console };
}

function readResults(path) {
  if (!existsSync(path)) return undefined;
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch {
    return undefined; // the machine ended while it wrote
  }
}

/** Ends vmtest's qemu: vmtest sees it and cleans up, which it does not when it is killed itself. */
function killMachine(vmtestPid) {
  try {
    const pids = execFileSync('pgrep', ['-P', String(vmtestPid)], { encoding: 'utf8' });
    for (const pid of pids.split('\n').filter(Boolean)) process.kill(Number(pid), 'SIGKILL');
  } catch {
    killGroup(vmtestPid);
  }
}

function killGroup(pid) {
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // it has ended
  }
}
