// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
import { UsageError } from '../errors.js';
import { isEmptyFilter } from '../filter.js';
import { FLOW_FORMATTER } from '../format-flow.js';
import type { CommandFunction, Context } from './command.js';
import { frameOf, printObject } from './print.js';
import { counted } from './values.js';

/** `ctnat bpf ct list`. */
export const ctList: CommandFunction = async (context) => {
  const { format, filter, out } = context;
  const product = await context.product();
  const { text, json } = FLOW_FORMATTER;
  await out.chunks(product.flowText(filter, format === 'text' ? text : json, frameOf(format)));
};

/** `ctnat bpf ct get`: no match prints nothing and is no error. */
export const ctGet: CommandFunction = async (context) => {
  if (isEmptyFilter(context.filter)) {
    throw new UsageError('which flows? give a filter such as -s ADDRESS, or use `ctnat bpf ct list global`');
  }
  await ctList(context);
};

/** `ctnat bpf ct delete`. */
export const ctDelete: CommandFunction = async (context) => {
  if (isEmptyFilter(context.filter)) {
    throw new UsageError('which flows? give a filter such as -s ADDRESS, or use `ctnat bpf ct flush global`');
  }
  const product = await context.product();
  await printDeleted(context, product.deleteFlows(context.filter));
};

/** `ctnat bpf ct count`: the bare number. */
export const ctCount: CommandFunction = async (context) => {
  const product = await context.product();
  const count = product.countFlows(context.filter);
  await printObject(context, { count }, () => `${count}\n`);
};

/** `ctnat bpf ct flush`. */
export const ctFlush: CommandFunction = async (context) => {
  const product = await context.product();
  const { filter } = context;
  await printDeleted(context, isEmptyFilter(filter) ? product.flushFlows() : product.deleteFlows(filter));
};

function printDeleted(context: Context, deleted: number): Promise<void> {
  return printObject(context, { deleted }, () => `${counted(deleted, 'flow')} deleted\n`);
}
