// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// What a packet is made of. A packet is a list of layers, outermost first. Every field that can be derived
// (lengths, checksums, types of what follows) is optional: left out it is right, given it is written as it
// stands, which is how a test makes a header lie.

export interface Ethernet {
  layer: 'ethernet';
  src: string;
  dst: string;
  type?: number;
}

/** An 802.1Q or 802.1ad tag in the frame; `tpid` is what announces it, in the layer before. */
export interface Vlan {
  layer: 'vlan';
  id: number;
  priority?: number;
  dei?: boolean;
  tpid?: number;
  type?: number;
}

export interface Ipv4 {
  layer: 'ipv4';
  src: string;
  dst: string;
  version?: number;
  /** Header length in words (IHL). */
  words?: number;
  tos?: number;
  /** Total length. */
  length?: number;
  id?: number;
  /** The bit that must be zero. */
  evil?: boolean;
  df?: boolean;
  mf?: boolean;
  /** Of the fragment, in bytes. */
  offset?: number;
  ttl?: number;
  protocol?: number;
  checksum?: number;
  /** As on the wire; padded with end-of-list to whole words. */
  options?: Uint8Array;
}

export interface Ipv6 {
  layer: 'ipv6';
  src: string;
  dst: string;
  version?: number;
  trafficClass?: number;
  flowLabel?: number;
  /** Payload length. */
  length?: number;
  next?: number;
  hopLimit?: number;
}

/** Hop-by-hop (0), routing (43) or destination options (60): same shape, RFC 8200 section 4. */
export interface Extension {
  layer: 'extension';
  kind: number;
  next?: number;
  /** Length in units of 8 bytes, not counting the first 8. */
  units?: number;
  /** What follows the two first bytes; padded with zeros to whole units. */
  body: Uint8Array;
}

export interface Fragment6 {
  layer: 'fragment6';
  next?: number;
  /** In bytes. */
  offset: number;
  more: boolean;
  id: number;
}

export interface Tcp {
  layer: 'tcp';
  sport: number;
  dport: number;
  seq?: number;
  ack?: number;
  /** Letters of FSRPAUEW. */
  flags?: string;
  window?: number;
  urgent?: number;
  /** Header length in words (data offset). */
  words?: number;
  /** As on the wire; padded with end-of-list to whole words. */
  options?: Uint8Array;
  checksum?: number;
}

export interface Udp {
  layer: 'udp';
  sport: number;
  dport: number;
  length?: number;
  /** 0: the sender computed none (IPv4 only, RFC 768). */
  checksum?: number;
}

/** UDP-Lite (RFC 3828): UDP with the checksum's coverage in place of the length. */
export interface Udplite {
  layer: 'udplite';
  sport: number;
  dport: number;
  /** Bytes that the checksum covers, header included; 0: all. */
  coverage?: number;
  checksum?: number;
}

/** ICMP and ICMPv6: `rest` is the second word of the header: identifier and sequence number, MTU, pointer. */
export interface Icmp {
  layer: 'icmp' | 'icmp6';
  type: number;
  code: number;
  rest: number;
  checksum?: number;
}

export interface Sctp {
  layer: 'sctp';
  sport: number;
  dport: number;
  tag: number;
  checksum?: number;
}

export interface Gre {
  layer: 'gre';
  protocol: number;
  version?: number;
  key?: number;
  sequence?: number;
  /** true: carries one, computed. */
  checksum?: number | true;
}

/** Payload, or what could not be parsed. */
export interface Raw {
  layer: 'raw';
  bytes: Uint8Array;
}

export type Ip = Ipv4 | Ipv6;
export type Layer =
  | Ethernet
  | Vlan
  | Ip
  | Extension
  | Fragment6
  | Tcp
  | Udp
  | Udplite
  | Icmp
  | Sctp
  | Gre
  | Raw;

/** A layer without its tag and with defaults for what a test rarely cares about. */
type Fields<T extends Layer> = Omit<T, 'layer'>;

export const ETHERTYPE = { ipv4: 0x0800, arp: 0x0806, vlan: 0x8100, ipv6: 0x86dd, qinq: 0x88a8 } as const;
export const PROTOCOL = {
  hopByHop: 0,
  icmp: 1,
  igmp: 2,
  tcp: 6,
  udp: 17,
  routing: 43,
  fragment6: 44,
  gre: 47,
  esp: 50,
  ah: 51,
  icmp6: 58,
  none: 59,
  destination: 60,
  sctp: 132,
  udplite: 136,
} as const;

export const ethernet = (fields: Fields<Ethernet>): Ethernet => ({ layer: 'ethernet', ...fields });
export const vlan = (fields: Fields<Vlan>): Vlan => ({ layer: 'vlan', ...fields });
export const ipv4 = (fields: Fields<Ipv4>): Ipv4 => ({ layer: 'ipv4', ...fields });
export const ipv6 = (fields: Fields<Ipv6>): Ipv6 => ({ layer: 'ipv6', ...fields });
export const extension = (fields: Fields<Extension>): Extension => ({ layer: 'extension', ...fields });
export const fragment6 = (fields: Fields<Fragment6>): Fragment6 => ({ layer: 'fragment6', ...fields });
export const tcp = (fields: Fields<Tcp>): Tcp => ({ layer: 'tcp', ...fields });
export const udp = (fields: Fields<Udp>): Udp => ({ layer: 'udp', ...fields });
export const udplite = (fields: Fields<Udplite>): Udplite => ({ layer: 'udplite', ...fields });
export const icmp = (fields: Fields<Icmp>): Icmp => ({ layer: 'icmp', ...fields });
export const icmp6 = (fields: Fields<Icmp>): Icmp => ({ layer: 'icmp6', ...fields });
export const sctp = (fields: Fields<Sctp>): Sctp => ({ layer: 'sctp', ...fields });
export const gre = (fields: Fields<Gre>): Gre => ({ layer: 'gre', ...fields });
export const raw = (bytes: Uint8Array): Raw => ({ layer: 'raw', bytes });

/** Payload from text, in ASCII. */
export const text = (content: string): Raw => raw(Buffer.from(content, 'latin1'));

/** `length` bytes of payload, no two neighbours alike, so that a shifted or cut payload shows. */
export const bytes = (length: number): Raw => raw(Uint8Array.from({ length }, (_, i) => (i * 7 + 13) & 0xff));

/** The second word of an ICMP query. */
export const idAndSequence = (id: number, sequence: number): number => ((id << 16) | sequence) >>> 0;
