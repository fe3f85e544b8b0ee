// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Random TCP connections: two ends that by and large do what TCPs do, over a network that loses, repeats
// and reorders, with strangers, reboots and mistakes in between.

import {
  END,
  header,
  linuxSyn,
  mss,
  NOP,
  PLAIN,
  SACK_PERMITTED,
  sack,
  TIMESTAMP,
  windowScale,
} from './options.js';
import type { Random } from './random.js';
import {
  ACK,
  endOf,
  FIN,
  type Operation,
  PSH,
  RST,
  type Segment,
  type Side,
  SYN,
  segment,
  URG,
} from './segment.js';

/** One end, as it sees itself. */
interface End {
  /** Next sequence number that it sends. */
  next: number;
  window: number;
  scales: boolean;
  sacks: boolean;
  shift: number;
}

/** Ages in seconds; none near a limit that a slow machine could cross meanwhile. */
const AGES = [20, 45, 70, 100, 180, 260, 315, 1000, 100_000];
const SHIFTS = [0, 0, 1, 2, 7, 10, 14, 15, 255];
const WINDOWS = [0, 1, 100, 1000, 5000, 29_200, 65_535];
const PAYLOADS = [1, 10, 100, 536, 1460, 4000];
/** Distances at which something may be off by one, or a limit lies. */
const NUDGES = [-70_000, -66_001, -66_000, -1000, -1, 0, 0, 0, 1, 2, 1000, 5000, 66_000, 100_000, 2 ** 31];

export class Sequence {
  readonly operations: Operation[] = [];
  readonly #sent: Segment[] = [];
  readonly #held: Segment[] = [];
  readonly #ends: Record<Side, End>;

  constructor(readonly random: Random) {
    this.#ends = { a: this.#end(), b: this.#end() };
  }

  /** A whole random connection of some `length` operations. */
  static make(random: Random, length: number): Operation[] {
    const sequence = new Sequence(random);
    sequence.#settings();
    sequence.#open();
    while (sequence.operations.length < length) sequence.#step();
    return sequence.operations;
  }

  #settings(): void {
    const { random } = this;
    const set = (name: 'loose' | 'liberal' | 'ignore-invalid-rst' | 'max-retrans', value: number) =>
      this.operations.push({ do: 'set', name, value });
    if (random.chance(0.1)) set('loose', 0);
    if (random.chance(0.08)) set('liberal', 1);
    if (random.chance(0.1)) set('ignore-invalid-rst', 1);
    if (random.chance(0.1)) set('max-retrans', random.below(5));
  }

  #end(): End {
    const { random } = this;
    const next = random.pick([random.next(), random.next(), 0xffff_fff0, 0x7fff_fff0, random.below(200_000)]);
    return {
      next,
      window: random.pick(WINDOWS.slice(2)),
      scales: random.chance(0.6),
      sacks: random.chance(0.7),
      shift: random.pick(SHIFTS),
    };
  }

  /** How the connection begins. */
  #open(): void {
    const how = this.random.weighted({ handshake: 12, half: 4, answered: 2, middle: 3, both: 2, none: 2 });
    if (how === 'handshake') this.#handshake('a');
    else if (how === 'answered') this.#answered();
    else if (how === 'half') this.#syn('a');
    else if (how === 'middle') this.#data(this.#side());
    else if (how === 'both') this.#simultaneous();
  }

  #handshake(side: Side): void {
    this.#syn(side);
    if (this.random.chance(0.05)) this.#syn(side);
    this.#synAck(other(side));
    this.#ack(side);
  }

  /** Up to the server's answer, and a RST as it comes from where there is no connection. */
  #answered(): void {
    this.#syn('a');
    this.#synAck('b');
    if (this.random.chance(0.5)) this.#challenge('b');
    this.#pass(this.#make(this.#side(), RST, { seq: 0, ack: 0, options: '' }));
  }

  #simultaneous(): void {
    this.#syn('a');
    this.#syn('b');
    const order: Side[] = this.random.chance(0.5) ? ['a', 'b'] : ['b', 'a'];
    for (const side of order) this.#synAck(side, true);
    for (const side of order) this.#ack(side);
  }

  /** One thing happens. */
  #step(): void {
    const side = this.#side();
    switch (
      this.random.weighted({
        data: 24,
        ack: 20,
        repeat: 10,
        exact: 4,
        release: 4,
        sack: 4,
        fin: 4,
        close: 2,
        reset: 2,
        strayReset: 3,
        strayFin: 3,
        syn: 4,
        reopen: 3,
        synAck: 3,
        challenge: 4,
        overshoot: 3,
        keepAlive: 2,
        window: 3,
        fuzz: 4,
        age: 10,
        fix: 1,
        set: 1,
      })
    ) {
      case 'data':
        this.#data(side);
        return;
      case 'ack':
        this.#ack(side);
        return;
      case 'repeat':
        this.#repeat();
        return;
      case 'exact':
        this.#exact();
        return;
      case 'release':
        this.#release();
        return;
      case 'sack':
        this.#sack(side);
        return;
      case 'fin':
        this.#fin(side);
        return;
      case 'close':
        this.#close(side);
        return;
      case 'reset':
        this.#reset(side);
        return;
      case 'strayReset':
        this.#stray(side, this.random.chance(0.5) ? RST : RST | ACK);
        return;
      case 'strayFin':
        this.#stray(side, FIN | ACK);
        return;
      case 'syn':
        this.#syn(side);
        return;
      case 'reopen':
        this.#reopen();
        return;
      case 'synAck':
        this.#synAck(side);
        return;
      case 'challenge':
        this.#challenge(side);
        return;
      case 'overshoot':
        this.#overshoot(side);
        return;
      case 'keepAlive':
        this.#keepAlive(side);
        return;
      case 'window':
        this.#ends[side].window = this.random.pick(WINDOWS);
        this.#ack(side);
        return;
      case 'fuzz':
        this.#fuzz(side);
        return;
      case 'age':
        this.operations.push({ do: 'age', seconds: this.random.pick(AGES) });
        return;
      case 'fix':
        this.operations.push({ do: 'fix' });
        return;
      case 'set':
        this.#settings();
        return;
    }
  }

  #side(): Side {
    return this.random.chance(0.5) ? 'a' : 'b';
  }

  /** A segment of this end, acknowledging all that the other has sent. */
  #make(side: Side, flags: number, fields: Partial<Segment> = {}): Segment {
    const own = this.#ends[side];
    const peer = this.#ends[other(side)];
    const options = this.random.pick(['', '', PLAIN, PLAIN, header([SACK_PERMITTED])]);
    return segment(side, flags, own.next, { ack: peer.next, window: own.window, options, ...fields });
  }

  /** Onto the wire, unless it is held back to come out of order; lost before the tracker: never seen. */
  #send(segment: Segment): void {
    const fate = this.random.weighted({ pass: 90, hold: 5, lose: 4, twice: 3 });
    if (fate === 'hold') this.#held.push(segment);
    if (fate === 'pass' || fate === 'twice') this.#pass(segment);
    if (fate === 'twice') this.#pass(segment);
  }

  #pass(segment: Segment): void {
    this.#sent.push(segment);
    this.operations.push({ do: 'segment', segment });
  }

  #synOptions(side: Side): string {
    const end = this.#ends[side];
    const { random } = this;
    const parts = [mss(1460)];
    if (end.sacks) parts.push(SACK_PERMITTED);
    if (random.chance(0.5)) parts.push(TIMESTAMP);
    if (end.scales) parts.push(NOP, windowScale(end.shift));
    return random.weighted({ linux: 5, own: 8, none: 2, odd: 2 }) === 'linux'
      ? linuxSyn(end.shift)
      : random.chance(0.1)
        ? ''
        : header(random.chance(0.2) ? parts.reverse() : parts, random.pick([END, NOP]));
  }

  #syn(side: Side): void {
    const end = this.#ends[side];
    if (this.random.chance(0.3))
      end.next = (end.next + this.random.pick([0, 1, 64_000, 1_000_000, -70_000])) >>> 0;
    const payload = this.random.chance(0.05) ? 100 : 0;
    const ack = this.random.chance(0.9) ? 0 : this.random.next();
    const syn = this.#make(side, SYN, { ack, payload, options: this.#synOptions(side) });
    this.#send(syn);
    end.next = endOf(syn);
  }

  /** Answers the other end's SYN; `again`: its own SYN was sent already. */
  #synAck(side: Side, again = false): void {
    const end = this.#ends[side];
    const wrong = this.random.chance(0.08) ? this.random.pick(NUDGES) : 0;
    const seq = again ? end.next - 1 : end.next;
    const ack = (this.#ends[other(side)].next + wrong) >>> 0;
    const answer = this.#make(side, SYN | ACK, { seq: seq >>> 0, ack, options: this.#synOptions(side) });
    this.#send(answer);
    end.next = endOf(answer);
  }

  #ack(side: Side): void {
    const behind = this.random.chance(0.15) ? this.random.pick([-1, -100, -1460, -100_000]) : 0;
    this.#send(this.#make(side, ACK, { ack: (this.#ends[other(side)].next + behind) >>> 0 }));
  }

  #data(side: Side): void {
    const payload = this.random.pick(PAYLOADS);
    const data = this.#make(side, this.random.pick([ACK, ACK | PSH, ACK | URG]), { payload });
    this.#send(data);
    this.#ends[side].next = endOf(data);
  }

  /** One of the last segments once more: a retransmission, or the network's doubling. */
  #repeat(): void {
    if (!this.#sent.length) return;
    const segment = this.#sent[Math.max(0, this.#sent.length - 1 - this.random.below(8))]!;
    this.#pass(this.random.chance(0.3) ? { ...segment, ack: this.#ends[other(segment.side)].next } : segment);
  }

  /** The very last one, several times. */
  #exact(): void {
    const last = this.#sent.at(-1);
    if (last) for (let i = this.random.between(1, 5); i > 0; i--) this.#pass(last);
  }

  #release(): void {
    const at = this.random.below(this.#held.length);
    const [segment] = this.#held.splice(at, 1);
    if (segment) this.#pass(segment);
  }

  #sack(side: Side): void {
    const edge = this.#ends[other(side)].next;
    const count = this.random.between(1, 3);
    const blocks = Array.from({ length: count }, (_, i): [number, number] => [
      edge - 100 - i * 300 + (this.random.chance(0.1) ? 500 : 0),
      edge - i * 300 + (this.random.chance(0.1) ? 500 : 0),
    ]);
    const ack = (edge - this.random.pick([1460, 3000, 100])) >>> 0;
    const options = header([NOP, NOP, ...(count < 3 ? [TIMESTAMP, NOP, NOP] : []), sack(...blocks)]);
    this.#send(this.#make(side, ACK, { ack, options }));
  }

  #fin(side: Side): void {
    const fin = this.#make(side, FIN | ACK, { payload: this.random.chance(0.2) ? 100 : 0 });
    this.#send(fin);
    this.#ends[side].next = endOf(fin);
  }

  /** Both ends close properly. */
  #close(side: Side): void {
    this.#fin(side);
    if (this.random.chance(0.5)) this.#ack(other(side));
    this.#fin(other(side));
    this.#ack(side);
  }

  /** A RST that this end would send: exact, or off by what is underway. */
  #reset(side: Side): void {
    const exact = this.random.chance(0.7);
    const seq = (this.#ends[side].next + (exact ? 0 : this.random.pick([-1460, -100, 1, 100, 1000]))) >>> 0;
    if (this.random.chance(0.5)) this.#send(this.#make(side, RST, { seq, ack: 0, options: '' }));
    else
      this.#send(
        this.#make(side, RST | ACK, { seq, options: '', ...(this.random.chance(0.2) && { ack: 0 }) }),
      );
  }

  /** Somebody guesses. */
  #stray(side: Side, flags: number): void {
    const { random } = this;
    const last = this.#sent.at(-1);
    const known = last ? [last.seq, last.ack, endOf(last)] : [0];
    const seq = random.pick([0, 1, random.next(), this.#ends[side].next + random.pick(NUDGES), ...known]);
    const ack = random.pick([0, random.next(), this.#ends[other(side)].next, ...known]);
    this.#pass(this.#make(side, flags, { seq: seq >>> 0, ack, options: '' }));
  }

  /** The ports are used again, by either side, with or without a working answer. */
  #reopen(): void {
    const side = this.random.chance(0.75) ? 'a' : 'b';
    const end = this.#ends[side];
    this.#ends[side] = {
      ...this.#end(),
      ...(this.random.chance(0.5) && { next: (end.next + 100_000) >>> 0 }),
    };
    this.#syn(side);
    const answer = this.random.weighted({ none: 3, synAck: 6, challenge: 5, refuse: 2 });
    if (answer === 'synAck') {
      this.#ends[other(side)] = this.#end();
      this.#synAck(other(side));
      if (this.random.chance(0.8)) this.#ack(side);
    } else if (answer === 'challenge') {
      const ack = end.next;
      this.#send(this.#make(other(side), ACK, { ack }));
      if (this.random.chance(0.8)) this.#send(this.#make(side, RST, { seq: ack, ack: 0, options: '' }));
      if (this.random.chance(0.7)) {
        this.#ends[side].next -= 1;
        this.#syn(side);
      }
    } else if (answer === 'refuse') {
      this.#send(this.#make(other(side), RST | ACK, { seq: 0, options: '' }));
    }
  }

  /** An ACK of an older life, and the RST that it may get. */
  #challenge(side: Side): void {
    const ack = this.random.chance(0.5) ? this.random.next() : this.#ends[other(side)].next;
    this.#send(this.#make(side, ACK, { ack }));
    if (this.random.chance(0.5)) this.#send(this.#make(other(side), RST, { seq: ack, ack: 0, options: '' }));
  }

  /** More than the other end's window allows. */
  #overshoot(side: Side): void {
    const peer = this.#ends[other(side)];
    const far = peer.window + this.random.pick([-1, 0, 1, 2, 500, 1000, 60_000]);
    const payload = Math.min(Math.max(far, 1), 60_000);
    const seq = (this.#ends[side].next + this.random.pick([0, 0, peer.window, peer.window + 1])) >>> 0;
    const data = this.#make(side, ACK, { seq, payload });
    this.#send(data);
    if (this.random.chance(0.6)) this.#ends[side].next = endOf(data);
    if (this.random.chance(0.5)) this.#ack(other(side));
  }

  /** One byte below what was sent, and its answer. */
  #keepAlive(side: Side): void {
    this.#send(this.#make(side, ACK, { seq: (this.#ends[side].next - 1) >>> 0 }));
    if (this.random.chance(0.7)) this.#ack(other(side));
  }

  /** Anything at all, near the numbers that matter. */
  #fuzz(side: Side): void {
    const { random } = this;
    const last = this.#sent.at(-1);
    const near = (end: End): number => {
      if (last && random.chance(0.3)) return random.pick([last.seq, last.ack, endOf(last)]);
      return (end.next + random.pick(NUDGES)) >>> 0;
    };
    const flags = random.pick([
      random.below(64),
      random.below(256),
      SYN,
      SYN | ACK,
      ACK,
      FIN | ACK,
      RST,
      RST | ACK,
    ]);
    this.#pass(
      segment(side, flags, near(this.#ends[side]), {
        ack: random.chance(0.2) ? 0 : near(this.#ends[other(side)]),
        window: random.pick(WINDOWS),
        payload: random.chance(0.5) ? 0 : random.pick(PAYLOADS),
        options: this.#oddOptions(),
      }),
    );
  }

  /** Options, some of them malformed. */
  #oddOptions(): string {
    const { random } = this;
    const parts = Array.from({ length: random.below(7) }, () =>
      random.pick([
        NOP,
        END,
        SACK_PERMITTED,
        windowScale(random.pick(SHIFTS)),
        sack([random.next(), this.#ends[this.#side()].next]),
        TIMESTAMP,
        '0300',
        '0301',
        '030405',
        '050a01',
        'fd04aabb',
        '08',
      ]),
    );
    return header(parts, random.pick([END, NOP]));
  }
}

function other(side: Side): Side {
  return side === 'a' ? 'b' : 'a';
}
