// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// From bytes to layers. Believes lengths only as far as there are bytes; what can't be read stays raw.
import { decodeEthernet, decodeVlan, ETHERNET_BYTES, VLAN_BYTES } from './ethernet.js';
import { decodeGre } from './gre.js';
import { decodeIcmp, ICMP_BYTES, isIcmpError } from './icmp.js';
import { decodeIpv4 } from './ipv4.js';
import { decodeExtension, decodeFragment6, decodeIpv6, EXTENSIONS, FRAGMENT6_BYTES } from './ipv6.js';
import { ETHERTYPE, type Icmp, type Layer, PROTOCOL, raw } from './layer.js';
import { decodeSctp, SCTP_BYTES } from './sctp.js';
import { decodeTcp } from './tcp.js';
import { decodeUdp, UDP_BYTES } from './udp.js';
import { decodeUdplite, UDPLITE_BYTES } from './udplite.js';

/** A parsed header and what follows it. */
type Step = { layer: Layer; rest: Buffer; next: Reader | undefined };
type Reader = (bytes: Buffer) => Step | undefined;

/** The layers of a frame that begins with an Ethernet header. */
export function parse(frame: Uint8Array): Layer[] {
  return walk(Buffer.from(frame), readEthernet);
}

/** The layers of an IP packet without a link header. */
export function parseIp(packet: Uint8Array): Layer[] {
  const bytes = Buffer.from(packet);
  return walk(bytes, bytes[0] !== undefined && bytes[0] >> 4 === 6 ? readIpv6 : readIpv4);
}

/** The packet that an ICMP error quotes; undefined: the layers are not an ICMP error's. */
export function quoted(layers: readonly Layer[]): Layer[] | undefined {
  const at = layers.findIndex((layer) => layer.layer === 'icmp' || layer.layer === 'icmp6');
  const body = layers[at + 1];
  if (at < 0 || !isIcmpError(layers[at] as Icmp) || body?.layer !== 'raw') return undefined;
  return parseIp(body.bytes);
}

/** The layer that a kind names; ICMP's two kinds share a type. */
type LayerOf<K> = K extends 'icmp' | 'icmp6' ? Icmp : Extract<Layer, { layer: K }>;

/** The first layer of a kind. */
export function find<K extends Layer['layer']>(layers: readonly Layer[], kind: K): LayerOf<K> | undefined {
  return layers.find((layer) => layer.layer === kind) as LayerOf<K> | undefined;
}

function walk(bytes: Buffer, first: Reader): Layer[] {
  const layers: Layer[] = [];
  let rest = bytes;
  for (let reader: Reader | undefined = first; reader && rest.length > 0; ) {
    const step: Step | undefined = reader(rest);
    if (!step) break;
    layers.push(step.layer);
    rest = step.rest;
    reader = step.next;
  }
  if (rest.length > 0) layers.push(raw(rest));
  return layers;
}

function readerOfType(type: number): Reader | undefined {
  switch (type) {
    case ETHERTYPE.ipv4:
      return readIpv4;
    case ETHERTYPE.ipv6:
      return readIpv6;
    case ETHERTYPE.vlan:
    case ETHERTYPE.qinq:
      return (bytes) => {
        const layer = decodeVlan(bytes, type);
        return layer && { layer, rest: bytes.subarray(VLAN_BYTES), next: readerOfType(layer.type ?? 0) };
      };
    default:
      return undefined;
  }
}

const readEthernet: Reader = (bytes) => {
  const layer = decodeEthernet(bytes);
  return layer && { layer, rest: bytes.subarray(ETHERNET_BYTES), next: readerOfType(layer.type ?? 0) };
};

/** Bytes behind the IP header's own length (Ethernet padding) are not part of the packet and are left out. */
const readIpv4: Reader = (bytes) => {
  const layer = decodeIpv4(bytes);
  if (!layer) return undefined;
  const end = Math.max(layer.words! * 4, Math.min(layer.length!, bytes.length));
  const follower = layer.offset! > 0;
  const rest = bytes.subarray(layer.words! * 4, end);
  return { layer, rest, next: follower ? undefined : readerOfProtocol(layer.protocol!) };
};

const readIpv6: Reader = (bytes) => {
  const layer = decodeIpv6(bytes);
  return (
    layer && { layer, rest: bytes.subarray(40, 40 + layer.length!), next: readerOfProtocol(layer.next!) }
  );
};

function readerOfProtocol(protocol: number): Reader | undefined {
  if (EXTENSIONS.has(protocol)) {
    return (bytes) => {
      const layer = decodeExtension(bytes, protocol);
      return (
        layer && { layer, rest: bytes.subarray((layer.units! + 1) * 8), next: readerOfProtocol(layer.next!) }
      );
    };
  }
  return PROTOCOL_READERS.get(protocol);
}

const readFragment6: Reader = (bytes) => {
  const layer = decodeFragment6(bytes);
  const next = layer && layer.offset === 0 ? readerOfProtocol(layer.next!) : undefined;
  return layer && { layer, rest: bytes.subarray(FRAGMENT6_BYTES), next };
};

function leaf<T extends Layer>(decode: (bytes: Buffer) => T | undefined, size: (layer: T) => number): Reader {
  return (bytes) => {
    const layer = decode(bytes);
    return layer && { layer, rest: bytes.subarray(size(layer)), next: undefined };
  };
}

const readGre: Reader = (bytes) => {
  const gre = decodeGre(bytes);
  return gre && { layer: gre.layer, rest: bytes.subarray(gre.bytes), next: readerOfType(gre.layer.protocol) };
};

const PROTOCOL_READERS: ReadonlyMap<number, Reader> = new Map<number, Reader>([
  [PROTOCOL.fragment6, readFragment6],
  [PROTOCOL.tcp, leaf(decodeTcp, (layer) => layer.words! * 4)],
  [PROTOCOL.udp, leaf(decodeUdp, () => UDP_BYTES)],
  [
    PROTOCOL.icmp,
    leaf(
      (bytes) => decodeIcmp(bytes, 'icmp'),
      () => ICMP_BYTES,
    ),
  ],
  [
    PROTOCOL.icmp6,
    leaf(
      (bytes) => decodeIcmp(bytes, 'icmp6'),
      () => ICMP_BYTES,
    ),
  ],
  [PROTOCOL.udplite, leaf(decodeUdplite, () => UDPLITE_BYTES)],
  [PROTOCOL.sctp, leaf(decodeSctp, () => SCTP_BYTES)],
  [PROTOCOL.gre, readGre],
]);
