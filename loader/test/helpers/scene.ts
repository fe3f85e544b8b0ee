// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** Namespaces and veth pairs of a test's own; their names carry the process id. */

import { execFileSync } from 'node:child_process';
import { setNetns } from '../../src/netns.js';
import { listLinks } from '../../src/rtnetlink.js';

export function run(command: string, ...args: string[]): string {
  return execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
}

interface Teardown {
  teardown(handler: () => void): void;
}

let count = 0;

/** A new namespace, deleted when the test ends. */
export function makeNetns(t: Teardown): string {
  const name = `lbt${process.pid}-${++count}`;
  run('ip', 'netns', 'add', name);
  t.teardown(() => run('ip', 'netns', 'delete', name));
  run('ip', '-n', name, 'link', 'set', 'lo', 'up');
  return name;
}

export interface Scene {
  near: string;
  far: string;
  /** The near end of the veth pair, called "near0" with 10.77.0.1; "far0" has 10.77.0.2. */
  ifindex: number;
  /** Sends echo requests from near to far; each goes out and its reply comes in once. */
  ping(packets: number): void;
}

/** Two namespaces joined by a veth pair. Moves the process into the near one for good. */
export function makeScene(t: Teardown): Scene {
  const near = makeNetns(t);
  const far = makeNetns(t);
  run('ip', 'link', 'add', 'near0', 'netns', near, 'type', 'veth', 'peer', 'name', 'far0', 'netns', far);
  run('ip', '-n', near, 'address', 'add', '10.77.0.1/24', 'dev', 'near0');
  run('ip', '-n', far, 'address', 'add', '10.77.0.2/24', 'dev', 'far0');
  run('ip', '-n', near, 'link', 'set', 'near0', 'up');
  run('ip', '-n', far, 'link', 'set', 'far0', 'up');
  setNetns(near);
  const ifindex = listLinks().find((link) => link.name === 'near0')!.ifindex;
  const ping = (packets: number): void => {
    run('ping', '-q', '-c', `${packets}`, '-i', '0.002', '-W', '5', '10.77.0.2');
  };
  return { near, far, ifindex, ping };
}
