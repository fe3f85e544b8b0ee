// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** The commands below `ctnat bpf`: what stands in the maps. */
import type { ArgumentSpec, GroupSpec } from './command.js';

const SCOPE: ArgumentSpec = {
  name: '[scope]',
  description: 'global: there is one table',
  choices: ['global'],
};

const FILTER_DETAILS =
  'Every given option must match. Addresses and ports are those of the original tuple, before translation,\n' +
  'except --reply-src and --reply-dst.';

const CT: GroupSpec = {
  name: 'ct',
  summary: 'tracked flows',
  commands: [
    {
      name: 'list',
      alias: 'ls',
      summary: 'show tracked flows, all or those that match',
      arguments: [SCOPE],
      hasFilter: true,
      hasOutput: true,
      details: `${FILTER_DETAILS}\nIn text, expires is the seconds left and Tx is the original direction.`,
      examples: [
        ['ctnat bpf ct list global', ''],
        ['ctnat bpf ct list global -f ipv4 -p tcp --state ESTABLISHED -s 10.0.0.0/8 --dport 80', ''],
        [
          'ctnat bpf ct list global -o jsonl | jq -r .original.src | sort | uniq -c | sort -n',
          'who has most',
        ],
      ],
      load: async () => (await import('./bpf-ct.js')).ctList,
    },
    {
      name: 'get',
      summary: 'show the flows that match',
      hasFilter: true,
      hasOutput: true,
      details: FILTER_DETAILS,
      examples: [['ctnat bpf ct get -p tcp -s 10.0.0.2 --sport 40000', 'one connection']],
      load: async () => (await import('./bpf-ct.js')).ctGet,
    },
    {
      name: 'delete',
      summary: 'delete the flows that match',
      hasFilter: true,
      hasOutput: true,
      details: `${FILTER_DETAILS}\nAt least one is needed: \`flush global\` deletes all flows.`,
      examples: [['ctnat bpf ct delete -p udp -d 192.0.2.53 --dport 53', 'after a DNS server has moved']],
      load: async () => (await import('./bpf-ct.js')).ctDelete,
    },
    {
      name: 'count',
      summary: 'count flows, all or those that match',
      arguments: [SCOPE],
      hasFilter: true,
      hasOutput: true,
      details: FILTER_DETAILS,
      examples: [
        ['ctnat bpf ct count', ''],
        ['ctnat bpf ct count -p tcp --state SYN_SENT', 'connections that nobody answers'],
      ],
      load: async () => (await import('./bpf-ct.js')).ctCount,
    },
    {
      name: 'flush',
      summary: 'delete all flows, or those that match',
      arguments: [{ ...SCOPE, name: '<scope>' }],
      hasFilter: true,
      hasOutput: true,
      details: FILTER_DETAILS,
      examples: [
        ['ctnat bpf ct flush global', 'connections in progress break'],
        ['ctnat bpf ct flush global -f ipv6', ''],
      ],
      load: async () => (await import('./bpf-ct.js')).ctFlush,
    },
  ],
};

const NAT: GroupSpec = {
  name: 'nat',
  summary: 'live NAT mappings',
  commands: [
    {
      name: 'list',
      alias: 'ls',
      summary: 'show live mappings, all or those that match',
      arguments: [SCOPE],
      hasFilter: true,
      hasOutput: true,
      details: FILTER_DETAILS,
      examples: [
        ['ctnat bpf nat list', ''],
        ['ctnat bpf nat list -s 10.0.0.2 -o json', 'what the outside sees of one host'],
      ],
      load: async () => (await import('./bpf-nat.js')).natMappings,
    },
    {
      name: 'flush',
      summary: 'delete mappings with their flows, all or those that match',
      arguments: [SCOPE],
      hasFilter: true,
      hasOutput: true,
      details: FILTER_DETAILS,
      examples: [['ctnat bpf nat flush -s 10.0.0.2', 'one host begins anew']],
      load: async () => (await import('./bpf-nat.js')).natFlushMappings,
    },
    {
      name: 'retries',
      summary: 'attempts that port allocations took',
      commands: [
        {
          name: 'list',
          alias: 'ls',
          summary: 'show the histogram, of IPv4 and IPv6 together',
          hasOutput: true,
          examples: [['ctnat bpf nat retries list', 'a tail says that the ports run short']],
          load: async () => (await import('./bpf-nat.js')).natRetries,
        },
      ],
    },
  ],
};

const METRICS: GroupSpec = {
  name: 'metrics',
  summary: 'counters',
  commands: [
    {
      name: 'list',
      alias: 'ls',
      summary: 'show packets and bytes by reason and direction',
      hasOutput: true,
      details: 'Text leaves out what has counted nothing; JSON has every reason.',
      examples: [
        ['ctnat bpf metrics list', ''],
        [
          'ctnat bpf metrics list -o jsonl | jq \'select(.reason | startswith("drop")) | select(.packets > 0)\'',
          'drops',
        ],
      ],
      load: async () => (await import('./bpf-metrics.js')).metricsList,
    },
  ],
};

export const BPF_COMMANDS: GroupSpec = {
  name: 'bpf',
  summary: 'what stands in the BPF maps',
  commands: [CT, NAT, METRICS],
};
