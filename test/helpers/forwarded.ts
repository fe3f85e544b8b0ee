// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
import type { Namespace } from './netns.js';

/** IPv4 packets that a namespace's stack has forwarded so far. */
export async function forwardedBy(ns: Namespace): Promise<number> {
  const { stdout } = await ns.run(['cat', '/proc/net/snmp']);
  const [names, values] = stdout.split('\n').filter((line) => line.startsWith('Ip:'));
  return Number(values!.split(' ')[names!.split(' ').indexOf('ForwDatagrams')]);
}
