// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** The command table: every command, its options and examples. A command's code is loaded when it is run. */

import type { ArgumentSpec, CommandSpec, GroupSpec } from './command.js';
import { BPF_COMMANDS } from './commands-bpf.js';
import { CONNTRACK_COMMAND } from './commands-conntrack.js';
import { NAT_COMMANDS } from './commands-nat.js';
import { TIMEOUT_COMMANDS } from './commands-timeouts.js';
import { TRACK_COMMANDS } from './commands-track.js';

const INTERFACES: ArgumentSpec = {
  name: '<iface...>',
  description: 'network interfaces, as `ip link` names them',
  kind: 'interface',
};

const SERVICE_COMMANDS: readonly CommandSpec[] = [
  {
    name: 'attach',
    summary: 'attach to interfaces and begin to track',
    arguments: [INTERFACES],
    options: [
      {
        flags: '--masquerade [family]',
        description: 'forwarded flows that leave the interface get its address; IPv4 unless said otherwise',
        choices: ['4', '6', 'all'],
        bare: '4',
      },
      { flags: '--mode <mode>', description: 'hook to use (default: auto)', choices: ['auto', 'tc', 'xdp'] },
      {
        flags: '--mapping <mode>',
        description:
          'apdm: a mapping for each remote (default); eim: one for all of them (RFC 4787 section 4.1)',
        choices: ['apdm', 'eim'],
      },
      {
        flags: '--filtering <mode>',
        description:
          'who may send to an eim port: anybody (eif, default), addresses it has sent to (adf), nobody else (apdf)',
        choices: ['eif', 'adf', 'apdf'],
      },
      {
        flags: '--ports <ranges>',
        description: 'external ports of masquerade, LOW-HIGH, several with commas',
        kind: 'none',
      },
      {
        flags: '--mss <bytes>',
        description:
          'greatest MSS that SYNs may announce: a number, or pmtu for what the path leaves room for',
        kind: 'none',
      },
      {
        flags: '--redirect',
        description: 'established flows skip the stack at TC: faster, but no firewall of the host sees them',
      },
      {
        flags: '--zone <zone>',
        description: 'of what comes in: the same addresses in another zone are other flows (default: 0)',
        kind: 'none',
      },
      {
        flags: '--limit-ports <number>',
        description: 'translated flows that an inside host may have at a time',
        kind: 'none',
      },
      {
        flags: '--limit-rate <rate>',
        description: 'new translated flows of an inside host: N/s, or N/s,BURST',
        kind: 'none',
      },
      {
        flags: '--limit-prefix <length>',
        description: 'bits of an IPv6 address that share these limits: 35 to 64, or 128 (default: 64)',
        kind: 'none',
      },
    ],
    hasOutput: true,
    details:
      'Loads ctnat if it is not loaded. Repeating it is harmless: new options replace the old ones and live\n' +
      'flows go on. --masquerade=6 or --masquerade=all chooses the family.',
    examples: [
      ['ctnat attach eth0 --masquerade', 'a gateway: what leaves eth0 gets its IPv4 address'],
      ['ctnat attach eth0 --masquerade=all --mapping eim', 'both families, one mapping for all remotes'],
      ['ctnat attach ppp0 --masquerade --mss pmtu', 'a line with a smaller MTU than the inside has'],
      ['ctnat attach lan0 lan1 --redirect', 'track without translation, past the stack'],
      [
        'ctnat attach eth0 --masquerade --limit-ports 2000 --limit-rate 50/s,200',
        'fair shares for inside hosts',
      ],
      ['ctnat attach tenant1 --zone 1', 'its hosts may have the same addresses as those of tenant2'],
    ],
    load: async () => (await import('./attach.js')).attach,
  },
  {
    name: 'detach',
    summary: 'detach from interfaces',
    arguments: [{ ...INTERFACES, name: '[iface...]' }],
    options: [
      { flags: '--all', description: 'every attached interface' },
      { flags: '--purge', description: 'remove the maps and pins too, with every flow' },
    ],
    hasOutput: true,
    details: 'Without --purge the flows stay and are there again after the next attach.',
    examples: [
      ['ctnat detach lan1', 'one interface; the others go on'],
      ['ctnat detach --all --purge', 'leave nothing of ctnat behind'],
    ],
    load: async () => (await import('./detach.js')).detach,
  },
  {
    name: 'run',
    summary: 'run the agent in the foreground',
    options: [
      { flags: '-c, --config <file>', description: 'configuration to apply and to follow', kind: 'file' },
    ],
    details:
      'The agent applies the configuration, sweeps expired entries, follows address changes and exports metrics\n' +
      'and events. SIGTERM and SIGINT end it and leave the datapath working; SIGHUP reads the file again.',
    examples: [
      ['ctnat run -c /etc/ctnat.yaml', 'as a service manager starts it'],
      ['ctnat run', 'only sweep and follow addresses of what is attached'],
    ],
    load: async () => (await import('./run.js')).run,
  },
  {
    name: 'apply',
    summary: 'apply a configuration file once',
    arguments: [{ name: '<file>', description: 'YAML file; config.schema.json describes it', kind: 'file' }],
    options: [{ flags: '--check', description: 'only say whether the file is right' }],
    hasOutput: true,
    details:
      'All or nothing. What the file does not name is detached or removed; live flows that it does not concern\ngo on.',
    examples: [
      ['ctnat apply /etc/ctnat.yaml', 'make the running state equal to the file'],
      ['ctnat apply --check /etc/ctnat.yaml', 'before a reload'],
    ],
    load: async () => (await import('./apply.js')).apply,
  },
  {
    name: 'gc',
    summary: 'sweep expired entries now',
    hasOutput: true,
    details: 'The agent does this by itself; expired entries never match, swept or not.',
    examples: [
      ['ctnat gc', 'what one sweep finds and deletes, by map'],
      ['ctnat gc -o json | jq .maps', 'for a script'],
    ],
    load: async () => (await import('./gc.js')).gc,
  },
  {
    name: 'monitor',
    summary: 'show events as they come',
    options: [
      {
        flags: '--type <types>',
        description: 'new, update, destroy, drop; several with commas (default: all)',
        kind: 'none',
      },
      { flags: '--count <number>', description: 'end behind so many events', kind: 'none' },
    ],
    hasFilter: true,
    hasOutput: true,
    moreFormats: ['protobuf'],
    details:
      'One event a change: a flow that begins, changes its state or status, or ends, and dropped packets, of which\n' +
      'each reason has an allowance. Says on stderr when it listens, and how many events were lost. SIGINT and SIGTERM\n' +
      'end it. -o protobuf writes messages of proto/ctnat/v1/event.proto, each behind its length.',
    examples: [
      ['ctnat monitor', 'everything'],
      ['ctnat monitor --type new,destroy -p tcp -s 10.0.0.0/24 -o jsonl', 'the connections of one network'],
      ['ctnat monitor --type drop', 'what is dropped, and why'],
      ['ctnat monitor --count 1 --type new --dport 443', 'wait for the next connection to port 443'],
    ],
    load: async () => (await import('./monitor.js')).monitor,
  },
  {
    name: 'status',
    summary: 'show interfaces, tables, timeouts, features and the agent',
    hasOutput: true,
    examples: [
      ['ctnat status', 'at three in the morning'],
      ["ctnat status -o json | jq '.maps[] | {name, entries, maxEntries}'", 'how full the tables are'],
    ],
    load: async () => (await import('./status.js')).status,
  },
];

const COMPLETION: CommandSpec = {
  name: 'completion',
  summary: "print a shell's completion script",
  arguments: [{ name: '<shell>', description: 'bash or zsh', choices: ['bash', 'zsh'] }],
  examples: [
    ['source <(ctnat completion bash)', 'for this shell'],
    ['ctnat completion bash > /etc/bash_completion.d/ctnat', 'for all of bash'],
    ['ctnat completion zsh > "$fpath[1]/_ctnat"', 'for zsh'],
  ],
  load: async () => (await import('./completion.js')).completion,
};

/** The whole program. */
export const PROGRAM: GroupSpec = {
  name: 'ctnat',
  summary: 'Stateful NAT and connection tracking in eBPF, without Netfilter',
  commands: [
    ...SERVICE_COMMANDS,
    NAT_COMMANDS,
    TRACK_COMMANDS,
    TIMEOUT_COMMANDS,
    BPF_COMMANDS,
    CONNTRACK_COMMAND,
    COMPLETION,
  ],
};
