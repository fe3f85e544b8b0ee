// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/**
 * Locks of a pin path, below /run/ctnat: bpffs has no files that could be locked. The kernel lets go of them when
 * their holder dies, and the files stay, since one that is deleted could be held twice.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, realpathSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { FileLock, LockTimeoutError } from 'libbpf-ts';
import { CtnatError } from './errors.js';

const FOLDER = '/run/ctnat';
const WAIT_MS = 30_000;

/**
 * `change`: whoever changes what is loaded and attached. `agent`: the agent, from its start to its end. `running`: the
 * agent, once what it was started with is in force. `reader0` and so on: whoever listens to events there.
 */
export type LockPurpose = 'change' | 'agent' | 'running' | `reader${number}`;

/**
 * Does work that nobody else who changes this pin path does at the same time.
 * @throws CtnatError naming the holder when it takes too long
 */
export async function withChangeLock<T>(pinPath: string, work: () => T | Promise<T>): Promise<T> {
  let lock: FileLock;
  try {
    lock = await FileLock.acquire(lockFile(pinPath, 'change'), { timeoutMs: WAIT_MS });
  } catch (error) {
    if (!(error instanceof LockTimeoutError)) throw error;
    const holder = error.holder === undefined ? 'another process' : `process ${error.holder}`;
    throw new CtnatError(
      `can not change ${pinPath}: ${holder} has been changing it for ${WAIT_MS / 1000} s; wait for it, or end it`,
      { cause: error },
    );
  }
  try {
    return await work();
  } finally {
    lock.release();
  }
}

/** The lock of withChangeLock(), unless somebody else has it. */
export function tryChangeLock(pinPath: string): FileLock | undefined {
  return FileLock.tryAcquire(lockFile(pinPath, 'change'));
}

/**
 * Makes this process the agent of a pin path.
 * @throws CtnatError naming the agent that there is
 */
export function lockAgent(pinPath: string): FileLock {
  const file = lockFile(pinPath, 'agent');
  const lock = FileLock.tryAcquire(file);
  if (lock) return lock;
  throw new CtnatError(
    `can not run the agent for ${pinPath}: one runs already, with pid ${readPid(file) ?? 'unknown'}; ` +
      'stop it first, or use another --pin-path',
  );
}

/** Says that the agent is ready, until the lock is released. The caller is the agent. */
export function lockRunning(pinPath: string): Promise<FileLock> {
  return FileLock.acquire(lockFile(pinPath, 'running'));
}

/** The process that runs as the pin path's agent, or undefined. Looks without touching the lock. */
export function agentPid(pinPath: string): number | undefined {
  return lockedBy(pinPath, 'running');
}

/** The process that listens to events at this place, or undefined. Looks without touching the lock. */
export function readerPid(pinPath: string, place: number): number | undefined {
  return lockedBy(pinPath, `reader${place}`);
}

/** Takes a place to listen to events, unless a living process has it. */
export function lockReader(pinPath: string, place: number): FileLock | undefined {
  return FileLock.tryAcquire(lockFile(pinPath, `reader${place}`));
}

function lockedBy(pinPath: string, purpose: LockPurpose): number | undefined {
  const file = lockFile(pinPath, purpose);
  try {
    return lockHolder(readFileSync('/proc/locks', 'utf8'), statSync(file));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/**
 * Who holds a flock on a file, by /proc/locks (proc(5)): `1: FLOCK  ADVISORY  WRITE 708 00:17:2135 0 EOF`, with the
 * device in hexadecimal and the inode.
 */
export function lockHolder(
  locks: string,
  file: { readonly dev: number; readonly ino: number },
): number | undefined {
  // glibc's makedev(): the minor number is split around the major one
  const major = (Math.floor(file.dev / 0x100) & 0xfff) + Math.floor(file.dev / 2 ** 44) * 0x1000;
  const minor = (file.dev & 0xff) + Math.floor(file.dev / 2 ** 20) * 0x100;
  for (const line of locks.split('\n')) {
    const match = /^\d+: FLOCK +\S+ +WRITE +(\d+) ([0-9a-f]+):([0-9a-f]+):(\d+) /.exec(line);
    if (!match || Number(match[4]) !== file.ino) continue;
    if (Number.parseInt(match[2]!, 16) === major && Number.parseInt(match[3]!, 16) === minor)
      return Number(match[1]);
  }
  return undefined;
}

function readPid(file: string): number | undefined {
  try {
    const pid = Number.parseInt(readFileSync(file, 'utf8'), 10);
    return pid > 0 ? pid : undefined;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** A file of a pin path that is as short-lived as what is loaded: gone after a boot. */
export function stateFile(pinPath: string, name: 'pcp'): string {
  return runFile(pinPath, name);
}

function lockFile(pinPath: string, purpose: LockPurpose): string {
  return runFile(pinPath, purpose);
}

/** The same file for every spelling of a pin path. Long paths are cut, so their hash stands for them. */
function runFile(pinPath: string, purpose: string): string {
  mkdirSync(FOLDER, { recursive: true, mode: 0o755 });
  const path = realPath(pinPath);
  const hash = createHash('sha256').update(path).digest('hex').slice(0, 16);
  return join(FOLDER, `${basename(path).slice(0, 64)}-${hash}.${purpose}`);
}

function realPath(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return dirname(path) === path ? path : join(realPath(dirname(path)), basename(path));
  }
}
