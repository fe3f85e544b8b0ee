// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/**
 * Makes the kernel equal to a state, all or nothing: the entries first, so that a program finds them when it first
 * runs, then the programs, and what is no longer wanted at the end. Whatever changes something works through here:
 * it says what shall hold, and this finds out what has to be done. Doing it again is harmless.
 */
import type { Link } from 'libbpf-ts';
import type { Datapath } from './datapath.js';
import { errorLine } from './errors.js';
import { settleExempt } from './exempt.js';
import { closePort, openPort } from './forward-port.js';
import { type Iface, ifaceCodec, SettingsFlags, type TrackRules } from './generated/layouts.gen.js';
import type { Hooks } from './hooks.js';
import { ifaceEntry } from './iface-entry.js';
import { hasEim } from './interface-config.js';
import { hookVariant, NO_REDIRECT } from './layers.js';
import type { Ledger } from './ledger.js';
import { settleLimits } from './limits.js';
import { isXdpLoaded } from './load-xdp.js';
import type { Network } from './network.js';
import { masqueradeAddress, ownAddresses } from './own-address.js';
import { areSameRules, readRules, writeRules } from './rule-bank.js';
import { type RuleInterface, ruleEntries, rulePools } from './rule-entry.js';
import { encodeTimeouts } from './settings.js';
import type { Attachment, State } from './state.js';
import { refuseXdpWithTrack, settleTrack } from './track-bank.js';
import { trackEntries } from './track-entry.js';
import { Undo } from './undo.js';
import { modeOf } from './xdp-mode.js';
import { refuseBesideZones, settleZones, zoneEntries } from './zones.js';

export interface Workplace {
  readonly datapath: Datapath;
  readonly hooks: Hooks;
  readonly ledger: Ledger;
  readonly network: Network;
}

/** What settling changed of the addresses that masquerade gives. */
export interface AddressChange {
  readonly ifindex: number;
  readonly before: Iface;
  readonly after: Iface;
}

export interface Settled {
  /** The state with what was found out on the way. */
  readonly state: State;
  readonly addressChanges: readonly AddressChange[];
}

/**
 * @param before what holds now
 * @param wanted its interfaces that are there have the ifindex of a link of the network
 */
export function settle(place: Workplace, before: State, wanted: State): Settled {
  const undo = new Undo();
  try {
    const entries = wantedEntries(place, wanted);
    refuseBesideZones(wanted);
    refuseXdpWithTrack(wanted);
    const zones = zoneEntries([...presentLinks(place, wanted).values()], place.network.links);
    const addressChanges = settleEntries(place.datapath, entries, undo);
    settleZones(place.datapath, zones, undo);
    settleLimits(place.datapath, entries.values(), undo);
    settleExempt(place.datapath, wanted.exempt, undo);
    settleRules(place, wanted, undo);
    settleTrack(place.datapath, wantedTrack(place, wanted), undo);
    settleTimeouts(place.datapath, wanted, undo);
    settleFlags(place.datapath, wanted, undo);
    const state = settleHooks(place, before, wanted, undo);
    removeOthers(place, before, wanted, undo);
    place.ledger.write(state);
    return { state, addressChanges };
  } catch (error) {
    const failures = undo.run();
    if (failures.length === 0) throw error;
    throw new AggregateError(failures, `${(error as Error).message}; and it could not all be taken back`, {
      cause: error,
    });
  }
}

function presentLinks(place: Workplace, state: State): Map<number, { attachment: Attachment; link: Link }> {
  const found = new Map<number, { attachment: Attachment; link: Link }>();
  for (const attachment of state.interfaces) {
    const link = place.network.links.find(({ ifindex }) => ifindex === attachment.ifindex);
    if (link) found.set(link.ifindex, { attachment, link });
  }
  return found;
}

function wantedEntries(place: Workplace, wanted: State): Map<number, Iface> {
  const { addresses } = place.network;
  return new Map(
    [...presentLinks(place, wanted)].map(([ifindex, { attachment, link }]) => {
      const own = {
        ipv4: masqueradeAddress(addresses, ifindex, 'ipv4'),
        ipv6: masqueradeAddress(addresses, ifindex, 'ipv6'),
      };
      return [ifindex, ifaceEntry(attachment, wanted.rules, own, link.mtu)];
    }),
  );
}

/** Adds and changes entries. Those of interfaces that are to be detached stay until their programs are gone. */
function settleEntries({ maps }: Datapath, entries: ReadonlyMap<number, Iface>, undo: Undo): AddressChange[] {
  const changes: AddressChange[] = [];
  for (const [ifindex, after] of entries) {
    const before = maps.ifaces.get(ifindex);
    if (before && isSameEntry(before, after)) continue;
    maps.ifaces.set(ifindex, after);
    undo.push(() => (before ? maps.ifaces.set(ifindex, before) : maps.ifaces.delete(ifindex)));
    if (before && (before.addr4 !== after.addr4 || before.addr6.some((word, i) => word !== after.addr6[i]))) {
      changes.push({ ifindex, before, after });
    }
  }
  return changes;
}

function isSameEntry(a: Iface, b: Iface): boolean {
  const bytes = (entry: Iface) => {
    const buffer = Buffer.alloc(ifaceCodec.size);
    ifaceCodec.write(new DataView(buffer.buffer, buffer.byteOffset, buffer.length), 0, entry);
    return buffer;
  };
  return bytes(a).equals(bytes(b));
}

function settleRules(place: Workplace, wanted: State, undo: Undo): void {
  const { datapath, network } = place;
  const present = [...presentLinks(place, wanted).values()];
  const interfaceOf = (name: string): RuleInterface | undefined => {
    const found = present.find(({ attachment }) => attachment.name === name);
    if (!found) return undefined;
    const { ifindex } = found.link;
    const own = (family: 'ipv4' | 'ipv6') => ownAddresses(network.addresses, ifindex, family);
    return { ifindex, addresses: { ipv4: own('ipv4'), ipv6: own('ipv6') } };
  };
  const rules = { entries: ruleEntries(wanted.rules, interfaceOf), pool: rulePools(wanted.rules) };
  const old = readRules(datapath);
  if (areSameRules(old, rules)) return;
  undo.push(() => writeRules(datapath, old));
  writeRules(datapath, rules);
}

function wantedTrack(place: Workplace, wanted: State): TrackRules {
  const present = [...presentLinks(place, wanted).values()];
  return trackEntries(
    wanted.track,
    (name) => present.find(({ attachment }) => attachment.name === name)?.link.ifindex,
  );
}

function settleTimeouts(datapath: Datapath, wanted: State, undo: Undo): void {
  const timeouts = encodeTimeouts(wanted.timeouts);
  const old = datapath.settings.timeouts;
  if (timeouts.every((ticks, i) => ticks === old[i])) return;
  undo.push(() => datapath.updateSettings({ timeouts: old }));
  datapath.updateSettings({ timeouts });
}

/** Programs look for endpoints only where some interface has any. */
function settleFlags(datapath: Datapath, wanted: State, undo: Undo): void {
  const old = datapath.settings.flags;
  const flags = wanted.interfaces.some(({ mapping }) => hasEim(mapping))
    ? old | SettingsFlags.EIM
    : old & ~SettingsFlags.EIM;
  if (flags === old) return;
  undo.push(() => datapath.updateSettings({ flags: old }));
  datapath.updateSettings({ flags });
}

/** Puts the right programs on every interface that is there: which, depends on what else is attached. */
function settleHooks(place: Workplace, before: State, wanted: State, undo: Undo): State {
  const present = presentLinks(place, wanted);
  const attached = new Set(present.keys());
  const interfaces = wanted.interfaces.map((attachment) => {
    const link = present.get(attachment.ifindex)?.link;
    if (!link) return attachment;
    const variant = hookVariant(link, place.network.links, attached, attachment.redirect);
    const redirects = variant === 'redirect';
    const made = place.hooks.attach(link.ifindex, attachment.hook, variant, undo);
    const earlier = before.interfaces.find(({ ifindex }) => ifindex === link.ifindex);
    const { xdp: _xdp, why: _why, redirects: _redirects, ...rest } = attachment;
    const mode = settleXdp(place, { ...rest, redirects }, link, wanted, undo);
    const why = attachment.redirect ? (mode.why ?? NO_REDIRECT[variant] ?? noRedirectNow(wanted)) : mode.why;
    const how = { ...mode, ...(why !== undefined && { why }), ...(redirects && { redirects }) };
    return { ...rest, ...how, madeQdisc: made || (earlier?.madeQdisc ?? false) };
  });
  const netns = interfaces.length === 0 ? 0 : place.network.netns;
  return { ...wanted, netns, interfaces };
}

/** Why no packet is redirected for the time being. */
function noRedirectNow({ track }: State): string | undefined {
  return track.length > 0 ? 'there are rules for tracking, which every packet is asked about' : undefined;
}

/** Puts the program of XDP mode on an interface that is to have it, or takes it away; says which and why. */
function settleXdp(
  { datapath, hooks, network: { links } }: Workplace,
  attachment: Attachment,
  link: Link,
  { flavour, interfaces, track }: State,
  undo: Undo,
): Pick<Attachment, 'xdp' | 'why'> {
  const { runs, why } = modeOf(attachment, link, { links, flavour, hooks });
  const { redirects } = attachment;
  const without = (reason?: string) => {
    if (redirects) openPort(datapath, link, { redirects }, undo);
    else closePort(datapath, link.ifindex, undo);
    if (hooks.xdpProgramOn(link.ifindex) !== undefined) {
      hooks.detachXdp(link.ifindex);
      undo.push(() => hooks.attachXdp(link.ifindex, true, undo));
    }
    return reason === undefined ? {} : { why: reason };
  };
  if (runs === 'tc') return without(why);
  if (interfaces.some(({ zone }) => zone)) return without('an interface has a zone, and XDP mode knows none');
  if (track.length > 0) return without('there are rules for tracking, and XDP mode asks none');
  if (!isXdpLoaded(datapath.pinPath)) return without('the programs of XDP mode are not loaded');
  try {
    const xdp = hooks.attachXdp(link.ifindex, attachment.mode === 'xdp', undo);
    openPort(datapath, link, { xdp, redirects }, undo);
    return { xdp, ...(why !== undefined && { why }) };
  } catch (error) {
    if (attachment.mode === 'xdp') throw error;
    return without(errorLine(error));
  }
}

/** Takes away programs, links and entries of interfaces that shall not be attached, or are no longer there. */
function removeOthers(place: Workplace, before: State, wanted: State, undo: Undo): void {
  const { datapath, hooks, network } = place;
  const stay = presentLinks(place, wanted);
  const old = presentLinks(place, before);
  const oldIndexes = new Set(old.keys());
  const leave = new Set([...datapath.maps.ifaces.keys(), ...hooks.linkedInterfaces(), ...oldIndexes]);
  for (const ifindex of leave) {
    if (stay.has(ifindex)) continue;
    const entry = datapath.maps.ifaces.get(ifindex);
    const was = old.get(ifindex);
    undo.push(() => {
      if (entry) datapath.maps.ifaces.set(ifindex, entry);
      if (was)
        hooks.attach(
          ifindex,
          was.attachment.hook,
          hookVariant(was.link, network.links, oldIndexes, was.attachment.redirect),
          undo,
        );
    });
    const isThere = network.links.some((link) => link.ifindex === ifindex);
    closePort(datapath, ifindex, undo);
    hooks.detach(ifindex, { isThere, withQdisc: was?.attachment.madeQdisc ?? false });
    datapath.maps.ifaces.delete(ifindex);
  }
}
