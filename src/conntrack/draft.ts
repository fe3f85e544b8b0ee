// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** A request while its options are read, one after the other, and what each option does to it. */
import type { Address } from '../address.js';
import { ConntrackUsageError } from './failure.js';
import { ALL_LABELS, LabelNames } from './labels.js';
import { type CommandLetter, TABLE_NAMES, type TableName } from './option-table.js';
import { readProtocol } from './protocol-options.js';
import type { EventName, FlowOptions, LabelOptions, OutputName, TuplePorts } from './request.js';
import {
  MAX_PORT,
  MAX_U32,
  readAddress,
  readCidr,
  readEvents,
  readFamily,
  readMark,
  readMask,
  readNumber,
  readOutputs,
  readRole,
  readState,
  readStatus,
  readTimeout,
  readTranslation,
} from './values.js';

type Writable<T> = { -readonly [K in keyof T]: T[K] };

export class Draft {
  command: CommandLetter | undefined;
  table: TableName = 'conntrack';
  /** Keys of the options that were given. */
  readonly given = new Set<string>();
  readonly flow: Writable<FlowOptions> = { original: {}, reply: {}, labels: {}, untracked: [] };
  /** As it was given: its meaning hangs on the protocol. */
  stateText: string | undefined;
  readonly masks: { src?: Address; dst?: Address } = {};
  readonly outputs = new Set<OutputName>();
  readonly events = new Set<EventName>();
  readonly own: { netns?: string; pinPath?: string; bufferSize?: number } = {};
  readonly #labelFile: string;
  #labelNames: LabelNames | undefined;

  /** Gets lines for stderr. */
  readonly warn: (line: string) => void;

  constructor(labelFile: string, warn: (line: string) => void) {
    this.#labelFile = labelFile;
    this.warn = warn;
  }

  get labelNames(): LabelNames {
    this.#labelNames ??= LabelNames.load(this.#labelFile, this.warn);
    return this.#labelNames;
  }

  /** Those that were asked for; undefined: no option speaks of labels. */
  get knownLabelNames(): LabelNames | undefined {
    return this.outputs.has('labels') ? this.labelNames : this.#labelNames;
  }

  takeCommand(command: CommandLetter, word: string | undefined): void {
    const table = word === undefined ? 'conntrack' : TABLE_NAMES.find((each) => each === word);
    if (table === undefined) throw new ConntrackUsageError(`unknown type \`${word}'`);
    if (this.command !== undefined) throw new ConntrackUsageError('Invalid commands combination');
    if (table === 'expect' && (command === 'U' || command === 'A')) {
      throw new ConntrackUsageError(`Can't do --${command === 'U' ? 'update' : 'add'} on expectations`);
    }
    if ((table === 'dying' || table === 'unconfirmed') && !'LVh'.includes(command)) {
      throw new ConntrackUsageError("Can't do that command with tables `dying' and `unconfirmed'");
    }
    this.command = command;
    this.table = table;
  }

  takeOption(key: string, value: string | undefined): void {
    this.given.add(key);
    const optional = OPTIONAL[key];
    if (optional) optional(this, value);
    else if (value !== undefined) REQUIRED[key]!(this, value);
  }

  /** All addresses are of one family. */
  meet({ family }: Address): void {
    this.meetFamily(family === 'ipv4' ? 4 : 6);
  }

  meetFamily(family: 4 | 6): void {
    if (this.flow.family !== undefined && this.flow.family !== family) {
      throw new ConntrackUsageError('mismatched address family');
    }
    this.flow.family = family;
  }

  address(value: string): Address {
    const address = readAddress(value);
    this.meet(address);
    return address;
  }

  labels(change: LabelOptions): void {
    this.flow.labels = { ...this.flow.labels, ...change };
  }

  ports(direction: 'original' | 'reply', ports: TuplePorts): void {
    this.flow[direction] = { ...this.flow[direction], ...ports };
  }
}

type Taker = (draft: Draft, value: string) => void;
type OptionalTaker = (draft: Draft, value: string | undefined) => void;

function translation(field: 'srcNat' | 'dstNat' | 'anyNat'): OptionalTaker {
  return (draft, value) => {
    const read = readTranslation(value);
    if (read.address) draft.meet(read.address);
    draft.flow[field] = read;
  };
}

const OPTIONAL: Readonly<Record<string, OptionalTaker>> = {
  'src-nat': translation('srcNat'),
  'dst-nat': translation('dstNat'),
  'any-nat': translation('anyNat'),
  'label-del': (draft, value) => {
    const names = draft.labelNames; // read even if none is named
    draft.labels({
      remove: value === undefined ? ALL_LABELS : (draft.flow.labels.remove ?? 0n) | names.bitsOf(value),
    });
  },
};

/** An address of the original tuple, whose prefix stands for a mask. */
function endpoint(field: 'src' | 'dst'): Taker {
  return (draft, value) => {
    const read = readCidr(value);
    draft.meet(read.address);
    draft.flow[field] = read;
    if (read.mask) {
      draft.given.add(`mask-${field}`);
      draft.masks[field] = read.mask;
    }
  };
}

function replyEndpoint(field: 'replySrc' | 'replyDst', key: string): Taker {
  return (draft, value) => {
    if (value.includes('/')) throw new ConntrackUsageError(`CIDR notation unavailable for \`--${key}'`);
    draft.flow[field] = draft.address(value);
  };
}

function mask(field: 'src' | 'dst'): Taker {
  return (draft, value) => {
    const family = draft.flow.family === 6 ? 'ipv6' : 'ipv4';
    const read = readMask(value, family);
    draft.meet(read);
    draft.masks[field] = read;
  };
}

/** GRE's keys, too: they are known by 16 bits, as in Netfilter. */
function port(direction: 'original' | 'reply', end: 'sport' | 'dport'): Taker {
  return (draft, value) => draft.ports(direction, { [end]: readNumber(value, MAX_PORT) });
}

function icmp(field: 'icmpType' | 'icmpCode' | 'icmpId', max: number): Taker {
  return (draft, value) => {
    draft.flow[field] = readNumber(value, max);
  };
}

/** Read, so that what is wrong with it is told, and of no meaning to ctnat. */
function untracked(key: string, read: (value: string) => unknown): Taker {
  return (draft, value) => {
    read(value);
    draft.flow.untracked = [...draft.flow.untracked, key];
  };
}

const number = (value: string) => readNumber(value, MAX_U32);

function vtag(field: 'origVtag' | 'replyVtag'): Taker {
  return (draft, value) => {
    draft.flow[field] = number(value);
  };
}

const REQUIRED: Readonly<Record<string, Taker>> = {
  src: endpoint('src'),
  dst: endpoint('dst'),
  'reply-src': replyEndpoint('replySrc', 'reply-src'),
  'reply-dst': replyEndpoint('replyDst', 'reply-dst'),
  'mask-src': mask('src'),
  'mask-dst': mask('dst'),
  'tuple-src': (draft, value) => void draft.meet(readCidr(value).address),
  'tuple-dst': (draft, value) => void draft.meet(readCidr(value).address),
  protonum: (draft, value) => {
    draft.flow.proto = readProtocol(value);
  },
  timeout: (draft, value) => {
    draft.flow.timeout = readTimeout(value);
  },
  status: (draft, value) => {
    const bits = readStatus(value, draft.warn);
    draft.flow.status = (draft.flow.status ?? 0) | bits;
  },
  'event-mask': (draft, value) => {
    for (const name of readEvents(value)) draft.events.add(name);
  },
  'nat-range': (draft) => {
    draft.given.delete('nat-range');
    draft.warn('WARNING: ignoring -a, deprecated option.\n');
  },
  mark: (draft, value) => {
    draft.flow.mark = readMark(value);
  },
  secmark: (draft, value) => {
    draft.flow.secmark = number(value);
  },
  id: (draft, value) => {
    draft.flow.id = number(value);
  },
  family: (draft, value) => draft.meetFamily(readFamily(value)),
  output: (draft, value) => {
    for (const name of readOutputs(value)) draft.outputs.add(name);
  },
  'buffer-size': (draft, value) => {
    draft.own.bufferSize = number(value);
  },
  zone: (draft, value) => {
    draft.flow.zone = readNumber(value, MAX_PORT);
  },
  'orig-zone': (draft, value) => {
    draft.flow.origZone = readNumber(value, MAX_PORT);
  },
  'reply-zone': (draft, value) => {
    draft.flow.replyZone = readNumber(value, MAX_PORT);
  },
  label: (draft, value) =>
    draft.labels({ wanted: (draft.flow.labels.wanted ?? 0n) | draft.labelNames.bitsOf(value) }),
  'label-add': (draft, value) =>
    draft.labels({ add: (draft.flow.labels.add ?? 0n) | draft.labelNames.bitsOf(value) }),
  netns: (draft, value) => {
    draft.own.netns = value;
  },
  'pin-path': (draft, value) => {
    draft.own.pinPath = value;
  },
  sport: port('original', 'sport'),
  dport: port('original', 'dport'),
  'reply-port-src': port('reply', 'sport'),
  'reply-port-dst': port('reply', 'dport'),
  srckey: port('original', 'sport'),
  dstkey: port('original', 'dport'),
  'reply-key-src': port('reply', 'sport'),
  'reply-key-dst': port('reply', 'dport'),
  'mask-port-src': untracked('mask-port-src', number),
  'mask-port-dst': untracked('mask-port-dst', number),
  'tuple-port-src': untracked('tuple-port-src', number),
  'tuple-port-dst': untracked('tuple-port-dst', number),
  'mask-key-src': untracked('mask-key-src', number),
  'mask-key-dst': untracked('mask-key-dst', number),
  'tuple-key-src': untracked('tuple-key-src', number),
  'tuple-key-dst': untracked('tuple-key-dst', number),
  state: (draft, value) => {
    // -p is behind it perhaps: the state is read once the protocol is known
    draft.stateText = value;
    if (draft.flow.proto !== undefined) readState(value, draft.flow.proto);
  },
  'orig-vtag': vtag('origVtag'),
  'reply-vtag': vtag('replyVtag'),
  role: untracked('role', readRole),
  'icmp-type': icmp('icmpType', 255),
  'icmp-code': icmp('icmpCode', 255),
  'icmp-id': icmp('icmpId', MAX_PORT),
  'icmpv6-type': icmp('icmpType', 255),
  'icmpv6-code': icmp('icmpCode', 255),
  'icmpv6-id': icmp('icmpId', MAX_PORT),
};
