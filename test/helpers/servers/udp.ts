// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// UDP inside a namespace: an echo server that tells whom it saw, and plain sockets.

import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';

export interface Datagram {
  data: Buffer;
  address: string;
  port: number;
}

async function bound(address: string, port: number): Promise<Socket> {
  const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4');
  socket.bind(port, address);
  await once(socket, 'listening');
  return socket;
}

/**
 * Answers each datagram with "ADDRESS PORT LENGTH\n" of what it saw, padded to the length it got. A datagram
 * that begins "@PORT\n" or "@ADDRESS PORT\n" is answered from there instead.
 */
export async function udpEcho(address: string, port: number): Promise<void> {
  const server = await bound(address, port);
  server.on('message', async (data, from) => {
    const line = Buffer.from(`${from.address} ${from.port} ${data.length}\n`);
    const answer = Buffer.concat([line, Buffer.alloc(Math.max(0, data.length - line.length), '.')]);
    const elsewhere = /^@(?:(\S+) )?(\d+)\n/.exec(data.subarray(0, 80).toString('latin1'));
    if (!elsewhere) {
      server.send(answer, from.port, from.address);
      return;
    }
    const other = await bound(elsewhere[1] ?? address, Number(elsewhere[2]));
    other.send(answer, from.port, from.address, () => other.close());
  });
}

/** A socket that keeps what arrives until it is asked for. */
export class UdpPeer {
  readonly #queue: Datagram[] = [];
  #waiting: ((datagram: Datagram) => void) | undefined;

  private constructor(readonly socket: Socket) {
    socket.on('message', (data, { address, port }) => {
      const datagram = { data, address, port };
      const waiting = this.#waiting;
      this.#waiting = undefined;
      if (waiting) waiting(datagram);
      else this.#queue.push(datagram);
    });
    // An ICMP error may be reported on a later send; tests look at what arrives.
    socket.on('error', () => {});
  }

  /** Binds a socket; port 0 lets the kernel choose. */
  static async open(address: string, port: number): Promise<UdpPeer> {
    return new UdpPeer(await bound(address, port));
  }

  send(data: Buffer, address: string, port: number): Promise<void> {
    return new Promise((resolve, reject) => {
      this.socket.send(data, port, address, (error) => (error ? reject(error) : resolve()));
    });
  }

  /** The next datagram, or null if none came within `limitMs`. */
  receive(limitMs: number): Promise<Datagram | null> {
    const queued = this.#queue.shift();
    if (queued) return Promise.resolve(queued);
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        this.#waiting = undefined;
        resolve(null);
      }, limitMs);
      this.#waiting = (datagram) => {
        clearTimeout(timer);
        resolve(datagram);
      };
    });
  }
}

/** Sends to a port where nobody listens; returns the error that the kernel reports for it, by its errno's name. */
export async function udpRefused(
  address: string,
  port: number,
  toAddress: string,
  toPort: number,
  limitMs: number,
): Promise<string> {
  const socket = await bound(address, port);
  try {
    socket.connect(toPort, toAddress);
    await once(socket, 'connect');
    const failed = new Promise<string>((resolve) => {
      socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
      setTimeout(resolve, limitMs, 'no error came').unref();
    });
    socket.send('anyone?');
    return await failed;
  } finally {
    socket.close();
  }
}
