// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
import { natRuleJson } from '../nat-rule.js';
import type { CommandFunction } from './command.js';
import { printList } from './print.js';
import { tableText } from './table.js';

const HEAD = ['ID', 'KIND', 'IFACE', 'FAMILY', 'PROTO', 'SRC', 'DST', 'DPORT', 'TO'];

/** `ctnat nat list`. */
export const natList: CommandFunction = async (context) => {
  const product = await context.product();
  const rules = (await product.natList()).map(natRuleJson);
  const rows = rules.map((rule) => [
    rule.id,
    rule.kind,
    rule.iface,
    rule.family,
    rule.proto ?? 'any',
    rule.src ?? 'any',
    rule.dst ?? 'any',
    rule.dport ?? 'any',
    rule.to,
  ]);
  const colour = context.out.isTerminal;
  await printList(context, rules, () => tableText(HEAD, rows, { numbers: [0], colour }));
};
