// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/**
 * The sockets of the server: one for each address of each inside interface, so that an answer comes from where the
 * question went. Each hears its interface alone: what comes in from outside never reaches it (RFC 6887 section 18.1).
 */
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { type InterfaceAddress, openDeviceSocket } from 'libbpf-ts';
import { parseAddress } from '../address.js';
import type { AgentLog } from '../agent-log.js';
import { CtnatError, errorLine } from '../errors.js';
import { PCP_CLIENT_PORT, PCP_SERVER_PORT } from './message.js';

const SCOPE_LINK = 253;

/** All hosts of the link (RFC 6887 section 14.1). */
const ALL_HOSTS = { ipv4: '224.0.0.1', ipv6: 'ff02::1' } as const;

/** An address to listen on. */
export interface Place extends Pick<InterfaceAddress, 'ifindex' | 'family' | 'address' | 'scope'> {
  readonly device: string;
}

/** What a datagram is answered with; undefined: nothing. */
export type Answer = (bytes: Buffer, from: RemoteInfo, at: Place) => Buffer | undefined;

interface Open {
  readonly socket: Socket;
  readonly place: Place;
}

export class PcpSockets {
  readonly #answer: Answer;
  readonly #log: AgentLog;
  readonly #open = new Map<string, Open>();

  constructor(answer: Answer, log: AgentLog) {
    this.#answer = answer;
    this.#log = log;
  }

  /**
   * Listens at these places and no others; what is open already stays so.
   * @throws CtnatError naming the first place at which that can not be done, others are open then
   */
  async use(places: readonly Place[]): Promise<void> {
    const wanted = new Map(places.map((place) => [keyOf(place), place]));
    for (const [key, { socket }] of [...this.#open]) {
      if (wanted.has(key)) continue;
      this.#open.delete(key);
      socket.close();
    }
    let failed: CtnatError | undefined;
    for (const [key, place] of wanted) {
      if (this.#open.has(key)) continue;
      try {
        this.#open.set(key, { socket: await this.#listen(place), place });
      } catch (error) {
        failed ??= cannotListen(place, error);
      }
    }
    if (failed) throw failed;
  }

  async #listen(place: Place): Promise<Socket> {
    const { device, ifindex, scope } = place;
    const { bytes } = parseAddress(place.address);
    const isLocal = scope === SCOPE_LINK;
    const fd = openDeviceSocket({
      device,
      address: bytes,
      port: PCP_SERVER_PORT,
      ...(isLocal && { scope: ifindex }),
    });
    const socket = createSocket(place.family === 'ipv4' ? 'udp4' : 'udp6');
    const listening = once(socket, 'listening'); // may come before bind() returns
    socket.bind({ fd });
    await listening;
    socket.on('message', (bytes, from) => this.#receive(socket, place, bytes, from));
    socket.on('error', (error) => this.#log.error(`pcp: ${errorLine(error)}`));
    return socket;
  }

  #receive(socket: Socket, place: Place, bytes: Buffer, from: RemoteInfo): void {
    try {
      const answer = this.#answer(bytes, from, place);
      if (answer) this.#send(socket, answer, from.port, from.address);
    } catch (error) {
      this.#log.error(`pcp: can not answer ${from.address}: ${errorLine(error)}`);
    }
  }

  /** A client that can not be reached asks again. */
  #send(socket: Socket, bytes: Buffer, port: number, address: string): void {
    socket.send(bytes, port, address, (error) => {
      if (error) this.#log.debug(`pcp: can not send to ${address}: ${errorLine(error)}`);
    });
  }

  /** Tells the clients of every interface, by the socket of each of its addresses. */
  announce(bytes: Buffer, family?: 'ipv4' | 'ipv6'): void {
    for (const { socket, place } of this.#open.values()) {
      if (family !== undefined && place.family !== family) continue;
      try {
        if (place.family === 'ipv4') socket.setMulticastInterface(place.address);
        else socket.setMulticastInterface(`::%${place.device}`);
        this.#send(socket, bytes, PCP_CLIENT_PORT, ALL_HOSTS[place.family]);
      } catch (error) {
        this.#log.debug(`pcp: can not announce on ${place.device}: ${errorLine(error)}`);
      }
    }
  }

  close(): void {
    for (const { socket } of this.#open.values()) socket.close();
    this.#open.clear();
  }
}

function keyOf({ device, ifindex, address }: Place): string {
  return `${device} ${ifindex} ${address}`;
}

function cannotListen({ device, address }: Place, cause: unknown): CtnatError {
  return new CtnatError(
    `can not listen to PCP on ${address} of ${device} (pcp.inside): ${errorLine(cause)}; ` +
      'end the program that has UDP port 5351 there, or leave the interface out',
    { cause },
  );
}
