// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** The commands below `ctnat timeouts`. */
import type { GroupSpec } from './command.js';

export const TIMEOUT_COMMANDS: GroupSpec = {
  name: 'timeouts',
  summary: 'how long flows live without packets',
  commands: [
    {
      name: 'list',
      alias: 'ls',
      summary: 'show every timeout',
      hasOutput: true,
      details: 'JSON has seconds, nested as in the configuration file.',
      examples: [
        ['ctnat timeouts list', ''],
        ['ctnat timeouts list -o json | jq .tcp.established', 'one of them, in seconds'],
      ],
      load: async () => (await import('./timeouts.js')).timeoutsList,
    },
    {
      name: 'set',
      summary: 'change timeouts; live flows go on and get them with their next packet',
      arguments: [
        {
          name: '[setting...]',
          description: 'NAME DURATION, as often as wanted; names as in `timeouts list`',
          kind: 'none',
        },
      ],
      options: [
        {
          flags: '--preset <preset>',
          description: 'begin with these values instead of those that hold',
          choices: ['rfc', 'netfilter', 'cilium'],
        },
      ],
      hasOutput: true,
      details:
        'Durations have a unit: 1500ms, 30s, 5m, 2h, 1d. The values stay until the next change or until a\n' +
        'configuration file is applied.',
      examples: [
        ['ctnat timeouts set tcp.established 1h udp.stream 3m', 'two of them'],
        ['ctnat timeouts set --preset netfilter', 'as nf_conntrack has them'],
        ['ctnat timeouts set --preset rfc icmp 10s', "the RFCs' values but for one"],
      ],
      load: async () => (await import('./timeouts.js')).timeoutsSet,
    },
  ],
};
