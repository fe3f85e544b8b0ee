// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// One packet at one hook: what is put in, and what comes out.

export type Hook = 'ingress' | 'egress';

export type InterfaceName = 'lan0' | 'wan0' | 'dmz0';

/** ifindex by name. dmz0 leads to 203.0.113.0/24 and is not attached. */
export type Network = Readonly<Record<InterfaceName, number>> & {
  /** With the wire stepper: the other end of each, in the same namespace. */
  readonly far?: Readonly<Record<InterfaceName, number>>;
};

export interface StepOptions {
  hook: Hook;
  at: InterfaceName;
  packet: Uint8Array;
  /** What the packet's earlier hook left in skb->tc_index. */
  tcIndex?: number;
  /** Where the packet came in; left out: this host made it (egress), or `at` (ingress). */
  from?: InterfaceName;
  /** Cuts the frame to so many bytes inside the kernel; test runs refuse to begin with half an IP header. */
  length?: number;
  /** Tag beside the frame, as the kernel and hardware keep it: protocol and tag control information. */
  vlan?: { protocol: number; tci: number };
  mark?: number;
  gso?: { size: number; segments: number };
  /** BPF_F_TEST_SKB_CHECKSUM_COMPLETE: the kernel checks that skb->csum stays right (since 6.13). */
  checksumComplete?: boolean;
}

export interface StepResult {
  verdict: 'pass' | 'drop' | 'redirect';
  packet: Buffer;
  tcIndex: number;
  vlan: { protocol: number; tci: number } | undefined;
  mark: number;
}

/** A tag as a word of a request, 0 for none. */
export function packVlan(vlan: StepOptions['vlan']): number {
  return vlan ? ((vlan.protocol << 16) | vlan.tci) >>> 0 : 0;
}

export function unpackVlan(word: number): StepResult['vlan'] {
  return word ? { protocol: word >>> 16, tci: word & 0xffff } : undefined;
}
