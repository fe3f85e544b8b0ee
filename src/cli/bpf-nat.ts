// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
import type { CommandFunction } from './command.js';
import { MAPPING_FORMATTER } from './format-mapping.js';
import { printObject, printStream } from './print.js';
import { counted } from './values.js';

/** `ctnat bpf nat list`. */
export const natMappings: CommandFunction = async (context) => {
  const product = await context.product();
  await printStream(context, product.mappings(context.filter), MAPPING_FORMATTER);
};

/** `ctnat bpf nat flush`. */
export const natFlushMappings: CommandFunction = async (context) => {
  const product = await context.product();
  const deleted = product.flushNat(context.filter);
  await printObject(context, { deleted }, () => `${counted(deleted, 'mapping')} deleted\n`);
};

/** `ctnat bpf nat retries list`: a line for each number of retries, as Cilium writes it, and the refusals behind them. */
export const natRetries: CommandFunction = async (context) => {
  const product = await context.product();
  const histogram = product.natRetries();
  await printObject(context, histogram, () => {
    const lines = histogram.retries.map((count, i) => `${i}:\t${count}\n`);
    return `${lines.join('')}refused:\t${histogram.refused}\n`;
  });
};
