// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// A client of PCP (RFC 6887) and NAT-PMP (RFC 6886), written from the RFCs and not from the product's sources.

import { randomBytes } from 'node:crypto';
import type { UdpSocket } from './peer.js';
import type { SceneHost } from './scene.js';

export const PCP_PORT = 5351;
export const PROTO = { tcp: 6, udp: 17 } as const;

/** ::ffff:a.b.c.d, or the address itself. */
export function address16(text: string): Buffer {
  if (!text.includes(':')) {
    return Buffer.concat([
      Buffer.alloc(10),
      Buffer.from([0xff, 0xff]),
      Buffer.from(text.split('.').map(Number)),
    ]);
  }
  const [head = '', tail] = text.split('::');
  const words = (part: string) =>
    part === '' ? [] : part.split(':').map((word) => Number.parseInt(word, 16));
  const [first, last] = [words(head), words(tail ?? '')];
  const all = [...first, ...new Array<number>(8 - first.length - last.length).fill(0), ...last];
  return Buffer.from(all.flatMap((word) => [word >> 8, word & 0xff]));
}

export interface MapOptions {
  proto?: keyof typeof PROTO | number;
  port: number;
  lifetime?: number;
  externalPort?: number;
  externalAddress?: string;
  nonce?: Buffer;
  /** What the header says; by default where the request comes from. */
  client?: string;
  options?: Buffer[];
}

export const PREFER_FAILURE = option(2);

export function option(code: number, data: Buffer = Buffer.alloc(0)): Buffer {
  const head = Buffer.from([code, 0, data.length >> 8, data.length & 0xff]);
  return Buffer.concat([head, data, Buffer.alloc(-data.length & 3)]);
}

export function header(opcode: number, client: string, lifetime = 0, version = 2): Buffer {
  const bytes = Buffer.alloc(8);
  bytes[0] = version;
  bytes[1] = opcode;
  bytes.writeUInt32BE(lifetime, 4);
  return Buffer.concat([bytes, address16(client)]);
}

export function mapRequest(client: string, wish: MapOptions): Buffer {
  const { proto = 'udp', port, lifetime = 3600, externalPort = 0, externalAddress, nonce } = wish;
  const bytes = Buffer.alloc(36);
  bytes.set(nonce ?? Buffer.alloc(12, 7));
  bytes[12] = typeof proto === 'number' ? proto : PROTO[proto];
  bytes.writeUInt16BE(port, 16);
  bytes.writeUInt16BE(externalPort, 18);
  if (externalAddress !== undefined) bytes.set(address16(externalAddress), 20);
  return Buffer.concat([header(1, wish.client ?? client, lifetime), bytes, ...(wish.options ?? [])]);
}

export interface PcpResponse {
  version: number;
  opcode: number;
  result: number;
  lifetime: number;
  epoch: number;
  nonce?: string;
  proto?: number;
  port?: number;
  externalPort?: number;
  /** The last bytes of the address. */
  external?: Buffer;
  bytes: Buffer;
}

export function readResponse(bytes: Buffer): PcpResponse {
  const response: PcpResponse = {
    version: bytes[0]!,
    opcode: bytes[1]!,
    result: bytes[3]!,
    lifetime: bytes.readUInt32BE(4),
    epoch: bytes.readUInt32BE(8),
    bytes,
  };
  if (bytes.length < 60) return response;
  return {
    ...response,
    nonce: bytes.subarray(24, 36).toString('hex'),
    proto: bytes[36]!,
    port: bytes.readUInt16BE(40),
    externalPort: bytes.readUInt16BE(42),
    external: bytes.subarray(44, 60),
  };
}

export class PcpClient {
  readonly nonce = randomBytes(12);

  private constructor(
    readonly socket: UdpSocket,
    readonly address: string,
    readonly server: string,
  ) {}

  /** @param server the router's inside address */
  static async open(host: SceneHost, server: string): Promise<PcpClient> {
    const address = server.includes(':') ? host.ipv6 : host.ipv4;
    return new PcpClient(await host.peer.udp(address), address, server);
  }

  /** Sends bytes and returns the answer; undefined: none comes. */
  async ask(bytes: Buffer, limitMs?: number): Promise<Buffer | undefined> {
    await this.socket.send(bytes, this.server, PCP_PORT);
    return (await this.socket.receive(limitMs))?.data;
  }

  async request(bytes: Buffer): Promise<PcpResponse> {
    const answer = await this.ask(bytes);
    if (!answer) throw new Error('the PCP server has not answered');
    return readResponse(answer);
  }

  map(wish: MapOptions): Promise<PcpResponse> {
    return this.request(mapRequest(this.address, { nonce: this.nonce, ...wish }));
  }

  announce(): Promise<PcpResponse> {
    return this.request(header(0, this.address));
  }

  /** NAT-PMP; the answer is the result and what follows the epoch. */
  async natPmp(opcode: number, ...words: number[]): Promise<{ result: number; epoch: number; rest: Buffer }> {
    const bytes = Buffer.alloc(opcode === 0 ? 2 : 12);
    bytes[1] = opcode;
    if (opcode !== 0) {
      const [port = 0, externalPort = 0, lifetime = 0] = words;
      bytes.writeUInt16BE(port, 4);
      bytes.writeUInt16BE(externalPort, 6);
      bytes.writeUInt32BE(lifetime, 8);
    }
    const answer = await this.ask(bytes);
    if (!answer) throw new Error('the NAT-PMP server has not answered');
    return { result: answer.readUInt16BE(2), epoch: answer.readUInt32BE(4), rest: answer.subarray(8) };
  }
}
