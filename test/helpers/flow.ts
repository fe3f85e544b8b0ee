// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// The JSON of `bpf ct list global`, `bpf nat list` and `bpf metrics list`, as a user's script would type it.
// Written from the command line's contract and not from the product's sources.

export interface FlowTuple {
  src: string;
  dst: string;
  sport?: number;
  dport?: number;
  type?: number;
  code?: number;
  id?: number;
  packets: number;
  bytes: number;
}

export interface Flow {
  family: 'ipv4' | 'ipv6';
  proto: string;
  protonum: number;
  state?: string;
  status: string[];
  original: FlowTuple;
  reply: FlowTuple;
  timeout: number;
  age?: number;
  zone?: number;
  zoneDirection?: 'original' | 'reply';
  iface?: string;
}

export interface Mapping {
  family: 'ipv4' | 'ipv6';
  proto: string;
  protonum: number;
  type: 'masquerade' | 'snat' | 'dnat' | 'redirect' | 'netmap';
  iface: string;
  internal: { address: string; port: number };
  external: { address: string; port: number };
  remote: { address: string; port: number } | null;
  age: number;
  flows: number;
}

/** The flows of one protocol between an inside host and a destination, oldest first as listed. */
export function flowsOf(flows: readonly Flow[], proto: string, match: Partial<FlowTuple> = {}): Flow[] {
  return flows.filter(
    (flow) =>
      flow.proto === proto &&
      Object.entries(match).every(([key, value]) => flow.original[key as keyof FlowTuple] === value),
  );
}

/** Every tuple that is on a wire, as text: two live flows never share one (invariant 4). */
export function wireTuples(flows: readonly Flow[]): string[] {
  const text = (flow: Flow, tuple: FlowTuple): string =>
    [flow.proto, tuple.src, tuple.sport ?? tuple.id, tuple.dst, tuple.dport ?? tuple.type].join(' ');
  return flows.flatMap((flow) => [text(flow, flow.original), text(flow, flow.reply)]);
}
