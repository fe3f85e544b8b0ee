// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** Answers PCP (RFC 6887) and NAT-PMP (RFC 6886): bytes in, bytes out. Sockets and the datapath are others'. */
import { type Address, type Cidr, cidrContains } from '../address.js';
import type { Book, BookOptions } from './book.js';
import type { Mapper } from './mapper.js';
import { NO_NONCE, subscriberOf } from './mapping.js';
import { type MapData, PcpOpcode, type PcpRequest, readPcp, writeError, writeSuccess } from './message.js';
import {
  NAT_PMP_VERSION,
  type NatPmpRequest,
  NatPmpResult,
  natPmpResult,
  readNatPmp,
  writeNatPmpAddress,
  writeNatPmpError,
  writeNatPmpMap,
} from './nat-pmp.js';
import { RateLimit } from './rate.js';
import { PcpResult, resultName } from './result.js';

/** What metrics tell of it. */
export interface PcpCounts {
  readonly mappings: number;
  /** By the RFC's name of the result; `dropped`: not answered. */
  readonly answers: ReadonlyMap<string, number>;
}

export interface ServerOptions extends BookOptions {
  /** Whose requests are served. */
  readonly allow: readonly Cidr[];
  readonly natPmp: boolean;
}

/** No port of its own: what a question for the address alone is asked for. */
const ANY_PORT = 1024;
const UDP = 17;

export class PcpServer {
  readonly #book: Book;
  readonly #nowMs: () => number;
  readonly #rate = new RateLimit();
  readonly #answers = new Map<string, number>();
  options: ServerOptions;

  constructor(book: Book, options: ServerOptions, nowMs: () => number) {
    this.#book = book;
    this.options = options;
    this.#nowMs = nowMs;
  }

  /** How often each result was answered, and under `dropped` what was not answered, since the start. */
  get answers(): ReadonlyMap<string, number> {
    return this.#answers;
  }

  /**
   * The response, which goes to where the request came from; undefined: none.
   * @param open gives the datapath, where the request needs it
   */
  answer(bytes: Uint8Array, source: Address, open: () => Mapper): Buffer | undefined {
    if (!this.#rate.take(subscriberOf(source), this.#nowMs())) return this.drop();
    // NAT-PMP is IPv4's alone
    const isNatPmp = bytes[0] === NAT_PMP_VERSION && this.options.natPmp && source.family === 'ipv4';
    return isNatPmp ? this.#answerNatPmp(bytes, source, open) : this.#answerPcp(bytes, source, open);
  }

  /** Counts a request that is not answered. */
  drop(): undefined {
    this.#count('dropped');
    return undefined;
  }

  #count(name: string): void {
    this.#answers.set(name, (this.#answers.get(name) ?? 0) + 1);
  }

  #isAllowed({ family, bytes }: Address): boolean {
    return this.options.allow.some((cidr) => cidr.family === family && cidrContains(cidr, bytes));
  }

  #answerPcp(bytes: Uint8Array, source: Address, open: () => Mapper): Buffer | undefined {
    const reading = readPcp(bytes, source);
    if (!reading) return this.drop();
    const refuse = (error: PcpResult, lifetime?: number): Buffer => {
      this.#count(resultName(error));
      return writeError(bytes, error, this.#book.epoch, lifetime);
    };
    if ('error' in reading) return refuse(reading.error);
    if (!this.#isAllowed(source)) return refuse(PcpResult.NOT_AUTHORIZED);
    const { request } = reading;
    const { map } = request;
    if (!map) {
      this.#count(resultName(PcpResult.SUCCESS));
      return writeSuccess(PcpOpcode.ANNOUNCE, 0, this.#book.epoch);
    }
    const done = this.#map(request, map, source, open());
    if (done.result !== PcpResult.SUCCESS) return refuse(done.result, done.lifetime);
    this.#count(resultName(PcpResult.SUCCESS));
    const { preferFailure } = request;
    // what is deleted is answered with what was suggested
    const gone = { port: map.externalPort, address: map.externalAddress ?? anyAddress(source) };
    const external = request.lifetime === 0 ? gone : done.external;
    return writeSuccess(PcpOpcode.MAP, done.lifetime, this.#book.epoch, { map, preferFailure, ...external });
  }

  #map({ lifetime, preferFailure }: PcpRequest, map: MapData, address: Address, mapper: Mapper) {
    const { protocol, port, externalPort, externalAddress } = map;
    const nonce = Buffer.from(map.nonce).toString('hex');
    const inside = { address, protocol, port };
    if (lifetime === 0) return this.#book.delete(inside, nonce, mapper);
    const wish = { inside, nonce, lifetime, externalPort, isStrict: preferFailure };
    return this.#book.map({ ...wish, ...(externalAddress && { externalAddress }) }, mapper, this.options);
  }

  #answerNatPmp(bytes: Uint8Array, source: Address, open: () => Mapper): Buffer | undefined {
    const request = readNatPmp(bytes);
    if (!request) return this.drop();
    const { epoch } = this.#book;
    if (!this.#isAllowed(source)) {
      this.#count(resultName(PcpResult.NOT_AUTHORIZED));
      return writeNatPmpError(bytes[1]!, NatPmpResult.NOT_AUTHORIZED, epoch);
    }
    switch (request.kind) {
      case 'unknown':
        this.#count(resultName(PcpResult.UNSUPP_OPCODE));
        return writeNatPmpError(request.opcode, NatPmpResult.UNSUPPORTED_OPCODE, epoch);
      case 'address': {
        const address = externalAddress(source, open());
        this.#count(resultName(address ? PcpResult.SUCCESS : PcpResult.NETWORK_FAILURE));
        return writeNatPmpAddress(address, epoch);
      }
      case 'map':
        return this.#mapNatPmp(request, source, open());
    }
  }

  #mapNatPmp(request: NatPmpRequest & { kind: 'map' }, address: Address, mapper: Mapper): Buffer {
    const { protocol, port, externalPort, lifetime } = request;
    const inside = { address, protocol, port };
    const wish = { inside, nonce: NO_NONCE, lifetime, externalPort, isStrict: false };
    const done =
      lifetime === 0
        ? this.#book.delete(inside, NO_NONCE, mapper)
        : this.#book.map(wish, mapper, this.options);
    this.#count(resultName(done.result));
    const { epoch } = this.#book;
    if (done.result !== PcpResult.SUCCESS) return writeNatPmpMap(request, natPmpResult(done.result), epoch);
    const given = { port: lifetime === 0 ? 0 : done.external.port, lifetime: done.lifetime };
    return writeNatPmpMap(request, NatPmpResult.SUCCESS, epoch, given);
  }
}

/** What an inside host's packets leave with. */
export function externalAddress(address: Address, mapper: Mapper): Address | undefined {
  return mapper.outside({ address, protocol: UDP, port: ANY_PORT })?.address;
}

function anyAddress({ family, bytes }: Address): Address {
  return { family, bytes: new Uint8Array(bytes.length) };
}
