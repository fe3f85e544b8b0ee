// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** The commands and options of conntrack(8), and which option goes with which command. */

/** Commands by their letter. */
export type CommandLetter = 'L' | 'I' | 'A' | 'U' | 'D' | 'G' | 'F' | 'E' | 'C' | 'S' | 'V' | 'h';

export type TableName = 'conntrack' | 'expect' | 'dying' | 'unconfirmed';

export const TABLE_NAMES: readonly TableName[] = ['conntrack', 'expect', 'dying', 'unconfirmed'];

/**
 * Whether a value follows: never, always, or only if the next word is none of an option. A table's name is like the
 * last, but only as a word of its own: what stands in the option's word is passed over.
 */
export type ArgumentKind = 'none' | 'required' | 'optional' | 'table';

export interface OptionDefinition {
  /** What the option is called in messages, and in what was parsed. */
  readonly key: string;
  readonly short?: string;
  readonly long: readonly string[];
  readonly argument: ArgumentKind;
}

export interface CommandDefinition {
  readonly letter: CommandLetter;
  readonly long: readonly string[];
}

export const COMMANDS: readonly CommandDefinition[] = [
  { letter: 'L', long: ['dump'] },
  { letter: 'I', long: ['create'] },
  { letter: 'A', long: ['add'] },
  { letter: 'U', long: ['update'] },
  { letter: 'D', long: ['delete'] },
  { letter: 'G', long: ['get'] },
  { letter: 'F', long: ['flush'] },
  { letter: 'E', long: ['event'] },
  { letter: 'C', long: ['count', 'counter'] },
  { letter: 'S', long: ['stats'] },
  { letter: 'V', long: ['version'] },
  { letter: 'h', long: ['help'] },
];

function option(
  key: string,
  short: string | undefined,
  argument: ArgumentKind = 'required',
  ...more: string[]
): OptionDefinition {
  return { key, ...(short !== undefined && { short }), long: [key, ...more], argument };
}

/** In the order in which a command's illegal options are looked for. */
export const OPTIONS = [
  option('src', 's', 'required', 'orig-src'),
  option('dst', 'd', 'required', 'orig-dst'),
  option('reply-src', 'r'),
  option('reply-dst', 'q'),
  option('protonum', 'p', 'required', 'proto'),
  option('timeout', 't'),
  option('status', 'u'),
  option('zero', 'z', 'none'),
  option('event-mask', 'e'),
  option('tuple-src', undefined),
  option('tuple-dst', undefined),
  option('mask-src', undefined),
  option('mask-dst', undefined),
  option('nat-range', 'a'),
  option('mark', 'm'),
  option('id', 'i'),
  option('family', 'f'),
  option('src-nat', 'n', 'optional'),
  option('dst-nat', 'g', 'optional'),
  option('output', 'o'),
  option('secmark', 'c'),
  option('buffer-size', 'b'),
  option('any-nat', 'j', 'optional'),
  option('zone', 'w'),
  option('label', 'l'),
  option('label-add', undefined),
  option('label-del', undefined, 'optional'),
  option('orig-zone', undefined),
  option('reply-zone', undefined),
] as const satisfies readonly OptionDefinition[];

const TUPLE = ['src', 'dst', 'reply-src', 'reply-dst', 'protonum'];
const ZONES = ['zone', 'orig-zone', 'reply-zone'];
const MASKS = ['mask-src', 'mask-dst'];
const NAT = ['src-nat', 'dst-nat'];
const CREATION = [...TUPLE, 'timeout', 'status', 'mark', ...NAT, ...ZONES, 'label-add'];

/** What a command needs and what it may have besides, each by its key. `nat-range` is told of and ignored. */
export interface Permissions {
  readonly required: readonly string[];
  readonly allowed: readonly string[];
}

const NONE: Permissions = { required: [], allowed: [] };
const CREATES: Permissions = { required: ['protonum', 'timeout'], allowed: CREATION };

const CONNTRACK: Readonly<Record<CommandLetter, Permissions>> = {
  L: {
    required: [],
    allowed: [
      ...TUPLE,
      ...MASKS,
      ...NAT,
      ...ZONES,
      ...['status', 'zero', 'mark', 'family', 'output', 'secmark', 'any-nat', 'label'],
    ],
  },
  I: CREATES,
  A: CREATES,
  U: {
    required: [],
    allowed: [
      ...TUPLE,
      ...MASKS,
      ...NAT,
      ...['timeout', 'status', 'mark', 'id', 'family', 'output', 'label', 'label-add', 'label-del'],
    ],
  },
  D: {
    required: [],
    allowed: [
      ...TUPLE,
      ...MASKS,
      ...NAT,
      ...ZONES,
      ...['timeout', 'status', 'mark', 'id', 'family', 'output', 'label'],
    ],
  },
  G: { required: ['protonum'], allowed: [...TUPLE, 'id', 'output', 'label', 'secmark'] },
  F: { required: [], allowed: ['family'] },
  E: {
    required: [],
    allowed: [
      ...TUPLE,
      ...MASKS,
      ...NAT,
      ...ZONES,
      ...['event-mask', 'mark', 'family', 'output', 'secmark', 'buffer-size', 'any-nat', 'label'],
    ],
  },
  C: NONE,
  S: NONE,
  V: NONE,
  h: NONE,
};

const EXPECT_TUPLE = { required: ['src', 'dst', 'protonum'], allowed: ['src', 'dst', 'protonum'] };

const EXPECT: Readonly<Record<CommandLetter, Permissions>> = {
  ...CONNTRACK,
  L: { required: [], allowed: ['family', 'output'] },
  I: {
    required: ['src', 'dst', 'tuple-src', 'tuple-dst', 'mask-src', 'mask-dst', 'protonum', 'timeout'],
    allowed: [
      ...['src', 'dst', 'tuple-src', 'tuple-dst', 'mask-src', 'mask-dst', 'protonum', 'timeout'],
      ...['status', 'mark', 'zone'],
    ],
  },
  D: EXPECT_TUPLE,
  G: EXPECT_TUPLE,
  F: NONE,
  E: { required: [], allowed: ['output'] },
};

/** What goes with a command on a table; `undefined` if only `--src` without a command was given. */
export function permissions(command: CommandLetter | undefined, table: TableName): Permissions {
  if (command === undefined) return NONE;
  return table === 'expect' ? EXPECT[command] : CONNTRACK[command];
}
