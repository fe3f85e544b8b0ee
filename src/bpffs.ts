// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** Where the pins are kept: makes sure that it is a bpffs, and the one that everybody else sees. */
import { existsSync, readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { BPFFS_PATH, isBpffs, mountBpffs } from 'libbpf-ts';
import { CtnatError } from './errors.js';

/**
 * Mounts bpffs at its usual place if the pin path is below that and nothing is mounted.
 * @throws CtnatError if the pin path lies in another file system
 */
export function prepareBpffs(pinPath: string): void {
  if (isInside(pinPath, BPFFS_PATH)) mountBpffs(BPFFS_PATH);
  const existing = nearestExisting(pinPath);
  if (isBpffs(existing)) return;
  throw new CtnatError(
    `can not pin to ${pinPath}: it is in no bpffs; mount one first: mount -t bpf bpf ${existing}`,
  );
}

/**
 * `ip netns exec NAME` runs its command with another /sys, behind which the bpffs with the pins is hidden.
 * @throws CtnatError that says what to use instead
 */
export function refuseHiddenPins(
  pinPath: string,
  mountinfo = readFileSync('/proc/self/mountinfo', 'utf8'),
): void {
  if (!isInside(pinPath, '/sys')) return;
  const name = netnsOfSys(mountinfo);
  if (name === undefined || existsSync(pinPath)) return;
  throw new CtnatError(
    `can not see the pins at ${pinPath}: ip netns exec hides them behind another /sys; ` +
      `run ctnat outside, as: ctnat --netns ${name}`,
  );
}

/** The network namespace for which ip-netns(8) has mounted /sys: it leaves its name as the mount's source. */
export function netnsOfSys(mountinfo: string): string | undefined {
  // proc_pid_mountinfo(5): ID PARENT MAJOR:MINOR ROOT PLACE OPTIONS [FIELDS] - TYPE SOURCE OPTIONS
  const mounts = mountinfo.split('\n').map((line) => line.split(' '));
  const sys = mounts.findLast((fields) => fields[4] === '/sys');
  if (!sys) return undefined;
  const [type, source] = sys.slice(sys.indexOf('-') + 1);
  const isNamed = type === 'sysfs' && source !== undefined && source !== 'sysfs' && source !== 'none';
  return isNamed ? source : undefined;
}

function isInside(path: string, folder: string): boolean {
  return path === folder || path.startsWith(`${folder}/`);
}

function nearestExisting(path: string): string {
  let existing = path;
  while (!existsSync(existing) && dirname(existing) !== existing) existing = dirname(existing);
  return existing;
}
