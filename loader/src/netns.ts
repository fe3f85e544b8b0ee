// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/**
 * Network namespaces of the calling thread: entering one, and coming back.
 *
 * setns(2) moves one thread. With it go the functions of this package, the sockets that Node opens on that thread
 * (node:net, node:dgram) and the child processes that it starts. What does not: Node's thread pool (asynchronous
 * node:fs, DNS look-ups), which keeps the namespace in which it was started, and worker threads. A socket stays for
 * ever where it was opened. Mounts do not change: bpffs and its pins stay in sight, and /sys/class/net goes on
 * showing the namespace in which /sys was mounted.
 */

import { closeSync, constants as fs, fstatSync, openSync, statSync } from 'node:fs';
import { constants } from 'node:os';
import { BpfError, SyscallError } from './errors.js';
import { checkErrno, libc } from './native.js';

const CLONE_NEWNET = 0x40000000;
const NETNS_DIRECTORY = '/run/netns';
const OWN_NETNS = '/proc/thread-self/ns/net';

/** A name as `ip netns` shows it, or any path with a slash: /run/netns/NAME, /proc/PID/ns/net. */
export function netnsPath(nameOrPath: string): string {
  if (nameOrPath === '' || nameOrPath === '.' || nameOrPath === '..') {
    throw new TypeError(`Cannot name a network namespace "${nameOrPath}"`);
  }
  return nameOrPath.includes('/') ? nameOrPath : `${NETNS_DIRECTORY}/${nameOrPath}`;
}

function openNetns(path: string, what: string): number {
  try {
    return openSync(path, fs.O_RDONLY);
  } catch (cause) {
    const errno = -((cause as NodeJS.ErrnoException).errno ?? -constants.errno.EIO);
    throw new SyscallError(what, errno, {
      cause,
      ...(errno === constants.errno.ENOENT && { hint: '"ip netns list" shows the names there are' }),
    });
  }
}

function enter(fd: number, what: string): void {
  checkErrno(libc.setns(fd, CLONE_NEWNET), what);
}

/**
 * Moves the calling thread into a network namespace for good.
 *
 * @throws SyscallError: ENOENT no such namespace, EINVAL not a network namespace, EPERM without CAP_SYS_ADMIN
 */
export function setNetns(nameOrPath: string): void {
  const what = `enter the network namespace "${nameOrPath}"`;
  const fd = openNetns(netnsPath(nameOrPath), what);
  try {
    enter(fd, what);
  } finally {
    closeSync(fd);
  }
}

/**
 * Calls `work` inside a network namespace and comes back, also when it throws.
 * `work` is synchronous: between two turns of the event loop other code of the thread would find itself in the
 * wrong namespace. What is opened inside (a netlink watch, an attached program) stays there and can be used after.
 *
 * @throws SyscallError as setNetns() does; TypeError when `work` returns a promise
 */
export function withNetns<T>(nameOrPath: string, work: () => T): T {
  return comeBackAfter(() => {
    setNetns(nameOrPath);
    return work();
  });
}

/**
 * Calls `work` inside a network namespace that nobody else sees, in which there is nothing but "lo" (ifindex 1,
 * down), and which is gone afterwards with all that was made in it.
 *
 * @throws SyscallError: EPERM without CAP_SYS_ADMIN, EINVAL without CONFIG_NET_NS
 */
export function withPrivateNetns<T>(work: () => T): T {
  return comeBackAfter(() => {
    checkErrno(libc.unshare(CLONE_NEWNET), 'make a private network namespace');
    return work();
  });
}

function comeBackAfter<T>(work: () => T): T {
  const old = openNetns(OWN_NETNS, 'open the current network namespace');
  try {
    const result = work();
    if (typeof (result as { then?: unknown } | null | undefined)?.then === 'function') {
      throw new TypeError(
        'Cannot stay in a network namespace for a promise: the function must be synchronous',
      );
    }
    return result;
  } finally {
    try {
      comeBack(old);
    } finally {
      closeSync(old);
    }
  }
}

function comeBack(fd: number): void {
  // still there: without CAP_SYS_ADMIN the way out was refused, and the way back would be too
  if (fstatSync(fd).ino === currentNetnsInode()) return;
  try {
    enter(fd, 'return to the former network namespace');
  } catch (cause) {
    // going on would attach and read in the wrong place
    throw new BpfError('Cannot return to the former network namespace: the thread is stuck in another one', {
      code: 'ERR_BPF_NETNS_LOST',
      operation: 'return to the former network namespace',
      cause,
      hint: 'End the process',
    });
  }
}

/** Inode number of the calling thread's network namespace: equal if and only if it is the same one. */
export function currentNetnsInode(): number {
  return statSync(OWN_NETNS).ino;
}
