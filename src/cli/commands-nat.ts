// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** The commands below `ctnat nat`. */
import type { GroupSpec, OptionSpec } from './command.js';

const SRC: OptionSpec = { flags: '-s, --src <cidr>', description: 'only from here', kind: 'none' };
const DST: OptionSpec = { flags: '-d, --dst <cidr>', description: 'only to here', kind: 'none' };
const MARK: OptionSpec = {
  flags: '--mark <mark>',
  description: 'only packets with this mark, VALUE[/MASK]',
  kind: 'none',
};
const PROTO = { flags: '-p, --proto <proto>', kind: 'protocol' } as const;

const ADD: GroupSpec = {
  name: 'add',
  summary: 'add a rule',
  commands: [
    {
      name: 'snat',
      summary: 'translate the source of what leaves an interface',
      options: [
        {
          flags: '-o, --out <iface>',
          description: 'outgoing interface',
          isRequired: true,
          kind: 'interface',
        },
        SRC,
        DST,
        { ...PROTO, description: 'only this protocol' },
        MARK,
        {
          flags: '-f, --family <family>',
          description: 'for masquerade without addresses (default: ipv4)',
          choices: ['ipv4', 'ipv6'],
        },
        {
          flags: '--to <target>',
          description:
            "ADDR[-ADDR][:LO-HI], several with commas, or masquerade[:LO-HI] for the interface's own address",
          isRequired: true,
          kind: 'none',
        },
        {
          flags: '--spill',
          description: 'a host whose outside address has no port left gets another one of --to',
        },
      ],
      hasOutput: true,
      hasOwnO: true,
      details:
        'The first rule that matches a new flow decides. An IPv6 address before a port needs brackets.',
      examples: [
        ['ctnat nat add snat -o eth0 -s 10.0.0.0/8 --to masquerade', "eth0's own address"],
        ['ctnat nat add snat -o eth0 -s 10.1.0.0/16 --to 198.51.100.4-198.51.100.7:20000-29999', 'a pool'],
        [
          'ctnat nat add snat -o eth0 --to 198.51.100.4-198.51.100.7,203.0.113.9:1024-9999 --spill',
          'several ranges; a host may have more than one address',
        ],
        ['ctnat nat add snat -o eth0 -s fd00::/8 --to [2001:db8::1]:1024-65535', 'IPv6'],
      ],
      load: async () => (await import('./nat-add.js')).natAddSnat,
    },
    {
      name: 'dnat',
      summary: 'forward a port of an interface to another host',
      options: [
        { flags: '-i, --in <iface>', description: 'incoming interface', isRequired: true, kind: 'interface' },
        SRC,
        DST,
        { ...PROTO, description: 'a protocol with ports', isRequired: true },
        MARK,
        { flags: '--dport <port>', description: 'PORT or LO-HI', isRequired: true, kind: 'none' },
        {
          flags: '--to <target>',
          description:
            'ADDR[-ADDR][:PORT[-PORT]], several backends with commas; a range has as many ports as --dport',
          isRequired: true,
          kind: 'none',
        },
      ],
      hasOutput: true,
      examples: [
        ['ctnat nat add dnat -i eth0 -p tcp --dport 8080 --to 10.0.0.2:80', 'a web server inside'],
        ['ctnat nat add dnat -i eth0 -p tcp --dport 80 --to 10.0.0.2:80,10.0.0.9:8080', 'two backends'],
        ['ctnat nat add dnat -i eth0 -p udp --dport 10000-10099 --to 10.0.0.3', 'the ports stay as they are'],
      ],
      load: async () => (await import('./nat-add.js')).natAddDnat,
    },
    {
      name: 'redirect',
      summary: 'send what comes in for a port to a port of this host',
      options: [
        { flags: '-i, --in <iface>', description: 'incoming interface', isRequired: true, kind: 'interface' },
        SRC,
        DST,
        { ...PROTO, description: 'a protocol with ports', isRequired: true },
        {
          flags: '-f, --family <family>',
          description: 'where no address says it (default: ipv4)',
          choices: ['ipv4', 'ipv6'],
        },
        MARK,
        { flags: '--dport <port>', description: 'PORT or LO-HI', isRequired: true, kind: 'none' },
        { flags: '--to <port>', description: 'PORT or LO-HI of this host', isRequired: true, kind: 'none' },
      ],
      hasOutput: true,
      examples: [['ctnat nat add redirect -i lan0 -p tcp --dport 80 --to 3128', 'a transparent proxy']],
      load: async () => (await import('./nat-add.js')).natAddRedirect,
    },
    {
      name: 'netmap',
      summary: 'translate a prefix to another of the same length, both ways',
      options: [
        {
          flags: '-o, --out <iface>',
          description: 'outgoing interface',
          isRequired: true,
          kind: 'interface',
        },
        { flags: '-s, --src <cidr>', description: 'inside prefix', isRequired: true, kind: 'none' },
        { ...PROTO, description: 'only this protocol' },
        MARK,
        { flags: '--to <cidr>', description: 'outside prefix', isRequired: true, kind: 'none' },
        { flags: '--neutral', description: 'IPv6: the sum of an address stays the same (RFC 6296)' },
      ],
      hasOutput: true,
      hasOwnO: true,
      examples: [
        ['ctnat nat add netmap -o eth0 -s 10.5.0.0/24 --to 198.51.100.0/24', 'one to one'],
        ['ctnat nat add netmap -o eth0 -s fd00:5::/48 --to 2001:db8:5::/48 --neutral', 'NPTv6'],
      ],
      load: async () => (await import('./nat-add.js')).natAddNetmap,
    },
  ],
};

export const NAT_COMMANDS: GroupSpec = {
  name: 'nat',
  summary: 'NAT rules (live mappings: ctnat bpf nat list)',
  commands: [
    ADD,
    {
      name: 'list',
      alias: 'ls',
      summary: 'show the rules in the order in which they are tried',
      hasOutput: true,
      examples: [
        ['ctnat nat list', ''],
        ['ctnat nat list -o jsonl | jq -r \'select(.kind == "dnat") | .id\'', 'ids of the port forwards'],
      ],
      load: async () => (await import('./nat-list.js')).natList,
    },
    {
      name: 'delete',
      summary: 'delete a rule; flows that it made go on',
      arguments: [{ name: '<id>', description: 'as `ctnat nat list` shows it', kind: 'none' }],
      hasOutput: true,
      examples: [['ctnat nat delete 3', '']],
      load: async () => (await import('./nat-delete.js')).natDelete,
    },
    {
      name: 'flush',
      summary: 'delete all rules; flows that they made go on',
      hasOutput: true,
      examples: [['ctnat nat flush', '']],
      load: async () => (await import('./nat-delete.js')).natFlush,
    },
  ],
};
