// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
import type { CommandFunction } from './command.js';
import { printObject } from './print.js';
import { tableText } from './table.js';

/** `ctnat gc`: one sweep. */
export const gc: CommandFunction = async (context) => {
  const product = await context.product();
  const result = product.sweep();
  const rows = result.maps.map(({ name, looked, live, deleted }) => [name, looked, live, deleted]);
  const colour = context.out.isTerminal;
  await printObject(context, result, () =>
    tableText(['MAP', 'LOOKED', 'LIVE', 'DELETED'], rows, { numbers: [1, 2, 3], colour }),
  );
};
