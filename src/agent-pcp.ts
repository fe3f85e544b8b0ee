// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** The agent's PCP server: from the configuration to sockets and mappings. Mappings outlive it, until their time is over. */
import type { RemoteInfo } from 'node:dgram';
import { type Cidr, type Family, formatAddress, parseAddress, parseCidr } from './address.js';
import type { AgentLog } from './agent-log.js';
import type { PcpConfig } from './config/config.js';
import { Datapath } from './datapath.js';
import { errorLine } from './errors.js';
import { rememberedState } from './follow.js';
import { stateFile } from './lock.js';
import { type Network, readNetwork } from './network.js';
import { Announcer } from './pcp/announcer.js';
import { Book } from './pcp/book.js';
import { Journal } from './pcp/journal.js';
import { KernelMapper, slotPlaces } from './pcp/kernel-mapper.js';
import { PcpOpcode, writeSuccess } from './pcp/message.js';
import { writeNatPmpAddress } from './pcp/nat-pmp.js';
import { Neighbourhood } from './pcp/neighbourhood.js';
import { externalAddress, type PcpCounts, PcpServer } from './pcp/server.js';
import { PcpSockets, type Place } from './pcp/sockets.js';

const SCOPE_UNIVERSE = 0;
const SCOPE_LINK = 253;

/** How often is looked whether the datapath has every mapping still. */
const CHECK_MS = 10_000;
/** A timer's longest time. */
const MAX_TIMER_MS = 2 ** 31 - 1;

export class AgentPcp {
  readonly #pinPath: string;
  readonly #log: AgentLog;
  readonly #sockets: PcpSockets;
  readonly #announcer: Announcer;
  readonly #places = slotPlaces();
  readonly #outside = new Map<Family, string>();
  #config: PcpConfig | undefined;
  #book: Book | undefined;
  #server: PcpServer | undefined;
  #neighbourhood: Neighbourhood | undefined;
  #expiry: NodeJS.Timeout | undefined;
  #check: NodeJS.Timeout | undefined;

  constructor(pinPath: string, log: AgentLog) {
    this.#pinPath = pinPath;
    this.#log = log;
    this.#sockets = new PcpSockets((bytes, from, { device }) => this.#answer(bytes, from, device), log);
    this.#announcer = new Announcer(() => this.#announce());
  }

  get counts(): PcpCounts | undefined {
    return this.#server && { mappings: this.#book!.size, answers: this.#server.answers };
  }

  /** From now on as this says; undefined: nobody is answered. What was mapped stays until its time is over. */
  async use(config: PcpConfig | undefined): Promise<void> {
    this.#config = config;
    if (!config) return this.close();
    const isFirst = !this.#book;
    this.#book ??= this.#openBook();
    const network = readNetwork();
    this.#neighbourhood = new Neighbourhood(network);
    const options = { ...config, allow: config.allow ?? ownNetworks(config.inside, network) };
    if (this.#server) this.#server.options = options;
    else this.#server = new PcpServer(this.#book, options, monotonicMs);
    await this.#listen(config, network);
    this.look();
    if (isFirst && this.#book.isNew) this.#announcer.start();
    this.#check ??= setInterval(() => this.look(), CHECK_MS).unref();
  }

  #openBook(): Book {
    const journal = new Journal(stateFile(this.#pinPath, 'pcp'));
    return new Book(journal, this.#log, monotonicMs, () => this.#announcer.start());
  }

  /** Where it can not listen now it may later, when an address has come. */
  async #listen({ inside }: PcpConfig, network: Network): Promise<void> {
    try {
      await this.#sockets.use(placesOf(inside, network));
    } catch (error) {
      this.#log.error(errorLine(error));
    }
  }

  /** The network has changed. */
  async follow(): Promise<void> {
    if (this.#config) await this.use(this.#config);
  }

  /** Looks whether mappings have gone before their time, and lets go those whose time is over. */
  look(): void {
    clearTimeout(this.#expiry);
    try {
      this.#withMapper((mapper) => {
        this.#book?.expire(mapper);
        this.#book?.check(mapper);
        this.#followAddress(mapper);
      });
      this.#schedule();
    } catch (error) {
      // the next check tries again
      this.#log.error(`pcp: can not look after mappings: ${errorLine(error)}`);
    }
  }

  /** Another outside address begins the epoch anew, also for who has no mapping (RFC 6886 section 3.2.1). */
  #followAddress(mapper: KernelMapper): void {
    for (const family of ['ipv4', 'ipv6'] as const) {
      const host = this.#server?.options.allow.find((cidr) => cidr.family === family);
      const address = host && externalAddress(host, mapper);
      if (!address) continue; // for a moment, perhaps
      const text = formatAddress(address);
      const before = this.#outside.get(family);
      this.#outside.set(family, text);
      if (before !== undefined && before !== text) this.#book?.begin();
    }
  }

  #schedule(): void {
    clearTimeout(this.#expiry);
    const next = this.#book?.nextDeadlineMs;
    if (next === undefined || !this.#config) return;
    const inMs = Math.min(MAX_TIMER_MS, Math.max(1, next - monotonicMs()));
    this.#expiry = setTimeout(() => this.look(), inMs).unref();
  }

  #withMapper<T>(work: (mapper: KernelMapper) => T): T {
    using datapath = Datapath.open(this.#pinPath);
    return work(this.#mapper(datapath));
  }

  #mapper(datapath: Datapath): KernelMapper {
    const state = rememberedState(this.#pinPath);
    return new KernelMapper(datapath, state, this.#config?.outside ?? '', this.#places);
  }

  #answer(bytes: Buffer, { address }: RemoteInfo, device: string): Buffer | undefined {
    const source = parseAddress(address.replace(/%.*/, ''));
    if (!this.#neighbourhood?.isPlausible(source, device)) return this.#server?.drop();
    let datapath: Datapath | undefined;
    try {
      const answer = this.#server?.answer(bytes, source, () => {
        datapath = Datapath.open(this.#pinPath);
        return this.#mapper(datapath);
      });
      if (datapath) this.#schedule();
      return answer;
    } finally {
      datapath?.close();
    }
  }

  #announce(): void {
    const epoch = this.#book?.epoch ?? 0;
    this.#sockets.announce(writeSuccess(PcpOpcode.ANNOUNCE, 0, epoch));
    if (!this.#server?.options.natPmp) return;
    const host = this.#server.options.allow.find(({ family }) => family === 'ipv4');
    try {
      const address = host && this.#withMapper((mapper) => externalAddress(host, mapper));
      if (address) this.#sockets.announce(writeNatPmpAddress(address, epoch), 'ipv4');
    } catch (error) {
      this.#log.error(`pcp: can not announce the outside address: ${errorLine(error)}`);
    }
  }

  /** Answers nobody any more. */
  close(): void {
    this.#announcer.stop();
    clearTimeout(this.#expiry);
    clearInterval(this.#check);
    this.#check = undefined;
    this.#sockets.close();
    this.#config = undefined;
    this.#server = undefined;
    this.#book = undefined;
    this.#outside.clear();
  }
}

/** CLOCK_MONOTONIC, by which the datapath's deadlines go, in milliseconds. */
function monotonicMs(): number {
  return Number(process.hrtime.bigint() / 1_000_000n);
}

/** Every address of these interfaces that a host of theirs may write to. */
function placesOf(inside: readonly string[], { links, addresses }: Network): Place[] {
  return links
    .filter(({ name }) => inside.includes(name))
    .flatMap(({ name, ifindex }) =>
      addresses
        .filter((each) => each.ifindex === ifindex && each.scope <= SCOPE_LINK)
        .filter(({ flags }) => !flags.includes('tentative') && !flags.includes('dadfailed'))
        .map(({ family, address, scope }) => ({ ifindex, family, address, scope, device: name })),
    );
}

/** The networks that are directly there. */
function ownNetworks(inside: readonly string[], { links, addresses }: Network): Cidr[] {
  const indexes = new Set(links.filter(({ name }) => inside.includes(name)).map(({ ifindex }) => ifindex));
  return addresses
    .filter(({ ifindex, scope }) => indexes.has(ifindex) && scope === SCOPE_UNIVERSE)
    .map(({ address, prefix }) => parseCidr(`${address}/${prefix}`));
}
