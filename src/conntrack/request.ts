// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** One conntrack(8) command line, read: what is to be done, and to which flows. */
import type { Address } from '../address.js';
import type { LabelNames } from './labels.js';
import type { CommandLetter, TableName } from './option-table.js';

/** What `-o` can say; json and jsonl are ctnat's own. */
export const OUTPUTS = [
  'xml',
  'extended',
  'timestamp',
  'id',
  'ktimestamp',
  'labels',
  'save',
  'userspace',
  'json',
  'jsonl',
] as const;

export type OutputName = (typeof OUTPUTS)[number];

/** A value under a mask; numbers in host order. */
export interface MaskedNumber {
  readonly value: number;
  readonly mask: number;
}

/** An address whose bits count where the mask's are set; without a mask all of them. */
export interface MaskedAddress {
  readonly address: Address;
  readonly mask?: Address;
}

/** What `-n`, `-g` or `-j` says: a translation, to that address and port if given. */
export interface Translation {
  readonly address?: Address;
  readonly port?: number;
}

/** Names of labels to their bits, as one number of 128 bits. */
export interface LabelOptions {
  /** Every one of these is set. */
  readonly wanted?: bigint;
  readonly add?: bigint;
  /** All of them for `--label-del` without a name. */
  readonly remove?: bigint;
}

/** One end of a tuple in one direction; GRE's keys stand where others have ports. */
export interface TuplePorts {
  readonly sport?: number;
  readonly dport?: number;
}

/** What the options say of flows. Absent: nothing. */
export interface FlowOptions {
  readonly family?: 4 | 6;
  readonly proto?: number;
  readonly src?: MaskedAddress;
  readonly dst?: MaskedAddress;
  readonly replySrc?: Address;
  readonly replyDst?: Address;
  readonly original: TuplePorts;
  readonly reply: TuplePorts;
  readonly icmpType?: number;
  readonly icmpCode?: number;
  readonly icmpId?: number;
  /** By its name in listings. */
  readonly state?: string;
  readonly status?: number;
  /** Seconds. */
  readonly timeout?: number;
  readonly mark?: MaskedNumber;
  readonly id?: number;
  readonly zone?: number;
  /** Zones of one direction only, whose other one is in zone 0. */
  readonly origZone?: number;
  readonly replyZone?: number;
  readonly secmark?: number;
  readonly srcNat?: Translation;
  readonly dstNat?: Translation;
  readonly anyNat?: Translation;
  readonly labels: LabelOptions;
  /** SCTP's verification tags, of a flow that is made: no flow is looked for by them. */
  readonly origVtag?: number;
  readonly replyVtag?: number;
  /** Masks and the tuples of expectations, and DCCP's role, are read and stand for nothing: no flow is told apart by them. */
  readonly untracked: readonly string[];
}

export type EventName = 'NEW' | 'UPDATES' | 'DESTROY';

export interface Request {
  /** undefined: none was given, help is shown. */
  readonly command: CommandLetter | undefined;
  readonly table: TableName;
  readonly flow: FlowOptions;
  readonly outputs: ReadonlySet<OutputName>;
  readonly events: ReadonlySet<EventName>;
  readonly zero: boolean;
  /** Bytes that `-b` asks for. */
  readonly bufferSize?: number;
  /** For -o labels. */
  readonly labelNames: LabelNames | undefined;
  /** ctnat's own, behind the command as well as before it. */
  readonly netns?: string;
  readonly pinPath?: string;
}
