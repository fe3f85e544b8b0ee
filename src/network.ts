// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** The network namespace that the process works in, as it was at one moment. */
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { currentNetnsInode, type InterfaceAddress, type Link, listAddresses, listLinks } from 'libbpf-ts';
import { CtnatError, quoted } from './errors.js';
import { didYouMean } from './suggest.js';

export interface Network {
  /** Its inode, by which it is told from others. */
  readonly netns: number;
  readonly links: readonly Link[];
  readonly addresses: readonly InterfaceAddress[];
}

/** Reads it from the kernel. */
export function readNetwork(): Network {
  return { netns: currentNetnsInode(), links: listLinks(), addresses: listAddresses() };
}

/**
 * The interface of that name.
 * @param action as it follows "can not": `attach`
 * @throws CtnatError if there is none
 */
export function requireLink({ links }: Network, name: string, action: string): Link {
  const link = links.find((each) => each.name === name);
  if (link) return link;
  const guess = didYouMean(
    name,
    links.map((each) => each.name),
  );
  throw new CtnatError(
    `can not ${action} ${name}: there is no interface ${quoted(name)} here${guess}; ip link shows those that there are`,
  );
}

/** A path by which the namespace of that inode can be entered, or undefined if no name and no process is in it. */
export function findNetns(inode: number): string | undefined {
  const named = list('/run/netns').map((name) => join('/run/netns', name));
  const ofProcesses = list('/proc').filter((name) => /^\d+$/.test(name));
  for (const path of [...named, ...ofProcesses.map((pid) => `/proc/${pid}/ns/net`)]) {
    try {
      if (statSync(path).ino === inode) return path;
    } catch {
      // it has ended, or is somebody else's
    }
  }
  return undefined;
}

function list(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}
