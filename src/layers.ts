// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** Which of the hook programs an interface needs: by its link header, and by what lies below it. */
import type { Link } from 'libbpf-ts';

/**
 * `ip`: packets begin with the IP header. `upper`: an attached interface below it has seen the packets already.
 * `redirect`: as `ethernet`, and established flows skip the stack.
 */
export type HookVariant = 'ethernet' | 'ip' | 'upper' | 'redirect';

/** ARPHRD_*: those whose packets begin with an Ethernet header. */
const ARPHRD_ETHER = 1;
const ARPHRD_LOOPBACK = 772;

/**
 * Devices that hand the very packets of `link` on. VLAN devices are not among them: below, their packets are tagged
 * and pass untracked. A tunnel's `link` carries packets of its own.
 */
const SHARES_PACKETS: ReadonlySet<string> = new Set(['macvlan', 'macvtap', 'ipvlan', 'ipvtap']);

/**
 * The variant of one interface, given all links and the attached ones among them by ifindex.
 * @param redirect whether established flows are to skip the stack, where they can
 */
export function hookVariant(
  link: Link,
  links: readonly Link[],
  attached: ReadonlySet<number>,
  redirect = false,
): HookVariant {
  if (link.type !== ARPHRD_ETHER && link.type !== ARPHRD_LOOPBACK) return 'ip';
  if (linksBelow(link, links).some(({ ifindex }) => attached.has(ifindex))) return 'upper';
  return redirect && link.type === ARPHRD_ETHER ? 'redirect' : 'ethernet';
}

/** Why an interface of this variant does not redirect, as it follows "because". */
export const NO_REDIRECT: Readonly<Partial<Record<HookVariant, string>>> = {
  ip: 'packets without an Ethernet header are not redirected',
  upper: 'an attached interface below it sees its packets first',
  ethernet: 'what the host sends to itself is not forwarded',
};

/** The links below, directly or deeper. */
export function linksBelow(link: Link, links: readonly Link[]): Link[] {
  const found = new Set<Link>();
  const add = (above: Link): void => {
    for (const lower of lowerLinks(above, links)) {
      if (found.has(lower)) continue;
      found.add(lower);
      add(lower);
    }
  };
  add(link);
  return [...found];
}

/** A bridge's or bond's members, and what a device shares its packets with. */
function lowerLinks(link: Link, links: readonly Link[]): Link[] {
  const shares = SHARES_PACKETS.has(link.kind ?? '') && link.linkNetnsid === undefined;
  return links.filter(({ ifindex, master }) => master === link.ifindex || (shares && ifindex === link.link));
}
