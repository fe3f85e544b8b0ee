// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Judges a packet as its receiver would, and more strictly: every checksum there is, every length.
import { build, protocolOf, pseudoHeader } from './build.js';
import { crc32c, internetChecksum, onesSum, sumsToZero } from './checksum.js';
import type { Ip, Layer } from './layer.js';
import { find, parse, quoted } from './parse.js';
import { udpliteProblems } from './udplite.js';

/** What is wrong with a frame's checksums and lengths; empty: nothing. Quoted packets are judged as well. */
export function verify(frame: Uint8Array): string[] {
  return problems(parse(frame), '');
}

/**
 * A quote ends where its error ends: what of it is not there can't be judged, so its L4 checksum is judged
 * only if the packet is quoted whole. Shorter ones are to be compared with the bytes that they should be.
 */
function problems(layers: Layer[], where: string): string[] {
  const found: string[] = [];
  layers.forEach((layer, i) => {
    if (layer.layer === 'ipv4') {
      const header = build(layer);
      if (!sumsToZero(header))
        found.push(`${where}IPv4 header checksum is ${hex(layer.checksum!)}, not ${ip4Right(header)}`);
    }
    if (layer.layer === 'ipv4' || layer.layer === 'ipv6') {
      found.push(...l4Problems(layer, layers.slice(i + 1), where));
    }
  });
  const inner = quoted(layers);
  if (inner) found.push(...problems(inner, `${where}quoted `));
  return found;
}

function ip4Right(header: Buffer): string {
  const zeroed = Buffer.from(header);
  zeroed.writeUInt16BE(0, 10);
  return hex(internetChecksum(zeroed));
}

function hex(value: number): string {
  return `0x${value.toString(16).padStart(4, '0')}`;
}

function l4Problems(ip: Ip, inside: Layer[], where: string): string[] {
  const fragment = find(inside, 'fragment6');
  const isFragment =
    ip.layer === 'ipv4' ? ip.mf || ip.offset! > 0 : fragment && (fragment.more || fragment.offset > 0);
  const extensionBytes = inside
    .filter((l) => l.layer === 'extension' || l.layer === 'fragment6')
    .reduce((n, l) => n + build(l).length, 0);
  const from = inside.findIndex((layer) => layer.layer !== 'extension' && layer.layer !== 'fragment6');
  if (isFragment || from < 0) return [];
  const [l4, ...rest] = inside.slice(from);
  const message = build(l4!, ...rest);
  const said = ip.layer === 'ipv4' ? ip.length! - ip.words! * 4 : ip.length! - extensionBytes;
  if (message.length < said) {
    return where === ''
      ? [`${where}IP length says ${said} bytes of payload, there are ${message.length}`]
      : [];
  }
  return checksumProblems(ip, l4!, message, where);
}

function checksumProblems(ip: Ip, l4: Layer, message: Buffer, where: string): string[] {
  const covered = l4.layer === 'udp' ? message.subarray(0, l4.length!) : message;
  const pseudo = pseudoHeader(ip, protocolOf(l4), covered.length);
  switch (l4.layer) {
    case 'udp':
      if (l4.length! < 8 || l4.length! > message.length) {
        return [`${where}UDP length is ${l4.length}, there are ${message.length} bytes`];
      }
      if (l4.checksum === 0)
        return ip.layer === 'ipv4' ? [] : [`${where}UDP checksum is 0 over IPv6 (RFC 8200 section 8.1)`];
      return sumsToZero(covered, onesSum(pseudo!))
        ? []
        : [`${where}UDP checksum ${hex(l4.checksum!)} is wrong`];
    case 'udplite':
      return udpliteProblems(l4, message, pseudo!).map((problem) => where + problem);
    case 'tcp':
      return sumsToZero(covered, onesSum(pseudo!))
        ? []
        : [`${where}TCP checksum ${hex(l4.checksum!)} is wrong`];
    case 'icmp6':
      return sumsToZero(covered, onesSum(pseudo!))
        ? []
        : [`${where}ICMPv6 checksum ${hex(l4.checksum!)} is wrong`];
    case 'icmp':
      return sumsToZero(covered) ? [] : [`${where}ICMP checksum ${hex(l4.checksum!)} is wrong`];
    case 'sctp': {
      const zeroed = Buffer.from(covered);
      zeroed.writeUInt32LE(0, 8);
      return crc32c(zeroed) === l4.checksum
        ? []
        : [`${where}SCTP checksum ${l4.checksum!.toString(16)} is wrong`];
    }
    case 'gre':
      return l4.checksum === undefined || sumsToZero(covered) ? [] : [`${where}GRE checksum is wrong`];
    default:
      return [];
  }
}
