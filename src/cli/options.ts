// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** Options that many commands share. */
import { FILTER_STATES } from '../flow.js';
import type { CommandSpec, OptionSpec } from './command.js';

export const GLOBAL_OPTIONS: readonly OptionSpec[] = [
  {
    flags: '--netns <name>',
    description: 'work in this network namespace (a name or a path)',
    kind: 'netns',
  },
  {
    flags: '--pin-path <folder>',
    description: 'where the pins are (default: $CTNAT_PIN_PATH or /sys/fs/bpf/ctnat)',
    kind: 'folder',
  },
];

const FORMATS = ['text', 'json', 'jsonl'] as const;
const FORMAT_TEXT = 'form of what is printed';

export const OUTPUT_OPTION: OptionSpec = {
  flags: '-o, --output <format>',
  description: FORMAT_TEXT,
  choices: FORMATS,
};

/** The option of one command. */
export function outputOption({ hasOwnO, moreFormats = [] }: CommandSpec): OptionSpec {
  const choices = [...FORMATS, ...moreFormats];
  return { ...OUTPUT_OPTION, choices, ...(hasOwnO && { flags: '--output <format>' }) };
}

export const FILTER_OPTIONS: readonly OptionSpec[] = [
  { flags: '-f, --family <family>', description: 'ipv4 or ipv6', choices: ['ipv4', 'ipv6'] },
  { flags: '-p, --proto <proto>', description: 'protocol, by name or number', kind: 'protocol' },
  { flags: '-s, --src <cidr>', description: 'source of the original tuple', kind: 'none' },
  { flags: '-d, --dst <cidr>', description: 'destination of the original tuple', kind: 'none' },
  { flags: '--sport <port>', description: 'source port, LOW-HIGH or ICMP identifier', kind: 'none' },
  { flags: '--dport <port>', description: 'destination port, LOW-HIGH or ICMP identifier', kind: 'none' },
  { flags: '--reply-src <cidr>', description: 'source of the reply tuple', kind: 'none' },
  { flags: '--reply-dst <cidr>', description: 'destination of the reply tuple', kind: 'none' },
  {
    flags: '--state <state>',
    description: `state of TCP or SCTP, several with commas: ${FILTER_STATES.join(', ')}`,
    kind: 'state',
  },
  { flags: '-m, --mark <mark>', description: "the flow's mark, VALUE or VALUE/MASK", kind: 'none' },
  { flags: '-w, --zone <zone>', description: "the flow's zone", kind: 'none' },
  { flags: '-i, --iface <name>', description: 'interface that the flow was created at', kind: 'interface' },
];
