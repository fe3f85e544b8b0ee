// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// From one packet to another: the same without its derived fields, its fragments, its quote in an ICMP error.
import { build } from './build.js';
import { fragment6, type Layer, raw } from './layer.js';
import { parse, parseIp } from './parse.js';

const DERIVED: ReadonlySet<string> = new Set(['checksum', 'length', 'words', 'units']);

/** Parsed layers without the lengths and checksums that building derives; a UDP checksum of 0 is a statement. */
export function underived(layers: readonly Layer[]): Layer[] {
  return layers.map((layer) => {
    const fields = Object.entries(layer).filter(([field]) => !DERIVED.has(field));
    const kept = Object.fromEntries(fields) as unknown as Layer;
    if (layer.layer === 'udp' && layer.checksum === 0) return { ...kept, checksum: 0 } as Layer;
    if (layer.layer === 'gre' && layer.checksum !== undefined) return { ...kept, checksum: true } as Layer;
    return kept;
  });
}

/** What a router that complains about a frame quotes: its IP packet's header and so many bytes behind it. */
export function quote(frame: Uint8Array, bytesBehindHeader = Number.POSITIVE_INFINITY): Layer {
  const ip = build(...parse(frame).slice(1)); // parsed layers hold every field: the same bytes again
  const header = parseIp(ip)[0];
  const headerBytes = header?.layer === 'ipv4' ? header.words! * 4 : 40;
  return raw(ip.subarray(0, Math.min(ip.length, headerBytes + bytesBehindHeader)));
}

/**
 * A frame cut into fragments, `size` bytes of IP payload each (a multiple of 8) but the last.
 * IPv4: the header's bits (RFC 791). IPv6: a fragment header behind the IPv6 header (RFC 8200 section 4.5).
 */
export function fragments(frame: Uint8Array, size: number, id: number): Buffer[] {
  if (size % 8 !== 0) throw new RangeError(`Fragments are cut at multiples of 8 bytes: ${size}`);
  const layers = parse(frame);
  const at = layers.findIndex((layer) => layer.layer === 'ipv4' || layer.layer === 'ipv6');
  const ip = layers[at];
  if (ip?.layer !== 'ipv4' && ip?.layer !== 'ipv6') throw new TypeError('Only IP packets have fragments');
  const outside = layers.slice(0, at);
  const payload = build(...layers.slice(at)).subarray(ip.layer === 'ipv4' ? ip.words! * 4 : 40);
  const cuts = Array.from({ length: Math.ceil(payload.length / size) }, (_, i) => i * size);
  return cuts.map((offset) => {
    const piece = raw(payload.subarray(offset, offset + size));
    const more = offset + size < payload.length;
    if (ip.layer === 'ipv4') {
      const { length: _length, checksum: _checksum, ...rest } = ip;
      return build(...outside, { ...rest, id, offset, mf: more }, piece);
    }
    const { length: _length, next, ...rest } = ip;
    return build(...outside, rest, fragment6({ next: next!, offset, more, id }), piece);
  });
}
