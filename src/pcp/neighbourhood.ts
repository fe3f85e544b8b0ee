// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/**
 * Whether a request's source is one of the interface that it came in by. The kernel's own check (rp_filter) may be off,
 * and whoever forges another inside network's address would open that network's hosts to everybody (RFC 6887 section
 * 18.1).
 */
import {
  type Address,
  type Cidr,
  cidrContains,
  compareAddresses,
  parseAddress,
  parseCidr,
} from '../address.js';
import type { Network } from '../network.js';

/** A network that is directly there, and at which interfaces. */
interface Near {
  readonly cidr: Cidr;
  readonly device: string;
}

export class Neighbourhood {
  readonly #own: readonly Address[];
  readonly #near: readonly Near[];

  constructor({ links, addresses }: Network) {
    this.#own = addresses.map(({ address }) => parseAddress(address));
    this.#near = addresses.map(({ address, prefix, ifindex }) => ({
      cidr: parseCidr(`${address}/${prefix}`),
      device: links.find((link) => link.ifindex === ifindex)?.name ?? '',
    }));
  }

  /** False: the source is this host's, or is in a network of other interfaces. What is behind a router is for `allow`. */
  isPlausible(source: Address, device: string): boolean {
    const { family, bytes } = source;
    if (this.#own.some((own) => own.family === family && compareAddresses(own, source) === 0)) return false;
    const at = this.#near.filter(({ cidr }) => cidr.family === family && cidrContains(cidr, bytes));
    const longest = Math.max(...at.map(({ cidr }) => cidr.prefix));
    return at.length === 0 || at.some((near) => near.cidr.prefix === longest && near.device === device);
  }
}
