// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// TCP inside a namespace: an echo server that tells whom it saw, and connections that a test holds open.

import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';

/** Greets each connection with "ADDRESS PORT\n", then sends back what it gets. */
export async function tcpEcho(address: string, port: number): Promise<void> {
  const server = createServer((socket) => {
    socket.on('error', () => socket.destroy());
    socket.write(`${socket.remoteAddress} ${socket.remotePort}\n`);
    socket.pipe(socket);
  });
  server.listen({ host: address, port, backlog: 4096 });
  await once(server, 'listening');
}

export interface TcpTarget {
  host: string;
  port: number;
  localAddress?: string;
  localPort?: number;
}

/** A connection to an echo server. */
export class TcpPeer {
  #received = '';
  #ended: string | undefined;
  #watch: (() => void) | undefined;

  private constructor(readonly socket: Socket) {
    socket.on('data', (chunk) => {
      this.#received += chunk.toString('latin1');
      this.#watch?.();
    });
    const end = (why: string) => (): void => {
      this.#ended ??= why;
      this.#watch?.();
    };
    socket.on('error', (error: NodeJS.ErrnoException) => end(error.code ?? error.message)());
    socket.on('close', end('closed'));
  }

  /** Connects; throws with the errno's name, or ETIMEDOUT after `limitMs`. */
  static async open(target: TcpTarget, limitMs = 10_000): Promise<TcpPeer> {
    const socket = connect({ ...target, noDelay: true });
    const timer = setTimeout(
      () => socket.destroy(Object.assign(new Error('no answer'), { code: 'ETIMEDOUT' })),
      limitMs,
    );
    try {
      await once(socket, 'connect');
    } finally {
      clearTimeout(timer);
    }
    return new TcpPeer(socket);
  }

  get localPort(): number {
    return this.socket.localPort!;
  }

  send(data: string): void {
    this.socket.write(data);
  }

  /** The next line without its end; throws if the connection ends or `limitMs` pass first. */
  line(limitMs: number): Promise<string> {
    return new Promise((resolve, reject) => {
      const finish = (settle: () => void): void => {
        clearTimeout(timer);
        this.#watch = undefined;
        settle();
      };
      const timer = setTimeout(() => finish(() => reject(new Error('ETIMEDOUT: no line came'))), limitMs);
      this.#watch = () => {
        const at = this.#received.indexOf('\n');
        if (at >= 0) {
          const line = this.#received.slice(0, at);
          this.#received = this.#received.slice(at + 1);
          finish(() => resolve(line));
        } else if (this.#ended) {
          finish(() => reject(new Error(`${this.#ended}: no line came`)));
        }
      };
      this.#watch();
    });
  }

  /** Ends the connection in order (FIN), or with a reset. */
  async close(reset = false): Promise<void> {
    if (reset) this.socket.resetAndDestroy();
    else this.socket.end();
    if (!this.socket.closed) await once(this.socket, 'close').catch(() => {});
  }
}

/**
 * Opens `count` connections at once, sends a line of its own over each and reads it back while all are open.
 * Returns the peer addresses that the server told, in order; '' and an error's text for those that failed.
 */
export async function tcpMany(
  target: TcpTarget,
  count: number,
  limitMs: number,
): Promise<{ seen: string; error: string }[]> {
  const one = async (index: number): Promise<{ seen: string; error: string; peer?: TcpPeer }> => {
    try {
      const peer = await TcpPeer.open(target, limitMs);
      const seen = await peer.line(limitMs);
      peer.send(`line ${index}\n`);
      const back = await peer.line(limitMs);
      return { seen, error: back === `line ${index}` ? '' : `got back ${back}`, peer };
    } catch (error) {
      return { seen: '', error: String(error) };
    }
  };
  const results = await Promise.all(Array.from({ length: count }, (_, index) => one(index)));
  await Promise.all(results.map(({ peer }) => peer?.close()));
  return results.map(({ seen, error }) => ({ seen, error }));
}

/** Connections that are held open, some hundred opened at a time. */
export class TcpCrowd {
  readonly #peers: TcpPeer[] = [];

  /** Opens `count` connections; returns how many there are. */
  async open(target: TcpTarget, count: number, limitMs: number): Promise<number> {
    const STEP = 200;
    for (let i = 0; i < count; i += STEP) {
      const some = Array.from({ length: Math.min(STEP, count - i) }, () => TcpPeer.open(target, limitMs));
      for (const opened of await Promise.allSettled(some)) {
        if (opened.status === 'fulfilled') this.#peers.push(opened.value);
      }
    }
    await Promise.all(this.#peers.map((peer) => peer.line(limitMs)));
    return this.#peers.length;
  }

  /** Sends a line over each and reads it back; returns over how many that worked. */
  async echo(limitMs: number): Promise<number> {
    const echoed = await Promise.allSettled(
      this.#peers.map((peer, i) => {
        peer.send(`line ${i}\n`);
        return peer.line(limitMs);
      }),
    );
    return echoed.filter((each, i) => each.status === 'fulfilled' && each.value === `line ${i}`).length;
  }
}
