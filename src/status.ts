// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** What is attached and loaded, how full the tables are, and what the kernel gives. Changes nothing. */
import { release } from 'node:os';
import { type BpfMap, type KernelFeatures, probeFeatures } from 'libbpf-ts';
import { currentState } from './change.js';
import { Datapath, MAP_NAMES, type MapName } from './datapath.js';
import { DEFAULT_TIMEOUTS } from './defaults.js';
import { listReaders } from './events/places.js';
import { Call, Layout } from './generated/layouts.gen.js';
import { Hooks } from './hooks.js';
import { InterfaceNames } from './interface-names.js';
import { interfaceStatus } from './interface-status.js';
import { type MissingFeature, missingFeatures } from './kernel-support.js';
import { Ledger } from './ledger.js';
import { agentPid } from './lock.js';
import { readMetrics } from './metrics-table.js';
import { readNetwork } from './network.js';
import { readClasses } from './packet-classes.js';
import type { InterfaceStatus, MapStatus, Status } from './product.js';
import { readRefusals } from './refusals.js';
import { refusedFlavours, refusedName } from './refused-flavour.js';
import { decodeTimeouts, encodeTimeouts } from './settings.js';
import { SlotReader } from './slot-reader.js';
import type { State } from './state.js';
import { readLimited } from './subscribers.js';
import type { Timeouts } from './timeouts.js';
import { TupleTable } from './tuple-table.js';
import { version } from './version.js';

/** See Product.status(). Works where nothing is loaded, too: then there are no interfaces and no maps. */
export function status(pinPath: string): Status {
  const pid = agentPid(pinPath);
  const common = {
    version: version(),
    kernel: release(),
    pinPath,
    agent: { running: pid !== undefined, pid: pid ?? null },
  };
  const kernel = probeFeatures();
  if (!Datapath.isLoaded(pinPath)) {
    return {
      ...common,
      interfaces: [],
      maps: [],
      timeouts: DEFAULT_TIMEOUTS,
      refusals: [],
      limited: [],
      features: features(kernel),
      missing: missingFeatures(),
      readers: [],
      tableFullDrops: 0,
      classes: [],
    };
  }
  using datapath = Datapath.open(pinPath);
  using ledger = Ledger.open(pinPath);
  using hooks = new Hooks(pinPath);
  const state = ledger.read();
  return {
    ...common,
    interfaces: interfaces(state, hooks),
    maps: [...mapStatus(datapath), describe('ledger', ledger.map, 1)],
    timeouts: timeouts(datapath, state),
    refusals: readRefusals(datapath),
    limited: readLimited(datapath, new InterfaceNames(datapath.maps.ifaces)),
    features: features(kernel, { datapath, state }),
    missing: [...refusedFlavours(state), ...missingFeatures()],
    readers: listReaders(pinPath, datapath),
    tableFullDrops: dropsOf('drop_table_full', datapath),
    classes: readClasses(datapath),
  };
}

function dropsOf(reason: string, datapath: Datapath): number {
  const found = readMetrics(datapath).filter((metric) => metric.reason === reason);
  return found.reduce((sum, { packets }) => sum + packets, 0);
}

/** See Product.missing(). */
export function missingHere(pinPath: string): readonly MissingFeature[] {
  if (!Datapath.isLoaded(pinPath)) return missingFeatures();
  using ledger = Ledger.open(pinPath);
  return [...refusedFlavours(ledger.read()), ...missingFeatures()];
}

/** Those that are there with our programs on them. */
function interfaces(remembered: State, hooks: Hooks): InterfaceStatus[] {
  const network = readNetwork();
  const isHere = remembered.netns === network.netns;
  const state = isHere ? currentState(remembered, network, hooks, 'show the status') : remembered;
  return state.interfaces
    .map((attachment) => ({
      attachment,
      found: attachment.ifindex === 0 ? [] : hooks.on(attachment.ifindex),
    }))
    .filter(({ found }) => found.length > 0)
    .map(({ attachment, found }) => interfaceStatus(attachment, found));
}

function mapStatus(datapath: Datapath): MapStatus[] {
  // flows past their deadline that nobody has swept take room as well
  const used = {
    4: new SlotReader(datapath.maps, 4).countHeld(),
    6: new SlotReader(datapath.maps, 6).countHeld(),
  };
  return MAP_NAMES.map((name) => {
    const typed = datapath.maps[name];
    const room = name === 'tuple_index' ? Layout.INDEX_CELLS : 1;
    return describe(name, typed.map, entries(datapath, name, used), room);
  });
}

/** @param used slots of each family */
function entries(datapath: Datapath, name: MapName, used: Readonly<Record<4 | 6, number>>): number {
  switch (name) {
    case 'flows4':
    case 'extras4':
      return used[4];
    case 'flows6':
    case 'extras6':
      return used[6];
    case 'tuple_index':
      return new TupleTable(datapath, 4).countIndexed() + new TupleTable(datapath, 6).countIndexed();
    case 'nat_rules':
      return datapath.settings.ruleCount;
    case 'event_readers':
    case 'event_reader_buffers':
      return readerCount(datapath);
    case 'calls':
      return 2 * Object.keys(Call).length;
    default:
      return datapath.maps[name].count();
  }
}

/** Who listens to events: a bit each, set under every type that they want. */
function readerCount({ settings }: Datapath): number {
  let readers = settings.events.reduce((all, each) => all | each, 0);
  let count = 0;
  for (; readers !== 0; readers &= readers - 1) count++;
  return count;
}

/** @param room of an entry, for what is counted */
function describe(name: string, map: BpfMap, used: number, room = 1): MapStatus {
  const { type, maxEntries } = map;
  return { name, type, entries: used, maxEntries: maxEntries * room, bytes: map.memoryBytes() };
}

/** As they were given: the map has them rounded up to ticks. */
function timeouts({ settings }: Datapath, state: State): Timeouts {
  const given = encodeTimeouts(state.timeouts);
  const isGiven = settings.timeouts.every((ticks, i) => ticks === given[i]);
  return isGiven ? state.timeouts : decodeTimeouts(settings.timeouts);
}

/** The timeouts that hold; the defaults where nothing is loaded. */
export function currentTimeouts(pinPath: string): Timeouts {
  if (!Datapath.isLoaded(pinPath)) return DEFAULT_TIMEOUTS;
  using datapath = Datapath.open(pinPath);
  using ledger = Ledger.open(pinPath);
  return timeouts(datapath, ledger.read());
}

/** What is in use first, then what the kernel has. */
function features(
  kernel: KernelFeatures,
  loaded?: { readonly datapath: Datapath; readonly state: State },
): Record<string, boolean | number | string> {
  const inUse = loaded && {
    flavour: loaded.state.flavour,
    ...Object.fromEntries((loaded.state.refused ?? []).map(({ flavour }) => [refusedName(flavour), false])),
    listing: new SlotReader(loaded.datapath.maps, 4).mode,
  };
  return {
    ...inUse,
    attach: kernel.tcx.available ? 'tcx' : 'clsact',
    ...Object.fromEntries(Object.values(kernel).map(({ name, available }) => [name, available])),
  };
}
