// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
import type { Namespace } from './netns.js';

/** Packets of a family that a namespace's stack has forwarded so far. */
export async function forwardedBy(ns: Namespace, family: 'ipv4' | 'ipv6' = 'ipv4'): Promise<number> {
  if (family === 'ipv6') {
    const { stdout } = await ns.run(['cat', '/proc/net/snmp6']);
    return Number(/^Ip6OutForwDatagrams\s+(\d+)$/m.exec(stdout)![1]);
  }
  const { stdout } = await ns.run(['cat', '/proc/net/snmp']);
  const [names, values] = stdout.split('\n').filter((line) => line.startsWith('Ip:'));
  return Number(values!.split(' ')[names!.split(' ').indexOf('ForwDatagrams')]);
}
