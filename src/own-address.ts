// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** Which of an interface's addresses are its own for NAT, and which one masquerade gives to what leaves by it. */
import type { InterfaceAddress } from 'libbpf-ts';
import type { Family } from './address.js';

/** RT_SCOPE_UNIVERSE and RT_SCOPE_SITE; those behind are the link's or the host's own. */
const SCOPE_UNIVERSE = 0;
const SCOPE_SITE = 200;

/** Addresses at which the interface answers, in the kernel's order. */
export function ownAddresses(all: readonly InterfaceAddress[], ifindex: number, family: Family): string[] {
  return all
    .filter((each) => each.ifindex === ifindex && each.family === family && isUsable(each))
    .filter(({ scope }) => scope <= SCOPE_SITE)
    .map(({ address }) => address);
}

/**
 * The source address of masquerade, or undefined if there is none.
 *
 * IPv4: the first primary address of scope universe, as inet_select_addr() of net/ipv4/devinet.c chooses where no
 * next hop says more. IPv6: of those of that scope that are not deprecated, one that stays (RFC 8981's temporary ones
 * would move the flows every day) and that the Internet routes, before unique local ones (RFC 4193).
 */
export function masqueradeAddress(
  all: readonly InterfaceAddress[],
  ifindex: number,
  family: Family,
): string | undefined {
  const candidates = all.filter(
    (each) =>
      each.ifindex === ifindex && each.family === family && each.scope === SCOPE_UNIVERSE && isUsable(each),
  );
  if (family === 'ipv4') return candidates.find(({ flags }) => !flags.includes('secondary'))?.address;
  const rank = ({ address, flags }: InterfaceAddress) =>
    (flags.includes('deprecated') ? 4 : 0) +
    (isUniqueLocal(address) ? 2 : 0) +
    (flags.includes('temporary') ? 1 : 0);
  return candidates.sort((a, b) => rank(a) - rank(b))[0]?.address;
}

/** Tentative addresses may turn out to be another host's (RFC 4862 section 5.4). */
function isUsable({ flags }: InterfaceAddress): boolean {
  return !flags.includes('dadfailed') && (!flags.includes('tentative') || flags.includes('optimistic'));
}

function isUniqueLocal(address: string): boolean {
  return /^f[cd]/i.test(address);
}
