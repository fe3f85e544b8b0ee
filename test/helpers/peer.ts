// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// A process inside a namespace that serves and speaks UDP, TCP and HTTP as the test tells it.

import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { Namespace } from './netns.js';
import type { Daemon } from './process.js';
import type { Methods, Request, Response } from './servers/peer-main.js';
import type { TcpTarget } from './servers/tcp.js';
import { slowly, within } from './wait.js';

const MAIN = fileURLToPath(new URL('./servers/peer-main.js', import.meta.url));

/** How long an answer may take before a test takes it for lost. */
const ANSWER_MS = 3_000;
/** How long to listen for what must not come. Loss cannot be waited for any other way. */
const SILENCE_MS = 400;

type Args<M extends keyof Methods> = Parameters<Methods[M]>;
type Result<M extends keyof Methods> = Awaited<ReturnType<Methods[M]>>;

export class Peer {
  readonly #pending = new Map<number, (response: Response) => void>();
  #next = 0;

  private constructor(readonly daemon: Daemon) {
    daemon.child.on('message', (response: Response) => {
      this.#pending.get(response.id)?.(response);
      this.#pending.delete(response.id);
    });
    daemon.ended.then(() => {
      for (const settle of this.#pending.values())
        settle({ id: 0, error: `the peer has ended: ${daemon.output}` });
      this.#pending.clear();
    });
  }

  /** Starts the process; the namespace's teardown ends it. */
  static async start(ns: Namespace): Promise<Peer> {
    const daemon = ns.start([process.execPath, MAIN], { ipc: true });
    await within(`the start of a peer in ${ns.name}`, once(daemon.child, 'message'));
    return new Peer(daemon);
  }

  async call<M extends keyof Methods>(method: M, ...args: Args<M>): Promise<Result<M>> {
    if (!this.daemon.running) throw new Error(`the peer has ended: ${this.daemon.output}`);
    const id = this.#next++;
    const answered = new Promise<Response>((resolve) => this.#pending.set(id, resolve));
    this.daemon.child.send({ id, method, args } satisfies Request);
    const { result, error } = await answered;
    if (error !== undefined) throw new Error(error);
    return result as Result<M>;
  }

  /** Serves UDP echo, TCP echo and HTTP on one address. */
  async serve(address: string, ports: { udp?: number; tcp?: number; http?: number }): Promise<void> {
    if (ports.udp) await this.call('udpEcho', address, ports.udp);
    if (ports.tcp) await this.call('tcpEcho', address, ports.tcp);
    if (ports.http) await this.call('httpServer', address, ports.http);
  }

  /** A UDP socket; port 0 lets the kernel choose. */
  async udp(address: string, port = 0): Promise<UdpSocket> {
    const opened = await this.call('udpOpen', address, port);
    return new UdpSocket(this, opened.handle, opened.port);
  }

  /** A TCP connection to an echo server; its greeting is read: `seen` is the address the server saw. */
  async tcp(target: TcpTarget): Promise<TcpConnection> {
    const opened = await this.call('tcpOpen', target, slowly(ANSWER_MS));
    const greeting = await this.call('tcpLine', opened.handle, slowly(ANSWER_MS));
    return new TcpConnection(this, opened.handle, opened.port, greeting.replace('::ffff:', ''));
  }
}

export class UdpSocket {
  constructor(
    readonly peer: Peer,
    readonly handle: number,
    readonly port: number,
  ) {}

  send(data: string | Buffer, address: string, port: number): Promise<void> {
    return this.peer.call('udpSend', this.handle, Buffer.from(data as string), address, port);
  }

  /** The next datagram; undefined if none comes. */
  async receive(limitMs = ANSWER_MS): Promise<{ data: Buffer; address: string; port: number } | undefined> {
    const got = await this.peer.call('udpReceive', this.handle, slowly(limitMs));
    return got ? { ...got, data: Buffer.from(got.data) } : undefined;
  }

  /** Asks an echo server; returns "ADDRESS PORT" as the server saw it, undefined if no answer came. */
  async ask(
    address: string,
    port: number,
    data: string | Buffer = 'hello',
    limitMs = ANSWER_MS,
  ): Promise<string | undefined> {
    await this.send(data, address, port);
    const answer = await this.receive(limitMs);
    return answer && /^\S+ \d+/.exec(answer.data.toString('latin1'))?.[0];
  }

  /** As ask(), where no answer is expected. */
  askInVain(address: string, port: number): Promise<string | undefined> {
    return this.ask(address, port, 'hello', SILENCE_MS);
  }

  close(): Promise<void> {
    return this.peer.call('udpClose', this.handle);
  }
}

export class TcpConnection {
  constructor(
    readonly peer: Peer,
    readonly handle: number,
    readonly localPort: number,
    /** "ADDRESS PORT" of this end as the server saw it. */
    readonly seen: string,
  ) {}

  /** Sends a line and returns the line that comes back. */
  async echo(line: string): Promise<string> {
    await this.peer.call('tcpSend', this.handle, `${line}\n`);
    return this.peer.call('tcpLine', this.handle, slowly(ANSWER_MS));
  }

  /** Ends it with FIN, or with a reset. */
  close(reset = false): Promise<void> {
    return this.peer.call('tcpClose', this.handle, reset);
  }
}
