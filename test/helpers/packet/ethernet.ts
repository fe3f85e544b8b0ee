// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Ethernet headers and VLAN tags (IEEE 802.3, 802.1Q, 802.1ad).
import { macBytes, macText } from './address.js';
import { ETHERTYPE, type Ethernet, type Layer, type Vlan } from './layer.js';

export const ETHERNET_BYTES = 14;
export const VLAN_BYTES = 4;

/** The Ethernet type that announces a layer. */
export function ethertypeOf(layer: Layer | undefined): number {
  if (layer?.layer === 'ipv4') return ETHERTYPE.ipv4;
  if (layer?.layer === 'ipv6') return ETHERTYPE.ipv6;
  if (layer?.layer === 'vlan') return layer.tpid ?? ETHERTYPE.vlan;
  return 0xffff;
}

export function encodeEthernet(layer: Ethernet, next: Layer | undefined): Buffer {
  const header = Buffer.alloc(ETHERNET_BYTES);
  macBytes(layer.dst).copy(header, 0);
  macBytes(layer.src).copy(header, 6);
  header.writeUInt16BE(layer.type ?? ethertypeOf(next), 12);
  return header;
}

export function decodeEthernet(bytes: Buffer): Ethernet | undefined {
  if (bytes.length < ETHERNET_BYTES) return undefined;
  return {
    layer: 'ethernet',
    dst: macText(bytes),
    src: macText(bytes.subarray(6)),
    type: bytes.readUInt16BE(12),
  };
}

export function encodeVlan(layer: Vlan, next: Layer | undefined): Buffer {
  const header = Buffer.alloc(VLAN_BYTES);
  header.writeUInt16BE(((layer.priority ?? 0) << 13) | (layer.dei ? 0x1000 : 0) | layer.id, 0);
  header.writeUInt16BE(layer.type ?? ethertypeOf(next), 2);
  return header;
}

export function decodeVlan(bytes: Buffer, tpid: number): Vlan | undefined {
  if (bytes.length < VLAN_BYTES) return undefined;
  const tag = bytes.readUInt16BE(0);
  return {
    layer: 'vlan',
    tpid,
    id: tag & 0xfff,
    dei: (tag & 0x1000) !== 0,
    priority: tag >> 13,
    type: bytes.readUInt16BE(2),
  };
}
