// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/**
 * Whether a program of this host listens on a port (proc(5), /proc/net/tcp and its like): then the port is never a
 * mapping's (bpf/endpoint_in.h). Sockets that are connected have tuples of their own, and are in nobody's way.
 */
import { readFileSync } from 'node:fs';
import { endianness } from 'node:os';
import type { Address } from '../address.js';
import { TCP } from '../protocol.js';

const TCP_LISTEN = '0A';
/** What /proc/net/udp calls a socket without a peer (TCP_CLOSE). */
const UDP_UNCONNECTED = '07';

const WORD = 4;

/** Whether this port of the address, or of any, is a program's. Of the network namespace that the process is in. */
export function hostListens(
  protocol: number,
  address: Address,
  port: number,
  read: (path: string) => string = readSockets,
): boolean {
  const [name, state] = protocol === TCP ? ['tcp', TCP_LISTEN] : ['udp', UDP_UNCONNECTED];
  const wanted = hexWords(address.bytes);
  return [name, `${name}6`].some((file) => listens(read(`/proc/self/net/${file}`), state!, wanted, port));
}

/** @param wanted the address as the file writes it */
export function listens(text: string, state: string, wanted: string, port: number): boolean {
  const portHex = port.toString(16).toUpperCase().padStart(4, '0');
  for (const line of text.split('\n')) {
    const [, local, , is] = line.trim().split(/ +/);
    if (is !== state || !local?.endsWith(`:${portHex}`)) continue;
    const at = local.slice(0, -portHex.length - 1);
    // IPv4 at a socket of IPv6: ::ffff:a.b.c.d, of which the last word says which
    if (/^0+$/.test(at) || at === wanted || (at.length > wanted.length && at.endsWith(wanted))) return true;
  }
  return false;
}

/** Each word as a number of this machine's byte order. */
export function hexWords(bytes: Uint8Array): string {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  let text = '';
  for (let i = 0; i < bytes.length; i += WORD) {
    text += view
      .getUint32(i, endianness() === 'LE')
      .toString(16)
      .toUpperCase()
      .padStart(8, '0');
  }
  return text;
}

/** Reads each file once: for a request that asks for many ports. */
export function socketsOnce(): (path: string) => string {
  const texts = new Map<string, string>();
  return (path) => {
    const text = texts.get(path) ?? readSockets(path);
    texts.set(path, text);
    return text;
  };
}

/** A kernel without IPv6 has no such file. */
function readSockets(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw error;
  }
}
