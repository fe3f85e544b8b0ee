// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/**
 * Prints flows straight from their slots' bytes, a million in about a second. The shape of a line is not known
 * here: it is taken from the formatter, once for every kind of flow, by formatting a flow of that kind that has
 * marks in place of addresses and numbers. What stands between the marks is copied from then on, and the fields
 * are written as digits. A kind whose first line comes out different from the formatter's is left to the formatter.
 */
import { ByteWriter } from './byte-writer.js';
import { decodeFlow, flowAge, flowTimeout } from './decode-flow.js';
import type { Flow, FlowTuple } from './flow.js';
import type { Match } from './flow-table.js';
import type { Frame } from './frame.js';
import { CtDir, FlowFlags } from './generated/layouts.gen.js';
import type { InterfaceNames } from './interface-names.js';
import type { RawFlow } from './raw-flow.js';

/** Makes a line of a flow, without looking at its slot and generation. */
export type FlowFormat = (flow: Flow) => string;

type FieldWriter = (out: ByteWriter, raw: RawFlow, now: number) => void;

function tupleWriters(dir: 0 | 1): readonly FieldWriter[] {
  return [
    (out, raw) => out.address(raw.bytes, raw.tuple[dir].saddr, raw.addressSize),
    (out, raw) => out.address(raw.bytes, raw.tuple[dir].daddr, raw.addressSize),
    (out, raw) => out.number(raw.sport(dir)),
    (out, raw) => out.number(raw.dport(dir)),
    (out, raw) => out.number(raw.packets(dir)),
    (out, raw) => out.number(raw.bytesOf(dir)),
  ];
}

/** Indexes of the fields; a tuple's are counted from the first of its direction. */
const TUPLE = { src: 0, dst: 1, sport: 2, dport: 3, packets: 4, bytes: 5, count: 6 } as const;
const TIMEOUT = 12;
const MARK = 13;
const ZONE = 14;
const AGE = 15;

const WRITERS: readonly FieldWriter[] = [
  ...tupleWriters(CtDir.ORIGINAL),
  ...tupleWriters(CtDir.REPLY),
  (out, raw, now) => out.number(flowTimeout(raw, now)),
  (out, raw) => out.number(raw.mark),
  (out, raw) => out.number(raw.zone),
  (out, raw, now) => out.tenths(Math.round(flowAge(raw, now) * 10)),
];

/** What no flow has. An address' mark has a colon if it is IPv6's, by which formatters know the family. */
const NUMBER_MARK = 8_888_888_888_888_800;
const AGE_MARK = 987_654_321_012.3;
const MARKS = /address[-:](\d)|88888888888888(\d\d)|987654321012\.3/g;

function marked(flow: Flow): Flow {
  return {
    ...flow,
    original: markedTuple(flow, flow.original, 0),
    reply: markedTuple(flow, flow.reply, TUPLE.count),
    timeout: NUMBER_MARK + TIMEOUT,
    mark: NUMBER_MARK + MARK,
    zone: NUMBER_MARK + ZONE,
    age: AGE_MARK,
  };
}

function markedTuple({ family }: Flow, tuple: FlowTuple, first: number): FlowTuple {
  const address = `address${family === 'ipv4' ? '-' : ':'}`;
  const number = NUMBER_MARK + first;
  return {
    ...tuple,
    src: address + (first + TUPLE.src),
    dst: address + (first + TUPLE.dst),
    ...(tuple.sport !== undefined && { sport: number + TUPLE.sport }),
    ...(tuple.dport !== undefined && { dport: number + TUPLE.dport }),
    ...(tuple.id !== undefined && { id: number + TUPLE.sport }),
    ...(tuple.key !== undefined && { key: number + TUPLE.sport }),
    packets: number + TUPLE.packets,
    bytes: number + TUPLE.bytes,
  };
}

/** What stands before each field and behind the last one, and the fields. */
interface Template {
  readonly texts: readonly Uint8Array[];
  readonly writers: readonly FieldWriter[];
  /** Bytes that a line may take. */
  readonly room: number;
}

/** An IPv6 address, or a number of 53 bits. */
const FIELD_ROOM = 40;

function cut(line: string): Template {
  const texts: Uint8Array[] = [];
  const writers: FieldWriter[] = [];
  let from = 0;
  for (const match of line.matchAll(MARKS)) {
    texts.push(Buffer.from(line.slice(from, match.index)));
    writers.push(WRITERS[Number(match[1] ?? match[2] ?? AGE)]!);
    from = match.index + match[0].length;
  }
  texts.push(Buffer.from(line.slice(from)));
  const room = texts.reduce((sum, { length }) => sum + length, 0) + writers.length * FIELD_ROOM;
  return { texts, writers, room };
}

function write(out: ByteWriter, { texts, writers }: Template, raw: RawFlow, now: number): void {
  for (let i = 0; i < writers.length; i++) {
    out.bytes(texts[i]!);
    writers[i]!(out, raw, now);
  }
  out.bytes(texts[writers.length]!);
}

const CHUNK = 128 * 1024;

export class FlowPrinter {
  readonly #format: FlowFormat;
  readonly #names: InterfaceNames;
  /** By what a flow is and where; null: left to the formatter. */
  readonly #templates = new Map<number, Map<number, Template | null>>();

  constructor(format: FlowFormat, names: InterfaceNames) {
    this.#format = format;
    this.#names = names;
  }

  /** The flows in their frame, in chunks. A chunk's bytes are used again for the next one. */
  *chunks(matches: Iterable<Match>, frame: Frame): Generator<Uint8Array, void, undefined> {
    const out = new ByteWriter(CHUNK);
    let before = frame.begin;
    let count = 0;
    for (const { raw, now } of matches) {
      const template = this.#template(raw, now);
      const line = template ? '' : this.#format(decodeFlow(raw, now, this.#names));
      const room = before.length + (template?.room ?? 3 * line.length);
      if (!out.hasRoom(room)) yield out.take(room);
      out.ascii(before);
      if (template) write(out, template, raw, now);
      else out.text(line);
      before = frame.between;
      count++;
    }
    yield out.take();
    yield Buffer.from(count === 0 ? frame.empty : frame.end);
  }

  #template(raw: RawFlow, now: number): Template | null {
    const kind = raw.proto | (raw.state << 8) | (raw.status << 16);
    const kindOfZone = raw.flags & (FlowFlags.ZONE_ORIGINAL | FlowFlags.ZONE_REPLY);
    const place = raw.ifindex * 4096 + kindOfZone * 16 + raw.nat * 2 + (raw.family === 4 ? 0 : 1);
    let places = this.#templates.get(kind);
    if (!places) {
      places = new Map();
      this.#templates.set(kind, places);
    }
    let template = places.get(place);
    if (template === undefined) {
      template = this.#makeTemplate(raw, now);
      places.set(place, template);
    }
    return template;
  }

  #makeTemplate(raw: RawFlow, now: number): Template | null {
    const flow = decodeFlow(raw, now, this.#names);
    const template = cut(this.#format(marked(flow)));
    const out = new ByteWriter(template.room);
    write(out, template, raw, now);
    return Buffer.from(out.take()).equals(Buffer.from(this.#format(flow))) ? template : null;
  }
}
