// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
import { formatEndpoint } from '../address.js';
import { filteringText, mappingText, masqueradeText } from '../interface-config.js';
import { limitsText } from '../limits.js';
import type { Status } from '../product.js';
import { TIMEOUT_KEYS, TIMEOUT_NAMES, timeoutsJson } from '../timeouts.js';
import type { CommandFunction } from './command.js';
import { printObject } from './print.js';
import { tableText } from './table.js';
import { counted } from './values.js';

/** `ctnat status`. */
export const status: CommandFunction = async (context) => {
  const product = await context.product();
  const state = await product.status();
  const json = { ...state, timeouts: timeoutsJson(state.timeouts) };
  await printObject(context, json, () => statusText(state, context.out.isTerminal));
};

function statusText(state: Status, colour: boolean): string {
  const agent = state.agent.running ? `running, pid ${state.agent.pid}` : 'not running';
  const parts = [
    `ctnat ${state.version}, kernel ${state.kernel}, pins ${state.pinPath}\nagent: ${agent}\n${readersText(state)}${fullText(state)}`,
    interfaceTable(state, colour),
    classTable(state, colour),
    mapTable(state, colour),
    refusalTable(state, colour),
    limitTable(state, colour),
    timeoutTable(state, colour),
    featureTable(state, colour),
    missingTable(state, colour),
  ];
  return parts.filter((part) => part !== '').join('\n');
}

function readersText({ readers }: Status): string {
  return readers.map(({ pid, types }) => `events: ${types.join(', ')} to pid ${pid}\n`).join('');
}

function fullText({ tableFullDrops }: Status): string {
  if (tableFullDrops === 0) return '';
  return `table full: ${counted(tableFullDrops, 'packet')} of new flows dropped; give tables.flows more room\n`;
}

function interfaceTable({ interfaces }: Status, colour: boolean): string {
  if (interfaces.length === 0) return 'no interface is attached\n';
  const head = [
    'INTERFACE',
    'IFINDEX',
    'MODE',
    'HOOKS',
    'MASQUERADE',
    'MAPPING',
    'FILTERING',
    'MSS',
    'ZONE',
    'LIMITS',
  ];
  const rows = interfaces.map(
    ({ name, ifindex, mode, redirect, hooks, masquerade, mapping, filtering, mss, zone, limits }) => [
      name,
      ifindex,
      redirect ? `${mode}+redirect` : mode,
      hooks.join(','),
      masqueradeText(masquerade),
      mappingText(mapping),
      filteringText(filtering),
      mss ?? '-',
      zone,
      limitsText(limits ?? {}) || '-',
    ],
  );
  return tableText(head, rows, { numbers: [1, 8], colour });
}

/** What packets were to tracking, a row a class. */
function classTable({ classes }: Status, colour: boolean): string {
  if (classes.length === 0) return '';
  const names = [...new Set(classes.map((each) => each.class))];
  const rows = names.map((name) => {
    const counts = (['ingress', 'egress'] as const).flatMap((direction) => {
      const found = classes.find((each) => each.class === name && each.direction === direction);
      return [found?.packets ?? 0, found?.bytes ?? 0];
    });
    return [name, ...counts];
  });
  const head = ['CLASS', 'PACKETS IN', 'BYTES IN', 'PACKETS OUT', 'BYTES OUT'];
  return tableText(head, rows, { numbers: [1, 2, 3, 4], colour });
}

function mapTable({ maps }: Status, colour: boolean): string {
  const rows = maps.map(({ name, type, entries, maxEntries, bytes }) => [
    name,
    type,
    entries,
    maxEntries,
    maxEntries === 0 ? '-' : `${Math.round((1000 * entries) / maxEntries) / 10}%`,
    bytes,
  ]);
  const numbers = [2, 3, 4, 5];
  return tableText(['MAP', 'TYPE', 'ENTRIES', 'MAX', 'FULL', 'BYTES'], rows, { numbers, colour });
}

/** Who found no outside port: the ten most frequent. */
function refusalTable({ refusals }: Status, colour: boolean): string {
  if (refusals.length === 0) return '';
  const rows = refusals
    .slice(0, 10)
    .map(({ proto, external, remote, packets }) => [
      proto,
      external,
      formatEndpoint(remote.address, remote.port),
      packets,
    ]);
  const head = ['NO PORT FOR', 'OUTSIDE ADDRESS', 'OTHER SIDE', 'REFUSED'];
  return tableText(head, rows, { numbers: [3], colour });
}

/** Subscribers at their limits: the ten that were refused most. */
function limitTable({ limited }: Status, colour: boolean): string {
  if (limited.length === 0) return '';
  const rows = limited
    .slice(0, 10)
    .map(({ subscriber, zone, iface, flows, limit, refusedPorts, refusedRate }) => [
      subscriber,
      zone,
      iface,
      flows,
      limit ?? '-',
      refusedPorts,
      refusedRate,
    ]);
  const head = ['LIMITED', 'ZONE', 'INTERFACE', 'FLOWS', 'OF', 'REFUSED BY NUMBER', 'BY RATE'];
  return tableText(head, rows, { numbers: [1, 3, 4, 5, 6], colour });
}

function timeoutTable({ timeouts }: Status, colour: boolean): string {
  const rows = TIMEOUT_NAMES.map((name) => [TIMEOUT_KEYS[name].join('.'), `${timeouts[name] / 1000}s`]);
  return tableText(['TIMEOUT', 'VALUE'], rows, { numbers: [1], colour });
}

function featureTable({ features }: Status, colour: boolean): string {
  const words = (value: boolean | number | string) =>
    value === true ? 'yes' : value === false ? 'no' : value;
  const rows = Object.entries(features).map(([name, value]) => [name, words(value)]);
  return tableText(['FEATURE', 'IN USE'], rows, { colour });
}

/** What of the kernel cannot be used, by name. */
function missingTable({ missing }: Status, colour: boolean): string {
  if (missing.length === 0) return '';
  const rows = missing.map(({ name, needs, instead }) => [name, needs, instead]);
  return tableText(['NOT HERE', 'NEEDS', 'INSTEAD'], rows, { colour });
}
