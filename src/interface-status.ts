// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** What is said of an attached interface. */
import type { AttachedHook } from './hooks.js';
import type { InterfaceStatus } from './product.js';
import type { Attachment } from './state.js';

export function interfaceStatus(
  { name, ifindex, masquerade, mapping, filtering, mss, zone, limits, xdp, redirects, why }: Attachment,
  hooks: readonly AttachedHook[],
): InterfaceStatus {
  return {
    name,
    ifindex,
    mode: xdp ? 'xdp' : 'tc',
    ...(why !== undefined && { why }),
    hooks: hooks.map(({ kind, direction }) => `${kind}/${kind === 'xdp' ? (xdp ?? direction) : direction}`),
    masquerade,
    mapping,
    filtering,
    mss: mss ?? null,
    redirect: redirects ?? false,
    zone: zone ?? 0,
    limits: limits ?? null,
  };
}
