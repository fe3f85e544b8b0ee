// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// nftables in the router's namespace, doing what ctnat does.

import type { Flow, FlowTuple } from './flow.js';
import type { Forward, GatewayOptions, Nat } from './nat.js';
import type { Topology } from './topology.js';

const SYSCTLS = {
  udp: 'net.netfilter.nf_conntrack_udp_timeout',
  udpStream: 'net.netfilter.nf_conntrack_udp_timeout_stream',
  icmp: 'net.netfilter.nf_conntrack_icmp_timeout',
  tcpEstablished: 'net.netfilter.nf_conntrack_tcp_timeout_established',
} as const;

export class Nftables implements Nat {
  constructor(readonly topology: Topology) {}

  async start(options: GatewayOptions = {}): Promise<void> {
    const { wan } = this.topology.router;
    // Netfilter lets invalid packets out untranslated; the last rule is what careful users add.
    await this.#nft(`
      table inet nat {
        chain pre { type nat hook prerouting priority dstnat; }
        chain post { type nat hook postrouting priority srcnat; oifname "${wan}" masquerade; }
        chain forward { type filter hook forward priority 0; ct state invalid drop; }
      }`);
    const { ns } = this.topology.router;
    await ns.sysctl({ 'net.netfilter.nf_conntrack_acct': 1 });
    for (const [name, seconds] of Object.entries(options.timeouts ?? {})) {
      await ns.sysctl({ [SYSCTLS[name as keyof typeof SYSCTLS]]: seconds });
    }
  }

  async forward({ proto, port, to, toPort }: Forward): Promise<void> {
    const { wan } = this.topology.router;
    await this.#nft(
      `add rule inet nat pre iifname "${wan}" ${proto} dport ${port} dnat ip to ${to}:${toPort}`,
    );
  }

  async snat(source: string, to: string, ports?: [number, number]): Promise<void> {
    const { wan } = this.topology.router;
    const range = ports ? `:${ports[0]}-${ports[1]}` : '';
    await this.#nft(
      ['tcp', 'udp', 'icmp']
        .map(
          (p) =>
            `insert rule inet nat post oifname "${wan}" ip saddr ${source} ip protocol ${p} snat ip to ${to}${p === 'icmp' ? '' : range}`,
        )
        .join('\n'),
    );
  }

  async flows(): Promise<Flow[]> {
    const { stdout } = await this.topology.router.ns.run(['conntrack', '-L', '-o', 'extended']);
    return stdout.split('\n').filter(Boolean).map(readLine);
  }

  async #nft(script: string): Promise<void> {
    await this.topology.router.ns.run(['nft', '-f', '-'], { input: script });
  }
}

/** A line of `conntrack -L -o extended`. */
function readLine(line: string): Flow {
  const words = line.trim().split(/\s+/);
  const tuples: Record<string, string>[] = [{}, {}];
  let at = 0;
  for (const word of words) {
    const [key, value] = word.split('=');
    if (value === undefined) continue;
    if (key === 'src' && 'src' in tuples[at]!) at = 1;
    tuples[at]![key!] = value;
  }
  const status = [...line.matchAll(/\[(\w+)\]/g)].map((match) => match[1]!);
  return {
    family: words[0] as Flow['family'],
    proto: words[2]!,
    protonum: Number(words[3]),
    ...(words[2] === 'tcp' && { state: words[5]! }),
    status: status.includes('UNREPLIED') ? [] : ['SEEN_REPLY', ...status],
    original: tupleOf(tuples[0]!),
    reply: tupleOf(tuples[1]!),
    timeout: Number(words[4]),
  };
}

function tupleOf(fields: Record<string, string>): FlowTuple {
  const { src = '', dst = '', ...rest } = fields;
  const wanted = ['sport', 'dport', 'type', 'code', 'id', 'packets', 'bytes'];
  const numbers = Object.fromEntries(
    wanted.filter((key) => key in rest).map((key) => [key, Number(rest[key])]),
  );
  return { src, dst, packets: 0, bytes: 0, ...numbers };
}
