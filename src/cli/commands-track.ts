// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** The commands below `ctnat track`. */
import type { CommandSpec, GroupSpec, OptionSpec } from './command.js';

const MATCHES: readonly OptionSpec[] = [
  { flags: '-i, --in <iface>', description: 'only what came in by it', kind: 'interface' },
  { flags: '-o, --out <iface>', description: 'only what leaves by it, asked there', kind: 'interface' },
  { flags: '-s, --src <cidr>', description: 'only from here', kind: 'none' },
  { flags: '-d, --dst <cidr>', description: 'only to here', kind: 'none' },
  { flags: '-p, --proto <proto>', description: 'only this protocol', kind: 'protocol' },
  { flags: '--sport <port>', description: 'only from PORT or LO-HI', kind: 'none' },
  { flags: '--dport <port>', description: 'only to PORT or LO-HI', kind: 'none' },
  { flags: '--mark <mark>', description: 'only packets with this mark, VALUE[/MASK]', kind: 'none' },
  {
    flags: '-f, --family <family>',
    description: 'where no address says it (default: both)',
    choices: ['ipv4', 'ipv6'],
  },
];

function action(
  name: string,
  summary: string,
  examples: readonly [string, string][],
  more: readonly OptionSpec[] = [],
): CommandSpec {
  return {
    name,
    summary,
    options: [...MATCHES, ...more],
    hasOutput: true,
    hasOwnO: true,
    details: 'Of the rules that match a packet the first of each kind acts; set and save are one kind.',
    examples,
    load: async () => (await import('./track-add.js')).trackAdd(name),
  };
}

const ADD: GroupSpec = {
  name: 'add',
  summary: 'add a rule',
  commands: [
    action('notrack', 'pass packets as they come: no flow, no translation', [
      ['ctnat track add notrack -i lan0 -p udp --dport 53', 'queries of one network'],
      ['ctnat track add notrack -p udp --sport 53', 'and their answers'],
    ]),
    action(
      'set',
      "set the flow's mark",
      [['ctnat track add set -i lan1 --to 0x1/0xff', 'what lan1 begins; other bits stay']],
      [
        {
          flags: '--to <mark>',
          description: 'VALUE[/MASK]: the bits of the mask become those of the value',
          isRequired: true,
          kind: 'none',
        },
      ],
    ),
    action('save', "give the flow the packet's mark", [
      ['ctnat track add save -o wan0', 'what the firewall has marked on the way'],
    ]),
    action('restore', "give the packet its flow's mark", [
      ['ctnat track add restore -i wan0', 'before it is routed: ip rule add fwmark 1 table 101'],
    ]),
  ],
};

export const TRACK_COMMANDS: GroupSpec = {
  name: 'track',
  summary: 'rules for tracking: what is not tracked, and marks',
  commands: [
    ADD,
    {
      name: 'list',
      alias: 'ls',
      summary: 'show the rules in their order',
      hasOutput: true,
      examples: [['ctnat track list', '']],
      load: async () => (await import('./track-list.js')).trackList,
    },
    {
      name: 'delete',
      summary: 'delete a rule; marks stay as they are',
      arguments: [{ name: '<id>', description: 'as `ctnat track list` shows it', kind: 'none' }],
      hasOutput: true,
      examples: [['ctnat track delete 3', '']],
      load: async () => (await import('./track-delete.js')).trackDelete,
    },
    {
      name: 'flush',
      summary: 'delete all rules; marks stay as they are',
      hasOutput: true,
      examples: [['ctnat track flush', '']],
      load: async () => (await import('./track-delete.js')).trackFlush,
    },
  ],
};
