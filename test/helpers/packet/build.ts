// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// From layers to bytes, innermost first: a checksum covers what follows it.
import { encodeEthernet, encodeVlan } from './ethernet.js';
import { encodeGre } from './gre.js';
import { encodeIcmp } from './icmp.js';
import { encodeIpv4, pseudoHeader4 } from './ipv4.js';
import { encodeExtension, encodeFragment6, encodeIpv6, pseudoHeader6 } from './ipv6.js';
import { type Ip, type Layer, PROTOCOL } from './layer.js';
import { encodeSctp } from './sctp.js';
import { encodeTcp } from './tcp.js';
import { encodeUdp } from './udp.js';
import { encodeUdplite } from './udplite.js';

/** The packet's bytes. What a layer does not say is derived from the layers inside and around it. */
export function build(...layers: Layer[]): Buffer {
  let payload: Buffer = Buffer.alloc(0);
  for (let i = layers.length - 1; i >= 0; i--) {
    payload = Buffer.concat([encode(layers[i]!, layers[i + 1], payload, enclosingIp(layers, i)), payload]);
  }
  return payload;
}

/** The IP header whose addresses a checksum at this place covers. */
function enclosingIp(layers: readonly Layer[], index: number): Ip | undefined {
  for (let i = index - 1; i >= 0; i--) {
    const layer = layers[i]!;
    if (layer.layer === 'ipv4' || layer.layer === 'ipv6') return layer;
  }
  return undefined;
}

/** The IP protocol number that announces a layer. */
export function protocolOf(layer: Layer | undefined): number {
  switch (layer?.layer) {
    case 'extension':
      return layer.kind;
    case 'ipv4':
      return 4;
    case 'ipv6':
      return 41;
    case 'fragment6':
    case 'tcp':
    case 'udp':
    case 'udplite':
    case 'icmp':
    case 'icmp6':
    case 'sctp':
    case 'gre':
      return PROTOCOL[layer.layer];
    default:
      return PROTOCOL.none;
  }
}

/** The pseudo-header of a message of `length` bytes; undefined without an IP header around it. */
export function pseudoHeader(ip: Ip | undefined, protocol: number, length: number): Buffer | undefined {
  if (!ip) return undefined;
  return ip.layer === 'ipv4' ? pseudoHeader4(ip, protocol, length) : pseudoHeader6(ip, protocol, length);
}

function encode(layer: Layer, next: Layer | undefined, payload: Buffer, ip: Ip | undefined): Buffer {
  switch (layer.layer) {
    case 'ethernet':
      return encodeEthernet(layer, next);
    case 'vlan':
      return encodeVlan(layer, next);
    case 'ipv4':
      return encodeIpv4(layer, payload, protocolOf(next));
    case 'ipv6':
      return encodeIpv6(layer, payload, protocolOf(next));
    case 'extension':
      return encodeExtension(layer, protocolOf(next));
    case 'fragment6':
      return encodeFragment6(layer, protocolOf(next));
    case 'tcp': {
      const headerBytes = 20 + Math.ceil((layer.options?.length ?? 0) / 4) * 4;
      return encodeTcp(layer, payload, pseudoHeader(ip, PROTOCOL.tcp, headerBytes + payload.length));
    }
    case 'udp':
      return encodeUdp(layer, payload, pseudoHeader(ip, PROTOCOL.udp, layer.length ?? 8 + payload.length));
    case 'udplite':
      return encodeUdplite(layer, payload, pseudoHeader(ip, PROTOCOL.udplite, 8 + payload.length));
    case 'icmp':
    case 'icmp6':
      return encodeIcmp(layer, payload, pseudoHeader(ip, PROTOCOL.icmp6, 8 + payload.length));
    case 'sctp':
      return encodeSctp(layer, payload);
    case 'gre':
      return encodeGre(layer, payload);
    case 'raw':
      return Buffer.from(layer.bytes);
  }
}
