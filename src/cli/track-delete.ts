// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
import { quoted, UsageError } from '../errors.js';
import type { CommandFunction } from './command.js';
import { printObject } from './print.js';
import { counted } from './values.js';

/** `ctnat track delete`: a rule that is not there is no error, only a note. */
export const trackDelete: CommandFunction = async (context) => {
  const text = context.arguments[0]!;
  const id = Number(text);
  if (!/^[0-9]{1,5}$/.test(text) || id < 1 || id > 65535) {
    throw new UsageError(`invalid rule id ${quoted(text)}; \`ctnat track list\` shows the ids`);
  }
  const product = await context.product();
  const deleted = await product.trackDelete(id);
  if (!deleted) context.note(`there is no rule ${id}`);
  await printObject(context, { deleted: deleted ? 1 : 0 }, () => (deleted ? `rule ${id}: deleted\n` : ''));
};

/** `ctnat track flush`. */
export const trackFlush: CommandFunction = async (context) => {
  const product = await context.product();
  const deleted = await product.trackFlush();
  await printObject(context, { deleted }, () => `${counted(deleted, 'rule')} deleted\n`);
};
