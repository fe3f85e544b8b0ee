// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/**
 * The places at which events are listened to: MAX_READERS of a pin path. A place has a bit in settings.events under
 * each type that its reader wants, a filter in event_readers, a buffer in event_reader_buffers, and a lock file, which the
 * reader holds: the kernel lets go of it when the reader dies, however it dies, and then the place is anybody's.
 */
import type { FileLock } from 'libbpf-ts';
import type { Datapath } from '../datapath.js';
import { CtnatError } from '../errors.js';
import { EventLimits, type EventReader } from '../generated/layouts.gen.js';
import { lockReader, readerPid, tryChangeLock } from '../lock.js';
import type { ReaderStatus } from '../product.js';
import { EVENT_TYPES, type EventType } from './event.js';

export const MAX_READERS = EventLimits.READERS;

/** A place that this process has. */
export interface Place {
  readonly number: number;
  readonly lock: FileLock;
}

/**
 * Takes a free place, or one whose reader has died. The caller holds the lock for changes, and listens with
 * occupy().
 */
export function takePlace(pinPath: string, datapath: Datapath): Place {
  clearDead(pinPath, datapath);
  for (let number = 0; number < MAX_READERS; number++) {
    const lock = lockReader(pinPath, number);
    if (!lock) continue;
    clearPlace(datapath, number);
    return { number, lock };
  }
  throw new CtnatError(
    `can not listen to events of ${pinPath}: ${MAX_READERS} readers do already, which is the most; end one of them`,
  );
}

/** From now on the kernel puts events into the buffer. The caller holds the lock for changes. */
export function occupy(
  datapath: Datapath,
  { number }: Place,
  buffer: { readonly fd: number },
  filter: EventReader,
  types: readonly EventType[],
): void {
  const { maps } = datapath;
  maps.event_readers.set(number, filter);
  maps.event_reader_buffers.set(number, buffer.fd);
  // last: it is what programs look at first
  setTypes(datapath, number, types);
}

/** Nobody listens at the place any more. The caller holds the lock for changes. */
export function clearPlace(datapath: Datapath, number: number): void {
  const { maps } = datapath;
  setTypes(datapath, number, []);
  maps.event_reader_buffers.delete(number);
  const cpus = maps.event_counts.getPerCpu(number) ?? [];
  maps.event_counts.setPerCpu(
    number,
    cpus.map(() => ({ sequence: 0n, lost: 0n })),
  );
}

/** Changes what is wanted at a place. The caller holds the lock for changes. */
export function setTypes(datapath: Datapath, number: number, types: readonly EventType[]): void {
  const bit = 1 << number;
  const { events } = datapath.settings;
  const next = EVENT_TYPES.map((type, i) => (types.includes(type) ? events[i]! | bit : events[i]! & ~bit));
  if (next.some((bits, i) => bits !== events[i])) datapath.updateSettings({ events: next });
}

/** Who listens, by place. A reader that has died is not among them, even if its place has not been cleared yet. */
export function listReaders(pinPath: string, datapath: Datapath): ReaderStatus[] {
  return usedPlaces(datapath).flatMap(({ number, types }) => {
    const pid = readerPid(pinPath, number);
    return pid === undefined ? [] : [{ pid, types }];
  });
}

/**
 * Clears the places whose readers have died without doing so, unless somebody else changes things just now: then it
 * is for the next time. Costs next to nothing while there are none.
 * @returns how many there were
 */
export function clearDeadPlaces(pinPath: string, datapath: Datapath): number {
  if (deadPlaces(pinPath, datapath).length === 0) return 0;
  using change = tryChangeLock(pinPath);
  return change ? clearDead(pinPath, datapath) : 0;
}

/** The same. The caller holds the lock for changes. */
function clearDead(pinPath: string, datapath: Datapath): number {
  let cleared = 0;
  for (const number of deadPlaces(pinPath, datapath)) {
    using lock = lockReader(pinPath, number);
    if (!lock) continue;
    clearPlace(datapath, number);
    cleared++;
  }
  return cleared;
}

function deadPlaces(pinPath: string, datapath: Datapath): number[] {
  return usedPlaces(datapath)
    .map(({ number }) => number)
    .filter((number) => readerPid(pinPath, number) === undefined);
}

function usedPlaces({ settings }: Datapath): { number: number; types: EventType[] }[] {
  return Array.from({ length: MAX_READERS }, (_, number) => ({
    number,
    types: EVENT_TYPES.filter((_type, i) => (settings.events[i]! & (1 << number)) !== 0),
  })).filter(({ types }) => types.length > 0);
}
