// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
import type { CommandFunction } from './command.js';
import { printList } from './print.js';
import { tableText } from './table.js';

/** `ctnat bpf metrics list`. */
export const metricsList: CommandFunction = async (context) => {
  const product = await context.product();
  const metrics = product.metrics();
  const rows = metrics
    .filter(({ packets }) => packets > 0)
    .map(({ reason, direction, packets, bytes }) => [reason, direction, packets, bytes]);
  const colour = context.out.isTerminal;
  await printList(context, metrics, () =>
    tableText(['REASON', 'DIRECTION', 'PACKETS', 'BYTES'], rows, { numbers: [2, 3], colour }),
  );
};
