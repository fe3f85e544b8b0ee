// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// A packet on one line, to be read in the diff of a failed test. Host names stand for their addresses.
import { nameOf } from './hosts.js';
import type { Layer } from './layer.js';
import { parse, parseIp, quoted } from './parse.js';
import { verify } from './verify.js';

/** `CLIENT > SERVER ttl 64: udp 40000 > 53 | 5 bytes 68656c6c6f`, with what is wrong at the end. */
export function dump(frame: Uint8Array): string {
  const wrong = verify(frame);
  return `${dumpLayers(parse(frame))}${wrong.length ? ` !! ${wrong.join('; ')}` : ''}`;
}

/** The same for an IP packet without a link header. */
export function dumpIp(packet: Uint8Array): string {
  return dumpLayers(parseIp(packet));
}

function dumpLayers(layers: Layer[]): string {
  const inner = quoted(layers);
  const shown = inner ? layers.slice(0, -1) : layers;
  const line = shown.map(dumpLayer).filter(Boolean).join(' ');
  return inner ? `${line} {${dumpLayers(inner)}}` : line;
}

function hex(value: number | undefined): string {
  return (value ?? 0).toString(16).padStart(4, '0');
}

function dumpLayer(layer: Layer): string {
  switch (layer.layer) {
    case 'ethernet':
      return `${layer.src} > ${layer.dst} ${hex(layer.type)}`;
    case 'vlan':
      return `vlan ${layer.id} p${layer.priority} ${hex(layer.type)}`;
    case 'ipv4': {
      const fragment = layer.mf || layer.offset ? ` frag ${layer.offset}${layer.mf ? '+' : ''}` : '';
      const options = layer.options?.length ? ` options ${Buffer.from(layer.options).toString('hex')}` : '';
      const bits = `${layer.df ? ' DF' : ''}${layer.evil ? ' evil' : ''}${layer.tos ? ` tos ${layer.tos}` : ''}`;
      return `${nameOf(layer.src)} > ${nameOf(layer.dst)} ttl ${layer.ttl} id ${layer.id} len ${layer.length} proto ${layer.protocol}${bits}${fragment}${options} sum ${hex(layer.checksum)}:`;
    }
    case 'ipv6':
      return `${nameOf(layer.src)} > ${nameOf(layer.dst)} hlim ${layer.hopLimit} len ${layer.length} next ${layer.next} class ${layer.trafficClass} label ${layer.flowLabel}:`;
    case 'extension':
      return `ext ${layer.kind} ${Buffer.from(layer.body).toString('hex')}`;
    case 'fragment6':
      return `frag ${layer.offset}${layer.more ? '+' : ''} id ${layer.id}`;
    case 'tcp': {
      const options = layer.options?.length ? ` options ${Buffer.from(layer.options).toString('hex')}` : '';
      const urgent = layer.urgent ? ` urg ${layer.urgent}` : '';
      return `tcp ${layer.sport} > ${layer.dport} [${layer.flags}] seq ${layer.seq} ack ${layer.ack} win ${layer.window}${urgent}${options} sum ${hex(layer.checksum)}`;
    }
    case 'udp':
      return `udp ${layer.sport} > ${layer.dport} len ${layer.length} sum ${hex(layer.checksum)}`;
    case 'udplite':
      return `udplite ${layer.sport} > ${layer.dport} covers ${layer.coverage} sum ${hex(layer.checksum)}`;
    case 'icmp':
    case 'icmp6':
      return `${layer.layer} ${layer.type}/${layer.code} ${layer.rest >>> 16},${layer.rest & 0xffff} sum ${hex(layer.checksum)}`;
    case 'sctp':
      return `sctp ${layer.sport} > ${layer.dport} tag ${layer.tag} sum ${hex(layer.checksum)}`;
    case 'gre':
      return `gre ${hex(layer.protocol)}${layer.key === undefined ? '' : ` key ${layer.key}`}`;
    case 'raw':
      return `| ${layer.bytes.length} bytes ${shorten(Buffer.from(layer.bytes).toString('hex'))}`;
  }
}

function shorten(text: string): string {
  return text.length <= 48 ? text : `${text.slice(0, 32)}..${text.slice(-12)}`;
}
