// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// struct __sk_buff as BPF_PROG_TEST_RUN takes it (net/bpf/test_run.c, convert___skb_to_skb): the kernel refuses
// any other field than mark, priority, ingress_ifindex, ifindex, cb, tstamp, wire_len, gso_segs, gso_size.

const SIZE = 192;
const AT = {
  mark: 8,
  ingressIfindex: 36,
  ifindex: 40,
  cb: 48,
  wireLength: 160,
  gsoSegments: 164,
  gsoSize: 176,
} as const;

export interface SkbFields {
  mark?: number;
  /** Interface that the packet came in by; 0: made by this host. */
  ingressIfindex?: number;
  /** Interface of the hook; must exist in the caller's network namespace. Since Linux 5.9. */
  ifindex?: number;
  cb?: readonly number[];
  /** Length as counted on the wire, of a GSO packet with all its headers. */
  wireLength?: number;
  gsoSegments?: number;
  gsoSize?: number;
}

/** The context's bytes, in this machine's order. */
export function skbContext(fields: SkbFields): Buffer {
  const context = Buffer.alloc(SIZE);
  const { cb = [], ...words } = fields;
  for (const [name, value] of Object.entries(words))
    context.writeUInt32LE(value >>> 0, AT[name as keyof typeof words]);
  cb.forEach((word, i) => {
    context.writeUInt32LE(word >>> 0, AT.cb + i * 4);
  });
  return context;
}

/** What a program left in the fields that come back. */
export function readSkbContext(context: Buffer): { mark: number; cb: number[] } {
  return {
    mark: context.readUInt32LE(AT.mark),
    cb: Array.from({ length: 5 }, (_, i) => context.readUInt32LE(AT.cb + i * 4)),
  };
}
