// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** Zones of interfaces: the zones map, and the setting without which no program looks into it. */
import type { Link } from 'libbpf-ts';
import type { Datapath } from './datapath.js';
import { CtnatError } from './errors.js';
import { SettingsFlags } from './generated/layouts.gen.js';
import { linksBelow } from './layers.js';
import type { Attachment, State } from './state.js';
import type { Undo } from './undo.js';
import { zoneConflicts } from './zone-conflict.js';

/** An attached interface as it is found in the network. */
export interface Attached {
  readonly attachment: Attachment;
  readonly link: Link;
}

/**
 * Zones by ifindex, of the interfaces that have one, and of the bridges, bonds and VRFs that they are in: between the
 * hooks, what came in by a member counts as come in by its master.
 *
 * @throws CtnatError for interfaces that share packets and differ in their zones
 */
export function zoneEntries(attached: readonly Attached[], links: readonly Link[]): Map<number, number> {
  const zones = new Map<number, number>();
  for (const each of attached) {
    const zone = zoneOf(each);
    const above = [each.link, ...masters(each.link, links)];
    for (const top of above) {
      const below = [top, ...linksBelow(top, links)];
      const other = attached.find((one) => below.includes(one.link) && zoneOf(one) !== zone);
      if (other) throw differ(other, each);
      if (zone !== 0) zones.set(top.ifindex, zone);
    }
  }
  return zones;
}

function masters({ master }: Link, links: readonly Link[]): Link[] {
  const found = links.find(({ ifindex }) => ifindex === master);
  return found ? [found, ...masters(found, links)] : [];
}

function zoneOf({ attachment }: Attached): number {
  return attachment.zone ?? 0;
}

function differ(a: Attached, b: Attached): CtnatError {
  const text = (each: Attached) => `${each.link.name} zone ${zoneOf(each)}`;
  return new CtnatError(
    `can not give ${text(a)} and ${text(b)}: they share packets, as one lies above the other or both are in one ` +
      'bridge, bond or VRF; give both the same zone',
  );
}

/** @throws CtnatError if an interface has a zone and one has what can not be beside it */
export function refuseBesideZones({ interfaces }: Pick<State, 'interfaces'>): void {
  for (const { index, why } of zoneConflicts(interfaces)) {
    const { name, zone } = interfaces[index]!;
    throw new CtnatError(`can not give ${name} zone ${zone} ${why}`);
  }
}

/** Makes the map equal to the entries. */
export function settleZones(datapath: Datapath, entries: ReadonlyMap<number, number>, undo: Undo): void {
  const { zones } = datapath.maps;
  const old = new Map(zones.entries());
  const { flags } = datapath.settings;
  const wanted = entries.size === 0 ? flags & ~SettingsFlags.ZONES : flags | SettingsFlags.ZONES;
  const isSame =
    old.size === entries.size && [...entries].every(([ifindex, zone]) => old.get(ifindex) === zone);
  if (isSame && wanted === flags) return;
  const write = (from: ReadonlyMap<number, number>) => {
    for (const [ifindex, zone] of from) zones.set(ifindex, zone);
    for (const ifindex of [...zones.keys()]) if (!from.has(ifindex)) zones.delete(ifindex);
  };
  undo.push(() => {
    write(old);
    datapath.updateSettings({ flags });
  });
  write(entries);
  datapath.updateSettings({ flags: wanted });
}
