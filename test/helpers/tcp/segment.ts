// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// What the TCP tests do to a connection and what they see of it.

/** Bits of the header's flag byte. */
export const FIN = 1;
export const SYN = 2;
export const RST = 4;
export const PSH = 8;
export const ACK = 16;
export const URG = 32;

/** conntrack's states, by number. */
export const STATES = [
  'NONE',
  'SYN_SENT',
  'SYN_RECV',
  'ESTABLISHED',
  'FIN_WAIT',
  'CLOSE_WAIT',
  'LAST_ACK',
  'TIME_WAIT',
  'CLOSE',
  'SYN_SENT2',
] as const;
export type State = (typeof STATES)[number];

export const SEEN_REPLY = 2;
export const ASSURED = 4;

/** The two ends; a usually begins. */
export type Side = 'a' | 'b';

export interface Segment {
  side: Side;
  flags: number;
  seq: number;
  ack: number;
  window: number;
  /** Bytes of data. */
  payload: number;
  /** The header's option bytes in hex, a multiple of four bytes; empty for none. */
  options: string;
}

/** Whatever can be done to a tracker: see line.h. */
export type Operation =
  | { do: 'segment'; segment: Segment }
  | { do: 'age'; seconds: number }
  | { do: 'fix' }
  | { do: 'set'; name: SettingName; value: number };

export type SettingName = 'loose' | 'liberal' | 'ignore-invalid-rst' | 'max-retrans';

export const DEFAULT_SETTINGS: Record<SettingName, number> = {
  loose: 1,
  liberal: 0,
  'ignore-invalid-rst': 0,
  'max-retrans': 3,
};

/** What became of a segment. */
export interface Observation {
  class: 'new' | 'established' | 'invalid' | 'lost' | 'unmarked';
  entry?: {
    /** The side that began. */
    origin: Side;
    state: State;
    /** SEEN_REPLY and ASSURED. */
    status: number;
    /** Whole seconds to live. */
    timeout: number;
    /** What is known of the original and the reply side, Netfilter's IP_CT_TCP_FLAG_*. */
    flags: [number, number];
    scale: [number, number];
  };
}

/** A segment from what matters of it. Sequence numbers wrap. */
export function segment(side: Side, flags: number, seq: number, fields: Partial<Segment> = {}): Segment {
  const { ack = 0, window = 1000, payload = 0, options = '' } = fields;
  return { side, flags, seq: seq >>> 0, ack: ack >>> 0, window, payload, options };
}

/** Sequence number behind the segment. */
export function endOf({ seq, payload, flags }: Segment): number {
  return (seq + payload + (flags & SYN ? 1 : 0) + (flags & FIN ? 1 : 0)) >>> 0;
}

/** The line for an operation. */
export function lineOf(operation: Operation): string {
  switch (operation.do) {
    case 'segment': {
      const { side, flags, seq, ack, window, payload, options } = operation.segment;
      return `seg ${side} ${flags} ${seq} ${ack} ${window} ${payload} ${options || '-'}`;
    }
    case 'age':
      return `age ${operation.seconds}`;
    case 'fix':
      return 'fix';
    case 'set':
      return `set ${operation.name} ${operation.value}`;
  }
}

/** Reads the answer to a segment. */
export function observationOf(line: string): Observation {
  const [kind, origin, ...rest] = line.split(' ');
  const numbers = rest.map(Number);
  if (origin === '-') return { class: kind as Observation['class'] };
  const [state, status, timeout, original, reply, originalScale, replyScale] = numbers;
  if (numbers.length !== 7 || numbers.some(Number.isNaN)) throw new Error(`not a segment's answer: ${line}`);
  return {
    class: kind as Observation['class'],
    entry: {
      origin: origin as Side,
      state: STATES[state!]!,
      status: status!,
      timeout: timeout!,
      flags: [original!, reply!],
      scale: [originalScale!, replyScale!],
    },
  };
}

/** The operation as a human reads it, and as a test can repeat it. */
export function textOf(operation: Operation): string {
  if (operation.do !== 'segment') return lineOf(operation);
  const { flags } = operation.segment;
  const names = ['FIN', 'SYN', 'RST', 'PSH', 'ACK', 'URG'].filter((_, bit) => flags & (1 << bit));
  return `${lineOf(operation)}   # ${names.join('+') || 'no flags'}`;
}
