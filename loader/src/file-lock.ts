// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/**
 * An exclusive lock between processes, and between holders in one process: flock(2) on a file that stays.
 * The kernel releases it when its holder dies. The file is never deleted: a process that waits for the old file
 * and one that makes a new one would both believe to hold the lock.
 */

import {
  closeSync,
  constants as fs,
  ftruncateSync,
  openSync,
  readFileSync,
  readSync,
  writeSync,
} from 'node:fs';
import { constants } from 'node:os';
import { BpfError, SyscallError } from './errors.js';
import { checkErrno, errno, libc } from './native.js';
import { Readiness } from './readiness.js';

const LOCK_EX = 2;
const LOCK_NB = 4;
const LOCK_UN = 8;
const IN_CLOSE_WRITE = 0x8;
const IN_CLOEXEC_NONBLOCK = 0o2000000 | 0o4000;

/**
 * The kernel reports the closing of a dead holder's descriptor a moment before it removes the lock (__fput() in
 * fs/file_table.c), so that the attempt after the event may be too early and no other event would follow.
 */
const AFTER_EVENT_MS = 3;
/** Where events do not tell (network file systems, the holder's descriptor inherited by a child). */
const WITHOUT_EVENT_MS = 250;

export interface AcquireOptions {
  /** The longest wait in milliseconds; default 10,000. */
  timeoutMs?: number;
  signal?: AbortSignal;
}

export class FileLock {
  readonly path: string;
  #fd: number;

  private constructor(path: string, fd: number) {
    this.path = path;
    this.#fd = fd;
  }

  /**
   * Takes the lock if nobody has it, else returns undefined at once. Creates the file if it is missing.
   *
   * @throws SyscallError when the file cannot be opened or its file system has no locks
   */
  static tryAcquire(path: string): FileLock | undefined {
    const fd = openLockFile(path);
    let isHeld = false;
    try {
      isHeld = tryFlock(fd, path);
      return isHeld ? new FileLock(path, fd) : undefined;
    } finally {
      if (!isHeld) closeSync(fd);
    }
  }

  /**
   * Takes the lock, waiting for its holder without polling: an inotify event tells when the holder lets go.
   *
   * @throws LockTimeoutError when it is still held after the limit; the signal's reason when aborted;
   *   SyscallError as tryAcquire()
   */
  static async acquire(path: string, options: AcquireOptions = {}): Promise<FileLock> {
    const { timeoutMs = 10_000, signal } = options;
    signal?.throwIfAborted();
    const fd = openLockFile(path);
    let isHeld = false;
    try {
      isHeld = tryFlock(fd, path) || (await waitForFlock(fd, path, performance.now() + timeoutMs, signal));
      if (!isHeld) throw new LockTimeoutError(path, timeoutMs, readHolder(path));
      return new FileLock(path, fd);
    } finally {
      if (!isHeld) closeSync(fd);
    }
  }

  get isHeld(): boolean {
    return this.#fd >= 0;
  }

  /** Lets go. Idempotent. */
  release(): void {
    if (this.#fd < 0) return;
    const fd = this.#fd;
    this.#fd = -1;
    // before the closing, which is the event that waiters look for
    libc.flock(fd, LOCK_UN);
    closeSync(fd);
  }

  [Symbol.dispose](): void {
    this.release();
  }
}

/** Somebody else still holds the lock. */
export class LockTimeoutError extends BpfError {
  readonly path: string;
  /** Process id that the holder wrote into the file; absent if it has not (yet). */
  readonly holder?: number;

  constructor(path: string, timeoutMs: number, holder: number | undefined) {
    const who = holder === undefined ? 'another process' : `process ${holder}`;
    super(`Cannot lock "${path}": ${who} still holds it after ${timeoutMs} ms`, {
      code: 'ERR_BPF_LOCKED',
      operation: `lock "${path}"`,
      hint: 'Wait until that process has finished, or end it',
    });
    this.path = path;
    if (holder !== undefined) this.holder = holder;
  }
}

function openLockFile(path: string): number {
  try {
    // O_CLOEXEC (which Node always sets) keeps children from holding the lock with us
    return openSync(path, fs.O_RDWR | fs.O_CREAT | fs.O_NOFOLLOW, 0o600);
  } catch (cause) {
    const number = -((cause as NodeJS.ErrnoException).errno ?? -constants.errno.EIO);
    throw new SyscallError(`lock "${path}"`, number, { cause });
  }
}

function tryFlock(fd: number, path: string): boolean {
  while (libc.flock(fd, LOCK_EX | LOCK_NB) !== 0) {
    const reason = errno();
    if (reason === constants.errno.EAGAIN) return false;
    if (reason !== constants.errno.EINTR) throw new SyscallError(`lock "${path}"`, reason);
  }
  ftruncateSync(fd);
  writeSync(fd, `${process.pid}\n`, 0);
  return true;
}

/** All attempts are made on one descriptor: closing one would itself be an event, to us and to other waiters. */
async function waitForFlock(
  fd: number,
  path: string,
  deadline: number,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  const releases = new CloseEvents(path);
  try {
    let isAfterEvent = false;
    for (;;) {
      if (tryFlock(fd, path)) return true;
      const leftMs = deadline - performance.now();
      if (leftMs <= 0) return false;
      const pauseMs = isAfterEvent ? AFTER_EVENT_MS : WITHOUT_EVENT_MS;
      isAfterEvent = await releases.next(Math.min(leftMs, pauseMs), signal);
      signal?.throwIfAborted();
    }
  } finally {
    releases.close();
  }
}

function readHolder(path: string): number | undefined {
  try {
    const pid = Number.parseInt(readFileSync(path, 'utf8'), 10);
    return pid > 0 ? pid : undefined;
  } catch {
    return undefined;
  }
}

/** Tells when a descriptor of the file that was open for writing has been closed. */
class CloseEvents {
  readonly #fd: number;
  readonly #readiness: Readiness;
  readonly #bytes = Buffer.alloc(4096);

  constructor(path: string) {
    this.#fd = checkErrno(libc.inotify_init1(IN_CLOEXEC_NONBLOCK), `wait for the lock "${path}"`);
    this.#readiness = new Readiness(this.#fd);
    const watch = libc.inotify_add_watch(this.#fd, path, IN_CLOSE_WRITE);
    try {
      checkErrno(watch, `wait for the lock "${path}"`);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** True when there was an event, false after `timeoutMs` or when aborted. */
  async next(timeoutMs: number, signal: AbortSignal | undefined): Promise<boolean> {
    if (!(await this.#readiness.wait({ timeoutMs, signal }))) return false;
    readSync(this.#fd, this.#bytes, 0, this.#bytes.length, null);
    return true;
  }

  close(): void {
    this.#readiness.close();
    closeSync(this.#fd);
  }
}
