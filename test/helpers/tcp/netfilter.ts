// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// The running kernel's connection tracking as a tracker: a router between two links, in a namespace of its own.

import { Namespace, veth } from '../netns.js';
import type { Teardown } from '../teardown.js';
import { compile } from './compile.js';
import { LineProcess, LineTracker, TIMEOUTS } from './tracker.js';

/** The class goes out in the DSCP field, where netfilter.c reads it. */
const RULES = `
table ip class {
  chain forward {
    type filter hook forward priority 0;
    ct state invalid ip dscp set 1 accept
    ct state established ip dscp set 2 accept
    ct state new ip dscp set 3 accept
  }
}`;

const MTU = 65_535;

/** Builds the router and starts netfilter.c in it, with TIMEOUTS. */
export async function startNetfilter(teardown: Teardown): Promise<LineTracker> {
  const program = await compile('netfilter', teardown);
  const router = await Namespace.create('tcp-router', teardown);
  const ends = await Namespace.create('tcp-ends', teardown);
  for (const ns of [router, ends]) await ns.sysctl({ 'net.ipv6.conf.default.disable_ipv6': 1 });
  await router.sysctl({ 'net.ipv4.ip_forward': 1 });
  const macs: string[] = [];
  for (const [i, [end, port]] of [
    ['a0', 'r0'],
    ['b0', 'r1'],
  ].entries()) {
    await veth(ends, end!, router, port!, { mtu: MTU });
    await router.ip('address', 'add', `10.0.${i}.1/24`, 'dev', port!);
    const neighbour = ['lladdr', `02:00:00:00:00:1${i}`, 'nud', 'permanent'];
    await router.ip('neighbour', 'add', `10.0.${i}.2`, ...neighbour, 'dev', port!);
    macs.push(await router.mac(port!));
  }
  await router.run(['nft', '-f', '-'], { input: RULES });
  await router.sysctl(
    Object.fromEntries(
      Object.entries(TIMEOUTS).map(([name, s]) => [`net.netfilter.nf_conntrack_tcp_timeout_${name}`, s]),
    ),
  );
  const tracker = new LineTracker(new LineProcess(router.argv([program, ends.path, ...macs])));
  teardown.defer('netfilter tracker', () => tracker.close());
  return tracker;
}
