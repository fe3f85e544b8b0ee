// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
import type { BpfMap } from '../../src/map.js';
import { BpfObject } from '../../src/object.js';
import type { BpfProgram } from '../../src/program.js';
import { compileFixture } from './compile-fixture.js';

/** The sending programs of fixtures/events.bpf.c, loaded afresh. */
export interface Events {
  map: BpfMap;
  /** Runs the program so many times in one call: it sends so many records. */
  send(records: number): void;
  /** What the program itself has counted. */
  sent(): number;
  failed(): number;
  close(): void;
}

const PACKET = Buffer.alloc(64);

export function loadEvents(kind: 'ring' | 'perf'): Events {
  const object = BpfObject.open(compileFixture('events'));
  const other = kind === 'ring' ? 'perf' : 'ring';
  object.map(other).setAutocreate(false);
  object.program(`send_${other}`).setAutoload(false);
  object.load();
  const program: BpfProgram = object.program(`send_${kind}`);
  const counters = object.map('counters').map;
  const counter = (index: number): number => {
    const key = Buffer.alloc(4);
    key.writeUInt32LE(index);
    return Number(counters.get(key)!.readBigUInt64LE());
  };
  return {
    map: object.map(kind).map,
    send: (records) => {
      if (records > 0) program.testRun({ data: PACKET, repeat: records });
    },
    sent: () => counter(0),
    failed: () => counter(1),
    close: () => object.close(),
  };
}

/** Fails with the index of the first record that is not number `from + index`. */
export function firstWrong(records: readonly Buffer[], from: number): number {
  return records.findIndex((record, index) => {
    const sequence = BigInt(from + index);
    return record.readBigUInt64LE(0) !== sequence || record.readBigUInt64LE(8) !== sequence * sequence;
  });
}
