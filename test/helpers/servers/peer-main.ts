// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// The program that a Peer (../peer.ts) runs inside a namespace: it does what the test tells it over Node's
// message channel, and ends when that closes.

import { httpServer } from './http.js';
import { TcpCrowd, TcpPeer, type TcpTarget, tcpEcho, tcpMany } from './tcp.js';
import { UdpPeer, udpEcho, udpRefused } from './udp.js';

const udp: UdpPeer[] = [];
const tcp: TcpPeer[] = [];
const crowd = new TcpCrowd();

/** Everything a test can ask for. Handles are indexes: objects do not cross a process border. */
export const methods = {
  httpServer,
  tcpEcho,
  tcpMany,
  udpEcho,
  udpRefused,
  udpOpen: async (address: string, port: number) => {
    const peer = await UdpPeer.open(address, port);
    return { handle: udp.push(peer) - 1, port: peer.socket.address().port };
  },
  udpSend: (handle: number, data: Buffer, address: string, port: number) =>
    udp[handle]!.send(data, address, port),
  udpReceive: (handle: number, limitMs: number) => udp[handle]!.receive(limitMs),
  udpClose: async (handle: number) => {
    udp[handle]!.socket.close();
  },
  tcpOpen: async (target: TcpTarget, limitMs: number) => {
    const peer = await TcpPeer.open(target, limitMs);
    return { handle: tcp.push(peer) - 1, port: peer.localPort };
  },
  tcpSend: async (handle: number, data: string) => tcp[handle]!.send(data),
  tcpLine: (handle: number, limitMs: number) => tcp[handle]!.line(limitMs),
  crowdOpen: (target: TcpTarget, count: number, limitMs: number) => crowd.open(target, count, limitMs),
  crowdEcho: (limitMs: number) => crowd.echo(limitMs),
  tcpClose: (handle: number, reset: boolean) => tcp[handle]!.close(reset),
};

export type Methods = typeof methods;
export type Request = { id: number; method: keyof Methods; args: unknown[] };
export type Response = { id: number; result?: unknown; error?: string };

process.on('message', async ({ id, method, args }: Request) => {
  const respond = (response: Response): void => {
    if (process.connected) process.send!(response);
  };
  try {
    const call = methods[method] as (...args: unknown[]) => Promise<unknown>;
    respond({ id, result: await call(...args) });
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    respond({ id, error: code ? `${code}: ${(error as Error).message}` : String(error) });
  }
});
process.on('disconnect', () => process.exit(0));
process.send!({ id: -1 } satisfies Response);
