// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/**
 * What userspace has to remember beside the datapath's maps, so that every command and a new agent go on where the
 * last one ended: which interfaces shall be attached and how, and the NAT rules as they were given. It is kept as
 * text in a map of its own, PINPATH/maps/ledger, which no program reads.
 *
 * The map has two entries. A new state goes into the older one, with the next number and a checksum: whoever reads
 * takes the valid one with the higher number, so that a writer that dies halfway, or is in the middle of it, leaves
 * the state before.
 */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { deflateRawSync, inflateRawSync } from 'node:zlib';
import { BpfMap } from 'libbpf-ts';
import { CtnatError } from './errors.js';
import { decodeState, encodeState, type State } from './state.js';

const NAME = 'ledger';
/** Compressed, the 256 rules and 1,024 interfaces that there can be at most take about a third of it. */
const ENTRY_BYTES = 64 * 1024;
const ENTRIES = 2;
/** Number (u32, from 0: entry number % 2), length of the text (u32), checksum over both and the text. */
const CHECKSUM_OFFSET = 8;
const CHECKSUM_BYTES = 8;
const TEXT_OFFSET = CHECKSUM_OFFSET + CHECKSUM_BYTES;

/** One entry's bytes. */
export function encodeEntry(number: number, state: State): Buffer {
  const text = deflateRawSync(encodeState(state));
  if (text.length > ENTRY_BYTES - TEXT_OFFSET) {
    throw new CtnatError(
      `can not remember so much: ${text.length} bytes of interfaces, rules and exempt prefixes, ` +
        `${ENTRY_BYTES - TEXT_OFFSET} is the limit; use fewer`,
    );
  }
  const entry = Buffer.alloc(ENTRY_BYTES);
  entry.writeUInt32LE(number, 0);
  entry.writeUInt32LE(text.length, 4);
  text.copy(entry, TEXT_OFFSET);
  checksum(entry).copy(entry, CHECKSUM_OFFSET);
  return entry;
}

/** What an entry holds; undefined if it was never written, or not to its end. */
export function decodeEntry(entry: Buffer): { number: number; state: () => State } | undefined {
  const length = entry.readUInt32LE(4);
  if (length === 0 || length > ENTRY_BYTES - TEXT_OFFSET) return undefined;
  if (!checksum(entry).equals(entry.subarray(CHECKSUM_OFFSET, TEXT_OFFSET))) return undefined;
  const text = entry.subarray(TEXT_OFFSET, TEXT_OFFSET + length);
  return { number: entry.readUInt32LE(0), state: () => decodeState(inflateRawSync(text).toString()) };
}

function checksum(entry: Buffer): Buffer {
  const end = TEXT_OFFSET + entry.readUInt32LE(4);
  const hash = createHash('sha256').update(entry.subarray(0, CHECKSUM_OFFSET));
  return hash.update(entry.subarray(TEXT_OFFSET, end)).digest().subarray(0, CHECKSUM_BYTES);
}

export class Ledger {
  /** For pinning and for listings. */
  readonly map: BpfMap;

  private constructor(map: BpfMap) {
    this.map = map;
  }

  /** Makes one; it lives as long as it is open or pinned. */
  static create(state: State): Ledger {
    const ledger = new Ledger(
      BpfMap.create({ type: 'array', name: NAME, keySize: 4, valueSize: ENTRY_BYTES, maxEntries: ENTRIES }),
    );
    ledger.map.set(key(0), encodeEntry(0, state));
    return ledger;
  }

  static isThere(pinPath: string): boolean {
    return existsSync(join(pinPath, 'maps', NAME));
  }

  static open(pinPath: string): Ledger {
    const map = BpfMap.openPinned(join(pinPath, 'maps', NAME));
    if (map.valueSize === ENTRY_BYTES && map.maxEntries === ENTRIES) return new Ledger(map);
    map.close();
    throw new CtnatError(
      `can not use ${join(pinPath, 'maps', NAME)}: its layout is another version's; ` +
        'use that version, or end its flows with ctnat detach --all --purge and attach again',
    );
  }

  /** The state that was written last. */
  read(): State {
    return this.#newest().state();
  }

  /** Replaces the state. The caller holds the lock of the pin path. */
  write(state: State): void {
    const { number } = this.#newest();
    this.map.set(key((number + 1) % ENTRIES), encodeEntry(number + 1, state));
  }

  close(): void {
    this.map.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #newest(): { number: number; state: () => State } {
    const entries = Array.from({ length: ENTRIES }, (_, i) => decodeEntry(this.map.get(key(i))!));
    const [newest] = entries.filter((entry) => entry !== undefined).sort((a, b) => b.number - a.number);
    if (newest) return newest;
    throw new CtnatError(
      `can not read what ctnat has remembered in the map ${NAME}: it is damaged; run ctnat detach --all --purge and attach again`,
    );
  }
}

function key(index: number): Buffer {
  const bytes = Buffer.alloc(4);
  // a map's key is in the host's byte order
  new Uint32Array(bytes.buffer, bytes.byteOffset, 1)[0] = index;
  return bytes;
}
