// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
import { UsageError } from '../errors.js';
import type { CommandFunction } from './command.js';
import { printObject } from './print.js';
import { interfaceNames } from './values.js';

/** `ctnat detach`: an interface that is not attached is no error, only a note. */
export const detach: CommandFunction = async (context) => {
  const { options, note } = context;
  const names = interfaceNames(context.arguments);
  const all = options.all === true;
  if (all && names.length > 0) throw new UsageError('give interfaces or --all, not both');
  if (!all && names.length === 0) throw new UsageError('which interfaces? give their names, or --all');
  const product = await context.product();
  const detached = await product.detach(all ? 'all' : names, { purge: options.purge === true });
  for (const name of names) if (!detached.includes(name)) note(`${name} was not attached`);
  if (all && detached.length === 0) note('nothing was attached');
  await printObject(context, { detached }, () => detached.map((name) => `${name}: detached\n`).join(''));
};
