// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
import { trackRuleJson } from '../track-rule.js';
import type { CommandFunction } from './command.js';
import { printList } from './print.js';
import { tableText } from './table.js';

const HEAD = ['ID', 'ACTION', 'IN', 'OUT', 'FAMILY', 'PROTO', 'SRC', 'DST', 'SPORT', 'DPORT', 'MARK'];

/** `ctnat track list`. */
export const trackList: CommandFunction = async (context) => {
  const product = await context.product();
  const rules = (await product.trackList()).map(trackRuleJson);
  const rows = rules.map((rule) => [
    rule.id,
    rule.action,
    ...[rule.in, rule.out, rule.family, rule.proto, rule.src, rule.dst].map((each) => each ?? 'any'),
    ...[rule.sport, rule.dport, rule.mark].map((each) => each ?? 'any'),
  ]);
  const colour = context.out.isTerminal;
  await printList(context, rules, () => tableText(HEAD, rows, { numbers: [0], colour }));
};
