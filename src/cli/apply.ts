// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
import { loadConfig } from '../config/load.js';
import type { CommandFunction } from './command.js';
import { printObject } from './print.js';

/** `ctnat apply`: with --check nothing of the kernel is looked at. */
export const apply: CommandFunction = async (context) => {
  const file = context.arguments[0]!;
  const config = await loadConfig(file);
  if (context.options.check === true) {
    await printObject(context, { file, valid: true }, () => `${file}: right\n`);
    return;
  }
  const product = await context.product();
  const changes = await product.apply(config);
  if (changes.length === 0) context.note(`${file}: nothing to change`);
  await printObject(context, { file, changes }, () => changes.map((change) => `${change}\n`).join(''));
};
